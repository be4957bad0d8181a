/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "hone/verify.h"
#include "tests/support/toy_gpt2.h"

Suite *hone_suite_model_gpt2(void);

/* Seconds; a machine busy with other work needs many times what an idle one does. */
enum { TIMEOUT = 60 };

enum { N_TOKENS = 50 }; /* more than a block of queries */

static hone_temp_dir dirs[2]; /* two, so that two checkpoints of the same kind can be compared */
static hone_toy_gpt2 toy;
static hone_error err;
static char note[512];

static void set_up(void)
{
    for (int i = 0; i < 2; i++)
        hone_temp_dir_init(&dirs[i]);
    toy = hone_toy_gpt2_sizes();
    err = (hone_error){0};
    note[0] = '\0';
}

static void tear_down(void)
{
    hone_mem_fail_after(-1);
    hone_toy_gpt2_free(&toy);
    for (int i = 0; i < 2; i++)
        hone_temp_dir_deinit(&dirs[i]);
}

static void take_note(void *user, const char *text)
{
    (void)user;
    (void)snprintf(note, sizeof note, "%s", text);
}

/* Everything from a path to logits (n, n_vocab); on failure *logits is NULL. */
static hone_status run(const char *path, const int32_t *tokens, size_t n, float **logits)
{
    const hone_context_options opts = {.n_threads = 2, .note = take_note};
    hone_context *ctx = NULL;
    hone_checkpoint *ckpt = NULL;
    hone_model *model = NULL;
    *logits = NULL;
    hone_status status = hone_context_new(&opts, &ctx, &err);
    if (status == HONE_OK)
        status = hone_checkpoint_open(path, NULL, &ckpt, &err);
    if (status == HONE_OK)
        status = hone_model_load(ctx, ckpt, &model, &err);
    if (status == HONE_OK) {
        *logits = malloc(n * hone_model_n_vocab(model) * sizeof **logits);
        ck_assert_ptr_nonnull(*logits);
        status = hone_model_logits(ctx, model, tokens, n, *logits, &err);
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

static hone_status run_one(const char *path)
{
    const int32_t token = 3;
    float *logits;
    const hone_status status = run(path, &token, 1, &logits);
    free(logits);
    return status;
}

/* Runs the file at path and the toy itself on the same tokens. */
static void assert_equals_scalar_model(const char *path)
{
    int32_t tokens[N_TOKENS];
    for (size_t i = 0; i < N_TOKENS; i++)
        tokens[i] = (int32_t)((i * i * 7 + i) % toy.n_vocab);
    double *expected = malloc(N_TOKENS * toy.n_vocab * sizeof *expected);
    hone_toy_gpt2_run(&toy, tokens, N_TOKENS, expected);
    float *logits;
    const hone_status status = run(path, tokens, N_TOKENS, &logits);
    ck_assert_msg(status == HONE_OK, "%s: %s", err.item, err.reason);
    double largest = 0;
    for (size_t i = 0; i < N_TOKENS * toy.n_vocab; i++) {
        ck_assert_double_eq_tol((double)logits[i], expected[i], 2e-5);
        largest = fmax(largest, fabs(expected[i]));
    }
    ck_assert_double_gt(largest, 1); /* the comparison is not of zeros */
    free(logits);
    free(expected);
}

/* ---- the toy model in every shape ---- */

static void plain(void)
{
}
static void untied(void)
{
    toy.untied = true;
}
static void inner_of_null(void)
{
    toy.no_inner = true;
    toy.n_ff = 4 * toy.n_embd;
}
static void inner_not_said(void)
{
    toy.skip_key = "n_inner";
    toy.n_ff = 4 * toy.n_embd;
}
static void other_epsilon(void)
{
    toy.eps = 0.125;
}
static void one_head(void)
{
    toy.n_heads = 1;
}
static void gelu_new(void)
{
    toy.act = "gelu_new";
}
static void gelu_fast(void)
{
    toy.act = "gelu_fast";
}
static void gelu_pytorch_tanh(void)
{
    toy.act = "gelu_pytorch_tanh";
}
static void gelu(void)
{
    toy.act = "gelu";
    toy.exact_gelu = true;
}
static void unscaled(void)
{
    toy.unscaled = true;
}
static void scaled_by_layer(void)
{
    toy.layered = true;
}
static void bare_names(void)
{
    toy.bare = true;
}
static void bare_names_untied(void)
{
    toy.bare = toy.untied = true;
}
static void stored_masks(void)
{
    toy.masks = true;
}

static void (*const shapes[])(void) = {plain,    untied,          inner_of_null, inner_not_said,    other_epsilon,
                                       one_head, gelu_new,        gelu_fast,     gelu_pytorch_tanh, gelu,
                                       unscaled, scaled_by_layer, bare_names,    bare_names_untied, stored_masks};
enum { N_SHAPES = sizeof shapes / sizeof shapes[0], N_GGUF_SHAPES = 6 /* the others, GGUF has no key for */ };

START_TEST(hugging_face_checkpoint_equals_scalar_model)
{
    shapes[_i]();
    hone_toy_gpt2_fill(&toy);
    assert_equals_scalar_model(hone_toy_gpt2_write_hf(&toy, &dirs[0]));
    ck_assert_str_eq(note, "");
}
END_TEST

START_TEST(gguf_file_equals_scalar_model)
{
    shapes[_i]();
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
    ck_assert_int_eq(run(path, tokens, N_TOKENS, &logits), HONE_OK);
    free(logits);
    ck_assert_int_eq(run(path, tokens, N_TOKENS + 1, &logits), HONE_ERROR_ARG);
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
    const hone_status status = run_one(hone_toy_gpt2_write_hf(&toy, &dirs[0]));
    ck_assert_msg(status == bad_json[_i].status, "%s%s: status %d, %s", bad_json[_i].skip, bad_json[_i].json, status,
                  err.reason);
    ck_assert_str_eq(err.item, bad_json[_i].item);
    ck_assert_ptr_nonnull(strstr(err.reason, bad_json[_i].reason));
    /* A contradiction of two keys names none; a missing weight is the weights' fault. */
    const bool key = !strchr(err.item, '.');
    ck_assert_str_eq(err.file, key && err.item[0] ? hone_temp_path(&dirs[0], "config.json") : dirs[0].path);
    ck_assert_uint_eq(err.offset, key && err.item[0]
                                      ? hone_temp_key_offset(&dirs[0], "config.json", "", bad_json[_i].item)
                                      : HONE_NO_OFFSET);
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
    const hone_status status = run_one(hone_toy_gpt2_write_gguf(&toy, &dirs[0]));
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
        ck_assert_int_eq(run_one(hone_toy_gpt2_write_hf(&toy, &dirs[0])), HONE_ERROR_DATA);
        ck_assert_str_eq(err.item, t->hf);
        ck_assert_str_eq(err.reason, "tensor is missing");
        ck_assert_int_eq(run_one(hone_toy_gpt2_write_gguf(&toy, &dirs[0])), HONE_ERROR_DATA);
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
        ck_assert_int_eq(run_one(hone_toy_gpt2_write_hf(&toy, &dirs[0])), HONE_ERROR_DATA);
        ck_assert_str_eq(err.item, t->hf);
        ck_assert_ptr_nonnull(strstr(err.reason, "the configuration asks for"));
        ck_assert_int_eq(run_one(hone_toy_gpt2_write_gguf(&toy, &dirs[0])), HONE_ERROR_DATA);
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
    ck_assert_int_eq(run_one(hone_toy_gpt2_write_hf(&toy, &dirs[0])), HONE_ERROR_DATA);
    ck_assert_str_eq(err.item, "transformer.h.1.mlp.c_fc.weight");
    ck_assert_str_eq(err.reason, "shape is [28, 24]; the configuration asks for [24, 28]");
}
END_TEST

START_TEST(every_failed_allocation_is_reported)
{
    toy.untied = true;
    hone_toy_gpt2_fill(&toy);
    for (int gguf = 0; gguf < 2; gguf++) {
        char path[512];
        (void)snprintf(path, sizeof path, "%s",
                       gguf ? hone_toy_gpt2_write_gguf(&toy, &dirs[0]) : hone_toy_gpt2_write_hf(&toy, &dirs[0]));
        hone_status status = HONE_ERROR_NOMEM;
        for (long n = 0; status != HONE_OK; n++) {
            ck_assert_int_lt(n, 2000);
            hone_mem_fail_after(n);
            status = run_one(path);
            hone_mem_fail_after(-1);
            if (status != HONE_OK)
                ck_assert_int_eq(status, HONE_ERROR_NOMEM);
        }
    }
}
END_TEST

/* ---- diff ---- */

static hone_context *ctx;
static hone_checkpoint *sides[2];
static hone_diff *diff;

static void open_side(int side, bool gguf)
{
    const char *path = gguf ? hone_toy_gpt2_write_gguf(&toy, &dirs[side]) : hone_toy_gpt2_write_hf(&toy, &dirs[side]);
    const hone_status status = hone_checkpoint_open(path, NULL, &sides[side], &err);
    ck_assert_msg(status == HONE_OK, "%s %s", err.item, err.reason);
}

static void compare(hone_status expected)
{
    const hone_context_options opts = {.n_threads = 2};
    ck_assert_int_eq(hone_context_new(&opts, &ctx, &err), HONE_OK);
    const hone_status status = hone_diff_run(ctx, sides[0], sides[1], NULL, &diff, &err);
    ck_assert_msg(status == expected, "%s %s", err.item, err.reason);
}

static void close_sides(void)
{
    hone_diff_free(diff);
    for (int i = 0; i < 2; i++)
        hone_checkpoint_close(sides[i]);
    hone_context_free(ctx);
}

/* Reference and candidate, each Hugging Face or GGUF. */
static const bool kinds[][2] = {{false, false}, {true, true}, {false, true}, {true, false}};

static void assert_all_equal(size_t n)
{
    ck_assert_uint_eq(hone_diff_n(diff), n);
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(hone_diff_at(diff, i)->rmse == 0, "%s differs", hone_diff_at(diff, i)->name);
    for (int side = 0; side < 2; side++)
        ck_assert_ptr_null(hone_diff_unmatched(diff, side, 0));
}

START_TEST(a_model_equals_itself_under_either_naming)
{
    hone_toy_gpt2_fill(&toy);
    open_side(0, kinds[_i][0]);
    open_side(1, kinds[_i][1]);
    compare(HONE_OK);
    assert_all_equal(toy.n_tensors);
    close_sides();
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
    ck_assert_str_eq(hone_diff_at(diff, 0)->name, "wte.weight");
    ck_assert_str_eq(hone_diff_at(diff, 0)->reference_name, "transformer.wte.weight");
    close_sides();
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
    close_sides();
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
    close_sides();
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
    close_sides();
}
END_TEST

#define N_ROWS(table) (int)(sizeof(table) / sizeof(table)[0])

Suite *hone_suite_model_gpt2(void)
{
    Suite *suite = suite_create("model_gpt2");
    TCase *core = tcase_create("core");
    tcase_set_timeout(core, TIMEOUT);
    tcase_add_checked_fixture(core, set_up, tear_down);
    tcase_add_loop_test(core, hugging_face_checkpoint_equals_scalar_model, 0, N_SHAPES);
    tcase_add_loop_test(core, gguf_file_equals_scalar_model, 0, N_GGUF_SHAPES);
    tcase_add_test(core, tied_model_may_store_only_its_output);
    tcase_add_loop_test(core, a_model_equals_itself_under_either_naming, 0, 4);
    tcase_add_test(core, names_with_and_without_the_prefix_are_paired);
    tcase_add_test(core, masks_are_not_missed);
    tcase_add_loop_test(core, one_changed_element_of_a_transposed_matrix_is_found, 0, 4);
    suite_add_tcase(suite, core);
    TCase *bad = tcase_create("malformed");
    tcase_set_timeout(bad, TIMEOUT);
    tcase_add_checked_fixture(bad, set_up, tear_down);
    tcase_add_test(bad, rejects_sequence_beyond_the_last_position);
    tcase_add_loop_test(bad, rejects_configuration, 0, N_ROWS(bad_json));
    tcase_add_loop_test(bad, rejects_gguf_key, 0, N_ROWS(bad_gguf));
    tcase_add_test(bad, rejects_checkpoint_without_a_tensor);
    tcase_add_test(bad, rejects_misshapen_tensor);
    tcase_add_test(bad, rejects_matrix_that_is_not_transposed);
    tcase_add_test(bad, rejects_matrix_that_differs_in_shape);
    suite_add_tcase(suite, bad);
    TCase *nomem = tcase_create("nomem");
    tcase_set_timeout(nomem, TIMEOUT);
    tcase_add_checked_fixture(nomem, set_up, tear_down);
    tcase_add_test(nomem, every_failed_allocation_is_reported);
    suite_add_tcase(suite, nomem);
    return suite;
}
