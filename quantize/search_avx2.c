/* SPDX-License-Identifier: MIT */
/* The searches with AVX2, but for minmax, which has its own file. */
#include "quantize/scale_search.h"

#include "quantize/lanes_avx2.h"
#include "quantize/search_kernels_avx2.h"

static void weigh(const float *importance, const float *x, size_t n, float sigma2, float *w)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        const __m256 v = _mm256_loadu_ps(x + i);
        const __m256 root = _mm256_sqrt_ps(_mm256_add_ps(_mm256_set1_ps(sigma2), _mm256_mul_ps(v, v)));
        _mm256_storeu_ps(w + i, _mm256_mul_ps(_mm256_loadu_ps(importance + i), root));
    }
    if (i < n)
        hone_search_ref.weigh(importance + i, x + i, n - i, sigma2, w + i);
}

static __m256 signed_extreme(const __m256 *x, size_t size)
{
    __m256 extreme = _mm256_setzero_ps();
    for (size_t j = 0; j < size; j++) {
        const __m256 larger = _mm256_cmp_ps(magnitude(x[j]), magnitude(extreme), _CMP_GT_OQ);
        extreme = _mm256_blendv_ps(extreme, x[j], larger);
    }
    return extreme;
}

static __m256 is_tiny(__m256 extreme)
{
    return _mm256_cmp_ps(magnitude(extreme), _mm256_set1_ps(1e-15f), _CMP_LT_OQ);
}

/* For one trial: the sums of w x l (wx holds w * x) and of w l^2. |inverse * x| is at most about nmax + 1. */
static inline void sym_sums(int nmax, const struct lanes *g, const __m256 *wx, size_t size, __m256 inverse, __m256 *xl,
                            __m256 *ll)
{
    const __m256 lo = _mm256_set1_ps(-(float)nmax), hi = _mm256_set1_ps((float)(nmax - 1));
    __m256 sum_xl = _mm256_setzero_ps(), sum_ll = _mm256_setzero_ps();
    for (size_t j = 0; j < size; j++) {
        const __m256 l = nearest_small(_mm256_mul_ps(inverse, g->x[j]), lo, hi);
        sum_xl = _mm256_add_ps(sum_xl, _mm256_mul_ps(wx[j], l));
        sum_ll = _mm256_add_ps(sum_ll, _mm256_mul_ps(_mm256_mul_ps(g->w[j], l), l));
    }
    *xl = sum_xl;
    *ll = sum_ll;
}

/* Lanes whose extreme is tiny compute what nobody reads. */
static inline void sym_lanes(int nmax, const struct lanes *g, size_t size, __m256 *scale, __m256 *inverse, __m256 *tiny)
{
    const __m256 zero = _mm256_setzero_ps();
    const __m256 extreme = signed_extreme(g->x, size);
    __m256 wx[HONE_GROUP_MAX], xl, ll;
    for (size_t j = 0; j < size; j++)
        wx[j] = _mm256_mul_ps(g->w[j], g->x[j]);
    *tiny = is_tiny(extreme);
    *inverse = _mm256_div_ps(_mm256_set1_ps(-(float)nmax), extreme);
    sym_sums(nmax, g, wx, size, *inverse, &xl, &ll);
    *scale = _mm256_and_ps(_mm256_div_ps(xl, ll), _mm256_cmp_ps(ll, zero, _CMP_NEQ_UQ));
    __m256 best = _mm256_mul_ps(*scale, xl);
    for (int k = -9; k <= 9; k++) {
        if (k == 0)
            continue;
        const __m256 trial = _mm256_div_ps(_mm256_set1_ps(-((float)nmax + 0.1f * (float)k)), extreme);
        sym_sums(nmax, g, wx, size, trial, &xl, &ll);
        const __m256 better = _mm256_and_ps(_mm256_cmp_ps(ll, zero, _CMP_GT_OQ),
                                            _mm256_cmp_ps(_mm256_mul_ps(xl, xl), _mm256_mul_ps(best, ll), _CMP_GT_OQ));
        const __m256 quotient = _mm256_div_ps(xl, ll);
        *scale = _mm256_blendv_ps(*scale, quotient, better);
        best = _mm256_blendv_ps(best, _mm256_mul_ps(quotient, xl), better);
        *inverse = _mm256_blendv_ps(*inverse, trial, better);
    }
}

