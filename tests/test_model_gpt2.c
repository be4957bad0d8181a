/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/add_tcase.h"
#include "tests/support/diff_fixture.h"
#include "tests/support/gpt2_shapes.h"
#include "tests/support/model_run.h"
#include "tests/support/row_count.h"

Suite *hone_suite_model_gpt2(void);

enum { N_TOKENS = 50 }; /* more than a block of queries */

static hone_toy_gpt2 toy;

static void set_up(void)
{
    set_up_sides();
    toy = hone_toy_gpt2_sizes();
    note[0] = '\0';
}

static void tear_down(void)
{
    hone_toy_gpt2_free(&toy);
    tear_down_sides();
}

/* Runs the file at path and the toy itself on the same tokens. */
static void assert_equals_scalar_model(const char *path)
{
    int32_t tokens[N_TOKENS];
    spread_tokens(tokens, N_TOKENS, toy.n_vocab);
    double *expected = malloc(N_TOKENS * toy.n_vocab * sizeof *expected);
    hone_toy_gpt2_run(&toy, tokens, N_TOKENS, expected);
    float *logits;
    const hone_status status = run_model(path, 2, tokens, N_TOKENS, &logits, &err);
    ck_assert_msg(status == HONE_OK, "%s: %s", err.item, err.reason);
    assert_close(logits, expected, N_TOKENS * toy.n_vocab);
    free(logits);
    free(expected);
}

/* ---- the toy model in every shape ---- */

static const char *const shapes[] = {
    "plain",    "untied",          "inner_of_null", "inner_not_said",    "other_epsilon",
    "one_head", "gelu_new",        "gelu_fast",     "gelu_pytorch_tanh", "gelu",
    "unscaled", "scaled_by_layer", "bare_names",    "bare_names_untied", "stored_masks"};
enum { N_SHAPES = sizeof shapes / sizeof shapes[0], N_GGUF_SHAPES = 6 /* the others, GGUF has no key for */ };

START_TEST(hugging_face_checkpoint_equals_scalar_model)
{
    hone_gpt2_reshape(&toy, shapes[_i]);
    hone_toy_gpt2_fill(&toy);
    assert_equals_scalar_model(hone_toy_gpt2_write_hf(&toy, &dirs[0]));
    ck_assert_str_eq(note, "");
}
END_TEST

START_TEST(gguf_file_equals_scalar_model)
{
    hone_gpt2_reshape(&toy, shapes[_i]);
    hone_toy_gpt2_fill(&toy);
    assert_equals_scalar_model(hone_toy_gpt2_write_gguf(&toy, &dirs[0]));
    ck_assert_str_eq(note, "");
}
END_TEST

START_TEST(tied_model_may_store_only_its_output)
{
    hone_toy_gpt2_fill(&toy);
    hone_toy_tensor *embedding = hone_toy_gpt2_find(&toy, "wte.weight");
    (void)strcpy(embedding->hf, "lm_head.weight");
    const char *path = hone_toy_gpt2_write_hf(&toy, &dirs[0]);
    (void)strcpy(embedding->hf, "transformer.wte.weight");
    assert_equals_scalar_model(path);
}
END_TEST

/* ---- what is refused ---- */

START_TEST(rejects_sequence_beyond_the_last_position)
{
    toy.n_ctx = N_TOKENS;
    hone_toy_gpt2_fill(&toy);
    const char *path = hone_toy_gpt2_write_hf(&toy, &dirs[0]);
    const int32_t tokens[N_TOKENS + 1] = {0};
    float *logits;
    ck_assert_int_eq(run_model(path, 2, tokens, N_TOKENS, &logits, &err), HONE_OK);
    free(logits);
    ck_assert_int_eq(run_model(path, 2, tokens, N_TOKENS + 1, &logits, &err), HONE_ERROR_ARG);
    ck_assert_str_eq(err.reason, "sequences of 51 tokens; the model has 50 positions");
}
END_TEST

