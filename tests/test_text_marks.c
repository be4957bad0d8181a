/* SPDX-License-Identifier: MIT */
/* Texts recognized by their marks. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "formats/text_marks.h"
#include "tests/support/temp_dir.h"

Suite *hone_suite_text_marks(void);

enum { N = 40000 };

static char text[N], other[N];
static hone_error err;

/* Words made up by a generator: no two stretches are alike. */
static void fill(char *dst, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        dst[i] = seed >> 28 ? (char)('a' + (seed >> 24) % 26) : ' ';
    }
}

static void set_up(void)
{
    fill(text, N, 1);
    fill(other, N, 2);
}

static double share_of(const hone_text_marks *m, const char *of, size_t nbytes)
{
    double share = -1;
    ck_assert_int_eq(hone_text_marks_share(m, of, nbytes, &share, &err), HONE_OK);
    return share;
}

START_TEST(the_same_text_and_its_parts_are_recognized)
{
    hone_text_marks m = {0};
    ck_assert_double_eq(share_of(&m, text, N), 0);
    ck_assert_int_eq(hone_text_marks_add(&m, text, N, 1, &err), HONE_OK);
    ck_assert_double_eq(share_of(&m, text, N), 1);
    ck_assert_double_gt(share_of(&m, text + N / 2 + 17, N / 4), 0.7);
    ck_assert_double_eq(share_of(&m, other, N), 0);
    memcpy(other + 1000, text, N / 2); /* half of it within another */
    ck_assert_double_eq_tol(share_of(&m, other, N), 0.5, 0.15);
    const size_t n = m.n;
    ck_assert_int_eq(hone_text_marks_add(&m, text, N, 1, &err), HONE_OK);
    ck_assert_uint_eq(m.n, n); /* it is there already */
    ck_assert_uint_le(n, 258);
    hone_text_marks_deinit(&m);
}
END_TEST

START_TEST(a_short_text_among_long_ones_is_recognized)
{
    hone_text_marks m = {0};
    ck_assert_int_eq(hone_text_marks_add(&m, text, N, 100, &err), HONE_OK);
    ck_assert_int_eq(hone_text_marks_add(&m, other, 300, 100, &err), HONE_OK);
    ck_assert_int_eq(hone_text_marks_add(&m, "short", 5, 100, &err), HONE_OK);
    ck_assert_int_eq(hone_text_marks_add(&m, "", 0, 100, &err), HONE_OK);
    ck_assert_uint_eq(m.n, 3 * 2 + 8 + 8 + 1 + 2);
    ck_assert_double_eq(share_of(&m, other, 300), 1);
    ck_assert_double_eq(share_of(&m, other + 300, N - 300), 0);
    ck_assert_double_eq(share_of(&m, "short", 5), 0); /* one window is no evidence */
    hone_text_marks_deinit(&m);
}
END_TEST

static hone_checkpoint *open_header(hone_temp_dir *dir, hone_gguf_header *h)
{
    hone_gguf_layout layout;
    ck_assert_int_eq(hone_gguf_finish(h, HONE_GGUF_ALIGNMENT, &layout, &err), HONE_OK);
    const char *path = hone_temp_file(dir, "marks.gguf", layout.bytes, layout.nbytes);
    hone_checkpoint *ckpt;
    ck_assert_int_eq(hone_checkpoint_open(path, NULL, &ckpt, &err), HONE_OK);
    hone_gguf_layout_deinit(&layout);
    hone_gguf_free(h);
    return ckpt;
}

/* A file that carries these numbers, opened. */
static hone_checkpoint *file_with(hone_temp_dir *dir, const uint64_t *values, size_t n, const char *string)
{
    hone_gguf_header *h = hone_gguf_new();
    hone_gguf_put_str(h, "general.architecture", "llama");
    if (string)
        hone_gguf_put_str(h, HONE_TEXT_MARKS_KEY, string);
    else
        hone_gguf_put_u64_array(h, HONE_TEXT_MARKS_KEY, values, n);
    return open_header(dir, h);
}

START_TEST(files_carry_them_in_both_forms)
{
    hone_temp_dir dir;
    hone_temp_dir_init(&dir);
    hone_text_marks m = {0};
    ck_assert_int_eq(hone_text_marks_add(&m, text, N, 2, &err), HONE_OK);
    ck_assert_int_eq(hone_text_marks_add(&m, other, 20, 2, &err), HONE_OK);
    char *hex = hone_text_marks_hex(&m);
    for (int form = 0; form < 2; form++) {
        hone_checkpoint *ckpt = file_with(&dir, m.records, m.n, form ? hex : NULL);
        hone_text_marks read = {0};
        ck_assert_int_eq(hone_text_marks_take(&read, ckpt, &err), HONE_OK);
        ck_assert_uint_eq(read.n, m.n);
        ck_assert_mem_eq(read.records, m.records, m.n * sizeof *m.records);
        hone_text_marks_deinit(&read);
        hone_checkpoint_close(ckpt);
    }
    hone_release(hex);
    hone_text_marks_deinit(&m);
    hone_temp_dir_deinit(&dir);
}
END_TEST

