/* SPDX-License-Identifier: MIT */
/* hone_verify(): two models side by side on the same tokens. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "base/parallel.h"
#include "base/run_context.h"
#include "formats/text_marks.h"
#include "verify/chunks.h"
#include "verify/model_impl.h"
#include "verify/statistics.h"
#include "verify/team.h"

/* One of the two models, and what it has scored. */
struct side {
    hone_model *model;
    hone_run run;
    float *logits; /* (slice, n_vocab) */
    double *nll;   /* (n) every scored position */
    double seconds;
};

struct comparison {
    const hone_context *ctx;
    hone_chunks chunks;
    struct side reference, candidate;
    size_t slice, n;
    double *kld;         /* (n) */
    unsigned char *same; /* (n) whether both put the same token first */
};

/* Some neighbouring positions: `at` is the first one's index among all scored positions. */
struct slice {
    const struct comparison *c;
    size_t chunk, position, at;
};

static hone_status score(void *user, size_t i, int thread, hone_error *err)
{
    (void)thread;
    (void)err;
    const struct slice *s = user;
    const struct comparison *c = s->c;
    const size_t n_vocab = c->reference.model->n_vocab, at = s->at + i;
    const float *p = c->reference.logits + i * n_vocab, *q = c->candidate.logits + i * n_vocab;
    const int32_t target = hone_chunks_target(&c->chunks, s->chunk, s->position + i);
    const double p_lse = hone_log_sum_exp(p, n_vocab), q_lse = hone_log_sum_exp(q, n_vocab);
    c->reference.nll[at] = p_lse - (double)p[target];
    c->candidate.nll[at] = q_lse - (double)q[target];
    c->kld[at] = hone_kl_divergence(p, p_lse, q, q_lse, n_vocab);
    /* A model that gives NaN has no most probable token. */
    c->same[at] = !isnan(p_lse) && !isnan(q_lse) && hone_argmax(p, n_vocab) == hone_argmax(q, n_vocab);
    return HONE_OK;
}

static hone_status run_side(struct side *s, const int32_t *tokens, size_t n, hone_error *err)
{
    const double start = hone_clock();
    HONE_TRY(hone_run_sequence(&s->run, tokens, n, err));
    s->seconds += hone_clock() - start;
    return HONE_OK;
}

static void slice_logits(struct side *s, size_t position, size_t n)
{
    const double start = hone_clock();
    hone_run_logits(&s->run, position, n, s->logits);
    s->seconds += hone_clock() - start;
}

static hone_status run_chunk(struct comparison *c, size_t chunk, hone_error *err)
{
    const hone_chunks *chunks = &c->chunks;
    const int32_t *tokens = hone_chunks_tokens(&c->chunks, chunk);
    HONE_TRY(run_side(&c->reference, tokens, chunks->n_ctx, err));
    HONE_TRY(run_side(&c->candidate, tokens, chunks->n_ctx, err));
    for (size_t done = 0; done < chunks->n_scored; done += c->slice) {
        const size_t left = chunks->n_scored - done, n = left < c->slice ? left : c->slice;
        const size_t position = chunks->first + done;
        slice_logits(&c->reference, position, n);
        slice_logits(&c->candidate, position, n);
        struct slice s = {c, chunk, position, chunk * chunks->n_scored + done};
        const int n_threads = hone_team(c->ctx, n, 30.0 * (double)n * (double)c->reference.model->n_vocab);
        HONE_TRY(hone_parallel_for(n, n_threads, score, &s, err));
    }
    return HONE_OK;
}

static void tell_chunk(const struct comparison *c, size_t chunk, const hone_eval_options *opts)
{
    if (opts && opts->on_chunk)
        opts->on_chunk(opts->user, hone_mean_of(c->kld + chunk * c->chunks.n_scored, c->chunks.n_scored).mean);
}

/* ---- setting up ---- */

