/* SPDX-License-Identifier: MIT */
#include <check.h>

#include "base/arith.h"

Suite *hone_suite_base(void);

START_TEST(products_that_overflow_are_refused)
{
    size_t out;
    ck_assert(!hone_mul_size(SIZE_MAX, 2, &out));
    ck_assert(hone_mul_size(3, 4, &out));
    ck_assert_uint_eq(out, 12);
}
END_TEST

Suite *hone_suite_base(void)
{
    Suite *suite = suite_create("base");
    TCase *core = tcase_create("core");
    tcase_add_test(core, products_that_overflow_are_refused);
    suite_add_tcase(suite, core);
    return suite;
}
