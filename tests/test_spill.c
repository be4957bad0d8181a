/* SPDX-License-Identifier: MIT */
/* Records in memory and in a file without a name. */
#include <check.h>
#include <dirent.h>
#include <string.h>

#include "base/mem.h"
#include "base/spill.h"
#include "tests/support/test_dir.h"

Suite *hone_suite_spill(void);

enum { N_RECORDS = 37, RECORD_NBYTES = 1001, NBYTES = N_RECORDS * RECORD_NBYTES };

static hone_error err;

static const unsigned char *record(size_t i, unsigned version)
{
    static unsigned char bytes[RECORD_NBYTES];
    for (size_t k = 0; k < RECORD_NBYTES; k++)
        bytes[k] = (unsigned char)((i + 1) * 31 + k * (version + 7) + k / 256);
    return bytes;
}

static size_t count_entries(void)
{
    size_t n = 0;
    DIR *d = opendir(dir.path);
    ck_assert_ptr_nonnull(d);
    while (readdir(d))
        n++;
    (void)closedir(d);
    return n - 2; /* . and .. */
}

/* In memory (_i 0), in a file (1): a byte decides. */
START_TEST(records_come_back_in_any_order)
{
    unsigned char got[RECORD_NBYTES];
    hone_spill spill;
    const char *beside = hone_temp_path(&dir, "out.gguf");
    ck_assert_int_eq(hone_spill_init(N_RECORDS, RECORD_NBYTES, NBYTES - _i, beside, &spill, &err), HONE_OK);
    ck_assert((spill.memory != NULL) == (_i == 0));
    ck_assert((spill.fd >= 0) == (_i == 1));
    ck_assert_uint_eq(count_entries(), 0);
    for (size_t k = 0; k < N_RECORDS; k++) {
        const size_t i = k * 10 % N_RECORDS;
        ck_assert_int_eq(hone_spill_put(&spill, i, record(i, 0), &err), HONE_OK);
    }
    for (size_t i = 0; i < N_RECORDS; i += 3)
        ck_assert_int_eq(hone_spill_put(&spill, i, record(i, 1), &err), HONE_OK);
    for (size_t i = N_RECORDS; i-- > 0;) {
        ck_assert_int_eq(hone_spill_get(&spill, i, got, &err), HONE_OK);
        ck_assert_mem_eq(got, record(i, i % 3 == 0), RECORD_NBYTES);
    }
    hone_spill_deinit(&spill);
    ck_assert(spill.fd == -1 && !spill.memory && !spill.dir);
    hone_spill_deinit(&spill); /* again: nothing */
}
END_TEST

START_TEST(a_directory_that_is_missing_is_told)
{
    hone_spill spill;
    const char *beside = hone_temp_path(&dir, "missing/out.gguf");
    ck_assert_int_eq(hone_spill_init(1, 2, 1, beside, &spill, &err), HONE_ERROR_IO);
    ck_assert_ptr_nonnull(strstr(err.file, "missing"));
    ck_assert_ptr_nonnull(strstr(err.reason, "cannot make a temporary file"));
    ck_assert(spill.fd == -1 && !spill.memory && !spill.dir);
}
END_TEST

START_TEST(sizes_that_overflow_are_refused)
{
    hone_spill spill;
    ck_assert_int_eq(hone_spill_init(SIZE_MAX / 2, 3, UINT64_MAX, "out", &spill, &err), HONE_ERROR_NOMEM);
    ck_assert_int_eq(spill.fd, -1);
}
END_TEST

START_TEST(every_failing_allocation_is_reported)
{
    const char *beside = hone_temp_path(&dir, "out.gguf");
    hone_status status;
    long n = 0;
    do {
        hone_spill spill;
        hone_mem_fail_after(n++);
        status = hone_spill_init(N_RECORDS, RECORD_NBYTES, _i ? 0 : NBYTES, beside, &spill, &err);
        hone_mem_fail_after(-1);
        ck_assert(status == HONE_OK || (status == HONE_ERROR_NOMEM && spill.fd == -1));
        hone_spill_deinit(&spill);
    } while (status != HONE_OK && n < 10);
    ck_assert_int_eq(status, HONE_OK);
    ck_assert_int_gt(n, 1);
    ck_assert_uint_eq(count_entries(), 0);
}
END_TEST

Suite *hone_suite_spill(void)
{
    Suite *s = suite_create("spill");
    TCase *tc = tcase_create("core");
    tcase_add_checked_fixture(tc, make_dir, remove_dir);
    tcase_add_loop_test(tc, records_come_back_in_any_order, 0, 2);
    tcase_add_test(tc, a_directory_that_is_missing_is_told);
    tcase_add_test(tc, sizes_that_overflow_are_refused);
    tcase_add_loop_test(tc, every_failing_allocation_is_reported, 0, 2);
    suite_add_tcase(s, tc);
    return s;
}
