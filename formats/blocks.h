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

enum { HONE_QK = 32, HONE_QK_K = 256, HONE_QK1 = 128, HONE_QK2 = 64, HONE_QK_NVFP4 = 64 };

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

/* One bit per weight, element j in bit j % 8 of byte j / 8: w = d or -d       1.125 bits per weight */
typedef struct {
    uint16_t d; /* f16 */
    uint8_t qs[HONE_QK1 / 8];
} hone_block_q1_0;

/* Element j in bits 2 (j % 4) of byte j / 4. w = d * (q - 1)       2.25 bits per weight */
typedef struct {
    uint16_t d; /* f16 */
    uint8_t qs[HONE_QK2 / 4];
} hone_block_q2_0;

/* Activations: s = d * the sum of the codes. w = d * q       9.0 bits per weight */
typedef struct {
    uint16_t d, s; /* f16 */
    int8_t qs[HONE_QK];
} hone_block_q8_1;

/* Activations: bsums are the sums of 16 codes each. w = d * q       9.125 bits per weight */
typedef struct {
    uint8_t d[4]; /* f32 */
    int8_t qs[HONE_QK_K];
    int16_t bsums[HONE_QK_K / 16];
} hone_block_q8_k;

/* Nibbles as q4_0 choose from a table of 16 values (value_tables.h). w = d * V[q]       4.5 bits per weight */
typedef struct {
    uint16_t d; /* f16 */
    uint8_t qs[HONE_QK / 2];
} hone_block_iq4_nl;

/*
 * 8 sub-blocks of 32, each with nibbles as q4_0 in 16 bytes. The 6-bit scale of sub-block s: its low nibble is in
 * scales_l[s / 2] (even s low), its two high bits are bits 2 s of scales_h.
 * w = d * (scale - 32) * V[q]       4.25 bits per weight
 */
typedef struct {
    uint16_t d; /* f16 */
    uint16_t scales_h;
    uint8_t scales_l[HONE_QK_K / 64];
    uint8_t qs[HONE_QK_K / 2];
} hone_block_iq4_xs;

/* Nibbles as q4_0 are E2M1 floats, the scale a bare exponent. w = F[q] * 2^(e - 127)       4.25 bits per weight */
typedef struct {
    uint8_t e;
    uint8_t qs[HONE_QK / 2];
} hone_block_mxfp4;

/*
 * Four sub-blocks of 16, each 8 bytes: element j low nibble, element j + 8 high nibble; scales are unsigned E4M3.
 * w = F[q] * scale       4.5 bits per weight. The tensor's own scale is a tensor beside it, NAME.scale.
 */
typedef struct {
    uint8_t d[HONE_QK_NVFP4 / 16];
    uint8_t qs[HONE_QK_NVFP4 / 2];
} hone_block_nvfp4;

/*
 * Five ternary digits to a byte, four in qh; a byte holds the fraction n / 243 as 8 bits after the point, so that
 * times 3 carries the next digit out. Digit k of byte j of a run of r bytes is element k * r + j of the run; the runs
 * are qs[0..31], qs[32..47], qh.
 * w = d * (q - 1)       1.6875 bits per weight
 */
typedef struct {
    uint8_t qs[(HONE_QK_K - 4 * HONE_QK_K / 64) / 5];
    uint8_t qh[HONE_QK_K / 64];
    uint16_t d; /* f16 */
} hone_block_tq1_0;

/* Two-bit planes as q2_k. w = d * (q - 1)       2.0625 bits per weight */
typedef struct {
    uint8_t qs[HONE_QK_K / 4];
    uint16_t d; /* f16 */
} hone_block_tq2_0;

/*
 * Code books: an index chooses a whole vector of 4 or 8 magnitudes from a table (code_books.h), beside it are signs.
 * Where there are 7 bits for 8 signs, the eighth makes the number of minuses even. Eight sub-blocks of 32.
 *
 * iq3_s: index = qs[i] | bit i % 8 of qh[i / 8] << 8, four magnitudes each; scale nibbles.
 * w = +-d * (1 + 2 scale) * B       3.4375 bits per weight
 */
