/* SPDX-License-Identifier: MIT */
/*
 * Decoders with AVX2 and F16C. Every float is made by the same products and differences, each rounded on its own, as in
 * the portable C: no fused multiply-add.
 */
#include "formats/decode_kernels.h"

#include <immintrin.h>
#include <string.h>

#include "base/cursor.h"
#include "base/half.h"
#include "formats/blocks.h"

static __m128i load16(const void *p)
{
    return _mm_loadu_si128(p);
}

static __m256i load32(const void *p)
{
    return _mm256_loadu_si256(p);
}

/* The eight signed bytes at the bottom of v as floats. */
static __m256 to_floats(__m128i v)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(v));
}

/* dst[0..15] = scale * codes */
static void store_scaled(float *dst, __m128i codes, __m256 scale)
{
    _mm256_storeu_ps(dst, _mm256_mul_ps(scale, to_floats(codes)));
    _mm256_storeu_ps(dst + 8, _mm256_mul_ps(scale, to_floats(_mm_srli_si128(codes, 8))));
}

/* dst[0..15] = scale * codes + min */
static void store_affine(float *dst, __m128i codes, __m256 scale, __m256 min)
{
    _mm256_storeu_ps(dst, _mm256_add_ps(_mm256_mul_ps(scale, to_floats(codes)), min));
    _mm256_storeu_ps(dst + 8, _mm256_add_ps(_mm256_mul_ps(scale, to_floats(_mm_srli_si128(codes, 8))), min));
}

/* dst[0..15] = scale * codes - min */
static void store_above(float *dst, __m128i codes, __m256 scale, __m256 min)
{
    _mm256_storeu_ps(dst, _mm256_sub_ps(_mm256_mul_ps(scale, to_floats(codes)), min));
    _mm256_storeu_ps(dst + 8, _mm256_sub_ps(_mm256_mul_ps(scale, to_floats(_mm_srli_si128(codes, 8))), min));
}

static __m128i low_nibbles(__m128i v)
{
    return _mm_and_si128(v, _mm_set1_epi8(15));
}

static __m128i high_nibbles(__m128i v)
{
    return low_nibbles(_mm_srli_epi16(v, 4));
}

/* 16 where the bit is set: byte j from bit j of the sixteen. */
static __m128i fifth_bits(uint16_t bits)
{
    const __m128i pick = _mm_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    const __m128i bit = _mm_set1_epi64x((long long)0x8040201008040201u);
    const __m128i spread = _mm_shuffle_epi8(_mm_cvtsi32_si128(bits), pick);
    return _mm_and_si128(_mm_cmpeq_epi8(_mm_and_si128(spread, bit), bit), _mm_set1_epi8(16));
}

static void decode_f16(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    size_t i = 0;
    for (; i + 8 <= nelems; i += 8)
        _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(load16(p + 2 * i)));
    for (; i < nelems; i++)
        dst[i] = hone_f16_to_f32(hone_load_u16(p + 2 * i));
}

static void decode_bf16(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    size_t i = 0;
    for (; i + 8 <= nelems; i += 8) {
        const __m256i wide = _mm256_slli_epi32(_mm256_cvtepu16_epi32(load16(p + 2 * i)), 16);
        _mm256_storeu_ps(dst + i, _mm256_castsi256_ps(wide));
    }
    for (; i < nelems; i++)
        dst[i] = hone_bf16_to_f32(hone_load_u16(p + 2 * i));
}

static void decode_q4_0(const void *src, float *dst, size_t nelems)
{
    const __m128i eight = _mm_set1_epi8(8);
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i += HONE_QK, p += sizeof(hone_block_q4_0)) {
        const __m256 d = _mm256_set1_ps(_cvtsh_ss(hone_load_u16(p)));
        const __m128i qs = load16(p + offsetof(hone_block_q4_0, qs));
        store_scaled(dst + i, _mm_sub_epi8(low_nibbles(qs), eight), d);
        store_scaled(dst + i + 16, _mm_sub_epi8(high_nibbles(qs), eight), d);
    }
}

