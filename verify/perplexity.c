/* SPDX-License-Identifier: MIT */
#include "base/fail.h"
#include "base/mem.h"
#include "base/parallel.h"
#include "base/run_context.h"
#include "verify/chunks.h"
#include "verify/model_impl.h"
#include "verify/statistics.h"
#include "verify/team.h"

/* Some neighbouring positions of a chunk, and where their scores go. */
struct slice {
    const hone_chunks *chunks;
    size_t chunk, position; /* of the first */
    const float *logits;    /* (n, n_vocab) */
    size_t n_vocab;
    double *nll; /* (n) */
};

static hone_status score(void *user, size_t i, int thread, hone_error *err)
{
    (void)thread;
    (void)err;
    const struct slice *s = user;
    const float *logits = s->logits + i * s->n_vocab;
    const int32_t target = hone_chunks_target(s->chunks, s->chunk, s->position + i);
    s->nll[i] = hone_log_sum_exp(logits, s->n_vocab) - (double)logits[target];
    return HONE_OK;
}

/* Runs one chunk; nll (n_scored). */
static hone_status run_chunk(hone_run *run, hone_chunks *chunks, size_t chunk, float *logits, double *nll,
                             hone_error *err)
{
    const size_t step = hone_model_slice(run->model), n_vocab = run->model->n_vocab;
    HONE_TRY(hone_run_sequence(run, hone_chunks_tokens(chunks, chunk), chunks->n_ctx, err));
    for (size_t done = 0; done < chunks->n_scored; done += step) {
        const size_t left = chunks->n_scored - done, n = left < step ? left : step;
        const size_t position = chunks->first + done;
        hone_run_logits(run, position, n, logits);
        struct slice s = {chunks, chunk, position, logits, n_vocab, nll + done};
        const int n_threads = hone_team(run->ctx, n, 10.0 * (double)n * (double)n_vocab);
        HONE_TRY(hone_parallel_for(n, n_threads, score, &s, err));
    }
    return HONE_OK;
}

static hone_status run_chunks(const hone_context *ctx, const hone_model *model, hone_chunks *chunks,
                              hone_perplexity_result *out, hone_error *err)
{
    const size_t n = chunks->n_chunks * chunks->n_scored;
    const size_t n_logits = hone_model_slice(model) * model->n_vocab;
    hone_run run;
    HONE_TRY(hone_run_init(ctx, model, chunks->n_ctx, &run, err));
    float *logits = hone_alloc(n_logits, sizeof *logits);
    double *nll = hone_alloc(n, sizeof *nll);
    hone_status status = HONE_OK;
    if (!logits || !nll)
        status = hone_fail_nomem(err, n_logits * sizeof *logits + n * sizeof *nll);
    const double start = hone_clock();
    for (size_t i = 0; i < chunks->n_chunks && status == HONE_OK; i++) {
        status = run_chunk(&run, chunks, i, logits, nll + i * chunks->n_scored, err);
        hone_context_progress(ctx, "perplexity", i + 1, chunks->n_chunks);
    }
    if (status == HONE_OK)
        *out = hone_perplexity_summary(nll, n, (uint64_t)chunks->n_chunks * chunks->n_ctx, hone_clock() - start);
    hone_release(nll);
    hone_release(logits);
    hone_run_deinit(&run);
    return status;
}

hone_status hone_perplexity(const hone_context *ctx, const hone_model *model, const hone_tokenizer *tok,
                            const char *text, size_t nbytes, const hone_eval_options *opts, hone_perplexity_result *out,
                            hone_error *err)
{
    *out = (hone_perplexity_result){0};
    hone_chunks chunks;
    HONE_TRY(hone_chunks_init(tok, text, nbytes, opts, model->n_positions, &chunks, err));
    const hone_status status = run_chunks(ctx, model, &chunks, out, err);
    hone_chunks_deinit(&chunks);
    return status;
}
