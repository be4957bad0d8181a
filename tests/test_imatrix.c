/* SPDX-License-Identifier: MIT */
/* Importance matrices: both forms read, the newer one written. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "formats/imatrix.h"
#include "hone/checkpoint.h"
#include "tests/support/byte_builder.h"
#include "tests/support/temp_dir.h"

Suite *hone_suite_imatrix(void);

static hone_temp_dir dir;
static hone_imatrix *m;
static hone_error err;

static void set_up(void)
{
    hone_temp_dir_init(&dir);
    m = NULL;
}

static void tear_down(void)
{
    hone_mem_fail_after(-1);
    hone_imatrix_close(m);
    hone_temp_dir_deinit(&dir);
}

/* Words of a script for hone_bytes_script(); every part of a GGUF file's header is u32 3 | n_tensors | n_keys | ... */
#define KV_TYPE "str=general.type u32=8 str=imatrix "
#define KV_DATASETS "str=imatrix.datasets u32=9 u32=8 u64=2 str=a.txt str=b.txt "
#define KV_CHUNKS "str=imatrix.chunk_count u32=4 u32=7 "
#define KV_SIZE "str=imatrix.chunk_size u32=4 u32=512 "
#define KEYS KV_TYPE KV_DATASETS KV_CHUNKS KV_SIZE
#define GGUF(n_tensors, n_keys) "raw=GGUF u32=3 u64=" #n_tensors " u64=" #n_keys " "
#define INFO(name, ncols, nrows, type, offset)                                                                         \
    "str=" name " u32=2 u64=" #ncols " u64=" #nrows " u32=" #type " u64=" #offset " "
#define PAD "pad=32 "
/* Two matrices of two columns, seen 4 and 2 times. */
#define SUMS INFO("w.in_sum2", 2, 2, 0, 0)
#define COUNTS INFO("w.counts", 1, 2, 0, 32)
#define SUMS_DATA "f32=4 f32=8 f32=1 f32=0 "
#define COUNTS_DATA "f32=4 f32=2 "

static const char *write_script(const char *script, uint64_t *mark)
{
    hone_bytes b = {0};
    hone_bytes_script(&b, script);
    if (mark)
        *mark = b.mark ? b.mark : HONE_NO_OFFSET;
    const char *path = hone_temp_file(&dir, "imatrix", b.data, b.n);
    hone_bytes_free(&b);
    return path;
}

static void open_script(const char *script)
{
    const hone_status status = hone_imatrix_open(write_script(script, NULL), &m, &err);
    ck_assert_msg(status == HONE_OK, "%s: %s (%llu)", err.item, err.reason, (unsigned long long)err.offset);
}

static void expect_values(const char *name, uint64_t first, size_t n, const float *expected)
{
    float values[8];
    const hone_imatrix_entry *e = hone_imatrix_find(m, name);
    ck_assert_ptr_nonnull(e);
    ck_assert_int_eq(hone_imatrix_read(m, e, first, n, values, &err), HONE_OK);
    for (size_t i = 0; i < n; i++)
        ck_assert_float_eq(values[i], expected[i]);
}

START_TEST(reads_the_gguf_form)
{
    open_script(GGUF(2, 4) KEYS SUMS COUNTS PAD SUMS_DATA PAD COUNTS_DATA PAD);
    ck_assert_uint_eq(hone_imatrix_n_entries(m), 1);
    ck_assert_str_eq(hone_imatrix_dataset(m), "a.txt");
    ck_assert_uint_eq(hone_imatrix_n_chunks(m), 7);
    const hone_imatrix_entry *e = hone_imatrix_entry_at(m, 0);
    ck_assert_str_eq(e->name, "w");
    ck_assert_uint_eq(e->n_values, 4);
    ck_assert_uint_eq(e->n_mats, 2);
    ck_assert_uint_eq(e->n_unseen, 0);
    ck_assert_uint_eq(e->n_zeros, 1);
    ck_assert_uint_eq(e->first_zero, 3);
    expect_values("w", 0, 4, (float[]){1, 2, 0.5f, 0});
    expect_values("w", 2, 1, (float[]){0.5f});
    ck_assert_ptr_null(hone_imatrix_find(m, "v"));
    ck_assert_ptr_null(hone_imatrix_entry_at(m, 1));
}
END_TEST

