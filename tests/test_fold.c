/* SPDX-License-Identifier: MIT */
/* Folding changes nothing of what a model computes, corrections make up for what coding does. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "convert/moments.h"
#include "formats/decode.h"
#include "formats/imatrix.h"
#include "hone/calibrate.h"
#include "hone/correct.h"
#include "hone/fold.h"
#include "hone/rotate.h"
#include "tests/support/model_run.h"
#include "tests/support/plan_fixture.h"
#include "tests/support/toy_gpt2.h"
#include "tests/support/toy_llama.h"

Suite *hone_suite_fold(void);

enum { TIMEOUT = 480, N_TOKENS = 20, MAX_COLS = 512, MAX_EXPERTS = 4 };

#define TINY "tests/models/tiny-llama"
#define TINY_GPT2 "tests/models/tiny-gpt2"

static char stats[512];

static void set_up(void)
{
    set_up_plan("out.gguf");
    (void)snprintf(stats, sizeof stats, "%s", hone_temp_path(&dir, "stats"));
}

/* ---- what a model computes ---- */

/* An importance of every matrix: some columns see much more than others. */
static void write_importance(const hone_toy_tensor *tensors, size_t n)
{
    enum { MAX_TENSORS = 64 };
    static float sums[MAX_TENSORS][MAX_EXPERTS * MAX_COLS];
    static const float counts[MAX_EXPERTS] = {100, 100, 100, 100};
    hone_imatrix_sums entries[MAX_TENSORS];
    const hone_imatrix_origin origin = {.n_chunks = 1, .chunk_ntokens = 10};
    size_t n_entries = 0;
    for (size_t i = 0; i < n; i++) {
        if (tensors[i].ncols == 0 || strncmp(tensors[i].gguf, "blk.", 4) != 0)
            continue;
        const size_t n_mats = tensors[i].n_stacked ? tensors[i].n_stacked : 1;
        for (size_t c = 0; c < n_mats * tensors[i].ncols; c++)
            sums[n_entries][c] = c % tensors[i].ncols % 5 == 2 ? 9000.0f : 10.0f + (float)(c % 3 * 10);
        entries[n_entries] = (hone_imatrix_sums){tensors[i].gguf, tensors[i].ncols, n_mats, sums[n_entries], counts};
        n_entries++;
    }
    ck_assert_int_eq(hone_imatrix_write(stats, entries, n_entries, &origin, false, &err), HONE_OK);
}

static const char *const folds[] = {"q4_0", "q5_1"};

/* Folds ckpt, and compares what it computes afterwards. Returns how many groups were folded. */
static size_t fold_and_compare(const char *type, size_t n_vocab, const double *expected)
{
    const hone_convert_options opts = {.type = type, .pure = true, .imatrix = stats};
    hone_fold *fold;
    hone_model *model;
    int32_t tokens[N_TOKENS];
    ck_assert_msg(hone_fold_new(ctx, ckpt, &opts, &fold, &err) == HONE_OK, "%s: %s", err.item, err.reason);
    size_t n_folded = 0;
    for (size_t i = 0; i < hone_fold_n(fold); i++) {
        const hone_fold_group g = hone_fold_at(fold, i);
        ck_assert_double_le(g.folded_error, g.error);
        n_folded += g.folded_error < g.error;
        ck_assert_int_eq(g.folded_error<g.error, g.input_power> 0 || g.weight_power > 0);
    }
    float *logits = malloc(N_TOKENS * n_vocab * sizeof *logits);
    spread_tokens(tokens, N_TOKENS, n_vocab);
    ck_assert_int_eq(hone_model_load(ctx, ckpt, &model, &err), HONE_OK);
    ck_assert_int_eq(hone_model_logits(ctx, model, tokens, N_TOKENS, logits, &err), HONE_OK);
    assert_close(logits, expected, N_TOKENS * n_vocab);
    free(logits);
    hone_model_free(model);
    hone_fold_free(fold);
    return n_folded;
}

