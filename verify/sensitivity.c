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

struct hone_sensitivity {
    const hone_context *ctx;
    hone_model *model;
    hone_weight *kept; /* (n_matrices) the model's own matrices */
    size_t n_matrices;
    hone_chunks chunks;
    hone_run run;
    size_t slice;
    float *reference; /* (n_chunks, n_scored, n_embd) hidden states of the model as it is */
    float *p, *q;     /* (slice, n_vocab) logits of the model as it is, and with replacements */
    double *kld;      /* (n_chunks * n_scored) */
};

/* Some neighbouring positions, whose logits are in p and q. */
struct slice {
    const hone_sensitivity *s;
    double *kld;
};

static hone_status score(void *user, size_t i, int thread, hone_error *err)
{
    (void)thread;
    (void)err;
    const struct slice *slice = user;
    const size_t n_vocab = slice->s->model->n_vocab;
    const float *p = slice->s->p + i * n_vocab, *q = slice->s->q + i * n_vocab;
    slice->kld[i] = hone_kl_divergence(p, hone_log_sum_exp(p, n_vocab), q, hone_log_sum_exp(q, n_vocab), n_vocab);
    return HONE_OK;
}

static size_t chunk_nfloats(const hone_sensitivity *s)
{
    return s->chunks.n_scored * s->model->n_embd;
}

static hone_status run_reference(hone_sensitivity *s, hone_error *err)
{
    for (size_t i = 0; i < s->chunks.n_chunks; i++) {
        HONE_TRY(hone_run_sequence(&s->run, hone_chunks_tokens(&s->chunks, i), s->chunks.n_ctx, err));
        memcpy(s->reference + i * chunk_nfloats(s), s->run.hidden + s->chunks.first * s->model->n_embd,
               chunk_nfloats(s) * sizeof *s->reference);
    }
    return HONE_OK;
}

/* The logits of the model as it is come from its output matrix, kept[output], not from one put in its place. */
static hone_status score_chunk(hone_sensitivity *s, size_t chunk, const hone_weight *output, hone_error *err)
{
    const hone_model *model = s->model;
    const size_t n_scored = s->chunks.n_scored;
    HONE_TRY(hone_run_sequence(&s->run, hone_chunks_tokens(&s->chunks, chunk), s->chunks.n_ctx, err));
    for (size_t done = 0; done < n_scored; done += s->slice) {
        const size_t n = n_scored - done < s->slice ? n_scored - done : s->slice;
        const hone_weight replaced = model->output;
        hone_run_logits(&s->run, s->chunks.first + done, n, s->q);
        s->model->output = *output;
        const hone_run reference = {.ctx = s->ctx,
                                    .model = model,
                                    .hidden = s->reference + chunk * chunk_nfloats(s),
                                    .scratch = s->run.scratch};
        hone_run_logits(&reference, done, n, s->p);
        s->model->output = replaced;
        struct slice slice = {s, s->kld + chunk * n_scored + done};
        const int n_threads = hone_team(s->ctx, n, 30.0 * (double)n * (double)model->n_vocab);
        HONE_TRY(hone_parallel_for(n, n_threads, score, &slice, err));
    }
    return HONE_OK;
}

static hone_status keep_matrices(hone_sensitivity *s, hone_error *err)
{
    while (hone_model_matrix(s->model, s->n_matrices, NULL))
        s->n_matrices++;
    s->kept = hone_alloc(s->n_matrices, sizeof *s->kept);
    if (!s->kept)
        return hone_fail_nomem(err, s->n_matrices * sizeof *s->kept);
    for (size_t i = 0; i < s->n_matrices; i++)
        s->kept[i] = *hone_model_matrix(s->model, i, NULL);
    return HONE_OK;
}

static hone_status prepare(hone_sensitivity *s, hone_error *err)
{
    HONE_TRY(keep_matrices(s, err));
    HONE_TRY(hone_run_init(s->ctx, s->model, s->chunks.n_ctx, &s->run, err));
    s->slice = hone_model_slice(s->model);
    const size_t n_logits = s->slice * s->model->n_vocab, n_chunks = s->chunks.n_chunks;
    s->reference = hone_alloc(n_chunks * chunk_nfloats(s), sizeof *s->reference);
    s->p = hone_alloc(n_logits, sizeof *s->p);
    s->q = hone_alloc(n_logits, sizeof *s->q);
    s->kld = hone_alloc(n_chunks * s->chunks.n_scored, sizeof *s->kld);
    if (!s->reference || !s->p || !s->q || !s->kld)
        return hone_fail_nomem(err, (n_chunks * chunk_nfloats(s) + 2 * n_logits) * sizeof *s->p);
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
    hone_release(s->q);
    hone_release(s->p);
    hone_release(s->reference);
    hone_run_deinit(&s->run);
    hone_chunks_deinit(&s->chunks);
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

bool hone_sensitivity_holds(const hone_sensitivity *s, const char *name)
{
    return find(s, name) != NULL;
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

static const hone_weight *own_output(const hone_sensitivity *s)
{
    for (size_t i = 0; i < s->n_matrices; i++)
        if (hone_model_matrix(s->model, i, NULL) == &s->model->output)
            return &s->kept[i];
    return &s->model->output;
}

hone_status hone_sensitivity_measure(hone_sensitivity *s, const hone_replacement *replacements, size_t n, double *kld,
                                     hone_error *err)
{
    hone_status status = HONE_OK;
    for (size_t i = 0; i < n && status == HONE_OK; i++)
        status = put(s, &replacements[i], err);
    const hone_weight *output = own_output(s);
    for (size_t i = 0; i < s->chunks.n_chunks && status == HONE_OK; i++)
        status = score_chunk(s, i, output, err);
    for (size_t i = 0; i < s->n_matrices; i++)
        *hone_model_matrix(s->model, i, NULL) = s->kept[i];
    if (status == HONE_OK)
        *kld = hone_mean_of(s->kld, s->chunks.n_chunks * s->chunks.n_scored).mean;
    return status;
}
