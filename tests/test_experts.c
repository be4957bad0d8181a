/* SPDX-License-Identifier: MIT */
/* Experts that are stored one by one, and the stacks that GGUF has of them. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hone/convert.h"
#include "hone/verify.h"
#include "tests/support/toy_llama.h"

Suite *hone_suite_experts(void);

#define PREFIX "model.layers.1.block_sparse_moe.experts."

static hone_temp_dir dir;
static hone_context *ctx;
static hone_checkpoint *ckpt, *written;
static hone_toy toy;
static hone_error err;

static void set_up(void)
{
    hone_temp_dir_init(&dir);
    const hone_context_options opts = {.n_threads = 2};
    ck_assert_int_eq(hone_context_new(&opts, &ctx, &err), HONE_OK);
    ckpt = written = NULL;
    toy = hone_toy_sizes();
    toy.n_experts = 5;
    toy.n_experts_used = 2;
    hone_toy_fill(&toy);
}

static void tear_down(void)
{
    hone_checkpoint_close(ckpt);
    hone_checkpoint_close(written);
    hone_context_free(ctx);
    hone_toy_free(&toy);
    hone_temp_dir_deinit(&dir);
}

static void open_toy(void)
{
    ck_assert_msg(hone_checkpoint_open(hone_toy_write_hf(&toy, &dir), NULL, &ckpt, &err) == HONE_OK, "%s", err.reason);
}

START_TEST(a_stack_holds_its_experts_in_order)
{
    open_toy();
    const hone_tensor *stack = hone_checkpoint_find(ckpt, PREFIX "w2.weight");
    ck_assert_ptr_nonnull(stack);
    ck_assert_uint_eq(stack->n_dims, 3);
    ck_assert_uint_eq(stack->shape[0], 5);
    ck_assert_uint_eq(stack->shape[1], toy.n_embd);
    ck_assert_uint_eq(stack->shape[2], toy.n_ff);
    float *values = malloc((size_t)stack->nbytes);
    ck_assert_int_eq(hone_checkpoint_read(ckpt, stack, 0, (size_t)stack->nbytes, values, &err), HONE_OK);
    const size_t n = toy.n_embd * toy.n_ff;
    for (size_t e = 0; e < 5; e++) {
        char name[96];
        (void)snprintf(name, sizeof name, PREFIX "%zu.w2.weight", e);
        ck_assert_mem_eq(values + e * n, hone_toy_find(&toy, name)->data, n * sizeof *values);
    }
    /* a piece that begins in one expert and ends in the third after it */
    float *piece = malloc((size_t)stack->nbytes);
    const size_t first = n - 3, count = 3 * n;
    ck_assert_int_eq(hone_checkpoint_read(ckpt, stack, first * 4, count * 4, piece, &err), HONE_OK);
    ck_assert_mem_eq(piece, values + first, count * 4);
    ck_assert_int_eq(hone_checkpoint_read(ckpt, stack, stack->nbytes - 4, 8, piece, &err), HONE_ERROR_ARG);
    free(piece);
    free(values);
    for (size_t i = 0; i < hone_checkpoint_n_tensors(ckpt); i++)
        ck_assert_ptr_ne(hone_checkpoint_tensor(ckpt, i), stack);
}
END_TEST

/* Renames or reshapes one expert: the stack ends before it, and what the configuration asks for is not there. */
START_TEST(a_gap_among_the_experts_is_named)
{
    hone_toy_tensor *t = hone_toy_find(&toy, PREFIX "3.w1.weight");
    if (_i == 0) {
        (void)snprintf(t->hf, sizeof t->hf, PREFIX "7.w1.weight");
    } else {
        const size_t nrows = t->nrows;
        t->nrows = t->ncols;
        t->ncols = nrows;
    }
    open_toy();
    ck_assert_uint_eq(hone_checkpoint_find(ckpt, PREFIX "w1.weight")->shape[0], 3);
    hone_model *model;
    ck_assert_int_eq(hone_model_load(ctx, ckpt, &model, &err), HONE_ERROR_DATA);
    ck_assert_str_eq(err.item, PREFIX "w1.weight");
    ck_assert_str_eq(err.reason, "shape is [3, 28, 24]; the configuration asks for [5, 28, 24]");
    const hone_convert_options opts = {.type = "f32"};
    hone_plan *plan;
    ck_assert_int_eq(hone_plan_new(ctx, ckpt, &opts, &plan, &err), HONE_ERROR_DATA);
    ck_assert_str_eq(err.reason, "has shape [3, 28, 24], the configuration says [5, 28, 24]");
}
END_TEST

