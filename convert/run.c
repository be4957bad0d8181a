/* SPDX-License-Identifier: MIT */
/*
 * Running a plan: chunks of rows are read, transformed, encoded and written in parallel; their checksums are taken in file order;
 * the header goes in last, with the checksums, and only then does the file get its name.
 */
#include <string.h>

#include <xxhash.h>

#include "base/fail.h"
#include "base/mem.h"
#include "base/parallel.h"
#include "base/writer.h"
#include "convert/row_reader.h"
#include "formats/sources.h"
#include "quantize/encode.h"

struct chunk {
    size_t tensor;
    uint64_t row, nrows;
};

/* One thread's buffers: a chunk as stored, as f32 (nelems), as encoded. */
struct workspace {
    void *raw, *encoded;
    float *values;
};

struct job {
    const hone_context *ctx;
    const hone_plan *plan;
    struct chunk *chunks;
    size_t n_chunks;
    struct workspace *workspaces;
    hone_writer writer;
    XXH3_state_t *hash;  /* of the tensor being committed */
    uint64_t *checksums; /* one per tensor */
    uint64_t done_nbytes, total_nbytes;
};

static uint64_t chunk_rows(const hone_plan *plan, const hone_planned_tensor *t)
{
    const uint64_t rows = plan->chunk_nelems / t->row_nelems;
    return rows ? rows : 1;
}

static hone_status cut_chunks(struct job *job, hone_error *err)
{
    const hone_plan *plan = job->plan;
    size_t n = 0;
    for (size_t i = 0; i < plan->n_tensors; i++) {
        const uint64_t rows = chunk_rows(plan, &plan->tensors[i]);
        n += (size_t)((plan->tensors[i].n_rows + rows - 1) / rows);
        job->total_nbytes += plan->tensors[i].nbytes;
    }
    job->chunks = hone_alloc(n, sizeof *job->chunks);
    if (!job->chunks)
        return hone_fail_nomem(err, n * sizeof *job->chunks);
    for (size_t i = 0; i < plan->n_tensors; i++) {
        const hone_planned_tensor *t = &plan->tensors[i];
        const uint64_t rows = chunk_rows(plan, t);
        for (uint64_t row = 0; row < t->n_rows; row += rows) {
            const uint64_t left = t->n_rows - row;
            job->chunks[job->n_chunks++] = (struct chunk){i, row, left < rows ? left : rows};
        }
    }
    return HONE_OK;
}

static hone_status alloc_workspaces(struct job *job, hone_error *err)
{
    const hone_plan *plan = job->plan;
    size_t raw = 0, values = 0, encoded = 0;
    for (size_t i = 0; i < plan->n_tensors; i++) {
        const hone_planned_tensor *t = &plan->tensors[i];
        uint64_t rows = chunk_rows(plan, t);
        rows = rows < t->n_rows ? rows : t->n_rows;
        const size_t need_raw = hone_row_reader_nbytes(t, rows);
        raw = need_raw > raw ? need_raw : raw;
        values = rows * t->row_nelems > values ? (size_t)(rows * t->row_nelems) : values;
        encoded = rows * t->row_nbytes > encoded ? (size_t)(rows * t->row_nbytes) : encoded;
    }
    job->workspaces = hone_calloc((size_t)plan->n_threads, sizeof *job->workspaces);
    if (!job->workspaces)
        return hone_fail_nomem(err, sizeof *job->workspaces);
    for (int i = 0; i < plan->n_threads; i++) {
        struct workspace *w = &job->workspaces[i];
        w->raw = hone_alloc(raw, 1);
        w->values = hone_alloc(values, sizeof *w->values);
        w->encoded = hone_alloc(encoded, 1);
        if (!w->raw || !w->values || !w->encoded)
            return hone_fail_nomem(err, raw + values * sizeof *w->values + encoded);
    }
    return HONE_OK;
}

static void clamp_to_f16(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = x[i] > 65504.0f ? 65504.0f : x[i] < -65504.0f ? -65504.0f : x[i];
}

