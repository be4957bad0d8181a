/* SPDX-License-Identifier: MIT */
/*
 * mxfp4 and nvfp4 with AVX2. The nearest value is found by counting the midpoints that a magnitude lies beyond.
 *
 * Midpoints times a scale are exact, and so are the differences that the portable C compares, but for magnitudes so far
 * beyond the largest value that all errors round to the same: those blocks go to the portable C.
 */
#include "quantize/lanes_avx2.h"

#include "formats/blocks.h"
#include "formats/value_tables.h"
#include "quantize/table_encoders.h"

static inline float reduce_max(__m256 v)
{
    __m128 r = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    r = _mm_max_ps(r, _mm_movehl_ps(r, r));
    return _mm_cvtss_f32(_mm_max_ss(r, _mm_movehdup_ps(r)));
}

struct thresholds {
    __m256 t[7];
};

static inline struct thresholds scale_thresholds(float d)
{
    /* Between the doubled values 0 1 2 3 4 6 8 12. With a scale of 0 every value is 0, and the first is taken. */
    static const float midpoints[7] = {0.5f, 1.5f, 2.5f, 3.5f, 5.0f, 7.0f, 10.0f};
    const __m256 scale = _mm256_set1_ps(d != 0.0f ? d : __builtin_inff());
    struct thresholds s;
    for (int i = 0; i < 7; i++)
        s.t[i] = _mm256_mul_ps(_mm256_set1_ps(midpoints[i]), scale);
    return s;
}

/* Codes of eight elements. Minus zero is never coded: the first zero comes before it. */
static inline __m256i code8(const struct thresholds *s, __m256 x)
{
    const __m256 m = magnitude(x);
    __m256i negated = _mm256_setzero_si256();
    for (int i = 0; i < 7; i++)
        negated = _mm256_add_epi32(negated, _mm256_castps_si256(_mm256_cmp_ps(m, s->t[i], _CMP_GT_OQ)));
    const __m256i code = _mm256_sub_epi32(_mm256_setzero_si256(), negated);
    const __m256i sign = _mm256_srli_epi32(_mm256_srai_epi32(_mm256_castps_si256(x), 31), 28);
    const __m256i nonzero = _mm256_cmpgt_epi32(code, _mm256_setzero_si256());
    return _mm256_or_si256(code, _mm256_and_si256(_mm256_and_si256(sign, nonzero), _mm256_set1_epi32(8)));
}

static inline __m256i pair(__m256i low, __m256i high)
{
    return _mm256_or_si256(low, _mm256_slli_epi32(high, 4));
}

void hone_encode_mxfp4_avx2(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    uint8_t *out = dst;
    for (size_t i = 0; i < ncols; i += HONE_QK, out += sizeof(hone_block_mxfp4)) {
        const __m256 a = _mm256_loadu_ps(src + i), b = _mm256_loadu_ps(src + i + 8);
        const __m256 c = _mm256_loadu_ps(src + i + 16), d = _mm256_loadu_ps(src + i + 24);
        const float amax = reduce_max(
            _mm256_max_ps(_mm256_max_ps(magnitude(a), magnitude(b)), _mm256_max_ps(magnitude(c), magnitude(d))));
        if (amax >= 0x1p127f) { /* the largest values may be infinite */
            hone_encode_mxfp4(src + i, HONE_QK, NULL, out);
            continue;
        }
        out[0] = hone_mxfp4_scale(amax);
        const struct thresholds s = scale_thresholds(hone_e8m0_half(out[0]));
        store_codes(out + 1, pair(code8(&s, a), code8(&s, c)), pair(code8(&s, b), code8(&s, d)));
    }
}

void hone_encode_nvfp4_avx2(const float *src, size_t ncols, const float *importance, void *dst)
{
    enum { SUBBLOCKS = HONE_QK_NVFP4 / 16 };
    (void)importance;
    uint8_t *out = dst;
    for (size_t i = 0; i < ncols; i += HONE_QK_NVFP4, out += sizeof(hone_block_nvfp4)) {
        __m256i codes[SUBBLOCKS];
        float largest = 0.0f;
        for (int s = 0; s < SUBBLOCKS; s++) {
            const __m256 a = _mm256_loadu_ps(src + i + 16 * s), b = _mm256_loadu_ps(src + i + 16 * s + 8);
            const float amax = reduce_max(_mm256_max_ps(magnitude(a), magnitude(b)));
            largest = amax > largest ? amax : largest;
            out[s] = hone_ue4m3_scale(amax / 6.0f);
            const struct thresholds t = scale_thresholds(hone_ue4m3_half(out[s]));
            codes[s] = pair(code8(&t, a), code8(&t, b));
        }
        store_codes(out + SUBBLOCKS, codes[0], codes[1]);
        store_codes(out + SUBBLOCKS + 16, codes[2], codes[3]);
        if (largest > 0x1p24f)
            hone_encode_nvfp4(src + i, HONE_QK_NVFP4, NULL, out);
    }
}
