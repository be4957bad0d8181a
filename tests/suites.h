/* SPDX-License-Identifier: MIT */
/* Every suite of the test program, one line each: SUITE(area) is Suite *hone_suite_area(void) in test_area.c. */
SUITE(base)
