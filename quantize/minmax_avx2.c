/* SPDX-License-Identifier: MIT */
/* The minmax search with AVX2. */
#include "quantize/search_kernels_avx2.h"

#include "quantize/lanes_avx2.h"

/* A batch of eight groups: what no trial changes, and where the search stands. */
struct minmax_batch {
    struct lanes g;
    __m256 l[HONE_GROUP_MAX]; /* the codes of the trial at hand */
    __m256 lowest, highest, sum_w, sum_x;
    __m256 flat; /* mask: nothing to search */
    __m256 scale, min, error;
    __m256 inverse, base; /* the codes of the best trial: nearest(inverse * (x - base)) */
};

struct minmax_sums {
    __m256 l, l2, xl;
};

/* One element's code, added to the sums of w l, w l^2 and w l x. */
static inline void minmax_add(struct minmax_batch *b, size_t j, __m256 inverse, __m256 base, __m256 nmax,
                              struct minmax_sums *sums)
{
    const __m256 x = b->g.x[j];
    const __m256 l = nearest_small(_mm256_mul_ps(inverse, _mm256_sub_ps(x, base)), _mm256_setzero_ps(), nmax);
    const __m256 wl = _mm256_mul_ps(b->g.w[j], l);
    sums->l = _mm256_add_ps(sums->l, wl);
    sums->l2 = _mm256_add_ps(sums->l2, _mm256_mul_ps(wl, l));
    sums->xl = _mm256_add_ps(sums->xl, _mm256_mul_ps(wl, x));
    b->l[j] = l;
}

static inline __m256 minmax_cost(const struct minmax_batch *b, size_t j, __m256 scale, __m256 min, bool absolute)
{
    const __m256 diff = _mm256_sub_ps(_mm256_add_ps(_mm256_mul_ps(scale, b->l[j]), min), b->g.x[j]);
    return _mm256_mul_ps(b->g.w[j], absolute ? magnitude(diff) : _mm256_mul_ps(diff, diff));
}

/*
 * True if nearest_small() will do for every element of every group: products grow with x, so the ends of its range
 * tell. Only weights near the limits of f32 fail this; their groups go to the portable C.
 */
static inline bool codes_are_small(const struct minmax_batch *b, __m256 inverse, __m256 base)
{
    const __m256 limit = _mm256_set1_ps(0x1p22f);
    const __m256 low = magnitude(_mm256_mul_ps(inverse, _mm256_sub_ps(b->lowest, base)));
    const __m256 high = magnitude(_mm256_mul_ps(inverse, _mm256_sub_ps(b->highest, base)));
    const __m256 small = _mm256_and_ps(_mm256_cmp_ps(low, limit, _CMP_LE_OQ), _mm256_cmp_ps(high, limit, _CMP_LE_OQ));
    return _mm256_movemask_ps(_mm256_or_ps(b->flat, small)) == 0xff;
}

static bool minmax_start(const hone_minmax_grid *grid, size_t size, struct minmax_batch *b)
{
    const __m256 zero = _mm256_setzero_ps(), nmax = _mm256_set1_ps((float)grid->nmax);
    b->lowest = b->highest = b->g.x[0];
    b->sum_w = b->g.w[0];
    b->sum_x = _mm256_mul_ps(b->g.w[0], b->g.x[0]);
    for (size_t j = 1; j < size; j++) {
        b->lowest = _mm256_min_ps(b->g.x[j], b->lowest);
        b->highest = _mm256_max_ps(b->g.x[j], b->highest);
        b->sum_w = _mm256_add_ps(b->sum_w, b->g.w[j]);
        b->sum_x = _mm256_add_ps(b->sum_x, _mm256_mul_ps(b->g.w[j], b->g.x[j]));
    }
    b->min = b->base = _mm256_min_ps(zero, b->lowest);
    b->flat = _mm256_cmp_ps(b->highest, b->min, _CMP_LE_OQ);
    b->inverse = _mm256_div_ps(nmax, _mm256_sub_ps(b->highest, b->min));
    b->scale = _mm256_div_ps(_mm256_set1_ps(1.0f), b->inverse);
    struct minmax_sums unused = {zero, zero, zero};
    b->error = zero;
    for (size_t j = 0; j < size; j++) {
        minmax_add(b, j, b->inverse, b->base, nmax, &unused);
        b->error = _mm256_add_ps(b->error, minmax_cost(b, j, b->scale, b->min, grid->absolute));
    }
    return codes_are_small(b, b->inverse, b->base);
}

/* The least squares fit for the codes of a trial; where the free fit wants min > 0, min = 0. Returns where there is
 * one. */
static inline __m256 minmax_fit(const struct minmax_batch *b, const struct minmax_sums *s, __m256 *scale, __m256 *min)
{
    const __m256 zero = _mm256_setzero_ps();
    const __m256 det = _mm256_sub_ps(_mm256_mul_ps(b->sum_w, s->l2), _mm256_mul_ps(s->l, s->l));
    const __m256 slope = _mm256_sub_ps(_mm256_mul_ps(b->sum_w, s->xl), _mm256_mul_ps(b->sum_x, s->l));
    const __m256 foot = _mm256_sub_ps(_mm256_mul_ps(s->l2, b->sum_x), _mm256_mul_ps(s->l, s->xl));
    const __m256 free_min = _mm256_div_ps(foot, det);
    const __m256 above = _mm256_cmp_ps(free_min, zero, _CMP_GT_OQ);
    *min = _mm256_andnot_ps(above, free_min);
    *scale = _mm256_blendv_ps(_mm256_div_ps(slope, det), _mm256_div_ps(s->xl, s->l2), above);
    return _mm256_andnot_ps(b->flat, _mm256_cmp_ps(det, zero, _CMP_GT_OQ));
}

