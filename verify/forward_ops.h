/* SPDX-License-Identifier: MIT */
/*
 * The operations between the matrix products of a transformer. f32 in and out, sums in f64.
 *
 * Each works on the rows of one caller and allocates nothing.
 */
#ifndef HONE_FORWARD_OPS_H
#define HONE_FORWARD_OPS_H

#include <stdbool.h>
#include <stddef.h>

#include "verify/forward_kernels.h"

/* hone_rmsnorm() computes y[i] = x[i] / sqrt(mean(x²) + eps) * weight[i] over one row of n. y may be x. */
void hone_rmsnorm(const float *x, const float *weight, size_t n, double eps, float *y);

/* hone_layernorm() computes y[i] = (x[i] - mean(x)) / sqrt(variance(x) + eps) * weight[i] + bias[i]. y may be x. */
void hone_layernorm(const float *x, const float *weight, const float *bias, size_t n, double eps, float *y);

/* hone_gelu() computes z = z/2 * (1 + erf(z / sqrt(2))), and hone_gelu_tanh() the approximation
 * z/2 * (1 + tanh(sqrt(2 / pi) * (z + 0.044715 z³))), over n values in place. */
void hone_gelu(float *z, size_t n);
void hone_gelu_tanh(float *z, size_t n);

/* hone_silu_gate() computes gate[i] = silu(gate[i]) * up[i], with silu(z) = z / (1 + exp(-z)). */
void hone_silu_gate(float *gate, const float *up, size_t n);

/* hone_rope_angles() fills cos and sin (n_rot / 2) with those of position * inv_freq[i]. */
void hone_rope_angles(size_t position, const double *inv_freq, size_t n_rot, float *cosines, float *sines);

/*
 * hone_rope() rotates the first n_rot elements of one head. Pair i is (x[i], x[i + n_rot/2]), or (x[2i], x[2i + 1])
 * when interleaved, and turns by the angle i.
 */
void hone_rope(float *x, const float *cosines, const float *sines, size_t n_rot, bool interleaved);

/*
 * One head's causal attention for the queries first .. first + n_queries - 1 of a sequence:
 *
 *     out[q] = sum over k of softmax(scale * query[q] · key[k]) value[k],   q - window < k <= q
 *
 * query and out point at the row of position `first`, keys and values at that of position 0. Rows are head_dim long and
 * their stride apart, in floats. window 0: no limit. scores is scratch of n_queries * (first + n_queries) floats.
 */
typedef struct hone_attention {
    const float *query, *keys, *values;
    float *out, *scores;
    size_t first, n_queries, head_dim, window;
    size_t query_stride, key_stride, out_stride; /* key_stride: of keys and values */
    double scale;
    const hone_forward_kernels *kernels;
} hone_attention;

void hone_attend(const hone_attention *a);

#endif