START_TEST(columns_of_an_unseen_matrix_are_one_and_counted_apart)
{
    open_script(GGUF(2, 4) KEYS SUMS COUNTS PAD "f32=4 f32=8 f32=0 f32=0 " PAD "f32=4 f32=0 " PAD);
    ck_assert_uint_eq(hone_imatrix_entry_at(m, 0)->n_unseen, 1);
    ck_assert_uint_eq(hone_imatrix_entry_at(m, 0)->n_zeros, 0);
    expect_values("w", 0, 4, (float[]){1, 2, 1, 1});
}
END_TEST

START_TEST(other_statistics_are_passed_over)
{
    open_script(GGUF(3, 4) KEYS INFO("w.in_sum", 2, 2, 0, 0) INFO("w.in_sum2", 2, 2, 0, 32)
                    INFO("w.counts", 1, 2, 0, 64) PAD "f32=-1 f32=nan f32=0 f32=0 " PAD SUMS_DATA PAD COUNTS_DATA PAD);
    ck_assert_uint_eq(hone_imatrix_n_entries(m), 1);
    expect_values("w", 0, 2, (float[]){1, 2});
}
END_TEST

#define ENTRY(name, n_calls, n_values) "s32=" name " u32=" #n_calls " u32=" #n_values " "

START_TEST(reads_the_legacy_form)
{
    open_script("u32=2 " ENTRY("w", 4, 2) "f32=4 f32=8 " ENTRY("a", 2, 1) "f32=0 u32=9 s32=text.txt");
    ck_assert_uint_eq(hone_imatrix_n_entries(m), 2);
    ck_assert_str_eq(hone_imatrix_entry_at(m, 0)->name, "a"); /* by name */
    ck_assert_uint_eq(hone_imatrix_entry_at(m, 0)->n_zeros, 1);
    ck_assert_str_eq(hone_imatrix_dataset(m), "text.txt");
    ck_assert_uint_eq(hone_imatrix_n_chunks(m), 9);
    expect_values("w", 0, 2, (float[]){1, 2});
    expect_values("a", 0, 1, (float[]){0});
}
END_TEST

static const char *const endings[] = {"", "u32=9 ", "u32=9 u32=0 ", "u32=0 s32=x "};

START_TEST(what_follows_the_legacy_table_may_be_missing)
{
    char script[128];
    (void)snprintf(script, sizeof script, "u32=1 " ENTRY("w", 1, 1) "f32=1 %s", endings[_i]);
    open_script(script);
    ck_assert_uint_eq(hone_imatrix_n_chunks(m), _i == 1 || _i == 2 ? 9 : 0);
}
END_TEST

enum { FORMAT = HONE_ERROR_FORMAT, DATA = HONE_ERROR_DATA, LIMIT = HONE_ERROR_LIMIT };

