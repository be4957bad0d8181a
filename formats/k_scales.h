/* SPDX-License-Identifier: MIT */
/* The six-bit scales and minimums of a q4_k or q5_k super-block, and the scales of a q3_k one. See blocks.h. */
#ifndef HONE_K_SCALES_H
#define HONE_K_SCALES_H

#include <stdint.h>

/*
 * Eight scales and eight minimums of six bits in twelve bytes:
 *
 *   byte j      s[4+j] bits 5,4 | s[j]            j = 0..3
 *   byte 4 + j  m[4+j] bits 5,4 | m[j]
 *   byte 8 + j  m[4+j] bits 3-0 | s[4+j] bits 3-0
 */
static inline void hone_k4_scales_unpack(const uint8_t packed[12], uint8_t scales[8], uint8_t mins[8])
{
    for (int j = 0; j < 4; j++) {
        scales[j] = packed[j] & 63;
        mins[j] = packed[4 + j] & 63;
        scales[4 + j] = (uint8_t)((packed[8 + j] & 15) | (packed[j] >> 6) << 4);
        mins[4 + j] = (uint8_t)(packed[8 + j] >> 4 | (packed[4 + j] >> 6) << 4);
    }
}

static inline void hone_k4_scales_pack(const uint8_t scales[8], const uint8_t mins[8], uint8_t packed[12])
{
    for (int j = 0; j < 4; j++) {
        packed[j] = (uint8_t)(scales[j] | (scales[4 + j] >> 4) << 6);
        packed[4 + j] = (uint8_t)(mins[j] | (mins[4 + j] >> 4) << 6);
        packed[8 + j] = (uint8_t)((scales[4 + j] & 15) | (mins[4 + j] & 15) << 4);
    }
}

/*
 * Sixteen unsigned six-bit scales (the signed value plus 32) in twelve bytes:
 *
 *   byte j      s[8+j] bits 3-0 | s[j] bits 3-0                                       j = 0..7
 *   byte 8 + j  s[12+j] bits 5,4 | s[8+j] bits 5,4 | s[4+j] bits 5,4 | s[j] bits 5,4    j = 0..3
 */
static inline void hone_q3_k_scales_unpack(const uint8_t packed[12], uint8_t scales[16])
{
    for (int j = 0; j < 16; j++) {
        const int low = j < 8 ? packed[j] & 15 : packed[j - 8] >> 4;
        const int high = packed[8 + j % 4] >> 2 * (j / 4) & 3;
        scales[j] = (uint8_t)(low | high << 4);
    }
}

static inline void hone_q3_k_scales_pack(const uint8_t scales[16], uint8_t packed[12])
{
    for (int j = 0; j < 8; j++)
        packed[j] = (uint8_t)((scales[j] & 15) | (scales[8 + j] & 15) << 4);
    for (int j = 0; j < 4; j++)
        packed[8 + j] = (uint8_t)(scales[j] >> 4 | (scales[4 + j] >> 4) << 2 | (scales[8 + j] >> 4) << 4 |
                                  (scales[12 + j] >> 4) << 6);
}

#endif
