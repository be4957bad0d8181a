/* SPDX-License-Identifier: MIT */
/* The tables of values that some types have for codes, ready for lanes_lookup(). */
#ifndef HONE_CODE_TABLES_H
#define HONE_CODE_TABLES_H

/* What a scale is multiplied by: whole numbers, or the values of a table (formats/value_tables.h). */
typedef enum hone_code_kind { HONE_CODES_WHOLE = 0, HONE_CODES_IQ4, HONE_CODES_E2M1 } hone_code_kind;

/* Midpoints in the order that lanes_lookup() wants, values, and the codes that stand for them. */
typedef struct hone_code_table {
    float tree[16], values[16], codes[16];
} hone_code_table;

static const hone_code_table hone_code_tables[] = {
    [HONE_CODES_IQ4] = {.tree = {0, -4.5f, -57, 45.5f, -93.5f, -28.5f, 19, 79, -115.5f, -74, -42, -16, 7, 31.5f, 61,
                                 101},
                        .values = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113},
                        .codes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}},
    [HONE_CODES_E2M1] = {.tree = {0, 0, -3.5f, 3.5f, -7, -1.5f, 1.5f, 7, -10, -5, -2.5f, -0.5f, 0.5f, 2.5f, 5, 10},
                         .values = {-12, -8, -6, -4, -3, -2, -1, 0, 0, 1, 2, 3, 4, 6, 8, 12},
                         .codes = {15, 14, 13, 12, 11, 10, 9, 0, 0, 1, 2, 3, 4, 5, 6, 7}},
};

#endif
