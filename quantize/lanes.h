/* SPDX-License-Identifier: MIT */
/*
 * Arithmetic on HONE_LANES floats at a time: 1 (portable C), 8 (AVX2) or 16 (AVX-512). Include after defining
 * HONE_LANES. A file written over these is compiled once for each width.
 *
 * + - * / are the compiler's own, which act on each lane. Every operation here gives a lane what it gives a float, so
 * that all widths compute the same bits; nothing is fused, nothing is summed across lanes.
 */
#ifndef HONE_LANES_H
#define HONE_LANES_H

#include <stdbool.h>
#include <stdint.h>

#if HONE_LANES > 1
#include <immintrin.h>
#endif

#if HONE_LANES == 16

typedef __m512 lanes;
typedef __mmask16 lane_mask;

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

#elif HONE_LANES == 8

typedef __m256 lanes;
typedef __m256 lane_mask;

static inline lanes lanes_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

static inline void lanes_store(float *p, lanes v)
{
    _mm256_storeu_ps(p, v);
}

static inline lanes lanes_all(float f)
{
    return _mm256_set1_ps(f);
}

static inline lanes lanes_max(lanes a, lanes b)
{
    return _mm256_max_ps(a, b);
}

static inline lanes lanes_min(lanes a, lanes b)
{
    return _mm256_min_ps(a, b);
}

static inline lanes lanes_abs(lanes v)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v);
}

static inline lane_mask lanes_less(lanes a, lanes b)
{
    return _mm256_cmp_ps(a, b, _CMP_LT_OQ);
}

static inline lane_mask lanes_both(lane_mask a, lane_mask b)
{
    return _mm256_and_ps(a, b);
}

static inline lanes lanes_choose(lane_mask m, lanes yes, lanes no)
{
    return _mm256_blendv_ps(no, yes, m);
}

static inline void lanes_store_bytes(uint8_t *p, lanes v)
{
    const __m256i l = _mm256_cvtps_epi32(v);
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(l), _mm256_extracti128_si256(l, 1));
    _mm_storel_epi64((void *)p, _mm_packus_epi16(words, words));
}

/* Nodes 1 to 7 are the first half of the tree, 8 to 15 the second; an index counts modulo 8. */
typedef struct lane_table {
    __m256 tree[2], values[2];
} lane_table;

static inline lane_table lanes_table(const float tree[16], const float values[16])
{
    return (lane_table){{_mm256_loadu_ps(tree), _mm256_loadu_ps(tree + 8)},
                        {_mm256_loadu_ps(values), _mm256_loadu_ps(values + 8)}};
}

static inline lanes lanes_lookup(const lane_table *t, lanes v)
{
    const __m256 first = _mm256_cmp_ps(v, _mm256_permutevar8x32_ps(t->tree[0], _mm256_set1_epi32(1)), _CMP_NLT_UQ);
    __m256i node = _mm256_sub_epi32(_mm256_set1_epi32(2), _mm256_castps_si256(first)); /* true is -1 */
    for (int i = 1; i < 4; i++) {
        const __m256 right = _mm256_cmp_ps(v, _mm256_permutevar8x32_ps(t->tree[i / 3], node), _CMP_NLT_UQ);
        node = _mm256_sub_epi32(_mm256_add_epi32(node, node), _mm256_castps_si256(right));
    }
    return _mm256_blendv_ps(_mm256_permutevar8x32_ps(t->values[0], node), _mm256_permutevar8x32_ps(t->values[1], node),
                            first);
}

#else

typedef float lanes;
typedef bool lane_mask;

static inline lanes lanes_load(const float *p)
{
    return *p;
}

static inline void lanes_store(float *p, lanes v)
{
    *p = v;
}

static inline lanes lanes_all(float f)
{
    return f;
}

static inline lanes lanes_max(lanes a, lanes b)
{
    return a > b ? a : b;
}

static inline lanes lanes_min(lanes a, lanes b)
{
    return a < b ? a : b;
}

static inline lanes lanes_abs(lanes v)
{
    return __builtin_fabsf(v);
}

static inline lane_mask lanes_less(lanes a, lanes b)
{
    return a < b;
}

static inline lane_mask lanes_both(lane_mask a, lane_mask b)
{
    return a && b;
}

static inline lanes lanes_choose(lane_mask m, lanes yes, lanes no)
{
    return m ? yes : no;
}

static inline void lanes_store_bytes(uint8_t *p, lanes v)
{
    *p = (uint8_t)v;
}

typedef struct lane_table {
    const float *tree, *values;
} lane_table;

static inline lane_table lanes_table(const float tree[16], const float values[16])
{
    return (lane_table){tree, values};
}

static inline lanes lanes_lookup(const lane_table *t, lanes v)
{
    int node = 1;
    while (node < 16)
        node = 2 * node + !(v < t->tree[node]);
    return t->values[node - 16];
}

#endif

/* The nearest integer, ties to even, for |v| <= 2^22: adding 1.5 * 2^23 puts the ulp of the sum at 1. */
static inline lanes lanes_round(lanes v)
{
    const lanes big = lanes_all(12582912.0f);
    return (v + big) - big;
}

/* The nearest integer within [lo, hi], which are integers of at most 2^22; lo for NaN. */
static inline lanes lanes_round_within(lanes v, lanes lo, lanes hi)
{
    return lanes_round(lanes_min(lanes_max(v, lo), hi));
}

#endif
