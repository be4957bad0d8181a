/* SPDX-License-Identifier: MIT */
#include <immintrin.h>

#include "convert/measure_kernels.h"

static __m128 halves(__m256 v)
{
    return _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
}

void hone_measure_blocks_avx2(const float *x, const float *y, size_t n_blocks, size_t block, hone_block_sums *out)
{
    for (size_t b = 0; b < n_blocks; b++, x += block, y += block) {
        __m256 error = _mm256_setzero_ps(), source = error, output = error, dot = error;
        for (size_t i = 0; i < block; i += 8) {
            const __m256 p = _mm256_loadu_ps(x + i), q = _mm256_loadu_ps(y + i), d = _mm256_sub_ps(p, q);
            error = _mm256_add_ps(error, _mm256_mul_ps(d, d));
            source = _mm256_add_ps(source, _mm256_mul_ps(p, p));
            output = _mm256_add_ps(output, _mm256_mul_ps(q, q));
            dot = _mm256_add_ps(dot, _mm256_mul_ps(p, q));
        }
        _mm_storeu_ps(&out[b].squared_error, _mm_hadd_ps(_mm_hadd_ps(halves(error), halves(source)),
                                                         _mm_hadd_ps(halves(output), halves(dot))));
    }
}
