/* SPDX-License-Identifier: MIT */
/* Perplexity and divergence on the model that comes with the tests. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "hone/verify.h"
#include "tests/support/add_tcase.h"
#include "tests/support/source_fixture.h"
#include "tests/support/toy_llama.h"
#include "verify/statistics.h"

Suite *hone_suite_perplexity(void);

#define MODEL "tests/models/tiny-llama"

static hone_context *ctx;
static hone_model *model;
static hone_tokenizer *tok;
static char *text;
static size_t n_text;
static uint64_t done, total;

static void progress(void *user, const char *phase, uint64_t now, uint64_t all)
{
    (void)user;
    (void)phase;
    ck_assert_uint_gt(now, done);
    done = now;
    total = all;
}

static void set_up(void)
{
    set_up_source();
    const hone_context_options opts = {.n_threads = 2, .progress = progress};
    ck_assert_int_eq(hone_context_new(&opts, &ctx, &err), HONE_OK);
    open_source(MODEL);
    ck_assert_msg(hone_model_load(ctx, ckpt, &model, &err) == HONE_OK, "%s", err.reason);
    ck_assert_msg(hone_tokenizer_load(ckpt, &tok, &err) == HONE_OK, "%s", err.reason);
    ck_assert_int_eq(hone_file_slurp(MODEL "/heldout.txt", 1 << 20, &text, &n_text, &err), HONE_OK);
    done = total = 0;
}

static void tear_down(void)
{
    hone_mem_fail_after(-1);
    hone_release(text);
    hone_tokenizer_free(tok);
    hone_model_free(model);
    hone_context_free(ctx);
    tear_down_source();
}

/* Perplexity from whole-sequence logits by its definition, in long double. */
static void expected_nll(size_t n_ctx, size_t n_chunks, double *mean, double *error)
{
    int32_t *ids;
    size_t n_ids;
    ck_assert_int_eq(hone_tokenizer_encode(tok, text, n_text, true, false, &ids, &n_ids, &err), HONE_OK);
    const size_t n_vocab = hone_model_n_vocab(model);
    float *logits = malloc(n_ctx * n_vocab * sizeof *logits);
    long double sum = 0, squares = 0, n = 0;
    for (size_t chunk = 0; chunk < n_chunks; chunk++) {
        int32_t *fed = ids + chunk * n_ctx;
        if (hone_tokenizer_bos(tok) >= 0)
            fed[0] = hone_tokenizer_bos(tok);
        ck_assert_int_eq(hone_model_logits(ctx, model, fed, n_ctx, logits, &err), HONE_OK);
        for (size_t t = n_ctx / 2; t + 1 < n_ctx; t++) {
            long double all = 0;
            for (size_t v = 0; v < n_vocab; v++)
                all += expl((long double)logits[t * n_vocab + v]);
            const long double nll = logl(all) - (long double)logits[t * n_vocab + (size_t)fed[t + 1]];
            sum += nll;
            squares += nll * nll;
            n++;
        }
    }
    *mean = (double)(sum / n);
    *error = (double)sqrtl((squares / n - sum / n * (sum / n)) / (n - 1));
    free(logits);
    hone_tokens_free(ids);
}

static const size_t contexts[] = {4, 33, 64, 128};

START_TEST(perplexity_equals_its_definition)
{
    const size_t n_ctx = contexts[_i], n_chunks = 3;
    const hone_eval_options opts = {.n_ctx = n_ctx, .n_chunks = n_chunks};
    hone_perplexity_result r;
    ck_assert_int_eq(hone_perplexity(ctx, model, tok, text, n_text, &opts, &r, &err), HONE_OK);
    double mean, error;
    expected_nll(n_ctx, n_chunks, &mean, &error);
    ck_assert_uint_eq(r.tokens, n_chunks * n_ctx);
    ck_assert_uint_eq(r.scored, n_chunks * (n_ctx - 1 - n_ctx / 2));
    ck_assert_double_eq_tol(r.nll, mean, 1e-5);
    ck_assert_double_eq_tol(r.nll_stderr, error, 1e-5);
    ck_assert_double_eq_tol(r.ppl, exp(r.nll), 1e-12 * r.ppl);
    ck_assert_double_eq_tol(r.ppl_stderr, r.ppl * r.nll_stderr, 1e-12 * r.ppl);
    ck_assert_double_gt(r.tokens_per_second, 0);
    ck_assert_uint_eq(done, n_chunks);
    ck_assert_uint_eq(total, n_chunks);
}
END_TEST