static const struct {
    const char *skip, *json; /* a key that is left out, and members that config.json gets */
    hone_status status;
    const char *item, *reason;
} bad_json[] = {
    {"vocab_size", "", HONE_ERROR_DATA, "vocab_size", "lacks"},
    {"n_embd", "", HONE_ERROR_DATA, "n_embd", "lacks"},
    {"n_layer", "", HONE_ERROR_DATA, "n_layer", "lacks"},
    {"n_head", "", HONE_ERROR_DATA, "n_head", "lacks"},
    {"n_embd", ", \"n_embd\": 24.5", HONE_ERROR_DATA, "n_embd", "whole number"},
    {"n_embd", ", \"n_embd\": 0", HONE_ERROR_DATA, "n_embd", "whole number"},
    {"n_embd", ", \"n_embd\": 200000", HONE_ERROR_DATA, "n_embd", "whole number"},
    {"n_layer", ", \"n_layer\": 5000", HONE_ERROR_DATA, "n_layer", "whole number"},
    {"n_inner", ", \"n_inner\": -1", HONE_ERROR_DATA, "n_inner", "whole number"},
    {"n_inner", ", \"n_inner\": \"28\"", HONE_ERROR_DATA, "n_inner", "whole number"},
    {"n_head", ", \"n_head\": 5", HONE_ERROR_DATA, "", "do not divide into 5 heads"},
    {"layer_norm_epsilon", ", \"layer_norm_epsilon\": -1", HONE_ERROR_DATA, "layer_norm_epsilon", "above 0"},
    {"", ", \"activation_function\": \"relu\"", HONE_ERROR_UNSUPPORTED, "activation_function", "relu"},
    {"", ", \"activation_function\": 1", HONE_ERROR_DATA, "activation_function", "string"},
    {"", ", \"scale_attn_weights\": 1", HONE_ERROR_DATA, "scale_attn_weights", "true or false"},
    {"", ", \"scale_attn_by_inverse_layer_idx\": 1", HONE_ERROR_DATA, "scale_attn_by_inverse_layer_idx",
     "true or false"},
    {"", ", \"add_cross_attention\": true", HONE_ERROR_UNSUPPORTED, "add_cross_attention", "another model"},
};

START_TEST(rejects_configuration)
{
    toy.skip_key = bad_json[_i].skip;
    toy.json_extra = bad_json[_i].json;
    hone_toy_gpt2_fill(&toy);
    const hone_status status = run_one_token(hone_toy_gpt2_write_hf(&toy, &dirs[0]), &err);
    ck_assert_msg(status == bad_json[_i].status, "%s%s: status %d, %s", bad_json[_i].skip, bad_json[_i].json, status,
                  err.reason);
    ck_assert_str_eq(err.item, bad_json[_i].item);
    ck_assert_ptr_nonnull(strstr(err.reason, bad_json[_i].reason));
    ck_assert_str_eq(err.file, dirs[0].path);
    ck_assert_uint_eq(err.offset, HONE_NO_OFFSET);
}
END_TEST

static const struct {
    const char *skip, *script; /* a key that is left out, and an entry that the GGUF file gets */
    const char *item, *reason;
} bad_gguf[] = {
    {"gpt2.context_length", NULL, "gpt2.context_length", "lacks"},
    {"gpt2.embedding_length", NULL, "gpt2.embedding_length", "lacks"},
    {"gpt2.block_count", NULL, "gpt2.block_count", "lacks"},
    {"gpt2.feed_forward_length", NULL, "gpt2.feed_forward_length", "lacks"},
    {"gpt2.attention.head_count", NULL, "gpt2.attention.head_count", "lacks"},
    {"gpt2.attention.layer_norm_epsilon", NULL, "gpt2.attention.layer_norm_epsilon", "lacks"},
    {"gpt2.block_count", "str=gpt2.block_count u32=6 f32=3", "gpt2.block_count", "whole number"},
    {"gpt2.attention.head_count", "str=gpt2.attention.head_count u32=4 u32=7", "", "do not divide into 7 heads"},
    {"gpt2.vocab_size", "str=gpt2.vocab_size u32=4 u32=41", "token_embd.weight", "40 rows for a vocabulary of 41"},
    {"gpt2.attention.layer_norm_epsilon", "str=gpt2.attention.layer_norm_epsilon u32=6 u32=0x7fc00000",
     "gpt2.attention.layer_norm_epsilon", "above 0"},
};

