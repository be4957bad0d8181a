/* SPDX-License-Identifier: MIT */
/*
 * Aligned columns on stdout.
 *
 *     hone_cli_table *t = hone_cli_table_new("<name|>bytes");
 *     hone_cli_table_cell(t, "%s", name);
 *     hone_cli_table_cell(t, "%d", nbytes);
 *     hone_cli_table_print(t);
 */
#ifndef HONE_CLI_TABLE_H
#define HONE_CLI_TABLE_H

#include <stdint.h>

#include "hone/status.h"
#include "hone/tensor.h"

typedef struct hone_cli_table hone_cli_table;

/*
 * hone_cli_table_new() starts a table. columns: headings separated by '|', each led by '<' (left-aligned) or '>'
 * (right-aligned). No heading line is printed when all of them are empty. Ends the program when memory runs out, as the
 * other calls do.
 */
hone_cli_table *hone_cli_table_new(const char *columns);

/* hone_cli_table_cell() fills the next cell, row by row. Control characters are shown as '?'. */
void hone_cli_table_cell(hone_cli_table *t, const char *fmt, ...) HONE_PRINTF(2, 3);

/* hone_cli_table_print() prints the table to stdout and frees it. */
void hone_cli_table_print(hone_cli_table *t);

enum { HONE_CLI_SHAPE_LEN = HONE_MAX_DIMS * 22 + 3 };

/* hone_cli_shape() writes a shape for a cell: "[32000, 4096]", outermost axis first. Returns buf. */
const char *hone_cli_shape(const uint64_t *shape, unsigned n_dims, char buf[HONE_CLI_SHAPE_LEN]);

#endif
