/* SPDX-License-Identifier: MIT */
#include "formats/gguf_writer.h"

#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "base/arena.h"
#include "base/arith.h"
#include "base/cursor.h"
#include "base/fail.h"
#include "base/mem.h"
#include "formats/sources.h"

enum { PREAMBLE_NBYTES = 4 + 4 + 8 + 8, MAX_KEY_NBYTES = 65535, MAX_GGUF_DIMS = 4, GGUF_VERSION = 3 };

/* A growing run of bytes. */
struct buffer {
    uint8_t *bytes;
    size_t nbytes, cap;
};

struct kv {
    const char *key;
    size_t payload; /* of the first element, in kvs */
    bool fixed;     /* not made of strings */
};

struct hone_gguf_header {
    struct buffer kvs; /* all entries as they will lie in the file */
    struct kv *index;
    size_t n_index, cap_index;
    hone_tensor *tensors;
    size_t n_tensors, cap_tensors;
    hone_arena arena; /* names */
    hone_error error; /* the first failure; status HONE_OK: none */
};

hone_gguf_header *hone_gguf_new(void)
{
    return hone_calloc(1, sizeof(hone_gguf_header));
}

void hone_gguf_free(hone_gguf_header *h)
{
    if (!h)
        return;
    hone_release(h->kvs.bytes);
    hone_release(h->index);
    hone_release(h->tensors);
    hone_arena_deinit(&h->arena);
    hone_release(h);
}

bool hone_gguf_failed(const hone_gguf_header *h)
{
    return !h || h->error.status != HONE_OK;
}

static void fail_nomem(hone_gguf_header *h, uint64_t nbytes)
{
    (void)hone_fail_nomem(&h->error, nbytes);
}

static void fail_item(hone_gguf_header *h, hone_status status, const char *item, const char *reason)
{
    (void)hone_fail(&h->error, status, HONE_NO_OFFSET, item, "%s", reason);
}

/* Room for nbytes at the end of a buffer, or NULL. */
static uint8_t *extend(struct buffer *b, size_t nbytes)
{
    if (nbytes > SIZE_MAX / 4 - b->nbytes)
        return NULL;
    uint8_t *grown = hone_grow(b->bytes, &b->cap, b->nbytes + nbytes, 1);
    if (!grown)
        return NULL;
    b->bytes = grown;
    b->nbytes += nbytes;
    return grown + b->nbytes - nbytes;
}

static void put_bytes(hone_gguf_header *h, const void *src, size_t nbytes)
{
    if (hone_gguf_failed(h))
        return;
    uint8_t *dst = extend(&h->kvs, nbytes);
    if (!dst)
        fail_nomem(h, nbytes);
    else if (nbytes > 0)
        memcpy(dst, src, nbytes);
}

static void put_u32(hone_gguf_header *h, uint32_t v)
{
    uint8_t bytes[4];
    hone_store_u32(bytes, v);
    put_bytes(h, bytes, sizeof bytes);
}

static void put_u64(hone_gguf_header *h, uint64_t v)
{
    uint8_t bytes[8];
    hone_store_u64(bytes, v);
    put_bytes(h, bytes, sizeof bytes);
}

static void put_text(hone_gguf_header *h, const char *data, size_t len)
{
    put_u64(h, len);
    put_bytes(h, data, len);
}

static bool is_utf8(const char *s, size_t len)
{
    size_t at = 0;
    while (at < len) {
        utf8proc_int32_t code;
        const utf8proc_ssize_t n =
            utf8proc_iterate((const utf8proc_uint8_t *)s + at, (utf8proc_ssize_t)(len - at), &code);
        if (n <= 0)
            return false;
        at += (size_t)n;
    }
    return true;
}

static const struct kv *find_kv(const hone_gguf_header *h, const char *key)
{
    for (size_t i = 0; i < h->n_index; i++)
        if (strcmp(h->index[i].key, key) == 0)
            return &h->index[i];
    return NULL;
}

