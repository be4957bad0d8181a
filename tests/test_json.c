/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/json.h"
#include "tests/support/temp_dir.h"

Suite *hone_suite_json(void);

enum { BASE = 100, MAX_TEXT = 256 };

/* ^ marks where the error must be reported: Jansson's position, just behind the token it stumbled over. */
static const struct {
    const char *claim, *text;
} malformed[] = {
    {"empty", "^"},
    {"only spaces", "   ^"},
    {"a bare word", "hello^"},
    {"two values", "{} {^}"},
    {"bytes after the value", "[] x^"},
    {"an object cut short", "{\"a\": 1^"},
    {"a string cut short", "{\"a^"},
    {"an array cut short", "[1, 2^"},
    {"a comma before the bracket", "[1, ]^"},
    {"a comma before the brace", "{\"a\": 1,}^"},
    {"no colon", "{\"a\" 1^}"},
    {"a key that is no string", "{1^: 2}"},
    {"a key twice", "{\"a\": 1, \"a\"^: 2}"},
    {"a key twice, once escaped", "{\"a\": 1, \"\\u0061\"^: 2}"},
    {"a bad escape", "[\"\\q^\"]"},
    {"half a surrogate pair", "[\"\\ud800\"^]"},
    {"a NUL in a string", "[\"\\u0000\"^]"},
    {"a control byte in a string", "[\"^\n\"]"},
    {"a number with a leading zero", "[0^1]"},
    {"a real beyond double", "[1e999^]"},
    {"NaN", "[NaN^]"},
    {"invalid UTF-8", "[\"^\xff\"]"},
    {"single quotes", "['^a']"},
};

START_TEST(rejects_malformed_json)
{
    char text[MAX_TEXT];
    const char *marked = malformed[_i].text;
    const size_t at = strcspn(marked, "^");
    memcpy(text, marked, at);
    strcpy(text + at, marked + at + 1);
    json_t *json = (json_t *)text;
    hone_error err;
    const hone_status status = hone_json_parse(text, strlen(text), BASE, &json, &err);
    ck_assert_msg(status == HONE_ERROR_DATA && err.status == status, "%s: status %d", malformed[_i].claim, status);
    ck_assert_msg(err.offset == BASE + at, "%s: offset %d, not %d (%s)", malformed[_i].claim, (int)err.offset - BASE,
                  (int)at, err.reason);
    ck_assert_ptr_null(json);
}
END_TEST

static void nest(char *text, int depth)
{
    memset(text, '[', (size_t)depth);
    memset(text + depth, ']', (size_t)depth);
    text[2 * depth] = '\0';
}

START_TEST(accepts_128_levels_and_rejects_129)
{
    char text[300];
    json_t *json;
    hone_error err;
    nest(text, 128);
    ck_assert_int_eq(hone_json_parse(text, strlen(text), 0, &json, &err), HONE_OK);
    json_decref(json);
    nest(text, 129);
    ck_assert_int_eq(hone_json_parse(text, strlen(text), BASE, &json, &err), HONE_ERROR_DATA);
    ck_assert_uint_eq(err.offset, BASE + 128);
    ck_assert_ptr_null(json);
}
END_TEST

START_TEST(text_of_too_many_values_is_refused_before_it_is_parsed)
{
    static const struct {
        const char *value;
        uint64_t nbytes_at_least; /* that Jansson takes for it */
    } cases[] = {{"[]", 120}, {"{}", 240}, {"1", 32}, {"\"abc\"", 64}, {"{\"k\":1}", 320}};
    enum { N = 4096 };
    char text[N * 8];
    size_t n = 0;
    text[n++] = '[';
    const size_t len = strlen(cases[_i].value);
    for (size_t i = 0; i < N - 1; i++) {
        memcpy(text + n, cases[_i].value, len);
        n += len;
        text[n++] = i + 1 < N - 1 ? ',' : ']';
    }
    json_t *json = (json_t *)text;
    hone_error err;
    const uint64_t enough = 1 << 22;
    ck_assert_int_eq(hone_json_parse_within(text, n, enough, BASE, &json, &err), HONE_OK);
    json_decref(json);
    const uint64_t limit = (N - 1) * cases[_i].nbytes_at_least;
    ck_assert_int_eq(hone_json_parse_within(text, n, limit / 2, BASE, &json, &err), HONE_ERROR_LIMIT);
    ck_assert_ptr_null(json);
    ck_assert_uint_gt(err.offset, BASE + n / 8);
    ck_assert_uint_lt(err.offset, BASE + n / 2 + len + 1);
}
END_TEST

