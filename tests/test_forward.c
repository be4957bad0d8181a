/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/add_tcase.h"
#include "tests/support/model_run.h"
#include "tests/support/row_count.h"
#include "tests/support/test_dir.h"
#include "tests/support/toy_llama.h"
#include "verify/model_impl.h"

Suite *hone_suite_forward(void);

enum { N_TOKENS = 50 }; /* more than a block of queries */

static hone_toy toy;

static void set_up(void)
{
    make_dir();
    toy = hone_toy_sizes();
    note[0] = '\0';
    n_notes = 0;
}

static void tear_down(void)
{
    hone_toy_free(&toy);
    remove_dir();
}

static float *logits_of(const char *path, int n_threads, const int32_t *tokens)
{
    hone_error err = {0};
    float *logits;
    const hone_status status = run_model(path, n_threads, tokens, N_TOKENS, &logits, &err);
    ck_assert_msg(status == HONE_OK, "%s: %s", err.item, err.reason);
    return logits;
}

/* ---- the toy model in every shape ---- */

static void plain(void)
{
}
static void attention_bias(void)
{
    toy.attn_bias = true;
}
static void mlp_bias(void)
{
    toy.mlp_bias = true;
}
static void one_shared_head(void)
{
    toy.n_kv_heads = 1;
}
static void no_sharing(void)
{
    toy.n_kv_heads = 4;
}
static void wide_heads(void)
{
    toy.head_dim = 10; /* 4 heads of 10 in a model of 24 */
}
static void tied(void)
{
    toy.tied = true;
}
static void other_theta(void)
{
    toy.theta = 500000;
    toy.eps = 0.125;
}
static void linear_rope(void)
{
    toy.linear_factor = 4;
}
static void llama3_rope(void)
{
    /* Wavelengths 6.3, 135 and 2916 over a context of 300: kept, in between, stretched. */
    toy.llama3_factor = 8;
    toy.llama3_low = 1;
    toy.llama3_high = 4;
    toy.llama3_ctx = 300;
}
static void sliding_window(void)
{
    toy.window = 7;
}

static void experts(void)
{
    toy.n_experts = 5;
    toy.n_experts_used = 2;
}
static void all_experts(void)
{
    toy.n_experts = toy.n_experts_used = 3;
    toy.window = 9;
}

static void (*const shapes[])(void) = {plain,          attention_bias, mlp_bias,    one_shared_head, no_sharing,
                                       wide_heads,     tied,           other_theta, linear_rope,     llama3_rope,
                                       sliding_window, experts,        all_experts};
enum { N_SHAPES = sizeof shapes / sizeof shapes[0] };

START_TEST(hugging_face_checkpoint_equals_scalar_model)
{
    shapes[_i]();
    hone_toy_fill(&toy);
    int32_t tokens[N_TOKENS];
    spread_tokens(tokens, N_TOKENS, toy.n_vocab);
    double *expected = malloc(N_TOKENS * toy.n_vocab * sizeof *expected);
    hone_toy_run(&toy, tokens, N_TOKENS, expected);
    float *logits = logits_of(hone_toy_write_hf(&toy, &dir), 2, tokens);
    assert_close(logits, expected, N_TOKENS * toy.n_vocab);
    ck_assert_int_eq(n_notes, 0);
    free(logits);
    free(expected);
}
END_TEST

START_TEST(gguf_file_equals_scalar_model)
{
    shapes[_i]();
    toy.window = 0; /* its runtime knows no window */
    hone_toy_fill(&toy);
    int32_t tokens[N_TOKENS];
    spread_tokens(tokens, N_TOKENS, toy.n_vocab);
    double *expected = malloc(N_TOKENS * toy.n_vocab * sizeof *expected);
    hone_toy_run(&toy, tokens, N_TOKENS, expected);
    float *logits = logits_of(hone_toy_write_gguf(&toy, &dir), 1, tokens);
    assert_close(logits, expected, N_TOKENS * toy.n_vocab);
    free(logits);
    free(expected);
}
END_TEST