static void decode_q4_1(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i += HONE_QK, p += sizeof(hone_block_q4_1)) {
        const __m256 d = _mm256_set1_ps(_cvtsh_ss(hone_load_u16(p)));
        const __m256 m = _mm256_set1_ps(_cvtsh_ss(hone_load_u16(p + offsetof(hone_block_q4_1, m))));
        const __m128i qs = load16(p + offsetof(hone_block_q4_1, qs));
        store_affine(dst + i, low_nibbles(qs), d, m);
        store_affine(dst + i + 16, high_nibbles(qs), d, m);
    }
}

static void decode_q5_0(const void *src, float *dst, size_t nelems)
{
    const __m128i sixteen = _mm_set1_epi8(16);
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i += HONE_QK, p += sizeof(hone_block_q5_0)) {
        const __m256 d = _mm256_set1_ps(_cvtsh_ss(hone_load_u16(p)));
        const uint8_t *qh = p + offsetof(hone_block_q5_0, qh);
        const __m128i qs = load16(p + offsetof(hone_block_q5_0, qs));
        const __m128i low = _mm_or_si128(low_nibbles(qs), fifth_bits(hone_load_u16(qh)));
        const __m128i high = _mm_or_si128(high_nibbles(qs), fifth_bits(hone_load_u16(qh + 2)));
        store_scaled(dst + i, _mm_sub_epi8(low, sixteen), d);
        store_scaled(dst + i + 16, _mm_sub_epi8(high, sixteen), d);
    }
}

static void decode_q5_1(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i += HONE_QK, p += sizeof(hone_block_q5_1)) {
        const __m256 d = _mm256_set1_ps(_cvtsh_ss(hone_load_u16(p)));
        const __m256 m = _mm256_set1_ps(_cvtsh_ss(hone_load_u16(p + offsetof(hone_block_q5_1, m))));
        const uint8_t *qh = p + offsetof(hone_block_q5_1, qh);
        const __m128i qs = load16(p + offsetof(hone_block_q5_1, qs));
        store_affine(dst + i, _mm_or_si128(low_nibbles(qs), fifth_bits(hone_load_u16(qh))), d, m);
        store_affine(dst + i + 16, _mm_or_si128(high_nibbles(qs), fifth_bits(hone_load_u16(qh + 2))), d, m);
    }
}

static void decode_q8_0(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i += HONE_QK, p += sizeof(hone_block_q8_0)) {
        const __m256 d = _mm256_set1_ps(_cvtsh_ss(hone_load_u16(p)));
        const uint8_t *qs = p + offsetof(hone_block_q8_0, qs);
        store_scaled(dst + i, load16(qs), d);
        store_scaled(dst + i + 16, load16(qs + 16), d);
    }
}

/* Two-bit codes of 32 neighbouring elements: plane k (0..3) of 32 packed bytes. */
static __m256i two_bits(__m256i packed, int k)
{
    return _mm256_and_si256(_mm256_srl_epi16(packed, _mm_cvtsi32_si128(2 * k)), _mm256_set1_epi8(3));
}

static __m128i lower(__m256i v)
{
    return _mm256_castsi256_si128(v);
}

static __m128i upper(__m256i v)
{
    return _mm256_extracti128_si256(v, 1);
}

static void decode_q2_k(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i += HONE_QK_K, p += sizeof(hone_block_q2_k)) {
        const __m128i both = load16(p + offsetof(hone_block_q2_k, scales));
        float scales[16], mins[16];
        store_scaled(scales, low_nibbles(both),
                     _mm256_set1_ps(_cvtsh_ss(hone_load_u16(p + offsetof(hone_block_q2_k, d)))));
        store_scaled(mins, high_nibbles(both),
                     _mm256_set1_ps(_cvtsh_ss(hone_load_u16(p + offsetof(hone_block_q2_k, dmin)))));
        for (int chunk = 0; chunk < 8; chunk++) {
            const __m256i packed = load32(p + offsetof(hone_block_q2_k, qs) + chunk / 4 * 32);
            const __m256i codes = two_bits(packed, chunk % 4);
            float *out = dst + i + 32 * chunk;
            const int s = 2 * chunk;
            store_above(out, lower(codes), _mm256_set1_ps(scales[s]), _mm256_set1_ps(mins[s]));
            store_above(out + 16, upper(codes), _mm256_set1_ps(scales[s + 1]), _mm256_set1_ps(mins[s + 1]));
        }
    }
}

