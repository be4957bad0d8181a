/* SPDX-License-Identifier: MIT */
#include "convert/type_errors.h"

#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "base/parallel.h"
#include "convert/importance.h"
#include "convert/row_coder.h"
#include "convert/row_reader.h"

enum { TILE = HONE_FEEDBACK_ROWS, SAMPLE_NELEMS = 1 << 15 }; /* some hundred rows tell a ratio to a percent */

struct job {
    const hone_context *ctx;
    const hone_plan *plan;
    const hone_planned_tensor *t, *plain;
    const hone_feedback *feedback;
    hone_type_errors *e;
    size_t ncols, n_tiles, stride; /* every stride-th tile is looked at */
    hone_row_coder *workspaces;
    double *sums; /* (n_tiles / stride rounded up, n + 2) errors of each type, of no codes, and of the probe */
};

/* What errors (TILE, ncols), of which nrows rows count, cost. */
static hone_status weigh(const struct job *job, uint64_t row, uint64_t nrows, const float *error,
                         const hone_row_coder *w, double *out, hone_error *err)
{
    *out = 0;
    if (job->feedback) {
        float loss[TILE];
        hone_feedback_row_losses(job->feedback, error, w->scratch, loss);
        for (size_t r = 0; r < nrows; r++)
            *out += (double)loss[r];
        return HONE_OK;
    }
    uint64_t held = UINT64_MAX;
    for (uint64_t r = 0; r < nrows; r++) {
        const float *importance, *e = error + r * job->ncols;
        HONE_TRY(hone_importance_of_row(job->plan, job->t, row + r, w->importance, &held, &importance, err));
        for (size_t j = 0; j < job->ncols; j++)
            *out += (importance ? (double)importance[j] : 1.0) * (double)e[j] * (double)e[j];
    }
    return HONE_OK;
}

static void keep_probe(const struct job *job, uint64_t row, uint64_t nrows, const hone_row_coder *w)
{
    const hone_dtype_info *info = hone_dtype_describe(job->e->types[job->e->probe]);
    const size_t row_nbytes = job->ncols / info->block_nelems * info->block_nbytes;
    for (uint64_t r = 0; r < nrows; r++)
        memcpy(job->e->probe_rows + hone_source_row(job->t, row + r) * row_nbytes, w->encoded + r * row_nbytes,
               row_nbytes);
}

/* Encodes rows of t; *out, if given: what their errors cost. */
static hone_status try_type(const struct job *job, const hone_planned_tensor *t, size_t type, uint64_t row,
                            uint64_t nrows, const hone_row_coder *w, double *out, hone_error *err)
{
    HONE_TRY(hone_code_rows(job->ctx, job->plan, t, job->e->types[type], job->feedback, row, nrows, w, err));
    if (!out)
        return HONE_OK;
    hone_decode_rows(job->ctx, job->plan, job->t, job->e->types[type], nrows, w);
    for (size_t i = 0; i < TILE * job->ncols; i++)
        w->decoded[i] = w->values[i] - w->decoded[i];
    return weigh(job, row, nrows, w->decoded, w, out, err);
}

static void scale_columns(const struct job *job, uint64_t nrows, float *values)
{
    for (uint64_t r = 0; job->e->column_scale && r < nrows; r++, values += job->ncols)
        for (size_t j = 0; j < job->ncols; j++)
            values[j] *= job->e->column_scale[j];
}

static hone_status measure_tile(void *user, size_t tile, int thread, hone_error *err)
{
    const struct job *job = user;
    const hone_row_coder *w = &job->workspaces[thread];
    const bool sampled = tile % job->stride == 0;
    if (!sampled && job->e->probe == job->e->n)
        return HONE_OK;
    const uint64_t row = (uint64_t)tile * TILE, left = job->t->n_rows - row, nrows = left < TILE ? left : TILE;
    HONE_TRY(hone_read_rows(job->ctx, job->plan, job->t, row, nrows, w->raw, w->values, err));
    scale_columns(job, nrows, w->values);
    const bool apart = job->plain->moments != job->t->moments;
    double *sums = sampled ? job->sums + tile / job->stride * (job->e->n + 2) : NULL;
    double *probe = sampled ? &sums[job->e->n + 1] : NULL;
    for (size_t i = 0; i < job->e->n && sampled; i++) {
        HONE_TRY(try_type(job, job->t, i, row, nrows, w, &sums[i], err));
        if (i == job->e->probe && !apart) {
            keep_probe(job, row, nrows, w);
            *probe = sums[i];
        }
    }
    if (sampled)
        HONE_TRY(weigh(job, row, nrows, w->values, w, &sums[job->e->n], err));
    if (job->e->probe == job->e->n || (sampled && !apart))
        return HONE_OK;
    HONE_TRY(try_type(job, job->plain, job->e->probe, row, nrows, w, probe, err));
    keep_probe(job, row, nrows, w);
    return HONE_OK;
}

static size_t tiles_of(const hone_planned_tensor *t)
{
    return (size_t)((t->n_rows + TILE - 1) / TILE);
}

/* Every how many tiles one is looked at. */
static size_t stride_of(const hone_planned_tensor *t, const hone_type_errors *e)
{
    const size_t sample_nelems = e->sample_nelems ? e->sample_nelems : SAMPLE_NELEMS;
    return (size_t)((t->n_rows * t->row_nelems + sample_nelems - 1) / sample_nelems);
}

size_t hone_type_errors_sampled(const hone_planned_tensor *t, const hone_type_errors *e)
{
    const size_t stride = stride_of(t, e);
    return (tiles_of(t) + stride - 1) / stride;
}

hone_status hone_type_errors_measure(const hone_context *ctx, const hone_plan *plan, const hone_planned_tensor *t,
                                     const hone_feedback *feedback, hone_type_errors *e, hone_error *err)
{
    hone_planned_tensor scaled = *t;
    if (e->column_scale)
        scaled.input_scale = e->column_scale;
    if (e->plain)
        scaled.moments = NULL;
    hone_planned_tensor plain = scaled;
    if (e->plain_probe)
        plain.moments = NULL;
    struct job job = {.ctx = ctx, .plan = plan, .t = &scaled, .plain = &plain, .feedback = feedback, .e = e};
    job.ncols = (size_t)t->row_nelems;
    job.n_tiles = tiles_of(t);
    job.stride = stride_of(t, e);
    const size_t n_sampled = hone_type_errors_sampled(t, e);
    job.sums = hone_calloc(n_sampled * (e->n + 2), sizeof *job.sums);
    job.workspaces = hone_row_coders_new(plan, &scaled, ctx->n_threads);
    hone_status status =
        job.sums && job.workspaces ? HONE_OK : hone_fail_nomem(err, 4 * TILE * job.ncols * sizeof(float));
    if (status == HONE_OK)
        status = hone_parallel_for(job.n_tiles, ctx->n_threads, measure_tile, &job, err);
    memset(e->error, 0, sizeof e->error);
    e->whole = e->probe_error = 0;
    e->share = (double)n_sampled / (double)job.n_tiles;
    for (size_t i = 0; i < n_sampled && status == HONE_OK; i++) { /* in order: the same for every thread count */
        for (size_t j = 0; j < e->n; j++)
            e->error[j] += job.sums[i * (e->n + 2) + j];
        e->whole += job.sums[i * (e->n + 2) + e->n];
        e->probe_error += job.sums[i * (e->n + 2) + e->n + 1];
    }
    hone_row_coders_free(job.workspaces, ctx->n_threads);
    hone_release(job.sums);
    return status;
}
