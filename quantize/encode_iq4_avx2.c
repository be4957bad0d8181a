/* SPDX-License-Identifier: MIT */
/* The search of iq4_nl and iq4_xs for eight groups at a time, one to a lane: see lanes_avx2.h. */
#include "quantize/lanes_avx2.h"

#include <string.h>

#include "formats/blocks.h"
#include "quantize/table_encoders.h"

enum { GROUP = HONE_QK, N_TRIALS = 7 };

/*
 * The table is bisected in four comparisons. An index is kept negated, because a comparison yields -1: entry n of a
 * table that is looked up is at place -n mod 8. Thresholds are the midpoints between entries, and exact.
 */
struct tables {
    __m256 middle, quarters[2], eighths, sixteenths; /* thresholds */
    __m256 low, high;                                /* values of codes 0..7 and 8..15 */
};

static inline struct tables load_tables(void)
{
    return (struct tables){
        .middle = _mm256_set1_ps(-4.5f),
        .quarters = {_mm256_set1_ps(-57.0f), _mm256_set1_ps(45.5f)},
        .eighths = _mm256_setr_ps(-93.5f, 0, 0, 0, 0, 79.0f, 19.0f, -28.5f),
        .sixteenths = _mm256_setr_ps(-115.5f, 101.0f, 61.0f, 31.5f, 7.0f, -16.0f, -42.0f, -74.0f),
        .low = _mm256_setr_ps(-127, -10, -22, -35, -49, -65, -83, -104),
        .high = _mm256_setr_ps(1, 113, 89, 69, 53, 38, 25, 13),
    };
}

/* NaN is above every threshold, as in the portable C. */
static inline __m256 not_below(__m256 v, __m256 threshold)
{
    return _mm256_cmp_ps(v, threshold, _CMP_NLT_UQ);
}

static inline __m256i append(__m256i index, __m256 bit)
{
    return _mm256_add_epi32(_mm256_add_epi32(index, index), _mm256_castps_si256(bit));
}

/* Minus the code nearest to v; *upper gets whether it is 8 or above. */
static inline __m256i negated_code(const struct tables *t, __m256 v, __m256 *upper)
{
    *upper = not_below(v, t->middle);
    const __m256 second = not_below(v, _mm256_blendv_ps(t->quarters[0], t->quarters[1], *upper));
    const __m256i two = append(_mm256_castps_si256(*upper), second);
    const __m256i three = append(two, not_below(v, _mm256_permutevar8x32_ps(t->eighths, two)));
    return append(three, not_below(v, _mm256_permutevar8x32_ps(t->sixteenths, three)));
}

static inline __m256 nearest_value(const struct tables *t, __m256 v)
{
    __m256 upper;
    const __m256i code = negated_code(t, v, &upper);
    return _mm256_blendv_ps(_mm256_permutevar8x32_ps(t->low, code), _mm256_permutevar8x32_ps(t->high, code), upper);
}

struct sums {
    __m256 xq, qq;
};

static inline struct sums add_to(struct sums s, __m256 x, __m256 w, __m256 q)
{
    const __m256 wq = _mm256_mul_ps(w, q);
    return (struct sums){_mm256_add_ps(s.xq, _mm256_mul_ps(wq, x)), _mm256_add_ps(s.qq, _mm256_mul_ps(wq, q))};
}

/* Two trials side by side: the additions of one wait for nothing of the other. */
static void try_two(const struct lanes *g, const __m256 inverses[PAIR], struct sums out[PAIR])
{
    const struct tables t = load_tables();
    const __m256 zero = _mm256_setzero_ps();
    struct sums a = {zero, zero}, b = {zero, zero};
    for (int j = 0; j < GROUP; j++) {
        const __m256 x = g->x[j], w = g->w[j];
        a = add_to(a, x, w, nearest_value(&t, _mm256_mul_ps(inverses[0], x)));
        b = add_to(b, x, w, nearest_value(&t, _mm256_mul_ps(inverses[1], x)));
    }
    out[0] = a;
    out[1] = b;
}