/* Folds a toy as one naming stores it, in one of the types. */
static void fold_toy(hone_toy toy, bool gguf, const char *type, size_t least)
{
    hone_toy_fill(&toy);
    int32_t tokens[N_TOKENS];
    double *expected = malloc(N_TOKENS * toy.n_vocab * sizeof *expected);
    spread_tokens(tokens, N_TOKENS, toy.n_vocab);
    hone_toy_run(&toy, tokens, N_TOKENS, expected);
    write_importance(toy.tensors, toy.n_tensors);
    open_source(gguf ? hone_toy_write_gguf(&toy, &dir) : hone_toy_write_hf(&toy, &dir));
    ck_assert_uint_ge(fold_and_compare(type, toy.n_vocab, expected), least);
    free(expected);
    hone_toy_free(&toy);
}

START_TEST(folded_llama_computes_the_same)
{
    hone_toy toy = hone_toy_sizes();
    toy.n_embd = 64;
    toy.n_ff = 96;
    toy.head_dim = 16;
    toy.attn_bias = toy.mlp_bias = true;
    fold_toy(toy, _i % 2, folds[_i / 2], 6);
}
END_TEST

/* The norm before experts is folded into them and their router: three folds a layer, and that of the output. */
START_TEST(folded_mixture_computes_the_same)
{
    hone_toy toy = hone_toy_sizes();
    toy.n_experts = MAX_EXPERTS;
    toy.n_experts_used = 2;
    toy.n_embd = toy.n_ff = 32;
    toy.head_dim = 16;
    fold_toy(toy, _i % 2, folds[_i / 2], 3 * toy.n_layers);
}
END_TEST

START_TEST(folded_gpt2_computes_the_same)
{
    hone_toy_gpt2 toy = hone_toy_gpt2_sizes();
    toy.n_embd = 64;
    toy.n_ff = 96;
    hone_toy_gpt2_fill(&toy);
    int32_t tokens[N_TOKENS];
    double *expected = malloc(N_TOKENS * toy.n_vocab * sizeof *expected);
    spread_tokens(tokens, N_TOKENS, toy.n_vocab);
    hone_toy_gpt2_run(&toy, tokens, N_TOKENS, expected);
    write_importance(toy.tensors, toy.n_tensors);
    open_source(_i % 2 ? hone_toy_gpt2_write_gguf(&toy, &dir) : hone_toy_gpt2_write_hf(&toy, &dir));
    ck_assert_uint_ge(fold_and_compare(folds[_i / 2], toy.n_vocab, expected), 6);
    free(expected);
    hone_toy_gpt2_free(&toy);
}
END_TEST

/* ---- what is written ---- */

/* Opens a model, rotated if that is not NULL, and calibrates it on its text to stats. */
static void calibrate(const char *model, const char *rotation, size_t n_ctx, size_t n_chunks)
{
    static const char *const datasets[] = {"heldout.txt"};
    const hone_calibrate_options opts = {.n_ctx = n_ctx,
                                         .n_chunks = n_chunks,
                                         .hessian = true,
                                         .datasets = datasets,
                                         .n_datasets = 1,
                                         .overwrite = true};
    char path[512], *text;
    size_t n_text;
    (void)snprintf(path, sizeof path, "%s/heldout.txt", model);
    ck_assert_int_eq(hone_file_slurp(path, 1 << 20, &text, &n_text, &err), HONE_OK);
    open_source(model);
    if (rotation)
        ck_assert_int_eq(hone_checkpoint_rotate(ctx, ckpt, rotation, &err), HONE_OK);
    ck_assert_int_eq(hone_calibrate(ctx, ckpt, text, n_text, &opts, stats, NULL, &err), HONE_OK);
    hone_release(text);
}

