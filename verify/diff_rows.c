/* SPDX-License-Identifier: MIT */
#include "verify/diff_rows.h"

#include <math.h>
#include <string.h>

#include "base/arith.h"
#include "base/fail.h"
#include "base/mem.h"
#include "base/parallel.h"
#include "base/run_context.h"
#include "base/transpose.h"
#include "formats/sources.h"
#include "verify/model_impl.h"
#include "verify/team.h"

/* Elements per chunk: whole blocks of every type, and about 1.5 MiB of buffers per thread. */
enum { CHUNK_NELEMS = 1 << 16 };

/* Transposing reads a piece of every row of the source for each chunk: the larger the chunk, the fewer the reads. */
enum { TRANSPOSED_CHUNK_NELEMS = 1 << 21 };

/* What a chunk adds up to. Chunks are joined in order, so the figures do not depend on threads. */
struct sums {
    double squared_error, squared_a, squared_b, dot;
    double max_abs;
    uint64_t max_index;
};

struct side {
    const hone_checkpoint *ckpt;
    const hone_tensor *tensor;
    hone_decode_fn decode;
};

struct work {
    struct side side[2]; /* reference, candidate */
    size_t head_nrows, ncols;
    bool exact;      /* no floats: elements are compared as they are stored */
    bool to_gguf;    /* the candidate is the GGUF file */
    bool transposed; /* elements are worked on in the GGUF file's order, else in the candidate's */
    uint64_t nrows;  /* of the GGUF file when transposed */
    uint64_t chunk_nelems;
    struct sums *sums;  /* one per chunk */
    unsigned char *raw; /* per thread, 2 * chunk_nelems of the widest type */
    float *decoded;     /* per thread, 3 * chunk_nelems */
};

enum { MAX_ELEM_NBYTES = 8 };

/* The reference's row that holds what the candidate's row `row` holds. */
static uint64_t source_row(const struct work *w, uint64_t row)
{
    const uint64_t h = w->head_nrows, head = row / h * h, r = row % h;
    return head + (w->to_gguf ? r / 2 + r % 2 * (h / 2) : r % (h / 2) * 2 + r / (h / 2));
}

static uint64_t nbytes_of(const struct side *s, uint64_t nelems)
{
    const hone_dtype_info *info = hone_dtype_describe(s->tensor->dtype);
    return nelems / info->block_nelems * info->block_nbytes;
}

static hone_status fetch_run(const struct side *s, uint64_t first, size_t n, unsigned char *raw, float *dst,
                             hone_error *err)
{
    const hone_status status =
        hone_checkpoint_read(s->ckpt, s->tensor, nbytes_of(s, first), (size_t)nbytes_of(s, n), raw, err);
    if (status != HONE_OK)
        return hone_fail_for(err, status, s->tensor->name);
    s->decode(raw, dst, n);
    return HONE_OK;
}

/* Rows of the GGUF file's matrix (nrows, ncols) from the side that stores (ncols, nrows); spare holds n floats. */
static hone_status fetch_columns(const struct work *w, const struct side *s, uint64_t first, size_t n,
                                 unsigned char *raw, float *spare, float *dst, hone_error *err)
{
    const uint64_t row = first / w->ncols;
    const size_t n_rows = n / w->ncols, nbytes = (size_t)nbytes_of(s, n_rows);
    for (size_t c = 0; c < w->ncols; c++) {
        const hone_status status =
            hone_checkpoint_read(s->ckpt, s->tensor, nbytes_of(s, c * w->nrows + row), nbytes, raw + c * nbytes, err);
        if (status != HONE_OK)
            return hone_fail_for(err, status, s->tensor->name);
    }
    s->decode(raw, spare, n);
    hone_transpose(spare, w->ncols, n_rows, sizeof *spare, dst);
    return HONE_OK;
}

