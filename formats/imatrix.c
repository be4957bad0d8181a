/* SPDX-License-Identifier: MIT */
#include "formats/imatrix.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "base/fail.h"
#include "base/mem.h"
#include "formats/imatrix_keys.h"
#include "formats/sources.h"

enum {
    MAX_NAME_NBYTES = 4096, /* llama.cpp's names end at 63 */
    MAX_MATS = 1 << 20,
    MIN_ENTRY_NBYTES = 4 + 1 + 4 + 4 + 4,
    PIECE_NELEMS = 1 << 14
};

struct entry {
    hone_imatrix_entry shown;
    uint64_t at;         /* file position of the first value */
    const float *counts; /* (n_mats): what the values are divided by; arena */
};

struct hone_imatrix {
    char *path;
    hone_checkpoint *gguf; /* NULL: the legacy form */
    hone_file legacy;
    const hone_file *file;
    hone_arena arena;
    struct entry *entries; /* by name */
    size_t n_entries, cap_entries;
    const char *dataset; /* arena */
    uint32_t n_chunks;
};

static hone_status add_entry(hone_imatrix *m, struct entry e, hone_error *err)
{
    struct entry *grown = hone_grow(m->entries, &m->cap_entries, m->n_entries + 1, sizeof *grown);
    if (!grown)
        return hone_fail_nomem(err, (m->n_entries + 1) * sizeof *grown);
    m->entries = grown;
    m->entries[m->n_entries++] = e;
    return HONE_OK;
}

/* --- GGUF -----------------------------------------------------------------------------------------------------------
 */

/* The entry of a key, of the type it must have. */
static hone_status find_key(const hone_checkpoint *gguf, const char *key, hone_value_type type,
                            const hone_metadata **out, hone_error *err)
{
    *out = hone_checkpoint_find_metadata(gguf, key);
    if (!*out)
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, key, "missing");
    if ((*out)->type != type || (type == HONE_VALUE_ARRAY && (*out)->v.array.elem_type != HONE_VALUE_STRING))
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, key, "not of the type it has in importance matrices");
    return HONE_OK;
}

static hone_status read_keys(hone_imatrix *m, hone_error *err)
{
    const hone_metadata *type = hone_checkpoint_find_metadata(m->gguf, HONE_IMATRIX_TYPE_KEY);
    const bool told = type && type->type == HONE_VALUE_STRING;
    if (told && strcmp(type->v.string.data, HONE_IMATRIX_TYPE) != 0)
        return hone_fail(err, HONE_ERROR_FORMAT, HONE_NO_OFFSET, HONE_IMATRIX_TYPE_KEY,
                         "\"%.60s\", not an importance matrix", type->v.string.data);
    if (!told && !hone_checkpoint_find_metadata(m->gguf, HONE_IMATRIX_DATASETS_KEY))
        return hone_fail(err, HONE_ERROR_FORMAT, HONE_NO_OFFSET, NULL, "a GGUF file, but not an importance matrix");
    const hone_metadata *datasets, *n_chunks, *ntokens;
    HONE_TRY(find_key(m->gguf, HONE_IMATRIX_DATASETS_KEY, HONE_VALUE_ARRAY, &datasets, err));
    HONE_TRY(find_key(m->gguf, HONE_IMATRIX_N_CHUNKS_KEY, HONE_VALUE_U32, &n_chunks, err));
    HONE_TRY(find_key(m->gguf, HONE_IMATRIX_CHUNK_SIZE_KEY, HONE_VALUE_U32, &ntokens, err));
    m->n_chunks = (uint32_t)n_chunks->v.u;
    if (datasets->v.array.count > 0)
        m->dataset = datasets->v.array.strings[0].data;
    return HONE_OK;
}

/* The name of the weight that a tensor with this suffix is about, or NULL. */
static const char *weight_of(hone_imatrix *m, const hone_tensor *t, const char *suffix, hone_status *status,
                             hone_error *err)
{
    const size_t len = strlen(t->name), n = strlen(suffix);
    if (len <= n || strcmp(t->name + len - n, suffix) != 0)
        return NULL;
    const char *name = hone_arena_copy(&m->arena, t->name, len - n);
    if (!name)
        *status = hone_fail_nomem(err, len);
    return name;
}

