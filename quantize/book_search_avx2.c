/* SPDX-License-Identifier: MIT */
/*
 * The search with AVX2: eight elements find their levels at once, eight entries of a list compete at once, and eight
 * trials add up at once, each in the order of the portable C.
 *
 * A lane for each level makes a table of a register. Three bits choose from it: those of a level, or the two of a level
 * and one that does not matter, as tables of three levels repeat.
 */
#include "quantize/book_search.h"

#include <float.h>
#include <immintrin.h>

enum { LANES = 8 };

static __m256i levels_of(const hone_book_group *g, __m256 x, float inverse)
{
    const __m256 v =
        _mm256_mul_ps(_mm256_set1_ps(g->levels->slope),
                      _mm256_sub_ps(_mm256_mul_ps(_mm256_set1_ps(inverse), x), _mm256_set1_ps(g->levels->shift)));
    /* hone_nearest() */
    const __m256i bits = _mm256_castps_si256(_mm256_add_ps(v, _mm256_set1_ps(12582912.0f)));
    const __m256i level =
        _mm256_sub_epi32(_mm256_and_si256(bits, _mm256_set1_epi32(0x007fffff)), _mm256_set1_epi32(0x00400000));
    return _mm256_min_epi32(_mm256_max_epi32(level, _mm256_setzero_si256()),
                            _mm256_set1_epi32((int)g->index->n_levels - 1));
}

/* Keys of the points in eight elements: one of eight, or two of four. */
static void keys_of(const hone_book_group *g, __m256 x, float inverse, unsigned keys[2])
{
    const __m256i digits3 = _mm256_setr_epi32(1, 3, 9, 27, 81, 243, 729, 2187);
    const __m256i digits8 = _mm256_setr_epi32(1, 8, 64, 512, 1, 8, 64, 512);
    const __m256i parts = _mm256_mullo_epi32(levels_of(g, x, inverse), g->index->n_levels == 3 ? digits3 : digits8);
    const __m256i pairs = _mm256_add_epi32(parts, _mm256_shuffle_epi32(parts, 0x4e));
    const __m256i sums = _mm256_add_epi32(pairs, _mm256_shuffle_epi32(pairs, 0xb1));
    keys[0] = (unsigned)_mm256_cvtsi256_si32(sums);
    keys[1] = (unsigned)_mm256_extract_epi32(sums, 4);
    if (g->index->n_levels == 3)
        keys[0] += keys[1];
}

/* Of a list, the first entry with the least error. */
static uint32_t best_of_list(const hone_book_group *g, size_t at, const uint32_t *list, float scale)
{
    const int dim = (int)g->index->dim, bits = (int)g->index->bits;
    const __m256 decoded = _mm256_mul_ps(_mm256_set1_ps(scale), _mm256_loadu_ps(g->levels->values));
    __m256 cost[8];
    for (int i = 0; i < dim; i++) {
        const __m256 diff = _mm256_sub_ps(decoded, _mm256_set1_ps(g->x[at + (size_t)i]));
        cost[i] = _mm256_mul_ps(_mm256_mul_ps(_mm256_set1_ps(g->rival[at + (size_t)i]), diff), diff);
    }
    const __m256i n = _mm256_set1_epi32((int)list[0]);
    __m256 least = _mm256_set1_ps(FLT_MAX);
    __m256i position = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), best = _mm256_setzero_si256();
    for (uint32_t first = 0; first < list[0]; first += LANES) {
        __m256i entry = _mm256_loadu_si256((const void *)(list + 1 + first));
        __m256 error = _mm256_setzero_ps();
        for (int i = 0; i < dim; i++, entry = _mm256_srli_epi32(entry, bits))
            error = _mm256_add_ps(error, _mm256_permutevar8x32_ps(cost[i], entry));
        const __m256 less = _mm256_and_ps(_mm256_cmp_ps(error, least, _CMP_LT_OQ),
                                          _mm256_castsi256_ps(_mm256_cmpgt_epi32(n, position)));
        least = _mm256_blendv_ps(least, error, less);
        best = _mm256_blendv_epi8(best, position, _mm256_castps_si256(less));
        position = _mm256_add_epi32(position, _mm256_set1_epi32(LANES));
    }
    /* Of the lanes with the least error, the one that comes first in the list. */
    const __m256 far_least = _mm256_min_ps(least, _mm256_permute2f128_ps(least, least, 1));
    const __m256 pair_least = _mm256_min_ps(far_least, _mm256_shuffle_ps(far_least, far_least, 0x4e));
    const __m256 all_least = _mm256_min_ps(pair_least, _mm256_shuffle_ps(pair_least, pair_least, 0xb1));
    const __m256i lost = _mm256_castps_si256(_mm256_cmp_ps(least, all_least, _CMP_NEQ_UQ));
    const __m256i places = _mm256_or_si256(best, _mm256_srli_epi32(lost, 1));
    const __m128i four = _mm_min_epi32(_mm256_castsi256_si128(places), _mm256_extracti128_si256(places, 1));
    const __m128i two = _mm_min_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return list[1 + _mm_cvtsi128_si32(_mm_min_epi32(two, _mm_shuffle_epi32(two, 0xb1)))];
}

