/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/add_tcase.h"
#include "tests/support/diff_fixture.h"
#include "tests/support/toy_llama.h"

Suite *hone_suite_diff(void);

static hone_toy toy;

static void set_up(void)
{
    set_up_sides();
    toy = hone_toy_sizes();
    toy.attn_bias = true; /* reordered vectors as well as matrices */
}

static void tear_down(void)
{
    hone_toy_free(&toy);
    tear_down_sides();
}

static void open_side(int side, bool gguf)
{
    open_side_at(side, gguf ? hone_toy_write_gguf(&toy, &dirs[side]) : hone_toy_write_hf(&toy, &dirs[side]));
}

static const hone_tensor_diff *entry(const char *name)
{
    for (size_t i = 0; i < hone_diff_n(diff); i++)
        if (strcmp(hone_diff_at(diff, i)->name, name) == 0)
            return hone_diff_at(diff, i);
    ck_abort_msg("no entry %s", name);
}

START_TEST(a_model_equals_itself_under_either_naming)
{
    hone_toy_fill(&toy);
    open_side(0, kinds[_i][0]);
    open_side(1, kinds[_i][1]);
    ck_assert_int_eq(compare_sides(NULL), HONE_OK);
    assert_all_equal(toy.n_tensors);
    assert_all_matched();
    ck_assert_ptr_null(hone_diff_at(diff, toy.n_tensors));
}
END_TEST

/* One element changed: all figures by hand, and its place in the candidate's own order. */
START_TEST(one_changed_element_is_found)
{
    hone_toy_fill(&toy);
    hone_toy_tensor *t = hone_toy_find(&toy, "model.layers.1.self_attn.k_proj.weight");
    open_side(0, kinds[_i][0]);
    const size_t row = 6 + 4, col = 5; /* head 1, row 4 of 6: stored as row 2 * (4 - 3) + 1 = 3 of it in GGUF */
    double squares = 0, dot = 0;
    for (size_t i = 0; i < t->nrows * t->ncols; i++)
        squares += (double)t->data[i] * (double)t->data[i];
    const double old = (double)t->data[row * t->ncols + col];
    t->data[row * t->ncols + col] += 0.5f;
    const double new = (double)t->data[row * t->ncols + col];
    dot = squares - old * old + old * new;
    open_side(1, kinds[_i][1]);
    ck_assert_int_eq(compare_sides(NULL), HONE_OK);
    const bool gguf = kinds[_i][1];
    const hone_tensor_diff *d = entry(gguf ? "blk.1.attn_k.weight" : "model.layers.1.self_attn.k_proj.weight");
    ck_assert_str_eq(d->reference_name,
                     kinds[_i][0] ? "blk.1.attn_k.weight" : "model.layers.1.self_attn.k_proj.weight");
    ck_assert_uint_eq(d->nelems, t->nrows * t->ncols);
    ck_assert_int_eq(d->dtype, HONE_F32);
    ck_assert_int_eq(d->reference_dtype, HONE_F32);
    ck_assert_double_eq_tol(d->max_abs, new - old, 1e-12);
    ck_assert_double_eq_tol(d->rmse, (new - old) / sqrt((double)d->nelems), 1e-12);
    ck_assert_double_eq_tol(d->relative_rmse, (new - old) / sqrt(squares), 1e-12);
    ck_assert_double_eq_tol(d->cosine, dot / sqrt(squares * (squares - old * old + new *new)), 1e-12);
    ck_assert_uint_eq(d->max_index, (gguf ? 6 + 3 : row) * t->ncols + col);
    for (size_t i = 0; i < hone_diff_n(diff); i++)
        if (hone_diff_at(diff, i) != d)
            ck_assert_double_eq(hone_diff_at(diff, i)->rmse, 0);
}
END_TEST

/* The mistake that the comparison is there to catch: rows left in the other side's order. */
START_TEST(wrong_row_order_is_seen)
{
    hone_toy_fill(&toy);
    open_side(0, false);
    hone_toy_find(&toy, "model.layers.0.self_attn.q_proj.weight")->n_heads = 0;
    open_side(1, true);
    ck_assert_int_eq(compare_sides(NULL), HONE_OK);
    ck_assert_double_gt(entry("blk.0.attn_q.weight")->relative_rmse, 0.5);
    ck_assert_double_lt(entry("blk.0.attn_q.weight")->cosine, 0.8);
    ck_assert_double_eq(entry("blk.1.attn_q.weight")->rmse, 0);
}
END_TEST

