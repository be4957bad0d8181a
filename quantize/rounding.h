/* SPDX-License-Identifier: MIT */
/*
 * From a real to a code, in the three ways of ggml. Each is defined for every float, infinities and NaN included, and
 * gives the same on every machine: extreme weights can overflow an inverse scale, and C leaves such a cast undefined.
 */
#ifndef HONE_ROUNDING_H
#define HONE_ROUNDING_H

#include <stdint.h>

#include "base/half.h"

/*
 * Nearest integer, ties to even, for |v| <= 2^22. Adding 1.5 * 2^23 puts the ulp of the sum at 1, so the addition
 * rounds and the integer can be read off the mantissa. Beyond that range the result is what the mantissa holds: NaN
 * gives 0, infinities -2^22, as in ggml's nearest_int().
 */
static inline int hone_nearest(float v)
{
    return (int)(hone_f32_bits(v + 12582912.0f) & 0x007fffffu) - 0x00400000;
}

static inline int hone_clamp_int(int v, int lo, int hi)
{
    return v < lo ? lo : v > hi ? hi : v;
}

/* Towards zero, for codes in [0, 127]; 0 for anything else. */
static inline int hone_truncate(float v)
{
    return v >= 0.0f && v < 128.0f ? (int)v : 0;
}

/* Nearest integer, ties away from zero, for |v| < 128.5; 0 for anything else. */
static inline int hone_nearest_away(float v)
{
    if (!(v > -128.5f && v < 128.5f))
        return 0;
    const int whole = (int)v;
    const float rest = v - (float)whole; /* exact */
    return whole + (rest >= 0.5f) - (rest <= -0.5f);
}

/* A scale as stored. When sums have overflowed into NaN, its sign depends on the machine; we store x86's. */
static inline uint16_t hone_store_scale(float d)
{
    return d != d ? 0xfe00u : hone_f32_to_f16(d);
}

#endif