static void run_all(const hone_convert_options *opts)
{
    hone_convert_options complete = *opts;
    hone_fold *fold = NULL;
    hone_correction *correction = NULL;
    hone_plan_free(plan);
    plan = NULL;
    ck_assert_msg(hone_fold_new(ctx, ckpt, &complete, &fold, &err) == HONE_OK, "%s", err.reason);
    complete.fold = fold;
    ck_assert_msg(hone_correction_new(ctx, ckpt, &complete, &correction, &err) == HONE_OK, "%s", err.reason);
    complete.correct = true;
    complete.correction = correction;
    ck_assert_msg(hone_plan_new(ctx, ckpt, &complete, &plan, &err) == HONE_OK, "%s", err.reason);
    must_run();
    hone_plan_free(plan);
    plan = NULL;
    hone_correction_free(correction);
    hone_fold_free(fold);
}

START_TEST(bytes_depend_on_no_thread_and_no_cpu)
{
    static const char *const models[] = {TINY, TINY_GPT2};
    static const hone_type_rule rest = {"^(blk\\.[1-9]|output|token_embd)", HONE_F16};
    calibrate(models[_i], NULL, 32, 4);
    const hone_convert_options opts = {.type = "q4_0",
                                       .search = HONE_SEARCH_REFERENCE,
                                       .rules = &rest,
                                       .n_rules = 1,
                                       .imatrix = stats,
                                       .calibration = stats,
                                       .method = _i ? HONE_METHOD_AUTO : HONE_METHOD_PLAIN,
                                       .correct = true};
    run_all(&opts);
    char first[sizeof out + 8];
    (void)snprintf(first, sizeof first, "%s.first", out);
    ck_assert_int_eq(rename(out, first), 0);
    hone_context_free(ctx);
    ck_assert_int_eq(hone_context_new(&(hone_context_options){.n_threads = 1, .cpu = "ref"}, &ctx, &err), HONE_OK);
    open_source(models[_i]);
    run_all(&opts);
    expect_same_bytes(first, out);
}
END_TEST

static float *floats_of(const hone_checkpoint *c, const char *name)
{
    const hone_tensor *t = hone_checkpoint_find(c, name);
    ck_assert_msg(t != NULL, "%s", name);
    void *raw = malloc((size_t)t->nbytes);
    float *x = malloc((size_t)t->nelems * sizeof *x);
    ck_assert_int_eq(hone_checkpoint_read(c, t, 0, (size_t)t->nbytes, raw, &err), HONE_OK);
    hone_decoder(t->dtype, HONE_CPU_REF)(raw, x, (size_t)t->nelems);
    free(raw);
    return x;
}

static hone_correction *correct(const hone_convert_options *opts)
{
    hone_correction *c;
    ck_assert_msg(hone_correction_new(ctx, ckpt, opts, &c, &err) == HONE_OK, "%s", err.reason);
    hone_convert_options complete = *opts;
    complete.correction = c;
    ck_assert_int_eq(hone_plan_new(ctx, ckpt, &complete, &plan, &err), HONE_OK);
    must_run();
    return c;
}

