/* SPDX-License-Identifier: MIT */
/*
 * Reading safetensors.
 *
 *   |u64 N|N bytes of JSON, from '{', padded with spaces|tensor data, to the end of the file|
 *   {"NAME": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ..., "__metadata__": {"KEY": "TEXT"}}
 *
 * Offsets count from the end of the JSON. The data must be tiled exactly: no hole, no overlap, nothing after the last
 * tensor. Source: huggingface/safetensors, safetensors/src/tensor.rs.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "base/fail.h"
#include "base/mem.h"
#include "formats/json.h"
#include "formats/safetensors_writer.h"
#include "formats/sources.h"

enum { LENGTH_NBYTES = 8, MAX_HEADER_NBYTES = 100000000 };

/* Some 200,000 tensors, and a second of work. */
static const uint64_t MAX_HEADER_MEMORY = 256ull << 20;

/* One file's header while it is read. */
struct header {
    const hone_file *file;
    char *text;
    size_t len;
    uint64_t data_start, data_nbytes;
    json_t *json;
};

struct entry {
    hone_tensor tensor; /* offset counts from data_start until the tiling is known to be right */
    size_t key;         /* ordinal in the header */
};

static bool probe(const uint8_t *head, size_t head_nbytes, uint64_t file_nbytes)
{
    if (head_nbytes <= LENGTH_NBYTES)
        return false;
    const uint64_t len = hone_load_u64(head);
    return len <= MAX_HEADER_NBYTES && len <= file_nbytes - LENGTH_NBYTES && head[LENGTH_NBYTES] == '{';
}

/*
 * The file position of the n-th top-level key. The text is known to be a JSON object without duplicate keys, and
 * Jansson iterates over an object in the order of its text, so counting keys finds the one meant, however it is
 * escaped.
 */
static uint64_t key_offset(const struct header *h, size_t n)
{
    int depth = 0;
    bool key_next = false;
    for (size_t i = 0; i < h->len; i++) {
        const char c = h->text[i];
        if (c == '{' || c == '[') {
            key_next = ++depth == 1;
        } else if (c == '}' || c == ']') {
            depth--;
        } else if (c == ',') {
            key_next = depth == 1;
        } else if (c == '"') {
            if (key_next && n-- == 0)
                return LENGTH_NBYTES + i;
            key_next = false;
            for (i++; i < h->len && h->text[i] != '"'; i++)
                i += h->text[i] == '\\';
        }
    }
    return LENGTH_NBYTES;
}

static hone_status fail_key(const struct header *h, hone_error *err, hone_status status, size_t key, const char *name,
                            const char *reason)
{
    return hone_fail(err, status, key_offset(h, key), name, "%s", reason);
}

static hone_status parse_dtype(const struct header *h, const json_t *value, struct entry *e, hone_error *err)
{
    const char *name = json_string_value(value);
    if (!name)
        return fail_key(h, err, HONE_ERROR_DATA, e->key, e->tensor.name, "dtype is missing or no string");
    for (int d = HONE_INVALID + 1; d < HONE_N_DTYPES; d++) {
        const char *known = hone_dtype_describe((hone_dtype)d)->safetensors;
        if (known && strcmp(known, name) == 0) {
            e->tensor.dtype = (hone_dtype)d;
            return HONE_OK;
        }
    }
    return hone_fail(err, HONE_ERROR_DATA, key_offset(h, e->key), e->tensor.name, "unknown dtype \"%s\"", name);
}

static bool as_u64(const json_t *value, uint64_t *out)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *out = (uint64_t)json_integer_value(value);
    return true;
}

static const char *parse_shape(const json_t *value, hone_tensor *t)
{
    if (!json_is_array(value))
        return "shape is missing or no array";
    if (json_array_size(value) > HONE_MAX_DIMS)
        return "shape has more than 8 axes";
    t->n_dims = (unsigned)json_array_size(value);
    for (unsigned i = 0; i < t->n_dims; i++)
        if (!as_u64(json_array_get(value, i), &t->shape[i]))
            return "shape holds something that is no count";
    return hone_tensor_measure(t);
}

