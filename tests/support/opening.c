/* SPDX-License-Identifier: MIT */
#include "tests/support/opening.h"

#include <check.h>
#include <string.h>

#include "base/mem.h"
#include "formats/sources.h"

hone_checkpoint *must_open(const char *path)
{
    hone_checkpoint *ckpt;
    hone_error err;
    const hone_status status = hone_checkpoint_open(path, NULL, &ckpt, &err);
    ck_assert_msg(status == HONE_OK, "%s: %s: %s (%llu)", err.file, err.item, err.reason,
                  (unsigned long long)err.offset);
    return ckpt;
}

void expect_error(const char *path, const char *claim, hone_status status, uint64_t at, const char *item)
{
    expect_error_in(path, path, claim, status, at, item);
}

void expect_error_in(const char *path, const char *file, const char *claim, hone_status status, uint64_t at,
                     const char *item)
{
    hone_checkpoint dirty, *ckpt = &dirty; /* a failure has to set it to NULL */
    hone_error err;
    const hone_status got = hone_checkpoint_open(path, NULL, &ckpt, &err);
    ck_assert_msg(got == status && err.status == status, "%s: %s (%s)", claim, hone_status_name(got), err.reason);
    ck_assert_msg(err.offset == at, "%s: offset %llu, not %llu (%s)", claim, (unsigned long long)err.offset,
                  (unsigned long long)at, err.reason);
    ck_assert_msg(!item || strcmp(err.item, item) == 0, "%s: item \"%s\"", claim, err.item);
    const size_t len = strlen(err.file), file_len = strlen(file);
    ck_assert_msg(len >= file_len && strcmp(err.file + len - file_len, file) == 0, "%s: file %s", claim, err.file);
    ck_assert_msg(ckpt == NULL, "%s: a source in spite of the error", claim);
}

void fail_each_allocation(hone_status (*attempt)(void *user), void *user, long at_least)
{
    for (long n = 0;; n++) {
        ck_assert_int_lt(n, 10000);
        hone_mem_fail_after(n);
        const hone_status status = attempt(user);
        hone_mem_fail_after(-1);
        if (status == HONE_OK) {
            ck_assert_int_ge(n, at_least);
            return;
        }
        ck_assert_msg(status == HONE_ERROR_NOMEM, "allocation %ld: %s", n, hone_status_name(status));
    }
}

static hone_status open_once(void *path)
{
    hone_checkpoint dirty, *ckpt = &dirty;
    hone_error err;
    const hone_status status = hone_checkpoint_open(path, NULL, &ckpt, &err);
    hone_mem_fail_after(-1);
    if (status != HONE_OK) {
        ck_assert_int_eq(err.status, status);
        ck_assert_ptr_null(ckpt);
    }
    hone_checkpoint_close(status == HONE_OK ? ckpt : NULL);
    return status;
}

void fail_each_allocation_of_opening(const char *path, long at_least)
{
    char copy[1024]; /* the test's own may be a buffer that it goes on using */
    ck_assert_uint_lt(strlen(path), sizeof copy);
    fail_each_allocation(open_once, strcpy(copy, path), at_least);
}