START_TEST(window_is_felt)
{
    toy.window = 7;
    hone_toy_fill(&toy);
    int32_t tokens[N_TOKENS];
    spread_tokens(tokens, N_TOKENS, toy.n_vocab);
    float *with = logits_of(hone_toy_write_hf(&toy, &dir), 1, tokens);
    toy.window = 1000;
    float *without = logits_of(hone_toy_write_hf(&toy, &dir), 1, tokens);
    ck_assert_mem_eq(with, without, 7 * toy.n_vocab * sizeof *with);
    ck_assert_double_gt(fabs((double)with[7 * toy.n_vocab] - (double)without[7 * toy.n_vocab]), 1e-3);
    free(with);
    free(without);
}
END_TEST

START_TEST(tied_model_may_store_only_its_output)
{
    toy.tied = true;
    hone_toy_fill(&toy);
    int32_t tokens[N_TOKENS];
    spread_tokens(tokens, N_TOKENS, toy.n_vocab);
    double *expected = malloc(N_TOKENS * toy.n_vocab * sizeof *expected);
    hone_toy_run(&toy, tokens, N_TOKENS, expected);
    (void)strcpy(hone_toy_find(&toy, "model.embed_tokens.weight")->hf, "lm_head.weight");
    float *logits = logits_of(hone_toy_write_hf(&toy, &dir), 1, tokens);
    assert_close(logits, expected, N_TOKENS * toy.n_vocab);
    free(logits);
    free(expected);
}
END_TEST

/* What transformers does: a configuration that ties two different matrices is wrong, and the file right. */
START_TEST(tied_model_that_stores_two_matrices_uses_both_and_says_so)
{
    hone_toy_fill(&toy);
    int32_t tokens[N_TOKENS];
    spread_tokens(tokens, N_TOKENS, toy.n_vocab);
    double *expected = malloc(N_TOKENS * toy.n_vocab * sizeof *expected);
    hone_toy_run(&toy, tokens, N_TOKENS, expected);
    toy.tied = true;
    float *logits = logits_of(hone_toy_write_hf(&toy, &dir), 1, tokens);
    assert_close(logits, expected, N_TOKENS * toy.n_vocab);
    ck_assert_ptr_nonnull(strstr(note, "both are stored and differ"));
    free(logits);
    free(expected);
}
END_TEST

START_TEST(sequence_beyond_the_trained_context_is_noted_once)
{
    toy.n_ctx = N_TOKENS - 1;
    hone_toy_fill(&toy);
    int32_t tokens[N_TOKENS];
    spread_tokens(tokens, N_TOKENS, toy.n_vocab);
    free(logits_of(hone_toy_write_hf(&toy, &dir), 1, tokens));
    ck_assert_int_eq(n_notes, 1);
    ck_assert_ptr_nonnull(strstr(note, "trained on at most 49"));
}
END_TEST

/* ---- what is refused ---- */

static const struct {
    const char *what, *json; /* members that config.json gets */
    hone_status status;
    const char *item;
} bad_json[] = {
    {"an activation of another kind", ", \"hidden_act\": \"gelu\"", HONE_ERROR_UNSUPPORTED, "hidden_act"},
    {"an activation that is no string", ", \"hidden_act\": 3", HONE_ERROR_DATA, "hidden_act"},
    {"yarn scaling", ", \"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 2.0}", HONE_ERROR_UNSUPPORTED,
     "rope_scaling"},
    {"dynamic scaling", ", \"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 2.0}", HONE_ERROR_UNSUPPORTED,
     "rope_scaling"},
    {"scaling that is no object", ", \"rope_scaling\": 2", HONE_ERROR_DATA, "rope_scaling"},
    {"scaling by layer", ", \"rope_parameters\": {\"full_attention\": {}}", HONE_ERROR_UNSUPPORTED, "full_attention"},
    {"linear scaling without a factor", ", \"rope_scaling\": {\"type\": \"linear\"}", HONE_ERROR_DATA, "factor"},
    {"linear scaling by zero", ", \"rope_scaling\": {\"type\": \"linear\", \"factor\": 0}", HONE_ERROR_DATA, "factor"},
    {"llama3 scaling without a band",
     ", \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 4, \"high_freq_factor\": 4}",
     HONE_ERROR_DATA, "high_freq_factor"},
    {"heads rotated in part", ", \"partial_rotary_factor\": 0.5", HONE_ERROR_UNSUPPORTED, "partial_rotary_factor"},
};

