/* SPDX-License-Identifier: MIT */
/* Decoding types of two, three or four levels. */
#include "formats/decode_kernels.h"

#include <string.h>

#include "base/half.h"
#include "formats/blocks.h"

void hone_decode_q1_0(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i += HONE_QK1, dst += HONE_QK1) {
        hone_block_q1_0 b;
        memcpy(&b, p + i / HONE_QK1 * sizeof b, sizeof b);
        const float d = hone_f16_to_f32(b.d);
        for (int j = 0; j < HONE_QK1; j++)
            dst[j] = b.qs[j / 8] >> j % 8 & 1 ? d : -d;
    }
}

void hone_decode_q2_0(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i += HONE_QK2, dst += HONE_QK2) {
        hone_block_q2_0 b;
        memcpy(&b, p + i / HONE_QK2 * sizeof b, sizeof b);
        const float d = hone_f16_to_f32(b.d);
        for (int j = 0; j < HONE_QK2; j++)
            dst[j] = (float)((b.qs[j / 4] >> j % 4 * 2 & 3) - 1) * d;
    }
}

/* n_digits of each of n bytes, digit by digit. Returns behind the last float. */
static float *decode_trits(const uint8_t *bytes, int n, int n_digits, float d, float *dst)
{
    unsigned power = 1; /* of 3: moves digit k to the top of the byte */
    for (int k = 0; k < n_digits; k++, power *= 3)
        for (int j = 0; j < n; j++) {
            const unsigned fraction = bytes[j] * power & 255;
            *dst++ = (float)((int)(fraction * 3 >> 8) - 1) * d;
        }
    return dst;
}

void hone_decode_tq1_0(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i += HONE_QK_K) {
        hone_block_tq1_0 b;
        memcpy(&b, p + i / HONE_QK_K * sizeof b, sizeof b);
        const float d = hone_f16_to_f32(b.d);
        dst = decode_trits(b.qs, 32, 5, d, dst);
        dst = decode_trits(b.qs + 32, 16, 5, d, dst);
        dst = decode_trits(b.qh, 4, 4, d, dst);
    }
}

void hone_decode_tq2_0(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i += HONE_QK_K, dst += HONE_QK_K) {
        hone_block_tq2_0 b;
        memcpy(&b, p + i / HONE_QK_K * sizeof b, sizeof b);
        const float d = hone_f16_to_f32(b.d);
        for (int chunk = 0; chunk < 8; chunk++)
            for (int l = 0; l < 32; l++)
                dst[32 * chunk + l] = (float)((b.qs[chunk / 4 * 32 + l] >> chunk % 4 * 2 & 3) - 1) * d;
    }
}
