/* SPDX-License-Identifier: MIT */
/*
 * Row operations of a forward pass that take an exponential for each value. f32 in and out. The exponential is within
 * 2 units in the last place; every level computes the same bits.
 */
#ifndef HONE_FORWARD_KERNELS_H
#define HONE_FORWARD_KERNELS_H

#include <stddef.h>

#include "base/cpu.h"

typedef struct hone_forward_kernels {
    /* Turns n scores, at least one, into probabilities. Their sum is taken in f64. */
    void (*softmax)(float *row, size_t n);
    /* gate[i] = gate[i] / (1 + exp(-gate[i])) * up[i] */
    void (*silu_gate)(float *gate, const float *up, size_t n);
    /* z = z/2 * (1 + tanh(u)) = z / (1 + exp(-2 u)), u = sqrt(2 / pi) * (z + 0.044715 z³) */
    void (*gelu_tanh)(float *z, size_t n);
} hone_forward_kernels;

extern const hone_forward_kernels hone_forward_ref;
#if defined(__x86_64__)
extern const hone_forward_kernels hone_forward_avx2, hone_forward_avx512;
#endif

/* hone_forward_kernels_for() returns the kernels of a CPU level. */
const hone_forward_kernels *hone_forward_kernels_for(hone_cpu_level cpu);

#endif
