/* SPDX-License-Identifier: MIT */
/* The cases of a suite. */
#ifndef HONE_ADD_TCASE_H
#define HONE_ADD_TCASE_H

#include <check.h>

/* add_tcase() adds a case with this fixture to suite and returns it. */
TCase *add_tcase(Suite *suite, const char *name, SFun set_up, SFun tear_down);

#endif