/* The candidate must cut the text as the reference does, or the file would serve another text than was measured. */
static hone_status check_tokens(const hone_chunks *chunks, const hone_checkpoint *candidate, const char *text,
                                size_t nbytes, hone_error *err)
{
    hone_tokenizer *tok;
    hone_status status = hone_tokenizer_load(candidate, &tok, err);
    if (status == HONE_ERROR_ARG) /* it carries none */
        return HONE_OK;
    if (status != HONE_OK)
        return hone_fail_in_file(err, status, hone_checkpoint_path(candidate));
    int32_t *ids = NULL;
    size_t n_ids = 0;
    status = hone_tokenizer_encode(tok, text, nbytes, true, false, &ids, &n_ids, err);
    if (status == HONE_OK) {
        size_t i = 0;
        while (i < n_ids && i < chunks->n_ids && ids[i] == chunks->ids[i])
            i++;
        if (i < n_ids || i < chunks->n_ids)
            status = hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL,
                               "the two tokenize the text differently, from token %zu on (%" PRId32 " and %" PRId32 ")",
                               i, i < chunks->n_ids ? chunks->ids[i] : -1, i < n_ids ? ids[i] : -1);
    }
    hone_tokens_free(ids);
    hone_tokenizer_free(tok);
    return status == HONE_OK ? HONE_OK : hone_fail_in_file(err, status, hone_checkpoint_path(candidate));
}

/* Lowers *n_positions, where 0 is no limit, to what the model of a checkpoint can run. */
static hone_status limit_positions(const hone_checkpoint *ckpt, size_t *n_positions, hone_error *err)
{
    const hone_family *family;
    hone_family_shape shape;
    hone_status status = hone_family_find(ckpt, &family, err);
    if (status == HONE_OK)
        status = family->shape(ckpt, &shape, err);
    if (status != HONE_OK)
        return hone_fail_in_file(err, status, hone_checkpoint_path(ckpt));
    if (shape.n_positions && (*n_positions == 0 || shape.n_positions < *n_positions))
        *n_positions = shape.n_positions;
    return HONE_OK;
}

static hone_status tokenize(struct comparison *c, const hone_checkpoint *reference, const hone_checkpoint *candidate,
                            const char *text, size_t nbytes, const hone_eval_options *opts, hone_error *err)
{
    hone_tokenizer *tok;
    size_t n_positions = 0;
    HONE_TRY(limit_positions(reference, &n_positions, err));
    HONE_TRY(limit_positions(candidate, &n_positions, err));
    HONE_TRY(hone_tokenizer_load(reference, &tok, err));
    const hone_status status = hone_chunks_init(tok, text, nbytes, opts, n_positions, &c->chunks, err);
    hone_tokenizer_free(tok);
    if (status != HONE_OK)
        return status;
    return check_tokens(&c->chunks, candidate, text, nbytes, err);
}

/* What a model was fitted to says little about what it is worth elsewhere. */
static hone_status check_unseen(const hone_checkpoint *candidate, const char *text, size_t nbytes, hone_error *err)
{
    const double tolerated = 0.05; /* licences, headings */
    hone_text_marks marks = {0};
    double share = 0;
    hone_status status = hone_text_marks_take(&marks, candidate, err);
    if (status == HONE_OK)
        status = hone_text_marks_share(&marks, text, nbytes, &share, err);
    hone_text_marks_deinit(&marks);
    if (status != HONE_OK || share < tolerated)
        return status;
    (void)hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL,
                    "about %.0f%% of the text is text that this file was calibrated on (--allow-calibration-text)",
                    100 * share);
    return hone_fail_in_file(err, HONE_ERROR_ARG, hone_checkpoint_path(candidate));
}

static hone_status prepare_side(const struct comparison *c, struct side *s, hone_error *err)
{
    HONE_TRY(hone_run_init(c->ctx, s->model, c->chunks.n_ctx, &s->run, err));
    const size_t n_logits = c->slice * s->model->n_vocab;
    s->logits = hone_alloc(n_logits, sizeof *s->logits);
    s->nll = hone_alloc(c->n, sizeof *s->nll);
    if (!s->logits || !s->nll)
        return hone_fail_nomem(err, n_logits * sizeof *s->logits + c->n * sizeof *s->nll);
    return HONE_OK;
}

