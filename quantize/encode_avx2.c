/* SPDX-License-Identifier: MIT */
/*
 * Encoders with AVX2 and F16C: whole ones for the types without a search, and the common ones over AVX2 searches.
 *
 * The extreme elements are taken from the array at their first position, not from a vector maximum: which of two equal
 * magnitudes, or of two zeros, comes first decides the sign of the stored scale.
 */
#include "quantize/encode_kernels.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "base/cursor.h"
#include "base/half.h"
#include "formats/blocks.h"
#include "quantize/rounding.h"
#include "quantize/table_encoders.h"

static void encode_f16(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    uint8_t *out = dst;
    size_t i = 0;
    for (; i + 8 <= ncols; i += 8) {
        const __m128i half = _mm256_cvtps_ph(_mm256_loadu_ps(src + i), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        _mm_storeu_si128((void *)(out + 2 * i), half);
    }
    for (; i < ncols; i++)
        hone_store_u16(out + 2 * i, hone_f32_to_f16(src[i]));
}

static void encode_bf16(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    const __m256i below_half = _mm256_set1_epi32(0x7fff), one = _mm256_set1_epi32(1);
    uint8_t *out = dst;
    size_t i = 0;
    for (; i + 8 <= ncols; i += 8) {
        const __m256i bits = _mm256_castps_si256(_mm256_loadu_ps(src + i));
        const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), one);
        const __m256i sum = _mm256_add_epi32(bits, _mm256_add_epi32(below_half, odd));
        const __m256i words = _mm256_srli_epi32(sum, 16);
        const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(words, words), 0xd8);
        _mm_storeu_si128((void *)(out + 2 * i), _mm256_castsi256_si128(packed));
    }
    for (; i < ncols; i++)
        hone_store_u16(out + 2 * i, hone_f32_to_bf16(src[i]));
}

/* A block of 32 floats. Members, not an array: compilers keep them in registers. */
struct block {
    __m256 a, b, c, d;
};

static inline struct block load_block(const float *x)
{
    return (struct block){_mm256_loadu_ps(x), _mm256_loadu_ps(x + 8), _mm256_loadu_ps(x + 16), _mm256_loadu_ps(x + 24)};
}

static inline struct block magnitudes(struct block x)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return (struct block){_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b), _mm256_andnot_ps(sign, x.c),
                          _mm256_andnot_ps(sign, x.d)};
}

static inline float reduce_max(struct block x)
{
    const __m256 m = _mm256_max_ps(_mm256_max_ps(x.a, x.b), _mm256_max_ps(x.c, x.d));
    __m128 r = _mm_max_ps(_mm256_castps256_ps128(m), _mm256_extractf128_ps(m, 1));
    r = _mm_max_ps(r, _mm_movehl_ps(r, r));
    return _mm_cvtss_f32(_mm_max_ss(r, _mm_movehdup_ps(r)));
}

static inline float reduce_min(struct block x)
{
    const __m256 m = _mm256_min_ps(_mm256_min_ps(x.a, x.b), _mm256_min_ps(x.c, x.d));
    __m128 r = _mm_min_ps(_mm256_castps256_ps128(m), _mm256_extractf128_ps(m, 1));
    r = _mm_min_ps(r, _mm_movehl_ps(r, r));
    return _mm_cvtss_f32(_mm_min_ss(r, _mm_movehdup_ps(r)));
}

static inline unsigned equal_mask(__m256 v, __m256 wanted)
{
    return (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(v, wanted, _CMP_EQ_OQ));
}

/* The position of the first element equal to value, which must occur. */
static inline unsigned first_equal(struct block x, float value)
{
    const __m256 wanted = _mm256_set1_ps(value);
    return (unsigned)__builtin_ctz(equal_mask(x.a, wanted) | equal_mask(x.b, wanted) << 8 |
                                   equal_mask(x.c, wanted) << 16 | equal_mask(x.d, wanted) << 24);
}

/* 32 integers to bytes, in order; they must be within int8. */
static inline __m256i to_bytes(__m256i a, __m256i b, __m256i c, __m256i d)
{
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    return _mm256_permutevar8x32_epi32(_mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d)), order);
}

