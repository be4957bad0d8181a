/* SPDX-License-Identifier: MIT */
/*
 * The sums of hone_measure_rows() over blocks of ordinary floats.
 *
 * A block's elements go round eight lanes; what the lanes hold is added as ((0+4)+(1+5))+((2+6)+(3+7)). All in f32, in
 * this order on every CPU.
 */
#ifndef HONE_MEASURE_KERNELS_H
#define HONE_MEASURE_KERNELS_H

#include <stddef.h>

/* Of one block: squared error, squares of x, squares of y, products. */
typedef struct hone_block_sums {
    float squared_error, squared_source, squared_output, dot;
} hone_block_sums;

/* n_blocks blocks of block elements (a multiple of 8): x the source, y the output. */
typedef void (*hone_measure_fn)(const float *x, const float *y, size_t n_blocks, size_t block, hone_block_sums *out);

#if defined(__x86_64__)
void hone_measure_blocks_avx2(const float *x, const float *y, size_t n_blocks, size_t block, hone_block_sums *out);
#endif

#endif