START_TEST(a_long_string_is_no_value_too_many)
{
    enum { N = 1 << 20 };
    char *text = malloc(N);
    ck_assert_ptr_nonnull(text);
    memset(text, 'x', N);
    memcpy(text, "[\"", 2);
    memcpy(text + N - 2, "\"]", 2);
    json_t *json;
    hone_error err;
    ck_assert_int_eq(hone_json_parse_within(text, N, N + 1024, 0, &json, &err), HONE_OK);
    json_decref(json);
    ck_assert_int_eq(hone_json_parse_within(text, N, N / 2, BASE, &json, &err), HONE_ERROR_LIMIT);
    ck_assert_uint_eq(err.offset, BASE + 1);
    free(text);
}
END_TEST

START_TEST(brackets_in_strings_are_no_levels)
{
    char text[600] = "[\"\\\"";
    memset(text + 4, '[', 200);
    strcpy(text + 204, "\"]");
    json_t *json;
    ck_assert_int_eq(hone_json_parse(text, strlen(text), 0, &json, NULL), HONE_OK);
    ck_assert_uint_eq(json_string_length(json_array_get(json, 0)), 201);
    json_decref(json);
}
END_TEST

/* tokenizer_config.json of many models: "model_max_length": 1000000000000000019884624838656 */
START_TEST(integers_beyond_64_bits_become_reals)
{
    static const char text[] =
        "{\"a\": 1000000000000000019884624838656, \"12345678901234567890\": \"\\\"1234567890123456789 \", "
        "\"b\": [-99999999999999999999, 1.5e3, 1e+19, 0.12345678901234567890123, 7]}";
    json_t *json;
    hone_error err;
    ck_assert_int_eq(hone_json_parse(text, strlen(text), 0, &json, &err), HONE_OK);
    ck_assert_double_eq(json_real_value(json_object_get(json, "a")), 1e30);
    ck_assert_str_eq(json_string_value(json_object_get(json, "12345678901234567890")), "\"1234567890123456789 ");
    const json_t *b = json_object_get(json, "b");
    ck_assert_double_eq(json_real_value(json_array_get(b, 0)), -1e20);
    ck_assert_double_eq(json_real_value(json_array_get(b, 1)), 1500);
    ck_assert_double_eq(json_real_value(json_array_get(b, 2)), 1e19);
    ck_assert_double_eq(json_real_value(json_array_get(b, 3)), 0.12345678901234567890123);
    ck_assert_int_eq(json_integer_value(json_array_get(b, 4)), 7);
    json_decref(json);
}
END_TEST

START_TEST(a_file_is_named_in_its_error)
{
    hone_temp_dir dir;
    hone_temp_dir_init(&dir);
    json_t *json;
    hone_error err;
    const char *path = hone_temp_text(&dir, "bad.json", "{");
    ck_assert_int_eq(hone_json_read(path, 100, &json, &err), HONE_ERROR_DATA);
    ck_assert_str_eq(err.file, path);
    ck_assert_uint_eq(err.offset, 1);
    path = hone_temp_text(&dir, "long.json", "[1, 2, 3]");
    ck_assert_int_eq(hone_json_read(path, 8, &json, &err), HONE_ERROR_LIMIT);
    ck_assert_int_eq(hone_json_read(path, 9, &json, &err), HONE_OK);
    ck_assert_uint_eq(json_array_size(json), 3);
    json_decref(json);
    hone_temp_dir_deinit(&dir);
}
END_TEST