/* The entry of one vector (with its index in the upper half), and whether it was the nearest point. */
static uint32_t choose(const hone_book_group *g, size_t at, unsigned key, float scale, unsigned *hit)
{
    const int32_t near = g->index->near[key];
    *hit = near >= 0;
    if (near >= 0)
        return g->index->entries[near] | (uint32_t)near << 16;
    return best_of_list(g, at, g->index->lists + (-1 - near), scale);
}

/* The sums of eight trials, whose entries of vector k are at entries[k]. */
static void add_up(const hone_book_group *g, uint32_t entries[HONE_BOOK_VECTORS][HONE_BOOK_TRIALS], size_t first,
                   float xq[LANES], float qq[LANES])
{
    __m256 sum_xq = _mm256_setzero_ps(), sum_qq = _mm256_setzero_ps();
    for (size_t at = 0, k = 0; at < g->size; at += g->index->dim, k++) {
        __m256i entry = _mm256_loadu_si256((const void *)(entries[k] + first));
        for (size_t i = 0; i < g->index->dim; i++, entry = _mm256_srli_epi32(entry, (int)g->index->bits)) {
            sum_xq = _mm256_add_ps(sum_xq, _mm256_permutevar8x32_ps(_mm256_loadu_ps(g->xq[at + i]), entry));
            sum_qq = _mm256_add_ps(sum_qq, _mm256_permutevar8x32_ps(_mm256_loadu_ps(g->qq[at + i]), entry));
        }
    }
    _mm256_storeu_ps(xq, sum_xq);
    _mm256_storeu_ps(qq, sum_qq);
}

static void code(const hone_book_group *g, size_t n, const float *inverses, const float *scales, hone_book_codes *out)
{
    uint32_t entries[HONE_BOOK_VECTORS][HONE_BOOK_TRIALS] = {{0}};
    const size_t dim = g->index->dim, vectors = LANES / dim;
    for (size_t t = 0; t < n; t++)
        out[t].hits = 0;
    for (size_t at = 0, k = 0; at < g->size; at += LANES, k += vectors) {
        const __m256 x = _mm256_loadu_ps(g->x + at);
        for (size_t t = 0; t < n; t++) {
            unsigned keys[2], hit;
            keys_of(g, x, inverses[t], keys);
            for (size_t v = 0; v < vectors; v++) {
                entries[k + v][t] = choose(g, at + v * dim, keys[v], scales[t], &hit);
                out[t].index[k + v] = (uint16_t)(entries[k + v][t] >> 16);
                out[t].hits |= hit << (k + v);
            }
        }
    }
    for (size_t first = 0; first < n; first += LANES) {
        float xq[LANES], qq[LANES];
        add_up(g, entries, first, xq, qq);
        for (size_t t = first; t < n && t < first + LANES; t++) {
            out[t].xq = xq[t - first];
            out[t].qq = qq[t - first];
        }
    }
}

const hone_book_kernels hone_books_avx2 = {.level = HONE_CPU_AVX2, .code = code};
