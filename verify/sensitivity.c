/* SPDX-License-Identifier: MIT */
#include "verify/sensitivity.h"

#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "base/parallel.h"
#include "base/run_context.h"
#include "verify/chunks.h"
#include "verify/model_impl.h"
#include "verify/statistics.h"
#include "verify/team.h"

/* Streams (n_chunks, n_ctx, n_embd) of the model as it is, of the first chunks, before stage `at`. */
struct streams {
    float *values;
    size_t n_chunks, at; /* at 0: none is known */
};

struct hone_sensitivity {
    const hone_context *ctx;
    hone_model *model;
    hone_weight *kept; /* (n_matrices) the model's own matrices, */
    size_t *stages;    /* and the stage of a pass that reads each: see hone_model_matrix() */
    size_t n_matrices;
    hone_chunks chunks;
    hone_run run;
    size_t slice;
    struct streams prefixes; /* where runs with replacements begin: the tokens themselves at 0; */
    struct streams ahead;    /* and where short ones end */
    double seconds;          /* that one product takes, together with all else that there is to do */
    float *reference;        /* (n_chunks, n_scored, n_embd) hidden states of the model as it is, */
    double *p_lse;           /* (n_chunks * n_scored) and the log-sum-exps of its logits, */
    bool *known;             /* (n_chunks) where they were computed already; */
    float *p;                /* its logits: (n_chunks, n_scored, n_vocab) if they are kept, else (slice, n_vocab) */
    bool keeps_p;
    float *q;    /* (slice, n_vocab) with replacements */
    double *kld; /* (n_chunks * n_scored) */
};

enum { SHIFT_SHARE = 4 }; /* one chunk in so many tells how far streams move: that differs little between tokens */

/* Some neighbouring positions, whose logits are in p and q; p_lse is to be computed or known. */
struct slice {
    const float *p, *q;
    double *p_lse, *kld;
    size_t n_vocab;
    bool known;
};

static hone_status score(void *user, size_t i, int thread, hone_error *err)
{
    (void)thread;
    (void)err;
    const struct slice *s = user;
    const float *p = s->p + i * s->n_vocab, *q = s->q + i * s->n_vocab;
    if (!s->known)
        s->p_lse[i] = hone_log_sum_exp(p, s->n_vocab);
    s->kld[i] = hone_kl_divergence(p, s->p_lse[i], q, hone_log_sum_exp(q, s->n_vocab), s->n_vocab);
    return HONE_OK;
}

static size_t stream_nfloats(const hone_sensitivity *s)
{
    return s->chunks.n_ctx * s->model->n_embd;
}

static size_t chunk_nfloats(const hone_sensitivity *s)
{
    return s->chunks.n_scored * s->model->n_embd;
}

/* ---- passes ---- */

/* Takes the run to stage `at`, by streams that are there or from the tokens on; 0 and 1 are the same. */
static hone_status start_chunk(hone_sensitivity *s, const struct streams *from, size_t chunk, hone_error *err)
{
    if (from->at == 0)
        return hone_run_begin(&s->run, hone_chunks_tokens(&s->chunks, chunk), s->chunks.n_ctx, err);
    HONE_TRY(hone_run_resume(&s->run, s->chunks.n_ctx, err));
    memcpy(s->run.hidden, from->values + chunk * stream_nfloats(s), stream_nfloats(s) * sizeof *from->values);
    return HONE_OK;
}

/* Layers up to that of the stage before `end`. */
static void run_layers(hone_sensitivity *s, size_t at, size_t end)
{
    for (size_t stage = at ? at : 1; stage < end; stage++)
        hone_run_layer(&s->run, stage - 1);
}

/* The states of a chunk behind all layers, replacements and all; no stage before that of the prefixes has one. */
static hone_status run_chunk(hone_sensitivity *s, size_t chunk, hone_error *err)
{
    HONE_TRY(start_chunk(s, &s->prefixes, chunk, err));
    run_layers(s, s->prefixes.at, s->model->n_layers + 1);
    hone_run_finish(&s->run);
    return HONE_OK;
}

/* Brings streams of the model as it is to where `stage` is next: from where they are, or from the start. */
static hone_status advance(hone_sensitivity *s, struct streams *streams, size_t stage, hone_error *err)
{
    if (stage == streams->at)
        return HONE_OK;
    struct streams from = *streams;
    if (from.at > stage)
        from.at = 0;
    streams->at = 0; /* none is of use until all are */
    for (size_t i = 0; i < streams->n_chunks && stage > 0; i++) {
        HONE_TRY(start_chunk(s, &from, i, err));
        run_layers(s, from.at, stage);
        memcpy(streams->values + i * stream_nfloats(s), s->run.hidden, stream_nfloats(s) * sizeof *streams->values);
    }
    streams->at = stage;
    return HONE_OK;
}

