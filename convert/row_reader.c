/* SPDX-License-Identifier: MIT */
#include "convert/row_reader.h"

#include <math.h>
#include <string.h>

#include "base/fail.h"
#include "base/half.h"
#include "base/mem.h"
#include "base/parallel.h"
#include "base/transpose.h"
#include "formats/decode.h"
#include "formats/sources.h"
#include "quantize/encode.h"

static uint64_t source_row_nbytes(const hone_planned_tensor *t)
{
    if (t->bytes)
        return hone_dtype_describe(t->dtype)->block_nbytes;
    return t->source && t->n_rows ? t->source->nbytes / t->n_rows : 0;
}

bool hone_rows_are_raw(const hone_planned_tensor *t)
{
    return t->bytes || (t->source && t->order != HONE_ROWS_TRANSPOSE && !t->addend);
}

bool hone_rows_are_turned(const hone_planned_tensor *t)
{
    return t->order == HONE_ROWS_TRANSPOSE || (t->source && hone_tensor_is_gathered(t->source));
}

size_t hone_row_reader_nbytes(const hone_planned_tensor *t, uint64_t nrows)
{
    /* A transpose decodes behind the stored bytes. */
    const uint64_t decoded = t->order == HONE_ROWS_TRANSPOSE ? nrows * t->row_nelems * sizeof(float) : 0;
    return (size_t)(source_row_nbytes(t) * nrows + decoded + 4);
}

static unsigned is_not_finite(float x)
{
    return (hone_f32_bits(x) & 0x7f800000u) == 0x7f800000u;
}

/* Index of the first NaN or infinity, or n. They are rare, so many are tested at a time, in a loop that compilers turn
 * into vector code. */
static size_t first_not_finite(const float *x, size_t n)
{
    enum { STRIDE = 64 };
    size_t i = 0;
    for (; i + STRIDE <= n; i += STRIDE) {
        unsigned bad = 0;
        for (size_t j = 0; j < STRIDE; j++)
            bad |= is_not_finite(x[i + j]);
        if (bad)
            break;
    }
    while (i < n && !is_not_finite(x[i]))
        i++;
    return i;
}

/* Which element of the source is element i of the output's rows from `row` on. */
static uint64_t source_index(const hone_planned_tensor *t, uint64_t row, size_t i)
{
    const uint64_t source_row = hone_source_row(t, row + i / t->row_nelems);
    if (t->order == HONE_ROWS_TRANSPOSE)
        return i % t->row_nelems * t->n_rows + source_row;
    return source_row * t->row_nelems + i % t->row_nelems;
}

static hone_status check_finite(const hone_planned_tensor *t, uint64_t row, uint64_t nrows, const float *x,
                                hone_error *err)
{
    const size_t n = (size_t)(nrows * t->row_nelems);
    const size_t i = t->any_value ? n : first_not_finite(x, n);
    if (i == n)
        return HONE_OK;
    const uint64_t index = source_index(t, row, i);
    const hone_dtype_info *info = hone_dtype_describe(t->source->dtype);
    return hone_fail(err, HONE_ERROR_DATA, t->source->offset + index / info->block_nelems * info->block_nbytes,
                     t->source->name, "element %llu is %s", (unsigned long long)index,
                     isnan(x[i]) ? "NaN" : "infinite");
}

/*
 * Output rows [row, row + nrows) are columns of the source (row_nelems, n_rows):
 *
 *   dst[r][i] = source[i][row + r]
 */
static hone_status read_columns(const hone_context *ctx, const hone_plan *plan, const hone_planned_tensor *t,
                                uint64_t row, uint64_t nrows, char *raw, float *dst, hone_error *err)
{
    const size_t size = hone_dtype_describe(t->source->dtype)->block_nbytes;
    const size_t n = (size_t)nrows, n_in = (size_t)t->row_nelems, run = n * size;
    for (size_t i = 0; i < n_in; i++)
        HONE_TRY(hone_checkpoint_read(plan->src, t->source, (i * t->n_rows + row) * size, run, raw + i * run, err));
    float *decoded = (float *)(void *)(raw + (n_in * run + 3) / 4 * 4);
    hone_decoder(t->source->dtype, ctx->cpu)(raw, decoded, n_in * n);
    hone_transpose(decoded, n_in, n, sizeof *decoded, dst);
    return HONE_OK;
}

hone_status hone_read_rows(const hone_context *ctx, const hone_plan *plan, const hone_planned_tensor *t, uint64_t row,
                           uint64_t nrows, void *raw, float *dst, hone_error *err)
{
    if (t->bytes) {
        const size_t size = (size_t)source_row_nbytes(t);
        memcpy(raw, (const char *)t->bytes + row * size, (size_t)nrows * size);
        return HONE_OK;
    }
    if (!t->source) {
        memcpy(dst, t->constant + row * t->row_nelems, (size_t)(nrows * t->row_nelems) * sizeof *dst);
        return HONE_OK;
    }
    const uint64_t row_nbytes = source_row_nbytes(t);
    if (t->order == HONE_ROWS_TRANSPOSE) {
        HONE_TRY(read_columns(ctx, plan, t, row, nrows, raw, dst, err));
        return check_finite(t, row, nrows, dst, err);
    }
    if (t->order == HONE_ROWS_AS_STORED) {
        HONE_TRY(hone_checkpoint_read(plan->src, t->source, row * row_nbytes, (size_t)(nrows * row_nbytes), raw, err));
    } else {
        for (uint64_t r = 0; r < nrows; r++)
            HONE_TRY(hone_checkpoint_read(plan->src, t->source, hone_source_row(t, row + r) * row_nbytes,
                                          (size_t)row_nbytes, (char *)raw + r * row_nbytes, err));
    }
    if (t->any_value && t->dtype == t->source->dtype)
        return HONE_OK; /* copied as it is, whatever it is */
    hone_decoder(t->source->dtype, ctx->cpu)(raw, dst, (size_t)(nrows * t->row_nelems));
    for (size_t i = 0; t->addend && i < nrows * t->row_nelems; i++)
        dst[i] += t->addend[row * t->row_nelems + i];
    return check_finite(t, row, nrows, dst, err);
}

