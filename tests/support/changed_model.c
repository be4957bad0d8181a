/* SPDX-License-Identifier: MIT */
#include "tests/support/changed_model.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "hone/verify.h"
#include "tests/support/model_run.h"
#include "tests/support/toy_gpt2.h"
#include "tests/support/toy_llama.h"

enum { N_TOKENS = 20, N_VOCAB = 40 };

char toy_path[512];

void set_up_toy(void)
{
    set_up_source();
    renew_context(2, 0);
}

void tear_down_toy(void)
{
    drop_context();
    tear_down_source();
}

static const char *write_gpt2(bool gguf)
{
    hone_toy_gpt2 toy = hone_toy_gpt2_sizes();
    hone_toy_gpt2_fill(&toy);
    const char *path = gguf ? hone_toy_gpt2_write_gguf(&toy, &dir) : hone_toy_gpt2_write_hf(&toy, &dir);
    hone_toy_gpt2_free(&toy);
    return path;
}

static const char *write_llama(bool gguf, bool tied)
{
    hone_toy toy = hone_toy_sizes();
    toy.tied = tied;
    toy.attn_bias = toy.mlp_bias = !tied;
    hone_toy_fill(&toy);
    const char *path = gguf ? hone_toy_write_gguf(&toy, &dir) : hone_toy_write_hf(&toy, &dir);
    hone_toy_free(&toy);
    return path;
}

void open_toy(toy_kind kind)
{
    const bool gguf = kind == TOY_GGUF || kind == TOY_GPT2_GGUF;
    const bool gpt2 = kind == TOY_GPT2_HF || kind == TOY_GPT2_GGUF;
    (void)snprintf(toy_path, sizeof toy_path, "%s", gpt2 ? write_gpt2(gguf) : write_llama(gguf, kind == TOY_HF_TIED));
    open_source(toy_path);
}

bool toy_is_rotatable(toy_kind kind)
{
    return kind == TOY_HF || kind == TOY_GGUF;
}

float *logits_of_source(void)
{
    int32_t tokens[N_TOKENS];
    spread_tokens(tokens, N_TOKENS, N_VOCAB);
    hone_model *model;
    ck_assert_int_eq(hone_model_load(ctx, ckpt, &model, &err), HONE_OK);
    float *logits = malloc((size_t)N_TOKENS * N_VOCAB * sizeof *logits);
    ck_assert_ptr_nonnull(logits);
    ck_assert_int_eq(hone_model_logits(ctx, model, tokens, N_TOKENS, logits, &err), HONE_OK);
    hone_model_free(model);
    return logits;
}

static void expect_within(const float *before, double tolerance)
{
    float *after = logits_of_source();
    double most = 0;
    for (size_t i = 0; i < (size_t)N_TOKENS * N_VOCAB; i++)
        most = fmax(most, fabs((double)before[i]));
    ck_assert_double_gt(most, 0.1);
    for (size_t i = 0; i < (size_t)N_TOKENS * N_VOCAB; i++)
        ck_assert_double_le(fabs((double)after[i] - (double)before[i]), tolerance * most);
    free(after);
}

void expect_same_logits(const float *before)
{
    expect_within(before, 1e-6);
}

void expect_close_logits(const float *before)
{
    expect_within(before, 1e-5);
}
