/* SPDX-License-Identifier: MIT */
/* Everything from a path to logits, and their comparison with what a toy's scalar loops give. */
#ifndef HONE_MODEL_RUN_H
#define HONE_MODEL_RUN_H

#include "hone/verify.h"

/* What run_model() was told in notes: the last of them, and how many there were. */
extern char note[512];
extern int n_notes;

/* run_model() computes logits (n, n_vocab), to be freed by the caller; on failure *logits is NULL. */
hone_status run_model(const char *path, int n_threads, const int32_t *tokens, size_t n, float **logits,
                      hone_error *err);

/* run_one_token() is run_model() on token 3 for the sake of its status. */
hone_status run_one_token(const char *path, hone_error *err);

/* run_with_failing_allocations() is run_one_token() with each allocation failing. */
void run_with_failing_allocations(const char *path);

/* spread_tokens() fills tokens (n) with ids below n_vocab. */
void spread_tokens(int32_t *tokens, size_t n, size_t n_vocab);

/* assert_close() compares n logits, which must not all be near zero. */
void assert_close(const float *logits, const double *expected, size_t n);

#endif