/* The tensor that belongs to t: of the same weight, under the other suffix. */
static hone_status find_other(const hone_imatrix *m, const hone_tensor *t, const char *weight, const char *suffix,
                              const hone_tensor **out, hone_error *err)
{
    const size_t len = strlen(weight), n = strlen(suffix);
    char *name = hone_alloc(len + n + 1, 1);
    if (!name)
        return hone_fail_nomem(err, len + n + 1);
    memcpy(name, weight, len);
    memcpy(name + len, suffix, n + 1);
    *out = hone_checkpoint_find(m->gguf, name);
    hone_release(name);
    if (*out)
        return HONE_OK;
    return hone_fail(err, HONE_ERROR_DATA, t->offset, t->name, "without its \"%s\"", suffix);
}

static hone_status read_counts(hone_imatrix *m, const hone_tensor *counts, const float **out, hone_error *err)
{
    float *values = hone_arena_alloc(&m->arena, (size_t)counts->nelems, sizeof *values);
    if (!values)
        return hone_fail_nomem(err, counts->nbytes);
    HONE_TRY(hone_checkpoint_read(m->gguf, counts, 0, (size_t)counts->nbytes, values, err));
    for (size_t i = 0; i < counts->nelems; i++)
        if (!isfinite(values[i]) || values[i] < 0.0f || floorf(values[i]) != values[i])
            return hone_fail(err, HONE_ERROR_DATA, counts->offset + 4 * i, counts->name,
                             "count %zu is %g, not a whole number", i, (double)values[i]);
    *out = values;
    return HONE_OK;
}

static hone_status read_pair(hone_imatrix *m, const char *weight, const hone_tensor *sums, hone_error *err)
{
    const hone_tensor *counts;
    HONE_TRY(find_other(m, sums, weight, HONE_IMATRIX_COUNTS, &counts, err));
    const hone_tensor *pair[] = {sums, counts};
    for (size_t i = 0; i < 2; i++) {
        if (pair[i]->dtype != HONE_F32)
            return hone_fail(err, HONE_ERROR_DATA, pair[i]->offset, pair[i]->name, "of type %s, not f32",
                             hone_dtype_describe(pair[i]->dtype)->name);
        if (pair[i]->nelems == 0)
            return hone_fail(err, HONE_ERROR_DATA, pair[i]->offset, pair[i]->name, "empty");
    }
    if (counts->nelems > MAX_MATS)
        return hone_fail(err, HONE_ERROR_LIMIT, counts->offset, counts->name, "%" PRIu64 " matrices", counts->nelems);
    const uint64_t ncols = sums->n_dims ? sums->shape[sums->n_dims - 1] : 1;
    if (sums->nelems / ncols != counts->nelems)
        return hone_fail(err, HONE_ERROR_DATA, sums->offset, sums->name,
                         "%" PRIu64 " rows of sums, but %" PRIu64 " counts", sums->nelems / ncols, counts->nelems);
    struct entry e = {.shown = {.name = weight, .n_values = sums->nelems, .n_mats = counts->nelems},
                      .at = sums->offset};
    HONE_TRY(read_counts(m, counts, &e.counts, err));
    return add_entry(m, e, err);
}

/* Tensors that are neither sums of squares nor counts are other statistics of newer files. */
static hone_status read_gguf(hone_imatrix *m, hone_error *err)
{
    HONE_TRY(hone_checkpoint_open(m->path, NULL, &m->gguf, err));
    if (hone_checkpoint_n_files(m->gguf) != 1)
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, NULL, "an importance matrix of several files");
    m->file = &m->gguf->files[0];
    HONE_TRY(read_keys(m, err));
    for (size_t i = 0; i < hone_checkpoint_n_tensors(m->gguf); i++) {
        const hone_tensor *t = hone_checkpoint_tensor(m->gguf, i), *other;
        hone_status status = HONE_OK;
        const char *weight = weight_of(m, t, HONE_IMATRIX_SUMS, &status, err);
        if (weight)
            status = read_pair(m, weight, t, err);
        else if (status == HONE_OK && (weight = weight_of(m, t, HONE_IMATRIX_COUNTS, &status, err)) != NULL)
            status = find_other(m, t, weight, HONE_IMATRIX_SUMS, &other, err);
        if (status != HONE_OK)
            return status;
    }
    return HONE_OK;
}