static const struct {
    const char *claim;
    int status;
    const char *item, *script; /* ^ marks where the error is; none: at no place */
} malformed[] = {
    /* GGUF */
    {"another GGUF file", FORMAT, "", GGUF(0, 0)},
    {"a model", FORMAT, "general.type", GGUF(0, 1) "str=general.type u32=8 str=model "},
    {"a type alone", DATA, "imatrix.datasets", GGUF(0, 1) KV_TYPE},
    {"no chunk count", DATA, "imatrix.chunk_count", GGUF(0, 3) KV_TYPE KV_DATASETS KV_SIZE},
    {"no chunk size", DATA, "imatrix.chunk_size", GGUF(0, 3) KV_TYPE KV_DATASETS KV_CHUNKS},
    {"datasets that are a string", DATA, "imatrix.datasets",
     GGUF(0, 4) KV_TYPE "str=imatrix.datasets u32=8 str=a.txt " KV_CHUNKS KV_SIZE},
    {"datasets that are numbers", DATA, "imatrix.datasets",
     GGUF(0, 4) KV_TYPE "str=imatrix.datasets u32=9 u32=4 u64=0 " KV_CHUNKS KV_SIZE},
    {"a chunk count of 64 bits", DATA, "imatrix.chunk_count",
     GGUF(0, 4) KV_TYPE KV_DATASETS "str=imatrix.chunk_count u32=10 u64=7 " KV_SIZE},
    {"no tensors", DATA, "", GGUF(0, 4) KEYS},
    {"no sums", DATA, "w.counts", GGUF(1, 4) KEYS INFO("w.counts", 1, 2, 0, 0) PAD "^ " COUNTS_DATA PAD},
    {"no counts", DATA, "w.in_sum2", GGUF(1, 4) KEYS SUMS PAD "^ " SUMS_DATA PAD},
    {"counts for one matrix more", DATA, "w.in_sum2",
     GGUF(2, 4) KEYS SUMS INFO("w.counts", 1, 3, 0, 32) PAD "^ " SUMS_DATA PAD COUNTS_DATA "f32=1 " PAD},
    {"sums of f16", DATA, "w.in_sum2",
     GGUF(2, 4) KEYS INFO("w.in_sum2", 2, 2, 1, 0) COUNTS PAD "^ zero=8 " PAD COUNTS_DATA PAD},
    {"counts of i32", DATA, "w.counts",
     GGUF(2, 4) KEYS SUMS INFO("w.counts", 1, 2, 26, 32) PAD SUMS_DATA PAD "^ " COUNTS_DATA PAD},
    {"sums of no columns", DATA, "w.in_sum2",
     GGUF(2, 4) KEYS INFO("w.in_sum2", 0, 2, 0, 0) INFO("w.counts", 1, 2, 0, 0) PAD "^ " COUNTS_DATA PAD},
    {"a sum that is NaN", DATA, "w",
     GGUF(2, 4) KEYS SUMS COUNTS PAD "f32=4 ^ f32=nan f32=1 f32=0 " PAD COUNTS_DATA PAD},
    {"a sum below zero", DATA, "w", GGUF(2, 4) KEYS SUMS COUNTS PAD "f32=4 f32=1 ^ f32=-1 f32=0 " PAD COUNTS_DATA PAD},
    {"a sum without end", DATA, "w",
     GGUF(2, 4) KEYS SUMS COUNTS PAD "f32=4 f32=1 f32=1 ^ f32=inf " PAD COUNTS_DATA PAD},
    {"a NaN where nothing was seen", DATA, "w",
     GGUF(2, 4) KEYS SUMS COUNTS PAD "f32=4 f32=1 f32=0 ^ f32=nan " PAD "f32=4 f32=0 " PAD},
    {"a count below zero", DATA, "w.counts", GGUF(2, 4) KEYS SUMS COUNTS PAD SUMS_DATA PAD "f32=4 ^ f32=-2 " PAD},
    {"a broken count", DATA, "w.counts", GGUF(2, 4) KEYS SUMS COUNTS PAD SUMS_DATA PAD "^ f32=4.5 f32=2 " PAD},
    {"a count that is NaN", DATA, "w.counts", GGUF(2, 4) KEYS SUMS COUNTS PAD SUMS_DATA PAD "^ f32=nan f32=2 " PAD},
    {"sums past the end", DATA, "w.in_sum2",
     GGUF(2, 4) KEYS "str=w.in_sum2 u32=2 u64=65536 u64=65536 u32=0 ^ u64=0 " COUNTS PAD SUMS_DATA PAD},
    {"the same sums twice", DATA, "w.in_sum2",
     GGUF(3, 4) KEYS SUMS COUNTS "^ " INFO("w.in_sum2", 2, 2, 0, 64) PAD SUMS_DATA PAD COUNTS_DATA PAD SUMS_DATA PAD},
    /* legacy */
    {"an empty file", DATA, "", "^"},
    {"three bytes", DATA, "", "^ zero=3"},
    {"no entries", FORMAT, "", "^ u32=0"},
    {"less than no entries", FORMAT, "", "^ u32=-1 zero=64"},
    {"text", FORMAT, "", "^ raw=importance"},
    {"more entries than there is room for", FORMAT, "", "^ u32=1000 zero=64"},
    {"a name of no bytes", DATA, "", "u32=1 ^ u32=0 zero=64"},
    {"a name of a negative length", DATA, "", "u32=1 ^ u32=-5 zero=64"},
    {"a name of a megabyte", DATA, "", "u32=1 ^ u32=1048576 zero=1048700"},
    {"a name past the end", DATA, "", "u32=1 ^ u32=99 zero=20"},
    {"a name with a zero byte", DATA, "", "u32=1 u32=3 ^ raw=a zero=1 raw=b u32=1 u32=1 f32=1"},
    {"calls cut short", DATA, "", "u32=1 ^ u32=15 zero=13"},
    {"no calls", DATA, "w", "u32=1 s32=w ^ u32=0 u32=1 f32=1"},
    {"less than no calls", DATA, "w", "u32=1 s32=w ^ u32=-1 u32=1 f32=1"},
    {"no values", DATA, "w", "u32=1 s32=w u32=1 ^ u32=0 f32=1"},
    {"less than no values", DATA, "w", "u32=1 s32=w u32=1 ^ u32=-1 f32=1"},
    {"values past the end", DATA, "w", "u32=1 s32=w u32=1 ^ u32=2 f32=1"},
    {"2^31 - 1 values", DATA, "w", "u32=1 s32=w u32=1 ^ u32=2147483647 f32=1"},
    {"one entry too few", DATA, "", "u32=2 " ENTRY("w", 1, 6) "zero=24 ^"},
    {"a value that is NaN", DATA, "w", "u32=1 " ENTRY("w", 1, 2) "f32=1 ^ f32=nan"},
    {"a value below zero", DATA, "w", "u32=1 " ENTRY("w", 1, 2) "^ f32=-1 f32=1"},
    {"a value without end", DATA, "w", "u32=1 " ENTRY("w", 1, 1) "^ f32=inf"},
    {"an entry twice", DATA, "w", "u32=2 " ENTRY("w", 1, 1) "f32=1 " ENTRY("w", 1, 1) "^ f32=1"},
    {"less than no chunks", DATA, "", "u32=1 " ENTRY("w", 1, 1) "f32=1 ^ u32=-1"},
    {"chunks cut short", DATA, "", "u32=1 " ENTRY("w", 1, 1) "f32=1 ^ zero=3"},
    {"a data set past the end", DATA, "", "u32=1 " ENTRY("w", 1, 1) "f32=1 u32=1 ^ u32=9 raw=x"},
    {"bytes behind the end", DATA, "", "u32=1 " ENTRY("w", 1, 1) "f32=1 u32=1 s32=x ^ zero=1"},
};