/* Elements first .. first + n - 1 of the order that is worked in, from one side; spare holds n floats. */
static hone_status fetch(const struct work *w, int side, uint64_t first, size_t n, unsigned char *raw, float *spare,
                         float *dst, hone_error *err)
{
    if (w->transposed && side != (int)w->to_gguf)
        return fetch_columns(w, &w->side[side], first, n, raw, spare, dst, err);
    if (side == 1 || w->head_nrows == 0)
        return fetch_run(&w->side[side], first, n, raw, dst, err);
    for (size_t done = 0; done < n; done += w->ncols) {
        const uint64_t row = source_row(w, (first + done) / w->ncols);
        HONE_TRY(fetch_run(&w->side[side], row * w->ncols, w->ncols, raw, dst + done, err));
    }
    return HONE_OK;
}

/* A NaN counts as larger than anything, and stays. */
static bool exceeds(double x, double max)
{
    return !isnan(max) && (isnan(x) || x > max);
}

static void add_element(struct sums *s, double x, double y, double d, uint64_t index)
{
    s->squared_error += d * d;
    s->squared_a += x * x;
    s->squared_b += y * y;
    s->dot += x * y;
    if (exceeds(d, s->max_abs)) {
        s->max_abs = d;
        s->max_index = index;
    }
}

static struct sums add_up(const float *a, const float *b, size_t n, uint64_t first)
{
    struct sums s = {.max_index = first};
    for (size_t i = 0; i < n; i++) {
        const double x = (double)a[i], y = (double)b[i];
        const double d = x == y ? 0 : fabs(y - x); /* equal infinities are equal */
        add_element(&s, x, y, d, first + i);
    }
    return s;
}

/* ---- integers ---- */

struct integer {
    bool negative;
    uint64_t magnitude;
};

static bool is_integer(hone_dtype dtype)
{
    return dtype >= HONE_I64 && dtype <= HONE_BOOL;
}

static struct integer load_integer(hone_dtype dtype, const unsigned char *p, size_t nbytes)
{
    const bool is_signed = dtype == HONE_I64 || dtype == HONE_I32 || dtype == HONE_I16 || dtype == HONE_I8;
    uint64_t bits = 0;
    for (size_t i = nbytes; i-- > 0;)
        bits = bits << 8 | p[i];
    if (!is_signed || p[nbytes - 1] < 0x80)
        return (struct integer){false, bits};
    const uint64_t extended = nbytes < 8 ? bits | UINT64_MAX << (8 * nbytes) : bits;
    return (struct integer){true, 0 - extended};
}

static double to_double(struct integer v)
{
    return v.negative ? -(double)v.magnitude : (double)v.magnitude;
}

/* Rounded, but 0 only for equal integers. */
static double distance(struct integer a, struct integer b)
{
    if (a.negative != b.negative)
        return (double)a.magnitude + (double)b.magnitude;
    return (double)(a.magnitude > b.magnitude ? a.magnitude - b.magnitude : b.magnitude - a.magnitude);
}

/* Integers by value; of what else there is only the bytes are known, and different ones are NaN apart. */
static struct sums add_up_exact(const struct side side[2], const unsigned char *a, const unsigned char *b, size_t n,
                                uint64_t first)
{
    const uint64_t block = hone_dtype_describe(side[0].tensor->dtype)->block_nelems;
    struct sums s = {.max_index = first};
    const hone_dtype dtype[2] = {side[0].tensor->dtype, side[1].tensor->dtype};
    const size_t nbytes[2] = {hone_dtype_describe(dtype[0])->block_nbytes, hone_dtype_describe(dtype[1])->block_nbytes};
    for (size_t i = 0; i < n / block; i++, a += nbytes[0], b += nbytes[1]) {
        if (is_integer(dtype[0])) {
            const struct integer x = load_integer(dtype[0], a, nbytes[0]), y = load_integer(dtype[1], b, nbytes[1]);
            add_element(&s, to_double(x), to_double(y), distance(x, y), first + i);
        } else {
            add_element(&s, 0, 0, memcmp(a, b, nbytes[0]) == 0 ? 0 : (double)NAN, first + i * block);
        }
    }
    return s;
}