/* --- legacy ---------------------------------------------------------------------------------------------------------
 */

/* The legacy file, read from the front. */
struct reader {
    const hone_file *file;
    uint64_t at;
    const char *item; /* the entry's name, once it is known */
    hone_error *err;
};

static uint64_t left(const struct reader *r)
{
    return r->file->nbytes - r->at;
}

static hone_status fail_at(const struct reader *r, uint64_t at, const char *reason)
{
    return hone_fail(r->err, HONE_ERROR_DATA, at, r->item, "%s", reason);
}

/* A count in [least, most]. */
static hone_status read_i32(struct reader *r, int64_t least, int64_t most, const char *what, uint32_t *out)
{
    uint8_t bytes[4];
    if (left(r) < sizeof bytes)
        return fail_at(r, r->at, "the file ends inside the table");
    HONE_TRY(hone_file_read(r->file, r->at, bytes, sizeof bytes, r->err));
    *out = hone_load_u32(bytes);
    const int64_t value = (int32_t)*out;
    if (value < least || value > most)
        return hone_fail(r->err, HONE_ERROR_DATA, r->at, r->item, "%" PRId64 " %s", value, what);
    r->at += sizeof bytes;
    return HONE_OK;
}

static hone_status read_text(hone_imatrix *m, struct reader *r, uint32_t nbytes, const char **out)
{
    if (nbytes > left(r))
        return fail_at(r, r->at - 4, "text runs past the end of the file");
    char *text = hone_arena_alloc(&m->arena, (size_t)nbytes + 1, 1);
    if (!text)
        return hone_fail_nomem(r->err, nbytes);
    HONE_TRY(hone_file_read(r->file, r->at, text, nbytes, r->err));
    text[nbytes] = '\0';
    if (memchr(text, 0, nbytes))
        return fail_at(r, r->at, "text with a zero byte");
    r->at += nbytes;
    *out = text;
    return HONE_OK;
}

static hone_status read_entry(hone_imatrix *m, struct reader *r)
{
    uint32_t nbytes, n_calls, n_values;
    struct entry e = {.shown = {.n_mats = 1}};
    r->item = NULL;
    HONE_TRY(read_i32(r, 1, MAX_NAME_NBYTES, "bytes of a name", &nbytes));
    HONE_TRY(read_text(m, r, nbytes, &e.shown.name));
    r->item = e.shown.name;
    HONE_TRY(read_i32(r, 1, INT32_MAX, "calls", &n_calls));
    HONE_TRY(read_i32(r, 1, INT32_MAX, "values", &n_values));
    if (n_values > left(r) / sizeof(float))
        return fail_at(r, r->at - 4, "values run past the end of the file");
    float *count = hone_arena_alloc(&m->arena, 1, sizeof *count);
    if (!count)
        return hone_fail_nomem(r->err, sizeof *count);
    *count = (float)n_calls;
    e.shown.n_values = n_values;
    e.counts = count;
    e.at = r->at;
    r->at += (uint64_t)n_values * sizeof(float);
    return add_entry(m, e, r->err);
}