/* Products of a pass of a chunk through a stage: matrices, and the attention of a layer. */
static double stage_work(const hone_sensitivity *s, size_t stage)
{
    const double n = (double)s->chunks.n_ctx;
    double products = stage == 0 || stage > s->model->n_layers ? 0 : n * n * (double)s->model->n_embd;
    for (size_t i = 0; i < s->n_matrices; i++)
        if (s->stages[i] == stage && stage > 0)
            products += (double)s->kept[i].nrows * (double)s->kept[i].ncols *
                        (double)(stage > s->model->n_layers ? s->chunks.n_scored : s->chunks.n_ctx);
    return products;
}

static double work_between(const hone_sensitivity *s, size_t stage, size_t end)
{
    double products = 0;
    for (; stage < end; stage++)
        products += stage_work(s, stage);
    return products;
}

static hone_status run_reference(hone_sensitivity *s, hone_error *err)
{
    const double started = hone_clock();
    for (size_t i = 0; i < s->chunks.n_chunks; i++) {
        HONE_TRY(run_chunk(s, i, err));
        memcpy(s->reference + i * chunk_nfloats(s), s->run.hidden + s->chunks.first * s->model->n_embd,
               chunk_nfloats(s) * sizeof *s->reference);
    }
    const double work = (double)s->chunks.n_chunks * work_between(s, 0, s->model->n_layers + 1);
    s->seconds = work > 0 ? (hone_clock() - started) / work : 0;
    return HONE_OK;
}

/* ---- scoring ---- */

static const hone_weight *own_output(const hone_sensitivity *s)
{
    for (size_t i = 0; i < s->n_matrices; i++)
        if (hone_model_matrix(s->model, i, NULL) == &s->model->output)
            return &s->kept[i];
    return &s->model->output;
}

/* The logits of the model as it is at some positions of a chunk: by its output matrix, not one put in its place. */
static const float *reference_logits(hone_sensitivity *s, size_t chunk, size_t done, size_t n)
{
    const size_t at = chunk * s->chunks.n_scored + done;
    float *p = s->keeps_p ? s->p + at * s->model->n_vocab : s->p;
    if (s->keeps_p && s->known[chunk])
        return p;
    const hone_weight replaced = s->model->output;
    s->model->output = *own_output(s);
    const hone_run reference = {
        .ctx = s->ctx, .model = s->model, .hidden = s->reference + chunk * chunk_nfloats(s), .scratch = s->run.scratch};
    hone_run_logits(&reference, done, n, p);
    s->model->output = replaced;
    return p;
}

static hone_status score_chunk(hone_sensitivity *s, size_t chunk, hone_error *err)
{
    const size_t n_scored = s->chunks.n_scored, n_vocab = s->model->n_vocab;
    HONE_TRY(run_chunk(s, chunk, err));
    for (size_t done = 0; done < n_scored; done += s->slice) {
        const size_t n = n_scored - done < s->slice ? n_scored - done : s->slice;
        const size_t at = chunk * n_scored + done;
        hone_run_logits(&s->run, s->chunks.first + done, n, s->q);
        struct slice slice = {
            reference_logits(s, chunk, done, n), s->q, s->p_lse + at, s->kld + at, n_vocab, s->known[chunk]};
        const int n_threads = hone_team(s->ctx, n, 30.0 * (double)n * (double)n_vocab);
        HONE_TRY(hone_parallel_for(n, n_threads, score, &slice, err));
    }
    s->known[chunk] = true;
    return HONE_OK;
}

/* ---- setting up ---- */

static hone_status keep_matrices(hone_sensitivity *s, hone_error *err)
{
    while (hone_model_matrix(s->model, s->n_matrices, NULL))
        s->n_matrices++;
    s->kept = hone_alloc(s->n_matrices, sizeof *s->kept);
    s->stages = hone_alloc(s->n_matrices, sizeof *s->stages);
    if (!s->kept || !s->stages)
        return hone_fail_nomem(err, s->n_matrices * sizeof *s->kept);
    for (size_t i = 0; i < s->n_matrices; i++)
        s->kept[i] = *hone_model_matrix(s->model, i, &s->stages[i]);
    return HONE_OK;
}

