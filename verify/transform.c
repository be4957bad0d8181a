/* SPDX-License-Identifier: MIT */
#include "verify/transform.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

#include "base/arith.h"
#include "base/fail.h"
#include "base/mem.h"
#include "formats/decode.h"
#include "formats/sources.h"

/* TILE: columns of a block of rows that are rotated together, a cache line of them. */
enum { TILE = 8, BATCH_NELEMS = 1 << 16 };

/* A block of rotated rows, kept while there is more of it to be read. */
struct block {
    float *rows;        /* (block, ncols), or NULL */
    uint64_t delivered; /* elements */
};

struct changed {
    hone_view view; /* first */
    hone_tensor source;
    hone_decode_fn decode;
    size_t nrows, ncols;
    bool ones;
    float *row_scale, *column_scale;
    bool rotates_rows, rotates_columns;
    hone_rotation row_rotation, column_rotation;
    struct block *blocks;  /* row_rotation.n / row_rotation.block */
    pthread_mutex_t mutex; /* held to read or write blocks */
};

static hone_status read_view(const hone_checkpoint *ckpt, const hone_tensor *tensor, uint64_t offset, size_t nbytes,
                             void *dst, hone_error *err);

/* Experts that are stored one by one are changed alike: the first speaks for the stack. */
static const struct changed *as_changed(const hone_tensor *tensor)
{
    const hone_tensor *first = hone_tensor_stack_part(tensor, 0);
    tensor = first ? first : tensor;
    return tensor->view && tensor->view->read == read_view ? (const struct changed *)tensor->view : NULL;
}

/* ---- rotations ---- */

/* The orders of Paley's matrices that are used beside Sylvester's. Both are a prime that is 3 modulo 4, and one. */
static const size_t paley_orders[] = {20, 12};

/* The factor of a block that is no power of two, or 0: no block is so long. */
static size_t odd_order(size_t block)
{
    if (block == 0)
        return 0;
    for (size_t i = 0; i < sizeof paley_orders / sizeof paley_orders[0]; i++) {
        const size_t order = paley_orders[i];
        if (block % order == 0 && (block / order & (block / order - 1)) == 0)
            return order;
    }
    return (block & (block - 1)) == 0 ? 1 : 0;
}

size_t hone_rotation_block(size_t n)
{
    size_t best = n & (~n + 1);
    for (size_t i = 0; i < sizeof paley_orders / sizeof paley_orders[0]; i++) {
        const size_t order = paley_orders[i], rest = n / order;
        if (n % order == 0 && order * (rest & (~rest + 1)) > best)
            best = order * (rest & (~rest + 1));
    }
    return best;
}

void hone_rotation_signs(uint64_t seed, size_t n, float *signs)
{
    for (size_t i = 0; i < n; i++) { /* splitmix64 of a counter */
        uint64_t z = seed + (uint64_t)(i + 1) * 0x9e3779b97f4a7c15u;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        signs[i] = (z ^ z >> 31) >> 63 ? -1.0f : 1.0f;
    }
}

/* x (n, width) is multiplied by Sylvester's matrix of order n from the left. */
static void sylvester(double *x, size_t n, size_t width)
{
    for (size_t half = width; half < n * width; half *= 2)
        for (size_t first = 0; first < n * width; first += 2 * half)
            for (size_t i = first; i < first + half; i++) {
                const double a = x[i], b = x[i + half];
                x[i] = a + b;
                x[i + half] = a - b;
            }
}

/*
 * Whether the element (i, j) of Paley's matrix of this order is 1, else -1: ones in the first row, minus ones in the
 * first column, and Q + I where Q[i][j] tells whether i - j is a square modulo q, order = q + 1. As q is 3 modulo 4, Q
 * is antisymmetric, and the rows are orthogonal.
 */
static bool paley_is_one(size_t order, size_t i, size_t j)
{
    const size_t q = order - 1;
    if (i == 0 || i == j)
        return true;
    if (j == 0)
        return false;
    const size_t difference = (i + q - j) % q;
    for (size_t k = 1; k < q; k++)
        if (k * k % q == difference)
            return true;
    return false;
}

/* x (order, width) is multiplied by Paley's matrix from the left. */
static void paley(double *x, size_t order, size_t width)
{
    enum { MAX_ORDER = 20 };
    double column[MAX_ORDER];
    bool ones[MAX_ORDER][MAX_ORDER];
    for (size_t i = 0; i < order; i++)
        for (size_t j = 0; j < order; j++)
            ones[i][j] = paley_is_one(order, i, j);
    for (size_t c = 0; c < width; c++) {
        for (size_t i = 0; i < order; i++) {
            column[i] = 0;
            for (size_t j = 0; j < order; j++)
                column[i] += ones[i][j] ? x[j * width + c] : -x[j * width + c];
        }
        for (size_t i = 0; i < order; i++)
            x[i * width + c] = column[i];
    }
}

