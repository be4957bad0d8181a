/* SPDX-License-Identifier: MIT */
#include "verify/chunks.h"

#include <math.h>
#include <string.h>
#include <time.h>

#include "base/fail.h"
#include "base/mem.h"
#include "verify/statistics.h"

enum { DEFAULT_N_CTX = 512, MIN_N_CTX = 4, MAX_N_CTX = 1 << 24 };

hone_status hone_chunks_init(const hone_tokenizer *tok, const char *text, size_t nbytes, const hone_eval_options *opts,
                             size_t n_positions, hone_chunks *out, hone_error *err)
{
    memset(out, 0, sizeof *out);
    const size_t usual = n_positions && n_positions < DEFAULT_N_CTX ? n_positions : DEFAULT_N_CTX;
    const size_t n_ctx = opts && opts->n_ctx ? opts->n_ctx : usual;
    if (n_ctx < MIN_N_CTX || n_ctx > MAX_N_CTX)
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "chunks of %zu tokens; %d to %d are possible",
                         n_ctx, MIN_N_CTX, MAX_N_CTX);
    if (nbytes == 0)
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "text is empty");
    hone_chunks c = {.n_ctx = n_ctx, .first = n_ctx / 2, .n_scored = n_ctx - 1 - n_ctx / 2};
    HONE_TRY(hone_tokenizer_encode(tok, text, nbytes, true, false, &c.ids, &c.n_ids, err));
    c.bos = hone_tokenizer_bos(tok);
    c.n_chunks = c.n_ids / n_ctx;
    if (opts && opts->n_chunks && opts->n_chunks < c.n_chunks)
        c.n_chunks = opts->n_chunks;
    hone_status status = HONE_OK;
    if (c.n_chunks == 0) {
        status = hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "text gives %zu tokens, and one chunk takes %zu",
                           c.n_ids, n_ctx);
    } else {
        c.window = hone_alloc(n_ctx, sizeof *c.window);
        if (!c.window)
            status = hone_fail_nomem(err, n_ctx * sizeof *c.window);
    }
    if (status != HONE_OK) {
        hone_chunks_deinit(&c);
        return status;
    }
    *out = c;
    return HONE_OK;
}

void hone_chunks_deinit(hone_chunks *chunks)
{
    hone_tokens_free(chunks->ids);
    hone_release(chunks->window);
    memset(chunks, 0, sizeof *chunks);
}

const int32_t *hone_chunks_tokens(hone_chunks *chunks, size_t i)
{
    memcpy(chunks->window, chunks->ids + i * chunks->n_ctx, chunks->n_ctx * sizeof *chunks->window);
    if (chunks->bos >= 0)
        chunks->window[0] = chunks->bos;
    return chunks->window;
}

int32_t hone_chunks_target(const hone_chunks *chunks, size_t i, size_t position)
{
    return chunks->ids[i * chunks->n_ctx + position + 1];
}

size_t hone_chunks_covered(const hone_chunks *chunks, size_t nbytes)
{
    const double n_used = (double)(chunks->n_chunks + 1) * (double)chunks->n_ctx; /* tokens are not of one length */
    const double share = n_used / (double)chunks->n_ids;
    return share < 1 ? (size_t)(share * (double)nbytes) : nbytes;
}

double hone_clock(void)
{
    struct timespec now;
    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
        return 0;
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

hone_perplexity_result hone_perplexity_summary(const double *nll, size_t n, uint64_t n_tokens, double seconds)
{
    const hone_mean m = hone_mean_of(nll, n);
    const double ppl = exp(m.mean);
    return (hone_perplexity_result){
        .tokens = n_tokens,
        .scored = n,
        .nll = m.mean,
        .nll_stderr = m.error,
        .ppl = ppl,
        .ppl_stderr = ppl * m.error,
        .tokens_per_second = seconds > 0 ? (double)n_tokens / seconds : 0,
    };
}
