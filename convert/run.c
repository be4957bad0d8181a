/* SPDX-License-Identifier: MIT */
/*
 * Running a plan: chunks of rows are read, transformed, encoded, written and recorded in the journal in parallel;
 * checksums advance in the order of chunks; a file's header goes in last, with the checksums, and only when all files
 * are whole do they get their names.
 */
#include <string.h>

#include <xxhash.h>

#include "base/fail.h"
#include "base/journal.h"
#include "base/mem.h"
#include "base/parallel.h"
#include "convert/grid_parts.h"
#include "convert/importance.h"
#include "convert/measure.h"
#include "convert/moments.h"
#include "convert/output.h"
#include "convert/output_guard.h"
#include "convert/row_reader.h"
#include "convert/sequential_run.h"
#include "convert/target.h"
#include "formats/imatrix.h"
#include "formats/sources.h"
#include "quantize/encode.h"
#include "quantize/gptq.h"
#include "quantize/sequential.h"

struct chunk {
    size_t tensor;
    uint64_t row, nrows;
};

/* The buffers of a chunk being worked on: as stored, as f32 (nelems), as encoded; the importance of a row. */
struct workspace {
    void *raw, *encoded;
    float *values, *importance;
    hone_measure measure;
    float *feedback;   /* scratch */
    size_t n_plain;    /* rows of the chunk that were coded without feedback after all */
    const void *bytes; /* what is written: raw or encoded */
};

struct job {
    const hone_context *ctx;
    const hone_plan *plan;
    struct chunk *chunks;
    size_t n_chunks;
    struct workspace *workspaces;
    hone_output output;
    const hone_writer *writer; /* of the file being written */
    hone_journal journal;
    size_t first_chunk; /* chunks before it are done */
    bool *resumed;      /* one per chunk: an earlier run wrote it, and it is still there */
    size_t n_resumed;
    bool told;                 /* that the run is resumed */
    XXH3_state_t *hash;        /* of the tensor being committed */
    uint64_t *checksums;       /* one per tensor */
    hone_tensor_error *errors; /* one per tensor, or NULL */
    uint64_t done_nbytes, total_nbytes;
    hone_feedback feedback; /* for the tensors that have the moments `current` */
    const hone_tensor *current;
    size_t *n_plain; /* one per tensor: rows that were coded without feedback after all */
};

static uint64_t chunk_rows(const hone_plan *plan, const hone_planned_tensor *t)
{
    const uint64_t unit = t->weight ? HONE_GRID_ROWS_UNIT : 1;
    const uint64_t rows = plan->chunk_nelems / t->row_nelems / unit * unit;
    return rows ? rows : unit;
}

/* Rows that are cut into chunks by themselves: experts with error feedback, each with its own; else the tensor's. */
static uint64_t rows_together(const hone_planned_tensor *t)
{
    return t->expert_grams ? t->n_rows / t->shape[0] : t->n_rows;
}

static uint64_t expert_of(const struct job *job, size_t chunk)
{
    const hone_planned_tensor *t = &job->plan->tensors[job->chunks[chunk].tensor];
    return t->expert_grams ? job->chunks[chunk].row / rows_together(t) : t->expert;
}

/* Whether two chunks are coded with the same feedback. */
static bool same_feedback(const struct job *job, size_t a, size_t b)
{
    const hone_planned_tensor *x = &job->plan->tensors[job->chunks[a].tensor];
    const hone_planned_tensor *y = &job->plan->tensors[job->chunks[b].tensor];
    return x->moments == y->moments && x->expert_grams == y->expert_grams && expert_of(job, a) == expert_of(job, b);
}

/* Whether a tensor is coded with the feedback that the job holds. */
static bool has_feedback(const struct job *job, const hone_planned_tensor *t)
{
    return (t->moments || t->expert_grams) && job->feedback.ncols > 0;
}

/* Stacks whose experts share their moments: how many of the tensors that are next in an order. 1: any other tensor. */
static size_t count_sharing(const hone_plan *plan, const size_t *order, size_t n)
{
    const hone_planned_tensor *first = &plan->tensors[order[0]];
    size_t k = 1;
    while (k < n && first->expert_grams && plan->tensors[order[k]].expert_grams == first->expert_grams)
        k++;
    return k;
}