static inline __m256 first_extreme(const struct lanes *g)
{
    __m256 extreme = _mm256_setzero_ps(), largest = extreme;
    for (int j = 0; j < GROUP; j++) {
        const __m256 m = magnitude(g->x[j]);
        const __m256 larger = _mm256_cmp_ps(m, largest, _CMP_GT_OQ);
        largest = _mm256_blendv_ps(largest, m, larger);
        extreme = _mm256_blendv_ps(extreme, g->x[j], larger);
    }
    return extreme;
}

static __m256 search_batch(const struct lanes *g)
{
    const __m256 zero = _mm256_setzero_ps();
    const __m256 extreme = first_extreme(g);
    const __m256 any = _mm256_cmp_ps(magnitude(extreme), _mm256_set1_ps(1e-15f), _CMP_NLT_UQ);
    if (none(any))
        return zero;
    __m256 scale = zero, best = zero;
    for (int k = -N_TRIALS - 1; k < N_TRIALS; k += PAIR) {
        __m256 inverses[PAIR];
        for (int i = 0; i < PAIR; i++)
            inverses[i] = _mm256_div_ps(_mm256_set1_ps((float)(k + i - 127)), extreme);
        if (k < -N_TRIALS) { /* the first trial, which is divided in another way */
            const __m256 d = _mm256_div_ps(_mm256_xor_ps(extreme, _mm256_set1_ps(-0.0f)), _mm256_set1_ps(-127.0f));
            inverses[0] = _mm256_div_ps(_mm256_set1_ps(1.0f), d);
        }
        struct sums s[PAIR];
        try_two(g, inverses, s);
        for (int i = 0; i < PAIR; i++) {
            __m256 better = _mm256_cmp_ps(s[i].qq, zero, _CMP_GT_OQ);
            if (k + i >= -N_TRIALS)
                better = _mm256_and_ps(
                    better, _mm256_cmp_ps(_mm256_mul_ps(s[i].xq, s[i].xq), _mm256_mul_ps(best, s[i].qq), _CMP_GT_OQ));
            const __m256 fit = _mm256_div_ps(s[i].xq, s[i].qq);
            scale = _mm256_blendv_ps(scale, fit, better);
            /* After a first trial without a fit the sum to beat is 0 times its xq, which may be NaN. */
            const __m256 beaten = _mm256_mul_ps(scale, s[i].xq);
            best = k + i < -N_TRIALS ? beaten : _mm256_blendv_ps(best, beaten, better);
        }
    }
    return _mm256_and_ps(scale, any);
}

static void search(const hone_groups *g, float *scales)
{
    struct lanes lanes;
    const size_t n = n_batched(g);
    for (size_t i = 0; i < n; i += LANES) {
        transpose_groups(g->x + i * GROUP, GROUP, lanes.x);
        transpose_groups(g->w + i * GROUP, GROUP, lanes.w);
        _mm256_storeu_ps(scales + i, search_batch(&lanes));
    }
    const hone_groups rest = part_of(g, n, g->n - n);
    hone_iq4_ref.search(&rest, scales + n);
}

static void code(const hone_groups *g, const float *inverses, uint8_t *codes)
{
    const struct tables t = load_tables();
    const __m256i zero = _mm256_setzero_si256();
    for (size_t i = 0; i < g->n * GROUP; i += 16) {
        const __m256 inverse = _mm256_set1_ps(inverses[i / GROUP]);
        __m256 upper;
        const __m256i a = negated_code(&t, _mm256_mul_ps(inverse, _mm256_loadu_ps(g->x + i)), &upper);
        const __m256i b = negated_code(&t, _mm256_mul_ps(inverse, _mm256_loadu_ps(g->x + i + 8)), &upper);
        store_codes(codes + i, _mm256_sub_epi32(zero, a), _mm256_sub_epi32(zero, b));
    }
}

static void weigh(const float *importance, const float *x, size_t n, float sigma2, float *w)
{
    hone_search_avx2.weigh(importance, x, n, sigma2, w);
}

static const hone_iq4_kernels kernels = {weigh, search, code};

void hone_encode_iq4_nl_avx2(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_iq4_nl_blocks(&kernels, src, ncols, importance, dst);
}

void hone_encode_iq4_xs_avx2(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_iq4_xs_blocks(&kernels, src, ncols, importance, dst);
}