static inline void minmax_keep(struct minmax_batch *b, __m256 open, __m256 error, __m256 scale, __m256 min,
                               __m256 inverse)
{
    const __m256 better = _mm256_and_ps(open, _mm256_cmp_ps(error, b->error, _CMP_LT_OQ));
    b->error = _mm256_blendv_ps(b->error, error, better);
    b->inverse = _mm256_blendv_ps(b->inverse, inverse, better);
    b->base = _mm256_blendv_ps(b->base, b->min, better);
    b->scale = _mm256_blendv_ps(b->scale, scale, better);
    b->min = _mm256_blendv_ps(b->min, min, better);
}

/*
 * Trial k of two batches, step by step side by side: a sum waits for its last addition, and the other batch's fills the
 * wait. Inlined, for a size and an error that the compiler knows. False if a group must go to the portable C.
 */
static inline bool minmax_trial(const hone_minmax_grid *grid, int k, size_t size, bool absolute, struct minmax_batch *a,
                                struct minmax_batch *b)
{
    const __m256 zero = _mm256_setzero_ps(), nmax = _mm256_set1_ps((float)grid->nmax);
    const __m256 steps = _mm256_set1_ps(grid->offset + grid->step * (float)k + (float)grid->nmax);
    const __m256 base_a = a->min, base_b = b->min;
    const __m256 inverse_a = _mm256_div_ps(steps, _mm256_sub_ps(a->highest, base_a));
    const __m256 inverse_b = _mm256_div_ps(steps, _mm256_sub_ps(b->highest, base_b));
    if (!codes_are_small(a, inverse_a, base_a) || !codes_are_small(b, inverse_b, base_b))
        return false;
    struct minmax_sums sums_a = {zero, zero, zero}, sums_b = {zero, zero, zero};
    for (size_t j = 0; j < size; j++) {
        minmax_add(a, j, inverse_a, base_a, nmax, &sums_a);
        minmax_add(b, j, inverse_b, base_b, nmax, &sums_b);
    }
    __m256 scale_a, min_a, scale_b, min_b, error_a = zero, error_b = zero;
    const __m256 open_a = minmax_fit(a, &sums_a, &scale_a, &min_a);
    const __m256 open_b = minmax_fit(b, &sums_b, &scale_b, &min_b);
    for (size_t j = 0; j < size; j++) {
        error_a = _mm256_add_ps(error_a, minmax_cost(a, j, scale_a, min_a, absolute));
        error_b = _mm256_add_ps(error_b, minmax_cost(b, j, scale_b, min_b, absolute));
    }
    minmax_keep(a, open_a, error_a, scale_a, min_a, inverse_a);
    minmax_keep(b, open_b, error_b, scale_b, min_b, inverse_b);
    return true;
}

static bool minmax_search(const hone_minmax_grid *grid, size_t size, struct minmax_batch *a, struct minmax_batch *b)
{
    bool small = minmax_start(grid, size, a) && minmax_start(grid, size, b);
    for (int k = 0; small && k <= grid->n_steps; k++) {
        if (grid->absolute)
            small = minmax_trial(grid, k, size, true, a, b);
        else if (size == 32)
            small = minmax_trial(grid, k, 32, false, a, b);
        else
            small = minmax_trial(grid, k, size, false, a, b);
    }
    return small;
}

/* One or two batches; one is searched beside itself. */
static void minmax_pair(const hone_minmax_grid *grid, const hone_groups *g, uint8_t *codes, float *scales, float *mins)
{
    const size_t n = g->n / LANES, batch_nelems = LANES * g->size;
    struct minmax_batch b[PAIR];
    for (size_t i = 0; i < PAIR; i++) {
        transpose_groups(g->x + i % n * batch_nelems, g->size, b[i].g.x);
        transpose_groups(g->w + i % n * batch_nelems, g->size, b[i].g.w);
    }
    if (!minmax_search(grid, g->size, &b[0], &b[1])) {
        hone_search_ref.minmax(grid, g, codes, scales, mins);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const size_t at = i * batch_nelems;
        store_groups(g->x + at, g->size, b[i].inverse, b[i].base, b[i].flat, 0, grid->nmax, codes + at);
        _mm256_storeu_ps(scales + i * LANES, _mm256_andnot_ps(b[i].flat, b[i].scale));
        _mm256_storeu_ps(mins + i * LANES, _mm256_xor_ps(b[i].min, _mm256_set1_ps(-0.0f)));
    }
}

void hone_minmax_avx2(const hone_minmax_grid *grid, const hone_groups *g, uint8_t *codes, float *scales, float *mins)
{
    const size_t whole = n_batched(g);
    size_t done = 0;
    while (done < whole) {
        const size_t n = whole - done < PAIR * LANES ? LANES : PAIR * LANES;
        const hone_groups pair = part_of(g, done, n);
        minmax_pair(grid, &pair, codes + done * g->size, scales + done, mins + done);
        done += n;
    }
    const hone_groups rest = part_of(g, done, g->n - done);
    hone_search_ref.minmax(grid, &rest, codes + done * g->size, scales + done, mins + done);
}