static hone_status prepare(hone_sensitivity *s, hone_error *err)
{
    HONE_TRY(keep_matrices(s, err));
    HONE_TRY(hone_run_init(s->ctx, s->model, s->chunks.n_ctx, &s->run, err));
    s->slice = hone_model_slice(s->model);
    const size_t n_chunks = s->chunks.n_chunks, n_scored = n_chunks * s->chunks.n_scored;
    const size_t n_vocab = s->model->n_vocab;
    /* Half of the budget: the rest is for coding what replaces. */
    s->keeps_p = n_scored <= s->ctx->memory_nbytes / 2 / sizeof *s->p / n_vocab;
    s->prefixes.n_chunks = n_chunks;
    s->ahead.n_chunks = (n_chunks + SHIFT_SHARE - 1) / SHIFT_SHARE;
    s->prefixes.values = hone_alloc(n_chunks * stream_nfloats(s), sizeof *s->prefixes.values);
    s->ahead.values = hone_alloc(s->ahead.n_chunks * stream_nfloats(s), sizeof *s->ahead.values);
    s->reference = hone_alloc(n_chunks * chunk_nfloats(s), sizeof *s->reference);
    s->p = hone_alloc((s->keeps_p ? n_scored : s->slice) * n_vocab, sizeof *s->p);
    s->q = hone_alloc(s->slice * n_vocab, sizeof *s->q);
    s->p_lse = hone_alloc(n_scored, sizeof *s->p_lse);
    s->known = hone_calloc(n_chunks, sizeof *s->known);
    s->kld = hone_alloc(n_scored, sizeof *s->kld);
    if (!s->prefixes.values || !s->ahead.values || !s->reference || !s->p || !s->q || !s->p_lse || !s->known || !s->kld)
        return hone_fail_nomem(err, 3 * n_chunks * stream_nfloats(s) * sizeof *s->p);
    return run_reference(s, err);
}

hone_status hone_sensitivity_new(const hone_context *ctx, const hone_checkpoint *ckpt, const char *text, size_t nbytes,
                                 const hone_eval_options *opts, hone_sensitivity **out, hone_error *err)
{
    *out = NULL;
    hone_sensitivity *s = hone_calloc(1, sizeof *s);
    if (!s)
        return hone_fail_nomem(err, sizeof *s);
    s->ctx = ctx;
    hone_tokenizer *tok = NULL;
    hone_status status = hone_tokenizer_load(ckpt, &tok, err);
    if (status == HONE_OK)
        status = hone_model_load(ctx, ckpt, &s->model, err);
    if (status == HONE_OK)
        status = hone_chunks_init(tok, text, nbytes, opts, s->model->n_positions, &s->chunks, err);
    hone_tokenizer_free(tok);
    if (status == HONE_OK)
        status = prepare(s, err);
    if (status != HONE_OK) {
        hone_sensitivity_free(s);
        return status;
    }
    *out = s;
    return HONE_OK;
}

void hone_sensitivity_free(hone_sensitivity *s)
{
    if (!s)
        return;
    hone_release(s->kld);
    hone_release(s->known);
    hone_release(s->p_lse);
    hone_release(s->q);
    hone_release(s->p);
    hone_release(s->reference);
    hone_release(s->ahead.values);
    hone_release(s->prefixes.values);
    hone_run_deinit(&s->run);
    hone_chunks_deinit(&s->chunks);
    hone_release(s->stages);
    hone_release(s->kept);
    hone_model_free(s->model);
    hone_release(s);
}

static const hone_weight *find(const hone_sensitivity *s, const char *name)
{
    for (size_t i = 0; i < s->n_matrices; i++)
        if (s->kept[i].name && strcmp(s->kept[i].name, name) == 0)
            return &s->kept[i];
    return NULL;
}

size_t hone_sensitivity_covered(const hone_sensitivity *s, size_t nbytes)
{
    return hone_chunks_covered(&s->chunks, nbytes);
}

size_t hone_sensitivity_stage(const hone_sensitivity *s, const char *name)
{
    const hone_weight *found = find(s, name);
    size_t i = 0;
    while (found && s->kept[i].data != found->data) /* a tied one counts where it comes first */
        i++;
    return found ? s->stages[i] : SIZE_MAX;
}

/* Puts the replacement wherever the matrix is used: a tied one in two places. */
static hone_status put(hone_sensitivity *s, const hone_replacement *r, hone_error *err)
{
    const hone_weight *found = find(s, r->name);
    const hone_decode_fn decode = hone_decoder(r->dtype, s->ctx->cpu);
    uint64_t row_nbytes;
    if (!found || found->nrows != r->nrows || found->ncols != r->ncols || !decode ||
        hone_dtype_row_nbytes(r->dtype, r->ncols, &row_nbytes))
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, r->name, "no such matrix can be replaced");
    for (size_t i = 0; i < s->n_matrices; i++) {
        if (s->kept[i].data != found->data)
            continue;
        hone_weight *w = hone_model_matrix(s->model, i, NULL);
        *w = (hone_weight){.name = found->name,
                           .dtype = r->dtype,
                           .nrows = r->nrows,
                           .ncols = r->ncols,
                           .row_nbytes = (size_t)row_nbytes,
                           .data = r->rows,
                           .borrowed = true,
                           .decode = decode};
    }
    return HONE_OK;
}

