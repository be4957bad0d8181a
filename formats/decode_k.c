/* SPDX-License-Identifier: MIT */
/*
 * Decoding the super-blocks of 256. Products are taken in ggml's order: d * sub-scale first, then times the code, then
 * minus dmin * sub-minimum.
 */
#include "formats/decode_kernels.h"

#include <string.h>

#include "base/cursor.h"
#include "base/half.h"
#include "formats/blocks.h"
#include "formats/k_scales.h"

/*
 * q2_k and q3_k keep two bits of each code in planes: byte l of a 128-element half holds, two bits each from the
 * bottom, elements l, 32 + l, 64 + l and 96 + l. So does the high part of q6_k. A chunk is 32 neighbouring elements:
 * one plane.
 */
void hone_decode_q2_k(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i += HONE_QK_K, dst += HONE_QK_K) {
        hone_block_q2_k b;
        memcpy(&b, p + i / HONE_QK_K * sizeof b, sizeof b);
        const float d = hone_f16_to_f32(b.d);
        const float dmin = hone_f16_to_f32(b.dmin);
        for (int s = 0; s < 16; s++) {
            const int chunk = s / 2, shift = chunk % 4 * 2;
            const uint8_t *qs = b.qs + chunk / 4 * 32 + s % 2 * 16;
            const float scale = d * (float)(b.scales[s] & 15);
            const float min = dmin * (float)(b.scales[s] >> 4);
            for (int l = 0; l < 16; l++)
                dst[16 * s + l] = scale * (float)(qs[l] >> shift & 3) - min;
        }
    }
}

void hone_decode_q3_k(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i += HONE_QK_K, dst += HONE_QK_K) {
        hone_block_q3_k b;
        memcpy(&b, p + i / HONE_QK_K * sizeof b, sizeof b);
        const float d = hone_f16_to_f32(b.d);
        uint8_t scales[16];
        hone_q3_k_scales_unpack(b.scales, scales);
        for (int s = 0; s < 16; s++) {
            const int chunk = s / 2, shift = chunk % 4 * 2;
            const uint8_t *qs = b.qs + chunk / 4 * 32 + s % 2 * 16;
            const uint8_t *high = b.hmask + s % 2 * 16;
            const float scale = d * (float)(scales[s] - 32);
            for (int l = 0; l < 16; l++)
                dst[16 * s + l] = scale * (float)((qs[l] >> shift & 3) + (high[l] >> chunk & 1) * 4 - 4);
        }
    }
}

/* The scale and the minimum of each of the eight sub-blocks of q4_k and q5_k. */
static void k4_steps(uint16_t d, uint16_t dmin, const uint8_t *packed, float scales[8], float mins[8])
{
    uint8_t scale_codes[8], min_codes[8];
    hone_k4_scales_unpack(packed, scale_codes, min_codes);
    for (int s = 0; s < 8; s++) {
        scales[s] = hone_f16_to_f32(d) * (float)scale_codes[s];
        mins[s] = hone_f16_to_f32(dmin) * (float)min_codes[s];
    }
}

void hone_decode_q4_k(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i += HONE_QK_K, dst += HONE_QK_K) {
        hone_block_q4_k b;
        memcpy(&b, p + i / HONE_QK_K * sizeof b, sizeof b);
        float scales[8], mins[8];
        k4_steps(b.d, b.dmin, b.scales, scales, mins);
        for (int s = 0; s < 8; s++) {
            const uint8_t *qs = b.qs + s / 2 * 32;
            const int shift = s % 2 * 4;
            for (int l = 0; l < 32; l++)
                dst[32 * s + l] = scales[s] * (float)(qs[l] >> shift & 15) - mins[s];
        }
    }
}

void hone_decode_q5_k(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i += HONE_QK_K, dst += HONE_QK_K) {
        hone_block_q5_k b;
        memcpy(&b, p + i / HONE_QK_K * sizeof b, sizeof b);
        float scales[8], mins[8];
        k4_steps(b.d, b.dmin, b.scales, scales, mins);
        for (int s = 0; s < 8; s++) {
            const uint8_t *qs = b.qs + s / 2 * 32;
            const int shift = s % 2 * 4;
            for (int l = 0; l < 32; l++) {
                const int code = (qs[l] >> shift & 15) | (b.qh[l] >> s & 1) << 4;
                dst[32 * s + l] = scales[s] * (float)code - mins[s];
            }
        }
    }
}

void hone_decode_q6_k(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i += HONE_QK_K, dst += HONE_QK_K) {
        hone_block_q6_k b;
        memcpy(&b, p + i / HONE_QK_K * sizeof b, sizeof b);
        const float d = hone_f16_to_f32(b.d);
        for (int s = 0; s < 16; s++) {
            const int half = s / 8, quarter = s / 2 % 4;
            const uint8_t *ql = b.ql + half * 64 + quarter % 2 * 32 + s % 2 * 16;
            const uint8_t *qh = b.qh + half * 32 + s % 2 * 16;
            const int low_shift = quarter / 2 * 4, high_shift = quarter * 2;
            const float scale = d * (float)b.scales[s];
            for (int l = 0; l < 16; l++)
                dst[16 * s + l] = scale * (float)((ql[l] >> low_shift & 15) + (qh[l] >> high_shift & 3) * 16 - 32);
        }
    }
}

void hone_decode_q8_k(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i += HONE_QK_K, dst += HONE_QK_K) {
        hone_block_q8_k b;
        memcpy(&b, p + i / HONE_QK_K * sizeof b, sizeof b);
        const float d = hone_load_f32(b.d);
        for (int j = 0; j < HONE_QK_K; j++)
            dst[j] = d * (float)b.qs[j];
    }
}
