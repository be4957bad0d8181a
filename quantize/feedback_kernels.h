/* SPDX-License-Identifier: MIT */
/* The loops of error feedback. Every level computes the same bits: nothing is fused, no sum is split. */
#ifndef HONE_FEEDBACK_KERNELS_H
#define HONE_FEEDBACK_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cpu.h"

/* Rows coded side by side, one to a lane; the most columns of one walk. */
enum { HONE_FEEDBACK_ROWS = 16, HONE_FEEDBACK_RUN = 32 };

/*
 * The values that codes stand for: scale * l + base for whole numbers l in [lo, hi], or scale * table[l], the table
 * ascending.
 */
typedef struct hone_code_range {
    int lo, hi;
    const int8_t *table; /* (hi + 1), or NULL */
} hone_code_range;

/* Some columns of HONE_FEEDBACK_ROWS rows; element j of row r is at [HONE_FEEDBACK_ROWS * j + r]. */
typedef struct hone_walk {
    size_t n;       /* columns, at most HONE_FEEDBACK_RUN */
    const float *m; /* (n, n) of M, rows m_stride apart */
    size_t m_stride;
    const float *diagonal; /* (n) of D */
    bool own_scales;       /* each column has scales of its own; else all have those of the first */
    float scale[HONE_FEEDBACK_RUN * HONE_FEEDBACK_ROWS], base[HONE_FEEDBACK_RUN * HONE_FEEDBACK_ROWS];
    float w[HONE_FEEDBACK_RUN * HONE_FEEDBACK_ROWS]; /* the weights */
    float x[HONE_FEEDBACK_RUN * HONE_FEEDBACK_ROWS]; /* in: with the feedback of all columns before; out: of all */
    float e[HONE_FEEDBACK_RUN * HONE_FEEDBACK_ROWS]; /* out: w less what its code stands for */
    float loss[HONE_FEEDBACK_ROWS];                  /* what the columns add to a row's error is added */
    uint8_t codes[HONE_FEEDBACK_RUN * HONE_FEEDBACK_ROWS]; /* out: l - lo */
} hone_walk;

typedef struct hone_feedback_kernels {
    /* Codes columns one after the other, and feeds what each leaves to those behind it. */
    void (*walk)(const hone_code_range *range, hone_walk *w);
    /* Y (HONE_FEEDBACK_ROWS, n) += A (HONE_FEEDBACK_ROWS, depth) B (depth, n); n is a multiple of 16. Terms are added
     * in order. Strides are those of rows. */
    void (*add_product)(const float *a, size_t a_stride, const float *b, size_t b_stride, size_t depth, size_t n,
                        float *y, size_t y_stride);
    /* Row y (n) -= sum over t of a[t] B[t]; rows of B (depth, n) are b_stride apart. Terms are subtracted in order. */
    void (*subtract_rows)(const double *a, const double *b, size_t b_stride, size_t depth, size_t n, double *y);
} hone_feedback_kernels;

extern const hone_feedback_kernels hone_feedback_ref;
#if defined(__x86_64__)
extern const hone_feedback_kernels hone_feedback_avx2, hone_feedback_avx512;
#endif

/* hone_feedback_kernels_for() returns the kernels of a CPU level. */
const hone_feedback_kernels *hone_feedback_kernels_for(hone_cpu_level cpu);

#endif