START_TEST(rejects_configuration)
{
    toy.json_extra = bad_json[_i].json;
    hone_toy_fill(&toy);
    hone_error err = {0};
    const hone_status status = run_one_token(hone_toy_write_hf(&toy, &dir), &err);
    ck_assert_msg(status == bad_json[_i].status, "%s: status %d, %s", bad_json[_i].what, status, err.reason);
    ck_assert_str_eq(err.item, bad_json[_i].item);
    ck_assert_str_eq(err.file, hone_temp_path(&dir, "config.json"));
    ck_assert_uint_eq(err.offset, bad_json[_i].item[0]
                                      ? hone_temp_key_offset(&dir, "config.json", "", bad_json[_i].item)
                                      : HONE_NO_OFFSET);
}
END_TEST

static const struct {
    const char *what, *script; /* an entry that the GGUF file gets */
    hone_status status;
    const char *item;
} bad_gguf[] = {
    {"experts", "str=llama.expert_count u32=4 u32=8", HONE_ERROR_DATA, "llama.expert_used_count"},
    {"yarn scaling", "str=llama.rope.scaling.type u32=8 str=yarn", HONE_ERROR_UNSUPPORTED, "rope.scaling.type"},
    {"a scaling type that is no string", "str=llama.rope.scaling.type u32=4 u32=1", HONE_ERROR_DATA,
     "llama.rope.scaling.type"},
    {"a factor that is an integer", "str=llama.rope.scaling.factor u32=4 u32=2", HONE_ERROR_DATA,
     "llama.rope.scaling.factor"},
    {"a negative factor", "str=llama.rope.scaling.factor u32=6 f32=-1", HONE_ERROR_DATA, "llama.rope.scaling.factor"},
    {"a factor that is not a number", "str=llama.rope.scaling.factor u32=6 u32=0x7fc00000", HONE_ERROR_DATA,
     "llama.rope.scaling.factor"},
};

START_TEST(rejects_gguf_key)
{
    toy.gguf_extra = bad_gguf[_i].script;
    toy.n_gguf_extra = 1;
    hone_toy_fill(&toy);
    hone_error err = {0};
    const hone_status status = run_one_token(hone_toy_write_gguf(&toy, &dir), &err);
    ck_assert_msg(status == bad_gguf[_i].status, "%s: status %d, %s", bad_gguf[_i].what, status, err.reason);
    ck_assert_str_eq(err.item, bad_gguf[_i].item);
    ck_assert_uint_eq(err.offset, HONE_NO_OFFSET);
}
END_TEST

