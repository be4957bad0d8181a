/* SPDX-License-Identifier: MIT */
/* GGUF models in several files: sets that fit together, and sets that do not. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/byte_builder.h"
#include "tests/support/opening.h"
#include "tests/support/test_dir.h"

Suite *hone_suite_gguf_split(void);

enum { DATA = HONE_ERROR_DATA, ARG = HONE_ERROR_ARG, MAX_PARTS = 3 };

#define HEAD(n_tensors, n_kv) "raw=GGUF u32=3 u64=" #n_tensors " u64=" #n_kv " "
#define ARCH "str=general.architecture u32=8 str=llama "
#define NO(n) "str=split.no u32=2 u16=" #n " "
#define COUNT(n) "str=split.count u32=2 u16=" #n " "
#define TOTAL(n) "str=split.tensors.count u32=5 i32=" #n " "
#define TENSOR(name, offset) "str=" name " u32=1 u64=2 u32=0 u64=" #offset " "
#define NUMBERS(a, b) "pad=32 f32=" #a " f32=" #b " "

/* A model of three tensors in three files; any of them can be replaced. */
#define FIRST HEAD(1, 4) ARCH NO(0) COUNT(3) TOTAL(3) TENSOR("a", 0) NUMBERS(1, 2)
#define SECOND HEAD(1, 3) NO(1) COUNT(3) TOTAL(3) TENSOR("b", 0) NUMBERS(3, 4)
#define THIRD HEAD(1, 3) NO(2) COUNT(3) TOTAL(3) TENSOR("c", 0) NUMBERS(5, 6)

static const struct {
    const char *claim;
    const char *parts[MAX_PARTS]; /* NULL: no such file */
    int opened, bad;              /* which file is opened, which the error is in; counted from 1 */
    int status;
    const char *item;
} malformed[] = {
    {"a part that is not there", {FIRST, NULL, THIRD}, 1, 2, ARG, ""},
    {"a first part that is not there", {NULL, SECOND, THIRD}, 3, 1, ARG, ""},
    {"a last part that is not there", {FIRST, SECOND, NULL}, 2, 3, ARG, ""},
    {"a part without a number",
     {FIRST, HEAD(1, 1) COUNT(3) TENSOR("b", 0) NUMBERS(3, 4), THIRD},
     1,
     2,
     DATA,
     "split.no"},
    {"an opened part without a number", {HEAD(0, 1) COUNT(3), SECOND, THIRD}, 1, 1, DATA, "split.no"},
    {"a part without a count", {FIRST, HEAD(0, 1) NO(1), THIRD}, 1, 2, DATA, "split.count"},
    {"a part of another set",
     {FIRST, HEAD(0, 2) NO(1) "str=split.count ^ u32=2 u16=4", THIRD},
     1,
     2,
     DATA,
     "split.count"},
    {"a part of no set", {FIRST, HEAD(0, 2) NO(1) "str=split.count ^ u32=2 u16=1", THIRD}, 1, 2, DATA, "split.count"},
    {"two parts exchanged", {FIRST, HEAD(0, 2) "str=split.no ^ u32=2 u16=2 " COUNT(3), SECOND}, 1, 2, DATA, "split.no"},
    {"an opened part under another's name",
     {HEAD(0, 2) "str=split.no ^ u32=2 u16=1 " COUNT(3), SECOND, THIRD},
     1,
     1,
     DATA,
     "split.no"},
    {"a number beyond the count",
     {FIRST, HEAD(0, 2) "str=split.no ^ u32=2 u16=9 " COUNT(3), THIRD},
     1,
     2,
     DATA,
     "split.no"},
    {"a count that the name contradicts",
     {HEAD(0, 2) NO(0) "str=split.count ^ u32=2 u16=2", SECOND, THIRD},
     1,
     1,
     DATA,
     "split.count"},
    {"a count that is text", {HEAD(0, 1) "str=split.count ^ u32=8 str=3", SECOND, THIRD}, 1, 1, DATA, "split.count"},
    {"a count below zero", {HEAD(0, 1) "str=split.count ^ u32=5 i32=-3", SECOND, THIRD}, 1, 1, DATA, "split.count"},
    {"a count that is a fraction",
     {HEAD(0, 1) "str=split.count ^ u32=6 f32=3", SECOND, THIRD},
     1,
     1,
     DATA,
     "split.count"},
    {"a number that is an array",
     {FIRST, HEAD(0, 1) "str=split.no ^ u32=9 u32=2 u64=1 u16=1", THIRD},
     1,
     2,
     DATA,
     "split.no"},
    {"more tensors than the first part says",
     {HEAD(1, 3) NO(0) COUNT(3) "str=split.tensors.count ^ u32=5 i32=2 " TENSOR("a", 0) NUMBERS(1, 2), SECOND, THIRD},
     2,
     1,
     DATA,
     "split.tensors.count"},
    {"fewer tensors than the first part says",
     {HEAD(1, 3) NO(0) COUNT(3) "str=split.tensors.count ^ u32=5 i32=4 " TENSOR("a", 0) NUMBERS(1, 2), SECOND, THIRD},
     1,
     1,
     DATA,
     "split.tensors.count"},
    {"a tensor in two parts",
     {FIRST, SECOND, HEAD(1, 2) NO(2) COUNT(3) TENSOR("a", 0) "pad=32 ^ f32=0 f32=0"},
     1,
     3,
     DATA,
     "a"},
    {"a damaged part", {FIRST, SECOND, "^ raw=GGML u32=3 u64=0 u64=0"}, 1, 3, HONE_ERROR_FORMAT, ""},
    {"a big-endian part", {FIRST, "raw=GGUF ^ u32=0x03000000 u64=0 u64=0", THIRD}, 1, 2, HONE_ERROR_UNSUPPORTED, ""},
    {"a part cut short",
     {FIRST, SECOND, HEAD(1, 2) NO(2) COUNT(3) "str=c u32=1 u64=2 u32=0 u64=0 pad=32 ^"},
     1,
     3,
     DATA,
     "c"},
};