/* The key, the type and, for arrays, the element type and count. False after any failure. */
static bool begin_kv(hone_gguf_header *h, const char *key, hone_value_type type, hone_value_type elem_type,
                     size_t count)
{
    if (hone_gguf_failed(h))
        return false;
    const size_t len = strlen(key);
    if (len == 0 || len > MAX_KEY_NBYTES || !is_utf8(key, len))
        fail_item(h, HONE_ERROR_ARG, key, "no valid metadata key");
    else if (strcmp(key, "general.alignment") == 0)
        fail_item(h, HONE_ERROR_ARG, key, "is set by the writer");
    else if (find_kv(h, key))
        fail_item(h, HONE_ERROR_ARG, key, "a second entry of this key");
    if (hone_gguf_failed(h))
        return false;
    struct kv *grown = hone_grow(h->index, &h->cap_index, h->n_index + 1, sizeof *grown);
    if (grown)
        h->index = grown;
    const char *copy = hone_arena_copy(&h->arena, key, len);
    if (!grown || !copy) {
        fail_nomem(h, len);
        return false;
    }
    put_text(h, key, len);
    put_u32(h, (uint32_t)type);
    if (type == HONE_VALUE_ARRAY) {
        put_u32(h, (uint32_t)elem_type);
        put_u64(h, count);
    }
    const bool fixed = type != HONE_VALUE_STRING && (type != HONE_VALUE_ARRAY || elem_type != HONE_VALUE_STRING);
    h->index[h->n_index++] = (struct kv){copy, h->kvs.nbytes, fixed};
    return !hone_gguf_failed(h);
}

static void put_scalar(hone_gguf_header *h, const char *key, hone_value_type type, const void *value, size_t size)
{
    if (begin_kv(h, key, type, type, 0))
        put_bytes(h, value, size);
}

void hone_gguf_put_u8(hone_gguf_header *h, const char *key, uint8_t value)
{
    put_scalar(h, key, HONE_VALUE_U8, &value, sizeof value);
}

void hone_gguf_put_u16(hone_gguf_header *h, const char *key, uint16_t value)
{
    put_scalar(h, key, HONE_VALUE_U16, &value, sizeof value);
}

void hone_gguf_put_u32(hone_gguf_header *h, const char *key, uint32_t value)
{
    put_scalar(h, key, HONE_VALUE_U32, &value, sizeof value);
}

void hone_gguf_put_i32(hone_gguf_header *h, const char *key, int32_t value)
{
    put_scalar(h, key, HONE_VALUE_I32, &value, sizeof value);
}

void hone_gguf_put_u64(hone_gguf_header *h, const char *key, uint64_t value)
{
    put_scalar(h, key, HONE_VALUE_U64, &value, sizeof value);
}

void hone_gguf_put_f32(hone_gguf_header *h, const char *key, float value)
{
    put_scalar(h, key, HONE_VALUE_F32, &value, sizeof value);
}

void hone_gguf_put_bool(hone_gguf_header *h, const char *key, bool value)
{
    const uint8_t byte = value;
    put_scalar(h, key, HONE_VALUE_BOOL, &byte, sizeof byte);
}

void hone_gguf_put_str(hone_gguf_header *h, const char *key, const char *value)
{
    hone_gguf_put_string(h, key, (hone_string){value, strlen(value)});
}

void hone_gguf_put_string(hone_gguf_header *h, const char *key, hone_string value)
{
    if (begin_kv(h, key, HONE_VALUE_STRING, HONE_VALUE_STRING, 0))
        put_text(h, value.data, value.len);
}

/* values NULL: zeros. */
static void put_array(hone_gguf_header *h, const char *key, hone_value_type elem_type, const void *values, size_t n,
                      size_t size)
{
    size_t nbytes;
    if (!begin_kv(h, key, HONE_VALUE_ARRAY, elem_type, n))
        return;
    uint8_t *dst = hone_mul_size(n, size, &nbytes) ? extend(&h->kvs, nbytes) : NULL;
    if (!dst)
        fail_nomem(h, n);
    else if (nbytes > 0 && values)
        memcpy(dst, values, nbytes);
    else
        memset(dst, 0, nbytes);
}

