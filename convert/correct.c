/* SPDX-License-Identifier: MIT */
/*
 * With E = W - Q and D = 1 + diag(delta), the error of the layers behind a norm is
 *
 *     sum of tr((E - Q diag(delta)) H (E - Q diag(delta))T) = L - 2 b delta + deltaT G delta
 *     G = (sum of QT Q) o H,   b = diag(sum of QT E H)
 *
 * and G delta = b makes it least. All sums are made in the order of rows, and alike at every level.
 */
#include "convert/correction.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <xxhash.h>

#include "base/fail.h"
#include "base/mem.h"
#include "base/parallel.h"
#include "convert/fold_groups.h"
#include "convert/moments.h"
#include "convert/row_coder.h"
#include "convert/row_reader.h"
#include "convert/target.h"

enum { TILE = HONE_FEEDBACK_ROWS, BATCH = 8 * TILE };

/* Less than a thousandth is no gain. */
static const double LEAST_GAIN = 0.001;

struct corrected {
    hone_correction_tensor about; /* its name in the arena */
    float *addend;                /* (n); arena */
    size_t n;
};

struct hone_correction {
    uint64_t nbytes; /* that making it took */
    hone_arena arena;
    struct corrected *tensors;
    size_t n, cap;
};

struct job {
    const hone_context *ctx;
    const hone_plan *plan;
    const hone_planned_tensor *t; /* a matrix */
    hone_feedback feedback;
    const hone_tensor *current;
    hone_row_coder *coders;
    size_t ncols;
    uint64_t first, nrows; /* the batch */
    /* of a norm */
    double *h, *gram;   /* (ncols, ncols); sums of QT Q, the upper triangle */
    double *q, *e, *eh; /* (BATCH, ncols) */
    double *b, *delta;  /* (ncols) */
    double loss;
    /* of a bias */
    float *addend; /* (n_rows) */
    double *losses;
};

/* Leaves the weights in w->values, what the codes stand for in w->decoded. */
static hone_status code_tile(const struct job *job, uint64_t row, uint64_t nrows, const hone_row_coder *w,
                             hone_error *err)
{
    HONE_TRY(hone_read_rows(job->ctx, job->plan, job->t, row, nrows, w->raw, w->values, err));
    HONE_TRY(hone_code_rows(job->ctx, job->plan, job->t, job->t->dtype, &job->feedback, row, nrows, w, err));
    hone_decode_rows(job->ctx, job->plan, job->t, job->t->dtype, nrows, w);
    return HONE_OK;
}

static hone_status begin_matrix(struct job *job, const hone_planned_tensor *t, hone_error *err)
{
    job->t = t;
    job->ncols = (size_t)t->row_nelems;
    job->coders = hone_row_coders_new(job->plan, t, job->ctx->n_threads);
    if (!job->coders)
        return hone_fail_nomem(err, TILE * job->ncols * sizeof(float));
    return hone_moments_prepare(job->ctx, job->plan, t, &job->current, &job->feedback, err);
}

static void end_matrix(struct job *job)
{
    hone_row_coders_free(job->coders, job->ctx->n_threads);
    job->coders = NULL;
}

static hone_status add(hone_correction *c, const hone_planned_tensor *t, size_t n, struct corrected **out,
                       hone_error *err)
{
    struct corrected made = {.about.name = hone_arena_copy(&c->arena, t->name, strlen(t->name)),
                             .addend = hone_arena_alloc(&c->arena, n, sizeof(float)),
                             .n = n};
    struct corrected *grown = hone_grow(c->tensors, &c->cap, c->n + 1, sizeof made);
    if (grown)
        c->tensors = grown;
    if (!grown || !made.about.name || !made.addend)
        return hone_fail_nomem(err, n * sizeof(float));
    memset(made.addend, 0, n * sizeof(float));
    c->tensors[c->n] = made;
    *out = &c->tensors[c->n++];
    return HONE_OK;
}

/* ---- biases ---- */