/* x (block, width): each of its columns is a vector whose signs are applied already. */
static void rotate_block(double *x, size_t block, size_t width)
{
    const size_t odd = odd_order(block), even = block / odd;
    for (size_t i = 0; i < odd; i++)
        sylvester(x + i * even * width, even, width);
    if (odd > 1)
        paley(x, odd, even * width);
    const double scale = 1.0 / sqrt((double)block);
    for (size_t i = 0; i < block * width; i++)
        x[i] *= scale;
}

void hone_rotate(const hone_rotation *rotation, double *x)
{
    x += rotation->first;
    for (size_t i = 0; i < rotation->n; i++)
        x[i] *= (double)rotation->signs[i];
    for (size_t i = 0; i < rotation->n; i += rotation->block)
        rotate_block(x + i, rotation->block, 1);
}

/* ---- reading ---- */

struct range {
    size_t first, end;
};

/* The columns that must be known to compute some of a row: whole blocks of the rotation and of the stored type. */
static struct range widen(const struct changed *c, struct range columns)
{
    const hone_rotation *r = &c->column_rotation;
    struct range out = columns;
    if (hone_dtype_describe(c->source.dtype)->block_nelems > 1)
        return (struct range){0, c->ncols};
    if (!c->rotates_columns || columns.end <= r->first || columns.first >= r->first + r->n)
        return out;
    if (columns.first >= r->first)
        out.first = r->first + (columns.first - r->first) / r->block * r->block;
    if (columns.end <= r->first + r->n)
        out.end = r->first + (columns.end - r->first + r->block - 1) / r->block * r->block;
    return out;
}

/* Scales and rotates the columns `wide` of a row, whole blocks of it; x holds them, values is scratch as long. */
static void change_row(const struct changed *c, size_t row, struct range wide, float *x, double *values)
{
    const size_t n = wide.end - wide.first;
    const double by_row = c->row_scale ? (double)c->row_scale[row] : 1.0;
    for (size_t i = 0; i < n; i++)
        values[i] = c->ones ? by_row : (double)x[i] * by_row;
    for (size_t i = 0; c->column_scale && i < n; i++)
        values[i] *= (double)c->column_scale[wide.first + i];
    if (c->rotates_columns) {
        const hone_rotation *r = &c->column_rotation;
        const size_t from = wide.first > r->first ? wide.first : r->first;
        const size_t to = wide.end < r->first + r->n ? wide.end : r->first + r->n;
        if (from < to) {
            const hone_rotation part = {from - wide.first, to - from, r->block, r->signs + (from - r->first)};
            hone_rotate(&part, values);
        }
    }
    for (size_t i = 0; i < n; i++)
        x[i] = (float)values[i];
}

/* nelems of the source from element first on, whole blocks. */
static hone_status read_source(const hone_checkpoint *ckpt, const struct changed *c, uint64_t first, size_t nelems,
                               unsigned char *raw, float *dst, hone_error *err)
{
    const hone_dtype_info *info = hone_dtype_describe(c->source.dtype);
    const uint64_t offset = first / info->block_nelems * info->block_nbytes;
    const size_t nbytes = nelems / info->block_nelems * info->block_nbytes;
    HONE_TRY(hone_checkpoint_read(ckpt, &c->source, offset, nbytes, raw, err));
    c->decode(raw, dst, nelems);
    return HONE_OK;
}

/* Scratch of one read. */
struct scratch {
    unsigned char *raw;
    float *x; /* batch rows as they are stored */
    double *values;
    size_t batch; /* rows */
};

static void free_scratch(struct scratch *s)
{
    hone_release(s->raw);
    hone_release(s->x);
    hone_release(s->values);
}

static hone_status make_scratch(const struct changed *c, size_t nrows, size_t width, struct scratch *s, hone_error *err)
{
    const hone_dtype_info *info = hone_dtype_describe(c->source.dtype);
    *s = (struct scratch){.batch = width < BATCH_NELEMS ? BATCH_NELEMS / width : 1};
    s->batch = nrows < s->batch ? nrows : s->batch;
    const size_t nelems = s->batch * width;
    s->raw = hone_alloc(nelems / info->block_nelems, info->block_nbytes);
    s->x = hone_alloc(nelems, sizeof *s->x);
    s->values = hone_alloc(width, sizeof *s->values);
    if (s->raw && s->x && s->values)
        return HONE_OK;
    free_scratch(s);
    return hone_fail_nomem(err, nelems * (sizeof *s->x + 1));
}