/* Large enough that the work is shared out (see verify/team.h). */
START_TEST(logits_are_the_same_for_every_thread_count)
{
    enum { N_TOKENS = 300 };
    int32_t tokens[N_TOKENS];
    for (size_t i = 0; i < N_TOKENS; i++)
        tokens[i] = (int32_t)(i * i % hone_model_n_vocab(model));
    const size_t nbytes = N_TOKENS * hone_model_n_vocab(model) * sizeof(float);
    float *one = malloc(nbytes), *many = malloc(nbytes);
    const hone_context_options alone = {.n_threads = 1}, five = {.n_threads = 5};
    hone_context *ctx1, *ctx5;
    ck_assert_int_eq(hone_context_new(&alone, &ctx1, &err), HONE_OK);
    ck_assert_int_eq(hone_context_new(&five, &ctx5, &err), HONE_OK);
    ck_assert_int_eq(hone_model_logits(ctx1, model, tokens, N_TOKENS, one, &err), HONE_OK);
    ck_assert_int_eq(hone_model_logits(ctx5, model, tokens, N_TOKENS, many, &err), HONE_OK);
    ck_assert_mem_eq(one, many, nbytes);
    hone_context_free(ctx1);
    hone_context_free(ctx5);
    free(one);
    free(many);
}
END_TEST

START_TEST(trained_model_is_far_better_than_chance)
{
    const hone_eval_options opts = {.n_ctx = 128, .n_chunks = 4};
    hone_perplexity_result r;
    ck_assert_int_eq(hone_perplexity(ctx, model, tok, text, n_text, &opts, &r, &err), HONE_OK);
    ck_assert_double_lt(r.ppl, (double)hone_model_n_vocab(model) / 20);
}
END_TEST

START_TEST(rejects_text_that_is_empty_or_short)
{
    hone_perplexity_result r;
    ck_assert_int_eq(hone_perplexity(ctx, model, tok, "", 0, NULL, &r, &err), HONE_ERROR_ARG);
    ck_assert_str_eq(err.reason, "text is empty");
    ck_assert_int_eq(hone_perplexity(ctx, model, tok, "one", 3, NULL, &r, &err), HONE_ERROR_ARG);
    ck_assert_ptr_nonnull(strstr(err.reason, "one chunk takes 512"));
}
END_TEST

START_TEST(rejects_chunk_too_short_to_score)
{
    const hone_eval_options opts = {.n_ctx = 3};
    hone_perplexity_result r;
    ck_assert_int_eq(hone_perplexity(ctx, model, tok, text, n_text, &opts, &r, &err), HONE_ERROR_ARG);
}
END_TEST

START_TEST(rejects_text_that_is_not_utf8)
{
    hone_perplexity_result r;
    ck_assert_int_eq(hone_perplexity(ctx, model, tok, "ab\xff", 3, NULL, &r, &err), HONE_ERROR_DATA);
    ck_assert_uint_eq(err.offset, 2);
}
END_TEST

START_TEST(model_does_not_diverge_from_itself)
{
    const hone_eval_options opts = {.n_ctx = 64, .n_chunks = 3};
    hone_divergence d;
    const hone_status status = hone_verify(ctx, ckpt, ckpt, text, n_text, &opts, &d, &err);
    ck_assert_msg(status == HONE_OK, "%s", err.reason);
    hone_perplexity_result r;
    done = 0;
    ck_assert_int_eq(hone_perplexity(ctx, model, tok, text, n_text, &opts, &r, &err), HONE_OK);
    ck_assert_double_eq(d.reference.nll, r.nll);
    ck_assert_double_eq(d.candidate.nll, r.nll);
    ck_assert_double_eq(d.reference.nll_stderr, r.nll_stderr);
    ck_assert_uint_eq(d.candidate.scored, r.scored);
    ck_assert_double_eq(d.kld_mean, 0);
    ck_assert_double_eq(d.kld_max, 0);
    ck_assert_double_eq(d.kld_stderr, 0);
    ck_assert_double_eq(d.top1, 1);
    ck_assert_double_eq(d.top1_stderr, 0);
    ck_assert_double_eq(d.ppl_ratio, 1);
    ck_assert_double_eq(d.ppl_ratio_stderr, 0);
    ck_assert_uint_eq(d.candidate_nbytes, hone_checkpoint_nbytes(ckpt));
    const hone_dtype dtype = hone_checkpoint_tensor(ckpt, 0)->dtype;
    ck_assert_double_eq(d.candidate_bpw, 8.0 * hone_dtype_describe(dtype)->block_nbytes);
}
END_TEST