/* Rows of one expert, or of a whole tensor. */
static void add_chunks(struct job *job, size_t tensor, uint64_t first, uint64_t end)
{
    const uint64_t rows = chunk_rows(job->plan, &job->plan->tensors[tensor]);
    for (uint64_t row = first, nrows; row < end; row += nrows) {
        nrows = end - row < rows ? end - row : rows;
        job->chunks[job->n_chunks++] = (struct chunk){tensor, row, nrows};
    }
}

/* Tensors that share the moments of experts go expert by expert. */
static void add_tensors(struct job *job, const size_t *tensors, size_t n)
{
    const hone_planned_tensor *all = job->plan->tensors;
    const uint64_t n_experts = all[tensors[0]].expert_grams ? all[tensors[0]].shape[0] : 1;
    for (uint64_t e = 0; e < n_experts; e++)
        for (size_t k = 0; k < n; k++) {
            const uint64_t rows = rows_together(&all[tensors[k]]);
            add_chunks(job, tensors[k], e * rows, (e + 1) * rows);
        }
}

static hone_status cut_chunks(struct job *job, hone_error *err)
{
    const hone_plan *plan = job->plan;
    size_t n = 0;
    for (size_t i = 0; i < plan->n_tensors; i++) {
        const uint64_t rows = chunk_rows(plan, &plan->tensors[i]);
        const uint64_t together = rows_together(&plan->tensors[i]); /* 0: an empty tensor, or scales and zeros */
        n += together ? (size_t)((together + rows - 1) / rows * (plan->tensors[i].n_rows / together)) : 0;
        job->total_nbytes += plan->tensors[i].nbytes; /* parts of weights included: chunks hold all of them */
    }
    job->chunks = hone_alloc(n, sizeof *job->chunks);
    size_t *order = hone_alloc(plan->n_tensors, sizeof *order);
    if (!job->chunks || !order) {
        hone_release(order);
        return hone_fail_nomem(err, n * sizeof *job->chunks + plan->n_tensors * sizeof *order);
    }
    hone_sequential_order(plan, order);
    for (size_t k = 0, n_sharing; k < plan->n_tensors; k += n_sharing) {
        n_sharing = count_sharing(plan, order + k, plan->n_tensors - k);
        add_tensors(job, order + k, n_sharing);
    }
    hone_release(order);
    return HONE_OK;
}

static bool is_measured(const struct job *job, const hone_planned_tensor *t)
{
    return job->errors && hone_is_measured(t);
}

static hone_status alloc_workspaces(struct job *job, hone_error *err)
{
    const hone_plan *plan = job->plan;
    size_t raw = 0, values = 0, encoded = 0, importance = 0, measured = 0;
    for (size_t i = 0; i < plan->n_tensors; i++) {
        const hone_planned_tensor *t = &plan->tensors[i];
        uint64_t rows = chunk_rows(plan, t);
        rows = rows < t->n_rows ? rows : t->n_rows;
        const size_t need_raw = hone_row_reader_nbytes(t, rows);
        raw = need_raw > raw ? need_raw : raw;
        values = rows * t->row_nelems > values ? (size_t)(rows * t->row_nelems) : values;
        const size_t need_encoded =
            t->weight ? hone_grid_chunk_nbytes(&plan->weights[t->weight - 1], rows) : (size_t)(rows * t->row_nbytes);
        encoded = need_encoded > encoded ? need_encoded : encoded;
        measured = is_measured(job, t) && rows > measured ? (size_t)rows : measured;
        importance = t->entry && t->row_nelems > importance ? (size_t)t->row_nelems : importance;
    }
    job->workspaces = hone_calloc((size_t)plan->n_slots, sizeof *job->workspaces);
    if (!job->workspaces)
        return hone_fail_nomem(err, sizeof *job->workspaces);
    for (int i = 0; i < plan->n_slots; i++) {
        struct workspace *w = &job->workspaces[i];
        w->raw = hone_alloc(raw, 1);
        w->values = hone_alloc(values, sizeof *w->values);
        w->encoded = hone_alloc(encoded, 1);
        w->importance = hone_alloc(importance, sizeof *w->importance);
        w->measure.rows = hone_alloc(measured, sizeof *w->measure.rows);
        w->feedback = hone_alloc(plan->thread_moments_nbytes, 1);
        if (!w->raw || !w->values || !w->encoded || !w->importance || !w->measure.rows || !w->feedback)
            return hone_fail_nomem(err, raw + values * sizeof *w->values + encoded);
    }
    return HONE_OK;
}

