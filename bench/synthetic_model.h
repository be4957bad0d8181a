/* SPDX-License-Identifier: MIT */
/* A model made of seeded random weights, large enough to time quantizers on. */
#ifndef HONE_BENCH_SYNTHETIC_MODEL_H
#define HONE_BENCH_SYNTHETIC_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "hone/context.h"

typedef enum hone_distribution { HONE_GAUSSIAN = 0, HONE_STUDENT_T5 } hone_distribution;

/* hone_synthetic_row() fills out with n (even) numbers of a distribution, of the size weights have. */
void hone_synthetic_row(uint64_t seed, hone_distribution distribution, size_t n, float *out);

/*
 * hone_synthetic_model_write() writes a GGUF file of architecture llama, without a vocabulary, at path: as many layers
 * of f16 matrices as come nearest to n_weights, at least one. Rows are Gaussian and Student-t(5) in turn. *out_weights
 * gets the number of weights in matrices.
 */
hone_status hone_synthetic_model_write(const char *path, uint64_t n_weights, uint64_t seed, int n_threads,
                                       uint64_t *out_weights, hone_error *err);

#endif