/* Some columns of rows, all but the rotation of rows: dst (nrows, columns). */
static hone_status compute_rows(const hone_checkpoint *ckpt, const struct changed *c, size_t row, size_t nrows,
                                struct range columns, float *dst, hone_error *err)
{
    const struct range wide = widen(c, columns);
    const size_t width = wide.end - wide.first, n = columns.end - columns.first;
    struct scratch s;
    HONE_TRY(make_scratch(c, nrows, width, &s, err));
    hone_status status = HONE_OK;
    for (size_t done = 0; done < nrows && status == HONE_OK; done += s.batch) {
        const size_t batch = nrows - done < s.batch ? nrows - done : s.batch;
        if (width == c->ncols)
            status = read_source(ckpt, c, (uint64_t)(row + done) * width, batch * width, s.raw, s.x, err);
        for (size_t i = 0; width < c->ncols && i < batch && status == HONE_OK; i++)
            status = read_source(ckpt, c, (uint64_t)(row + done + i) * c->ncols + wide.first, width, s.raw,
                                 s.x + i * width, err);
        for (size_t i = 0; i < batch && status == HONE_OK; i++) {
            change_row(c, row + done + i, wide, s.x + i * width, s.values);
            memcpy(dst + (done + i) * n, s.x + i * width + (columns.first - wide.first), n * sizeof *dst);
        }
    }
    free_scratch(&s);
    return status;
}

/* rows (block, ncols) are rotated, tile by tile of columns. */
static hone_status rotate_rows(const struct changed *c, const float *signs, float *rows, hone_error *err)
{
    const size_t block = c->row_rotation.block;
    double *tile = hone_alloc(block * TILE, sizeof *tile);
    if (!tile)
        return hone_fail_nomem(err, block * TILE * sizeof *tile);
    for (size_t first = 0; first < c->ncols; first += TILE) {
        const size_t width = c->ncols - first < TILE ? c->ncols - first : TILE;
        for (size_t i = 0; i < block; i++)
            for (size_t j = 0; j < width; j++)
                tile[i * width + j] = (double)signs[i] * (double)rows[i * c->ncols + first + j];
        rotate_block(tile, block, width);
        for (size_t i = 0; i < block; i++)
            for (size_t j = 0; j < width; j++)
                rows[i * c->ncols + first + j] = (float)tile[i * width + j];
    }
    hone_release(tile);
    return HONE_OK;
}

static hone_status fill_block(const hone_checkpoint *ckpt, const struct changed *c, size_t index, hone_error *err)
{
    const hone_rotation *r = &c->row_rotation;
    float *rows = hone_alloc(r->block * c->ncols, sizeof *rows);
    if (!rows)
        return hone_fail_nomem(err, (uint64_t)r->block * c->ncols * sizeof *rows);
    const struct range all = {0, c->ncols};
    hone_status status = compute_rows(ckpt, c, r->first + index * r->block, r->block, all, rows, err);
    if (status == HONE_OK)
        status = rotate_rows(c, r->signs + index * r->block, rows, err);
    if (status != HONE_OK)
        hone_release(rows);
    else
        c->blocks[index] = (struct block){rows, 0};
    return status;
}

/* nelems of a block of rotated rows, from element `at` of it on. */
static hone_status read_block(const hone_checkpoint *ckpt, struct changed *c, size_t index, size_t at, size_t nelems,
                              float *dst, hone_error *err)
{
    (void)pthread_mutex_lock(&c->mutex);
    struct block *b = &c->blocks[index];
    const hone_status status = b->rows ? HONE_OK : fill_block(ckpt, c, index, err);
    if (status == HONE_OK) {
        memcpy(dst, b->rows + at, nelems * sizeof *dst);
        b->delivered += nelems;
        if (b->delivered >= (uint64_t)c->row_rotation.block * c->ncols) {
            hone_release(b->rows);
            *b = (struct block){0};
        }
    }
    (void)pthread_mutex_unlock(&c->mutex);
    return status;
}