static const char *parse_range(const json_t *value, hone_tensor *t)
{
    uint64_t end;
    if (json_array_size(value) != 2 || !as_u64(json_array_get(value, 0), &t->offset) ||
        !as_u64(json_array_get(value, 1), &end))
        return "data_offsets is not two counts";
    if (end < t->offset)
        return "data_offsets end before they begin";
    if (end - t->offset != t->nbytes)
        return "data_offsets disagree with dtype and shape";
    return NULL;
}

static hone_status parse_entry(hone_checkpoint *ckpt, const struct header *h, const char *name, const json_t *value,
                               struct entry *e, hone_error *err)
{
    hone_tensor *t = &e->tensor;
    if (name[0] == '\0')
        return fail_key(h, err, HONE_ERROR_DATA, e->key, NULL, "a tensor without a name");
    t->name = hone_arena_copy(&ckpt->arena, name, strlen(name));
    if (!t->name)
        return hone_fail_nomem(err, strlen(name));
    if (!json_is_object(value))
        return fail_key(h, err, HONE_ERROR_DATA, e->key, name, "its entry is no object");
    HONE_TRY(parse_dtype(h, json_object_get(value, "dtype"), e, err));
    const char *wrong = parse_shape(json_object_get(value, "shape"), t);
    if (!wrong)
        wrong = parse_range(json_object_get(value, "data_offsets"), t);
    return wrong ? fail_key(h, err, HONE_ERROR_DATA, e->key, name, wrong) : HONE_OK;
}

/* Shards repeat each other's __metadata__; the first one's is kept. */
static hone_status parse_metadata(hone_checkpoint *ckpt, const struct header *h, unsigned file, json_t *object,
                                  size_t key, hone_error *err)
{
    if (!json_is_object(object))
        return fail_key(h, err, HONE_ERROR_DATA, key, "__metadata__", "not an object");
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value)
    {
        if (!json_is_string(value))
            return fail_key(h, err, HONE_ERROR_DATA, key, "__metadata__", "holds something that is no string");
        const bool is_sums = strcmp(name, HONE_SAFETENSORS_TENSOR_SUMS) == 0;
        if (file > 0 && !is_sums)
            continue;
        const size_t name_len = strlen(name), len = json_string_length(value);
        const char *name_copy = hone_arena_copy(&ckpt->arena, name, name_len);
        const char *copy = hone_arena_copy(&ckpt->arena, json_string_value(value), len);
        if (!name_copy || !copy)
            return hone_fail_nomem(err, name_len + len);
        if (is_sums)
            HONE_TRY(hone_checkpoint_set_sums(ckpt, file, (hone_string){copy, len}, err));
        if (file > 0)
            continue;
        const hone_metadata entry = {.key = {name_copy, name_len}, .type = HONE_VALUE_STRING, .v.string = {copy, len}};
        HONE_TRY(hone_checkpoint_add_metadata(ckpt, &entry, err));
    }
    return HONE_OK;
}

/* By position; empty tensors before the one that starts where they lie. */
static int compare_entries(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->tensor.offset != y->tensor.offset)
        return x->tensor.offset < y->tensor.offset ? -1 : 1;
    if (x->tensor.nbytes != y->tensor.nbytes)
        return x->tensor.nbytes < y->tensor.nbytes ? -1 : 1;
    return (x->key > y->key) - (x->key < y->key);
}

static hone_status check_tiling(const struct header *h, const struct entry *entries, size_t n, hone_error *err)
{
    uint64_t expected = 0;
    for (size_t i = 0; i < n; i++) {
        const hone_tensor *t = &entries[i].tensor;
        const char *wrong = NULL;
        if (t->offset != expected)
            wrong = t->offset > expected ? "a hole before its data" : "its data overlaps another tensor's";
        else if (t->offset > h->data_nbytes || t->nbytes > h->data_nbytes - t->offset)
            wrong = "its data runs past the end of the file";
        if (wrong)
            return hone_fail(err, HONE_ERROR_DATA, h->data_start + t->offset, t->name, "%s", wrong);
        expected = t->offset + t->nbytes;
    }
    if (expected != h->data_nbytes)
        return hone_fail(err, HONE_ERROR_DATA, h->data_start + expected, NULL, "bytes after the last tensor");
    return HONE_OK;
}