void hone_gguf_put_u8_array(hone_gguf_header *h, const char *key, const uint8_t *values, size_t n)
{
    put_array(h, key, HONE_VALUE_U8, values, n, sizeof *values);
}

void hone_gguf_put_i32_array(hone_gguf_header *h, const char *key, const int32_t *values, size_t n)
{
    put_array(h, key, HONE_VALUE_I32, values, n, sizeof *values);
}

void hone_gguf_put_u32_array(hone_gguf_header *h, const char *key, const uint32_t *values, size_t n)
{
    put_array(h, key, HONE_VALUE_U32, values, n, sizeof *values);
}

void hone_gguf_put_f32_array(hone_gguf_header *h, const char *key, const float *values, size_t n)
{
    put_array(h, key, HONE_VALUE_F32, values, n, sizeof *values);
}

void hone_gguf_put_u64_array(hone_gguf_header *h, const char *key, const uint64_t *values, size_t n)
{
    put_array(h, key, HONE_VALUE_U64, values, n, sizeof *values);
}

void hone_gguf_put_bool_array(hone_gguf_header *h, const char *key, const bool *values, size_t n)
{
    if (!begin_kv(h, key, HONE_VALUE_ARRAY, HONE_VALUE_BOOL, n))
        return;
    for (size_t i = 0; i < n; i++) {
        const uint8_t byte = values[i];
        put_bytes(h, &byte, 1);
    }
}

void hone_gguf_put_str_array(hone_gguf_header *h, const char *key, const hone_string *values, size_t n)
{
    if (!begin_kv(h, key, HONE_VALUE_ARRAY, HONE_VALUE_STRING, n))
        return;
    for (size_t i = 0; i < n; i++)
        put_text(h, values[i].data, values[i].len);
}

static size_t value_nbytes(hone_value_type type)
{
    switch (type) {
    case HONE_VALUE_U8:
    case HONE_VALUE_I8:
    case HONE_VALUE_BOOL:
        return 1;
    case HONE_VALUE_U16:
    case HONE_VALUE_I16:
        return 2;
    case HONE_VALUE_U32:
    case HONE_VALUE_I32:
    case HONE_VALUE_F32:
        return 4;
    case HONE_VALUE_U64:
    case HONE_VALUE_I64:
    case HONE_VALUE_F64:
        return 8;
    case HONE_VALUE_STRING:
    case HONE_VALUE_ARRAY:
        break;
    }
    return 0;
}

static void put_number(hone_gguf_header *h, const char *key, const hone_metadata *entry)
{
    if (entry->type == HONE_VALUE_F32) {
        hone_gguf_put_f32(h, key, (float)entry->v.f);
    } else {
        /* Two's complement, little-endian: the low bytes of the union are the narrow value. */
        uint8_t bytes[8];
        memcpy(bytes, &entry->v, sizeof bytes);
        put_scalar(h, key, entry->type, bytes, value_nbytes(entry->type));
    }
}

void hone_gguf_put_metadata(hone_gguf_header *h, const hone_metadata *entry)
{
    const char *key = entry->key.data;
    if (entry->type == HONE_VALUE_STRING)
        hone_gguf_put_string(h, key, entry->v.string);
    else if (entry->type != HONE_VALUE_ARRAY)
        put_number(h, key, entry);
    else if (entry->v.array.elem_type == HONE_VALUE_STRING)
        hone_gguf_put_str_array(h, key, entry->v.array.strings, (size_t)entry->v.array.count);
    else
        put_array(h, key, entry->v.array.elem_type, entry->v.array.items, (size_t)entry->v.array.count,
                  value_nbytes(entry->v.array.elem_type));
}

