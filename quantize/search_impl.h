/* SPDX-License-Identifier: MIT */
/*
 * The searches of the reference quantizers over lanes: a part of lane_encoders_impl.h.
 *
 * A group is a lane, and a batch as many groups. A lane adds the same terms in the same order as the portable C does
 * for its group, so the bytes are the same. Nothing is fused and no sum is split.
 */
#include "quantize/scale_search.h"

#include <string.h>

#include "quantize/lanes.h"

/* What a sum waits for its last addition, the sums of another trial or batch fill. */
enum { SIDE_BY_SIDE = 2, BATCH_NELEMS_MAX = HONE_LANES * HONE_GROUP_MAX };

/* Lane i of out[j] is element j of group i. Missing groups are like the first. */
static void transpose_groups(const float *src, size_t n, size_t size, lanes *out)
{
    float padded[BATCH_NELEMS_MAX];
    if (n < HONE_LANES) {
        for (size_t i = 0; i < HONE_LANES; i++)
            memcpy(padded + i * size, src + (i < n ? i * size : 0), size * sizeof *src);
        src = padded;
    }
    for (size_t j = 0; j < size; j += HONE_LANES)
        lanes_columns(src + j, size, out + j);
}

static void store_floats(float *dst, size_t n, lanes v)
{
    float each[HONE_LANES];
    lanes_store(each, v);
    memcpy(dst, each, n * sizeof *dst);
}

/* codes = clamp(nearest((x - base) * inverse), lo, hi) - lo, group by group; zeros where `zero` is set. */
static void store_groups(const float *x, size_t n, size_t size, lanes inverse, lanes base, lane_mask zero, int lo,
                         int hi, uint8_t *codes)
{
    float inverses[HONE_LANES], bases[HONE_LANES], some[HONE_LANES];
    lanes_store(inverses, inverse);
    lanes_store(bases, base);
    lanes_store(some, lanes_choose(zero, lanes_all(0.0f), lanes_all(1.0f)));
    const lanes low = lanes_all((float)lo), high = lanes_all((float)hi);
    for (size_t i = 0; i < n; i++, x += size, codes += size) {
        if (some[i] == 0.0f) {
            memset(codes, 0, size);
            continue;
        }
        const lanes inv = lanes_all(inverses[i]), from = lanes_all(bases[i]);
        for (size_t j = 0; j < size; j += 16) {
            lanes v[16 / HONE_LANES];
            LANES_UNROLL
            for (size_t k = 0; k < 16 / HONE_LANES; k++)
                v[k] = lanes_nearest(inv * (lanes_load(x + j + k * HONE_LANES) - from), low, high) - low;
            lanes_store_codes(codes + j, v);
        }
    }
}

static void weigh(const float *importance, const float *x, size_t n, float sigma2, float *w)
{
    size_t i = 0;
    for (; i + HONE_LANES <= n; i += HONE_LANES) {
        const lanes v = lanes_load(x + i);
        lanes_store(w + i, lanes_load(importance + i) * lanes_sqrt(lanes_all(sigma2) + v * v));
    }
    if (i < n)
        hone_search_ref.weigh(importance + i, x + i, n - i, sigma2, w + i);
}

/* The element of largest magnitude, with its sign; the first of equals. */
static lanes signed_extreme(const lanes *x, size_t size)
{
    lanes extreme = lanes_all(0.0f);
    for (size_t j = 0; j < size; j++)
        extreme = lanes_choose(lanes_less(lanes_abs(extreme), lanes_abs(x[j])), x[j], extreme);
    return extreme;
}

static lane_mask is_tiny(lanes extreme)
{
    return lanes_less(lanes_abs(extreme), lanes_all(1e-15f));
}

/* For codes l of x: sums of w x l and w l^2. */
struct sums {
    lanes xl, ll;
};

/* A batch of groups and where its search stands. */
struct sym_batch {
    lanes x[HONE_GROUP_MAX], w[HONE_GROUP_MAX], wx[HONE_GROUP_MAX];
    lanes scale, inverse, best;
};

