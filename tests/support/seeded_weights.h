/* SPDX-License-Identifier: MIT */
/* Weights that look like a model's, the same on every machine and in Python: see golden_weights() of check_blocks.py.
 */
#ifndef HONE_SEEDED_WEIGHTS_H
#define HONE_SEEDED_WEIGHTS_H

#include <stddef.h>
#include <stdint.h>

/* splitmix64 of a counter: the i-th of a stream of 64 random bits. */
uint64_t hone_seeded_bits(uint64_t seed, uint64_t i);

/* Heavy-tailed, within +-0.1 but for one outlier in 509 forty times as large; some groups of 16 are zero. */
void hone_seeded_weights(uint64_t seed, size_t n, float *out);

/* Squares of numbers in [0, 1); the first 32 are zero. */
void hone_seeded_importance(uint64_t seed, size_t n, float *out);

#endif