static void clamp_to_f16(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = x[i] > 65504.0f ? 65504.0f : x[i] < -65504.0f ? -65504.0f : x[i];
}

/* Where a chunk lies in the output; returns the number of pieces. */
static unsigned chunk_pieces(const struct job *job, const struct chunk *chunk, hone_piece pieces[HONE_N_PARTS])
{
    const hone_planned_tensor *t = &job->plan->tensors[chunk->tensor];
    if (t->weight)
        return hone_grid_pieces(job->plan, &job->plan->weights[t->weight - 1], chunk->row, chunk->nrows, pieces);
    pieces[0] = (hone_piece){.offset = t->offset + chunk->row * t->row_nbytes,
                             .n_runs = 1,
                             .run_nbytes = (size_t)(chunk->nrows * t->row_nbytes)};
    return 1;
}

static size_t chunk_nbytes(const struct job *job, const struct chunk *chunk)
{
    hone_piece pieces[HONE_N_PARTS];
    const unsigned n = chunk_pieces(job, chunk, pieces);
    return hone_pieces_nbytes(pieces, n);
}

static hone_status write_chunk(const struct job *job, const struct chunk *chunk, const void *bytes, hone_error *err)
{
    hone_piece pieces[HONE_N_PARTS];
    const unsigned n = chunk_pieces(job, chunk, pieces);
    return hone_pieces_write(job->writer, pieces, n, bytes, err);
}

static hone_status read_chunk(const struct job *job, const struct chunk *chunk, void *bytes, hone_error *err)
{
    hone_piece pieces[HONE_N_PARTS];
    const unsigned n = chunk_pieces(job, chunk, pieces);
    return hone_pieces_read(job->writer, pieces, n, bytes, err);
}

/* Nothing is encoded when rows keep their type: copying keeps every bit as it is. */
static const void *chunk_bytes(const struct workspace *w, const hone_planned_tensor *t)
{
    const bool kept = t->bytes || (t->source && t->source->dtype == t->dtype && !t->weight);
    return kept && hone_rows_are_raw(t) ? w->raw : w->encoded;
}

/* The rows of a chunk as they are to be encoded. */
static hone_status read_source(const struct job *job, const struct chunk *chunk, const struct workspace *w,
                               hone_error *err)
{
    const hone_planned_tensor *t = &job->plan->tensors[chunk->tensor];
    HONE_TRY(hone_read_rows(job->ctx, job->plan, t, chunk->row, chunk->nrows, w->raw, w->values, err));
    if (t->dtype == HONE_F16 && job->plan->saturate && t->source && t->source->dtype != HONE_F16)
        clamp_to_f16(w->values, (size_t)(chunk->nrows * t->row_nelems));
    return HONE_OK;
}

/* The rows of a part of a chunk, behind those of the parts before. */
static void measure(const struct job *job, const struct chunk *part, struct workspace *w)
{
    const hone_planned_tensor *t = &job->plan->tensors[part->tensor];
    if (is_measured(job, t))
        hone_measure_rows(job->plan, t, job->ctx->cpu, part->row, part->nrows, w->values, w->encoded, &w->measure);
}