START_TEST(tied_matrix_stands_for_both)
{
    toy.tied = true;
    hone_toy_fill(&toy);
    (void)strcpy(hone_toy_find(&toy, "model.embed_tokens.weight")->hf, "lm_head.weight");
    open_side(0, false);
    open_side(1, true);
    ck_assert_int_eq(compare_sides(NULL), HONE_OK);
    assert_all_equal(toy.n_tensors);
    ck_assert_str_eq(entry("token_embd.weight")->reference_name, "lm_head.weight");
    assert_all_matched();
}
END_TEST

START_TEST(dropped_output_is_compared_with_the_embedding)
{
    hone_toy_fill(&toy);
    open_side(0, false);
    hone_toy_find(&toy, "lm_head.weight")->not_gguf = true;
    open_side(1, true);
    ck_assert_int_eq(compare_sides(NULL), HONE_OK);
    ck_assert_uint_eq(hone_diff_n(diff), toy.n_tensors);
    double worst = 0;
    for (size_t i = 0; i < hone_diff_n(diff); i++)
        worst = fmax(worst, hone_diff_at(diff, i)->relative_rmse);
    ck_assert_double_gt(worst, 0.5);
}
END_TEST

START_TEST(lists_what_only_one_side_holds)
{
    hone_toy_fill(&toy);
    hone_toy_find(&toy, "model.layers.0.mlp.up_proj.weight")->not_gguf = true;
    hone_toy_find(&toy, "model.layers.1.input_layernorm.weight")->not_hf = true;
    open_side(0, false);
    open_side(1, true);
    ck_assert_int_eq(compare_sides(NULL), HONE_OK);
    ck_assert_uint_eq(hone_diff_n(diff), toy.n_tensors - 2);
    ck_assert_str_eq(hone_diff_unmatched(diff, 0, 0), "model.layers.0.mlp.up_proj.weight");
    ck_assert_ptr_null(hone_diff_unmatched(diff, 0, 1));
    ck_assert_str_eq(hone_diff_unmatched(diff, 1, 0), "blk.1.attn_norm.weight");
    ck_assert_ptr_null(hone_diff_unmatched(diff, 1, 1));
    ck_assert_ptr_null(hone_diff_unmatched(diff, 2, 0));
}
END_TEST

START_TEST(one_tensor_by_name)
{
    hone_toy_fill(&toy);
    open_side(0, false);
    open_side(1, true);
    ck_assert_int_eq(compare_sides("blk.1.ffn_down.weight"), HONE_OK);
    ck_assert_uint_eq(hone_diff_n(diff), 1);
    ck_assert_str_eq(hone_diff_at(diff, 0)->reference_name, "model.layers.1.mlp.down_proj.weight");
    ck_assert_ptr_null(hone_diff_unmatched(diff, 0, 0));
}
END_TEST

START_TEST(rejects_name_that_the_candidate_lacks)
{
    hone_toy_fill(&toy);
    open_side(0, false);
    open_side(1, true);
    ck_assert_int_eq(compare_sides("model.norm.weight"), HONE_ERROR_ARG);
    ck_assert_ptr_null(diff);
    ck_assert_str_eq(err.item, "model.norm.weight");
}
END_TEST

START_TEST(rejects_shapes_that_differ)
{
    hone_toy_fill(&toy);
    open_side(0, false);
    hone_toy_tensor *t = hone_toy_find(&toy, "model.layers.0.mlp.up_proj.weight");
    t->nrows--;
    open_side(1, true);
    ck_assert_int_eq(compare_sides(NULL), HONE_ERROR_DATA);
    ck_assert_str_eq(err.item, "blk.0.ffn_up.weight");
    ck_assert_ptr_nonnull(strstr(err.file, "toy.gguf"));
}
END_TEST

START_TEST(rejects_other_heads)
{
    hone_toy_fill(&toy);
    open_side(0, false);
    toy.n_kv_heads = 4;
    open_side(1, true);
    ck_assert_int_eq(compare_sides(NULL), HONE_ERROR_ARG);
}
END_TEST

START_TEST(nan_is_reported_and_not_averaged_away)
{
    hone_toy_fill(&toy);
    open_side(0, true);
    hone_toy_find(&toy, "model.norm.weight")->data[7] = NAN;
    hone_toy_find(&toy, "model.norm.weight")->data[3] = NAN;
    hone_toy_find(&toy, "model.norm.weight")->data[1] = 1e9f;
    open_side(1, true);
    ck_assert_int_eq(compare_sides(NULL), HONE_OK);
    const hone_tensor_diff *d = entry("output_norm.weight");
    ck_assert_double_nan(d->rmse);
    ck_assert_double_nan(d->relative_rmse);
    ck_assert_double_nan(d->max_abs);
    ck_assert_double_nan(d->cosine);
    ck_assert_uint_eq(d->max_index, 3);
}
END_TEST