START_TEST(rejects_gguf_key)
{
    toy.skip_key = bad_gguf[_i].skip;
    toy.gguf_extra = bad_gguf[_i].script;
    toy.n_gguf_extra = bad_gguf[_i].script ? 1 : 0;
    hone_toy_gpt2_fill(&toy);
    const hone_status status = run_one_token(hone_toy_gpt2_write_gguf(&toy, &dirs[0]), &err);
    ck_assert_msg(status == HONE_ERROR_DATA, "%s: status %d, %s", bad_gguf[_i].skip, status, err.reason);
    ck_assert_str_eq(err.item, bad_gguf[_i].item);
    ck_assert_ptr_nonnull(strstr(err.reason, bad_gguf[_i].reason));
    ck_assert_uint_eq(err.offset, HONE_NO_OFFSET);
}
END_TEST

/* Each tensor in turn is absent, or of another shape. */
START_TEST(rejects_checkpoint_without_a_tensor)
{
    hone_toy_gpt2_fill(&toy);
    for (size_t i = 0; i < toy.n_tensors; i++) {
        hone_toy_tensor *t = &toy.tensors[i];
        t->not_hf = t->not_gguf = true;
        ck_assert_int_eq(run_one_token(hone_toy_gpt2_write_hf(&toy, &dirs[0]), &err), HONE_ERROR_DATA);
        ck_assert_str_eq(err.item, t->hf);
        ck_assert_str_eq(err.reason, "tensor is missing");
        ck_assert_int_eq(run_one_token(hone_toy_gpt2_write_gguf(&toy, &dirs[0]), &err), HONE_ERROR_DATA);
        ck_assert_str_eq(err.item, t->gguf);
        t->not_hf = t->not_gguf = false;
    }
}
END_TEST

START_TEST(rejects_misshapen_tensor)
{
    hone_toy_gpt2_fill(&toy);
    for (size_t i = 0; i < toy.n_tensors; i++) {
        hone_toy_tensor *t = &toy.tensors[i];
        t->nrows--;
        ck_assert_int_eq(run_one_token(hone_toy_gpt2_write_hf(&toy, &dirs[0]), &err), HONE_ERROR_DATA);
        ck_assert_str_eq(err.item, t->hf);
        ck_assert_ptr_nonnull(strstr(err.reason, "the configuration asks for"));
        ck_assert_int_eq(run_one_token(hone_toy_gpt2_write_gguf(&toy, &dirs[0]), &err), HONE_ERROR_DATA);
        ck_assert_str_eq(err.item, t->gguf);
        t->nrows++;
    }
}
END_TEST

/* (out, in), as a linear layer has it, where Hugging Face's GPT-2 has (in, out). */
START_TEST(rejects_matrix_that_is_not_transposed)
{
    hone_toy_gpt2_fill(&toy);
    hone_toy_gpt2_find(&toy, "h.1.mlp.c_fc.weight")->transposed = false;
    ck_assert_int_eq(run_one_token(hone_toy_gpt2_write_hf(&toy, &dirs[0]), &err), HONE_ERROR_DATA);
    ck_assert_str_eq(err.item, "transformer.h.1.mlp.c_fc.weight");
    ck_assert_str_eq(err.reason, "shape is [28, 24]; the configuration asks for [24, 28]");
}
END_TEST

START_TEST(every_failed_allocation_is_reported)
{
    toy.untied = true;
    hone_toy_gpt2_fill(&toy);
    run_with_failing_allocations(hone_toy_gpt2_write_hf(&toy, &dirs[0]));
    run_with_failing_allocations(hone_toy_gpt2_write_gguf(&toy, &dirs[0]));
}
END_TEST

/* ---- diff ---- */

static void open_side(int side, bool gguf)
{
    open_side_at(side, gguf ? hone_toy_gpt2_write_gguf(&toy, &dirs[side]) : hone_toy_gpt2_write_hf(&toy, &dirs[side]));
}

static void compare(hone_status expected)
{
    const hone_status status = compare_sides(NULL);
    ck_assert_msg(status == expected, "%s %s", err.item, err.reason);
}

START_TEST(a_model_equals_itself_under_either_naming)
{
    hone_toy_gpt2_fill(&toy);
    open_side(0, kinds[_i][0]);
    open_side(1, kinds[_i][1]);
    compare(HONE_OK);
    assert_all_equal(toy.n_tensors);
    assert_all_matched();
}
END_TEST

