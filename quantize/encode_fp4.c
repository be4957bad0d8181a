/* SPDX-License-Identifier: MIT */
/* Encoding mxfp4 and nvfp4: the scale follows from the largest magnitude, each element takes the nearest value. */
#include "quantize/table_encoders.h"

#include <math.h>
#include <string.h>

#include "base/half.h"
#include "formats/blocks.h"
#include "formats/value_tables.h"

static float largest_magnitude(const float *x, int n)
{
    float largest = 0.0f;
    for (int j = 0; j < n; j++)
        largest = fabsf(x[j]) > largest ? fabsf(x[j]) : largest;
    return largest;
}

/* The first of the values with the least error. d is a scale for doubled values. */
static uint8_t nearest_value(float x, float d)
{
    int best = 0;
    float least = fabsf((float)hone_e2m1_doubled[0] * d - x);
    for (int i = 1; i < 16; i++) {
        const float error = fabsf((float)hone_e2m1_doubled[i] * d - x);
        if (error < least) {
            least = error;
            best = i;
        }
    }
    return (uint8_t)best;
}

/* Low nibbles hold the first half. */
static void encode_nibbles(const float *x, int n, float d, uint8_t *qs)
{
    for (int j = 0; j < n / 2; j++)
        qs[j] = (uint8_t)(nearest_value(x[j], d) | nearest_value(x[j + n / 2], d) << 4);
}

/*
 * floor(log2f(v)) for v > 0, with log2f rounded to nearest: a v so little below 2^k that its logarithm rounds to k
 * counts as 2^k. A distance of m * 2^-24 * 2^k from 2^k is one of m * 2^-24 / ln 2 in the logarithm; it rounds away
 * below half the spacing of floats next to k, which is 2^p * 2^-24, p the exponent of the float just below k.
 */
static int floor_log2(float v)
{
    const uint32_t bits = hone_f32_bits(v);
    uint32_t mantissa = bits & 0x7fffffu;
    int e = (int)(bits >> 23) - 127;
    if (e == -127) { /* subnormal: bring the leading one to bit 23 */
        for (e = -126; mantissa < 0x800000u; e--)
            mantissa <<= 1;
    } else {
        mantissa |= 0x800000u;
    }
    static const uint32_t furthest[7] = {0, 1, 2, 5, 11, 22, 44}; /* floor(2^p * ln 2) */
    const uint32_t distance = 0x1000000u - mantissa;
    const int k = e + 1, magnitude = k <= 0 ? -k : k - 1;
    if (distance > furthest[6] || magnitude == 0)
        return e;
    int p = 0;
    while (p < 6 && magnitude >> (p + 1) != 0)
        p++;
    return distance <= furthest[p] ? k : e;
}

uint8_t hone_mxfp4_scale(float amax)
{
    /* Below 2^-125 the exponent does not fit. ggml lets it wrap around; the codes are 0 then, so it does not matter. */
    return amax > 0.0f ? (uint8_t)(floor_log2(amax) - 2 + 127) : 0;
}

void hone_encode_mxfp4(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    uint8_t *out = dst;
    for (size_t i = 0; i < ncols; i += HONE_QK, out += sizeof(hone_block_mxfp4)) {
        out[0] = hone_mxfp4_scale(largest_magnitude(src + i, HONE_QK));
        encode_nibbles(src + i, HONE_QK, hone_e8m0_half(out[0]), out + 1);
    }
}

/* Halves go up; numbers from 256 on become the largest, 448. */
uint8_t hone_ue4m3_scale(float scale)
{
    if (!(scale > 0.0f))
        return 0;
    const uint32_t bits = hone_f32_bits(scale);
    const int exponent = (int)(bits >> 23) - 127 + 7;
    if (exponent <= 0) {
        const int mantissa = (int)(scale * 512.0f + 0.5f);
        return (uint8_t)(mantissa < 7 ? mantissa : 7);
    }
    const uint32_t rounded = (bits >> 20 & 7) + (bits >> 19 & 1) + ((uint32_t)exponent << 3);
    return (uint8_t)(exponent < 15 && rounded < 15u << 3 ? rounded : 0x7e);
}

void hone_encode_nvfp4(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    uint8_t *out = dst;
    for (size_t i = 0; i < ncols; i += HONE_QK_NVFP4, out += sizeof(hone_block_nvfp4)) {
        hone_block_nvfp4 b;
        for (int s = 0; s < HONE_QK_NVFP4 / 16; s++) {
            const float *x = src + i + 16 * s;
            b.d[s] = hone_ue4m3_scale(largest_magnitude(x, 16) / 6.0f);
            encode_nibbles(x, 16, hone_ue4m3_half(b.d[s]), b.qs + 8 * s);
        }
        memcpy(out, &b, sizeof b);
    }
}
