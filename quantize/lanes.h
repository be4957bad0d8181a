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