START_TEST(zeros_are_parallel_to_zeros_alone)
{
    hone_toy_fill(&toy);
    hone_toy_tensor *norm = hone_toy_find(&toy, "model.norm.weight");
    hone_toy_tensor *up = hone_toy_find(&toy, "model.layers.0.mlp.up_proj.weight");
    memset(norm->data, 0, norm->nrows * sizeof(float));
    open_side(0, false);
    memset(up->data, 0, up->nrows * up->ncols * sizeof(float));
    open_side(1, false);
    ck_assert_int_eq(compare_sides(NULL), HONE_OK);
    ck_assert_double_eq(entry("model.norm.weight")->cosine, 1);
    ck_assert_double_eq(entry("model.norm.weight")->relative_rmse, 0);
    ck_assert_double_eq(entry("model.layers.0.mlp.up_proj.weight")->cosine, 0);
    ck_assert_double_eq_tol(entry("model.layers.0.mlp.up_proj.weight")->relative_rmse, 1, 1e-12);
}
END_TEST

/* Tensors of several chunks, the last one partial; reordered rows that do not divide a chunk. */
START_TEST(large_tensors_are_compared_in_chunks)
{
    toy.n_embd = 1001;
    toy.head_dim = 26;
    toy.n_vocab = 700;
    hone_toy_fill(&toy);
    open_side(0, kinds[_i][0]);
    hone_toy_tensor *q = hone_toy_find(&toy, "model.layers.1.self_attn.q_proj.weight");
    hone_toy_tensor *embedding = hone_toy_find(&toy, "model.embed_tokens.weight");
    q->data[q->nrows * q->ncols - 1] += 2; /* last row of the last head: last in either order */
    embedding->data[699 * 1001 + 1000] += 2;
    embedding->data[123 * 1001 + 45] += 1;
    open_side(1, kinds[_i][1]);
    ck_assert_int_eq(compare_sides(NULL), HONE_OK);
    const hone_tensor_diff *d = entry(kinds[_i][1] ? q->gguf : q->hf);
    ck_assert_double_eq_tol(d->max_abs, 2, 1e-6);
    ck_assert_double_eq_tol(d->rmse, 2 / sqrt(104 * 1001), 1e-6);
    ck_assert_uint_eq(d->max_index, q->nrows * q->ncols - 1);
    d = entry(kinds[_i][1] ? embedding->gguf : embedding->hf);
    ck_assert_double_eq_tol(d->rmse, sqrt(5.0 / (700 * 1001)), 1e-6);
    ck_assert_uint_eq(d->max_index, 700 * 1001 - 1);
}
END_TEST

static hone_status compare_once(void *user)
{
    (void)user;
    return compare_sides(NULL);
}

START_TEST(every_failed_allocation_is_reported)
{
    hone_toy_fill(&toy);
    open_side(0, false);
    open_side(1, true);
    fail_each_allocation(compare_once, NULL, 10);
    ck_assert_uint_eq(hone_diff_n(diff), toy.n_tensors);
}
END_TEST

Suite *hone_suite_diff(void)
{
    Suite *suite = suite_create("diff");
    TCase *core = add_tcase(suite, "core", set_up, tear_down);
    tcase_add_loop_test(core, a_model_equals_itself_under_either_naming, 0, 4);
    tcase_add_loop_test(core, one_changed_element_is_found, 0, 4);
    tcase_add_test(core, wrong_row_order_is_seen);
    tcase_add_test(core, tied_matrix_stands_for_both);
    tcase_add_test(core, dropped_output_is_compared_with_the_embedding);
    tcase_add_test(core, lists_what_only_one_side_holds);
    tcase_add_test(core, one_tensor_by_name);
    tcase_add_test(core, nan_is_reported_and_not_averaged_away);
    tcase_add_test(core, zeros_are_parallel_to_zeros_alone);
    tcase_add_loop_test(core, large_tensors_are_compared_in_chunks, 0, 4);
    TCase *bad = add_tcase(suite, "malformed", set_up, tear_down);
    tcase_add_test(bad, rejects_name_that_the_candidate_lacks);
    tcase_add_test(bad, rejects_shapes_that_differ);
    tcase_add_test(bad, rejects_other_heads);
    TCase *nomem = add_tcase(suite, "nomem", set_up, tear_down);
    tcase_add_test(nomem, every_failed_allocation_is_reported);
    return suite;
}