static hone_status correct_tile(void *user, size_t tile, int thread, hone_error *err)
{
    const struct job *job = user;
    const hone_row_coder *w = &job->coders[thread];
    const uint64_t row = (uint64_t)tile * TILE, left = job->t->n_rows - row, nrows = left < TILE ? left : TILE;
    HONE_TRY(code_tile(job, row, nrows, w, err));
    float loss[TILE];
    for (size_t i = 0; i < TILE * job->ncols; i++)
        w->decoded[i] = w->values[i] - w->decoded[i];
    hone_feedback_row_losses(&job->feedback, w->decoded, w->scratch, loss);
    for (uint64_t r = 0; r < nrows; r++) {
        double sum = 0;
        for (size_t j = 0; j < job->ncols; j++)
            sum += (double)w->decoded[r * job->ncols + j] * (double)job->t->input_means[j];
        job->addend[row + r] = (float)sum;
        job->losses[row + r] = (double)loss[r];
    }
    return HONE_OK;
}

/* The codes were chosen for an input without its mean; the bias makes up for that. */
static hone_status correct_bias(struct job *job, hone_correction *c, const hone_planned_tensor *bias, hone_error *err)
{
    const size_t n = (size_t)job->t->n_rows;
    struct corrected *made;
    HONE_TRY(add(c, bias, n, &made, err));
    job->addend = made->addend;
    job->losses = hone_alloc(n, sizeof *job->losses);
    if (!job->losses)
        return hone_fail_nomem(err, n * sizeof *job->losses);
    const hone_status status = hone_parallel_for((n + TILE - 1) / TILE, job->ctx->n_threads, correct_tile, job, err);
    for (size_t i = 0; i < n && status == HONE_OK; i++) {
        made->about.corrected_error += job->losses[i];
        made->about.error += job->losses[i] + (double)made->addend[i] * (double)made->addend[i];
    }
    hone_release(job->losses);
    return status;
}

static hone_status correct_biases(struct job *job, hone_correction *c, hone_error *err)
{
    for (size_t i = 0; i < job->plan->n_tensors; i++) {
        const hone_planned_tensor *t = &job->plan->tensors[i];
        if (!t->input_means)
            continue;
        hone_status status = begin_matrix(job, t, err);
        if (status == HONE_OK)
            status = correct_bias(job, c, hone_plan_bias_of(job->plan, t), err);
        end_matrix(job);
        HONE_TRY(status);
        hone_context_progress(job->ctx, "correct biases", i + 1, job->plan->n_tensors);
    }
    return HONE_OK;
}

/* ---- norms ---- */

static hone_status code_rows(void *user, size_t tile, int thread, hone_error *err)
{
    const struct job *job = user;
    const hone_row_coder *w = &job->coders[thread];
    const uint64_t at = (uint64_t)tile * TILE, left = job->nrows - at, nrows = left < TILE ? left : TILE;
    HONE_TRY(code_tile(job, job->first + at, nrows, w, err));
    const size_t n = job->ncols;
    for (size_t i = 0; i < nrows * n; i++) {
        job->q[at * n + i] = (double)w->decoded[i];
        job->e[at * n + i] = (double)w->decoded[i] - (double)w->values[i]; /* rows are subtracted */
    }
    memset(job->eh + at * n, 0, (size_t)nrows * n * sizeof *job->eh);
    for (size_t r = (size_t)at; r < at + nrows; r++)
        job->feedback.kernels->subtract_rows(job->e + r * n, job->h, n, n, n, job->eh + r * n);
    return HONE_OK;
}

static hone_status add_to_gram(void *user, size_t i, int thread, hone_error *err)
{
    (void)thread;
    (void)err;
    const struct job *job = user;
    const size_t n = job->ncols;
    double column[BATCH];
    for (size_t r = 0; r < job->nrows; r++)
        column[r] = -job->q[r * n + i];
    job->feedback.kernels->subtract_rows(column, job->q + i, n, (size_t)job->nrows, n - i, job->gram + i * n + i);
    return HONE_OK;
}

