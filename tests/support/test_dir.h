/* SPDX-License-Identifier: MIT */
/* The directory of a test that needs one: a fixture, tcase_add_checked_fixture(tcase, make_dir, remove_dir). */
#ifndef HONE_TEST_DIR_H
#define HONE_TEST_DIR_H

#include "tests/support/temp_dir.h"

/* Global because Check's fixtures take no argument; each test runs in a process of its own. */
extern hone_temp_dir dir;

void make_dir(void);

/* remove_dir() also ends what hone_mem_fail_after() began, should the test not have come to it. */
void remove_dir(void);

#endif