/* *held tells what w->importance holds: UINT64_MAX at first. */
static hone_status encode_rows(const struct job *job, const struct chunk *chunk, const struct workspace *w,
                               uint64_t *held, hone_error *err)
{
    const hone_planned_tensor *t = &job->plan->tensors[chunk->tensor];
    const float *importance;
    if (t->weight) {
        HONE_TRY(hone_importance_of_row(job->plan, t, chunk->row, w->importance, held, &importance, err));
        hone_grid_encode_rows(job->plan, &job->plan->weights[t->weight - 1], chunk->row, chunk->nrows, w->values,
                              importance, NULL, w->encoded);
        return HONE_OK;
    }
    const hone_encode_fn encode = hone_encoder(t->dtype, job->plan->search, job->ctx->cpu);
    const size_t row_nelems = (size_t)t->row_nelems;
    if (row_nelems == 1) { /* a long vector, cut anywhere */
        encode(w->values, (size_t)chunk->nrows, NULL, w->encoded);
        return HONE_OK;
    }
    for (uint64_t r = 0; r < chunk->nrows; r++) {
        HONE_TRY(hone_importance_of_row(job->plan, t, chunk->row + r, w->importance, held, &importance, err));
        encode(w->values + r * row_nelems, row_nelems, importance, (char *)w->encoded + r * t->row_nbytes);
    }
    return HONE_OK;
}

static void encode_with_feedback(const struct job *job, const struct chunk *chunk, struct workspace *w)
{
    const hone_plan *plan = job->plan;
    const hone_planned_tensor *t = &plan->tensors[chunk->tensor];
    const hone_grid_feedback feedback = {&job->feedback, w->feedback, &w->n_plain};
    if (t->weight) {
        hone_grid_encode_rows(plan, &plan->weights[t->weight - 1], chunk->row, chunk->nrows, w->values, NULL, &feedback,
                              w->encoded);
        return;
    }
    const hone_gptq_coder coder = hone_gptq_blocks(t->dtype, plan->search, job->ctx->cpu);
    hone_gptq_encode(&job->feedback, &coder, w->values, (size_t)chunk->nrows, w->encoded, w->feedback, &w->n_plain);
}

/* How many rows of a chunk are decoded and encoded at a time: as many as stay in a core's cache, where rows are read
 * one after another anyway and nothing needs the whole chunk. */
static uint64_t rows_at_a_time(const hone_planned_tensor *t, const struct chunk *chunk)
{
    enum { CACHED_NELEMS = 1 << 14 };
    if (t->weight || t->moments || t->expert_grams || t->order == HONE_ROWS_TRANSPOSE)
        return chunk->nrows;
    const uint64_t rows = CACHED_NELEMS / t->row_nelems;
    return rows == 0 ? 1 : rows < chunk->nrows ? rows : chunk->nrows;
}

/* A chunk that is encoded, not copied. */
static hone_status encode_parts(const struct job *job, const struct chunk *chunk, struct workspace *w, hone_error *err)
{
    const hone_planned_tensor *t = &job->plan->tensors[chunk->tensor];
    const uint64_t step = rows_at_a_time(t, chunk);
    uint64_t held = UINT64_MAX;
    w->measure.n_rows = 0;
    for (uint64_t r = 0; r < chunk->nrows; r += step) {
        const uint64_t left = chunk->nrows - r;
        const struct chunk part = {chunk->tensor, chunk->row + r, left < step ? left : step};
        struct workspace view = *w;
        view.encoded = (char *)w->encoded + r * t->row_nbytes;
        HONE_TRY(read_source(job, &part, &view, err));
        if (has_feedback(job, t))
            encode_with_feedback(job, &part, &view);
        else
            HONE_TRY(encode_rows(job, &part, &view, &held, err));
        measure(job, &part, &view);
        w->measure = view.measure;
        w->n_plain = view.n_plain; /* with moments there is one part */
    }
    return HONE_OK;
}

/* The checksum that the journal keeps of a chunk; not 0, which stands for none. */
static uint64_t checksum_of(const struct job *job, const struct chunk *chunk, const void *bytes)
{
    const uint64_t checksum = XXH3_64bits(bytes, chunk_nbytes(job, chunk));
    return checksum ? checksum : 1;
}