static inline uint16_t half_scale(float d)
{
    return isnan(d) ? hone_store_scale(d) : _cvtss_sh(d, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* Halves go away from zero: add the float below 0.5 with the sign of v, then truncate. Adding 0.5 itself would lift the
 * float below 0.5 to 1. */
static inline __m256i nearest_away(__m256 v, __m256 id)
{
    const __m256 scaled = _mm256_mul_ps(v, id);
    const __m256 sign = _mm256_and_ps(scaled, _mm256_set1_ps(-0.0f));
    return _mm256_cvttps_epi32(_mm256_add_ps(scaled, _mm256_or_ps(sign, _mm256_set1_ps(0x1.fffffep-2f))));
}

static void encode_q8_0(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    uint8_t *out = dst;
    for (size_t i = 0; i < ncols; i += HONE_QK, out += sizeof(hone_block_q8_0)) {
        const struct block x = load_block(src + i);
        const float d = reduce_max(magnitudes(x)) / 127.0f;
        const float id = d != 0.0f ? 1.0f / d : 0.0f;
        const __m256 v = _mm256_set1_ps(id);
        /* An infinite inverse makes every product infinite or NaN, which codes as 0. */
        const __m256i codes = isinf(id) ? _mm256_setzero_si256()
                                        : to_bytes(nearest_away(x.a, v), nearest_away(x.b, v), nearest_away(x.c, v),
                                                   nearest_away(x.d, v));
        hone_store_u16(out, half_scale(d));
        _mm256_storeu_si256((void *)(out + offsetof(hone_block_q8_0, qs)), codes);
    }
}

/* trunc((v - from) * id + half) clamped to [0, max]; where that is infinite or NaN the cast gives INT_MIN, so 0. */
static inline __m256i truncated(__m256 v, float from, float id, float half, int max)
{
    const __m256 scaled = _mm256_mul_ps(_mm256_sub_ps(v, _mm256_set1_ps(from)), _mm256_set1_ps(id));
    const __m256i l = _mm256_cvttps_epi32(_mm256_add_ps(scaled, _mm256_set1_ps(half)));
    return _mm256_min_epi32(_mm256_max_epi32(l, _mm256_setzero_si256()), _mm256_set1_epi32(max));
}

static inline __m256i truncated_codes(struct block x, float from, float id, float half, int max)
{
    return to_bytes(truncated(x.a, from, id, half, max), truncated(x.b, from, id, half, max),
                    truncated(x.c, from, id, half, max), truncated(x.d, from, id, half, max));
}

/* d and the codes of a block whose extreme element gets code 0, which stands for -nmax. */
static inline __m256i plain_symmetric(const float *src, int nmax, float *d)
{
    const struct block x = load_block(src);
    const struct block m = magnitudes(x);
    const float largest = reduce_max(m);
    const float extreme = largest > 0.0f ? src[first_equal(m, largest)] : 0.0f;
    *d = extreme / -(float)nmax;
    const float id = *d != 0.0f ? 1.0f / *d : 0.0f;
    return truncated_codes(x, 0.0f, id, (float)nmax + 0.5f, 2 * nmax - 1);
}

static inline __m256i plain_affine(const float *src, int nmax, float *d, float *m)
{
    const struct block x = load_block(src);
    const float max = src[first_equal(x, reduce_max(x))];
    *m = src[first_equal(x, reduce_min(x))];
    *d = (max - *m) / (float)nmax;
    const float id = *d != 0.0f ? 1.0f / *d : 0.0f;
    return truncated_codes(x, *m, id, 0.5f, nmax);
}

static void store_nibbles(uint8_t qs[HONE_QK / 2], __m256i codes)
{
    const __m128i low = _mm256_castsi256_si128(codes), high = _mm256_extracti128_si256(codes, 1);
    const __m128i mask = _mm_set1_epi8(15);
    const __m128i nibbles = _mm_or_si128(_mm_and_si128(low, mask), _mm_slli_epi16(_mm_and_si128(high, mask), 4));
    _mm_storeu_si128((void *)qs, nibbles);
}

static void store_fifth_bits(uint8_t qh[4], __m256i codes)
{
    hone_store_u32(qh, (uint32_t)_mm256_movemask_epi8(_mm256_slli_epi16(codes, 3)));
}

static void encode_q4_0(const float *src, size_t ncols, const float *importance, void *dst)
{
    if (importance) {
        hone_encode_q4_0(&hone_search_avx2, src, ncols, importance, dst);
        return;
    }
    uint8_t *out = dst;
    for (size_t i = 0; i < ncols; i += HONE_QK, out += sizeof(hone_block_q4_0)) {
        float d;
        const __m256i codes = plain_symmetric(src + i, 8, &d);
        hone_store_u16(out, half_scale(d));
        store_nibbles(out + offsetof(hone_block_q4_0, qs), codes);
    }
}

static void encode_q4_1(const float *src, size_t ncols, const float *importance, void *dst)
{
    if (importance) {
        hone_encode_q4_1(&hone_search_avx2, src, ncols, importance, dst);
        return;
    }
    uint8_t *out = dst;
    for (size_t i = 0; i < ncols; i += HONE_QK, out += sizeof(hone_block_q4_1)) {
        float d, m;
        const __m256i codes = plain_affine(src + i, 15, &d, &m);
        hone_store_u16(out, half_scale(d));
        hone_store_u16(out + offsetof(hone_block_q4_1, m), half_scale(m));
        store_nibbles(out + offsetof(hone_block_q4_1, qs), codes);
    }
}

static void encode_q5_0(const float *src, size_t ncols, const float *importance, void *dst)
{
    if (importance) {
        hone_encode_q5_0(&hone_search_avx2, src, ncols, importance, dst);
        return;
    }
    uint8_t *out = dst;
    for (size_t i = 0; i < ncols; i += HONE_QK, out += sizeof(hone_block_q5_0)) {
        float d;
        const __m256i codes = plain_symmetric(src + i, 16, &d);
        hone_store_u16(out, half_scale(d));
        store_fifth_bits(out + offsetof(hone_block_q5_0, qh), codes);
        store_nibbles(out + offsetof(hone_block_q5_0, qs), codes);
    }
}

static void encode_q5_1(const float *src, size_t ncols, const float *importance, void *dst)
{
    if (importance) {
        hone_encode_q5_1(&hone_search_avx2, src, ncols, importance, dst);
        return;
    }
    uint8_t *out = dst;
    for (size_t i = 0; i < ncols; i += HONE_QK, out += sizeof(hone_block_q5_1)) {
        float d, m;
        const __m256i codes = plain_affine(src + i, 31, &d, &m);
        hone_store_u16(out, half_scale(d));
        hone_store_u16(out + offsetof(hone_block_q5_1, m), half_scale(m));
        store_fifth_bits(out + offsetof(hone_block_q5_1, qh), codes);
        store_nibbles(out + offsetof(hone_block_q5_1, qs), codes);
    }
}

static void encode_q2_k(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_encode_q2_k(&hone_search_avx2, src, ncols, importance, dst);
}

static void encode_q3_k(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_encode_q3_k(&hone_search_avx2, src, ncols, importance, dst);
}

static void encode_q4_k(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_encode_q4_k(&hone_search_avx2, src, ncols, importance, dst);
}

static void encode_q5_k(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_encode_q5_k(&hone_search_avx2, src, ncols, importance, dst);
}

static void encode_q6_k(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_encode_q6_k(&hone_search_avx2, src, ncols, importance, dst);
}

static void fast_q4_0(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    encode_q4_0(src, ncols, NULL, dst);
}

static void fast_q4_1(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    encode_q4_1(src, ncols, NULL, dst);
}

static void fast_q5_0(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    encode_q5_0(src, ncols, NULL, dst);
}

static void fast_q5_1(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    encode_q5_1(src, ncols, NULL, dst);
}

static void fast_q2_k(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    hone_encode_fast_q2_k(&hone_search_avx2, src, ncols, dst);
}

static void fast_q3_k(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    hone_encode_fast_q3_k(&hone_search_avx2, src, ncols, dst);
}

static void fast_q4_k(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    hone_encode_fast_q4_k(&hone_search_avx2, src, ncols, dst);
}

static void fast_q5_k(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    hone_encode_fast_q5_k(&hone_search_avx2, src, ncols, dst);
}

static void fast_q6_k(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    hone_encode_fast_q6_k(&hone_search_avx2, src, ncols, dst);
}

const hone_encode_fn hone_encoders_avx2[HONE_N_DTYPES] = {
    [HONE_F16] = encode_f16,
    [HONE_BF16] = encode_bf16,
    [HONE_Q4_0] = encode_q4_0,
    [HONE_Q4_1] = encode_q4_1,
    [HONE_Q5_0] = encode_q5_0,
    [HONE_Q5_1] = encode_q5_1,
    [HONE_Q8_0] = encode_q8_0,
    [HONE_Q2_K] = encode_q2_k,
    [HONE_Q3_K] = encode_q3_k,
    [HONE_Q4_K] = encode_q4_k,
    [HONE_Q5_K] = encode_q5_k,
    [HONE_Q6_K] = encode_q6_k,
    [HONE_IQ4_NL] = hone_encode_iq4_nl_avx2,
    [HONE_IQ4_XS] = hone_encode_iq4_xs_avx2,
    [HONE_MXFP4] = hone_encode_mxfp4_avx2,
    [HONE_NVFP4] = hone_encode_nvfp4_avx2,
};

const hone_encode_fn hone_fast_encoders_avx2[HONE_N_DTYPES] = {
    [HONE_Q4_0] = fast_q4_0, [HONE_Q4_1] = fast_q4_1, [HONE_Q5_0] = fast_q5_0,
    [HONE_Q5_1] = fast_q5_1, [HONE_Q2_K] = fast_q2_k, [HONE_Q3_K] = fast_q3_k,
    [HONE_Q4_K] = fast_q4_k, [HONE_Q5_K] = fast_q5_k, [HONE_Q6_K] = fast_q6_k,
};
