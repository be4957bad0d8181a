/* SPDX-License-Identifier: MIT */
/* Token ids against those of the tokenizers and sentencepiece packages (tests/golden), from HF files and from GGUF. */
#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "hone/convert.h"
#include "hone/verify.h"
#include "tests/support/add_tcase.h"
#include "tests/support/source_fixture.h"

Suite *hone_suite_tokenizer(void);

enum { MAX_PATH_NBYTES = 600 };

#define MODELS "tests/models/"

static hone_tokenizer *tok;

static void tear_down(void)
{
    hone_mem_fail_after(-1);
    hone_tokenizer_free(tok);
    tear_down_source();
}

static void open_tokenizer(const char *path)
{
    hone_tokenizer_free(tok);
    tok = NULL;
    open_source(path);
    ck_assert_msg(hone_tokenizer_load(ckpt, &tok, &err) == HONE_OK, "%s: %s: %s", path, err.item, err.reason);
}

/* The directory with tiny-llama's weights and tokenizer, splitting words by another pattern. */
static void make_patterned(const char *pattern)
{
    static const char *const shared[] = {"config.json", "model-00001-of-00002.safetensors",
                                         "model-00002-of-00002.safetensors", "model.safetensors.index.json",
                                         "tokenizer_config.json"};
    char here[MAX_PATH_NBYTES / 2], from[MAX_PATH_NBYTES];
    ck_assert_ptr_nonnull(getcwd(here, sizeof here));
    for (size_t i = 0; i < sizeof shared / sizeof shared[0]; i++) {
        (void)snprintf(from, sizeof from, "%s/" MODELS "tiny-llama/%s", here, shared[i]);
        (void)symlink(from, hone_temp_path(&dir, shared[i]));
    }
    json_t *doc = json_load_file(MODELS "tiny-llama/tokenizer.json", 0, NULL);
    ck_assert_ptr_nonnull(doc);
    json_t *stages = json_object_get(json_object_get(doc, "pre_tokenizer"), "pretokenizers");
    ck_assert_int_eq(json_object_set_new(json_array_get(stages, 0), "pattern", json_pack("{s:s}", "Regex", pattern)),
                     0);
    ck_assert_int_eq(json_dump_file(doc, hone_temp_path(&dir, "tokenizer.json"), JSON_COMPACT), 0);
    json_decref(doc);
}

static const char *to_gguf(const char *path)
{
    const hone_context_options context_opts = {.n_threads = 1};
    const hone_convert_options opts = {.type = "q8_0"};
    const hone_run_options run = {.overwrite = true};
    hone_context *ctx;
    hone_checkpoint *src;
    hone_plan *plan;
    const char *out = hone_temp_path(&dir, "out.gguf");
    ck_assert_int_eq(hone_context_new(&context_opts, &ctx, &err), HONE_OK);
    ck_assert_int_eq(hone_checkpoint_open(path, NULL, &src, &err), HONE_OK);
    ck_assert_msg(hone_plan_new(ctx, src, &opts, &plan, &err) == HONE_OK, "%s: %s", err.item, err.reason);
    ck_assert_msg(hone_plan_run(ctx, plan, out, &run, &err) == HONE_OK, "%s", err.reason);
    hone_plan_free(plan);
    hone_checkpoint_close(src);
    hone_context_free(ctx);
    return out;
}

/* Prints ids as "[1,2]" into out, as far as they fit. */
static void print_ids(const int32_t *ids, size_t n, char *out, size_t cap)
{
    size_t at = 0;
    out[0] = '\0';
    for (size_t i = 0; i < n && at + 16 < cap; i++)
        at += (size_t)snprintf(out + at, cap - at, i ? ",%d" : "%d", (int)ids[i]);
}

static void compare_case(const json_t *golden)
{
    const char *text = json_string_value(json_object_get(golden, "text"));
    const size_t nbytes = json_string_length(json_object_get(golden, "text"));
    const json_t *expected = json_object_get(golden, "ids");
    int32_t *ids;
    size_t n;
    ck_assert_msg(hone_tokenizer_encode(tok, text, nbytes, true, json_is_true(json_object_get(golden, "parse_special")),
                                        &ids, &n, &err) == HONE_OK,
                  "%s", err.reason);
    char ours[512];
    print_ids(ids, n, ours, sizeof ours);
    ck_assert_msg(n == json_array_size(expected), "\"%s\": %zu ids, not %zu: %s", text, n, json_array_size(expected),
                  ours);
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(ids[i] == json_integer_value(json_array_get(expected, i)), "\"%s\": id %zu is not %lld: %s", text,
                      i, (long long)json_integer_value(json_array_get(expected, i)), ours);
    hone_tokens_free(ids);
}

/* Compares every case of one tokenizer and pattern (NULL: as it is); returns how many there were. */
static size_t compare_cases(const json_t *golden, const char *tokenizer, const char *pattern)
{
    const json_t *cases = json_object_get(golden, "cases");
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        const char *used = json_string_value(json_object_get(c, "pattern"));
        if (strcmp(json_string_value(json_object_get(c, "tokenizer")), tokenizer) != 0 || !used != !pattern ||
            (used && strcmp(used, pattern) != 0))
            continue;
        compare_case(c);
        n++;
    }
    return n;
}

