/* SPDX-License-Identifier: MIT */
/* Eight lanes: see lanes.h. */
#ifndef HONE_LANES_AVX2_H
#define HONE_LANES_AVX2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quantize/transpose_avx2.h"

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

static inline lanes lanes_spread(const float *p)
{
    return lanes_all(*p);
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

static inline lanes lanes_larger(lanes a, lanes b)
{
    return _mm256_max_ps(lanes_abs(a), lanes_abs(b));
}

static inline lanes lanes_sqrt(lanes v)
{
    return _mm256_sqrt_ps(v);
}

static inline lane_mask lanes_either(lane_mask a, lane_mask b)
{
    return _mm256_or_ps(a, b);
}

static inline lane_mask lanes_except(lane_mask a, lane_mask without)
{
    return _mm256_andnot_ps(without, a);
}

static inline bool lanes_any(lane_mask m)
{
    return _mm256_movemask_ps(m) != 0;
}

static inline unsigned lanes_bits(lane_mask m)
{
    return (unsigned)_mm256_movemask_ps(m);
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

static inline lanes lanes_fold(const lanes v[8], lanes (*op)(lanes a, lanes b))
{
    lanes halves[2];
    LANES_UNROLL
    for (int i = 0; i < 2; i++) {
        const lanes *r = v + 4 * i;
        const __m256d a = _mm256_castps_pd(op(_mm256_unpacklo_ps(r[0], r[1]), _mm256_unpackhi_ps(r[0], r[1])));
        const __m256d b = _mm256_castps_pd(op(_mm256_unpacklo_ps(r[2], r[3]), _mm256_unpackhi_ps(r[2], r[3])));
        halves[i] = op(_mm256_castpd_ps(_mm256_unpacklo_pd(a, b)), _mm256_castpd_ps(_mm256_unpackhi_pd(a, b)));
    }
    return op(_mm256_permute2f128_ps(halves[0], halves[1], 0x20), _mm256_permute2f128_ps(halves[0], halves[1], 0x31));
}

static inline void lanes_store_codes(uint8_t *p, const lanes v[2])
{
    const __m256i words = _mm256_packs_epi32(_mm256_cvttps_epi32(v[0]), _mm256_cvttps_epi32(v[1]));
    const __m256i ordered = _mm256_permute4x64_epi64(words, 0xd8);
    _mm_storeu_si128((void *)p, _mm_packs_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1)));
}

static inline void lanes_store_rounded(uint8_t *p, const lanes doubles[4])
{
    __m256i l[2];
    LANES_UNROLL
    for (int i = 0; i < 2; i++) {
        const __m256i t =
            _mm256_packs_epi32(_mm256_cvttps_epi32(doubles[2 * i]), _mm256_cvttps_epi32(doubles[2 * i + 1]));
        l[i] = _mm256_mulhrs_epi16(_mm256_add_epi16(t, _mm256_srai_epi16(t, 15)), _mm256_set1_epi16(0x4000));
    }
    /* Four by four: the first halves of all four vectors, then the second. */
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_storeu_si256((void *)p, _mm256_permutevar8x32_epi32(_mm256_packs_epi16(l[0], l[1]), order));
}

static inline void lanes_store_halves(void *p, lanes v)
{
    _mm_storeu_si128(p, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
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

#endif