static hone_status parse_entries(hone_checkpoint *ckpt, const struct header *h, unsigned file, struct entry *entries,
                                 hone_error *err)
{
    size_t n = 0, n_keys = 0;
    const char *name;
    json_t *value;
    json_object_foreach(h->json, name, value)
    {
        const size_t key = n_keys++;
        if (strcmp(name, "__metadata__") == 0) {
            HONE_TRY(parse_metadata(ckpt, h, file, value, key, err));
            continue;
        }
        entries[n] = (struct entry){.tensor = {.file = file}, .key = key};
        HONE_TRY(parse_entry(ckpt, h, name, value, &entries[n], err));
        n++;
    }
    qsort(entries, n, sizeof *entries, compare_entries);
    HONE_TRY(check_tiling(h, entries, n, err));
    for (size_t i = 0; i < n; i++) {
        entries[i].tensor.offset += h->data_start;
        HONE_TRY(hone_checkpoint_add_tensor(ckpt, &entries[i].tensor, entries[i].tensor.offset, err));
    }
    return HONE_OK;
}

static hone_status read_header(struct header *h, hone_error *err)
{
    const hone_file *file = h->file;
    uint8_t length[LENGTH_NBYTES];
    if (file->nbytes < LENGTH_NBYTES)
        return hone_fail(err, HONE_ERROR_DATA, file->nbytes, NULL, "file ends inside the header length");
    HONE_TRY(hone_file_read(file, 0, length, sizeof length, err));
    const uint64_t len = hone_load_u64(length);
    if (len > MAX_HEADER_NBYTES)
        return hone_fail(err, HONE_ERROR_LIMIT, 0, NULL, "header of %llu bytes, at most %d are allowed",
                         (unsigned long long)len, MAX_HEADER_NBYTES);
    if (len > file->nbytes - LENGTH_NBYTES)
        return hone_fail(err, HONE_ERROR_DATA, 0, NULL, "header of %llu bytes runs past the end of the file",
                         (unsigned long long)len);
    h->len = (size_t)len;
    h->data_start = LENGTH_NBYTES + len;
    h->data_nbytes = file->nbytes - h->data_start;
    h->text = hone_alloc(h->len, 1);
    if (!h->text)
        return hone_fail_nomem(err, len);
    HONE_TRY(hone_file_read(file, LENGTH_NBYTES, h->text, h->len, err));
    if (len == 0 || h->text[0] != '{')
        return hone_fail(err, HONE_ERROR_FORMAT, LENGTH_NBYTES, NULL, "header does not start with '{'");
    return hone_json_parse_within(h->text, h->len, MAX_HEADER_MEMORY, LENGTH_NBYTES, &h->json, err);
}

static hone_status read_file(hone_checkpoint *ckpt, unsigned file, hone_error *err)
{
    struct header h = {.file = &ckpt->files[file]};
    struct entry *entries = NULL;
    hone_status status = read_header(&h, err);
    if (status != HONE_OK)
        goto out;
    const size_t n = json_object_size(h.json);
    entries = hone_alloc(n, sizeof *entries);
    status = entries ? parse_entries(ckpt, &h, file, entries, err) : hone_fail_nomem(err, n * sizeof *entries);
out:
    hone_release(entries);
    json_decref(h.json);
    hone_release(h.text);
    return status == HONE_OK ? HONE_OK : hone_fail_in_file(err, status, ckpt->files[file].path);
}

const hone_reader hone_safetensors_reader = {.name = "safetensors", .probe = probe, .read = read_file};