static hone_status add_matrix(struct job *job, hone_error *err)
{
    const size_t n = job->ncols;
    for (job->first = 0; job->first < job->t->n_rows; job->first += BATCH) {
        const uint64_t left = job->t->n_rows - job->first;
        job->nrows = left < BATCH ? left : BATCH;
        const size_t n_tiles = (size_t)(job->nrows + TILE - 1) / TILE;
        HONE_TRY(hone_parallel_for(n_tiles, job->ctx->n_threads, code_rows, job, err));
        HONE_TRY(hone_parallel_for(n, job->ctx->n_threads, add_to_gram, job, err));
        for (size_t r = 0; r < job->nrows; r++)
            for (size_t j = 0; j < n; j++) {
                job->loss -= job->e[r * n + j] * job->eh[r * n + j];
                job->b[j] += job->q[r * n + j] * job->eh[r * n + j];
            }
    }
    return HONE_OK;
}

/* G in place of the sums of QT Q. */
static hone_status read_g(void *user, size_t i, float *dst, hone_error *err)
{
    (void)err;
    const struct job *job = user;
    for (size_t j = i; j < job->ncols; j++)
        dst[j - i] = (float)(job->gram[i * job->ncols + j] * job->h[i * job->ncols + j]);
    return HONE_OK;
}

static double corrected_loss(const struct job *job)
{
    const size_t n = job->ncols;
    double loss = job->loss;
    for (size_t i = 0; i < n; i++) {
        double sum = job->gram[i * n + i] * job->h[i * n + i] * job->delta[i];
        for (size_t j = i + 1; j < n; j++)
            sum += 2 * job->gram[i * n + j] * job->h[i * n + j] * job->delta[j];
        loss += job->delta[i] * (sum - 2 * job->b[i]);
    }
    return loss;
}

static hone_status solve(struct job *job, hone_error *err)
{
    hone_feedback g;
    hone_feedback_deinit(&job->feedback); /* one at a time is large enough */
    job->current = NULL;
    HONE_TRY(hone_feedback_init(job->ctx, job->ncols, 0, read_g, job, &g, err));
    memcpy(job->delta, job->b, job->ncols * sizeof *job->delta);
    hone_feedback_solve(&g, job->delta);
    hone_feedback_deinit(&g);
    return HONE_OK;
}

/* What the norm w adds to become w d, to *addend (ncols), and delta as its type can store it. */
static hone_status round_delta(const struct job *job, const hone_planned_tensor *norm, float *addend, hone_error *err)
{
    const size_t n = job->ncols;
    float *rounded = hone_alloc(n, sizeof *rounded);
    if (!rounded)
        return hone_fail_nomem(err, n * sizeof *rounded);
    hone_status status = hone_read_vector(job->ctx, job->plan, norm, addend, err);
    for (size_t j = 0; j < n && status == HONE_OK; j++)
        rounded[j] = (float)((double)addend[j] * (1 + job->delta[j]));
    if (status == HONE_OK && norm->dtype != HONE_F32)
        status = hone_round_to(job->ctx, norm->dtype, rounded, n, err);
    for (size_t j = 0; j < n && status == HONE_OK; j++) {
        const double w = (double)addend[j];
        addend[j] = (float)((double)rounded[j] - w);
        job->delta[j] = w != 0 ? (double)rounded[j] / w - 1 : 0;
    }
    hone_release(rounded);
    return status;
}

static hone_status keep_norm(const struct job *job, hone_correction *c, const hone_planned_tensor *norm,
                             hone_error *err)
{
    struct corrected *made;
    HONE_TRY(add(c, norm, job->ncols, &made, err));
    made->about.error = made->about.corrected_error = job->loss;
    HONE_TRY(round_delta(job, norm, made->addend, err));
    const double loss = corrected_loss(job);
    if (loss < job->loss * (1 - LEAST_GAIN))
        made->about.corrected_error = loss;
    else
        memset(made->addend, 0, job->ncols * sizeof *made->addend);
    return HONE_OK;
}

