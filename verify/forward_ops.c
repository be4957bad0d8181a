/* SPDX-License-Identifier: MIT */
#include "verify/forward_ops.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

void hone_rmsnorm(const float *x, const float *weight, size_t n, double eps, float *y)
{
    /* Eight sums: one would wait for each addition before the next. */
    double sums[8] = {0}, squares = 0;
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (size_t k = 0; k < 8; k++)
            sums[k] += (double)x[i + k] * (double)x[i + k];
    for (; i < n; i++)
        squares += (double)x[i] * (double)x[i];
    for (size_t k = 0; k < 8; k++)
        squares += sums[k];
    const double scale = 1.0 / sqrt(squares / (double)n + eps);
    for (i = 0; i < n; i++)
        y[i] = (float)((double)x[i] * scale * (double)weight[i]);
}

void hone_layernorm(const float *x, const float *weight, const float *bias, size_t n, double eps, float *y)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i];
    const double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    const double scale = 1.0 / sqrt(squares / (double)n + eps);
    for (size_t i = 0; i < n; i++)
        y[i] = (float)(((double)x[i] - mean) * scale * (double)weight[i] + (double)bias[i]);
}

void hone_gelu(float *z, size_t n)
{
    const float inv_sqrt2 = 0.70710678f;
    for (size_t i = 0; i < n; i++)
        z[i] = 0.5f * z[i] * (1.0f + erff(z[i] * inv_sqrt2));
}

void hone_gelu_tanh(float *z, size_t n)
{
    hone_forward_ref.gelu_tanh(z, n);
}

void hone_silu_gate(float *gate, const float *up, size_t n)
{
    hone_forward_ref.silu_gate(gate, up, n);
}

void hone_rope_angles(size_t position, const double *inv_freq, size_t n_rot, float *cosines, float *sines)
{
    for (size_t i = 0; i < n_rot / 2; i++) {
        const double angle = (double)position * inv_freq[i];
        cosines[i] = (float)cos(angle);
        sines[i] = (float)sin(angle);
    }
}

void hone_rope(float *x, const float *cosines, const float *sines, size_t n_rot, bool interleaved)
{
    const size_t half = n_rot / 2;
    const size_t step = interleaved ? 2 : 1, apart = interleaved ? 1 : half;
    for (size_t i = 0; i < half; i++) {
        float *a = x + i * step, *b = a + apart;
        const float u = *a, v = *b;
        *a = u * cosines[i] - v * sines[i];
        *b = v * cosines[i] + u * sines[i];
    }
}

void hone_attend(const hone_attention *a)
{
    /* Keys that no query of this block sees are left out of both products. */
    const size_t key0 = a->window && a->first + 1 > a->window ? a->first + 1 - a->window : 0;
    const size_t n_keys = a->first + a->n_queries - key0;
    const int rows = (int)a->n_queries, cols = (int)n_keys, depth = (int)a->head_dim;
    const int query_stride = (int)a->query_stride, key_stride = (int)a->key_stride, out_stride = (int)a->out_stride;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, cols, depth, (float)a->scale, a->query, query_stride,
                a->keys + key0 * a->key_stride, key_stride, 0.0f, a->scores, cols);
    for (size_t q = 0; q < a->n_queries; q++) {
        const size_t position = a->first + q;
        const size_t oldest = a->window && position + 1 > a->window ? position + 1 - a->window : 0;
        float *row = a->scores + q * n_keys;
        const size_t begin = oldest - key0, end = position + 1 - key0;
        a->kernels->softmax(row + begin, end - begin);
        memset(row, 0, begin * sizeof *row);
        memset(row + end, 0, (n_keys - end) * sizeof *row);
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, depth, cols, 1.0f, a->scores, cols,
                a->values + key0 * a->key_stride, key_stride, 0.0f, a->out, out_stride);
}