/* A chunk of an earlier run: its bytes go into the checksums, and what is measured is measured again. */
static hone_status take_over_chunk(const struct job *job, const struct chunk *chunk, struct workspace *w,
                                   hone_error *err)
{
    const hone_planned_tensor *t = &job->plan->tensors[chunk->tensor];
    w->n_plain = 0;
    w->bytes = w->encoded;
    HONE_TRY(read_chunk(job, chunk, w->encoded, err));
    if (!is_measured(job, t))
        return HONE_OK;
    HONE_TRY(read_source(job, chunk, w, err));
    if (t->weight) /* what is decoded lies beside what is written */
        hone_grid_unpack_rows(job->plan, &job->plan->weights[t->weight - 1], chunk->row, chunk->nrows, w->encoded);
    w->measure.n_rows = 0;
    measure(job, chunk, w);
    return HONE_OK;
}

static hone_status encode_chunk(void *user, size_t i, int slot, hone_error *err)
{
    const struct job *job = user;
    const size_t index = job->first_chunk + i;
    const struct chunk *chunk = &job->chunks[index];
    struct workspace *w = &job->workspaces[slot];
    if (job->resumed[index])
        return take_over_chunk(job, chunk, w, err);
    w->bytes = chunk_bytes(w, &job->plan->tensors[chunk->tensor]);
    if (w->bytes == w->encoded)
        HONE_TRY(encode_parts(job, chunk, w, err));
    else
        HONE_TRY(read_source(job, chunk, w, err));
    HONE_TRY(write_chunk(job, chunk, w->bytes, err));
    return hone_journal_commit(&job->journal, index, checksum_of(job, chunk, w->bytes), err);
}

/* Whether a tensor's chunks do not follow each other from end to end, so that its checksum waits for all of them:
 * see hash_parts(). */
static bool comes_in_parts(const hone_planned_tensor *t)
{
    return t->weight || t->expert_grams;
}

/* A chunk is done: its tensor's checksum takes it in. */
static void account_chunk(struct job *job, const struct chunk *chunk, const struct workspace *w)
{
    const hone_planned_tensor *t = &job->plan->tensors[chunk->tensor];
    if (is_measured(job, t))
        hone_measure_add(t, &w->measure, &job->errors[chunk->tensor]);
    if (chunk->row == 0)
        (void)XXH3_64bits_reset(job->hash);
    if (!comes_in_parts(t))
        (void)XXH3_64bits_update(job->hash, w->bytes, chunk_nbytes(job, chunk));
    if (chunk->row + chunk->nrows == t->n_rows)
        job->checksums[chunk->tensor] = XXH3_64bits_digest(job->hash);
    job->done_nbytes += chunk_nbytes(job, chunk);
    if (!job->plan->sequential) /* there, what writing waits for tells how far it is */
        hone_context_progress(job->ctx, "write", job->done_nbytes, job->total_nbytes);
}

/* Whether a chunk ends its tensor. */
static bool is_last(const struct job *job, const struct chunk *chunk)
{
    return chunk->row + chunk->nrows == job->plan->tensors[chunk->tensor].n_rows;
}

static void count_plain(struct job *job, const struct chunk *chunk, size_t n)
{
    const hone_planned_tensor *t = &job->plan->tensors[chunk->tensor];
    size_t *n_plain = &job->n_plain[chunk->tensor];
    *n_plain += has_feedback(job, t) ? n : 0;
    if (is_last(job, chunk) && *n_plain > 0)
        hone_context_note(job->ctx, "%s: %zu of %llu rows are no better for error feedback and keep their plain codes",
                          t->name, *n_plain, (unsigned long long)t->n_rows);
}

static hone_status commit_chunk(void *user, size_t i, int slot, hone_error *err)
{
    (void)err;
    struct job *job = user;
    const struct chunk *chunk = &job->chunks[job->first_chunk + i];
    const struct workspace *w = &job->workspaces[slot];
    count_plain(job, chunk, w->n_plain);
    account_chunk(job, chunk, w);
    return HONE_OK;
}