static hone_status add_readers(struct job *job, const hone_fold_link *link, hone_error *err)
{
    HONE_TRY(hone_moments_read(job->ctx, job->plan, link->readers[0], job->h, err));
    for (size_t i = 0; i < link->n_readers; i++) {
        hone_status status = begin_matrix(job, link->readers[i], err);
        if (status == HONE_OK)
            status = add_matrix(job, err);
        end_matrix(job);
        HONE_TRY(status);
    }
    return HONE_OK;
}

static hone_status correct_norm(struct job *job, hone_correction *c, const hone_fold_link *link, hone_error *err)
{
    const size_t n = (size_t)link->n;
    job->h = hone_alloc(n * n, sizeof *job->h);
    job->gram = hone_calloc(n * n, sizeof *job->gram);
    job->q = hone_alloc(BATCH * n, sizeof *job->q);
    job->e = hone_alloc(BATCH * n, sizeof *job->e);
    job->eh = hone_alloc(BATCH * n, sizeof *job->eh);
    job->b = hone_calloc(n, sizeof *job->b);
    job->delta = hone_alloc(n, sizeof *job->delta);
    job->loss = 0;
    hone_status status = HONE_OK;
    if (!job->h || !job->gram || !job->q || !job->e || !job->eh || !job->b || !job->delta)
        status = hone_fail_nomem(err, 2 * n * n * sizeof *job->h);
    if (status == HONE_OK)
        status = add_readers(job, link, err);
    if (status == HONE_OK && job->loss > 0)
        status = solve(job, err);
    if (status == HONE_OK && job->loss > 0)
        status = keep_norm(job, c, link->writer, err);
    double *const all[] = {job->h, job->gram, job->q, job->e, job->eh, job->b, job->delta};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        hone_release(all[i]);
    return status;
}

/* An RMS norm, all of whose readers are known to have the same input. */
static bool can_be_corrected(const hone_fold_link *link)
{
    if (link->writer->n_dims != 1 || link->bias || link->writer->order != HONE_ROWS_AS_STORED)
        return false;
    for (size_t i = 0; i < link->n_readers; i++)
        if (!link->readers[i]->gram || link->readers[i]->gram != link->readers[0]->gram ||
            link->readers[i]->input_means)
            return false;
    return true;
}

static hone_status correct_norms(struct job *job, hone_correction *c, hone_error *err)
{
    hone_fold_links links;
    hone_status status = hone_fold_links_find(job->ctx, job->plan, &links, err);
    for (size_t i = 0; i < links.n && status == HONE_OK; i++) {
        if (can_be_corrected(&links.links[i]))
            status = correct_norm(job, c, &links.links[i], err);
        hone_context_progress(job->ctx, "correct norms", i + 1, links.n);
    }
    hone_release(links.links);
    return status;
}

/* ---- the whole ---- */

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* At the peak, for a matrix or the readers of a norm; vectors are small beside that. */
static hone_status count_memory(const struct job *job, uint64_t *nbytes, hone_error *err)
{
    hone_fold_links links;
    const hone_plan *plan = job->plan;
    *nbytes = 0;
    for (size_t i = 0; i < plan->n_tensors; i++)
        if (plan->tensors[i].input_means)
            *nbytes = larger(*nbytes, hone_moments_nbytes(plan, &plan->tensors[i]) +
                                          hone_row_coders_nbytes(plan, &plan->tensors[i], job->ctx->n_threads));
    HONE_TRY(hone_fold_links_find(job->ctx, plan, &links, err));
    for (size_t i = 0; i < links.n; i++) {
        const hone_fold_link *link = &links.links[i];
        uint64_t coders = 0;
        if (!can_be_corrected(link))
            continue;
        for (size_t r = 0; r < link->n_readers; r++)
            coders = larger(coders, hone_row_coders_nbytes(plan, link->readers[r], job->ctx->n_threads));
        const uint64_t own = (2 * link->n + 3 * BATCH) * link->n * sizeof(double);
        *nbytes = larger(*nbytes, own + coders + hone_moments_nbytes(plan, link->readers[0]));
    }
    hone_release(links.links);
    if (*nbytes <= job->ctx->memory_nbytes)
        return HONE_OK;
    return hone_fail(err, HONE_ERROR_NOMEM, HONE_NO_OFFSET, NULL,
                     "correction needs %llu bytes of working memory, the budget is %llu (--memory)",
                     (unsigned long long)*nbytes, (unsigned long long)job->ctx->memory_nbytes);
}

