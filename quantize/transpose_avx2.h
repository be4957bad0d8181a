/* SPDX-License-Identifier: MIT */
/* Eight rows of eight floats to columns. */
#ifndef HONE_TRANSPOSE_AVX2_H
#define HONE_TRANSPOSE_AVX2_H

#include <immintrin.h>
#include <stddef.h>

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
