/* SPDX-License-Identifier: MIT */
#include "tests/support/add_tcase.h"

TCase *add_tcase(Suite *suite, const char *name, SFun set_up, SFun tear_down)
{
    TCase *tcase = tcase_create(name);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    suite_add_tcase(suite, tcase);
    return tcase;
}