/* The sixteen real scales: hone_q3_k_scales_unpack(), less 32, times d. */
static void q3_k_scales(const uint8_t *p, float scales[16])
{
    const uint8_t *packed = p + offsetof(hone_block_q3_k, scales);
    const __m128i eight = _mm_loadl_epi64((const void *)packed);
    const __m128i low = low_nibbles(_mm_unpacklo_epi64(eight, _mm_srli_epi16(eight, 4)));
    /* Four bytes hold the high bits of four groups of four scales, two bits each. */
    const __m128i four = _mm_set1_epi32((int)hone_load_u32(packed + 8));
    const __m128i high = _mm_and_si128(_mm_srlv_epi32(four, _mm_setr_epi32(0, 2, 4, 6)), _mm_set1_epi8(3));
    const __m128i codes = _mm_sub_epi8(_mm_or_si128(low, _mm_slli_epi16(high, 4)), _mm_set1_epi8(32));
    store_scaled(scales, codes, _mm256_set1_ps(_cvtsh_ss(hone_load_u16(p + offsetof(hone_block_q3_k, d)))));
}

static void decode_q3_k(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i += HONE_QK_K, p += sizeof(hone_block_q3_k)) {
        const __m256i hmask = load32(p + offsetof(hone_block_q3_k, hmask));
        float scales[16];
        q3_k_scales(p, scales);
        for (int chunk = 0; chunk < 8; chunk++) {
            const __m256i packed = load32(p + offsetof(hone_block_q3_k, qs) + chunk / 4 * 32);
            const __m256i bit = _mm256_set1_epi8((char)(1 << chunk));
            /* 4 less where the high bit is clear */
            const __m256i less = _mm256_and_si256(
                _mm256_cmpeq_epi8(_mm256_and_si256(hmask, bit), _mm256_setzero_si256()), _mm256_set1_epi8(4));
            const __m256i codes = _mm256_sub_epi8(two_bits(packed, chunk % 4), less);
            float *out = dst + i + 32 * chunk;
            store_scaled(out, lower(codes), _mm256_set1_ps(scales[2 * chunk]));
            store_scaled(out + 16, upper(codes), _mm256_set1_ps(scales[2 * chunk + 1]));
        }
    }
}

/*
 * The eight real scales and minimums of a q4_k or q5_k block, whose first sixteen bytes are d, dmin and the packed
 * integers: hone_k4_scales_unpack(), four at a time. Bytes stored one by one would stall the load of all of them.
 */
static void k4_scales(const uint8_t *p, float scales[8], float mins[8])
{
    const uint8_t *packed = p + offsetof(hone_block_q4_k, scales);
    const uint32_t a = hone_load_u32(packed), b = hone_load_u32(packed + 4), c = hone_load_u32(packed + 8);
    const uint32_t six = 0x3f3f3f3fu, four = 0x0f0f0f0fu, two = 0x03030303u;
    const uint32_t high_scales = (c & four) | (a >> 6 & two) << 4, high_mins = (c >> 4 & four) | (b >> 6 & two) << 4;
    const __m128i s = _mm_cvtsi64_si128((long long)((uint64_t)high_scales << 32 | (a & six)));
    const __m128i m = _mm_cvtsi64_si128((long long)((uint64_t)high_mins << 32 | (b & six)));
    const __m256 d = _mm256_set1_ps(_cvtsh_ss(hone_load_u16(p)));
    const __m256 dmin = _mm256_set1_ps(_cvtsh_ss(hone_load_u16(p + offsetof(hone_block_q4_k, dmin))));
    _mm256_storeu_ps(scales, _mm256_mul_ps(d, to_floats(s)));
    _mm256_storeu_ps(mins, _mm256_mul_ps(dmin, to_floats(m)));
}

static_assert(offsetof(hone_block_q5_k, scales) == offsetof(hone_block_q4_k, scales) &&
                  offsetof(hone_block_q5_k, dmin) == offsetof(hone_block_q4_k, dmin),
              "q4_k and q5_k begin alike");

static void store_above32(float *dst, __m256i codes, float scale, float min)
{
    const __m256 s = _mm256_set1_ps(scale), m = _mm256_set1_ps(min);
    store_above(dst, lower(codes), s, m);
    store_above(dst + 16, upper(codes), s, m);
}

