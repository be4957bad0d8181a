/* SPDX-License-Identifier: MIT */
/*
 * 16-bit floats in portable C.
 *
 *   f16  s eeeee mmmmmmmmmm          bias 15, subnormals, infinities
 *   bf16 s eeeeeeee mmmmmmm          the upper half of a float
 *
 * Narrowing rounds to nearest, ties to even, as the F16C instructions do; NaNs stay NaN and quiet.
 */
#ifndef HONE_HALF_H
#define HONE_HALF_H

#include <stdint.h>
#include <string.h>

static inline float hone_f32_from_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline uint32_t hone_f32_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static inline float hone_f16_to_f32(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    const uint32_t rest = h & 0x7fffu;
    if (rest >= 0x7c00) /* infinity, NaN (made quiet) */
        return hone_f32_from_bits(sign | 0x7f800000u | (rest > 0x7c00 ? 0x00400000u | (rest & 0x3ffu) << 13 : 0));
    if (rest >= 0x0400) /* normal: move the exponent from bias 15 to bias 127 */
        return hone_f32_from_bits(sign | ((rest << 13) + (112u << 23)));
    /* Subnormal: rest * 2^-24, exact in f32. */
    const float magnitude = (float)rest * 0x1p-24f;
    return hone_f32_from_bits(sign | hone_f32_bits(magnitude));
}

static inline uint16_t hone_f32_to_f16(float f)
{
    const uint32_t bits = hone_f32_bits(f);
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
    const uint32_t rest = bits & 0x7fffffffu;
    if (rest > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | (rest >> 13 & 0x1ffu));
    if (rest >= 0x477ff000u) /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7c00u);
    if (rest >= 0x38800000u) { /* at least 2^-14: normal */
        const uint32_t moved = rest - (112u << 23);
        return (uint16_t)(sign | ((moved + 0x0fffu + (moved >> 13 & 1u)) >> 13));
    }
    /* Subnormal: adding 0.5 puts the ulp of the sum at 2^-24, so the addition rounds for us. */
    const uint32_t sum = hone_f32_bits(hone_f32_from_bits(rest) + 0.5f);
    return (uint16_t)(sign | (sum - 0x3f000000u));
}

static inline float hone_bf16_to_f32(uint16_t h)
{
    return hone_f32_from_bits((uint32_t)h << 16);
}

static inline uint16_t hone_f32_to_bf16(float f)
{
    const uint32_t bits = hone_f32_bits(f);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

#endif