/* Sizes that the tensors contradict, or that contradict each other. */
static const struct {
    const char *what;
    size_t offset; /* of the size in hone_toy */
    size_t value;
    hone_status hf, gguf;
    const char *hf_item, *gguf_item;
} bad_sizes[] = {
    {"one token more", offsetof(hone_toy, n_vocab), 41, HONE_ERROR_DATA, HONE_ERROR_DATA, "model.embed_tokens.weight",
     "token_embd.weight"},
    {"a narrower model", offsetof(hone_toy, n_embd), 20, HONE_ERROR_DATA, HONE_ERROR_DATA, "model.embed_tokens.weight",
     "token_embd.weight"},
    {"a wider layer", offsetof(hone_toy, n_ff), 29, HONE_ERROR_DATA, HONE_ERROR_DATA,
     "model.layers.0.mlp.gate_proj.weight", "blk.0.ffn_gate.weight"},
    {"one layer more", offsetof(hone_toy, n_layers), 3, HONE_ERROR_DATA, HONE_ERROR_DATA,
     "model.layers.2.input_layernorm.weight", "blk.2.attn_norm.weight"},
    {"too many layers", offsetof(hone_toy, n_layers), 5000, HONE_ERROR_DATA, HONE_ERROR_DATA, "num_hidden_layers",
     "llama.block_count"},
    {"no layer", offsetof(hone_toy, n_layers), 0, HONE_ERROR_DATA, HONE_ERROR_DATA, "num_hidden_layers",
     "llama.block_count"},
    {"heads that do not share evenly", offsetof(hone_toy, n_heads), 3, HONE_ERROR_DATA, HONE_ERROR_DATA, "", ""},
    {"more heads than rows", offsetof(hone_toy, n_heads), 8, HONE_ERROR_DATA, HONE_ERROR_DATA,
     "model.layers.0.self_attn.q_proj.weight", "blk.0.attn_q.weight"},
    {"an odd head", offsetof(hone_toy, head_dim), 5, HONE_ERROR_DATA, HONE_ERROR_DATA, "", ""},
    {"heads wider than any row", offsetof(hone_toy, head_dim), 400000, HONE_ERROR_LIMIT, HONE_ERROR_LIMIT, "", ""},
    {"fewer key-value heads", offsetof(hone_toy, n_kv_heads), 1, HONE_ERROR_DATA, HONE_ERROR_DATA,
     "model.layers.0.self_attn.k_proj.weight", "blk.0.attn_k.weight"},
};

START_TEST(rejects_sizes_that_the_tensors_contradict)
{
    hone_toy_fill(&toy);
    memcpy((char *)&toy + bad_sizes[_i].offset, &bad_sizes[_i].value, sizeof(size_t));
    hone_error err = {0};
    hone_status status = run_one_token(hone_toy_write_hf(&toy, &dir), &err);
    ck_assert_msg(status == bad_sizes[_i].hf, "%s: status %d, %s", bad_sizes[_i].what, status, err.reason);
    ck_assert_str_eq(err.item, bad_sizes[_i].hf_item);
    status = run_one_token(hone_toy_write_gguf(&toy, &dir), &err);
    ck_assert_msg(status == bad_sizes[_i].gguf, "%s: status %d, %s", bad_sizes[_i].what, status, err.reason);
    ck_assert_str_eq(err.item, bad_sizes[_i].gguf_item);
}
END_TEST

START_TEST(rejects_missing_tensor)
{
    hone_toy_fill(&toy);
    hone_toy_find(&toy, "model.layers.1.mlp.up_proj.weight")->not_hf = true;
    hone_error err = {0};
    ck_assert_int_eq(run_one_token(hone_toy_write_hf(&toy, &dir), &err), HONE_ERROR_DATA);
    ck_assert_str_eq(err.item, "model.layers.1.mlp.up_proj.weight");
}
END_TEST

START_TEST(rejects_bias_that_the_configuration_promises)
{
    hone_toy_fill(&toy);
    toy.attn_bias = true;
    hone_error err = {0};
    ck_assert_int_eq(run_one_token(hone_toy_write_hf(&toy, &dir), &err), HONE_ERROR_DATA);
    ck_assert_str_eq(err.item, "model.layers.0.self_attn.q_proj.bias");
}
END_TEST

START_TEST(rejects_rope_divisor_of_zero)
{
    llama3_rope();
    hone_toy_fill(&toy);
    toy.tensors[toy.n_tensors - 1].data[1] = 0;
    hone_error err = {0};
    ck_assert_int_eq(run_one_token(hone_toy_write_gguf(&toy, &dir), &err), HONE_ERROR_DATA);
    ck_assert_str_eq(err.item, "rope_freqs.weight");
}
END_TEST