/* A copy of the model whose final norm is scaled: logits times a factor, so that every figure can be had by hand. */
static hone_checkpoint *open_sharpened(float factor)
{
    static const char *const files[] = {"config.json",
                                        "tokenizer.json",
                                        "tokenizer_config.json",
                                        "model.safetensors.index.json",
                                        "model-00001-of-00002.safetensors",
                                        "model-00002-of-00002.safetensors"};
    const hone_tensor *norm = hone_checkpoint_find(ckpt, "model.norm.weight");
    ck_assert_ptr_nonnull(norm);
    for (size_t f = 0; f < sizeof files / sizeof files[0]; f++) {
        char path[256], *data;
        size_t len;
        (void)snprintf(path, sizeof path, MODEL "/%s", files[f]);
        ck_assert_int_eq(hone_file_slurp(path, 64 << 20, &data, &len, &err), HONE_OK);
        const char *norm_file = strrchr(hone_checkpoint_file(ckpt, norm->file), '/') + 1;
        for (uint64_t i = 0; strcmp(files[f], norm_file) == 0 && i < norm->nelems; i++) {
            /* A power of two is exact in every float type: add to the exponent. */
            ck_assert(norm->dtype == HONE_BF16 || norm->dtype == HONE_F16 || norm->dtype == HONE_F32);
            char *p = data + norm->offset + i * (norm->nbytes / norm->nelems);
            if (norm->dtype == HONE_F32) {
                float x;
                memcpy(&x, p, sizeof x);
                x *= factor;
                memcpy(p, &x, sizeof x);
            } else {
                uint16_t x;
                memcpy(&x, p, sizeof x);
                x = (uint16_t)(x + (factor > 1 ? 1 : -1) * (norm->dtype == HONE_BF16 ? 1 << 7 : 1 << 10));
                memcpy(p, &x, sizeof x);
            }
        }
        (void)hone_temp_file(&dir, files[f], data, len);
        hone_release(data);
    }
    return must_open(dir.path);
}

struct chunk_list {
    double sum;
    size_t n;
};

static void add_chunk(void *user, double kld)
{
    struct chunk_list *list = user;
    list->sum += kld;
    list->n++;
}

START_TEST(chunks_of_a_divergence_have_its_mean)
{
    enum { N_CTX = 32, N_CHUNKS = 3 };
    struct chunk_list list = {0, 0};
    const hone_eval_options opts = {.n_ctx = N_CTX, .n_chunks = N_CHUNKS, .on_chunk = add_chunk, .user = &list};
    hone_checkpoint *sharp = open_sharpened(2);
    hone_divergence d;
    const hone_status status = hone_verify(ctx, ckpt, sharp, text, n_text, &opts, &d, &err);
    ck_assert_msg(status == HONE_OK, "%s", err.reason);
    hone_checkpoint_close(sharp);
    ck_assert_uint_eq(list.n, N_CHUNKS);
    ck_assert_double_gt(d.kld_mean, 0);
    ck_assert_double_eq_tol(list.sum / N_CHUNKS, d.kld_mean, 1e-12 * d.kld_mean);
}
END_TEST

