/* SPDX-License-Identifier: MIT */
/* Rows of weights that have undone an encoder somewhere: ties, limits, zeros, outliers; and ordinary ones. Seeded. */
#ifndef HONE_FILLS_H
#define HONE_FILLS_H

#include <stddef.h>

enum { HONE_N_FILLS = 18, HONE_FILL_SEED = 20260101 };

typedef struct hone_fill {
    const char *name;
    void (*fill)(float *x, size_t n); /* finite numbers; n at least 16 */
} hone_fill;

extern const hone_fill hone_fills[HONE_N_FILLS];

#endif
