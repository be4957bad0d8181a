/* SPDX-License-Identifier: MIT */
/*
 * Arithmetic on HONE_LANES floats at a time: 1 (portable C), 4 (NEON), 8 (AVX2) or 16 (AVX-512). Include after defining
 * HONE_LANES. A file written over these is compiled once for each width.
 *
 * + - * / are the compiler's own, which act on each lane. Every operation here gives a lane what it gives a float, so
 * that all widths compute the same bits; nothing is fused, nothing is summed across lanes.
 */
#ifndef HONE_LANES_H
#define HONE_LANES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Before a loop over a few vectors that should stay in registers. */
#if defined(__clang__)
#define LANES_UNROLL
#else
#define LANES_UNROLL _Pragma("GCC unroll 16")
#endif

#if HONE_LANES == 16
#include "quantize/lanes_avx512.h"
#elif HONE_LANES == 8
#include "quantize/lanes_avx2.h"
#elif HONE_LANES == 4
#include "quantize/lanes_neon.h"
#else

typedef float lanes;
typedef bool lane_mask;

static inline lanes lanes_load(const float *p)
{
    return *p;
}

static inline void lanes_store(float *p, lanes v)
{
    *p = v;
}

static inline lanes lanes_all(float f)
{
    return f;
}

static inline lanes lanes_max(lanes a, lanes b)
{
    return a > b ? a : b;
}

static inline lanes lanes_min(lanes a, lanes b)
{
    return a < b ? a : b;
}

static inline lanes lanes_abs(lanes v)
{
    return __builtin_fabsf(v);
}

static inline lane_mask lanes_less(lanes a, lanes b)
{
    return a < b;
}

static inline lane_mask lanes_both(lane_mask a, lane_mask b)
{
    return a && b;
}

static inline lanes lanes_choose(lane_mask m, lanes yes, lanes no)
{
    return m ? yes : no;
}

static inline void lanes_columns(const float *src, size_t stride, lanes out[1])
{
    (void)stride;
    out[0] = *src;
}

static inline void lanes_store_bytes(uint8_t *p, lanes v)
{
    *p = (uint8_t)v;
}

typedef struct lane_table {
    const float *tree, *values;
} lane_table;

static inline lane_table lanes_table(const float tree[16], const float values[16])
{
    return (lane_table){tree, values};
}

static inline lanes lanes_lookup(const lane_table *t, lanes v)
{
    int node = 1;
    while (node < 16)
        node = 2 * node + !(v < t->tree[node]);
    return t->values[node - 16];
}

#endif

/* The nearest integer, ties to even, for |v| <= 2^22: adding 1.5 * 2^23 puts the ulp of the sum at 1. */
static inline lanes lanes_round(lanes v)
{
    const lanes big = lanes_all(12582912.0f);
    return (v + big) - big;
}

/* The nearest integer within [lo, hi], which are integers of at most 2^22; lo for NaN. */
static inline lanes lanes_round_within(lanes v, lanes lo, lanes hi)
{
    return lanes_round(lanes_min(lanes_max(v, lo), hi));
}

#if HONE_LANES > 1
/* clamp(hone_nearest(v), lo, hi), whatever v is: the integer is read off the mantissa, as it is there. */
static inline lanes lanes_nearest(lanes v, lanes lo, lanes hi)
{
    const lane_ints bits = (lane_ints)(v + lanes_all(12582912.0f));
    const lanes l = (lanes) __builtin_convertvector((bits & 0x007fffff) - 0x00400000, lanes);
    return lanes_min(lanes_max(l, lo), hi);
}
#endif

#endif
