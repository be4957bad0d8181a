/* SPDX-License-Identifier: MIT */
/*
 * Arithmetic on HONE_LANES floats at a time: 1 (portable C), 4 (NEON), 8 (AVX2) or 16 (AVX-512). Include after defining
 * HONE_LANES. A file written over these is compiled once for each width.
 *
 * + - * / are the compiler's own, which act on each lane. Every operation here gives a lane what it gives a float, so
 * that all widths compute the same bits; nothing is fused, nothing is summed across lanes.
 */
#ifndef HONE_LANES_H
#define HONE_LANES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if HONE_LANES == 4
#include <arm_neon.h>
#elif HONE_LANES > 1
#include <immintrin.h>
#endif

/* Before a loop over a few vectors that should stay in registers. */
#if defined(__clang__)
#define LANES_UNROLL
#else
#define LANES_UNROLL _Pragma("GCC unroll 16")
#endif

#if HONE_LANES == 8 || HONE_LANES == 16

/* out[j] gets column j of eight rows that lie stride floats apart. */
static inline void transpose8(const float *src, size_t stride, __m256 out[8])
{
    __m256 r[8], t[8];
    LANES_UNROLL
    for (int i = 0; i < 8; i++)
        r[i] = _mm256_loadu_ps(src + (size_t)i * stride);
    LANES_UNROLL
    for (int i = 0; i < 4; i++) { /* pairs of rows: a0 b0 a1 b1 | a4 b4 a5 b5, then the other columns */
        t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    LANES_UNROLL
    for (int i = 0; i < 2; i++) { /* quads of rows: r[4i + j] has columns j and 4 + j */
        const __m256d lo0 = _mm256_castps_pd(t[4 * i]), lo1 = _mm256_castps_pd(t[4 * i + 2]);
        const __m256d hi0 = _mm256_castps_pd(t[4 * i + 1]), hi1 = _mm256_castps_pd(t[4 * i + 3]);
        r[4 * i] = _mm256_castpd_ps(_mm256_unpacklo_pd(lo0, lo1));
        r[4 * i + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(lo0, lo1));
        r[4 * i + 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(hi0, hi1));
        r[4 * i + 3] = _mm256_castpd_ps(_mm256_unpackhi_pd(hi0, hi1));
    }
    LANES_UNROLL
    for (int j = 0; j < 4; j++) {
        out[j] = _mm256_permute2f128_ps(r[j], r[4 + j], 0x20);
        out[4 + j] = _mm256_permute2f128_ps(r[j], r[4 + j], 0x31);
    }
}

#endif

#if HONE_LANES == 16

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

static inline lanes lanes_sqrt(lanes v)
{
    return _mm512_sqrt_ps(v);
}

/* Towards zero */
static inline lanes lanes_truncate(lanes v)
{
    return _mm512_roundscale_ps(v, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
}

/* The magnitude of one with the sign of the other */
static inline lanes lanes_copy_sign(lanes magnitude, lanes sign)
{
    return _mm512_or_ps(_mm512_and_ps(sign, _mm512_set1_ps(-0.0f)), magnitude);
}

static inline lane_mask lanes_either(lane_mask a, lane_mask b)
{
    return a | b;
}

static inline lane_mask lanes_except(lane_mask a, lane_mask not )
{
    return a & (lane_mask) ~not ;
}

static inline bool lanes_any(lane_mask m)
{
    return m != 0;
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

/* Sixteen whole numbers in [-128, 127] to bytes. */
static inline void lanes_store_codes(uint8_t *p, const lanes v[1])
{
    _mm_storeu_si128((void *)p, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v[0])));
}

/* To f16, to nearest, ties to even. */
static inline void lanes_store_halves(uint16_t *p, lanes v)
{
    _mm256_storeu_si256((void *)p, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

/* Whole numbers in [0, 255] to bytes. */
static inline void lanes_store_bytes(uint8_t *p, lanes v)
{
    _mm_storeu_si128((void *)p, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v)));
}

#elif HONE_LANES == 8

typedef __m256 lanes;
typedef __m256 lane_mask;
typedef int32_t lane_ints __attribute__((vector_size(32)));

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

static inline lanes lanes_sqrt(lanes v)
{
    return _mm256_sqrt_ps(v);
}

static inline lanes lanes_truncate(lanes v)
{
    return _mm256_round_ps(v, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
}

static inline lanes lanes_copy_sign(lanes magnitude, lanes sign)
{
    return _mm256_or_ps(_mm256_and_ps(sign, _mm256_set1_ps(-0.0f)), magnitude);
}

static inline lane_mask lanes_either(lane_mask a, lane_mask b)
{
    return _mm256_or_ps(a, b);
}

static inline lane_mask lanes_except(lane_mask a, lane_mask not )
{
    return _mm256_andnot_ps(not, a);
}

static inline bool lanes_any(lane_mask m)
{
    return _mm256_movemask_ps(m) != 0;
}

static inline lane_mask lanes_differ(lanes a, lanes b)
{
    return _mm256_cmp_ps(a, b, _CMP_NEQ_UQ);
}

static inline lane_mask lanes_at_most(lanes a, lanes b)
{
    return _mm256_cmp_ps(a, b, _CMP_LE_OQ);
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

static inline void lanes_columns(const float *src, size_t stride, lanes out[8])
{
    transpose8(src, stride, out);
}

static inline void lanes_store_codes(uint8_t *p, const lanes v[2])
{
    const __m256i words = _mm256_packs_epi32(_mm256_cvtps_epi32(v[0]), _mm256_cvtps_epi32(v[1]));
    const __m256i ordered = _mm256_permute4x64_epi64(words, 0xd8);
    _mm_storeu_si128((void *)p, _mm_packs_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1)));
}

static inline void lanes_store_halves(uint16_t *p, lanes v)
{
    _mm_storeu_si128((void *)p, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

static inline void lanes_store_bytes(uint8_t *p, lanes v)
{
    const __m256i l = _mm256_cvtps_epi32(v);
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(l), _mm256_extracti128_si256(l, 1));
    _mm_storel_epi64((void *)p, _mm_packus_epi16(words, words));
}

#elif HONE_LANES == 4

typedef float32x4_t lanes;
typedef uint32x4_t lane_mask;
typedef int32_t lane_ints __attribute__((vector_size(16)));

static inline lanes lanes_load(const float *p)
{
    return vld1q_f32(p);
}

static inline void lanes_store(float *p, lanes v)
{
    vst1q_f32(p, v);
}

static inline lanes lanes_all(float f)
{
    return vdupq_n_f32(f);
}

/* Not the CPU's own maximum, which is NaN where either is. */
static inline lanes lanes_max(lanes a, lanes b)
{
    return vbslq_f32(vcgtq_f32(a, b), a, b);
}

static inline lanes lanes_min(lanes a, lanes b)
{
    return vbslq_f32(vcltq_f32(a, b), a, b);
}

static inline lanes lanes_abs(lanes v)
{
    return vabsq_f32(v);
}

static inline lanes lanes_sqrt(lanes v)
{
    return vsqrtq_f32(v);
}

static inline lanes lanes_truncate(lanes v)
{
    return vrndq_f32(v);
}

static inline lanes lanes_copy_sign(lanes magnitude, lanes sign)
{
    return vbslq_f32(vdupq_n_u32(0x80000000u), sign, magnitude);
}

static inline lane_mask lanes_less(lanes a, lanes b)
{
    return vcltq_f32(a, b);
}

static inline lane_mask lanes_at_most(lanes a, lanes b)
{
    return vcleq_f32(a, b);
}

static inline lane_mask lanes_differ(lanes a, lanes b)
{
    return vmvnq_u32(vceqq_f32(a, b));
}

static inline lane_mask lanes_both(lane_mask a, lane_mask b)
{
    return vandq_u32(a, b);
}

static inline lane_mask lanes_either(lane_mask a, lane_mask b)
{
    return vorrq_u32(a, b);
}

static inline lane_mask lanes_except(lane_mask a, lane_mask not )
{
    return vbicq_u32(a, not );
}

static inline bool lanes_any(lane_mask m)
{
    return vmaxvq_u32(m) != 0;
}

static inline lanes lanes_choose(lane_mask m, lanes yes, lanes no)
{
    return vbslq_f32(m, yes, no);
}

static inline void lanes_store_bytes(uint8_t *p, lanes v)
{
    const uint16x4_t words = vmovn_u32(vcvtnq_u32_f32(v));
    const uint8x8_t bytes = vmovn_u16(vcombine_u16(words, words));
    vst1_lane_u32((void *)p, vreinterpret_u32_u8(bytes), 0);
}

static inline void lanes_columns(const float *src, size_t stride, lanes out[4])
{
    const lanes a = vld1q_f32(src), b = vld1q_f32(src + stride);
    const lanes c = vld1q_f32(src + 2 * stride), d = vld1q_f32(src + 3 * stride);
    const float64x2_t ab0 = vreinterpretq_f64_f32(vtrn1q_f32(a, b)), ab1 = vreinterpretq_f64_f32(vtrn2q_f32(a, b));
    const float64x2_t cd0 = vreinterpretq_f64_f32(vtrn1q_f32(c, d)), cd1 = vreinterpretq_f64_f32(vtrn2q_f32(c, d));
    out[0] = vreinterpretq_f32_f64(vtrn1q_f64(ab0, cd0));
    out[1] = vreinterpretq_f32_f64(vtrn1q_f64(ab1, cd1));
    out[2] = vreinterpretq_f32_f64(vtrn2q_f64(ab0, cd0));
    out[3] = vreinterpretq_f32_f64(vtrn2q_f64(ab1, cd1));
}

static inline void lanes_store_codes(uint8_t *p, const lanes v[4])
{
    const int16x8_t low = vcombine_s16(vmovn_s32(vcvtnq_s32_f32(v[0])), vmovn_s32(vcvtnq_s32_f32(v[1])));
    const int16x8_t high = vcombine_s16(vmovn_s32(vcvtnq_s32_f32(v[2])), vmovn_s32(vcvtnq_s32_f32(v[3])));
    vst1q_s8((int8_t *)p, vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
}

static inline void lanes_store_halves(uint16_t *p, lanes v)
{
    vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(v)));
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

static inline void lanes_columns(const float *src, size_t stride, lanes out[1])
{
    (void)stride;
    out[0] = *src;
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

#if HONE_LANES > 1
/* clamp(hone_nearest(v), lo, hi), whatever v is: the integer is read off the mantissa, as it is there. */
static inline lanes lanes_nearest(lanes v, lanes lo, lanes hi)
{
    const lane_ints bits = (lane_ints)(v + lanes_all(12582912.0f));
    const lanes l = (lanes) __builtin_convertvector((bits & 0x007fffff) - 0x00400000, lanes);
    return lanes_min(lanes_max(l, lo), hi);
}
#endif

#endif
