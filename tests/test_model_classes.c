/* SPDX-License-Identifier: MIT */
/* What the converter and the forward pass have to agree on: classes of config.json, and ends that it ties. */
#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "hone/convert.h"
#include "hone/verify.h"
#include "tests/support/toy_gpt2.h"
#include "tests/support/toy_llama.h"

Suite *hone_suite_model_classes(void);

enum { TIMEOUT = 60 };

static hone_temp_dir dir;
static hone_context *ctx;
static hone_checkpoint *ckpt, *written;
static hone_error err;
static char notes[1024];

static void keep_note(void *user, const char *text)
{
    (void)user;
    (void)strncat(notes, text, sizeof notes - strlen(notes) - 1);
}

static void set_up(void)
{
    hone_temp_dir_init(&dir);
    const hone_context_options opts = {.n_threads = 1, .note = keep_note};
    ck_assert_int_eq(hone_context_new(&opts, &ctx, &err), HONE_OK);
    ckpt = written = NULL;
}

static void tear_down(void)
{
    hone_checkpoint_close(ckpt);
    hone_checkpoint_close(written);
    hone_context_free(ctx);
    hone_temp_dir_deinit(&dir);
}

/* Replaces a member of config.json and opens the directory. */
static void open_with(const char *key, json_t *value)
{
    json_t *config = json_load_file(hone_temp_path(&dir, "config.json"), 0, NULL);
    ck_assert_ptr_nonnull(config);
    ck_assert_int_eq(json_object_set_new(config, key, value), 0);
    ck_assert_int_eq(json_dump_file(config, hone_temp_path(&dir, "config.json"), 0), 0);
    json_decref(config);
    hone_checkpoint_close(ckpt);
    ck_assert_msg(hone_checkpoint_open(dir.path, NULL, &ckpt, &err) == HONE_OK, "%s", err.reason);
}

static void convert(void)
{
    const hone_convert_options opts = {.type = "f32"};
    const hone_run_options run = {.overwrite = true};
    char out[512];
    (void)snprintf(out, sizeof out, "%s", hone_temp_path(&dir, "out.gguf"));
    hone_plan *plan = NULL;
    notes[0] = '\0';
    ck_assert_msg(hone_plan_new(ctx, ckpt, &opts, &plan, &err) == HONE_OK, "%s: %s", err.item, err.reason);
    ck_assert_int_eq(hone_plan_run(ctx, plan, out, &run, &err), HONE_OK);
    hone_plan_free(plan);
    hone_checkpoint_close(written);
    ck_assert_int_eq(hone_checkpoint_open(out, NULL, &written, &err), HONE_OK);
}

START_TEST(every_class_converts_and_runs)
{
    static const char *const classes[] = {"LlamaForCausalLM", "LLaMAForCausalLM", "MistralForCausalLM",
                                          "GPT2LMHeadModel", "GPT2Model"};
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
        const bool gpt2 = strncmp(classes[i], "GPT2", 4) == 0;
        hone_toy llama = hone_toy_sizes();
        hone_toy_gpt2 other = hone_toy_gpt2_sizes();
        hone_toy_fill(&llama);
        hone_toy_gpt2_fill(&other);
        (void)(gpt2 ? hone_toy_gpt2_write_hf(&other, &dir) : hone_toy_write_hf(&llama, &dir));
        open_with("architectures", json_pack("[s]", classes[i]));
        convert();
        hone_model *model = NULL;
        ck_assert_msg(hone_model_load(ctx, ckpt, &model, &err) == HONE_OK, "%s: %s", classes[i], err.reason);
        hone_model_free(model);
        hone_toy_free(&llama);
        hone_toy_gpt2_free(&other);
    }
}
END_TEST

/* One of the written ends holds what the toy's tensor does. */
static void expect_written(const char *name, const hone_toy_tensor *expected)
{
    const hone_tensor *t = hone_checkpoint_find(written, name);
    ck_assert_msg(t != NULL, "no %s", name);
    static float values[1 << 16];
    ck_assert_uint_le(t->nbytes, sizeof values);
    ck_assert_int_eq(hone_checkpoint_read(written, t, 0, (size_t)t->nbytes, values, &err), HONE_OK);
    ck_assert_mem_eq(values, expected->data, (size_t)t->nbytes);
}

/* As in transformers, a configuration that ties two different matrices is wrong and the file right. */
static void expect_both_or_one(const hone_toy_tensor *first, const hone_toy_tensor *last, bool same)
{
    open_with("tie_word_embeddings", json_true());
    convert();
    expect_written("token_embd.weight", first);
    if (!same)
        expect_written("output.weight", last);
    else
        ck_assert_ptr_null(hone_checkpoint_find(written, "output.weight"));
    ck_assert_msg((strstr(notes, "both are stored and differ") == NULL) == same, "%s", notes);
    /* The forward pass decides the same way: the two are the same model. */
    hone_diff *diff = NULL;
    ck_assert_msg(hone_diff_run(ctx, ckpt, written, NULL, &diff, &err) == HONE_OK, "%s", err.reason);
    for (size_t i = 0; i < hone_diff_n(diff); i++)
        ck_assert_double_eq(hone_diff_at(diff, i)->max_abs, 0);
    ck_assert_ptr_null(hone_diff_unmatched(diff, 1, 0));
    hone_diff_free(diff);
}

START_TEST(tied_llama_that_stores_two_matrices_keeps_both)
{
    hone_toy toy = hone_toy_sizes();
    hone_toy_fill(&toy);
    hone_toy_tensor *first = hone_toy_find(&toy, "model.embed_tokens.weight");
    hone_toy_tensor *last = hone_toy_find(&toy, "lm_head.weight");
    for (int same = 0; same < 2; same++) {
        if (same)
            memcpy(last->data, first->data, first->nrows * first->ncols * sizeof *first->data);
        (void)hone_toy_write_hf(&toy, &dir);
        expect_both_or_one(first, last, same);
    }
    hone_toy_free(&toy);
}
END_TEST

START_TEST(tied_gpt2_that_stores_two_matrices_keeps_both)
{
    for (int bare = 0; bare < 2; bare++) {
        hone_toy_gpt2 toy = hone_toy_gpt2_sizes();
        toy.untied = true;
        toy.bare = bare;
        hone_toy_gpt2_fill(&toy);
        hone_toy_tensor *first = hone_toy_gpt2_find(&toy, "wte.weight");
        hone_toy_tensor *last = hone_toy_gpt2_find(&toy, "lm_head.weight");
        for (int same = 0; same < 2; same++) {
            if (same)
                memcpy(last->data, first->data, first->nrows * first->ncols * sizeof *first->data);
            (void)hone_toy_gpt2_write_hf(&toy, &dir);
            expect_both_or_one(first, last, same);
        }
        hone_toy_gpt2_free(&toy);
    }
}
END_TEST

Suite *hone_suite_model_classes(void)
{
    Suite *suite = suite_create("model_classes");
    TCase *core = tcase_create("core");
    tcase_set_timeout(core, TIMEOUT);
    tcase_add_checked_fixture(core, set_up, tear_down);
    tcase_add_test(core, every_class_converts_and_runs);
    tcase_add_test(core, tied_llama_that_stores_two_matrices_keeps_both);
    tcase_add_test(core, tied_gpt2_that_stores_two_matrices_keeps_both);
    suite_add_tcase(suite, core);
    return suite;
}