static hone_status read_legacy(hone_imatrix *m, hone_error *err)
{
    struct reader r = {.file = &m->legacy, .err = err};
    m->file = &m->legacy;
    uint32_t n_entries, nbytes;
    HONE_TRY(read_i32(&r, INT32_MIN, INT32_MAX, "", &n_entries));
    if (n_entries == 0 || n_entries > left(&r) / MIN_ENTRY_NBYTES)
        return hone_fail(err, HONE_ERROR_FORMAT, 0, NULL, "not an importance matrix: %" PRId32 " entries",
                         (int32_t)n_entries);
    for (uint32_t i = 0; i < n_entries; i++)
        HONE_TRY(read_entry(m, &r));
    r.item = NULL;
    if (left(&r) > 0)
        HONE_TRY(read_i32(&r, 0, INT32_MAX, "chunks", &m->n_chunks));
    if (left(&r) > 0) {
        HONE_TRY(read_i32(&r, 0, MAX_NAME_NBYTES, "bytes of a name", &nbytes));
        HONE_TRY(read_text(m, &r, nbytes, &m->dataset));
    }
    return left(&r) == 0 ? HONE_OK : fail_at(&r, r.at, "bytes behind the end of the table");
}

/* --- both -----------------------------------------------------------------------------------------------------------
 */

static int compare_entries(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    const int by_name = strcmp(x->shown.name, y->shown.name);
    return by_name ? by_name : (x->at > y->at) - (x->at < y->at);
}

static hone_status sort_entries(hone_imatrix *m, hone_error *err)
{
    if (m->n_entries == 0)
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, NULL, "no entries");
    qsort(m->entries, m->n_entries, sizeof *m->entries, compare_entries);
    for (size_t i = 1; i < m->n_entries; i++) {
        const struct entry *e = &m->entries[i];
        if (strcmp(e[-1].shown.name, e->shown.name) == 0)
            return hone_fail(err, HONE_ERROR_DATA, e->at, e->shown.name, "a second entry of this name");
    }
    return HONE_OK;
}

/* Values as they are stored. */
static hone_status read_stored(const hone_imatrix *m, const struct entry *e, uint64_t first, size_t n, float *dst,
                               hone_error *err)
{
    HONE_TRY(hone_file_read(m->file, e->at + first * sizeof *dst, dst, n * sizeof *dst, err));
    const uint64_t ncols = e->shown.n_values / e->shown.n_mats;
    for (size_t i = 0; i < n; i++) {
        if (isfinite(dst[i]) && dst[i] >= 0.0f)
            continue;
        const uint64_t mat = (first + i) / ncols, column = (first + i) % ncols, at = e->at + (first + i) * sizeof *dst;
        const char *what = isnan(dst[i]) ? "NaN" : dst[i] < 0.0f ? "negative" : "infinite";
        if (e->shown.n_mats == 1)
            return hone_fail(err, HONE_ERROR_DATA, at, e->shown.name, "importance of column %" PRIu64 " is %s", column,
                             what);
        return hone_fail(err, HONE_ERROR_DATA, at, e->shown.name,
                         "importance of column %" PRIu64 " of matrix %" PRIu64 " is %s", column, mat, what);
    }
    return HONE_OK;
}

/* Looks at each value once: that it is one, and how many are zero. */
static hone_status scan(const hone_imatrix *m, struct entry *e, float *piece, hone_error *err)
{
    hone_imatrix_entry *shown = &e->shown;
    const uint64_t ncols = shown->n_values / shown->n_mats;
    for (uint64_t mat = 0; mat < shown->n_mats; mat++)
        shown->n_unseen += e->counts[mat] == 0.0f;
    for (uint64_t first = 0; first < shown->n_values; first += PIECE_NELEMS) {
        const uint64_t rest = shown->n_values - first;
        const size_t n = rest < PIECE_NELEMS ? (size_t)rest : PIECE_NELEMS;
        HONE_TRY(read_stored(m, e, first, n, piece, err));
        for (size_t i = 0; i < n; i++) {
            if (piece[i] != 0.0f || e->counts[(first + i) / ncols] == 0.0f)
                continue;
            if (shown->n_zeros++ == 0)
                shown->first_zero = first + i;
        }
    }
    return HONE_OK;
}

