/* SPDX-License-Identifier: MIT */
#include "cli/table.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/report.h"

enum { MAX_COLUMNS = 16, MAX_CELL = 1024 };

struct hone_cli_table {
    size_t n_columns;
    bool right[MAX_COLUMNS], headed;
    char **cells; /* row by row; the first row holds the headings */
    size_t n_cells, cap_cells;
};

/* Code points, which is columns for the text we print; wide and combining characters may misalign a line. */
static size_t columns_of(const char *s)
{
    size_t n = 0;
    for (; *s; s++)
        n += ((unsigned char)*s & 0xC0) != 0x80;
    return n;
}

static void append(hone_cli_table *t, const char *s, size_t len)
{
    if (t->n_cells == t->cap_cells) {
        const size_t cap = t->cap_cells ? 2 * t->cap_cells : 64;
        char **grown = realloc(t->cells, cap * sizeof *grown);
        if (!grown)
            hone_cli_out_of_memory();
        t->cells = grown;
        t->cap_cells = cap;
    }
    char *copy = hone_cli_alloc(len + 1, 1);
    memcpy(copy, s, len);
    t->cells[t->n_cells++] = copy;
}

hone_cli_table *hone_cli_table_new(const char *columns)
{
    hone_cli_table *t = hone_cli_alloc(1, sizeof *t);
    for (const char *p = columns; t->n_columns < MAX_COLUMNS;) {
        t->right[t->n_columns++] = *p++ == '>';
        const size_t len = strcspn(p, "|");
        t->headed |= len > 0;
        append(t, p, len);
        if (!p[len])
            break;
        p += len + 1;
    }
    return t;
}

void hone_cli_table_cell(hone_cli_table *t, const char *fmt, ...)
{
    char text[MAX_CELL], safe[MAX_CELL];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    (void)hone_cli_printable(text, strlen(text), SIZE_MAX, safe, sizeof safe);
    append(t, safe, strlen(safe));
}

static void print_row(const hone_cli_table *t, char *const *row, const size_t *widths)
{
    size_t owed = 0; /* spaces not printed yet, so that no line ends in any */
    for (size_t c = 0; c < t->n_columns; c++) {
        const size_t width = columns_of(row[c]), pad = widths[c] - width;
        owed += t->right[c] ? pad : 0;
        if (width > 0) {
            (void)printf("%*s%s", (int)owed, "", row[c]);
            owed = 0;
        }
        owed += t->right[c] ? 2 : pad + 2;
    }
    (void)putchar('\n');
}

void hone_cli_table_print(hone_cli_table *t)
{
    size_t widths[MAX_COLUMNS] = {0};
    while (t->n_cells % t->n_columns)
        append(t, "", 0);
    for (size_t i = 0; i < t->n_cells; i++) {
        const size_t width = columns_of(t->cells[i]), c = i % t->n_columns;
        widths[c] = width > widths[c] ? width : widths[c];
    }
    for (size_t i = t->headed ? 0 : t->n_columns; i < t->n_cells; i += t->n_columns)
        print_row(t, t->cells + i, widths);
    for (size_t i = 0; i < t->n_cells; i++)
        free(t->cells[i]);
    free(t->cells);
    free(t);
}

const char *hone_cli_shape(const uint64_t *shape, unsigned n_dims, char buf[HONE_CLI_SHAPE_LEN])
{
    size_t used = 0;
    buf[used++] = '[';
    for (unsigned i = 0; i < n_dims && i < HONE_MAX_DIMS; i++)
        used += (size_t)snprintf(buf + used, HONE_CLI_SHAPE_LEN - used, "%s%" PRIu64, i ? ", " : "", shape[i]);
    buf[used++] = ']';
    buf[used] = '\0';
    return buf;
}
