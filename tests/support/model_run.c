/* SPDX-License-Identifier: MIT */
#include "tests/support/model_run.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/opening.h"

char note[512];
int n_notes;

static void take_note(void *user, const char *text)
{
    (void)user;
    (void)snprintf(note, sizeof note, "%s", text);
    n_notes++;
}

hone_status run_model(const char *path, int n_threads, const int32_t *tokens, size_t n, float **logits, hone_error *err)
{
    const hone_context_options opts = {.n_threads = n_threads, .note = take_note};
    hone_context *ctx = NULL;
    hone_checkpoint *ckpt = NULL;
    hone_model *model = NULL;
    *logits = NULL;
    hone_status status = hone_context_new(&opts, &ctx, err);
    if (status == HONE_OK)
        status = hone_checkpoint_open(path, NULL, &ckpt, err);
    if (status == HONE_OK)
        status = hone_model_load(ctx, ckpt, &model, err);
    if (status == HONE_OK) {
        *logits = malloc(n * hone_model_n_vocab(model) * sizeof **logits);
        ck_assert_ptr_nonnull(*logits);
        status = hone_model_logits(ctx, model, tokens, n, *logits, err);
    }
    if (status != HONE_OK) {
        free(*logits);
        *logits = NULL;
    }
    hone_model_free(model);
    hone_checkpoint_close(ckpt);
    hone_context_free(ctx);
    return status;
}

hone_status run_one_token(const char *path, hone_error *err)
{
    const int32_t token = 3;
    float *logits;
    const hone_status status = run_model(path, 2, &token, 1, &logits, err);
    free(logits);
    return status;
}

static hone_status run_once(void *path)
{
    hone_error err;
    return run_one_token(path, &err);
}

void run_with_failing_allocations(const char *path)
{
    char copy[1024];
    ck_assert_int_lt(snprintf(copy, sizeof copy, "%s", path), (int)sizeof copy);
    fail_each_allocation(run_once, copy, 40);
}

void spread_tokens(int32_t *tokens, size_t n, size_t n_vocab)
{
    for (size_t i = 0; i < n; i++)
        tokens[i] = (int32_t)((i * i * 7 + i) % n_vocab);
}

void assert_close(const float *logits, const double *expected, size_t n)
{
    double largest = 0;
    for (size_t i = 0; i < n; i++) {
        ck_assert_double_eq_tol((double)logits[i], expected[i], 2e-5);
        largest = fmax(largest, fabs(expected[i]));
    }
    ck_assert_double_gt(largest, 1); /* the comparison is not of zeros */
}