START_TEST(rejects_unknown_architecture)
{
    hone_toy_fill(&toy);
    (void)hone_toy_write_hf(&toy, &dir);
    (void)hone_temp_text(&dir, "config.json", "{\"architectures\": [\"OtherForCausalLM\"]}");
    hone_error err = {0};
    ck_assert_int_eq(run_one_token(dir.path, &err), HONE_ERROR_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.reason, "OtherForCausalLM"));
    ck_assert_str_eq(err.file, dir.path);
}
END_TEST

START_TEST(rejects_token_outside_the_vocabulary)
{
    hone_toy_fill(&toy);
    const char *path = hone_toy_write_hf(&toy, &dir);
    const int32_t tokens[2][3] = {{1, 39, 40}, {1, -1, 2}};
    for (size_t i = 0; i < 2; i++) {
        hone_error err = {0};
        float *logits;
        ck_assert_int_eq(run_model(path, 1, tokens[i], 3, &logits, &err), HONE_ERROR_ARG);
        ck_assert_uint_eq(err.offset, 2 - i);
    }
}
END_TEST

START_TEST(rejects_empty_sequence)
{
    hone_toy_fill(&toy);
    hone_error err = {0};
    float *logits;
    const int32_t token = 0;
    ck_assert_int_eq(run_model(hone_toy_write_hf(&toy, &dir), 1, &token, 0, &logits, &err), HONE_ERROR_ARG);
}
END_TEST

/* A stream taken aside before a layer and put back after another sequence has run gives the same hidden states. */
START_TEST(a_pass_goes_on_from_a_kept_stream)
{
    enum { N = 4 };
    const int32_t tokens[N] = {1, 2, 0, 3}, others[2] = {3, 3};
    hone_toy_fill(&toy);
    hone_context *ctx;
    hone_checkpoint *ckpt;
    hone_model *model;
    hone_run r;
    hone_error err = {0};
    ck_assert_int_eq(hone_context_new(NULL, &ctx, &err), HONE_OK);
    ck_assert_int_eq(hone_checkpoint_open(hone_toy_write_hf(&toy, &dir), NULL, &ckpt, &err), HONE_OK);
    ck_assert_int_eq(hone_model_load(ctx, ckpt, &model, &err), HONE_OK);
    ck_assert_int_eq(hone_run_init(ctx, model, N, &r, &err), HONE_OK);
    const size_t nbytes = N * model->n_embd * sizeof(float);
    float *whole = malloc(nbytes), *kept = malloc(nbytes);
    ck_assert_int_eq(hone_run_sequence(&r, tokens, N, &err), HONE_OK);
    memcpy(whole, r.hidden, nbytes);
    for (size_t stop = 0; stop <= model->n_layers; stop++) {
        ck_assert_int_eq(hone_run_begin(&r, tokens, N, &err), HONE_OK);
        for (size_t i = 0; i < stop; i++)
            hone_run_layer(&r, i);
        memcpy(kept, r.hidden, nbytes);
        ck_assert_int_eq(hone_run_sequence(&r, others, 2, &err), HONE_OK);
        memcpy(r.hidden, kept, nbytes);
        ck_assert_int_eq(hone_run_resume(&r, N, &err), HONE_OK);
        for (size_t i = stop; i < model->n_layers; i++)
            hone_run_layer(&r, i);
        hone_run_finish(&r);
        ck_assert_mem_eq(whole, r.hidden, nbytes);
    }
    free(kept);
    free(whole);
    hone_run_deinit(&r);
    hone_model_free(model);
    hone_checkpoint_close(ckpt);
    hone_context_free(ctx);
}
END_TEST