static hone_status find_resumed(void *user, size_t i, int thread, hone_error *err)
{
    const struct job *job = user;
    const size_t index = job->first_chunk + i;
    const struct chunk *chunk = &job->chunks[index];
    void *bytes = job->workspaces[thread].encoded;
    uint64_t checksum;
    HONE_TRY(hone_journal_chunk(&job->journal, index, &checksum, err));
    if (checksum == 0)
        return HONE_OK;
    HONE_TRY(read_chunk(job, chunk, bytes, err));
    job->resumed[index] = checksum_of(job, chunk, bytes) == checksum;
    return HONE_OK;
}

/* Finds which chunks before end an earlier run finished, as far as their bytes are still what it wrote. Says so once:
 * in the last file that such a run came to. */
static hone_status find_what_is_done(struct job *job, size_t end, hone_error *err)
{
    if (job->journal.n_entries <= job->first_chunk)
        return HONE_OK;
    HONE_TRY(hone_parallel_for(end - job->first_chunk, job->plan->n_threads, find_resumed, job, err));
    for (size_t i = job->first_chunk; i < end; i++)
        job->n_resumed += job->resumed[i];
    if (job->told || (end < job->n_chunks && job->journal.n_entries > end))
        return HONE_OK;
    job->told = true;
    if (job->n_resumed > 0)
        hone_context_note(job->ctx, "resuming: %zu of %zu chunks were done", job->n_resumed, job->n_chunks);
    return HONE_OK;
}

/* What must be equal for two runs to be the same work: the headers, how they are cut into chunks, and the sources as
 * they are now. */
static uint64_t identity(const struct job *job)
{
    const hone_plan *plan = job->plan;
    uint64_t id = (plan->chunk_nelems + ((uint64_t)plan->saturate << 63)) ^ plan->recipe_id;
    for (size_t i = 0; i < plan->n_files; i++)
        id = XXH3_64bits_withSeed(plan->files[i].header, plan->files[i].header_nbytes, id);
    return hone_identify_inputs(plan, id);
}

/* The file's header with the checksums filled in; the plan itself stays as it was made. */
static hone_status write_header(struct job *job, const hone_output_file *file, hone_error *err)
{
    uint8_t *header = hone_alloc(file->header_nbytes, 1);
    if (!header)
        return hone_fail_nomem(err, file->header_nbytes);
    memcpy(header, file->header, file->header_nbytes);
    if (file->n_tensors > 0)
        job->plan->target->put_checksums(file, job->checksums + file->first_tensor, header);
    const hone_status status = hone_writer_write(job->writer, 0, header, file->header_nbytes, err);
    hone_release(header);
    return status;
}

static void free_job(struct job *job)
{
    if (job->hash)
        (void)XXH3_freeState(job->hash);
    for (int i = 0; job->workspaces && i < job->plan->n_slots; i++) {
        hone_release(job->workspaces[i].raw);
        hone_release(job->workspaces[i].values);
        hone_release(job->workspaces[i].encoded);
        hone_release(job->workspaces[i].feedback);
        hone_release(job->workspaces[i].importance);
        hone_release(job->workspaces[i].measure.rows);
    }
    hone_feedback_deinit(&job->feedback);
    hone_release(job->workspaces);
    hone_release(job->chunks);
    hone_release(job->checksums);
    hone_release(job->resumed);
    hone_release(job->n_plain);
}

static hone_status open_output(struct job *job, const char *path, hone_writer_options how, hone_error *err)
{
    hone_output *out = &job->output;
    HONE_TRY(hone_output_open(job->plan, path, how, out, err));
    /* The journal says whose the partial files are before there is anything in them. */
    HONE_TRY(hone_journal_open(out->last.path, out->last.resumed, identity(job), job->n_chunks, &job->journal, err));
    return hone_output_reserve(out, err);
}

/* What was written may not be on the disk after all, whatever the journal says. */
static hone_status sync_file(struct job *job, hone_error *err)
{
    const hone_status status = hone_writer_sync(job->writer, err);
    if (status != HONE_OK)
        hone_journal_forget(&job->journal);
    return status;
}