START_TEST(bias_takes_up_the_mean_error)
{
    enum { ROWS = 128, COLS = 256 };
    calibrate(TINY_GPT2, NULL, 32, 4);
    const hone_convert_options opts = {.type = "q4_0",
                                       .pure = true,
                                       .calibration = stats,
                                       .method = _i ? HONE_METHOD_GPTQ : HONE_METHOD_PLAIN,
                                       .correct = true};
    hone_correction *c = correct(&opts);
    hone_checkpoint *file, *sums;
    ck_assert_int_eq(hone_checkpoint_open(out, NULL, &file, &err), HONE_OK);
    ck_assert_int_eq(hone_checkpoint_open(stats, NULL, &sums, &err), HONE_OK);
    float *w = floats_of(ckpt, "transformer.h.1.mlp.c_proj.weight"); /* (COLS, ROWS) */
    float *b = floats_of(ckpt, "transformer.h.1.mlp.c_proj.bias");
    float *q = floats_of(file, "blk.1.ffn_down.weight"), *corrected = floats_of(file, "blk.1.ffn_down.bias");
    float *sum = floats_of(sums, "blk.1.ffn_down.weight.in_sum");
    double moved = 0;
    for (size_t r = 0; r < ROWS; r++) {
        double expected = (double)b[r];
        for (size_t j = 0; j < COLS; j++)
            expected += (double)(w[j * ROWS + r] - q[r * COLS + j]) * (double)sum[j] / (32 * 4);
        ck_assert_double_eq_tol((double)corrected[r], expected, 1e-5);
        moved += fabs((double)corrected[r] - (double)b[r]);
    }
    ck_assert_double_gt(moved, 1e-3);
    float *const all[] = {w, b, q, corrected, sum};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
    hone_checkpoint_close(file);
    hone_checkpoint_close(sums);
    hone_correction_free(c);
}
END_TEST

/* tr((W - Q D) H (W - Q D)T), H from its triangle. */
static double error_of(const float *w, const float *q, const double *d, const float *gram, size_t nrows, size_t n)
{
    double total = 0;
    for (size_t r = 0; r < nrows; r++) {
        double e[MAX_COLS];
        for (size_t j = 0; j < n; j++)
            e[j] = (double)w[r * n + j] - d[j] * (double)q[r * n + j];
        const float *h = gram;
        for (size_t i = 0; i < n; i++)
            for (size_t j = i; j < n; j++)
                total += (i == j ? 1 : 2) * e[i] * e[j] * (double)*h++;
    }
    return total;
}

START_TEST(norm_takes_up_what_it_can)
{
    enum { COLS = 256, ROWS = 512 };
    calibrate(TINY, NULL, 32, 4);
    const hone_convert_options opts = {.type = "q2_k", .pure = true, .calibration = stats, .correct = true};
    hone_correction *c = correct(&opts);
    hone_checkpoint *file, *sums;
    ck_assert_int_eq(hone_checkpoint_open(out, NULL, &file, &err), HONE_OK);
    ck_assert_int_eq(hone_checkpoint_open(stats, NULL, &sums, &err), HONE_OK);
    float *gate = floats_of(ckpt, "model.layers.0.mlp.gate_proj.weight");
    float *up = floats_of(ckpt, "model.layers.0.mlp.up_proj.weight");
    float *q_gate = floats_of(file, "blk.0.ffn_gate.weight"), *q_up = floats_of(file, "blk.0.ffn_up.weight");
    float *norm = floats_of(ckpt, "model.layers.0.post_attention_layernorm.weight");
    float *corrected = floats_of(file, "blk.0.ffn_norm.weight");
    float *gram = floats_of(sums, "blk.0.ffn_gate.weight.in_gram");
    double d[COLS], ones[COLS], error[2];
    for (size_t j = 0; j < COLS; j++) {
        ones[j] = 1;
        d[j] = (double)corrected[j] / (double)norm[j];
    }
    error[0] = error_of(gate, q_gate, ones, gram, ROWS, COLS) + error_of(up, q_up, ones, gram, ROWS, COLS);
    error[1] = error_of(gate, q_gate, d, gram, ROWS, COLS) + error_of(up, q_up, d, gram, ROWS, COLS);
    bool found = false;
    for (size_t i = 0; i < hone_correction_n(c); i++) {
        const hone_correction_tensor t = hone_correction_at(c, i);
        if (strcmp(t.name, "blk.0.ffn_norm.weight") != 0)
            continue;
        found = true;
        ck_assert_double_eq_tol(t.corrected_error / t.error, error[1] / error[0], 1e-4);
        ck_assert_double_lt(error[1], 0.98 * error[0]);
    }
    ck_assert(found);
    float *const all[] = {gate, up, q_gate, q_up, norm, corrected, gram};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
    hone_checkpoint_close(file);
    hone_checkpoint_close(sums);
    hone_correction_free(c);
}
END_TEST

