/* SPDX-License-Identifier: MIT */
/* How many rows a table has, as tcase_add_loop_test() counts them. */
#ifndef HONE_ROW_COUNT_H
#define HONE_ROW_COUNT_H

#define COUNT(table) ((int)(sizeof(table) / sizeof(table)[0]))

#endif