START_TEST(divergence_of_a_sharpened_model_is_as_computed)
{
    enum { N_CTX = 32 };
    const hone_eval_options opts = {.n_ctx = N_CTX, .n_chunks = 1};
    hone_checkpoint *sharp = open_sharpened(2);
    hone_divergence d;
    const hone_status status = hone_verify(ctx, ckpt, sharp, text, n_text, &opts, &d, &err);
    ck_assert_msg(status == HONE_OK, "%s", err.reason);
    hone_checkpoint_close(sharp);

    int32_t *ids;
    size_t n_ids;
    ck_assert_int_eq(hone_tokenizer_encode(tok, text, n_text, true, false, &ids, &n_ids, &err), HONE_OK);
    if (hone_tokenizer_bos(tok) >= 0)
        ids[0] = hone_tokenizer_bos(tok);
    const size_t n_vocab = hone_model_n_vocab(model);
    float *logits = malloc(N_CTX * n_vocab * sizeof *logits);
    ck_assert_int_eq(hone_model_logits(ctx, model, ids, N_CTX, logits, &err), HONE_OK);
    double kld[N_CTX], change[N_CTX], mean = 0, max = 0;
    size_t n = 0;
    for (size_t t = N_CTX / 2; t + 1 < N_CTX; t++, n++) {
        const float *l = logits + t * n_vocab;
        double p_sum = 0, q_sum = 0, cross = 0;
        for (size_t v = 0; v < n_vocab; v++) {
            p_sum += exp((double)l[v]);
            q_sum += exp(2 * (double)l[v]);
        }
        for (size_t v = 0; v < n_vocab; v++)
            cross += exp((double)l[v]) / p_sum * (-(double)l[v]);
        kld[n] = cross - log(p_sum) + log(q_sum); /* E[l - log p_sum - 2 l + log q_sum] */
        change[n] = log(q_sum) - log(p_sum) - (double)l[ids[t + 1]];
        mean += kld[n];
        max = fmax(max, kld[n]);
    }
    mean /= (double)n;
    ck_assert_double_gt(mean, 0.01);
    ck_assert_double_eq_tol(d.kld_mean, mean, 1e-5);
    ck_assert_double_eq_tol(d.kld_max, max, 1e-5);
    ck_assert_double_eq_tol(d.kld_stderr, hone_mean_of(kld, n).error, 1e-5);
    ck_assert_double_eq_tol(d.ppl_ratio, exp(hone_mean_of(change, n).mean), 1e-4);
    ck_assert_double_eq_tol(d.ppl_ratio_stderr, d.ppl_ratio * hone_mean_of(change, n).error, 1e-4);
    ck_assert_double_le(d.kld_median, d.kld_p99);
    ck_assert_double_le(d.kld_p99, d.kld_max);
    ck_assert_double_eq(d.top1, 1); /* sharpening keeps the order */
    free(logits);
    hone_tokens_free(ids);
}
END_TEST

START_TEST(rejects_candidate_with_another_vocabulary)
{
    hone_toy toy = hone_toy_sizes();
    hone_toy_fill(&toy);
    hone_checkpoint *other = must_open(hone_toy_write_hf(&toy, &dir));
    const hone_eval_options opts = {.n_ctx = 32};
    hone_divergence d;
    ck_assert_int_eq(hone_verify(ctx, ckpt, other, text, n_text, &opts, &d, &err), HONE_ERROR_ARG);
    ck_assert_ptr_nonnull(strstr(err.reason, "40 in the candidate"));
    hone_checkpoint_close(other);
    hone_toy_free(&toy);
}
END_TEST

static hone_status measure_once(void *user)
{
    (void)user;
    const hone_eval_options opts = {.n_ctx = 8, .n_chunks = 1};
    hone_perplexity_result r;
    done = 0;
    return hone_perplexity(ctx, model, tok, "The cat and the dog went to the house. The end.", 47, &opts, &r, &err);
}

START_TEST(every_failed_allocation_is_reported)
{
    fail_each_allocation(measure_once, NULL, 5);
}
END_TEST

Suite *hone_suite_perplexity(void)
{
    Suite *suite = suite_create("perplexity");
    TCase *core = add_tcase(suite, "core", set_up, tear_down);
    tcase_add_loop_test(core, perplexity_equals_its_definition, 0, (int)(sizeof contexts / sizeof contexts[0]));
    tcase_add_test(core, logits_are_the_same_for_every_thread_count);
    tcase_add_test(core, trained_model_is_far_better_than_chance);
    tcase_add_test(core, model_does_not_diverge_from_itself);
    tcase_add_test(core, divergence_of_a_sharpened_model_is_as_computed);
    tcase_add_test(core, chunks_of_a_divergence_have_its_mean);
    TCase *bad = add_tcase(suite, "malformed", set_up, tear_down);
    tcase_add_test(bad, rejects_text_that_is_empty_or_short);
    tcase_add_test(bad, rejects_chunk_too_short_to_score);
    tcase_add_test(bad, rejects_text_that_is_not_utf8);
    tcase_add_test(bad, rejects_candidate_with_another_vocabulary);
    TCase *nomem = add_tcase(suite, "nomem", set_up, tear_down);
    tcase_add_test(nomem, every_failed_allocation_is_reported);
    return suite;
}
