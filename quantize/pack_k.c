/* SPDX-License-Identifier: MIT */
#include "quantize/pack_k.h"

#include <string.h>

#include "formats/blocks.h"
#include "formats/k_scales.h"

/* Sixteen bytes, shifted in two halves: what a shift brings in from the byte above is masked away. */
typedef uint64_t byte_vector __attribute__((vector_size(16)));

/*
 * 32 bytes of n planes: byte l holds `width` bits of the codes at l, stride + l, 2 stride + l, ..., those from bit
 * `shift` on, the first in its lowest bits.
 */
static inline void pack_planes(const uint8_t *codes, size_t stride, int n, int shift, int width, uint8_t *out)
{
    const uint64_t mask = 0x0101010101010101u * ((1u << width) - 1);
    for (size_t l = 0; l < 32; l += sizeof(byte_vector)) {
        byte_vector bytes = {0, 0};
        for (int k = 0; k < n; k++) {
            byte_vector plane;
            memcpy(&plane, codes + (size_t)k * stride + l, sizeof plane);
            bytes |= (plane >> shift & mask) << width * k;
        }
        memcpy(out + l, &bytes, sizeof bytes);
    }
}

/* Two bits of each code: byte l of a half holds elements l, 32 + l, 64 + l and 96 + l. */
static void pack_two_bits(const uint8_t codes[HONE_QK_K], int shift, uint8_t qs[64])
{
    for (size_t half = 0; half < 2; half++)
        pack_planes(codes + 128 * half, 32, 4, shift, 2, qs + 32 * half);
}

/* The low nibbles of 64 elements in 32 bytes: the first 32 low, the next 32 high. */
static void pack_nibbles(const uint8_t codes[HONE_QK_K], uint8_t qs[128])
{
    for (size_t chunk = 0; chunk < 4; chunk++)
        pack_planes(codes + 64 * chunk, 32, 2, 0, 4, qs + 32 * chunk);
}

void hone_pack_q2_k(const hone_super_block *s, uint8_t *dst)
{
    hone_block_q2_k b = {.d = s->d, .dmin = s->dmin};
    for (int j = 0; j < 16; j++)
        b.scales[j] = (uint8_t)(s->scales[j] | s->mins[j] << 4);
    pack_two_bits(s->codes, 0, b.qs);
    memcpy(dst, &b, sizeof b);
}

void hone_pack_q3_k(const hone_super_block *s, uint8_t *dst)
{
    hone_block_q3_k b = {.d = s->d};
    hone_q3_k_scales_pack(s->scales, b.scales);
    pack_two_bits(s->codes, 0, b.qs);
    pack_planes(s->codes, 32, 8, 2, 1, b.hmask);
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
    pack_planes(s->codes, 32, 8, 4, 1, b.qh);
    memcpy(dst, &b, sizeof b);
}

void hone_pack_q6_k(const hone_super_block *s, uint8_t *dst)
{
    hone_block_q6_k b = {.d = s->d};
    memcpy(b.scales, s->scales, sizeof b.scales);
    for (size_t half = 0; half < 2; half++) {
        pack_planes(s->codes + 128 * half, 64, 2, 0, 4, b.ql + 64 * half);
        pack_planes(s->codes + 128 * half + 32, 64, 2, 0, 4, b.ql + 64 * half + 32);
    }
    pack_two_bits(s->codes, 4, b.qh);
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
