/* SPDX-License-Identifier: MIT */
/*
 * Decoding the blocks of 32. Products and sums are in the order of ggml's dequantize_row_*, so the floats are its
 * floats.
 *
 * A block is copied to the stack first: src may be unaligned.
 */
#include "formats/decode_kernels.h"

#include <string.h>

#include "base/cursor.h"
#include "base/half.h"
#include "formats/blocks.h"

enum { HALF = HONE_QK / 2 };

void hone_decode_q4_0(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i += HONE_QK, dst += HONE_QK) {
        hone_block_q4_0 b;
        memcpy(&b, p + i / HONE_QK * sizeof b, sizeof b);
        const float d = hone_f16_to_f32(b.d);
        for (int j = 0; j < HALF; j++) {
            dst[j] = (float)((b.qs[j] & 15) - 8) * d;
            dst[j + HALF] = (float)((b.qs[j] >> 4) - 8) * d;
        }
    }
}

void hone_decode_q4_1(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i += HONE_QK, dst += HONE_QK) {
        hone_block_q4_1 b;
        memcpy(&b, p + i / HONE_QK * sizeof b, sizeof b);
        const float d = hone_f16_to_f32(b.d);
        const float m = hone_f16_to_f32(b.m);
        for (int j = 0; j < HALF; j++) {
            dst[j] = (float)(b.qs[j] & 15) * d + m;
            dst[j + HALF] = (float)(b.qs[j] >> 4) * d + m;
        }
    }
}

/* The five-bit codes of elements j and j + 16. */
static int low_code(uint8_t nibbles, uint32_t qh, int j)
{
    return (nibbles & 15) | (int)(qh >> j & 1) << 4;
}

static int high_code(uint8_t nibbles, uint32_t qh, int j)
{
    return nibbles >> 4 | (int)(qh >> (j + HALF) & 1) << 4;
}

void hone_decode_q5_0(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i += HONE_QK, dst += HONE_QK) {
        hone_block_q5_0 b;
        memcpy(&b, p + i / HONE_QK * sizeof b, sizeof b);
        const float d = hone_f16_to_f32(b.d);
        const uint32_t qh = hone_load_u32(b.qh);
        for (int j = 0; j < HALF; j++) {
            dst[j] = (float)(low_code(b.qs[j], qh, j) - 16) * d;
            dst[j + HALF] = (float)(high_code(b.qs[j], qh, j) - 16) * d;
        }
    }
}

void hone_decode_q5_1(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i += HONE_QK, dst += HONE_QK) {
        hone_block_q5_1 b;
        memcpy(&b, p + i / HONE_QK * sizeof b, sizeof b);
        const float d = hone_f16_to_f32(b.d);
        const float m = hone_f16_to_f32(b.m);
        const uint32_t qh = hone_load_u32(b.qh);
        for (int j = 0; j < HALF; j++) {
            dst[j] = (float)low_code(b.qs[j], qh, j) * d + m;
            dst[j + HALF] = (float)high_code(b.qs[j], qh, j) * d + m;
        }
    }
}

void hone_decode_q8_0(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i += HONE_QK, dst += HONE_QK) {
        hone_block_q8_0 b;
        memcpy(&b, p + i / HONE_QK * sizeof b, sizeof b);
        const float d = hone_f16_to_f32(b.d);
        for (int j = 0; j < HONE_QK; j++)
            dst[j] = (float)b.qs[j] * d;
    }
}

void hone_decode_q8_1(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i += HONE_QK, dst += HONE_QK) {
        hone_block_q8_1 b;
        memcpy(&b, p + i / HONE_QK * sizeof b, sizeof b);
        const float d = hone_f16_to_f32(b.d);
        for (int j = 0; j < HONE_QK; j++)
            dst[j] = (float)b.qs[j] * d;
    }
}