static void sym(int nmax, const hone_groups *g, uint8_t *codes, float *scales)
{
    const size_t done = n_batched(g);
    for (size_t i = 0; i < done; i += LANES) {
        const float *x = g->x + i * g->size;
        struct lanes lanes;
        __m256 scale, inverse, tiny;
        transpose_groups(x, g->size, lanes.x);
        transpose_groups(g->w + i * g->size, g->size, lanes.w);
        if (g->size == 16)
            sym_lanes(nmax, &lanes, 16, &scale, &inverse, &tiny);
        else
            sym_lanes(nmax, &lanes, g->size, &scale, &inverse, &tiny);
        store_groups(x, g->size, inverse, _mm256_setzero_ps(), tiny, -nmax, nmax - 1, codes + i * g->size);
        _mm256_storeu_ps(scales + i, _mm256_andnot_ps(tiny, scale));
    }
    const hone_groups rest = part_of(g, done, g->n - done);
    hone_search_ref.sym(nmax, &rest, codes + done * g->size, scales + done);
}

struct descent_batch {
    __m256 x[HONE_GROUP_MAX], l[HONE_GROUP_MAX];
    __m256 xl, ll; /* sums of w x l and w l^2, w = x^2 */
    __m256 tiny;
};

static void descent_start(int nmax, const float *x, size_t size, struct descent_batch *b)
{
    const __m256i lo = _mm256_set1_epi32(-nmax), hi = _mm256_set1_epi32(nmax - 1);
    transpose_groups(x, size, b->x);
    const __m256 extreme = signed_extreme(b->x, size);
    const __m256 inverse = _mm256_div_ps(_mm256_set1_ps(-(float)nmax), extreme);
    b->tiny = is_tiny(extreme);
    b->xl = b->ll = _mm256_setzero_ps();
    for (size_t j = 0; j < size; j++) {
        const __m256 w = _mm256_mul_ps(b->x[j], b->x[j]);
        const __m256 l = nearest_real(_mm256_mul_ps(inverse, b->x[j]), lo, hi);
        b->xl = _mm256_add_ps(b->xl, _mm256_mul_ps(_mm256_mul_ps(w, b->x[j]), l));
        b->ll = _mm256_add_ps(b->ll, _mm256_mul_ps(_mm256_mul_ps(w, l), l));
        b->l[j] = l;
    }
}

/* Lets element j of each group take the code nearest under the scale that the others want. Returns where it moved. */
static inline __m256 descent_step(int nmax, size_t j, struct descent_batch *b)
{
    const __m256i lo = _mm256_set1_epi32(-nmax), hi = _mm256_set1_epi32(nmax - 1);
    const __m256 zero = _mm256_setzero_ps();
    const __m256 x = b->x[j], w = _mm256_mul_ps(x, x), wx = _mm256_mul_ps(w, x), l = b->l[j];
    const __m256 xl = _mm256_sub_ps(b->xl, _mm256_mul_ps(wx, l));
    const __m256 ll = _mm256_sub_ps(b->ll, _mm256_mul_ps(_mm256_mul_ps(w, l), l));
    const __m256 code = nearest_real(_mm256_div_ps(_mm256_mul_ps(x, ll), xl), lo, hi);
    const __m256 new_xl = _mm256_add_ps(xl, _mm256_mul_ps(wx, code));
    const __m256 new_ll = _mm256_add_ps(ll, _mm256_mul_ps(_mm256_mul_ps(w, code), code));
    const __m256 gain = _mm256_mul_ps(_mm256_mul_ps(new_xl, new_xl), b->ll);
    const __m256 loss = _mm256_mul_ps(_mm256_mul_ps(b->xl, b->xl), new_ll);
    __m256 move = _mm256_cmp_ps(xl, zero, _CMP_GT_OQ);
    move = _mm256_and_ps(move, _mm256_cmp_ps(code, l, _CMP_NEQ_OQ));
    move = _mm256_and_ps(move, _mm256_cmp_ps(new_ll, zero, _CMP_GT_OQ));
    move = _mm256_and_ps(move, _mm256_cmp_ps(gain, loss, _CMP_GT_OQ));
    b->l[j] = _mm256_blendv_ps(l, code, move);
    b->xl = _mm256_blendv_ps(b->xl, new_xl, move);
    b->ll = _mm256_blendv_ps(b->ll, new_ll, move);
    return move;
}

