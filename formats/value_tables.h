/* SPDX-License-Identifier: MIT */
/* The sixteen values that 4-bit codes stand for in iq4_nl, iq4_xs, mxfp4 and nvfp4, and the scales of the latter two.
 */
#ifndef HONE_VALUE_TABLES_H
#define HONE_VALUE_TABLES_H

#include <stdint.h>

#include "base/half.h"

/* In ascending order. Source: ggml-common.h. */
static const int8_t hone_iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

/* Twice the E2M1 floats: s ee m with values 0, 0.5, 1, 1.5, 2, 3, 4, 6. Code 8 is minus zero. */
static const int8_t hone_e2m1_doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/* Half of the E8M0 scale 2^(e - 127), to go with doubled values: 2^(e - 128). Subnormal for e below 2. */
static inline float hone_e8m0_half(uint8_t e)
{
    return hone_f32_from_bits(e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23);
}

/*
 * Half of an unsigned E4M3 scale (bias 7), to go with doubled values. ggml ignores the eighth bit, but reads 0x7f,
 * which E4M3 calls NaN, as 0, and 0xff as 480.
 */
static inline float hone_ue4m3_half(uint8_t byte)
{
    const int exponent = byte >> 3 & 15, mantissa = byte & 7;
    if (byte == 0x7f)
        return 0.0f;
    if (exponent == 0)
        return (float)mantissa * 0x1p-10f;
    return hone_f32_from_bits((uint32_t)(exponent + 119) << 23 | (uint32_t)mantissa << 20);
}

#endif