static void decode_q4_k(const void *src, float *dst, size_t nelems)
{
    const __m256i low = _mm256_set1_epi8(15);
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i += HONE_QK_K, p += sizeof(hone_block_q4_k)) {
        float scales[8], mins[8];
        k4_scales(p, scales, mins);
        for (int chunk = 0; chunk < 4; chunk++) {
            const __m256i qs = load32(p + offsetof(hone_block_q4_k, qs) + 32 * chunk);
            float *out = dst + i + 64 * chunk;
            const int s = 2 * chunk;
            store_above32(out, _mm256_and_si256(qs, low), scales[s], mins[s]);
            store_above32(out + 32, _mm256_and_si256(_mm256_srli_epi16(qs, 4), low), scales[s + 1], mins[s + 1]);
        }
    }
}

/* 16 where bit s of the byte is set */
static __m256i fifth_plane(__m256i qh, int s)
{
    const __m256i bit = _mm256_set1_epi8((char)(1 << s));
    return _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(qh, bit), bit), _mm256_set1_epi8(16));
}

static void decode_q5_k(const void *src, float *dst, size_t nelems)
{
    const __m256i low = _mm256_set1_epi8(15);
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i += HONE_QK_K, p += sizeof(hone_block_q5_k)) {
        float scales[8], mins[8];
        k4_scales(p, scales, mins);
        const __m256i qh = load32(p + offsetof(hone_block_q5_k, qh));
        for (int chunk = 0; chunk < 4; chunk++) {
            const __m256i qs = load32(p + offsetof(hone_block_q5_k, qs) + 32 * chunk);
            float *out = dst + i + 64 * chunk;
            const int s = 2 * chunk;
            const __m256i first = _mm256_or_si256(_mm256_and_si256(qs, low), fifth_plane(qh, s));
            const __m256i second =
                _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(qs, 4), low), fifth_plane(qh, s + 1));
            store_above32(out, first, scales[s], mins[s]);
            store_above32(out + 32, second, scales[s + 1], mins[s + 1]);
        }
    }
}

static void decode_q6_k(const void *src, float *dst, size_t nelems)
{
    const __m256i low = _mm256_set1_epi8(15), offset = _mm256_set1_epi8(32);
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i += HONE_QK_K, p += sizeof(hone_block_q6_k)) {
        const __m256 d = _mm256_set1_ps(_cvtsh_ss(hone_load_u16(p + offsetof(hone_block_q6_k, d))));
        const __m128i codes = load16(p + offsetof(hone_block_q6_k, scales));
        float scales[16];
        store_scaled(scales, codes, d);
        for (int chunk = 0; chunk < 8; chunk++) {
            const int half = chunk / 4, quarter = chunk % 4;
            __m256i ql = load32(p + offsetof(hone_block_q6_k, ql) + half * 64 + quarter % 2 * 32);
            ql = _mm256_and_si256(quarter < 2 ? ql : _mm256_srli_epi16(ql, 4), low);
            const __m256i qh = two_bits(load32(p + offsetof(hone_block_q6_k, qh) + half * 32), quarter);
            const __m256i q = _mm256_sub_epi8(_mm256_or_si256(ql, _mm256_slli_epi16(qh, 4)), offset);
            float *out = dst + i + 32 * chunk;
            store_scaled(out, lower(q), _mm256_set1_ps(scales[2 * chunk]));
            store_scaled(out + 16, upper(q), _mm256_set1_ps(scales[2 * chunk + 1]));
        }
    }
}

const hone_decode_fn hone_decoders_avx2[HONE_N_DTYPES] = {
    [HONE_F16] = decode_f16,   [HONE_BF16] = decode_bf16, [HONE_Q4_0] = decode_q4_0, [HONE_Q4_1] = decode_q4_1,
    [HONE_Q5_0] = decode_q5_0, [HONE_Q5_1] = decode_q5_1, [HONE_Q8_0] = decode_q8_0, [HONE_Q2_K] = decode_q2_k,
    [HONE_Q3_K] = decode_q3_k, [HONE_Q4_K] = decode_q4_k, [HONE_Q5_K] = decode_q5_k, [HONE_Q6_K] = decode_q6_k,
};