/* Elements first .. first + n - 1, in rows that are not rotated with others. */
static hone_status read_plain(const hone_checkpoint *ckpt, const struct changed *c, uint64_t first, size_t n,
                              float *dst, hone_error *err)
{
    while (n > 0) {
        const size_t row = (size_t)(first / c->ncols), at = (size_t)(first % c->ncols), left = c->ncols - at;
        const bool whole = at == 0 && n >= c->ncols;
        const size_t nrows = whole ? n / c->ncols : 1, run = whole ? nrows * c->ncols : n < left ? n : left;
        const struct range columns = {at, whole ? c->ncols : at + run};
        HONE_TRY(compute_rows(ckpt, c, row, nrows, columns, dst, err));
        first += run;
        dst += run;
        n -= run;
    }
    return HONE_OK;
}

static hone_status read_view(const hone_checkpoint *ckpt, const hone_tensor *tensor, uint64_t offset, size_t nbytes,
                             void *dst, hone_error *err)
{
    struct changed *c = (struct changed *)(uintptr_t)tensor->view;
    const hone_rotation *r = &c->row_rotation;
    const uint64_t unit = (uint64_t)r->block * c->ncols;
    const uint64_t begin = (uint64_t)r->first * c->ncols, end = begin + (uint64_t)r->n * c->ncols;
    float *out = dst;
    uint64_t at = offset / sizeof *out;
    for (size_t n = nbytes / sizeof *out, run; n > 0; n -= run, at += run, out += run) {
        const bool rotated = c->rotates_rows && at >= begin && at < end;
        const uint64_t inside = rotated ? (at - begin) % unit : 0;
        uint64_t limit = UINT64_MAX;
        if (rotated)
            limit = unit - inside;
        else if (c->rotates_rows && at < begin)
            limit = begin - at;
        run = n < limit ? n : (size_t)limit;
        if (rotated)
            HONE_TRY(read_block(ckpt, c, (size_t)((at - begin) / unit), (size_t)inside, run, out, err));
        else
            HONE_TRY(read_plain(ckpt, c, at, run, out, err));
    }
    return HONE_OK;
}

static void close_view(const hone_tensor *tensor)
{
    struct changed *c = (struct changed *)(uintptr_t)tensor->view;
    for (size_t i = 0; c->rotates_rows && i < c->row_rotation.n / c->row_rotation.block; i++)
        hone_release(c->blocks[i].rows);
    (void)pthread_mutex_destroy(&c->mutex);
    if (c->source.view && c->source.view->close)
        c->source.view->close(&c->source);
}

/* ---- making ---- */

static bool fits(const hone_rotation *r, size_t n)
{
    return r->first <= n && r->n <= n - r->first && odd_order(r->block) > 0 && r->n % r->block == 0;
}

static hone_status check(const struct changed *c, const hone_transform *t, hone_error *err)
{
    const char *item = c->source.name;
    if (!c->decode)
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, item, "cannot compute with weights of type %s",
                         hone_dtype_describe(c->source.dtype)->name);
    if ((t->row_rotation && !fits(t->row_rotation, c->nrows)) ||
        (t->column_rotation && !fits(t->column_rotation, c->ncols)))
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, item, "no rotation of its %zu rows and %zu columns",
                         c->nrows, c->ncols);
    return HONE_OK;
}

static bool copy_floats(hone_arena *arena, const float *src, size_t n, float **out)
{
    *out = NULL;
    if (!src)
        return true;
    *out = hone_arena_alloc(arena, n, sizeof **out);
    if (*out)
        memcpy(*out, src, n * sizeof **out);
    return *out != NULL;
}

static bool copy_rotation(hone_arena *arena, const hone_rotation *src, bool *used, hone_rotation *out)
{
    *used = src && src->n > 0;
    *out = (hone_rotation){.block = 1};
    if (!*used)
        return true;
    *out = *src;
    float *signs;
    const bool ok = copy_floats(arena, src->signs, src->n, &signs);
    out->signs = signs;
    return ok;
}

static bool copy(hone_arena *arena, const hone_transform *t, struct changed *c)
{
    if (!copy_floats(arena, t->row_scale, c->nrows, &c->row_scale) ||
        !copy_floats(arena, t->column_scale, c->ncols, &c->column_scale) ||
        !copy_rotation(arena, t->row_rotation, &c->rotates_rows, &c->row_rotation) ||
        !copy_rotation(arena, t->column_rotation, &c->rotates_columns, &c->column_rotation))
        return false;
    if (!c->rotates_rows)
        return true;
    const size_t n = c->row_rotation.n / c->row_rotation.block;
    c->blocks = hone_arena_alloc(arena, n, sizeof *c->blocks);
    if (c->blocks)
        memset(c->blocks, 0, n * sizeof *c->blocks);
    return c->blocks != NULL;
}