static hone_status read_all(hone_imatrix *m, hone_error *err)
{
    uint8_t head[4] = {0};
    HONE_TRY(hone_file_open(m->path, &m->legacy, err));
    if (m->legacy.nbytes >= sizeof head)
        HONE_TRY(hone_file_read(&m->legacy, 0, head, sizeof head, err));
    HONE_TRY(memcmp(head, "GGUF", 4) == 0 ? read_gguf(m, err) : read_legacy(m, err));
    HONE_TRY(sort_entries(m, err));
    float *piece = hone_alloc(PIECE_NELEMS, sizeof *piece);
    if (!piece)
        return hone_fail_nomem(err, PIECE_NELEMS * sizeof *piece);
    hone_status status = HONE_OK;
    for (size_t i = 0; i < m->n_entries && status == HONE_OK; i++)
        status = scan(m, &m->entries[i], piece, err);
    hone_release(piece);
    return status;
}

hone_status hone_imatrix_open(const char *path, hone_imatrix **out, hone_error *err)
{
    *out = NULL;
    hone_imatrix *m = hone_calloc(1, sizeof *m);
    if (!m)
        return hone_fail_nomem(err, sizeof *m);
    m->legacy.fd = -1;
    m->dataset = "";
    m->path = hone_strdup(path);
    const hone_status status = m->path ? read_all(m, err) : hone_fail_nomem(err, strlen(path));
    if (status != HONE_OK) {
        hone_imatrix_close(m);
        return hone_fail_in_file(err, status, path);
    }
    *out = m;
    return HONE_OK;
}

void hone_imatrix_close(hone_imatrix *m)
{
    if (!m)
        return;
    hone_checkpoint_close(m->gguf);
    hone_file_close(&m->legacy);
    hone_arena_deinit(&m->arena);
    hone_release(m->entries);
    hone_release(m->path);
    hone_release(m);
}

const char *hone_imatrix_path(const hone_imatrix *m)
{
    return m->path;
}

const char *hone_imatrix_dataset(const hone_imatrix *m)
{
    return m->dataset;
}

const char *hone_imatrix_transforms(const hone_imatrix *m)
{
    const hone_metadata *entry = m->gguf ? hone_checkpoint_find_metadata(m->gguf, HONE_IMATRIX_TRANSFORMS_KEY) : NULL;
    return entry && entry->type == HONE_VALUE_STRING ? entry->v.string.data : "";
}

uint32_t hone_imatrix_n_chunks(const hone_imatrix *m)
{
    return m->n_chunks;
}

float hone_imatrix_count(const hone_imatrix_entry *entry, uint64_t mat)
{
    return ((const struct entry *)entry)->counts[mat < entry->n_mats ? mat : 0]; /* shown is its first member */
}

const hone_checkpoint *hone_imatrix_gguf(const hone_imatrix *m)
{
    return m->gguf;
}

const struct hone_file *hone_imatrix_file(const hone_imatrix *m)
{
    return m->file;
}

size_t hone_imatrix_n_entries(const hone_imatrix *m)
{
    return m->n_entries;
}

const hone_imatrix_entry *hone_imatrix_entry_at(const hone_imatrix *m, size_t i)
{
    return i < m->n_entries ? &m->entries[i].shown : NULL;
}

const hone_imatrix_entry *hone_imatrix_find(const hone_imatrix *m, const char *name)
{
    size_t low = 0, high = m->n_entries;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = strcmp(m->entries[middle].shown.name, name);
        if (order == 0)
            return &m->entries[middle].shown;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

hone_status hone_imatrix_read(const hone_imatrix *m, const hone_imatrix_entry *entry, uint64_t first, size_t n,
                              float *dst, hone_error *err)
{
    const struct entry *e = (const struct entry *)(const void *)entry; /* shown is its first member */
    if (first > entry->n_values || n > entry->n_values - first)
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, entry->name, "values beyond the %" PRIu64 " there are",
                         entry->n_values);
    const hone_status status = read_stored(m, e, first, n, dst, err);
    if (status != HONE_OK)
        return hone_fail_in_file(err, status, m->path);
    const uint64_t ncols = entry->n_values / entry->n_mats;
    for (size_t i = 0; i < n; i++) {
        const float count = e->counts[(first + i) / ncols];
        dst[i] = count > 0.0f ? dst[i] / count : 1.0f;
    }
    return HONE_OK;
}