/* The checksums of what comes in parts, read back once the file's chunks are all there. */
static hone_status hash_parts(struct job *job, const hone_output_file *file, hone_error *err)
{
    enum { BLOCK_NBYTES = 1 << 20 };
    uint8_t *block = NULL;
    hone_status status = HONE_OK;
    for (size_t i = file->first_tensor; i < file->first_tensor + file->n_tensors && status == HONE_OK; i++) {
        const hone_planned_tensor *t = &job->plan->tensors[i];
        if (!comes_in_parts(t))
            continue;
        if (!block && !(block = hone_alloc(BLOCK_NBYTES, 1)))
            return hone_fail_nomem(err, BLOCK_NBYTES);
        (void)XXH3_64bits_reset(job->hash);
        for (uint64_t at = 0; at < t->nbytes && status == HONE_OK; at += BLOCK_NBYTES) {
            const size_t n = t->nbytes - at < BLOCK_NBYTES ? (size_t)(t->nbytes - at) : BLOCK_NBYTES;
            status = hone_writer_read(job->writer, t->offset + at, block, n, err);
            (void)XXH3_64bits_update(job->hash, block, n);
        }
        job->checksums[i] = XXH3_64bits_digest(job->hash);
    }
    hone_release(block);
    return status;
}

/* The tensors whose chunks end before `end` go on, as they were coded, to where their outputs are calibrated on. */
static hone_status take_coded(const struct job *job, size_t end, hone_error *err)
{
    for (size_t i = job->first_chunk; i < end && job->plan->sequential; i++)
        if (is_last(job, &job->chunks[i]))
            HONE_TRY(hone_sequential_take(job->plan, &job->plan->tensors[job->chunks[i].tensor], job->writer, err));
    return HONE_OK;
}

/* Names the experts among the chunks before stop, all of one number. */
static void note_few_tokens(const struct job *job, size_t stop, double n_tokens)
{
    for (size_t i = job->first_chunk; i < stop; i++) {
        const hone_planned_tensor *t = &job->plan->tensors[job->chunks[i].tensor];
        if (job->chunks[i].row % rows_together(t) == 0)
            hone_context_note(job->ctx, "%s: expert %llu saw %.0f tokens, coded without error feedback", t->name,
                              (unsigned long long)expert_of(job, i), n_tokens);
    }
}

/* For the chunks before stop. */
static hone_status prepare_feedback(struct job *job, size_t stop, hone_error *err)
{
    const hone_planned_tensor *t = &job->plan->tensors[job->chunks[job->first_chunk].tensor];
    if (!t->moments && !t->expert_grams)
        return HONE_OK;
    if (t->moments && !t->stack_name)
        return hone_moments_prepare(job->ctx, job->plan, t, &job->current, &job->feedback, err);
    if (t->moments && t->moments == job->current)
        return HONE_OK;
    job->current = NULL;
    double n_tokens;
    HONE_TRY(hone_moments_prepare_expert(job->ctx, job->plan, t, expert_of(job, job->first_chunk), &job->feedback,
                                         &n_tokens, err));
    if (job->feedback.ncols == 0)
        note_few_tokens(job, stop, n_tokens);
    job->current = t->moments;
    return HONE_OK;
}

/* Runs the chunks before end, those that need the same feedback together. */
static hone_status encode_chunks(struct job *job, size_t end, hone_error *err)
{
    while (job->first_chunk < end) {
        size_t stop = job->first_chunk;
        bool all_resumed = true;
        for (; stop < end && same_feedback(job, job->first_chunk, stop); stop++)
            all_resumed &= job->resumed[stop];
        if (!all_resumed)
            HONE_TRY(prepare_feedback(job, stop, err));
        HONE_TRY(hone_parallel_ordered(stop - job->first_chunk, job->plan->n_threads, job->plan->n_slots, encode_chunk,
                                       commit_chunk, job, err));
        HONE_TRY(take_coded(job, stop, err));
        job->first_chunk = stop;
    }
    return HONE_OK;
}

static hone_status open_file(struct job *job, size_t i, hone_error *err)
{
    return hone_output_begin(&job->output, i, &job->writer, err);
}