/* A ^ marks where the value of "x" is to be found. */
START_TEST(finds_values_in_the_text)
{
    static const char *const texts[] = {
        "{\"x\":^1}",
        "  {\"a\" : [1, \"x\", {\"y\":2}, [], {}], \"x\" : ^null}",
        "{\"a\":{\"x\":{\"x\":1}},\"x\":^{\"x\":2}}",
        "[{\"b\":[[{\"x\":^\"q\"}]]}]",
        "{\"\\\"x\":\"x\\\\\",\"c\":-1.5e3,\"d\":true,\"x\":^false}",
        "{\"a\":\"]}\\\"\",\"b\":[\"{\"],\"x\":\n\t^[1,2]}",
        "^{\"y\":1}",
        "{\"long\":123456789012345678901234567890,\"x\":^0}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char text[128];
        const size_t at = strcspn(texts[i], "^");
        (void)snprintf(text, sizeof text, "%.*s%s", (int)at, texts[i], texts[i] + at + 1);
        json_t *root;
        hone_error err;
        ck_assert_int_eq(hone_json_parse(text, strlen(text), 0, &root, &err), HONE_OK);
        const hone_json_source source = {.text = text, .len = strlen(text), .root = root};
        ck_assert_msg(hone_json_offset_of_key(&source, NULL, "x") == at, "%s", text);
        ck_assert_uint_eq(hone_json_offset_of(&source, root), strspn(text, " "));
        json_decref(root);
    }
}
END_TEST

START_TEST(finds_members_of_one_object)
{
    static const char text[] = "{\"a\":{\"k\":1,\"b\":{\"k\":true}},\"c\":[5,{\"k\":3},[7]]}";
    json_t *root;
    hone_error err;
    ck_assert_int_eq(hone_json_parse(text, strlen(text), 0, &root, &err), HONE_OK);
    const hone_json_source source = {.text = text, .len = strlen(text), .root = root};
    const json_t *a = json_object_get(root, "a"), *b = json_object_get(a, "b"), *c = json_object_get(root, "c");
    ck_assert_uint_eq(hone_json_offset_of_member(&source, a, "k"), (uint64_t)(strstr(text, "1") - text));
    ck_assert_uint_eq(hone_json_offset_of_member(&source, b, "k"), (uint64_t)(strstr(text, "true") - text));
    ck_assert_uint_eq(hone_json_offset_of_member(&source, b, "z"), (uint64_t)(strstr(text, "{\"k\":true") - text));
    ck_assert_uint_eq(hone_json_offset_of_key(&source, c, "k"), (uint64_t)(strstr(text, "3") - text));
    ck_assert_uint_eq(hone_json_offset_of_key(&source, c, "b"), (uint64_t)(strstr(text, "[5") - text));
    ck_assert_uint_eq(hone_json_offset_of(&source, json_array_get(c, 0)), (uint64_t)(strstr(text, "5") - text));
    ck_assert_uint_eq(hone_json_offset_of(&source, json_array_get(json_array_get(c, 2), 0)),
                      (uint64_t)(strstr(text, "7") - text));
    ck_assert_uint_eq(hone_json_offset_of(&source, json_object_get(b, "k")), HONE_NO_OFFSET);
    ck_assert_uint_eq(hone_json_offset_of(&(hone_json_source){0}, root), HONE_NO_OFFSET);
    json_decref(root);
}
END_TEST

Suite *hone_suite_json(void)
{
    Suite *suite = suite_create("json");
    TCase *core = tcase_create("core");
    tcase_add_test(core, finds_values_in_the_text);
    tcase_add_test(core, finds_members_of_one_object);
    tcase_add_test(core, accepts_128_levels_and_rejects_129);
    tcase_add_loop_test(core, text_of_too_many_values_is_refused_before_it_is_parsed, 0, 5);
    tcase_add_test(core, a_long_string_is_no_value_too_many);
    tcase_add_test(core, brackets_in_strings_are_no_levels);
    tcase_add_test(core, integers_beyond_64_bits_become_reals);
    tcase_add_test(core, a_file_is_named_in_its_error);
    suite_add_tcase(suite, core);
    TCase *bad = tcase_create("malformed");
    tcase_add_loop_test(bad, rejects_malformed_json, 0, (int)(sizeof malformed / sizeof malformed[0]));
    suite_add_tcase(suite, bad);
    return suite;
}