/* Trials side by side. |inverse * x| is at most about nmax + 1. Inlined, for a size that the compiler knows. */
static inline void sym_sums(int nmax, const struct sym_batch *b, size_t size, const lanes inverse[SIDE_BY_SIDE],
                            struct sums out[SIDE_BY_SIDE])
{
    const lanes lo = lanes_all(-(float)nmax), hi = lanes_all((float)(nmax - 1)), zero = lanes_all(0.0f);
    struct sums s = {zero, zero}, t = {zero, zero};
    for (size_t j = 0; j < size; j++) {
        const lanes l = lanes_round_within(inverse[0] * b->x[j], lo, hi);
        const lanes m = lanes_round_within(inverse[1] * b->x[j], lo, hi);
        s.xl = s.xl + b->wx[j] * l;
        s.ll = s.ll + b->w[j] * l * l;
        t.xl = t.xl + b->wx[j] * m;
        t.ll = t.ll + b->w[j] * m * m;
    }
    out[0] = s;
    out[1] = t;
}

static inline void sym_keep(struct sym_batch *b, lanes inverse, struct sums s)
{
    const lane_mask better = lanes_both(lanes_less(lanes_all(0.0f), s.ll), lanes_less(b->best * s.ll, s.xl * s.xl));
    const lanes quotient = s.xl / s.ll;
    b->scale = lanes_choose(better, quotient, b->scale);
    b->best = lanes_choose(better, quotient * s.xl, b->best);
    b->inverse = lanes_choose(better, inverse, b->inverse);
}

/* Lanes whose extreme is tiny compute what nobody reads. */
static inline void sym_search(int nmax, size_t size, lanes extreme, struct sym_batch *b)
{
    static const int8_t order[20] = {0, -9, -8, -7, -6, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9};
    const lanes zero = lanes_all(0.0f);
    for (size_t j = 0; j < size; j++)
        b->wx[j] = b->w[j] * b->x[j]; // cppcheck-suppress uninitvar ; transpose_groups() fills w
    for (size_t k = 0; k < sizeof order; k += SIDE_BY_SIDE) {
        lanes inverse[SIDE_BY_SIDE];
        struct sums s[SIDE_BY_SIDE];
        for (size_t i = 0; i < SIDE_BY_SIDE; i++)
            inverse[i] = lanes_all(-((float)nmax + 0.1f * (float)order[k + i])) / extreme;
        sym_sums(nmax, b, size, inverse, s);
        if (k == 0) { /* the plain scale, kept as it is */
            b->inverse = inverse[0];
            b->scale = lanes_choose(lanes_differ(s[0].ll, zero), s[0].xl / s[0].ll, zero);
            b->best = b->scale * s[0].xl;
        } else {
            sym_keep(b, inverse[0], s[0]);
        }
        sym_keep(b, inverse[1], s[1]); /* the last trial comes twice, and the second time is not better */
    }
}

static void sym(int nmax, const hone_groups *g, uint8_t *codes, float *scales)
{
    for (size_t i = 0; i < g->n; i += HONE_LANES) {
        const size_t n = g->n - i < HONE_LANES ? g->n - i : HONE_LANES;
        const float *x = g->x + i * g->size;
        struct sym_batch b;
        transpose_groups(x, n, g->size, b.x);
        transpose_groups(g->w + i * g->size, n, g->size, b.w);
        const lanes extreme = signed_extreme(b.x, g->size), zero = lanes_all(0.0f);
        const lane_mask tiny = is_tiny(extreme);
        if (g->size == 16)
            sym_search(nmax, 16, extreme, &b);
        else
            sym_search(nmax, g->size, extreme, &b);
        store_groups(x, n, g->size, b.inverse, zero, tiny, -nmax, nmax - 1, codes + i * g->size);
        store_floats(scales + i, n, lanes_choose(tiny, zero, b.scale));
    }
}

static void recode(hone_recode_range range, const hone_groups *g, const float *scales, const float *mins,
                   uint8_t *codes)
{
    const lanes lo = lanes_all((float)range.lo), hi = lanes_all((float)range.hi);
    for (size_t i = 0; i < g->n; i++) {
        if (scales[i] == 0.0f)
            continue;
        const lanes scale = lanes_all(scales[i]), min = lanes_all(mins ? mins[i] : 0.0f);
        for (size_t j = i * g->size; j < (i + 1) * g->size; j += 16) {
            lanes v[16 / HONE_LANES];
            LANES_UNROLL
            for (size_t k = 0; k < 16 / HONE_LANES; k++)
                v[k] = lanes_nearest((lanes_load(g->x + j + k * HONE_LANES) + min) / scale, lo, hi) - lo;
            lanes_store_codes(codes + j, v);
        }
    }
}