void hone_gguf_add_tensor(hone_gguf_header *h, const char *name, hone_dtype dtype, unsigned n_dims,
                          const uint64_t *shape)
{
    if (hone_gguf_failed(h))
        return;
    const size_t len = strlen(name);
    if (len == 0 || len > HONE_GGUF_MAX_NAME || !is_utf8(name, len)) {
        fail_item(h, HONE_ERROR_ARG, name, "no valid tensor name for GGUF (1 to 63 bytes of UTF-8)");
        return;
    }
    if (n_dims > MAX_GGUF_DIMS || hone_dtype_describe(dtype)->ggml_id < 0) {
        fail_item(h, HONE_ERROR_UNSUPPORTED, name, "GGUF has no such type, or too many axes");
        return;
    }
    hone_tensor t = {.dtype = dtype, .n_dims = n_dims ? n_dims : 1, .shape = {1}};
    if (n_dims > 0)
        memcpy(t.shape, shape, n_dims * sizeof *shape);
    const char *wrong = hone_tensor_measure(&t);
    if (wrong) {
        fail_item(h, HONE_ERROR_ARG, name, wrong);
        return;
    }
    t.name = hone_arena_copy(&h->arena, name, len);
    hone_tensor *grown = hone_grow(h->tensors, &h->cap_tensors, h->n_tensors + 1, sizeof *grown);
    if (grown)
        h->tensors = grown;
    if (!grown || !t.name)
        fail_nomem(h, len);
    else
        h->tensors[h->n_tensors++] = t;
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static hone_status check_unique(const hone_gguf_header *h, hone_error *err)
{
    const char **names = hone_alloc(h->n_tensors, sizeof *names);
    if (!names)
        return hone_fail_nomem(err, h->n_tensors * sizeof *names);
    for (size_t i = 0; i < h->n_tensors; i++)
        names[i] = h->tensors[i].name;
    qsort(names, h->n_tensors, sizeof *names, compare_strings);
    hone_status status = HONE_OK;
    for (size_t i = 1; i < h->n_tensors && status == HONE_OK; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            status = hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, names[i], "a second tensor of this name");
    hone_release(names);
    return status;
}

/* Positions and sizes of all tensors; out->offsets count from the data's start until it is known. */
static hone_status place_tensors(const hone_gguf_header *h, uint32_t alignment, hone_gguf_layout *out, hone_error *err)
{
    out->offsets = hone_alloc(h->n_tensors, sizeof *out->offsets);
    out->sizes = hone_alloc(h->n_tensors, sizeof *out->sizes);
    if (!out->offsets || !out->sizes)
        return hone_fail_nomem(err, h->n_tensors * sizeof *out->sizes);
    uint64_t next = 0;
    for (size_t i = 0; i < h->n_tensors; i++) {
        const hone_tensor *t = &h->tensors[i];
        uint64_t end;
        /* A file position is a signed 64-bit number; half of that leaves room for the header and the padding. */
        if (!hone_add_u64(next, t->nbytes, &end) || end > INT64_MAX / 2)
            return hone_fail(err, HONE_ERROR_LIMIT, HONE_NO_OFFSET, t->name, "the file would be too large");
        out->offsets[i] = next;
        out->sizes[i] = t->nbytes;
        next = hone_align_up(end, alignment);
    }
    out->n_tensors = h->n_tensors;
    out->file_nbytes = next;
    return HONE_OK;
}

static size_t info_nbytes(const hone_tensor *t)
{
    return 8 + strlen(t->name) + 4 + 8 * t->n_dims + 4 + 8;
}

static uint8_t *store_u32(uint8_t *p, uint32_t v)
{
    hone_store_u32(p, v);
    return p + 4;
}

static uint8_t *store_u64(uint8_t *p, uint64_t v)
{
    hone_store_u64(p, v);
    return p + 8;
}

static uint8_t *store_text(uint8_t *p, const char *s)
{
    const size_t len = strlen(s);
    memcpy(store_u64(p, len), s, len);
    return p + 8 + len;
}

static const char ALIGNMENT_KEY[] = "general.alignment";

static void store_header(const hone_gguf_header *h, uint32_t alignment, hone_gguf_layout *out)
{
    const bool has_alignment = alignment != HONE_GGUF_ALIGNMENT;
    uint8_t *p = out->bytes;
    memcpy(p, "GGUF", 4);
    p = store_u32(p + 4, GGUF_VERSION);
    p = store_u64(p, h->n_tensors);
    p = store_u64(p, h->n_index + has_alignment);
    if (h->kvs.nbytes > 0)
        memcpy(p, h->kvs.bytes, h->kvs.nbytes);
    p += h->kvs.nbytes;
    if (has_alignment) {
        p = store_text(p, ALIGNMENT_KEY);
        p = store_u32(p, HONE_VALUE_U32);
        p = store_u32(p, alignment);
    }
    for (size_t i = 0; i < h->n_tensors; i++) {
        const hone_tensor *t = &h->tensors[i];
        p = store_text(p, t->name);
        p = store_u32(p, t->n_dims);
        for (unsigned d = t->n_dims; d > 0; d--)
            p = store_u64(p, t->shape[d - 1]);
        p = store_u32(p, (uint32_t)hone_dtype_describe(t->dtype)->ggml_id);
        p = store_u64(p, out->offsets[i]);
    }
    memset(p, 0, out->nbytes - (size_t)(p - out->bytes));
}

static hone_status lay_out(const hone_gguf_header *h, uint32_t alignment, hone_gguf_layout *out, hone_error *err)
{
    HONE_TRY(check_unique(h, err));
    HONE_TRY(place_tensors(h, alignment, out, err));
    uint64_t nbytes = PREAMBLE_NBYTES + h->kvs.nbytes;
    if (alignment != HONE_GGUF_ALIGNMENT)
        nbytes += 8 + sizeof ALIGNMENT_KEY - 1 + 4 + 4;
    for (size_t i = 0; i < h->n_tensors; i++)
        nbytes += info_nbytes(&h->tensors[i]);
    out->data_start = hone_align_up(nbytes, alignment);
    out->nbytes = (size_t)out->data_start;
    out->bytes = hone_alloc(out->nbytes, 1);
    if (!out->bytes)
        return hone_fail_nomem(err, out->nbytes);
    store_header(h, alignment, out);
    for (size_t i = 0; i < h->n_tensors; i++)
        out->offsets[i] += out->data_start;
    out->file_nbytes += out->data_start;
    return HONE_OK;
}

hone_status hone_gguf_finish(const hone_gguf_header *h, uint32_t alignment, hone_gguf_layout *out, hone_error *err)
{
    *out = (hone_gguf_layout){0};
    if (!h)
        return hone_fail_nomem(err, sizeof *h);
    if (h->error.status != HONE_OK) {
        if (err)
            *err = h->error;
        return h->error.status;
    }
    if (alignment < 8 || (alignment & (alignment - 1)) != 0)
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, ALIGNMENT_KEY, "%u is no power of two of 8 or more",
                         (unsigned)alignment);
    const hone_status status = lay_out(h, alignment, out, err);
    if (status != HONE_OK)
        hone_gguf_layout_deinit(out);
    return status;
}

void hone_gguf_layout_deinit(hone_gguf_layout *layout)
{
    hone_release(layout->bytes);
    hone_release(layout->offsets);
    hone_release(layout->sizes);
    *layout = (hone_gguf_layout){0};
}

uint64_t hone_gguf_payload_offset(const hone_gguf_header *h, const char *key)
{
    const struct kv *kv = h ? find_kv(h, key) : NULL;
    return kv && kv->fixed ? PREAMBLE_NBYTES + kv->payload : HONE_NO_OFFSET;
}