static hone_status compare_exact_chunk(const struct work *w, size_t i, unsigned char *raw, hone_error *err)
{
    const uint64_t first = i * w->chunk_nelems, left = w->side[1].tensor->nelems - first;
    const size_t n = (size_t)(left < w->chunk_nelems ? left : w->chunk_nelems);
    unsigned char *to[2] = {raw, raw + (size_t)w->chunk_nelems * MAX_ELEM_NBYTES};
    for (int side = 0; side < 2; side++) {
        const struct side *s = &w->side[side];
        const hone_status status =
            hone_checkpoint_read(s->ckpt, s->tensor, nbytes_of(s, first), (size_t)nbytes_of(s, n), to[side], err);
        if (status != HONE_OK)
            return hone_fail_for(err, status, s->tensor->name);
    }
    w->sums[i] = add_up_exact(w->side, to[0], to[1], n, first);
    return HONE_OK;
}

static hone_status compare_chunk(void *user, size_t i, int thread, hone_error *err)
{
    const struct work *w = user;
    const uint64_t first = i * w->chunk_nelems, left = w->side[1].tensor->nelems - first;
    const size_t n = (size_t)(left < w->chunk_nelems ? left : w->chunk_nelems);
    unsigned char *raw = w->raw + (size_t)thread * w->chunk_nelems * 2 * MAX_ELEM_NBYTES;
    if (w->exact)
        return compare_exact_chunk(w, i, raw, err);
    float *a = w->decoded + (size_t)thread * 3 * w->chunk_nelems, *b = a + w->chunk_nelems,
          *spare = b + w->chunk_nelems;
    HONE_TRY(fetch(w, 0, first, n, raw, spare, a, err));
    HONE_TRY(fetch(w, 1, first, n, raw, spare, b, err));
    w->sums[i] = add_up(a, b, n, first);
    return HONE_OK;
}

static void finish(const struct sums *sums, size_t n_chunks, uint64_t nelems, hone_tensor_diff *out)
{
    struct sums s = {0};
    for (size_t i = 0; i < n_chunks; i++) {
        s.squared_error += sums[i].squared_error;
        s.squared_a += sums[i].squared_a;
        s.squared_b += sums[i].squared_b;
        s.dot += sums[i].dot;
        if (exceeds(sums[i].max_abs, s.max_abs)) {
            s.max_abs = sums[i].max_abs;
            s.max_index = sums[i].max_index;
        }
    }
    out->nelems = nelems;
    out->rmse = nelems ? sqrt(s.squared_error / (double)nelems) : 0;
    /* Both means are over the same count, which cancels. */
    out->relative_rmse = s.squared_error == 0 ? 0 : sqrt(s.squared_error / s.squared_a);
    out->max_abs = s.max_abs;
    out->max_index = s.max_index;
    const bool both_zero = s.squared_a == 0 && s.squared_b == 0;
    const bool one_zero = s.squared_a == 0 || s.squared_b == 0;
    out->cosine = both_zero ? 1 : one_zero ? 0 : s.dot / (sqrt(s.squared_a) * sqrt(s.squared_b));
}

static hone_status init_sides(const hone_context *ctx, struct work *w, const hone_checkpoint *const ckpt[2],
                              const hone_tensor_pair *pair, hone_error *err)
{
    const hone_tensor *t[2] = {pair->reference, pair->candidate};
    for (int side = 0; side < 2; side++) {
        const bool is_float = hone_dtype_describe(t[side]->dtype)->is_float;
        w->side[side] = (struct side){
            .ckpt = ckpt[side], .tensor = t[side], .decode = is_float ? hone_decoder(t[side]->dtype, ctx->cpu) : NULL};
    }
    if (w->side[0].decode && w->side[1].decode)
        return HONE_OK;
    const hone_dtype a = t[0]->dtype, b = t[1]->dtype;
    w->exact = a == b || (is_integer(a) && is_integer(b));
    if (!w->exact || pair->transposed || pair->head_nrows)
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, t[1]->name, "cannot compare %s with %s",
                         hone_dtype_describe(a)->name, hone_dtype_describe(b)->name);
    return HONE_OK;
}