START_TEST(rejects_malformed_file)
{
    uint64_t mark;
    const char *path = write_script(malformed[_i].script, &mark);
    if (strncmp(malformed[_i].script, "^", 1) == 0)
        mark = 0;
    m = (hone_imatrix *)(void *)&err; /* to be made NULL */
    const hone_status got = hone_imatrix_open(path, &m, &err);
    ck_assert_msg(got == (hone_status)malformed[_i].status && err.status == got, "%s: %s (%s)", malformed[_i].claim,
                  hone_status_name(got), err.reason);
    ck_assert_msg(err.offset == mark, "%s: offset %llu, not %llu (%s)", malformed[_i].claim,
                  (unsigned long long)err.offset, (unsigned long long)mark, err.reason);
    ck_assert_msg(strcmp(err.item, malformed[_i].item) == 0, "%s: about \"%s\" (%s)", malformed[_i].claim, err.item,
                  err.reason);
    ck_assert_str_eq(err.file, path);
    ck_assert_ptr_null(m);
}
END_TEST

START_TEST(names_the_column_and_the_matrix)
{
    const char *script = GGUF(2, 4) KEYS SUMS COUNTS PAD "f32=4 f32=1 f32=1 f32=-1 " PAD COUNTS_DATA PAD;
    ck_assert_int_eq(hone_imatrix_open(write_script(script, NULL), &m, &err), HONE_ERROR_DATA);
    ck_assert_str_eq(err.reason, "importance of column 1 of matrix 1 is negative");
    script = "u32=1 " ENTRY("w", 1, 3) "f32=1 f32=1 f32=nan";
    ck_assert_int_eq(hone_imatrix_open(write_script(script, NULL), &m, &err), HONE_ERROR_DATA);
    ck_assert_str_eq(err.reason, "importance of column 2 is NaN");
}
END_TEST

