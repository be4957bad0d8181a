/* SPDX-License-Identifier: MIT */
/*
 * Whole numbers in lanes, beside the floats of lanes.h: what packs codes into words, looks values up by code, and
 * searches in 16-bit arithmetic. A lane of these gives the same for every width, too.
 *
 * + & | << >> are the compiler's own. lane_bits are 32 bits without sign; lane_pairs are two signed 16-bit halves.
 */
#ifndef HONE_LANE_BITS_H
#define HONE_LANE_BITS_H

#include <string.h>

#include "base/half.h"
#include "quantize/lanes.h"

#if HONE_LANES == 1
typedef uint32_t lane_bits;
typedef int32_t lane_sums;
#else
typedef uint32_t lane_bits __attribute__((vector_size(4 * HONE_LANES)));
typedef lane_ints lane_sums;
#endif
typedef lane_bits lane_pairs;

static inline lane_bits bits_load(const uint32_t *p)
{
    lane_bits v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void bits_store(uint32_t *p, lane_bits v)
{
    memcpy(p, &v, sizeof v);
}

static inline lane_bits bits_of(lanes v)
{
    lane_bits bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

static inline lanes lanes_from(lane_bits bits)
{
    lanes v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* A whole number of at most 2^22, as added to 1.5 * 2^23, in two's complement. */
static inline lane_bits bits_of_sum(lanes v)
{
    return bits_of(v) - 0x4b400000u;
}

/* Whole numbers in [0, 2^22]. */
static inline lanes lanes_of_bits(lane_bits v)
{
    return lanes_from(v + 0x4b400000u) - lanes_all(12582912.0f);
}

/* From lanes.h's tables: where the value nearest to v stands, and what stands at a place; only the lowest four bits of
 * that count. */
#if HONE_LANES == 16

static inline lane_bits lanes_find(const lane_table *t, lanes v)
{
    const __m512i one = _mm512_set1_epi32(1);
    __m512i node = one;
    LANES_UNROLL
    for (int i = 0; i < 4; i++) {
        const __mmask16 right = _mm512_cmp_ps_mask(v, _mm512_permutexvar_ps(node, t->tree), _CMP_NLT_UQ);
        node = _mm512_add_epi32(node, node);
        node = _mm512_mask_add_epi32(node, right, node, one);
    }
    return (lane_bits)node;
}

static inline lanes lanes_entry(const lane_table *t, lane_bits place)
{
    return _mm512_permutexvar_ps((__m512i)place, t->values);
}

static inline lanes lanes_of_sums(lane_sums v)
{
    return _mm512_cvtepi32_ps((__m512i)v);
}

static inline lanes lanes_load_halves(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)p));
}

/* (a * b + 2^14) >> 15 of each half; not both of them -2^15. */
static inline lane_pairs pairs_multiply(lane_pairs a, lane_pairs b)
{
    return (lane_pairs)_mm512_mulhrs_epi16((__m512i)a, (__m512i)b);
}

static inline lane_pairs pairs_within(lane_pairs v, lane_pairs lo, lane_pairs hi)
{
    return (lane_pairs)_mm512_min_epi16(_mm512_max_epi16((__m512i)v, (__m512i)lo), (__m512i)hi);
}

/* The products of the halves, added. */
static inline lane_sums pairs_dot(lane_pairs a, lane_pairs b)
{
    return (lane_sums)_mm512_madd_epi16((__m512i)a, (__m512i)b);
}

#elif HONE_LANES == 8

static inline lane_bits lanes_find(const lane_table *t, lanes v)
{
    __m256i node = _mm256_set1_epi32(1);
    LANES_UNROLL
    for (int i = 0; i < 4; i++) {
        const __m256 right = _mm256_cmp_ps(v, _mm256_permutevar8x32_ps(t->tree[i / 3], node), _CMP_NLT_UQ);
        node = _mm256_sub_epi32(_mm256_add_epi32(node, node), _mm256_castps_si256(right)); /* true is -1 */
    }
    return (lane_bits)node;
}

static inline lanes lanes_entry(const lane_table *t, lane_bits place)
{
    const __m256i p = (__m256i)place;
    return _mm256_blendv_ps(_mm256_permutevar8x32_ps(t->values[0], p), _mm256_permutevar8x32_ps(t->values[1], p),
                            _mm256_castsi256_ps(_mm256_slli_epi32(p, 28)));
}

static inline lanes lanes_of_sums(lane_sums v)
{
    return _mm256_cvtepi32_ps((__m256i)v);
}

static inline lanes lanes_load_halves(const uint16_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const void *)p));
}