/* Sizes of chunks, and their buffers. */
static hone_status prepare(struct work *w, const hone_tensor_pair *pair, int n_threads, size_t *n_chunks,
                           hone_error *err)
{
    const hone_tensor *t = pair->transposed && !w->to_gguf ? pair->reference : pair->candidate;
    const bool in_pieces =
        pair->transposed || hone_tensor_is_gathered(pair->reference) || hone_tensor_is_gathered(pair->candidate);
    const size_t most = in_pieces ? TRANSPOSED_CHUNK_NELEMS : CHUNK_NELEMS;
    w->chunk_nelems = most < t->nelems || !in_pieces ? most : t->nelems;
    if (pair->head_nrows || pair->transposed) {
        w->head_nrows = pair->head_nrows;
        w->nrows = t->shape[0];
        w->ncols = t->n_dims > 1 ? (size_t)(t->nelems / t->shape[0]) : 1;
        if (w->ncols == 0 || w->ncols > HONE_MAX_ROW_NELEMS)
            return hone_fail(err, HONE_ERROR_LIMIT, HONE_NO_OFFSET, t->name, "rows of %zu elements", w->ncols);
        w->chunk_nelems = w->ncols > w->chunk_nelems ? w->ncols : w->chunk_nelems / w->ncols * w->ncols;
    }
    *n_chunks = (size_t)((t->nelems + w->chunk_nelems - 1) / w->chunk_nelems);
    const size_t per_thread = (size_t)w->chunk_nelems * (size_t)n_threads;
    w->sums = hone_alloc(*n_chunks, sizeof *w->sums);
    w->raw = hone_alloc(per_thread, 2 * MAX_ELEM_NBYTES);
    w->decoded = hone_alloc(per_thread, 3 * sizeof *w->decoded);
    if (!w->sums || !w->raw || !w->decoded)
        return hone_fail_nomem(err,
                               *n_chunks * sizeof *w->sums + per_thread * (2 * MAX_ELEM_NBYTES + 3 * sizeof(float)));
    return HONE_OK;
}

hone_status hone_diff_rows(const hone_context *ctx, const hone_checkpoint *reference, const hone_checkpoint *candidate,
                           const hone_tensor_pair *pair, hone_tensor_diff *out, hone_error *err)
{
    out->reference_dtype = pair->reference->dtype;
    out->dtype = pair->candidate->dtype;
    struct work w = {.to_gguf = hone_checkpoint_is_gguf(candidate), .transposed = pair->transposed};
    const hone_checkpoint *const ckpt[2] = {reference, candidate};
    HONE_TRY(init_sides(ctx, &w, ckpt, pair, err));
    const hone_tensor *turned = w.to_gguf ? pair->reference : pair->candidate;
    if (w.transposed && hone_dtype_describe(turned->dtype)->block_nelems != 1)
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, turned->name,
                         "cannot transpose blocks of type %s", hone_dtype_describe(turned->dtype)->name);
    size_t n_chunks = 0;
    hone_status status = prepare(&w, pair, ctx->n_threads, &n_chunks, err);
    if (status == HONE_OK)
        status = hone_parallel_for(n_chunks, hone_team(ctx, n_chunks, 5.0 * (double)pair->candidate->nelems),
                                   compare_chunk, &w, err);
    if (status == HONE_OK)
        finish(w.sums, n_chunks, pair->candidate->nelems, out);
    if (status == HONE_OK && w.transposed && !w.to_gguf)
        out->max_index = out->max_index % w.ncols * w.nrows + out->max_index / w.ncols;
    hone_release(w.sums);
    hone_release(w.raw);
    hone_release(w.decoded);
    return status;
}