START_TEST(refuses_values_beyond_an_entry)
{
    open_script("u32=1 " ENTRY("w", 1, 2) "f32=1 f32=1");
    float values[4];
    const hone_imatrix_entry *e = hone_imatrix_entry_at(m, 0);
    ck_assert_int_eq(hone_imatrix_read(m, e, 1, 2, values, &err), HONE_ERROR_ARG);
    ck_assert_int_eq(hone_imatrix_read(m, e, UINT64_MAX, 2, values, &err), HONE_ERROR_ARG);
    ck_assert_int_eq(hone_imatrix_read(m, e, 2, 0, values, &err), HONE_OK);
}
END_TEST

START_TEST(notices_a_file_that_shrinks)
{
    open_script("u32=1 " ENTRY("w", 1, 2) "f32=1 f32=1");
    float values[2];
    (void)write_script("u32=1 " ENTRY("w", 1, 2) "f32=1", NULL);
    ck_assert_int_eq(hone_imatrix_read(m, hone_imatrix_entry_at(m, 0), 0, 2, values, &err), HONE_ERROR_DATA);
    ck_assert_str_eq(err.file, hone_imatrix_path(m));
}
END_TEST

/* --- writing --- */

static const float sums_a[] = {4, 8, 0, 0}, counts_a[] = {4, 0}, sums_b[] = {9}, counts_b[] = {16777216};
static const hone_imatrix_sums two[] = {{"b.weight", 1, 1, sums_b, counts_b}, {"a.weight", 2, 2, sums_a, counts_a}};
static const char *const texts[] = {"one.txt", "two.txt"};
static const hone_imatrix_origin origin = {texts, 2, 11, 512};

START_TEST(reads_back_what_it_wrote)
{
    const char *path = hone_temp_path(&dir, "out.gguf");
    ck_assert_int_eq(hone_imatrix_write(path, two, 2, &origin, false, &err), HONE_OK);
    ck_assert_int_eq(hone_imatrix_open(path, &m, &err), HONE_OK);
    ck_assert_uint_eq(hone_imatrix_n_entries(m), 2);
    ck_assert_str_eq(hone_imatrix_entry_at(m, 0)->name, "a.weight");
    ck_assert_str_eq(hone_imatrix_dataset(m), "one.txt");
    ck_assert_uint_eq(hone_imatrix_n_chunks(m), 11);
    ck_assert_uint_eq(hone_imatrix_entry_at(m, 0)->n_unseen, 1);
    expect_values("a.weight", 0, 4, (float[]){1, 2, 1, 1});
    expect_values("b.weight", 0, 1, (float[]){9 * 0x1p-24f});
    ck_assert_int_eq(hone_imatrix_write(path, two, 2, &origin, false, &err), HONE_ERROR_ARG);
    ck_assert_int_eq(hone_imatrix_write(path, two, 2, &origin, true, &err), HONE_OK);
}
END_TEST

START_TEST(what_it_wrote_carries_checksums)
{
    const char *path = hone_temp_path(&dir, "out.gguf");
    const hone_context_options how = {.n_threads = 1};
    hone_context *ctx;
    hone_checkpoint *ckpt;
    size_t n_checked;
    ck_assert_int_eq(hone_imatrix_write(path, two, 2, &origin, false, &err), HONE_OK);
    ck_assert_int_eq(hone_context_new(&how, &ctx, &err), HONE_OK);
    ck_assert_int_eq(hone_checkpoint_open(path, NULL, &ckpt, &err), HONE_OK);
    ck_assert_int_eq(hone_checkpoint_check(ctx, ckpt, &n_checked, &err), HONE_OK);
    ck_assert_uint_eq(n_checked, 4);
    FILE *f = fopen(path, "r+b");
    ck_assert(f && fseek(f, (long)hone_checkpoint_tensor(ckpt, 2)->offset, SEEK_SET) == 0);
    ck_assert(fputc(1, f) == 1 && fclose(f) == 0);
    ck_assert_int_eq(hone_checkpoint_check(ctx, ckpt, &n_checked, &err), HONE_ERROR_MISMATCH);
    ck_assert_str_eq(err.item, hone_checkpoint_tensor(ckpt, 2)->name);
    hone_checkpoint_close(ckpt);
    hone_context_free(ctx);
}
END_TEST