/* A group at rest stays at rest, so sweeping it again with the others is harmless. */
static bool descent_sweep(int nmax, size_t size, struct descent_batch *a, struct descent_batch *b)
{
    __m256 any = _mm256_setzero_ps();
    for (size_t j = 0; j < size; j++) {
        any = _mm256_or_ps(any, descent_step(nmax, j, a));
        any = _mm256_or_ps(any, descent_step(nmax, j, b));
    }
    return !none(any);
}

static void descent_finish(int nmax, size_t size, const struct descent_batch *b, uint8_t *codes, float *scales)
{
    const __m256i plus = _mm256_set1_epi32(nmax);
    for (size_t j = 0; j < size; j++) {
        int32_t v[LANES];
        const __m256i code = _mm256_add_epi32(_mm256_cvtps_epi32(b->l[j]), plus);
        _mm256_storeu_si256((void *)v, _mm256_andnot_si256(_mm256_castps_si256(b->tiny), code));
        for (size_t i = 0; i < LANES; i++)
            codes[i * size + j] = (uint8_t)v[i];
    }
    const __m256 some = _mm256_andnot_ps(b->tiny, _mm256_cmp_ps(b->ll, _mm256_setzero_ps(), _CMP_GT_OQ));
    _mm256_storeu_ps(scales, _mm256_and_ps(some, _mm256_div_ps(b->xl, b->ll)));
}

static void descent(int nmax, const hone_groups *g, uint8_t *codes, float *scales)
{
    enum { MAX_SWEEPS = 5 };
    const size_t whole = n_batched(g), batch_nelems = LANES * g->size;
    size_t done = 0;
    while (done < whole) {
        const size_t n = whole - done < PAIR * LANES ? 1 : PAIR; /* one is searched beside itself */
        struct descent_batch b[PAIR];
        for (size_t i = 0; i < PAIR; i++)
            descent_start(nmax, g->x + done * g->size + i % n * batch_nelems, g->size, &b[i]);
        for (int sweep = 0; sweep < MAX_SWEEPS && descent_sweep(nmax, g->size, &b[0], &b[1]); sweep++)
            ;
        for (size_t i = 0; i < n; i++)
            descent_finish(nmax, g->size, &b[i], codes + done * g->size + i * batch_nelems, scales + done + i * LANES);
        done += n * LANES;
    }
    const hone_groups rest = part_of(g, done, g->n - done);
    hone_search_ref.descent(nmax, &rest, codes + done * g->size, scales + done);
}

static void recode(hone_recode_range range, const hone_groups *g, const float *scales, const float *mins,
                   uint8_t *codes)
{
    if (g->size % 16 != 0) {
        hone_search_ref.recode(range, g, scales, mins, codes);
        return;
    }
    const __m256i lo = _mm256_set1_epi32(range.lo), hi = _mm256_set1_epi32(range.hi);
    for (size_t i = 0; i < g->n; i++) {
        if (scales[i] == 0.0f)
            continue;
        const __m256 scale = _mm256_set1_ps(scales[i]), min = _mm256_set1_ps(mins ? mins[i] : 0.0f);
        for (size_t j = i * g->size; j < (i + 1) * g->size; j += 16) {
            const __m256 a = _mm256_div_ps(_mm256_add_ps(_mm256_loadu_ps(g->x + j), min), scale);
            const __m256 b = _mm256_div_ps(_mm256_add_ps(_mm256_loadu_ps(g->x + j + 8), min), scale);
            store_codes(codes + j, _mm256_sub_epi32(nearest_code(a, lo, hi), lo),
                        _mm256_sub_epi32(nearest_code(b, lo, hi), lo));
        }
    }
}

const hone_search_kernels hone_search_avx2 = {
    .weigh = weigh,
    .minmax = hone_minmax_avx2,
    .sym = sym,
    .descent = descent,
    .recode = recode,
};