static hone_status encode_chunk(void *user, size_t i, int thread, hone_error *err)
{
    const struct job *job = user;
    const struct chunk *chunk = &job->chunks[i];
    const hone_planned_tensor *t = &job->plan->tensors[chunk->tensor];
    const struct workspace *w = &job->workspaces[thread];
    HONE_TRY(hone_read_rows(job->ctx, job->plan, t, chunk->row, chunk->nrows, w->raw, w->values, err));

    const size_t row_nelems = (size_t)t->row_nelems, nelems = (size_t)chunk->nrows * row_nelems;
    /* Nothing to encode when rows keep their type: copying also keeps NaN-free bits such as -0 as they are. */
    const bool same_type = t->source && t->source->dtype == t->dtype;
    const void *bytes = same_type ? w->raw : w->encoded;
    if (!same_type) {
        if (t->dtype == HONE_F16 && job->plan->saturate)
            clamp_to_f16(w->values, nelems);
        const hone_encode_fn encode = hone_encoder(t->dtype, job->plan->search, job->ctx->cpu);
        for (uint64_t r = 0; r < chunk->nrows; r++)
            encode(w->values + r * row_nelems, row_nelems, NULL, (char *)w->encoded + r * t->row_nbytes);
    }
    return hone_writer_write(&job->writer, t->offset + chunk->row * t->row_nbytes, bytes,
                             (size_t)(chunk->nrows * t->row_nbytes), err);
}

static hone_status commit_chunk(void *user, size_t i, int thread, hone_error *err)
{
    struct job *job = user;
    const struct chunk *chunk = &job->chunks[i];
    const hone_planned_tensor *t = &job->plan->tensors[chunk->tensor];
    const struct workspace *w = &job->workspaces[thread];
    const bool same_type = t->source && t->source->dtype == t->dtype;
    const size_t nbytes = (size_t)(chunk->nrows * t->row_nbytes);
    (void)err;
    if (chunk->row == 0)
        (void)XXH3_64bits_reset(job->hash);
    (void)XXH3_64bits_update(job->hash, same_type ? w->raw : w->encoded, nbytes);
    if (chunk->row + chunk->nrows == t->n_rows)
        job->checksums[chunk->tensor] = XXH3_64bits_digest(job->hash);
    job->done_nbytes += nbytes;
    hone_context_progress(job->ctx, "write", job->done_nbytes, job->total_nbytes);
    return HONE_OK;
}

static hone_status refuse_own_input(const hone_plan *plan, const char *path, hone_error *err)
{
    hone_file out;
    if (hone_file_open(path, &out, NULL) != HONE_OK)
        return HONE_OK;
    hone_status status = HONE_OK;
    for (size_t i = 0; i < plan->src->n_files && status == HONE_OK; i++)
        if (plan->src->files[i].device == out.device && plan->src->files[i].inode == out.inode)
            status = hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "output is an input of this run");
    hone_file_close(&out);
    return hone_fail_in_file(err, status, path);
}

static hone_status seal(struct job *job, hone_error *err)
{
    const hone_plan *plan = job->plan;
    memcpy(plan->layout.bytes + plan->checksums_at, job->checksums, plan->n_tensors * sizeof *job->checksums);
    HONE_TRY(hone_writer_write(&job->writer, 0, plan->layout.bytes, plan->layout.nbytes, err));
    return hone_writer_commit(&job->writer, err);
}

static void free_job(struct job *job)
{
    hone_writer_abort(&job->writer);
    if (job->hash)
        (void)XXH3_freeState(job->hash);
    for (int i = 0; job->workspaces && i < job->plan->n_threads; i++) {
        hone_release(job->workspaces[i].raw);
        hone_release(job->workspaces[i].values);
        hone_release(job->workspaces[i].encoded);
    }
    hone_release(job->workspaces);
    hone_release(job->chunks);
    hone_release(job->checksums);
}

hone_status hone_plan_run(const hone_context *ctx, const hone_plan *plan, const char *path, bool overwrite,
                          hone_error *err)
{
    HONE_TRY(hone_writer_check_target(path, overwrite, err));
    HONE_TRY(refuse_own_input(plan, path, err));
    struct job job = {.ctx = ctx, .plan = plan, .writer = {.fd = -1}};
    hone_status status = cut_chunks(&job, err);
    if (status == HONE_OK)
        status = alloc_workspaces(&job, err);
    if (status != HONE_OK)
        goto out;
    job.hash = XXH3_createState();
    job.checksums = hone_calloc(plan->n_tensors, sizeof *job.checksums);
    if (!job.hash || !job.checksums) {
        status = hone_fail_nomem(err, plan->n_tensors * sizeof *job.checksums);
        goto out;
    }
    status = hone_writer_open(path, plan->layout.file_nbytes, overwrite, &job.writer, err);
    if (status == HONE_OK)
        status = hone_parallel_ordered(job.n_chunks, plan->n_threads, encode_chunk, commit_chunk, &job, err);
    if (status == HONE_OK)
        status = seal(&job, err);
out:
    free_job(&job);
    /* An error that names no file is about the source. */
    return hone_fail_in_file(err, status, hone_checkpoint_path(plan->src));
}