/* A batch: what no trial changes, and where the search stands. */
struct minmax_batch {
    lanes x[HONE_GROUP_MAX], w[HONE_GROUP_MAX];
    lanes l[HONE_GROUP_MAX]; /* the codes of the trial at hand */
    lanes lowest, highest, sum_w, sum_x;
    lane_mask flat; /* nothing to search */
    lanes scale, min, error;
    lanes inverse, base; /* the codes of the best trial: nearest(inverse * (x - base)) */
};

struct minmax_sums {
    lanes l, l2, xl;
};

/* One element's code, added to the sums of w l, w l^2 and w l x. */
static inline void minmax_add(struct minmax_batch *b, size_t j, lanes inverse, lanes base, lanes nmax,
                              struct minmax_sums *sums)
{
    const lanes x = b->x[j];
    const lanes l = lanes_round_within(inverse * (x - base), lanes_all(0.0f), nmax);
    const lanes wl = b->w[j] * l;
    sums->l = sums->l + wl;
    sums->l2 = sums->l2 + wl * l;
    sums->xl = sums->xl + wl * x;
    b->l[j] = l;
}

static inline lanes minmax_cost(const struct minmax_batch *b, size_t j, lanes scale, lanes min, bool absolute)
{
    const lanes diff = scale * b->l[j] + min - b->x[j];
    const lanes square = diff * diff;
    return b->w[j] * (absolute ? lanes_abs(diff) : square);
}

/*
 * True if lanes_round_within() will do for every element of every group: products grow with x, so the ends of its range
 * tell. Only weights near the limits of f32 fail this; their groups go to the portable C.
 */
static inline bool codes_are_small(const struct minmax_batch *b, lanes inverse, lanes base)
{
    const lanes limit = lanes_all(0x1p22f);
    const lane_mask small = lanes_both(lanes_at_most(lanes_abs(inverse * (b->lowest - base)), limit),
                                       lanes_at_most(lanes_abs(inverse * (b->highest - base)), limit));
    const lanes zero = lanes_all(0.0f), one = lanes_all(1.0f);
    const lanes large = lanes_choose(lanes_either(b->flat, small), zero, one);
    return !lanes_any(lanes_less(zero, large));
}

static bool minmax_start(const hone_minmax_grid *grid, size_t size, struct minmax_batch *b)
{
    const lanes zero = lanes_all(0.0f), nmax = lanes_all((float)grid->nmax);
    b->lowest = b->highest = b->x[0];
    b->sum_w = b->w[0];
    b->sum_x = b->w[0] * b->x[0];
    for (size_t j = 1; j < size; j++) {
        b->lowest = lanes_min(b->x[j], b->lowest);
        b->highest = lanes_max(b->x[j], b->highest);
        b->sum_w = b->sum_w + b->w[j];
        b->sum_x = b->sum_x + b->w[j] * b->x[j];
    }
    b->min = b->base = lanes_min(zero, b->lowest);
    b->flat = lanes_at_most(b->highest, b->min);
    b->inverse = nmax / (b->highest - b->min);
    b->scale = lanes_all(1.0f) / b->inverse;
    struct minmax_sums unused = {zero, zero, zero};
    b->error = zero;
    for (size_t j = 0; j < size; j++) {
        minmax_add(b, j, b->inverse, b->base, nmax, &unused);
        b->error = b->error + minmax_cost(b, j, b->scale, b->min, grid->absolute);
    }
    return codes_are_small(b, b->inverse, b->base);
}

/* The least squares fit for the codes of a trial; where the free fit wants min > 0, min = 0. Returns where there is
 * one. */
static inline lane_mask minmax_fit(const struct minmax_batch *b, const struct minmax_sums *s, lanes *scale, lanes *min)
{
    const lanes zero = lanes_all(0.0f);
    const lanes det = b->sum_w * s->l2 - s->l * s->l;
    const lanes free_min = (s->l2 * b->sum_x - s->l * s->xl) / det;
    const lane_mask above = lanes_less(zero, free_min);
    *min = lanes_choose(above, zero, free_min);
    *scale = lanes_choose(above, s->xl / s->l2, (b->sum_w * s->xl - b->sum_x * s->l) / det);
    return lanes_except(lanes_less(zero, det), b->flat);
}

