/* SPDX-License-Identifier: MIT */
/*
 * Decoding the types with code books. An index chooses a vector of magnitudes; products are taken in the order of
 * ggml's dequantize_row_*, where a scale of n + 1/2 comes before the power of two.
 */
#include "formats/decode_kernels.h"

#include <string.h>

#include "base/cursor.h"
#include "base/half.h"
#include "formats/blocks.h"
#include "formats/code_books.h"

/* iq2: +-d times eight magnitudes. */
static void put8(float d, uint16_t entry, unsigned signs, float *dst)
{
    static const float magnitudes[4] = {8.0f, 25.0f, 43.0f, 0.0f}; /* no entry has a 3 */
    for (int j = 0; j < 8; j++) {
        const float v = d * magnitudes[entry >> 2 * j & 3];
        dst[j] = signs >> j & 1 ? -v : v;
    }
}

/* iq3: +-d times four magnitudes. */
static void put4(float d, const float magnitudes[8], uint16_t entry, unsigned signs, float *dst)
{
    for (int j = 0; j < 4; j++) {
        const float v = d * magnitudes[entry >> 3 * j & 7];
        dst[j] = signs >> j & 1 ? -v : v;
    }
}

/* Seven signs, and the eighth that makes the number of minuses even. */
static unsigned even_signs(unsigned seven)
{
    unsigned parity = seven ^ seven >> 4;
    parity ^= parity >> 2;
    parity ^= parity >> 1;
    return seven | (parity & 1) << 7;
}

void hone_decode_iq2_xxs(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i += HONE_QK_K) {
        hone_block_iq2_xxs b;
        memcpy(&b, p + i / HONE_QK_K * sizeof b, sizeof b);
        const float d = hone_f16_to_f32(b.d);
        for (int s = 0; s < 8; s++) {
            const uint8_t *qs = b.qs + 8 * s;
            const uint32_t word = hone_load_u32(qs + 4);
            const float scale = d * (0.5f + (float)(word >> 28)) * 0.25f;
            for (int l = 0; l < 4; l++, dst += 8)
                put8(scale, hone_iq2_xxs_book[qs[l]], even_signs(word >> 7 * l & 127), dst);
        }
    }
}

/* Of half h of a sub-block, whose two scales are the nibbles of a byte. */
static float iq2_scale(float d, uint8_t scales, int h)
{
    return d * (0.5f + (float)(scales >> 4 * h & 15)) * 0.25f;
}

void hone_decode_iq2_xs(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i += HONE_QK_K) {
        hone_block_iq2_xs b;
        memcpy(&b, p + i / HONE_QK_K * sizeof b, sizeof b);
        const float d = hone_f16_to_f32(b.d);
        for (int l = 0; l < HONE_QK_K / 8; l++, dst += 8)
            put8(iq2_scale(d, b.scales[l / 4], l / 2 % 2), hone_iq2_xs_book[b.qs[l] & 511], even_signs(b.qs[l] >> 9),
                 dst);
    }
}

void hone_decode_iq2_s(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i += HONE_QK_K) {
        hone_block_iq2_s b;
        memcpy(&b, p + i / HONE_QK_K * sizeof b, sizeof b);
        const float d = hone_f16_to_f32(b.d);
        for (int l = 0; l < HONE_QK_K / 8; l++, dst += 8) {
            const int index = b.qs[l] | (b.qh[l / 4] >> l % 4 * 2 & 3) << 8;
            put8(iq2_scale(d, b.scales[l / 4], l / 2 % 2), hone_iq2_s_book[index], b.signs[l], dst);
        }
    }
}

void hone_decode_iq3_xxs(const void *src, float *dst, size_t nelems)
{
    static const float magnitudes[8] = {4, 12, 20, 28, 36, 44, 52, 62};
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i += HONE_QK_K) {
        hone_block_iq3_xxs b;
        memcpy(&b, p + i / HONE_QK_K * sizeof b, sizeof b);
        const float d = hone_f16_to_f32(b.d);
        for (int s = 0; s < 8; s++) {
            const uint8_t *qs = b.qs + 8 * s;
            const uint32_t word = hone_load_u32(b.gas + 4 * s);
            const float scale = d * (0.5f + (float)(word >> 28)) * 0.5f;
            for (int l = 0; l < 4; l++, dst += 8) {
                const unsigned signs = even_signs(word >> 7 * l & 127);
                put4(scale, magnitudes, hone_iq3_xxs_book[qs[2 * l]], signs, dst);
                put4(scale, magnitudes, hone_iq3_xxs_book[qs[2 * l + 1]], signs >> 4, dst + 4);
            }
        }
    }
}

void hone_decode_iq3_s(const void *src, float *dst, size_t nelems)
{
    static const float magnitudes[8] = {1, 3, 5, 7, 9, 11, 13, 15};
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i += HONE_QK_K) {
        hone_block_iq3_s b;
        memcpy(&b, p + i / HONE_QK_K * sizeof b, sizeof b);
        const float d = hone_f16_to_f32(b.d);
        for (int l = 0; l < HONE_QK_K / 4; l++, dst += 4) {
            const int s = l / 8;
            const float scale = d * (float)(1 + 2 * (b.scales[s / 2] >> s % 2 * 4 & 15));
            const int index = b.qs[l] | (b.qh[s] >> l % 8 & 1) << 8;
            put4(scale, magnitudes, hone_iq3_s_book[index], (unsigned)b.signs[l / 2] >> l % 2 * 4, dst);
        }
    }
}

/* iq1: scale times (digit + shift), eight of them. */
static void put_digits(float scale, uint16_t entry, float shift, float *dst)
{
    for (int j = 0; j < 8; j++)
        dst[j] = scale * ((float)((entry >> 2 * j & 3) - 1) + shift);
}

void hone_decode_iq1_s(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i += HONE_QK_K) {
        hone_block_iq1_s b;
        memcpy(&b, p + i / HONE_QK_K * sizeof b, sizeof b);
        const float d = hone_f16_to_f32(b.d);
        for (int l = 0; l < HONE_QK_K / 8; l++, dst += 8) {
            const unsigned qh = b.qh[l / 4];
            const float scale = d * (float)(2 * (qh >> 12 & 7) + 1);
            const unsigned index = b.qs[l] | (qh >> l % 4 * 3 & 7) << 8;
            put_digits(scale, hone_iq1_book[index], qh & 0x8000u ? -0.125f : 0.125f, dst);
        }
    }
}

void hone_decode_iq1_m(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i += HONE_QK_K) {
        hone_block_iq1_m b;
        memcpy(&b, p + i / HONE_QK_K * sizeof b, sizeof b);
        uint16_t scales[4], half = 0;
        for (int k = 0; k < 4; k++) {
            scales[k] = hone_load_u16(b.scales + 2 * k);
            half = (uint16_t)(half | scales[k] >> 12 << 4 * k);
        }
        const float d = hone_f16_to_f32(half);
        for (int l = 0; l < HONE_QK_K / 8; l++, dst += 8) {
            const float scale = d * (float)(2 * (scales[l / 8] >> l / 2 % 4 * 3 & 7) + 1);
            const unsigned high = (unsigned)b.qh[l / 2] >> l % 2 * 4;
            put_digits(scale, hone_iq1_book[b.qs[l] | (high & 7) << 8], high & 8 ? -0.125f : 0.125f, dst);
        }
    }
}
