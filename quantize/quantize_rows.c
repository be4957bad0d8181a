/* SPDX-License-Identifier: MIT */
/* Rows to blocks and back, in parallel chunks of rows. A row is never split: its result depends on nothing else. */
#include "hone/quantize.h"

#include <inttypes.h>
#include <strings.h>

#include "base/arith.h"
#include "base/fail.h"
#include "base/half.h"
#include "base/parallel.h"
#include "base/run_context.h"
#include "formats/decode.h"
#include "quantize/encode.h"

/* Elements per chunk of rows: enough work to outweigh handing it out, little enough to stay in cache. */
enum { CHUNK_NELEMS = 1 << 15 };

struct job {
    hone_encode_fn encode;
    const float *src;
    const float *importance;
    uint8_t *dst;
    size_t nrows, ncols, row_nbytes, chunk_nrows;
};

static const char *const search_names[HONE_N_SEARCHES] = {
    [HONE_SEARCH_REFERENCE] = "reference",
    [HONE_SEARCH_BEST] = "best",
    [HONE_SEARCH_FAST] = "fast",
};

const char *hone_search_name(hone_search search)
{
    return (unsigned)search < HONE_N_SEARCHES ? search_names[search] : "";
}

hone_search hone_search_from_name(const char *name)
{
    int search = 0;
    while (search < HONE_N_SEARCHES && strcasecmp(name, search_names[search]) != 0)
        search++;
    return (hone_search)search;
}

static bool is_finite(float f)
{
    return (hone_f32_bits(f) & 0x7f800000u) != 0x7f800000u;
}

/* The index of the first infinity or NaN in n floats; n if there is none. */
static size_t first_nonfinite(const float *x, size_t n)
{
    size_t i = 0;
    while (i < n && is_finite(x[i]))
        i++;
    return i;
}

static hone_status encode_chunk(void *user, size_t i, int thread, hone_error *err)
{
    (void)thread;
    const struct job *job = user;
    const size_t first = i * job->chunk_nrows;
    const size_t left = job->nrows - first;
    const size_t nrows = left < job->chunk_nrows ? left : job->chunk_nrows;
    const float *src = job->src + first * job->ncols;
    const size_t nelems = nrows * job->ncols;
    const size_t bad = first_nonfinite(src, nelems);
    if (bad < nelems)
        return hone_fail(err, HONE_ERROR_DATA, first * job->ncols + bad, NULL, "%s at element %zu",
                         src[bad] != src[bad] ? "NaN" : "infinity", first * job->ncols + bad);
    for (size_t r = 0; r < nrows; r++)
        job->encode(src + r * job->ncols, job->ncols, job->importance, job->dst + (first + r) * job->row_nbytes);
    return HONE_OK;
}

static hone_status check_importance(const float *importance, size_t ncols, hone_error *err)
{
    for (size_t i = 0; importance && i < ncols; i++)
        if (!is_finite(importance[i]) || importance[i] < 0.0f)
            return hone_fail(err, HONE_ERROR_DATA, i, "importance", "no finite non-negative number at column %zu", i);
    return HONE_OK;
}

hone_status hone_quantize_rows(const hone_context *ctx, hone_dtype dtype, hone_search search, const float *src,
                               size_t nrows, size_t ncols, const float *importance, void *dst, hone_error *err)
{
    const hone_dtype_info *info = hone_dtype_describe(dtype);
    struct job job = {
        .encode = hone_encoder(dtype, search, ctx->cpu), .src = src, .importance = importance, .dst = dst};
    if (!job.encode)
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "no encoder for %s", info->name);
    uint64_t row_nbytes;
    size_t nelems, nbytes;
    const hone_status status = hone_dtype_row_nbytes(dtype, ncols, &row_nbytes);
    if (status != HONE_OK)
        return hone_fail(err, status, HONE_NO_OFFSET, NULL,
                         "rows of %zu elements do not divide into %s blocks of %" PRIu32, ncols, info->name,
                         info->block_nelems);
    if (!hone_mul_size(nrows, ncols, &nelems) || !hone_mul_size(nrows, (size_t)row_nbytes, &nbytes))
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "%zu rows of %zu elements overflow", nrows, ncols);
    if (nelems == 0)
        return HONE_OK;
    HONE_TRY(check_importance(importance, ncols, err));
    job.nrows = nrows;
    job.ncols = ncols;
    job.row_nbytes = (size_t)row_nbytes;
    job.chunk_nrows = ncols < CHUNK_NELEMS ? CHUNK_NELEMS / ncols : 1;
    const size_t nchunks = nrows / job.chunk_nrows + (nrows % job.chunk_nrows != 0);
    return hone_parallel_for(nchunks, ctx->n_threads, encode_chunk, &job, err);
}

hone_status hone_dequantize_row(const hone_context *ctx, hone_dtype dtype, const void *src, size_t nelems, float *dst,
                                hone_error *err)
{
    const hone_decode_fn decode = hone_decoder(dtype, ctx->cpu);
    const hone_dtype_info *info = hone_dtype_describe(dtype);
    if (!decode)
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "no decoder for %s", info->name);
    if (nelems % info->block_nelems != 0)
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "%zu elements are no whole %s blocks of %" PRIu32,
                         nelems, info->name, info->block_nelems);
    decode(src, dst, nelems);
    return HONE_OK;
}