START_TEST(matrices_come_in_the_order_of_a_pass)
{
    hone_toy_fill(&toy);
    hone_context *ctx;
    hone_checkpoint *ckpt;
    hone_model *model;
    hone_error err = {0};
    ck_assert_int_eq(hone_context_new(NULL, &ctx, &err), HONE_OK);
    ck_assert_int_eq(hone_checkpoint_open(hone_toy_write_hf(&toy, &dir), NULL, &ckpt, &err), HONE_OK);
    ck_assert_int_eq(hone_model_load(ctx, ckpt, &model, &err), HONE_OK);
    size_t n = 0, stage = 0;
    for (const hone_weight *w; (w = hone_model_matrix(model, n, &stage)); n++)
        ck_assert_uint_eq(stage, n == 0 ? 0 : 1 + (n - 1) / 7);
    ck_assert_uint_eq(n, 2 + 7 * model->n_layers);
    ck_assert_ptr_eq(hone_model_matrix(model, n - 1, NULL), &model->output);
    hone_model_free(model);
    hone_checkpoint_close(ckpt);
    hone_context_free(ctx);
}
END_TEST

START_TEST(rejects_sequence_too_long_to_count)
{
    hone_toy_fill(&toy);
    hone_context *ctx;
    hone_checkpoint *ckpt;
    hone_model *model;
    hone_run r;
    hone_error err = {0};
    ck_assert_int_eq(hone_context_new(NULL, &ctx, &err), HONE_OK);
    ck_assert_int_eq(hone_checkpoint_open(hone_toy_write_hf(&toy, &dir), NULL, &ckpt, &err), HONE_OK);
    ck_assert_int_eq(hone_model_load(ctx, ckpt, &model, &err), HONE_OK);
    ck_assert_int_eq(hone_run_init(ctx, model, SIZE_MAX / 8, &r, &err), HONE_ERROR_NOMEM);
    ck_assert_int_eq(hone_run_init(ctx, model, (size_t)1 << 32, &r, &err), HONE_ERROR_NOMEM);
    ck_assert_ptr_null(r.hidden);
    hone_model_free(model);
    hone_checkpoint_close(ckpt);
    hone_context_free(ctx);
}
END_TEST

START_TEST(every_failed_allocation_is_reported)
{
    llama3_rope();
    attention_bias();
    hone_toy_fill(&toy);
    run_with_failing_allocations(hone_toy_write_hf(&toy, &dir));
    run_with_failing_allocations(hone_toy_write_gguf(&toy, &dir));
}
END_TEST

Suite *hone_suite_forward(void)
{
    Suite *suite = suite_create("forward");
    TCase *core = add_tcase(suite, "core", set_up, tear_down);
    tcase_add_loop_test(core, hugging_face_checkpoint_equals_scalar_model, 0, N_SHAPES);
    tcase_add_loop_test(core, gguf_file_equals_scalar_model, 0, N_SHAPES);
    tcase_add_test(core, a_pass_goes_on_from_a_kept_stream);
    tcase_add_test(core, matrices_come_in_the_order_of_a_pass);
    tcase_add_test(core, window_is_felt);
    tcase_add_test(core, tied_model_may_store_only_its_output);
    tcase_add_test(core, tied_model_that_stores_two_matrices_uses_both_and_says_so);
    tcase_add_test(core, sequence_beyond_the_trained_context_is_noted_once);
    TCase *bad = add_tcase(suite, "malformed", set_up, tear_down);
    tcase_add_loop_test(bad, rejects_configuration, 0, COUNT(bad_json));
    tcase_add_loop_test(bad, rejects_gguf_key, 0, COUNT(bad_gguf));
    tcase_add_loop_test(bad, rejects_sizes_that_the_tensors_contradict, 0, COUNT(bad_sizes));
    tcase_add_test(bad, rejects_missing_tensor);
    tcase_add_test(bad, rejects_bias_that_the_configuration_promises);
    tcase_add_test(bad, rejects_rope_divisor_of_zero);
    tcase_add_test(bad, rejects_unknown_architecture);
    tcase_add_test(bad, rejects_token_outside_the_vocabulary);
    tcase_add_test(bad, rejects_empty_sequence);
    tcase_add_test(bad, rejects_sequence_too_long_to_count);
    TCase *nomem = add_tcase(suite, "nomem", set_up, tear_down);
    tcase_add_test(nomem, every_failed_allocation_is_reported);
    return suite;
}
