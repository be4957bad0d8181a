/* SPDX-License-Identifier: MIT */
/* Sixteen lanes: see lanes.h. */
#ifndef HONE_LANES_AVX512_H
#define HONE_LANES_AVX512_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "quantize/transpose_avx2.h"

typedef __m512 lanes;
typedef __mmask16 lane_mask;
typedef int32_t lane_ints __attribute__((vector_size(64)));

static inline lanes lanes_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

static inline void lanes_store(float *p, lanes v)
{
    _mm512_storeu_ps(p, v);
}

static inline lanes lanes_all(float f)
{
    return _mm512_set1_ps(f);
}

/* *p in all lanes. On Zen 4 an integer is spread while it is loaded, a float takes a shuffle's time. */
static inline lanes lanes_spread(const float *p)
{
    int32_t bits;
    memcpy(&bits, p, sizeof bits);
    return _mm512_castsi512_ps(_mm512_set1_epi32(bits));
}

/* a if a > b, else b: b where either is NaN */
static inline lanes lanes_max(lanes a, lanes b)
{
    return _mm512_max_ps(a, b);
}

static inline lanes lanes_min(lanes a, lanes b)
{
    return _mm512_min_ps(a, b);
}

static inline lanes lanes_abs(lanes v)
{
    return _mm512_abs_ps(v);
}

/* The larger magnitude */
static inline lanes lanes_larger(lanes a, lanes b)
{
    return _mm512_range_ps(a, b, 0xb);
}

static inline lanes lanes_sqrt(lanes v)
{
    return _mm512_sqrt_ps(v);
}

static inline lane_mask lanes_either(lane_mask a, lane_mask b)
{
    return a | b;
}

static inline lane_mask lanes_except(lane_mask a, lane_mask without)
{
    return a & (lane_mask)~without;
}

static inline bool lanes_any(lane_mask m)
{
    return m != 0;
}

/* Bit i is lane i. */
static inline unsigned lanes_bits(lane_mask m)
{
    return m;
}

/* True for NaN, too */
static inline lane_mask lanes_differ(lanes a, lanes b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_NEQ_UQ);
}

static inline lane_mask lanes_at_most(lanes a, lanes b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ);
}

static inline lane_mask lanes_less(lanes a, lanes b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}

static inline lane_mask lanes_both(lane_mask a, lane_mask b)
{
    return a & b;
}

static inline lanes lanes_choose(lane_mask m, lanes yes, lanes no)
{
    return _mm512_mask_blend_ps(m, no, yes);
}

/* out[j] gets column j of HONE_LANES rows that lie stride floats apart. */
static inline void lanes_columns(const float *src, size_t stride, lanes out[16])
{
    for (int half = 0; half < 2; half++) {
        __m256 upper[8], lower[8];
        transpose8(src + 8 * half, stride, upper);
        transpose8(src + 8 * stride + 8 * half, stride, lower);
        LANES_UNROLL
        for (int j = 0; j < 8; j++)
            out[8 * half + j] = _mm512_insertf32x8(_mm512_castps256_ps512(upper[j]), lower[j], 1);
    }
}

/*
 * Lane i of the result is what `op` makes of all lanes of v[i]; their order must not matter to it. Four vectors become
 * one whose quarters are of all four, then four quarters become one.
 */
static inline lanes lanes_fold(const lanes v[16], lanes (*op)(lanes a, lanes b))
{
    lanes quarters[4], halves[2];
    LANES_UNROLL
    for (int i = 0; i < 4; i++) {
        const lanes *r = v + 4 * i;
        const __m512d a = _mm512_castps_pd(op(_mm512_unpacklo_ps(r[0], r[1]), _mm512_unpackhi_ps(r[0], r[1])));
        const __m512d b = _mm512_castps_pd(op(_mm512_unpacklo_ps(r[2], r[3]), _mm512_unpackhi_ps(r[2], r[3])));
        quarters[i] = op(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
    }
    LANES_UNROLL
    for (int i = 0; i < 2; i++) {
        const lanes a = quarters[2 * i], b = quarters[2 * i + 1];
        halves[i] = op(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
    }
    return op(_mm512_shuffle_f32x4(halves[0], halves[1], 0x88), _mm512_shuffle_f32x4(halves[0], halves[1], 0xdd));
}

/* Sixteen numbers to bytes, towards zero; they are in [-128, 127] then. */
static inline void lanes_store_codes(uint8_t *p, const lanes v[1])
{
    _mm_storeu_si128((void *)p, _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(v[0])));
}

/*
 * 32 numbers, given as their doubles and in [-127.5, 127.5], to the nearest integers, halves away from zero, in bytes.
 * Truncating the double keeps what decides, a half: (t + 1) >> 1 for t >= 0, t >> 1 for t < 0.
 */
static inline void lanes_store_rounded(uint8_t *p, const lanes doubles[2])
{
    const __m512i t = _mm512_packs_epi32(_mm512_cvttps_epi32(doubles[0]), _mm512_cvttps_epi32(doubles[1]));
    const __m512i down = _mm512_add_epi16(t, _mm512_srai_epi16(t, 15));
    const __m512i l = _mm512_mulhrs_epi16(down, _mm512_set1_epi16(0x4000)); /* (down + 1) >> 1 */
    const __m256i bytes = _mm256_packs_epi16(_mm512_castsi512_si256(l), _mm512_extracti64x4_epi64(l, 1));
    /* Four by four: of the first vector 0 2, of the second 0 2; then 1 3, 1 3. */
    const __m256i order = _mm256_setr_epi32(0, 4, 2, 6, 1, 5, 3, 7);
    _mm256_storeu_si256((void *)p, _mm256_permutevar8x32_epi32(bytes, order));
}

/* To f16, to nearest, ties to even. p may be unaligned. */
static inline void lanes_store_halves(void *p, lanes v)
{
    _mm256_storeu_si256(p, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

/* Whole numbers in [0, 255] to bytes. */
static inline void lanes_store_bytes(uint8_t *p, lanes v)
{
    _mm_storeu_si128((void *)p, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v)));
}

/*
 * Sixteen values, ascending, and their midpoints as a tree: node 1 is the root, 2 i and 2 i + 1 are below node i; the
 * leaves 16 to 31 are the values. A lookup goes down four steps, to the right where v is not below the midpoint.
 */
typedef struct lane_table {
    __m512 tree, values;
} lane_table;

static inline lane_table lanes_table(const float tree[16], const float values[16])
{
    return (lane_table){_mm512_loadu_ps(tree), _mm512_loadu_ps(values)};
}

static inline lanes lanes_lookup(const lane_table *t, lanes v)
{
    const __m512i one = _mm512_set1_epi32(1);
    __m512i node = one;
    for (int i = 0; i < 4; i++) {
        const __mmask16 right = _mm512_cmp_ps_mask(v, _mm512_permutexvar_ps(node, t->tree), _CMP_NLT_UQ);
        node = _mm512_add_epi32(node, node);
        node = _mm512_mask_add_epi32(node, right, node, one);
    }
    return _mm512_permutexvar_ps(node, t->values);
}

#endif