START_TEST(names_with_and_without_the_prefix_are_paired)
{
    hone_toy_gpt2_fill(&toy);
    open_side(0, false);
    const size_t n = toy.n_tensors;
    hone_toy_gpt2_free(&toy);
    toy.bare = true;
    hone_toy_gpt2_fill(&toy);
    open_side(1, false);
    compare(HONE_OK);
    assert_all_equal(n);
    assert_all_matched();
    ck_assert_str_eq(hone_diff_at(diff, 0)->name, "wte.weight");
    ck_assert_str_eq(hone_diff_at(diff, 0)->reference_name, "transformer.wte.weight");
}
END_TEST

START_TEST(masks_are_not_missed)
{
    toy.masks = true;
    hone_toy_gpt2_fill(&toy);
    open_side(0, false);
    open_side(1, true);
    compare(HONE_OK);
    assert_all_equal(toy.n_tensors - 2 * toy.n_layers);
    assert_all_matched();
}
END_TEST

/* A matrix of several chunks; the element's place is told in the candidate's own order. */
START_TEST(one_changed_element_of_a_transposed_matrix_is_found)
{
    toy.n_ff = 50000;
    toy.n_layers = 1;
    hone_toy_gpt2_fill(&toy);
    hone_toy_tensor *t = hone_toy_gpt2_find(&toy, "h.0.mlp.c_fc.weight");
    open_side(0, kinds[_i][0]);
    const size_t row = 49000, col = 5;
    t->data[row * t->ncols + col] += 2;
    open_side(1, kinds[_i][1]);
    compare(HONE_OK);
    const bool gguf = kinds[_i][1];
    size_t n_found = 0;
    for (size_t i = 0; i < hone_diff_n(diff); i++) {
        const hone_tensor_diff *d = hone_diff_at(diff, i);
        if (strcmp(d->name, gguf ? t->gguf : t->hf) != 0) {
            ck_assert_double_eq(d->rmse, 0);
            continue;
        }
        n_found++;
        ck_assert_double_eq_tol(d->max_abs, 2, 1e-6);
        ck_assert_double_eq_tol(d->rmse, 2 / sqrt(24 * 50000), 1e-8);
        ck_assert_uint_eq(d->max_index, gguf ? row * t->ncols + col : col * t->nrows + row);
    }
    ck_assert_uint_eq(n_found, 1);
}
END_TEST

START_TEST(rejects_matrix_that_differs_in_shape)
{
    hone_toy_gpt2_fill(&toy);
    open_side(0, false);
    hone_toy_gpt2_find(&toy, "h.2.attn.c_attn.weight")->nrows--;
    open_side(1, true);
    compare(HONE_ERROR_DATA);
    ck_assert_str_eq(err.item, "blk.2.attn_qkv.weight");
    ck_assert_ptr_nonnull(strstr(err.reason, "transposed"));
}
END_TEST

Suite *hone_suite_model_gpt2(void)
{
    Suite *suite = suite_create("model_gpt2");
    TCase *core = add_tcase(suite, "core", set_up, tear_down);
    tcase_add_loop_test(core, hugging_face_checkpoint_equals_scalar_model, 0, N_SHAPES);
    tcase_add_loop_test(core, gguf_file_equals_scalar_model, 0, N_GGUF_SHAPES);
    tcase_add_test(core, tied_model_may_store_only_its_output);
    tcase_add_loop_test(core, a_model_equals_itself_under_either_naming, 0, 4);
    tcase_add_test(core, names_with_and_without_the_prefix_are_paired);
    tcase_add_test(core, masks_are_not_missed);
    tcase_add_loop_test(core, one_changed_element_of_a_transposed_matrix_is_found, 0, 4);
    TCase *bad = add_tcase(suite, "malformed", set_up, tear_down);
    tcase_add_test(bad, rejects_sequence_beyond_the_last_position);
    tcase_add_loop_test(bad, rejects_configuration, 0, COUNT(bad_json));
    tcase_add_loop_test(bad, rejects_gguf_key, 0, COUNT(bad_gguf));
    tcase_add_test(bad, rejects_checkpoint_without_a_tensor);
    tcase_add_test(bad, rejects_misshapen_tensor);
    tcase_add_test(bad, rejects_matrix_that_is_not_transposed);
    tcase_add_test(bad, rejects_matrix_that_differs_in_shape);
    TCase *nomem = add_tcase(suite, "nomem", set_up, tear_down);
    tcase_add_test(nomem, every_failed_allocation_is_reported);
    return suite;
}