static inline lane_pairs pairs_multiply(lane_pairs a, lane_pairs b)
{
    return (lane_pairs)_mm256_mulhrs_epi16((__m256i)a, (__m256i)b);
}

static inline lane_pairs pairs_within(lane_pairs v, lane_pairs lo, lane_pairs hi)
{
    return (lane_pairs)_mm256_min_epi16(_mm256_max_epi16((__m256i)v, (__m256i)lo), (__m256i)hi);
}

static inline lane_sums pairs_dot(lane_pairs a, lane_pairs b)
{
    return (lane_sums)_mm256_madd_epi16((__m256i)a, (__m256i)b);
}

#elif HONE_LANES == 4

static inline lane_bits lanes_find(const lane_table *t, lanes v)
{
    uint32x4_t node = vdupq_n_u32(1);
    for (int i = 0; i < 4; i++) {
        const uint32x4_t right = vmvnq_u32(vcltq_f32(v, entries(t->tree, node))); /* true is -1 */
        node = vsubq_u32(vaddq_u32(node, node), right);
    }
    return (lane_bits)node;
}

static inline lanes lanes_entry(const lane_table *t, lane_bits place)
{
    return entries(t->values, (uint32x4_t)(place & 15));
}

static inline lanes lanes_of_sums(lane_sums v)
{
    return vcvtq_f32_s32((int32x4_t)v);
}

static inline lanes lanes_load_halves(const uint16_t *p)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}

static inline lane_pairs pairs_multiply(lane_pairs a, lane_pairs b)
{
    return (lane_pairs)vqrdmulhq_s16((int16x8_t)a, (int16x8_t)b);
}

static inline lane_pairs pairs_within(lane_pairs v, lane_pairs lo, lane_pairs hi)
{
    return (lane_pairs)vminq_s16(vmaxq_s16((int16x8_t)v, (int16x8_t)lo), (int16x8_t)hi);
}

static inline lane_sums pairs_dot(lane_pairs a, lane_pairs b)
{
    const int16x8_t x = (int16x8_t)a, y = (int16x8_t)b;
    return (lane_sums)vpaddq_s32(vmull_s16(vget_low_s16(x), vget_low_s16(y)), vmull_high_s16(x, y));
}

#else

static inline lane_bits lanes_find(const lane_table *t, lanes v)
{
    lane_bits node = 1;
    while (node < 16)
        node = 2 * node + !(v < t->tree[node]);
    return node;
}

static inline lanes lanes_entry(const lane_table *t, lane_bits place)
{
    return t->values[place & 15];
}

static inline lanes lanes_of_sums(lane_sums v)
{
    return (float)v;
}

static inline lanes lanes_load_halves(const uint16_t *p)
{
    return hone_f16_to_f32(*p);
}

static inline void lanes_store_halves(void *p, lanes v)
{
    const uint16_t half = hone_f32_to_f16(v);
    memcpy(p, &half, sizeof half);
}

static inline int32_t low_half(lane_pairs v)
{
    return (int16_t)(v & 0xffff);
}

static inline int32_t high_half(lane_pairs v)
{
    return (int16_t)(v >> 16);
}

static inline lane_pairs pairs_of(int32_t low, int32_t high)
{
    return ((uint32_t)low & 0xffff) | (uint32_t)high << 16;
}

/* Counted from -2^30, so that nothing negative is shifted. */
static inline int32_t half_product(int32_t a, int32_t b)
{
    return (int32_t)(((uint32_t)(a * b + (1 << 30)) + (1u << 14)) >> 15) - (1 << 15);
}

static inline int32_t half_within(int32_t v, int32_t lo, int32_t hi)
{
    return v < lo ? lo : v > hi ? hi : v;
}

static inline lane_pairs pairs_multiply(lane_pairs a, lane_pairs b)
{
    return pairs_of(half_product(low_half(a), low_half(b)), half_product(high_half(a), high_half(b)));
}

static inline lane_pairs pairs_within(lane_pairs v, lane_pairs lo, lane_pairs hi)
{
    return pairs_of(half_within(low_half(v), low_half(lo), low_half(hi)),
                    half_within(high_half(v), high_half(lo), high_half(hi)));
}

static inline lane_sums pairs_dot(lane_pairs a, lane_pairs b)
{
    return low_half(a) * low_half(b) + high_half(a) * high_half(b);
}

#endif

/* The same in every half. */
static inline lane_pairs pairs_all(int v)
{
    const uint32_t half = (uint32_t)v & 0xffffu;
    return bits_of(lanes_all(0.0f)) + (half | half << 16);
}

#endif