typedef struct {
    uint16_t d; /* f16 */
    uint8_t qs[HONE_QK_K / 4];
    uint8_t qh[HONE_QK_K / 32];
    uint8_t signs[HONE_QK_K / 8];
    uint8_t scales[HONE_QK_K / 64];
} hone_block_iq3_s;

/* gas: a word for each 32: four sign indices of 7 bits, scale in the top four. 3.0625 bits per weight */
typedef struct {
    uint16_t d; /* f16 */
    uint8_t qs[HONE_QK_K / 4];
    uint8_t gas[HONE_QK_K / 8];
} hone_block_iq3_xxs;

/* index = qs[i] | two bits of qh << 8, eight magnitudes each; a scale nibble for each 16. 2.5625 bits per weight */
typedef struct {
    uint16_t d; /* f16 */
    uint8_t qs[HONE_QK_K / 8];
    uint8_t signs[HONE_QK_K / 8];
    uint8_t qh[HONE_QK_K / 32];
    uint8_t scales[HONE_QK_K / 32];
} hone_block_iq2_s;

/* A word for each 8: index in the low nine bits, sign index above. 2.3125 bits per weight */
typedef struct {
    uint16_t d; /* f16 */
    uint16_t qs[HONE_QK_K / 8];
    uint8_t scales[HONE_QK_K / 32];
} hone_block_iq2_xs;

/* For each 32: four one-byte indices, then a word as in iq3_xxs. 2.0625 bits per weight */
typedef struct {
    uint16_t d; /* f16 */
    uint8_t qs[HONE_QK_K / 4];
} hone_block_iq2_xxs;

/*
 * Digits -1, 0, 1, eight to an index, all shifted by an eighth up or down. qh for each 32: four times three high bits
 * of the index, three bits of scale, the direction of the shift.
 * w = d * (2 scale + 1) * (B +- 1/8)       1.5625 bits per weight
 */
typedef struct {
    uint16_t d; /* f16 */
    uint8_t qs[HONE_QK_K / 8];
    uint16_t qh[HONE_QK_K / 32];
} hone_block_iq1_s;

/*
 * As iq1_s, with a scale for each 16 and a shift for each 8: nibbles of qh hold three high bits of an index and the
 * direction. scales: four words of four 3-bit scales; their top nibbles are the f16 d, lowest first.
 * 1.75 bits per weight
 */
typedef struct {
    uint8_t qs[HONE_QK_K / 8];
    uint8_t qh[HONE_QK_K / 16];
    uint8_t scales[HONE_QK_K / 32];
} hone_block_iq1_m;

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
static_assert(sizeof(hone_block_q1_0) == 18, "q1_0");
static_assert(sizeof(hone_block_q2_0) == 18, "q2_0");
static_assert(sizeof(hone_block_q8_1) == 36, "q8_1");
static_assert(sizeof(hone_block_q8_k) == 292, "q8_k");
static_assert(sizeof(hone_block_iq4_nl) == 18, "iq4_nl");
static_assert(sizeof(hone_block_iq4_xs) == 136, "iq4_xs");
static_assert(sizeof(hone_block_mxfp4) == 17, "mxfp4");
static_assert(sizeof(hone_block_nvfp4) == 36, "nvfp4");
static_assert(sizeof(hone_block_tq1_0) == 54, "tq1_0");
static_assert(sizeof(hone_block_tq2_0) == 66, "tq2_0");
static_assert(sizeof(hone_block_iq3_s) == 110, "iq3_s");
static_assert(sizeof(hone_block_iq3_xxs) == 98, "iq3_xxs");
static_assert(sizeof(hone_block_iq2_s) == 82, "iq2_s");
static_assert(sizeof(hone_block_iq2_xs) == 74, "iq2_xs");
static_assert(sizeof(hone_block_iq2_xxs) == 66, "iq2_xxs");
static_assert(sizeof(hone_block_iq1_s) == 50, "iq1_s");
static_assert(sizeof(hone_block_iq1_m) == 56, "iq1_m");

#endif