/* The golden ids of every tokenizer and pattern; from GGUF files instead of HF's if gguf. */
static void compare_all(bool gguf)
{
    json_t *golden = json_load_file("tests/golden/token_ids.json", JSON_ALLOW_NUL, NULL);
    ck_assert_ptr_nonnull(golden);
    size_t n = 0;
    open_tokenizer(gguf ? to_gguf(MODELS "tiny-llama") : MODELS "tiny-llama");
    n += compare_cases(golden, "byte-level", NULL);
    const char *name;
    json_t *pattern;
    json_object_foreach(json_object_get(golden, "patterns"), name, pattern)
    {
        make_patterned(json_string_value(pattern));
        open_tokenizer(gguf ? to_gguf(dir.path) : dir.path);
        n += compare_cases(golden, "byte-level", name);
    }
    open_tokenizer(gguf ? to_gguf(MODELS "tiny-llama-spm") : MODELS "tiny-llama-spm");
    n += compare_cases(golden, "sentencepiece", NULL);
    ck_assert_uint_eq(n, json_array_size(json_object_get(golden, "cases")));
    json_decref(golden);
}

START_TEST(gives_the_packages_ids_from_hf_files)
{
    compare_all(false);
}
END_TEST

START_TEST(gives_the_packages_ids_from_gguf)
{
    compare_all(true);
}
END_TEST

/* Byte-level tokens spell the text they came from, whatever its bytes. */
START_TEST(pieces_of_byte_level_ids_spell_the_text)
{
    static const char text[] = "  Tabs\t, 한국어 \xf0\x9f\x91\x8d\xf0\x9f\x8f\xbd,\r\n \x01 and \xc2\xa0 123456!";
    open_tokenizer(MODELS "tiny-llama");
    int32_t *ids;
    size_t n, at = 0;
    ck_assert_int_eq(hone_tokenizer_encode(tok, text, sizeof text - 1, false, false, &ids, &n, &err), HONE_OK);
    for (size_t i = 0; i < n; i++) {
        const hone_string piece = hone_tokenizer_piece(tok, ids[i]);
        ck_assert_uint_le(at + piece.len, sizeof text - 1);
        ck_assert_mem_eq(piece.data, text + at, piece.len);
        at += piece.len;
    }
    ck_assert_uint_eq(at, sizeof text - 1);
    hone_tokens_free(ids);
}
END_TEST

START_TEST(adds_bos_only_when_asked)
{
    static const char *const models[] = {MODELS "tiny-llama", MODELS "tiny-llama-spm"};
    for (size_t m = 0; m < 2; m++) {
        open_tokenizer(models[m]);
        int32_t *with, *without;
        size_t n_with, n_without;
        ck_assert_int_eq(hone_tokenizer_encode(tok, "the mill", 8, true, false, &with, &n_with, &err), HONE_OK);
        ck_assert_int_eq(hone_tokenizer_encode(tok, "the mill", 8, false, false, &without, &n_without, &err), HONE_OK);
        ck_assert_uint_eq(n_with, n_without + 1);
        ck_assert_int_eq(with[0], hone_tokenizer_bos(tok));
        ck_assert_mem_eq(with + 1, without, n_without * sizeof *without);
        hone_tokens_free(with);
        hone_tokens_free(without);
    }
}
END_TEST

static const struct {
    const char *text;
    size_t nbytes, bad_at;
} not_utf8[] = {
    {"ab\xff", 3, 2},
    {"\x80", 1, 0},
    {"a\xc3", 2, 1},
    {"\xc0\xaf", 2, 0}, /* overlong */
    {"ok \xed\xa0\x80", 6, 3} /* a surrogate */,
    {"\xf4\x90\x80\x80", 4, 0}, /* beyond U+10FFFF */
};

START_TEST(refuses_what_is_not_utf8)
{
    open_tokenizer(MODELS "tiny-llama");
    int32_t *ids;
    size_t n;
    ck_assert_int_eq(hone_tokenizer_encode(tok, not_utf8[_i].text, not_utf8[_i].nbytes, true, false, &ids, &n, &err),
                     HONE_ERROR_DATA);
    ck_assert_uint_eq(err.offset, not_utf8[_i].bad_at);
    ck_assert_ptr_null(ids);
}
END_TEST

static hone_status load_and_encode(void *user)
{
    (void)user;
    static const char text[] = "the \xeb\xb0\x80 mill \xf0\x9f\x91\x8d";
    hone_tokenizer *other;
    int32_t *ids;
    size_t n;
    hone_status status = hone_tokenizer_load(ckpt, &other, &err);
    if (status == HONE_OK)
        status = hone_tokenizer_encode(other, text, sizeof text - 1, true, true, &ids, &n, &err);
    if (status == HONE_OK)
        hone_tokens_free(ids);
    hone_tokenizer_free(other);
    return status;
}

START_TEST(survives_every_failing_allocation)
{
    static const char *const models[] = {MODELS "tiny-llama", MODELS "tiny-llama-spm"};
    for (size_t m = 0; m < 2; m++) {
        open_tokenizer(models[m]);
        fail_each_allocation(load_and_encode, NULL, 10);
    }
}
END_TEST

Suite *hone_suite_tokenizer(void)
{
    Suite *s = suite_create("tokenizer");
    TCase *core = add_tcase(s, "core", set_up_source, tear_down);
    tcase_add_test(core, gives_the_packages_ids_from_hf_files);
    tcase_add_test(core, gives_the_packages_ids_from_gguf);
    tcase_add_test(core, pieces_of_byte_level_ids_spell_the_text);
    tcase_add_test(core, adds_bos_only_when_asked);
    tcase_add_loop_test(core, refuses_what_is_not_utf8, 0, (int)(sizeof not_utf8 / sizeof not_utf8[0]));
    tcase_add_test(core, survives_every_failing_allocation);
    return s;
}