/* Folds what is open as stats has it, and plans it. */
static hone_fold *fold_and_plan(void)
{
    const hone_convert_options opts = {.type = "q4_0", .pure = true, .calibration = stats};
    hone_convert_options complete = opts;
    hone_fold *fold;
    ck_assert_msg(hone_fold_new(ctx, ckpt, &opts, &fold, &err) == HONE_OK, "%s", err.reason);
    complete.fold = fold;
    ck_assert_msg(hone_plan_new(ctx, ckpt, &complete, &plan, &err) == HONE_OK, "%s", err.reason);
    return fold;
}

/* The second moments that the planned tensor i is coded by. */
static double *moments_of(size_t i)
{
    const hone_planned_tensor *t = &plan->tensors[i];
    double *h = malloc((size_t)(t->row_nelems * t->row_nelems) * sizeof *h);
    ck_assert_int_eq(hone_moments_read(ctx, plan, t, h, &err), HONE_OK);
    return h;
}

/* Inputs are what calibration saw, divided once by what columns were multiplied by. */
START_TEST(moments_follow_the_folds)
{
    calibrate(TINY, NULL, 32, 4);
    hone_fold *fold = fold_and_plan();
    hone_checkpoint *sums;
    ck_assert_int_eq(hone_checkpoint_open(stats, NULL, &sums, &err), HONE_OK);
    size_t n_scaled = 0;
    for (size_t i = 0; i < plan->n_tensors; i++) {
        const hone_planned_tensor *t = &plan->tensors[i];
        if (!t->gram || !t->input_scale)
            continue;
        double *h = moments_of(i);
        float *seen = floats_of(sums, t->gram->name), *next = seen;
        for (size_t r = 0; r < t->row_nelems; r++)
            for (size_t c = r; c < t->row_nelems; c++) {
                const double scale = (double)t->input_scale[r] * (double)t->input_scale[c];
                const double expected = (double)*next++ / (double)t->n_tokens / scale;
                ck_assert_double_eq_tol(h[r * t->row_nelems + c], expected, 1e-5 * (1e-3 + fabs(expected)));
                n_scaled += scale < 0.9 || scale > 1.1;
            }
        free(seen);
        free(h);
    }
    ck_assert_uint_gt(n_scaled, 1000);
    hone_checkpoint_close(sums);
    hone_fold_free(fold);
}
END_TEST

/* The moments of all tensors of a folded model, the folds taken out again. Returns how many there are. */
static size_t collect_moments(double **moments, size_t *ncols)
{
    hone_fold *fold = fold_and_plan();
    size_t n = 0;
    for (size_t i = 0; i < plan->n_tensors; i++) {
        const hone_planned_tensor *t = &plan->tensors[i];
        if (!t->gram)
            continue;
        const size_t d = ncols[n] = (size_t)t->row_nelems;
        moments[n] = moments_of(i);
        for (size_t j = 0; t->input_scale && j < d * d; j++)
            moments[n][j] *= (double)t->input_scale[j / d] * (double)t->input_scale[j % d];
        n++;
    }
    hone_plan_free(plan);
    plan = NULL;
    hone_fold_free(fold);
    return n;
}

