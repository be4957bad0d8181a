/* SPDX-License-Identifier: MIT */
/*
 * Block layouts of the ggml family, as they lie in a file.
 *
 * Glossary. A block is a run of neighbouring elements of one row. d is its scale, m (or dmin) its minimum, q an integer
 * code. A 256-element block ("super-block") is cut into sub-blocks whose own scales are small integers that multiply d.
 * Fields are bytes and 16-bit words, so the structs have no padding and alignment 1 or 2. Source: FORMATS of ggml,
 * ggml-common.h.
 */
#ifndef HONE_BLOCKS_H
#define HONE_BLOCKS_H

#include <assert.h>
#include <stdint.h>

enum { HONE_QK = 32, HONE_QK_K = 256 };

/*
 * Blocks of 32. Codes of 4 bits are split by nibble: byte j holds element j in its low half and
 * element j + 16 in its high half.
 *
 *   q4_0  |d d|q16 q0|q17 q1|...|q31 q15|      w = d * (q - 8)       4.5 bits per weight
 */
typedef struct {
    uint16_t d; /* f16 */
    uint8_t qs[HONE_QK / 2];
} hone_block_q4_0;

/* w = d * q + m       5.0 bits per weight */
typedef struct {
    uint16_t d, m; /* f16 */
    uint8_t qs[HONE_QK / 2];
} hone_block_q4_1;

/* The fifth bit of element j is bit j of the little-endian word qh. w = d * (q - 16)       5.5 bits per weight */
typedef struct {
    uint16_t d; /* f16 */
    uint8_t qh[4];
    uint8_t qs[HONE_QK / 2];
} hone_block_q5_0;

/* w = d * q + m       6.0 bits per weight */
typedef struct {
    uint16_t d, m; /* f16 */
    uint8_t qh[4];
    uint8_t qs[HONE_QK / 2];
} hone_block_q5_1;

/* w = d * q       8.5 bits per weight */
typedef struct {
    uint16_t d; /* f16 */
    int8_t qs[HONE_QK];
} hone_block_q8_0;

/*
 * 16 sub-blocks of 16; scales[s] = scale in the low nibble, minimum in the high one.
 * w = d * sc * q - dmin * m       2.625 bits per weight
 */
typedef struct {
    uint8_t scales[16];
    uint8_t qs[64];
    uint16_t d, dmin; /* f16 */
} hone_block_q2_k;

/* 16 sub-blocks of 16, 6-bit signed scales. w = d * (sc - 32) * (q - 4)       3.4375 bits per weight */
typedef struct {
    uint8_t hmask[32];
    uint8_t qs[64];
    uint8_t scales[12];
    uint16_t d; /* f16 */
} hone_block_q3_k;

/*
 * 8 sub-blocks of 32. Eight 6-bit scales s and eight 6-bit minimums m in 12 bytes; "ab" are the two high bits of
 * the entry four places on:
 *
 *   byte 0..3    s4ab|s0      (b7 b6 = bits 5,4 of s4..s7; low six bits = s0..s3)
 *   byte 4..7    m4ab|m0
 *   byte 8..11   m4 lo|s4 lo  (low nibbles of m4..m7 and s4..s7)
 *
 * w = d * s * q - dmin * m       4.5 bits per weight
 */
typedef struct {
    uint16_t d, dmin; /* f16 */
    uint8_t scales[12];
    uint8_t qs[128]; /* each 32 bytes: low nibbles 32 elements, high nibbles the next 32 */
} hone_block_q4_k;

/* As q4_k, with the fifth bit of element 32 * i + l in bit i of qh[l].       5.5 bits per weight */
typedef struct {
    uint16_t d, dmin; /* f16 */
    uint8_t scales[12];
    uint8_t qh[32];
    uint8_t qs[128];
} hone_block_q5_k;

/*
 * 16 sub-blocks of 16, two halves of 128. For l in 0..31 of a half:
 *   element l       low  nibble of ql[l],      bits 1,0 of qh[l]
 *   element 32 + l  low  nibble of ql[32 + l], bits 3,2
 *   element 64 + l  high nibble of ql[l],      bits 5,4
 *   element 96 + l  high nibble of ql[32 + l], bits 7,6
 * w = d * sc * (q - 32)       6.5625 bits per weight
 */
typedef struct {
    uint8_t ql[128];
    uint8_t qh[64];
    int8_t scales[16];
    uint16_t d; /* f16 */
} hone_block_q6_k;

static_assert(sizeof(hone_block_q4_0) == 18, "q4_0");
static_assert(sizeof(hone_block_q4_1) == 20, "q4_1");
static_assert(sizeof(hone_block_q5_0) == 22, "q5_0");
static_assert(sizeof(hone_block_q5_1) == 24, "q5_1");
static_assert(sizeof(hone_block_q8_0) == 34, "q8_0");
static_assert(sizeof(hone_block_q2_k) == 84, "q2_k");
static_assert(sizeof(hone_block_q3_k) == 110, "q3_k");
static_assert(sizeof(hone_block_q4_k) == 144, "q4_k");
static_assert(sizeof(hone_block_q5_k) == 176, "q5_k");
static_assert(sizeof(hone_block_q6_k) == 210, "q6_k");

#endif
