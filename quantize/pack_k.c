/* SPDX-License-Identifier: MIT */
#include "quantize/pack_k.h"

#include <string.h>

#include "formats/blocks.h"
#include "formats/k_scales.h"

/* Two bits of each code, in planes: byte l of a half holds elements l, 32 + l, 64 + l and 96 + l. */
static void pack_two_bits(const uint8_t codes[HONE_QK_K], uint8_t qs[64])
{
    for (int half = 0; half < 2; half++)
        for (int l = 0; l < 32; l++) {
            const uint8_t *c = codes + 128 * half + l;
            qs[32 * half + l] = (uint8_t)((c[0] & 3) | (c[32] & 3) << 2 | (c[64] & 3) << 4 | (c[96] & 3) << 6);
        }
}

/* The low nibbles of 64 elements in 32 bytes: the first 32 low, the next 32 high. */
static void pack_nibbles(const uint8_t codes[HONE_QK_K], uint8_t qs[128])
{
    for (int chunk = 0; chunk < 4; chunk++)
        for (int l = 0; l < 32; l++) {
            const uint8_t *c = codes + 64 * chunk + l;
            qs[32 * chunk + l] = (uint8_t)((c[0] & 15) | (c[32] & 15) << 4);
        }
}

void hone_pack_q2_k(const hone_super_block *s, uint8_t *dst)
{
    hone_block_q2_k b = {.d = s->d, .dmin = s->dmin};
    for (int j = 0; j < 16; j++)
        b.scales[j] = (uint8_t)(s->scales[j] | s->mins[j] << 4);
    pack_two_bits(s->codes, b.qs);
    memcpy(dst, &b, sizeof b);
}

void hone_pack_q3_k(const hone_super_block *s, uint8_t *dst)
{
    hone_block_q3_k b = {.d = s->d};
    hone_q3_k_scales_pack(s->scales, b.scales);
    pack_two_bits(s->codes, b.qs);
    for (int l = 0; l < 32; l++) {
        int bits = 0;
        for (int j = 0; j < 8; j++)
            bits |= (s->codes[32 * j + l] >> 2 & 1) << j;
        b.hmask[l] = (uint8_t)bits;
    }
    memcpy(dst, &b, sizeof b);
}

void hone_pack_q4_k(const hone_super_block *s, uint8_t *dst)
{
    hone_block_q4_k b = {.d = s->d, .dmin = s->dmin};
    hone_k4_scales_pack(s->scales, s->mins, b.scales);
    pack_nibbles(s->codes, b.qs);
    memcpy(dst, &b, sizeof b);
}

void hone_pack_q5_k(const hone_super_block *s, uint8_t *dst)
{
    hone_block_q5_k b = {.d = s->d, .dmin = s->dmin};
    hone_k4_scales_pack(s->scales, s->mins, b.scales);
    pack_nibbles(s->codes, b.qs);
    for (int l = 0; l < 32; l++) {
        int bits = 0;
        for (int j = 0; j < 8; j++)
            bits |= (s->codes[32 * j + l] >> 4 & 1) << j;
        b.qh[l] = (uint8_t)bits;
    }
    memcpy(dst, &b, sizeof b);
}

void hone_pack_q6_k(const hone_super_block *s, uint8_t *dst)
{
    hone_block_q6_k b = {.d = s->d};
    memcpy(b.scales, s->scales, sizeof b.scales);
    for (int half = 0; half < 2; half++)
        for (int l = 0; l < 32; l++) {
            const uint8_t *c = s->codes + 128 * half + l;
            b.ql[64 * half + l] = (uint8_t)((c[0] & 15) | (c[64] & 15) << 4);
            b.ql[64 * half + 32 + l] = (uint8_t)((c[32] & 15) | (c[96] & 15) << 4);
            b.qh[32 * half + l] = (uint8_t)(c[0] >> 4 | (c[32] >> 4) << 2 | (c[64] >> 4) << 4 | (c[96] >> 4) << 6);
        }
    memcpy(dst, &b, sizeof b);
}

void hone_pack_iq4_xs(const hone_super_block *s, uint8_t *dst)
{
    enum { GROUP = HONE_QK };
    hone_block_iq4_xs b = {.d = s->d};
    for (int i = 0; i < HONE_QK_K / GROUP; i++) {
        const uint8_t *c = s->codes + i * GROUP;
        b.scales_l[i / 2] = (uint8_t)(b.scales_l[i / 2] | (s->scales[i] & 15) << i % 2 * 4);
        b.scales_h = (uint16_t)(b.scales_h | s->scales[i] >> 4 << 2 * i);
        for (int j = 0; j < GROUP / 2; j++)
            b.qs[i * GROUP / 2 + j] = (uint8_t)(c[j] | c[j + GROUP / 2] << 4);
    }
    memcpy(dst, &b, sizeof b);
}