static const char *part_name(int no)
{
    static char name[64];
    (void)snprintf(name, sizeof name, "m-%05d-of-00003.gguf", no);
    return name;
}

/* Writes the parts there are; *mark gets the position marked in part `marked`, if it marks one. */
static void write_parts(const char *const parts[MAX_PARTS], int marked, uint64_t *mark)
{
    *mark = HONE_NO_OFFSET;
    for (int no = 1; no <= MAX_PARTS; no++) {
        if (!parts[no - 1])
            continue;
        hone_bytes b = {.mark = SIZE_MAX};
        hone_bytes_script(&b, parts[no - 1]);
        (void)hone_temp_file(&dir, part_name(no), b.data, b.n);
        if (no == marked && b.mark != SIZE_MAX)
            *mark = b.mark;
        hone_bytes_free(&b);
    }
}

START_TEST(rejects_sets_that_do_not_fit)
{
    uint64_t mark;
    write_parts(malformed[_i].parts, malformed[_i].bad, &mark);
    char bad[512];
    (void)snprintf(bad, sizeof bad, "%s", hone_temp_path(&dir, part_name(malformed[_i].bad)));
    expect_error_in(hone_temp_path(&dir, part_name(malformed[_i].opened)), bad, malformed[_i].claim,
                    (hone_status)malformed[_i].status, mark, malformed[_i].item);
}
END_TEST

static const char *const good[MAX_PARTS] = {FIRST, SECOND, THIRD};

START_TEST(any_part_opens_the_set)
{
    uint64_t mark;
    write_parts(good, 0, &mark);
    hone_checkpoint *ckpt = must_open(hone_temp_path(&dir, part_name(_i)));
    ck_assert_uint_eq(hone_checkpoint_n_files(ckpt), 3);
    ck_assert_uint_eq(hone_checkpoint_n_tensors(ckpt), 3);
    ck_assert_uint_eq(hone_checkpoint_n_metadata(ckpt), 4);
    ck_assert_str_eq(hone_checkpoint_architecture(ckpt), "llama");
    static const char *const names[] = {"a", "b", "c"};
    for (unsigned i = 0; i < 3; i++) {
        const hone_tensor *t = hone_checkpoint_tensor(ckpt, i);
        ck_assert_str_eq(t->name, names[i]);
        ck_assert_uint_eq(t->file, i);
        float values[2];
        ck_assert_int_eq(hone_checkpoint_read(ckpt, t, 0, sizeof values, values, NULL), HONE_OK);
        ck_assert(values[0] == (float)(2 * i + 1) && values[1] == (float)(2 * i + 2));
    }
    hone_checkpoint_close(ckpt);
}
END_TEST

START_TEST(a_part_under_another_name_is_refused)
{
    hone_bytes b = {0};
    hone_bytes_script(&b, HEAD(0, 2) NO(0) "str=split.count ^ u32=2 u16=2");
    static const char *const names[] = {"m.gguf", "m-1-of-2.gguf", "m-00001-of-0000x.gguf", "m-00000-of-00002.gguf",
                                        "m-00001-of-00001.gguf"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *path = hone_temp_file(&dir, names[i], b.data, b.n);
        expect_error(path, names[i], HONE_ERROR_DATA, b.mark, "split.count");
    }
    hone_bytes_free(&b);
}
END_TEST

/* The name alone makes no set. */
START_TEST(a_whole_model_may_be_named_like_a_part)
{
    hone_bytes b = {0};
    hone_bytes_script(&b, HEAD(0, 1) ARCH);
    const char *path = hone_temp_file(&dir, "m-00002-of-00003.gguf", b.data, b.n);
    hone_bytes_free(&b);
    hone_checkpoint *ckpt = must_open(path);
    ck_assert_uint_eq(hone_checkpoint_n_files(ckpt), 1);
    hone_checkpoint_close(ckpt);
}
END_TEST

START_TEST(every_failing_allocation_is_reported)
{
    uint64_t mark;
    write_parts(good, 0, &mark);
    fail_each_allocation_of_opening(hone_temp_path(&dir, part_name(2)), 13);
}
END_TEST

Suite *hone_suite_gguf_split(void)
{
    Suite *suite = suite_create("gguf_split");
    TCase *core = tcase_create("core");
    tcase_add_checked_fixture(core, make_dir, remove_dir);
    tcase_add_loop_test(core, any_part_opens_the_set, 1, MAX_PARTS + 1);
    tcase_add_test(core, a_part_under_another_name_is_refused);
    tcase_add_test(core, a_whole_model_may_be_named_like_a_part);
    tcase_add_test(core, every_failing_allocation_is_reported);
    suite_add_tcase(suite, core);
    TCase *bad = tcase_create("malformed");
    tcase_add_checked_fixture(bad, make_dir, remove_dir);
    tcase_add_loop_test(bad, rejects_sets_that_do_not_fit, 0, (int)(sizeof malformed / sizeof malformed[0]));
    suite_add_tcase(suite, bad);
    return suite;
}
