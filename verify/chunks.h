/* SPDX-License-Identifier: MIT */
/*
 * A text as perplexity sees it: tokens, cut into chunks of n_ctx without overlap.
 *
 *     position   0          n_ctx/2                n_ctx-2  n_ctx-1
 *                BOS . . .  scored  . . . . . . .  scored   last target
 */
#ifndef HONE_CHUNKS_H
#define HONE_CHUNKS_H

#include "hone/verify.h"

typedef struct hone_chunks {
    size_t n_ctx, n_chunks;
    size_t first;    /* the first position of a chunk that is scored */
    size_t n_scored; /* per chunk */
    int32_t *ids;    /* all of the text's */
    size_t n_ids;
    int32_t bos;     /* put in place of each chunk's first token; -1: the model wants none */
    int32_t *window; /* (n_ctx) the chunk last asked for */
} hone_chunks;

/*
 * hone_chunks_init() tokenizes text. n_positions: the longest chunk that a model can run, which bounds the default; 0:
 * any. ARG: empty, fewer tokens than one chunk, or a chunk too short to score. DATA: not
 * UTF-8. On failure *out is empty, which hone_chunks_deinit() accepts.
 */
hone_status hone_chunks_init(const hone_tokenizer *tok, const char *text, size_t nbytes, const hone_eval_options *opts,
                             size_t n_positions, hone_chunks *out, hone_error *err);
void hone_chunks_deinit(hone_chunks *chunks);

/* hone_chunks_tokens() returns chunk i (n_ctx) as the model is fed it. Valid until the next call. */
const int32_t *hone_chunks_tokens(hone_chunks *chunks, size_t i);

/* hone_chunks_target() returns the token that position `position` of chunk i is scored on. */
int32_t hone_chunks_target(const hone_chunks *chunks, size_t i, size_t position);

/* hone_chunks_covered() returns about how many of the nbytes of the text the chunks take, not too few. */
size_t hone_chunks_covered(const hone_chunks *chunks, size_t nbytes);

/* hone_clock() returns seconds from some fixed point, for measuring durations. */
double hone_clock(void);

/* hone_perplexity_summary() fills everything from the nll of each scored position (n). */
hone_perplexity_result hone_perplexity_summary(const double *nll, size_t n, uint64_t n_tokens, double seconds);

#endif
