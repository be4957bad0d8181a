/* SPDX-License-Identifier: MIT */
/*
 * The kernels of a forward pass: included once by each instruction set's file, which says what they are called. Plain
 * loops over blocks of 16, which the compiler turns into its vectors; nothing is fused, and sums have one order.
 */
#include "verify/forward_kernels.h"

#include <stdint.h>
#include <string.h>

enum { BLOCK = 16 };

/*
 * x = exp(x), for |x| up to 88 and cut off there; NaN stays. With n the whole number nearest to x / ln 2 and
 * r = x - n ln 2, exp(x) = 2^n exp(r), |r| < 0.35. The polynomial is Taylor's to r^7, whose next term is below
 * 0.35^8 / 8! = 6e-9; ln 2 is taken in two parts, the first of 15 bits so that n times it is exact.
 */
static inline void exps(float x[BLOCK])
{
    const float limit = 88.0f, log2_e = 1.44269504f, shift = 0x1.8p23f, ln2_high = 0x1.62e4p-1f,
                ln2_low = 0x1.7f7d1cp-20f;
    float r[BLOCK], power[BLOCK];
    int32_t bits[BLOCK], shift_bits;
    for (int i = 0; i < BLOCK; i++) {
        x[i] = x[i] > limit ? limit : x[i];
        x[i] = x[i] < -limit ? -limit : x[i];
        r[i] = x[i] * log2_e + shift; /* its low bits are n */
    }
    memcpy(bits, r, sizeof bits);
    memcpy(&shift_bits, &shift, sizeof shift_bits);
    for (int i = 0; i < BLOCK; i++)
        bits[i] = (int32_t)((uint32_t)(bits[i] - shift_bits + 127) << 23);
    memcpy(power, bits, sizeof power);
    for (int i = 0; i < BLOCK; i++) {
        const float n = r[i] - shift;
        const float t = (x[i] - n * ln2_high) - n * ln2_low;
        float sum = 1.0f / 5040;
        sum = sum * t + 1.0f / 720;
        sum = sum * t + 1.0f / 120;
        sum = sum * t + 1.0f / 24;
        sum = sum * t + 1.0f / 6;
        sum = sum * t + 0.5f;
        sum = sum * (t * t) + t;
        x[i] = (sum + 1.0f) * power[i];
    }
}

/* Blocks of a row, the last one filled up with zeros. */
static inline size_t load(const float *row, size_t first, size_t n, float block[BLOCK])
{
    const size_t left = n - first;
    if (left >= BLOCK) {
        memcpy(block, row + first, BLOCK * sizeof *block);
        return BLOCK;
    }
    memset(block, 0, BLOCK * sizeof *block);
    memcpy(block, row + first, left * sizeof *block);
    return left;
}

static inline void store(const float block[BLOCK], size_t count, float *dst)
{
    if (count == BLOCK)
        memcpy(dst, block, BLOCK * sizeof *block);
    else
        memcpy(dst, block, count * sizeof *block);
}

static float largest(const float *row, size_t n)
{
    float block[BLOCK], max[BLOCK];
    for (int i = 0; i < BLOCK; i++)
        max[i] = row[0];
    for (size_t first = 0; first + BLOCK <= n; first += BLOCK) {
        memcpy(block, row + first, sizeof block);
        for (int i = 0; i < BLOCK; i++)
            max[i] = block[i] > max[i] ? block[i] : max[i];
    }
    for (size_t i = n - n % BLOCK; i < n; i++)
        max[0] = row[i] > max[0] ? row[i] : max[0];
    for (int i = 1; i < BLOCK; i++)
        max[0] = max[i] > max[0] ? max[i] : max[0];
    return max[0];
}

static void softmax(float *row, size_t n)
{
    const float max = largest(row, n);
    double sums[BLOCK] = {0}, sum = 0;
    float block[BLOCK];
    for (size_t first = 0; first < n; first += BLOCK) {
        const size_t count = load(row, first, n, block);
        for (int i = 0; i < BLOCK; i++)
            block[i] -= max;
        exps(block);
        store(block, count, row + first);
        for (size_t i = count; i < BLOCK; i++)
            block[i] = 0;
        for (int i = 0; i < BLOCK; i++)
            sums[i] += (double)block[i];
    }
    for (int i = 0; i < BLOCK; i++)
        sum += sums[i];
    const float scale = (float)(1.0 / sum);
    for (size_t i = 0; i < n; i++)
        row[i] *= scale;
}

static void silu_gate(float *gate, const float *up, size_t n)
{
    float g[BLOCK], u[BLOCK], e[BLOCK];
    for (size_t first = 0; first < n; first += BLOCK) {
        const size_t count = load(gate, first, n, g);
        (void)load(up, first, n, u);
        for (int i = 0; i < BLOCK; i++)
            e[i] = -g[i];
        exps(e);
        for (int i = 0; i < BLOCK; i++)
            g[i] = g[i] / (1.0f + e[i]) * u[i];
        store(g, count, gate + first);
    }
}

static void gelu_tanh(float *z, size_t n)
{
    const float minus_2_sqrt_2_over_pi = -1.59576912f;
    float x[BLOCK], e[BLOCK];
    for (size_t first = 0; first < n; first += BLOCK) {
        const size_t count = load(z, first, n, x);
        for (int i = 0; i < BLOCK; i++)
            e[i] = minus_2_sqrt_2_over_pi * (x[i] + 0.044715f * x[i] * x[i] * x[i]);
        exps(e);
        for (int i = 0; i < BLOCK; i++)
            x[i] = x[i] / (1.0f + e[i]);
        store(x, count, z + first);
    }
}

const hone_forward_kernels HONE_FORWARD_KERNELS = {
    .softmax = softmax,
    .silu_gate = silu_gate,
    .gelu_tanh = gelu_tanh,
};
