/* SPDX-License-Identifier: MIT */
/*
 * What the AVX2 searches share: eight groups at a time, one to a lane.
 *
 * A lane adds the same terms in the same order as the portable C does for its group, so the bytes are the same. Nothing
 * is fused and no sum is split. Groups left over go to the portable C.
 */
#ifndef HONE_LANES_AVX2_H
#define HONE_LANES_AVX2_H

#include <immintrin.h>
#include <string.h>

#include "quantize/scale_search.h"

/* Searches are run for two batches side by side: a sum waits for its last addition, and the other batch's fills the
 * wait. */
enum { LANES = 8, PAIR = 2 };

/* Eight groups, transposed: lane i of x[j] is element j of group i. */
struct lanes {
    __m256 x[HONE_GROUP_MAX], w[HONE_GROUP_MAX];
};

/* out[j] gets column j of eight rows that lie stride floats apart. */
static inline void transpose8(const float *src, size_t stride, __m256 out[LANES])
{
    __m256 r[LANES], t[LANES];
    for (int i = 0; i < LANES; i++)
        r[i] = _mm256_loadu_ps(src + (size_t)i * stride);
    for (int i = 0; i < 4; i++) { /* pairs of rows: a0 b0 a1 b1 | a4 b4 a5 b5, then the other columns */
        t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    for (int i = 0; i < 2; i++) { /* quads of rows: r[4i + j] has columns j and 4 + j */
        const __m256d lo0 = _mm256_castps_pd(t[4 * i]), lo1 = _mm256_castps_pd(t[4 * i + 2]);
        const __m256d hi0 = _mm256_castps_pd(t[4 * i + 1]), hi1 = _mm256_castps_pd(t[4 * i + 3]);
        r[4 * i] = _mm256_castpd_ps(_mm256_unpacklo_pd(lo0, lo1));
        r[4 * i + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(lo0, lo1));
        r[4 * i + 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(hi0, hi1));
        r[4 * i + 3] = _mm256_castpd_ps(_mm256_unpackhi_pd(hi0, hi1));
    }
    for (int j = 0; j < 4; j++) {
        out[j] = _mm256_permute2f128_ps(r[j], r[4 + j], 0x20);
        out[4 + j] = _mm256_permute2f128_ps(r[j], r[4 + j], 0x31);
    }
}

/* size is a multiple of 16, and not zero */
static inline void transpose_groups(const float *src, size_t size, __m256 *out)
{
    size_t j = 0;
    do {
        transpose8(src + j, size, out + j);
        j += LANES;
    } while (j < size);
}

/* clamp(hone_nearest(v), lo, hi) */
static inline __m256i nearest_code(__m256 v, __m256i lo, __m256i hi)
{
    const __m256i bits = _mm256_castps_si256(_mm256_add_ps(v, _mm256_set1_ps(12582912.0f)));
    const __m256i l =
        _mm256_sub_epi32(_mm256_and_si256(bits, _mm256_set1_epi32(0x007fffff)), _mm256_set1_epi32(0x00400000));
    return _mm256_min_epi32(_mm256_max_epi32(l, lo), hi);
}

static inline __m256 nearest_real(__m256 v, __m256i lo, __m256i hi)
{
    return _mm256_cvtepi32_ps(nearest_code(v, lo, hi));
}

/* The same where |v| <= 2^22, in half the instructions. NaN gives lo, which is the same for lo = 0 alone. */
static inline __m256 nearest_small(__m256 v, __m256 lo, __m256 hi)
{
    const __m256 l = _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    return _mm256_min_ps(_mm256_max_ps(l, lo), hi);
}

/* Sixteen codes of 0..255 to bytes. */
static inline void store_codes(uint8_t *dst, __m256i a, __m256i b)
{
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
    const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128((void *)dst, bytes);
}

static inline __m256 magnitude(__m256 v)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v);
}

static inline bool none(__m256 mask)
{
    return _mm256_movemask_ps(mask) == 0;
}

/* codes = clamp(nearest(inverse * (x - base)), lo, hi) - lo, group by group; zeros where `zero` is set. */
static inline void store_groups(const float *x, size_t size, __m256 inverse, __m256 base, __m256 zero, int lo, int hi,
                                uint8_t *codes)
{
    float inverses[LANES], bases[LANES];
    _mm256_storeu_ps(inverses, inverse);
    _mm256_storeu_ps(bases, base);
    const int zeros = _mm256_movemask_ps(zero);
    const __m256i low = _mm256_set1_epi32(lo), high = _mm256_set1_epi32(hi);
    for (int i = 0; i < LANES; i++, x += size, codes += size) {
        if (zeros >> i & 1) {
            memset(codes, 0, size);
            continue;
        }
        const __m256 inv = _mm256_set1_ps(inverses[i]), from = _mm256_set1_ps(bases[i]);
        for (size_t j = 0; j < size; j += 16) {
            const __m256 a = _mm256_mul_ps(inv, _mm256_sub_ps(_mm256_loadu_ps(x + j), from));
            const __m256 b = _mm256_mul_ps(inv, _mm256_sub_ps(_mm256_loadu_ps(x + j + 8), from));
            store_codes(codes + j, _mm256_sub_epi32(nearest_code(a, low, high), low),
                        _mm256_sub_epi32(nearest_code(b, low, high), low));
        }
    }
}

/* Whole batches of eight groups, of a size that the byte stores can handle. */
static inline size_t n_batched(const hone_groups *g)
{
    return g->size % 16 == 0 ? g->n / LANES * LANES : 0;
}

static inline hone_groups part_of(const hone_groups *g, size_t first, size_t n)
{
    return (hone_groups){
        .x = g->x + first * g->size, .w = g->w ? g->w + first * g->size : NULL, .n = n, .size = g->size};
}

#endif
