/* SPDX-License-Identifier: MIT */
#include "quantize/pack_blocks.h"

#include <string.h>

#include "base/cursor.h"
#include "quantize/rounding.h"

enum { HALF = HONE_QK / 2 };

static void pack_nibbles(const uint8_t codes[HONE_QK], uint8_t qs[HALF])
{
    for (int j = 0; j < HALF; j++)
        qs[j] = (uint8_t)((codes[j] & 15) | (codes[j + HALF] & 15) << 4);
}

static void pack_fifth_bits(const uint8_t codes[HONE_QK], uint8_t qh[4])
{
    uint32_t bits = 0;
    for (int j = 0; j < HONE_QK; j++)
        bits |= (uint32_t)(codes[j] >> 4 & 1) << j;
    hone_store_u32(qh, bits);
}

void hone_pack_q4_0(float d, float m, const uint8_t codes[HONE_QK], uint8_t *dst)
{
    (void)m;
    hone_block_q4_0 b = {.d = hone_store_scale(d)};
    pack_nibbles(codes, b.qs);
    memcpy(dst, &b, sizeof b);
}

void hone_pack_q4_1(float d, float m, const uint8_t codes[HONE_QK], uint8_t *dst)
{
    hone_block_q4_1 b = {.d = hone_store_scale(d), .m = hone_store_scale(m)};
    pack_nibbles(codes, b.qs);
    memcpy(dst, &b, sizeof b);
}

void hone_pack_q5_0(float d, float m, const uint8_t codes[HONE_QK], uint8_t *dst)
{
    (void)m;
    hone_block_q5_0 b = {.d = hone_store_scale(d)};
    pack_nibbles(codes, b.qs);
    pack_fifth_bits(codes, b.qh);
    memcpy(dst, &b, sizeof b);
}

void hone_pack_q5_1(float d, float m, const uint8_t codes[HONE_QK], uint8_t *dst)
{
    hone_block_q5_1 b = {.d = hone_store_scale(d), .m = hone_store_scale(m)};
    pack_nibbles(codes, b.qs);
    pack_fifth_bits(codes, b.qh);
    memcpy(dst, &b, sizeof b);
}