/* A calibration of the model as it was tells the same as one of the rotated model. */
START_TEST(moments_follow_rotation_and_folds)
{
    enum { MAX_TENSORS = 64 };
    double *of_turned[MAX_TENSORS], *of_rotated[MAX_TENSORS];
    size_t ncols[MAX_TENSORS];
    calibrate(TINY, NULL, 32, 4);
    ck_assert_int_eq(hone_checkpoint_rotate(ctx, ckpt, "residual+heads", &err), HONE_OK);
    const size_t n = collect_moments(of_turned, ncols);
    calibrate(TINY, "residual+heads", 32, 4);
    ck_assert_uint_eq(collect_moments(of_rotated, ncols), n);
    ck_assert_uint_gt(n, 20);
    for (size_t i = 0; i < n; i++) {
        double sum = 0, difference = 0;
        for (size_t j = 0; j < ncols[i] * ncols[i]; j++) {
            const double d = of_turned[i][j] - of_rotated[i][j];
            sum += of_rotated[i][j] * of_rotated[i][j];
            difference += d * d;
        }
        ck_assert_double_lt(difference, 1e-6 * sum);
        free(of_turned[i]);
        free(of_rotated[i]);
    }
}
END_TEST

static size_t n_plain(const hone_convert_options *opts)
{
    ck_assert_int_eq(hone_plan_new(ctx, ckpt, opts, &plan, &err), HONE_OK);
    size_t n = 0;
    for (size_t i = 0; i < hone_plan_describe(plan).n_tensors; i++) {
        const hone_plan_tensor t = hone_plan_tensor_at(plan, i);
        ck_assert(t.has_moments || !t.has_feedback);
        n += t.has_moments && !t.has_feedback;
    }
    hone_plan_free(plan);
    plan = NULL;
    return n;
}

/* A sentence tells too little of how columns belong together. */
START_TEST(auto_leaves_tensors_plain_where_nothing_is_known)
{
    const hone_convert_options opts = {
        .type = "q4_k", .pure = true, .imatrix = stats, .calibration = stats, .method = HONE_METHOD_AUTO};
    calibrate(TINY, NULL, 32, 8);
    ck_assert_uint_eq(n_plain(&opts), 0);
    calibrate(TINY, NULL, 32, 1);
    ck_assert_uint_gt(n_plain(&opts), 10);
}
END_TEST

START_TEST(refuses_what_it_cannot_know)
{
    hone_fold *fold;
    hone_correction *c;
    open_source(TINY);
    hone_convert_options opts = {.type = "q4_k"};
    ck_assert_int_eq(hone_fold_new(ctx, ckpt, &opts, &fold, &err), HONE_ERROR_ARG);
    ck_assert_ptr_null(fold);
    ck_assert_int_eq(hone_correction_new(ctx, ckpt, &opts, &c, &err), HONE_ERROR_ARG);
    ck_assert_ptr_null(c);
    opts.to = "safetensors";
    opts.imatrix = "x";
    ck_assert_int_eq(hone_fold_new(ctx, ckpt, &opts, &fold, &err), HONE_ERROR_ARG);
    ck_assert_int_eq(hone_correction_new(ctx, ckpt, &opts, &c, &err), HONE_ERROR_ARG);
}
END_TEST

Suite *hone_suite_fold(void)
{
    Suite *s = suite_create("fold");
    TCase *tc = tcase_create("core");
    tcase_set_timeout(tc, TIMEOUT);
    tcase_add_checked_fixture(tc, set_up, tear_down_plan);
    tcase_add_loop_test(tc, folded_llama_computes_the_same, 0, 4);
    tcase_add_loop_test(tc, folded_mixture_computes_the_same, 0, 4);
    tcase_add_loop_test(tc, folded_gpt2_computes_the_same, 0, 4);
    tcase_add_loop_test(tc, bytes_depend_on_no_thread_and_no_cpu, 0, 2);
    tcase_add_loop_test(tc, bias_takes_up_the_mean_error, 0, 2);
    tcase_add_test(tc, norm_takes_up_what_it_can);
    tcase_add_test(tc, moments_follow_the_folds);
    tcase_add_test(tc, moments_follow_rotation_and_folds);
    tcase_add_test(tc, auto_leaves_tensors_plain_where_nothing_is_known);
    tcase_add_test(tc, refuses_what_it_cannot_know);
    suite_add_tcase(s, tc);
    return s;
}