START_TEST(conversion_stacks_and_comparison_finds_the_same)
{
    open_toy();
    const hone_convert_options opts = {.type = "f32"};
    const hone_run_options run = {.overwrite = true};
    char out[512];
    (void)snprintf(out, sizeof out, "%s", hone_temp_path(&dir, "out.gguf"));
    hone_plan *plan;
    ck_assert_msg(hone_plan_new(ctx, ckpt, &opts, &plan, &err) == HONE_OK, "%s: %s", err.item, err.reason);
    ck_assert_int_eq(hone_plan_run(ctx, plan, out, &run, &err), HONE_OK);
    hone_plan_free(plan);
    ck_assert_int_eq(hone_checkpoint_open(out, NULL, &written, &err), HONE_OK);
    size_t n_stacks = 0;
    for (size_t i = 0; i < toy.n_tensors; i++) {
        const hone_toy_tensor *t = &toy.tensors[i];
        if (!t->n_stacked)
            continue;
        const hone_tensor *have = hone_checkpoint_find(written, t->gguf);
        ck_assert_ptr_nonnull(have);
        ck_assert_uint_eq(have->n_dims, 3);
        float *values = malloc((size_t)have->nbytes);
        ck_assert_int_eq(hone_checkpoint_read(written, have, 0, (size_t)have->nbytes, values, &err), HONE_OK);
        ck_assert_mem_eq(values, t->data, (size_t)have->nbytes);
        free(values);
        n_stacks++;
    }
    ck_assert_uint_eq(n_stacks, 6);
    hone_diff *diff;
    ck_assert_msg(hone_diff_run(ctx, ckpt, written, NULL, &diff, &err) == HONE_OK, "%s: %s", err.item, err.reason);
    ck_assert_uint_eq(hone_diff_n(diff), hone_checkpoint_n_tensors(written));
    for (size_t i = 0; i < hone_diff_n(diff); i++)
        ck_assert_double_eq(hone_diff_at(diff, i)->max_abs, 0);
    for (int side = 0; side < 2; side++)
        ck_assert_ptr_null(hone_diff_unmatched(diff, side, 0));
    hone_diff_free(diff);
}
END_TEST

/* config.json says how many experts there are; not all that it may say can be. */
START_TEST(refuses_experts_that_cannot_be)
{
    static const size_t bad[][2] = {{5, 6}, {1025, 2}};
    toy.n_experts = bad[_i][0];
    toy.n_experts_used = bad[_i][1];
    const size_t n = toy.n_tensors;
    for (size_t i = 0; i < n; i++) /* the tensors do not matter: the configuration is read first */
        toy.tensors[i].not_gguf = true;
    open_toy();
    hone_model *model;
    ck_assert_int_eq(hone_model_load(ctx, ckpt, &model, &err), HONE_ERROR_DATA);
    const hone_convert_options opts = {.type = "f32"};
    hone_plan *plan;
    ck_assert_int_eq(hone_plan_new(ctx, ckpt, &opts, &plan, &err), HONE_ERROR_DATA);
    ck_assert_str_eq(err.item, "num_local_experts");
}
END_TEST

Suite *hone_suite_experts(void)
{
    Suite *suite = suite_create("experts");
    TCase *tc = tcase_create("core");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, a_stack_holds_its_experts_in_order);
    tcase_add_loop_test(tc, a_gap_among_the_experts_is_named, 0, 2);
    tcase_add_test(tc, conversion_stacks_and_comparison_finds_the_same);
    tcase_add_loop_test(tc, refuses_experts_that_cannot_be, 0, 2);
    suite_add_tcase(suite, tc);
    return suite;
}