/* A file whose recipe has texts. */
static hone_checkpoint *file_with_recipe(hone_temp_dir *dir, const char *texts)
{
    char recipe[600];
    (void)snprintf(recipe, sizeof recipe, "{\"method\":\"gptq\",\"texts\":\"%s\"}", texts);
    hone_gguf_header *h = hone_gguf_new();
    hone_gguf_put_str(h, "hone.recipe", recipe);
    return open_header(dir, h);
}

START_TEST(recipes_carry_them_packed)
{
    hone_temp_dir dir;
    hone_temp_dir_init(&dir);
    hone_text_marks m = {0}, read = {0};
    ck_assert_int_eq(hone_text_marks_add(&m, text, N, 2, &err), HONE_OK);
    ck_assert_int_eq(hone_text_marks_add(&m, other, 20, 2, &err), HONE_OK);
    hone_text_marks_thin(&m, 6);
    char *packed = hone_text_marks_packed(&m);
    hone_checkpoint *ckpt = file_with_recipe(&dir, packed);
    ck_assert_int_eq(hone_text_marks_take(&read, ckpt, &err), HONE_OK);
    ck_assert_uint_eq(read.n, m.n);
    for (size_t i = 0; i < m.n; i++)
        if (m.records[i] >> 40) /* a mark, not a size or a number of marks */
            ck_assert_uint_eq(read.records[i], m.records[i] >> 24 << 24);
    ck_assert_double_eq_tol((double)read.records[0], N, N / 1024.0);
    ck_assert_double_gt(share_of(&read, text, N), 0.98);
    ck_assert_double_eq(share_of(&read, text + N / 2, 200), 0);
    hone_release(packed);
    hone_text_marks_deinit(&m);
    hone_text_marks_deinit(&read);
    hone_checkpoint_close(ckpt);
    hone_temp_dir_deinit(&dir);
}
END_TEST

START_TEST(malformed_packed_texts_are_refused)
{
    static const char *const strings[] = {"Ay8", "Ay8u", "Ay8ulIQyAQB8qzYIACs26wk", "Ay8ulIQyAQB8q!YIACs26wkA"};
    hone_temp_dir dir;
    hone_temp_dir_init(&dir);
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) {
        hone_checkpoint *ckpt = file_with_recipe(&dir, strings[i]);
        hone_text_marks m = {0};
        ck_assert_int_eq(hone_text_marks_take(&m, ckpt, &err), HONE_ERROR_DATA);
        ck_assert_str_eq(err.item, "hone.recipe");
        hone_text_marks_deinit(&m);
        hone_checkpoint_close(ckpt);
    }
    hone_temp_dir_deinit(&dir);
}
END_TEST

START_TEST(malformed_lists_are_refused)
{
    static const uint64_t lists[][4] = {{100, 2, 1, 0}, {100, UINT64_MAX, 1, 2}, {100, 1, 7, 8}};
    static const size_t lens[] = {3, 4, 4};
    static const char *const strings[] = {"123", "000000000000000g", "+00000000000000a", "0000000000000064"};
    hone_temp_dir dir;
    hone_temp_dir_init(&dir);
    for (size_t i = 0; i < 7; i++) {
        hone_checkpoint *ckpt =
            i < 3 ? file_with(&dir, lists[i], lens[i], NULL) : file_with(&dir, NULL, 0, strings[i - 3]);
        hone_text_marks m = {0};
        ck_assert_int_eq(hone_text_marks_take(&m, ckpt, &err), HONE_ERROR_DATA);
        ck_assert_str_eq(err.item, HONE_TEXT_MARKS_KEY);
        hone_text_marks_deinit(&m);
        hone_checkpoint_close(ckpt);
    }
    hone_temp_dir_deinit(&dir);
}
END_TEST

Suite *hone_suite_text_marks(void)
{
    Suite *s = suite_create("text_marks");
    TCase *t = tcase_create("core");
    tcase_add_checked_fixture(t, set_up, NULL);
    tcase_add_test(t, the_same_text_and_its_parts_are_recognized);
    tcase_add_test(t, a_short_text_among_long_ones_is_recognized);
    tcase_add_test(t, files_carry_them_in_both_forms);
    tcase_add_test(t, recipes_carry_them_packed);
    tcase_add_test(t, malformed_packed_texts_are_refused);
    tcase_add_test(t, malformed_lists_are_refused);
    suite_add_tcase(s, t);
    return s;
}