static inline void minmax_keep(struct minmax_batch *b, lane_mask open, lanes error, lanes scale, lanes min,
                               lanes inverse)
{
    const lane_mask better = lanes_both(open, lanes_less(error, b->error));
    b->error = lanes_choose(better, error, b->error);
    b->inverse = lanes_choose(better, inverse, b->inverse);
    b->base = lanes_choose(better, b->min, b->base);
    b->scale = lanes_choose(better, scale, b->scale);
    b->min = lanes_choose(better, min, b->min);
}

/* Trial k of two batches, step by step side by side. Inlined, for a size and an error that the compiler knows. False if
 * a group must go to the portable C. */
static inline bool minmax_trial(const hone_minmax_grid *grid, int k, size_t size, bool absolute, struct minmax_batch *a,
                                struct minmax_batch *b)
{
    const lanes zero = lanes_all(0.0f), nmax = lanes_all((float)grid->nmax);
    const lanes steps = lanes_all(grid->offset + grid->step * (float)k + (float)grid->nmax);
    const lanes base_a = a->min, base_b = b->min;
    const lanes inverse_a = steps / (a->highest - base_a), inverse_b = steps / (b->highest - base_b);
    if (!codes_are_small(a, inverse_a, base_a) || !codes_are_small(b, inverse_b, base_b))
        return false;
    struct minmax_sums sums_a = {zero, zero, zero}, sums_b = {zero, zero, zero};
    for (size_t j = 0; j < size; j++) {
        minmax_add(a, j, inverse_a, base_a, nmax, &sums_a);
        minmax_add(b, j, inverse_b, base_b, nmax, &sums_b);
    }
    lanes scale_a, min_a, scale_b, min_b, error_a = zero, error_b = zero;
    const lane_mask open_a = minmax_fit(a, &sums_a, &scale_a, &min_a);
    const lane_mask open_b = minmax_fit(b, &sums_b, &scale_b, &min_b);
    for (size_t j = 0; j < size; j++) {
        error_a = error_a + minmax_cost(a, j, scale_a, min_a, absolute);
        error_b = error_b + minmax_cost(b, j, scale_b, min_b, absolute);
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

/* Up to two batches; a missing one is like the first. */
static void minmax_pair(const hone_minmax_grid *grid, const hone_groups *g, uint8_t *codes, float *scales, float *mins)
{
    struct minmax_batch b[SIDE_BY_SIDE];
    size_t counts[SIDE_BY_SIDE];
    counts[0] = g->n < HONE_LANES ? g->n : HONE_LANES;
    counts[1] = g->n - counts[0];
    for (size_t i = 0; i < SIDE_BY_SIDE; i++) {
        const size_t n = counts[i] ? counts[i] : counts[0], at = counts[i] ? i * HONE_LANES * g->size : 0;
        transpose_groups(g->x + at, n, g->size, b[i].x);
        transpose_groups(g->w + at, n, g->size, b[i].w);
    }
    if (!minmax_search(grid, g->size, &b[0], &b[1])) {
        hone_search_ref.minmax(grid, g, codes, scales, mins);
        return;
    }
    for (size_t i = 0; i < SIDE_BY_SIDE && counts[i] > 0; i++) {
        const size_t first = i * HONE_LANES, at = first * g->size;
        store_groups(g->x + at, counts[i], g->size, b[i].inverse, b[i].base, b[i].flat, 0, grid->nmax, codes + at);
        store_floats(scales + first, counts[i], lanes_choose(b[i].flat, lanes_all(0.0f), b[i].scale));
        store_floats(mins + first, counts[i], -b[i].min);
    }
}

static void minmax(const hone_minmax_grid *grid, const hone_groups *g, uint8_t *codes, float *scales, float *mins)
{
    const size_t most = SIDE_BY_SIDE * HONE_LANES;
    for (size_t done = 0; done < g->n; done += most) {
        const size_t at = done * g->size;
        const hone_groups pair = {
            .x = g->x + at, .w = g->w + at, .n = g->n - done < most ? g->n - done : most, .size = g->size};
        minmax_pair(grid, &pair, codes + at, scales + done, mins + done);
    }
}