static hone_status prepare(struct comparison *c, const hone_checkpoint *reference, const hone_checkpoint *candidate,
                           hone_error *err)
{
    HONE_TRY(hone_model_load(c->ctx, reference, &c->reference.model, err));
    HONE_TRY(hone_model_load(c->ctx, candidate, &c->candidate.model, err));
    const size_t n_reference = c->reference.model->n_vocab, n_candidate = c->candidate.model->n_vocab;
    if (n_reference != n_candidate)
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL,
                         "the vocabularies differ: %zu tokens in the reference, %zu in the candidate", n_reference,
                         n_candidate);
    c->slice = hone_model_slice(c->reference.model);
    c->n = c->chunks.n_chunks * c->chunks.n_scored;
    c->kld = hone_alloc(c->n, sizeof *c->kld);
    c->same = hone_alloc(c->n, 1);
    if (!c->kld || !c->same)
        return hone_fail_nomem(err, c->n * (sizeof *c->kld + 1));
    HONE_TRY(prepare_side(c, &c->reference, err));
    return prepare_side(c, &c->candidate, err);
}

static void deinit_side(struct side *s)
{
    hone_release(s->nll);
    hone_release(s->logits);
    hone_run_deinit(&s->run);
    hone_model_free(s->model);
}

/* ---- summing up ---- */

/* Bits per weight over the tensors that hold real numbers. */
static double bits_per_weight(const hone_checkpoint *ckpt)
{
    double nbits = 0, nelems = 0;
    for (size_t i = 0; i < hone_checkpoint_n_tensors(ckpt); i++) {
        const hone_tensor *t = hone_checkpoint_tensor(ckpt, i);
        if (!hone_dtype_describe(t->dtype)->is_float)
            continue;
        nbits += 8.0 * (double)t->nbytes;
        nelems += (double)t->nelems;
    }
    return nelems > 0 ? nbits / nelems : HONE_NAN;
}

static void summarize(struct comparison *c, const hone_checkpoint *candidate, hone_divergence *out)
{
    const uint64_t n_tokens = (uint64_t)c->chunks.n_chunks * c->chunks.n_ctx;
    out->reference = hone_perplexity_summary(c->reference.nll, c->n, n_tokens, c->reference.seconds);
    out->candidate = hone_perplexity_summary(c->candidate.nll, c->n, n_tokens, c->candidate.seconds);
    out->candidate_nbytes = hone_checkpoint_nbytes(candidate);
    out->candidate_bpw = bits_per_weight(candidate);

    const hone_mean kld = hone_mean_of(c->kld, c->n);
    out->kld_mean = kld.mean;
    out->kld_stderr = kld.error;
    const size_t n_nan = hone_sort(c->kld, c->n);
    out->kld_median = n_nan ? HONE_NAN : hone_quantile(c->kld, c->n, 0.5);
    out->kld_p99 = n_nan ? HONE_NAN : hone_quantile(c->kld, c->n, 0.99);
    out->kld_max = n_nan ? HONE_NAN : c->kld[c->n - 1];

    size_t n_same = 0;
    for (size_t i = 0; i < c->n; i++)
        n_same += c->same[i];
    const hone_mean top1 = hone_mean_of_share(n_same, c->n);
    out->top1 = top1.mean;
    out->top1_stderr = top1.error;

    const hone_mean log_ratio = hone_mean_of_difference(c->candidate.nll, c->reference.nll, c->n);
    out->ppl_ratio = exp(log_ratio.mean);
    out->ppl_ratio_stderr = out->ppl_ratio * log_ratio.error;
}

hone_status hone_verify(const hone_context *ctx, const hone_checkpoint *reference, const hone_checkpoint *candidate,
                        const char *text, size_t nbytes, const hone_eval_options *opts, hone_divergence *out,
                        hone_error *err)
{
    memset(out, 0, sizeof *out);
    struct comparison c = {.ctx = ctx};
    hone_status status = opts && opts->any_text ? HONE_OK : check_unseen(candidate, text, nbytes, err);
    if (status == HONE_OK)
        status = tokenize(&c, reference, candidate, text, nbytes, opts, err);
    if (status == HONE_OK)
        status = prepare(&c, reference, candidate, err);
    for (size_t i = 0; i < c.chunks.n_chunks && status == HONE_OK; i++) {
        status = run_chunk(&c, i, err);
        if (status == HONE_OK)
            tell_chunk(&c, i, opts);
        hone_context_progress(ctx, "verify", i + 1, c.chunks.n_chunks);
    }
    if (status == HONE_OK)
        summarize(&c, candidate, out);
    hone_release(c.kld);
    hone_release(c.same);
    deinit_side(&c.reference);
    deinit_side(&c.candidate);
    hone_chunks_deinit(&c.chunks);
    return status;
}