/* Chunks [job->first_chunk, end) are neighbours in one file. */
static hone_status write_chunks(struct job *job, size_t end, hone_error *err)
{
    HONE_TRY(open_file(job, job->plan->tensors[job->chunks[job->first_chunk].tensor].file, err));
    HONE_TRY(find_what_is_done(job, end, err));
    HONE_TRY(encode_chunks(job, end, err));
    hone_output_end(&job->output);
    return HONE_OK;
}

/* All chunks of the file are written. */
static hone_status seal_file(struct job *job, size_t i, hone_error *err)
{
    HONE_TRY(open_file(job, i, err));
    HONE_TRY(hash_parts(job, &job->plan->files[i], err));
    HONE_TRY(write_header(job, &job->plan->files[i], err));
    HONE_TRY(sync_file(job, err));
    hone_output_end(&job->output);
    return HONE_OK;
}

static hone_status run(struct job *job, const char *path, hone_error *err)
{
    const hone_plan *plan = job->plan;
    const struct chunk *chunks = job->chunks;
    if (plan->sequential)
        HONE_TRY(hone_sequential_begin(plan->sequential, plan->streams_max_nbytes, path, err));
    while (job->first_chunk < job->n_chunks) {
        const size_t file = plan->tensors[chunks[job->first_chunk].tensor].file;
        size_t end = job->first_chunk;
        while (end < job->n_chunks && plan->tensors[chunks[end].tensor].file == file)
            end++;
        HONE_TRY(write_chunks(job, end, err));
    }
    for (size_t i = 0; i < plan->n_files; i++)
        HONE_TRY(seal_file(job, i, err));
    HONE_TRY(hone_check_unchanged(plan, err));
    return hone_output_commit(&job->output, err);
}

static hone_status prepare(struct job *job, hone_error *err)
{
    HONE_TRY(hone_check_memory(job->plan->memory_nbytes, err));
    HONE_TRY(cut_chunks(job, err));
    HONE_TRY(alloc_workspaces(job, err));
    job->hash = XXH3_createState();
    job->checksums = hone_calloc(job->plan->n_tensors, sizeof *job->checksums);
    job->resumed = hone_calloc(job->n_chunks, sizeof *job->resumed);
    job->n_plain = hone_calloc(job->plan->n_tensors, sizeof *job->n_plain);
    if (!job->hash || !job->checksums || !job->resumed || !job->n_plain)
        return hone_fail_nomem(err, job->plan->n_tensors * 8);
    if (job->errors)
        memset(job->errors, 0, job->plan->n_tensors * sizeof *job->errors);
    for (size_t i = 0; i < job->plan->n_tensors; i++)
        job->checksums[i] = XXH3_64bits("", 0); /* an empty tensor has no chunk to account for */
    return HONE_OK;
}

hone_status hone_plan_run(const hone_context *ctx, const hone_plan *plan, const char *path,
                          const hone_run_options *opts, hone_error *err)
{
    const hone_writer_options how = {.overwrite = opts && opts->overwrite, .restart = opts && opts->restart};
    struct job job = {.ctx = ctx,
                      .plan = plan,
                      .errors = opts ? opts->errors : NULL,
                      .output = {.last.fd = -1, .current.fd = -1},
                      .journal = {.fd = -1}};
    hone_status status = prepare(&job, err);
    if (status == HONE_OK)
        status = open_output(&job, path, how, err);
    if (status == HONE_OK)
        status = run(&job, path, err);
    /* Work is kept when the machine failed us or a file is in the way, not when the input did: that will fail again. */
    const bool keep = status == HONE_ERROR_IO || status == HONE_ERROR_NOMEM || status == HONE_ERROR_ARG;
    hone_journal_close(&job.journal, !keep); /* first, while the lock is held */
    if (keep)
        hone_output_suspend(&job.output);
    else
        hone_output_abort(&job.output);
    free_job(&job);
    /* An error that names no file is about the source. */
    return hone_fail_in_file(err, status, hone_checkpoint_path(plan->src));
}