static const float minus[] = {1, -1}, not_a_number[] = {NAN, 1}, broken[] = {1.5f};
static const struct {
    int status;
    size_t n;
    hone_imatrix_sums entries[2];
} unwritable[] = {
    {HONE_ERROR_ARG, 0, {{0}}},
    {HONE_ERROR_ARG, 2, {{"a", 1, 1, sums_b, counts_b}, {"a", 1, 1, sums_b, counts_b}}},
    {HONE_ERROR_ARG, 1, {{"a", 0, 1, sums_b, counts_b}}},
    {HONE_ERROR_ARG, 1, {{"a-name-that-together-with-its-suffix-takes-64-bytes-----", 1, 1, sums_b, counts_b}}},
    {HONE_ERROR_DATA, 1, {{"a", 2, 1, minus, counts_b}}},
    {HONE_ERROR_DATA, 1, {{"a", 2, 1, not_a_number, counts_b}}},
    {HONE_ERROR_DATA, 1, {{"a", 1, 1, sums_b, broken}}},
};

START_TEST(refuses_to_write_what_it_would_not_read)
{
    const char *path = hone_temp_path(&dir, "out.gguf");
    const hone_status status = hone_imatrix_write(path, unwritable[_i].entries, unwritable[_i].n, &origin, false, &err);
    ck_assert_int_eq(status, unwritable[_i].status);
    FILE *f = fopen(path, "rb");
    ck_assert_ptr_null(f);
}
END_TEST

START_TEST(survives_every_failing_allocation)
{
    const char *path = hone_temp_path(&dir, "out.gguf");
    long n = 0;
    hone_status status;
    do {
        hone_mem_fail_after(n++);
        status = hone_imatrix_write(path, two, 2, &origin, true, &err);
        if (status == HONE_OK)
            status = hone_imatrix_open(path, &m, &err);
        hone_mem_fail_after(-1);
        ck_assert(status == HONE_OK || status == HONE_ERROR_NOMEM);
        ck_assert((m != NULL) == (status == HONE_OK));
    } while (status != HONE_OK && n < 1000);
    ck_assert_int_eq(status, HONE_OK);
    ck_assert_int_gt(n, 10);
}
END_TEST

Suite *hone_suite_imatrix(void)
{
    Suite *s = suite_create("imatrix");
    TCase *t = tcase_create("read");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, reads_the_gguf_form);
    tcase_add_test(t, columns_of_an_unseen_matrix_are_one_and_counted_apart);
    tcase_add_test(t, other_statistics_are_passed_over);
    tcase_add_test(t, reads_the_legacy_form);
    tcase_add_loop_test(t, what_follows_the_legacy_table_may_be_missing, 0, sizeof endings / sizeof endings[0]);
    tcase_add_test(t, names_the_column_and_the_matrix);
    tcase_add_test(t, refuses_values_beyond_an_entry);
    tcase_add_test(t, notices_a_file_that_shrinks);
    suite_add_tcase(s, t);
    t = tcase_create("malformed");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_loop_test(t, rejects_malformed_file, 0, sizeof malformed / sizeof malformed[0]);
    suite_add_tcase(s, t);
    t = tcase_create("write");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, reads_back_what_it_wrote);
    tcase_add_test(t, what_it_wrote_carries_checksums);
    tcase_add_loop_test(t, refuses_to_write_what_it_would_not_read, 0, sizeof unwritable / sizeof unwritable[0]);
    tcase_add_test(t, survives_every_failing_allocation);
    suite_add_tcase(s, t);
    return s;
}