static hone_status build(const hone_context *ctx, const hone_checkpoint *src, const hone_convert_options *opts,
                         hone_correction *c, hone_error *err)
{
    hone_convert_options complete = *opts;
    complete.correct = true;
    hone_context quiet = *ctx; /* what there is to note will be noted when the real plan is made */
    quiet.note = NULL;
    hone_plan *plan;
    HONE_TRY(hone_plan_new(&quiet, src, &complete, &plan, err));
    struct job job = {.ctx = ctx, .plan = plan};
    hone_status status = count_memory(&job, &c->nbytes, err);
    if (status == HONE_OK)
        status = correct_biases(&job, c, err);
    if (status == HONE_OK)
        status = correct_norms(&job, c, err);
    hone_feedback_deinit(&job.feedback);
    hone_plan_free(plan);
    return status;
}

hone_status hone_correction_new(const hone_context *ctx, const hone_checkpoint *src, const hone_convert_options *opts,
                                hone_correction **out, hone_error *err)
{
    *out = NULL;
    const hone_target *target = hone_target_find(opts->to);
    if (!target || !target->weighs)
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "correction is for what is quantized");
    hone_correction *c = hone_calloc(1, sizeof *c);
    if (!c)
        return hone_fail_nomem(err, sizeof *c);
    const hone_status status = build(ctx, src, opts, c, err);
    if (status != HONE_OK) {
        hone_correction_free(c);
        return hone_fail_in_file(err, status, hone_checkpoint_path(src));
    }
    *out = c;
    return HONE_OK;
}

void hone_correction_free(hone_correction *correction)
{
    if (!correction)
        return;
    hone_release(correction->tensors);
    hone_arena_deinit(&correction->arena);
    hone_release(correction);
}

size_t hone_correction_n(const hone_correction *correction)
{
    return correction->n;
}

hone_correction_tensor hone_correction_at(const hone_correction *correction, size_t i)
{
    return correction->tensors[i].about;
}

static bool is_changed(const struct corrected *t)
{
    return t->about.corrected_error < t->about.error;
}

void hone_correction_assign(const hone_correction *correction, hone_plan *plan)
{
    if (correction && correction->nbytes > plan->changes_nbytes)
        plan->changes_nbytes = correction->nbytes;
    for (size_t i = 0; correction && i < correction->n; i++)
        for (size_t j = 0; is_changed(&correction->tensors[i]) && j < plan->n_tensors; j++)
            if (strcmp(plan->tensors[j].name, correction->tensors[i].about.name) == 0) {
                plan->tensors[j].addend = correction->tensors[i].addend;
                plan->tensors[j].any_value = false; /* which would be copied */
            }
}

json_t *hone_correction_recipe(const hone_correction *correction)
{
    uint64_t sum = 0;
    size_t n_changed = 0;
    for (size_t i = 0; i < correction->n; i++) {
        const struct corrected *t = &correction->tensors[i];
        n_changed += is_changed(t);
        sum = XXH3_64bits_withSeed(t->addend, t->n * sizeof *t->addend, sum);
    }
    char text[24];
    (void)snprintf(text, sizeof text, "%016" PRIx64, sum);
    return json_pack("{s:I, s:I, s:s}", "tensors", (json_int_t)correction->n, "corrected", (json_int_t)n_changed,
                     "values", text);
}