hone_status hone_read_vector(const hone_context *ctx, const hone_plan *plan, const hone_planned_tensor *t, float *dst,
                             hone_error *err)
{
    hone_planned_tensor decoded = *t;
    decoded.any_value = false; /* which would be copied */
    const size_t nbytes = hone_row_reader_nbytes(t, t->n_rows);
    void *raw = hone_alloc(nbytes, 1);
    const hone_status status =
        raw ? hone_read_rows(ctx, plan, &decoded, 0, t->n_rows, raw, dst, err) : hone_fail_nomem(err, nbytes);
    hone_release(raw);
    return status;
}

hone_status hone_round_to(const hone_context *ctx, hone_dtype dtype, float *values, size_t n, hone_error *err)
{
    void *encoded = hone_alloc(n, hone_dtype_describe(dtype)->block_nbytes);
    if (!encoded)
        return hone_fail_nomem(err, n * hone_dtype_describe(dtype)->block_nbytes);
    hone_encoder(dtype, HONE_SEARCH_REFERENCE, ctx->cpu)(values, n, NULL, encoded);
    hone_decoder(dtype, ctx->cpu)(encoded, values, n);
    hone_release(encoded);
    return HONE_OK;
}

struct overflow_scan {
    const hone_context *ctx;
    const hone_plan *plan;
    const hone_planned_tensor *t;
    uint64_t chunk_rows;
    void *raw; /* one slice per thread */
    float *values;
    size_t raw_nbytes, n_values;
};

/* Reports an overflow as MISMATCH with the index in err->offset: the loop then keeps the first one. */
static hone_status scan_chunk(void *user, size_t i, int thread, hone_error *err)
{
    const struct overflow_scan *s = user;
    const uint64_t row = i * s->chunk_rows;
    const uint64_t nrows = s->t->n_rows - row < s->chunk_rows ? s->t->n_rows - row : s->chunk_rows;
    float *values = s->values + (size_t)thread * s->n_values;
    HONE_TRY(hone_read_rows(s->ctx, s->plan, s->t, row, nrows, (char *)s->raw + (size_t)thread * s->raw_nbytes, values,
                            err));
    const size_t n = (size_t)(nrows * s->t->row_nelems);
    for (size_t j = 0; j < n; j++) /* 65520 = 65504 + half a step: the first value that rounds to infinity */
        if (fabsf(values[j]) >= 65520.0f && !isinf(values[j]))
            return hone_fail(err, HONE_ERROR_MISMATCH, source_index(s->t, row, j), NULL, "too large for f16");
    return HONE_OK;
}

hone_status hone_find_f16_overflow(const hone_context *ctx, const hone_plan *plan, const hone_planned_tensor *t,
                                   bool *found, uint64_t *index, hone_error *err)
{
    enum { CHUNK_NELEMS = 1 << 16, TURNED_CHUNK_NELEMS = 1 << 21 };
    *found = false;
    *index = 0;
    if (t->n_rows == 0)
        return HONE_OK;
    struct overflow_scan s = {.ctx = ctx, .plan = plan, .t = t};
    /* 16: a wide source element, its f32, and a transpose's. */
    const uint64_t share = ctx->memory_nbytes / (unsigned)ctx->n_threads / 16;
    const uint64_t most = hone_rows_are_turned(t) ? TURNED_CHUNK_NELEMS : CHUNK_NELEMS;
    const uint64_t chunk_nelems = share < most ? share : most;
    s.chunk_rows = t->row_nelems < chunk_nelems ? chunk_nelems / t->row_nelems : 1;
    s.chunk_rows = s.chunk_rows < t->n_rows ? s.chunk_rows : t->n_rows;
    s.raw_nbytes = hone_row_reader_nbytes(t, s.chunk_rows);
    s.n_values = (size_t)(s.chunk_rows * t->row_nelems);
    /* Rows wider than a chunk are scanned by as many threads as there is memory for. */
    const uint64_t per_thread = s.raw_nbytes + s.n_values * sizeof *s.values, fit = ctx->memory_nbytes / per_thread;
    if (fit == 0)
        return hone_fail(err, HONE_ERROR_NOMEM, HONE_NO_OFFSET, t->name,
                         "one row needs %llu bytes of working memory, the budget is %llu (--memory)",
                         (unsigned long long)per_thread, (unsigned long long)ctx->memory_nbytes);
    const int n_threads = fit < (unsigned)ctx->n_threads ? (int)fit : ctx->n_threads;
    s.raw = hone_alloc((size_t)n_threads, s.raw_nbytes);
    s.values = hone_alloc((size_t)n_threads * s.n_values, sizeof *s.values);
    hone_error failure = {0};
    hone_status status = HONE_ERROR_NOMEM;
    if (s.raw && s.values)
        status = hone_parallel_for((size_t)((t->n_rows + s.chunk_rows - 1) / s.chunk_rows), n_threads, scan_chunk, &s,
                                   &failure);
    else
        (void)hone_fail_nomem(&failure, s.n_values * sizeof *s.values);
    hone_release(s.raw);
    hone_release(s.values);
    if (status == HONE_ERROR_MISMATCH) {
        *found = true;
        *index = failure.offset;
        return HONE_OK;
    }
    if (status != HONE_OK && err)
        *err = failure;
    return status;
}
