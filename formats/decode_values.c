/* SPDX-License-Identifier: MIT */
/* Decoding types whose 4-bit codes choose from a table of values. */
#include "formats/decode_kernels.h"

#include <string.h>

#include "base/half.h"
#include "formats/blocks.h"
#include "formats/value_tables.h"

/* n codes: low nibbles first, then high nibbles. */
static void decode_nibbles(const uint8_t *qs, int n, float d, const int8_t values[16], float *dst)
{
    for (int j = 0; j < n / 2; j++) {
        dst[j] = d * (float)values[qs[j] & 15];
        dst[j + n / 2] = d * (float)values[qs[j] >> 4];
    }
}

void hone_decode_iq4_nl(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i += HONE_QK, dst += HONE_QK) {
        hone_block_iq4_nl b;
        memcpy(&b, p + i / HONE_QK * sizeof b, sizeof b);
        decode_nibbles(b.qs, HONE_QK, hone_f16_to_f32(b.d), hone_iq4_values, dst);
    }
}

void hone_decode_iq4_xs(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i += HONE_QK_K, dst += HONE_QK_K) {
        hone_block_iq4_xs b;
        memcpy(&b, p + i / HONE_QK_K * sizeof b, sizeof b);
        const float d = hone_f16_to_f32(b.d);
        for (int s = 0; s < 8; s++) {
            const int scale = (b.scales_l[s / 2] >> s % 2 * 4 & 15) | (b.scales_h >> 2 * s & 3) << 4;
            decode_nibbles(b.qs + 16 * s, 32, d * (float)(scale - 32), hone_iq4_values, dst + 32 * s);
        }
    }
}

void hone_decode_mxfp4(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i += HONE_QK, dst += HONE_QK, p += sizeof(hone_block_mxfp4))
        decode_nibbles(p + 1, HONE_QK, hone_e8m0_half(p[0]), hone_e2m1_doubled, dst);
}

void hone_decode_nvfp4(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i += HONE_QK_NVFP4, dst += HONE_QK_NVFP4) {
        hone_block_nvfp4 b;
        memcpy(&b, p + i / HONE_QK_NVFP4 * sizeof b, sizeof b);
        for (int s = 0; s < HONE_QK_NVFP4 / 16; s++)
            decode_nibbles(b.qs + 8 * s, 16, hone_ue4m3_half(b.d[s]), hone_e2m1_doubled, dst + 16 * s);
    }
}