/* The first stage that reads a replaced matrix. */
static size_t first_stage(const hone_sensitivity *s, const hone_replacement *replacements, size_t n)
{
    size_t stage = s->model->n_layers + 1;
    for (size_t i = 0; i < n; i++) {
        const size_t own = hone_sensitivity_stage(s, replacements[i].name);
        stage = own < stage ? own : stage;
    }
    return stage;
}

static void restore(hone_sensitivity *s)
{
    for (size_t i = 0; i < s->n_matrices; i++)
        *hone_model_matrix(s->model, i, NULL) = s->kept[i];
}

static hone_status put_all(hone_sensitivity *s, const hone_replacement *replacements, size_t n, hone_error *err)
{
    hone_status status = HONE_OK;
    for (size_t i = 0; i < n && status == HONE_OK; i++)
        status = put(s, &replacements[i], err);
    return status;
}

hone_status hone_sensitivity_measure(hone_sensitivity *s, const hone_replacement *replacements, size_t n, double *kld,
                                     hone_error *err)
{
    HONE_TRY(advance(s, &s->prefixes, first_stage(s, replacements, n), err));
    hone_status status = put_all(s, replacements, n, err);
    for (size_t i = 0; i < s->chunks.n_chunks && status == HONE_OK; i++)
        status = score_chunk(s, i, err);
    restore(s);
    if (status == HONE_OK)
        *kld = hone_mean_of(s->kld, s->chunks.n_chunks * s->chunks.n_scored).mean;
    return status;
}

/* ---- short runs ---- */

static size_t end_of_reach(const hone_sensitivity *s, size_t stage, size_t reach)
{
    const size_t layer = stage ? stage : 1, left = s->model->n_layers - layer;
    return layer + (reach < left ? reach : left) + 1;
}

/* How far the stream of a chunk is from where the model as it is would have it: the sum over scored positions. */
static double shift_of_chunk(const hone_sensitivity *s, size_t chunk)
{
    const size_t n_embd = s->model->n_embd, begin = s->chunks.first * n_embd;
    const float *x = s->ahead.values + chunk * stream_nfloats(s) + begin, *y = s->run.hidden + begin;
    double sum = 0;
    for (size_t i = 0; i < s->chunks.n_scored; i++, x += n_embd, y += n_embd) {
        double moved = 0, all = 0;
        for (size_t j = 0; j < n_embd; j++) {
            const double d = (double)y[j] - (double)x[j];
            moved += d * d;
            all += (double)x[j] * (double)x[j];
        }
        sum += all > 0 ? moved / all : 0;
    }
    return sum;
}

hone_status hone_sensitivity_shift(hone_sensitivity *s, const hone_replacement *replacements, size_t n, size_t reach,
                                   double *shift, hone_error *err)
{
    const size_t stage = first_stage(s, replacements, n);
    if (stage > s->model->n_layers)
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "no layer reads what is replaced");
    const size_t end = end_of_reach(s, stage, reach);
    HONE_TRY(advance(s, &s->prefixes, stage, err));
    HONE_TRY(advance(s, &s->ahead, end, err));
    hone_status status = put_all(s, replacements, n, err);
    double sum = 0;
    for (size_t i = 0; i < s->ahead.n_chunks && status == HONE_OK; i++) {
        status = start_chunk(s, &s->prefixes, i, err);
        if (status == HONE_OK) {
            run_layers(s, stage, end);
            sum += shift_of_chunk(s, i);
        }
    }
    restore(s);
    if (status == HONE_OK)
        *shift = sum / (double)(s->ahead.n_chunks * s->chunks.n_scored);
    return status;
}

/* ---- what it takes ---- */

void hone_sensitivity_shorten(hone_sensitivity *s)
{
    s->chunks.n_chunks = (s->chunks.n_chunks + 1) / 2;
    s->prefixes.n_chunks = s->chunks.n_chunks;
    s->ahead.n_chunks = (s->chunks.n_chunks + SHIFT_SHARE - 1) / SHIFT_SHARE;
    s->ahead.at = 0;
}

size_t hone_sensitivity_n_layers(const hone_sensitivity *s)
{
    return s->model->n_layers;
}

double hone_sensitivity_measure_work(const hone_sensitivity *s, size_t stage)
{
    return (double)s->chunks.n_chunks * work_between(s, stage, s->model->n_layers + 2);
}

double hone_sensitivity_shift_work(const hone_sensitivity *s, size_t stage, size_t reach)
{
    return (double)s->ahead.n_chunks * work_between(s, stage, end_of_reach(s, stage, reach));
}

double hone_sensitivity_seconds(const hone_sensitivity *s, double work)
{
    return work * s->seconds;
}