hone_status hone_transform_tensor(hone_checkpoint *ckpt, const char *name, const hone_transform *transform,
                                  hone_error *err)
{
    const hone_tensor *found = hone_checkpoint_find(ckpt, name);
    if (!found)
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, name, "tensor is missing");
    if (hone_tensor_stack_part(found, 0))
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, name, "its experts are stored one by one");
    hone_tensor *t = &ckpt->tensors[found - ckpt->tensors];
    const bool vector = t->n_dims < 2;
    const uint64_t ncols = vector ? 1 : t->shape[t->n_dims - 1];
    struct changed made = {
        .view = {.read = read_view, .gathered = hone_tensor_is_gathered(t), .close = close_view},
        .source = *t,
        .decode = hone_dtype_describe(t->dtype)->is_float ? hone_decoder(t->dtype, HONE_CPU_REF) : NULL,
        .nrows = ncols ? (size_t)(t->nelems / ncols) : 0,
        .ncols = (size_t)ncols,
        .ones = transform->ones,
    };
    hone_tensor changed = *t;
    changed.dtype = HONE_F32;
    changed.view = NULL;
    if (t->nelems > SIZE_MAX / sizeof(double) || hone_tensor_measure(&changed))
        return hone_fail(err, HONE_ERROR_LIMIT, HONE_NO_OFFSET, name, "too large");
    HONE_TRY(check(&made, transform, err));
    struct changed *c = hone_arena_alloc(&ckpt->arena, 1, sizeof *c);
    if (!c || !copy(&ckpt->arena, transform, &made))
        return hone_fail_nomem(err, sizeof *c);
    *c = made;
    (void)pthread_mutex_init(&c->mutex, NULL);
    changed.view = &c->view;
    *t = changed;
    hone_checkpoint_restack(ckpt, t);
    return HONE_OK;
}

hone_dtype hone_transform_stored_dtype(const hone_tensor *tensor)
{
    const hone_tensor *stored = tensor;
    for (const struct changed *c = as_changed(tensor); c; c = as_changed(stored))
        stored = &c->source;
    return stored->dtype;
}

/* The scale and the rotation of inputs by one change. */
static const float *input_scale(const struct changed *c, bool turned)
{
    return turned ? c->row_scale : c->column_scale;
}

static const hone_rotation *input_rotation(const struct changed *c, bool turned)
{
    if (turned)
        return c->rotates_rows ? &c->row_rotation : NULL;
    return c->rotates_columns ? &c->column_rotation : NULL;
}

hone_input_change hone_transform_of_input(const hone_tensor *tensor, bool turned)
{
    hone_input_change most = HONE_INPUT_SAME;
    for (const struct changed *c = as_changed(tensor); c; c = as_changed(&c->source)) {
        if (input_rotation(c, turned))
            return HONE_INPUT_ROTATED;
        if (input_scale(c, turned))
            most = HONE_INPUT_SCALED;
    }
    return most;
}

void hone_transform_input(const hone_tensor *tensor, bool turned, double *x)
{
    /* The last change is the outermost: as often as there are changes, the one that comes next from within. */
    size_t n = 0;
    for (const struct changed *c = as_changed(tensor); c; c = as_changed(&c->source))
        n++;
    for (; n > 0; n--) {
        const struct changed *c = as_changed(tensor);
        for (size_t i = 1; i < n; i++)
            c = as_changed(&c->source);
        const float *scale = input_scale(c, turned);
        for (size_t i = 0; scale && i < (turned ? c->nrows : c->ncols); i++)
            x[i] = scale[i] != 0.0f ? x[i] / (double)scale[i] : 0;
        if (input_rotation(c, turned))
            hone_rotate(input_rotation(c, turned), x);
    }
}

uint64_t hone_transform_nbytes(const hone_checkpoint *ckpt)
{
    /* Where a tensor ends, another thread may be reading the next one. */
    enum { AT_A_TIME = 2 };
    uint64_t most = 0;
    for (size_t i = 0; i < hone_checkpoint_n_tensors(ckpt); i++) {
        uint64_t nbytes = 0;
        const struct changed *c = as_changed(hone_checkpoint_tensor(ckpt, i));
        for (; c; c = as_changed(&c->source))
            nbytes += c->rotates_rows ? (uint64_t)c->row_rotation.n * c->ncols * sizeof(float) : 0;
        most = nbytes > most ? nbytes : most;
    }
    return AT_A_TIME * most;
}
