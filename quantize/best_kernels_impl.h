/* SPDX-License-Identifier: MIT */
/* The kernels of the best search over lanes: included once by each width's file, which says what they are called. */
#include "quantize/best_kernels.h"

#include <math.h>
#include <string.h>

#include "quantize/best.h"
#include "quantize/code_tables.h"
#include "quantize/lane_bits.h"
#include "quantize/lanes.h"

static float largest(const float *x, size_t n)
{
    lanes most = lanes_all(0.0f);
    for (size_t i = 0; i < n; i += HONE_LANES)
        most = lanes_max(lanes_abs(lanes_load(x + i)), most);
    float each[HONE_LANES];
    lanes_store(each, most);
    for (int i = 1; i < HONE_LANES; i++)
        each[0] = each[i] > each[0] ? each[i] : each[0];
    return each[0];
}

static void transpose(const float *x, size_t size, float *tile)
{
    for (size_t g = 0; g < HONE_TILE; g += HONE_LANES)
        for (size_t j = 0; j < size; j += HONE_LANES) {
            lanes columns[HONE_LANES];
            lanes_columns(x + g * size + j, size, columns);
            for (size_t i = 0; i < HONE_LANES; i++)
                lanes_store(tile + (j + i) * HONE_TILE + g, columns[i]);
        }
}

static void load_part(const float *x, size_t n_groups, size_t size, float *tile)
{
    float padded[HONE_TILE * HONE_TILE_SIZE_MAX];
    if (n_groups < HONE_TILE) {
        for (size_t g = 0; g < HONE_TILE; g++)
            memcpy(padded + g * size, g < n_groups ? x + g * size : x, size * sizeof *x);
        x = padded;
    }
    transpose(x, size, tile);
}

static void load(const float *x, const float *w, size_t n_groups, size_t size, const float *x_factor,
                 const float *w_factor, const float *w_plus, hone_tile *t)
{
    t->size = size;
    load_part(x, n_groups, size, t->x);
    if (w)
        load_part(w, n_groups, size, t->w);
    for (size_t g = 0; g < HONE_TILE; g += HONE_LANES) {
        const lanes fx = lanes_load(x_factor + g), fw = lanes_load(w_factor + g), plus = lanes_load(w_plus + g);
        for (size_t i = g; i < HONE_TILE * size; i += HONE_TILE) {
            lanes_store(t->x + i, lanes_load(t->x + i) * fx);
            if (w)
                lanes_store(t->w + i, (lanes_load(t->w + i) + plus) * fw);
            else
                lanes_store(t->w + i, lanes_all(1.0f));
        }
    }
}

struct lane_sums {
    lanes l, ll, xl;
};

/* Sums over the codes nearest to (x - base) * inverse. */
static inline struct lane_sums affine_lane_sums(lanes nmax, const float *x, const float *w, size_t size, lanes inverse,
                                                lanes base)
{
    const lanes zero = lanes_all(0.0f);
    struct lane_sums s = {zero, zero, zero};
    for (size_t j = 0; j < size; j++) {
        const lanes v = lanes_load(x + HONE_TILE * j);
        const lanes l = lanes_round_within((v - base) * inverse, zero, nmax);
        const lanes wl = lanes_load(w + HONE_TILE * j) * l;
        s.l = s.l + wl;
        s.ll = s.ll + wl * l;
        s.xl = s.xl + wl * v;
    }
    return s;
}

/* What does not depend on the codes. */
struct affine_lanes {
    const float *x, *w;
    size_t size;
    lanes nmax, sum_w, sum_x;
    lanes min_max; /* min is at most this */
};

struct affine_line {
    lanes scale, min;
    lanes gain; /* what it takes off the weighted sum of squares */
};

/* The line of least squared error for given codes; the old one where the codes determine none. */
static inline struct affine_line affine_line_for(const struct affine_lanes *a, const struct lane_sums *s,
                                                 struct affine_line old)
{
    const lanes zero = lanes_all(0.0f), two = lanes_all(2.0f);
    const lanes det = a->sum_w * s->ll - s->l * s->l;
    const lanes inverse = lanes_all(1.0f) / det;
    lanes min = (s->ll * a->sum_x - s->l * s->xl) * inverse;
    lanes scale = (a->sum_w * s->xl - a->sum_x * s->l) * inverse;
    const lane_mask high = lanes_less(a->min_max, min);
    min = lanes_choose(high, a->min_max, min);
    scale = lanes_choose(high, (s->xl - a->min_max * s->l) / s->ll, scale);
    const lanes gain = two * (scale * s->xl + min * a->sum_x) -
                       (scale * scale * s->ll + two * scale * min * s->l + min * min * a->sum_w);
    const lane_mask good = lanes_both(lanes_less(zero, det), lanes_less(zero, scale));
    return (struct affine_line){lanes_choose(good, scale, old.scale), lanes_choose(good, min, old.min),
                                lanes_choose(good, gain, old.gain)};
}

static inline struct affine_line affine_round(const struct affine_lanes *a, struct affine_line line)
{
    const struct lane_sums s = affine_lane_sums(a->nmax, a->x, a->w, a->size, lanes_all(1.0f) / line.scale, line.min);
    return affine_line_for(a, &s, line);
}

static void affine_fit_lanes(const hone_affine_grid *grid, const float *x, const float *w, size_t size, float *scale,
                             float *min)
{
    const lanes zero = lanes_all(0.0f);
    lanes lo = lanes_load(x), hi = lo, sum_w = zero, sum_x = zero;
    for (size_t j = 1; j < size; j++) {
        lo = lanes_min(lanes_load(x + HONE_TILE * j), lo);
        hi = lanes_max(lanes_load(x + HONE_TILE * j), hi);
    }
    if (!grid->positive)
        lo = lanes_min(lo, zero);
    /* From here on x is counted from its lowest, so that sums do not cancel. */
    float shifted[HONE_TILE * HONE_TILE_SIZE_MAX];
    for (size_t j = 0; j < size; j++) {
        const lanes v = lanes_load(x + HONE_TILE * j) - lo, weight = lanes_load(w + HONE_TILE * j);
        sum_w = sum_w + weight;
        sum_x = sum_x + weight * v;
        lanes_store(shifted + HONE_TILE * j, v);
    }
    const lanes range = hi - lo, nmax = lanes_all((float)grid->nmax);
    struct affine_lanes a = {
        .x = shifted, .w = w, .size = size, .nmax = nmax, .sum_w = sum_w, .sum_x = sum_x, .min_max = zero - lo};
    if (grid->positive)
        a.min_max = range;
    const lanes plain = range / nmax;
    struct affine_line best = {.scale = plain, .min = zero, .gain = lanes_all(-1.0f)};
    for (int i = 0; i < grid->n_pulls; i++)
        for (int k = 0; k < grid->n_pulls; k++) {
            const lanes width = lanes_all(((float)grid->nmax - grid->pulls[i] - grid->pulls[k]) / (float)grid->nmax);
            struct affine_line line = {
                .scale = plain * width, .min = plain * lanes_all(grid->pulls[k]), .gain = lanes_all(-1.0f)};
            for (int r = 0; r < grid->n_rounds; r++)
                line = affine_round(&a, line);
            const lane_mask better = lanes_less(best.gain, line.gain);
            best = (struct affine_line){lanes_choose(better, line.scale, best.scale),
                                        lanes_choose(better, line.min, best.min),
                                        lanes_choose(better, line.gain, best.gain)};
        }
    for (int r = 0; r < grid->n_polish; r++)
        best = affine_round(&a, best);
    const lane_mask flat = lanes_less(lanes_all(-1.0f) * range, zero); /* not flat */
    lanes_store(scale, lanes_choose(flat, best.scale, zero));
    lanes_store(min, lanes_choose(flat, best.min + lo, lo));
}

static void affine_fit(const hone_affine_grid *grid, const hone_tile *t, hone_tile_floats *scale, hone_tile_floats *min)
{
    for (size_t g = 0; g < HONE_TILE; g += HONE_LANES) {
        if (t->size == 16)
            affine_fit_lanes(grid, t->x + g, t->w + g, 16, scale->of + g, min->of + g);
        else
            affine_fit_lanes(grid, t->x + g, t->w + g, 32, scale->of + g, min->of + g);
    }
}

static inline lanes inverse_of(lanes v)
{
    const lanes zero = lanes_all(0.0f);
    return lanes_choose(lanes_less(zero, lanes_abs(v)), lanes_all(1.0f) / v, zero);
}

/* Whole numbers around a target, nearest first: 1 is the neighbour on the target's side. */
static const float outward[HONE_STEP_TRIALS_MAX] = {0.0f,  1.0f,  -1.0f, 2.0f,  -2.0f, 3.0f,  -3.0f,
                                                    4.0f,  -4.0f, 5.0f,  -5.0f, 6.0f,  -6.0f, 7.0f,
                                                    -7.0f, 8.0f,  -8.0f, 9.0f,  -9.0f, 10.0f, -10.0f};

static void affine_step_lanes(const hone_step_range *range, const float *x, const float *w, size_t size, lanes d,
                              lanes dmin, lanes scale, lanes min, float *out_scale, float *out_min, float *out_error)
{
    const lanes zero = lanes_all(0.0f), one = lanes_all(1.0f), most = lanes_all((float)range->hi);
    const lanes least = lanes_all((float)range->lo), nmax = lanes_all((float)range->nmax);
    const lanes per_dmin = inverse_of(dmin), ratio = scale * inverse_of(d);
    const lanes first = lanes_round_within(ratio, least, most);
    const lanes toward = lanes_choose(lanes_less(first, ratio), one, lanes_all(-1.0f));
    lanes sum_w = zero, sum_x = zero;
    for (size_t j = 0; j < size; j++) {
        sum_w = sum_w + lanes_load(w + HONE_TILE * j);
        sum_x = sum_x + lanes_load(w + HONE_TILE * j) * lanes_load(x + HONE_TILE * j);
    }
    lanes best_scale = first, best_min = zero, best_error = lanes_all(INFINITY);
    for (int trial = 0; trial < range->n_trials; trial++) {
        const lanes steps = lanes_min(lanes_max(first + toward * lanes_all(outward[trial]), least), most);
        const lanes s = steps * d, inverse = inverse_of(s);
        /* The minimum that suits the codes under this scale and the minimum wanted. */
        lanes base = zero - lanes_round_within(min * per_dmin, zero, most) * dmin, sum_l = zero;
        for (size_t j = 0; j < size; j++) {
            const lanes l = lanes_round_within((lanes_load(x + HONE_TILE * j) - base) * inverse, zero, nmax);
            sum_l = sum_l + lanes_load(w + HONE_TILE * j) * l;
        }
        const lanes steps_min = lanes_round_within((s * sum_l - sum_x) / sum_w * per_dmin, zero, most);
        base = zero - steps_min * dmin;
        lanes error = zero;
        for (size_t j = 0; j < size; j++) {
            const lanes v = lanes_load(x + HONE_TILE * j) - base;
            const lanes diff = v - lanes_round_within(v * inverse, zero, nmax) * s;
            error = error + lanes_load(w + HONE_TILE * j) * (diff * diff);
        }
        const lane_mask better = lanes_less(error, best_error);
        best_scale = lanes_choose(better, steps, best_scale);
        best_min = lanes_choose(better, steps_min, best_min);
        best_error = lanes_choose(better, error, best_error);
    }
    lanes_store(out_scale, best_scale);
    lanes_store(out_min, best_min);
    lanes_store(out_error, best_error);
}

static void affine_step(const hone_step_range *range, const hone_tile *t, const hone_tile_floats *d,
                        const hone_tile_floats *dmin, const hone_tile_floats *scale, const hone_tile_floats *min,
                        hone_affine_steps *out)
{
    for (size_t g = 0; g < HONE_TILE; g += HONE_LANES) {
        const lanes unit = lanes_load(d->of + g), unit_min = lanes_load(dmin->of + g);
        const lanes s = lanes_load(scale->of + g), m = lanes_load(min->of + g);
        affine_step_lanes(range, t->x + g, t->w + g, t->size, unit, unit_min, s, m, out->scale.of + g, out->min.of + g,
                          out->error.of + g);
    }
}

static void affine_sums(int nmax, const hone_tile *t, const hone_tile_floats *scale, const hone_tile_floats *min,
                        hone_tile_sums *out)
{
    for (size_t g = 0; g < HONE_TILE; g += HONE_LANES) {
        const struct lane_sums s = affine_lane_sums(lanes_all((float)nmax), t->x + g, t->w + g, t->size,
                                                    inverse_of(lanes_load(scale->of + g)), lanes_load(min->of + g));
        lanes sum_w = lanes_all(0.0f), sum_x = sum_w;
        for (size_t i = g; i < HONE_TILE * t->size; i += HONE_TILE) {
            sum_w = sum_w + lanes_load(t->w + i);
            sum_x = sum_x + lanes_load(t->w + i) * lanes_load(t->x + i);
        }
        lanes_store(out->w.of + g, sum_w);
        lanes_store(out->x.of + g, sum_x);
        lanes_store(out->l.of + g, s.l);
        lanes_store(out->ll.of + g, s.ll);
        lanes_store(out->xl.of + g, s.xl);
    }
}

struct lane_codes {
    hone_code_kind kind;
    lanes lo, hi;
    lane_table table;
};

static inline struct lane_codes lane_codes_of(hone_code_set set)
{
    const hone_code_table *t = &hone_code_tables[set.kind];
    return (struct lane_codes){.kind = set.kind,
                               .lo = lanes_all(-(float)set.nmax),
                               .hi = lanes_all((float)(set.nmax - 1)),
                               .table = lanes_table(t->tree, t->values)};
}

/* What the code nearest to v stands for. */
static inline lanes nearest_value(const struct lane_codes *c, lanes v)
{
    return c->kind == HONE_CODES_WHOLE ? lanes_round_within(v, c->lo, c->hi) : lanes_lookup(&c->table, v);
}

/* Sums over the codes nearest to x * inverse. */
static inline struct lane_sums symmetric_lane_sums(const struct lane_codes *c, const float *x, const float *w,
                                                   size_t size, lanes inverse)
{
    const lanes zero = lanes_all(0.0f);
    struct lane_sums s = {zero, zero, zero};
    for (size_t j = 0; j < size; j++) {
        const lanes v = lanes_load(x + HONE_TILE * j);
        const lanes l = nearest_value(c, v * inverse);
        const lanes wl = lanes_load(w + HONE_TILE * j) * l;
        s.ll = s.ll + wl * l;
        s.xl = s.xl + wl * v;
    }
    return s;
}

/* A scale by its inverse, and what it takes off the sum of squares. */
struct symmetric_line {
    lanes inverse, gain;
};

static inline struct symmetric_line symmetric_better(struct symmetric_line a, struct symmetric_line b)
{
    const lane_mask better = lanes_less(a.gain, b.gain);
    return (struct symmetric_line){lanes_choose(better, b.inverse, a.inverse), lanes_choose(better, b.gain, a.gain)};
}

/* The least squares scale for the codes of an inverse; not good where the sums are not. */
static inline struct symmetric_line symmetric_line_for(const struct lane_sums *s)
{
    const lanes zero = lanes_all(0.0f);
    const lanes scale = s->xl / s->ll;
    const lane_mask good = lanes_both(lanes_less(zero, s->ll), lanes_less(zero, lanes_abs(s->xl)));
    return (struct symmetric_line){lanes_all(1.0f) / scale, lanes_choose(good, scale * s->xl, zero)};
}

/* The element of largest magnitude, with its sign; the first of equals. */
static inline lanes extreme_of_lanes(const float *x, size_t size)
{
    lanes extreme = lanes_all(0.0f);
    for (size_t j = 0; j < size; j++) {
        const lanes v = lanes_load(x + HONE_TILE * j);
        extreme = lanes_choose(lanes_less(lanes_abs(extreme), lanes_abs(v)), v, extreme);
    }
    return extreme;
}

static void symmetric_fit_lanes(const hone_symmetric_grid *grid, const float *x, const float *w, size_t size,
                                float *scale)
{
    const lanes zero = lanes_all(0.0f), one = lanes_all(1.0f);
    const struct lane_codes codes = lane_codes_of(grid->codes);
    const lanes per_extreme = one / extreme_of_lanes(x, size);
    struct symmetric_line best = {zero, zero};
    for (int i = 0; i < grid->n_ratios; i++) {
        const lanes inverse = per_extreme * lanes_all(grid->ratios[i]);
        const struct lane_sums a = symmetric_lane_sums(&codes, x, w, size, inverse);
        best = symmetric_better(best, symmetric_line_for(&a));
        const struct lane_sums b = symmetric_lane_sums(&codes, x, w, size, zero - inverse);
        best = symmetric_better(best, symmetric_line_for(&b));
    }
    for (int r = 0; r < grid->n_rounds; r++) {
        const struct lane_sums s = symmetric_lane_sums(&codes, x, w, size, best.inverse);
        best = symmetric_better(best, symmetric_line_for(&s));
    }
    lanes_store(scale, lanes_choose(lanes_less(zero, best.gain), one / best.inverse, zero));
}

static void symmetric_fit(const hone_symmetric_grid *grid, const hone_tile *t, hone_tile_floats *scale)
{
    for (size_t g = 0; g < HONE_TILE; g += HONE_LANES) {
        if (t->size == 16)
            symmetric_fit_lanes(grid, t->x + g, t->w + g, 16, scale->of + g);
        else
            symmetric_fit_lanes(grid, t->x + g, t->w + g, 32, scale->of + g);
    }
}

static inline lanes symmetric_error_lanes(const struct lane_codes *c, const float *x, const float *w, size_t size,
                                          lanes s)
{
    const lanes inverse = inverse_of(s);
    lanes error = lanes_all(0.0f);
    for (size_t j = 0; j < size; j++) {
        const lanes v = lanes_load(x + HONE_TILE * j);
        const lanes diff = v - nearest_value(c, v * inverse) * s;
        error = error + lanes_load(w + HONE_TILE * j) * (diff * diff);
    }
    return error;
}

/* The doubled E2M1 value nearest to a magnitude. They lie 1 apart up to 4, 2 up to 8, then 4: rounding by adding 2^23
 * of these steps, which is 2^22 of the power of two at or below the magnitude, but at least of 2. */
static inline lanes nearest_e2m1(lanes v)
{
    const lanes most = lanes_min(v, lanes_all(12.0f));
    const lane_bits power = bits_of(lanes_max(most, lanes_all(2.0f))) & 0x7f800000u;
    const lanes big = lanes_from(power + (22u << 23));
    return (most + big) - big;
}

static inline lanes e2m1_error_lanes(const float *x, const float *w, size_t size, lanes scale)
{
    const lanes inverse = inverse_of(scale);
    lanes error = lanes_all(0.0f);
    for (size_t j = 0; j < size; j++) {
        const lanes v = lanes_abs(lanes_load(x + HONE_TILE * j));
        const lanes diff = v - nearest_e2m1(v * inverse) * scale;
        error = error + lanes_load(w + HONE_TILE * j) * (diff * diff);
    }
    return error;
}

/* hone_e8m0_half() and hone_ue4m3_half() for the codes that encoders write. */
static inline lanes small_scale_lanes(hone_scale_kind kind, lane_bits code)
{
    const lanes number = lanes_of_bits(code);
    if (kind == HONE_SCALES_E8M0)
        return lanes_choose(lanes_less(number, lanes_all(2.0f)), lanes_from(0x00200000u + (code << 21)),
                            lanes_from((code << 23) - (1u << 23)));
    return lanes_choose(lanes_less(number, lanes_all(8.0f)), number * lanes_all(0x1p-10f),
                        lanes_from((code << 20) + (119u << 23)));
}

static void small_scales(hone_scale_kind kind, const uint32_t codes[HONE_TILE], const hone_tile_floats *factor,
                         hone_tile_floats *scale)
{
    for (size_t g = 0; g < HONE_TILE; g += HONE_LANES)
        lanes_store(scale->of + g, small_scale_lanes(kind, bits_load(codes + g)) * lanes_load(factor->of + g));
}

static void e2m1_search(const hone_scale_range *range, const hone_tile *t, const hone_tile_floats *factor,
                        uint32_t codes[HONE_TILE], hone_tile_floats *scale)
{
    const lanes zero = lanes_all(0.0f), big = lanes_all(12582912.0f), most = lanes_all((float)range->most);
    for (size_t g = 0; g < HONE_TILE; g += HONE_LANES) {
        const lanes start = lanes_of_bits(bits_load(codes + g)), f = lanes_load(factor->of + g);
        lanes best = zero, best_scale = zero, least = lanes_all(INFINITY);
        for (int step = -range->below; step <= range->above; step++) {
            const lanes trial = lanes_min(lanes_max(start + lanes_all((float)step), zero), most);
            const lanes s = small_scale_lanes(range->kind, bits_of_sum(trial + big)) * f;
            const lanes e = e2m1_error_lanes(t->x + g, t->w + g, t->size, s);
            const lane_mask better = lanes_less(e, least);
            best = lanes_choose(better, trial, best);
            best_scale = lanes_choose(better, s, best_scale);
            least = lanes_choose(better, e, least);
        }
        bits_store(codes + g, bits_of_sum(best + big));
        lanes_store(scale->of + g, best_scale);
    }
}

static void symmetric_step(hone_code_set set, const hone_step_range *range, const hone_tile *t,
                           const hone_tile_floats *d, const hone_tile_floats *scale, hone_symmetric_steps *out)
{
    const lanes least = lanes_all((float)range->lo), most = lanes_all((float)range->hi), one = lanes_all(1.0f);
    const struct lane_codes c = lane_codes_of(set);
    for (size_t g = 0; g < HONE_TILE; g += HONE_LANES) {
        const lanes unit = lanes_load(d->of + g), ratio = lanes_load(scale->of + g) * inverse_of(unit);
        const lanes first = lanes_round_within(ratio, least, most);
        const lanes toward = lanes_choose(lanes_less(first, ratio), one, lanes_all(-1.0f));
        lanes best = first, best_error = lanes_all(INFINITY);
        for (int trial = 0; trial < range->n_trials; trial++) {
            const lanes steps = lanes_min(lanes_max(first + toward * lanes_all(outward[trial]), least), most);
            const lanes e = symmetric_error_lanes(&c, t->x + g, t->w + g, t->size, steps * unit);
            const lane_mask better = lanes_less(e, best_error);
            best = lanes_choose(better, steps, best);
            best_error = lanes_choose(better, e, best_error);
        }
        lanes_store(out->scale.of + g, best);
        lanes_store(out->error.of + g, best_error);
    }
}

static void symmetric_sums(hone_code_set set, const hone_tile *t, const hone_tile_floats *scale, hone_tile_sums *out)
{
    const struct lane_codes c = lane_codes_of(set);
    for (size_t g = 0; g < HONE_TILE; g += HONE_LANES) {
        const struct lane_sums s =
            symmetric_lane_sums(&c, t->x + g, t->w + g, t->size, inverse_of(lanes_load(scale->of + g)));
        lanes_store(out->ll.of + g, s.ll);
        lanes_store(out->xl.of + g, s.xl);
    }
}

static void codes(int lo, int hi, const float *x, size_t n_groups, size_t size, const float *scale, const float *min,
                  uint8_t *out)
{
    const lanes low = lanes_all((float)lo), high = lanes_all((float)hi);
    for (size_t g = 0; g < n_groups; g++) {
        const lanes inverse = inverse_of(lanes_all(scale[g])), base = lanes_all(min ? min[g] : 0.0f);
        for (size_t j = g * size; j < (g + 1) * size; j += HONE_LANES)
            lanes_store_bytes(out + j, lanes_round_within((lanes_load(x + j) - base) * inverse, low, high) - low);
    }
}

static void table_codes(hone_code_kind kind, const float *x, size_t n_groups, size_t size, const float *scale,
                        uint8_t *out)
{
    const lane_table table = lanes_table(hone_code_tables[kind].tree, hone_code_tables[kind].codes);
    for (size_t g = 0; g < n_groups; g++) {
        const lanes inverse = inverse_of(lanes_all(scale[g]));
        for (size_t j = g * size; j < (g + 1) * size; j += HONE_LANES)
            lanes_store_bytes(out + j, lanes_lookup(&table, lanes_load(x + j) * inverse));
    }
}

static float fold(float v[HONE_TILE])
{
    for (int half = HONE_TILE / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            v[i] += v[i + half];
    return v[0];
}

static float error(const float *x, const float *y, const float *w, size_t n, float factor)
{
    float sums[HONE_TILE] = {0.0f};
    const lanes f = lanes_all(factor);
    for (size_t g = 0; g < HONE_TILE; g += HONE_LANES) {
        lanes sum = lanes_all(0.0f);
        for (size_t i = g; i < n; i += HONE_TILE) {
            const lanes diff = (lanes_load(x + i) - lanes_load(y + i)) * f;
            const lanes square = diff * diff;
            if (w)
                sum = sum + lanes_load(w + i) * square;
            else
                sum = sum + square;
        }
        lanes_store(sums + g, sum);
    }
    return fold(sums);
}

/* How elements of a run are coded. */
struct lane_line {
    lanes base, inverse, lo, hi;
};

/* The partial sums of one lane's elements. */
struct run_lanes {
    lanes w, x, l, ll, xl;
};

static inline void add_to_run(struct run_lanes *s, const struct lane_line *line, lanes x, lanes w)
{
    const lanes l = lanes_round_within((x - line->base) * line->inverse, line->lo, line->hi);
    const lanes wl = w * l;
    s->w = s->w + w;
    s->x = s->x + w * x;
    s->l = s->l + wl;
    s->ll = s->ll + wl * l;
    s->xl = s->xl + wl * x;
}

/* The elements behind the last whole sixteen; those that are missing weigh nothing. */
struct run_tail {
    float x[HONE_TILE], w[HONE_TILE];
};

static struct run_tail tail_of(const hone_run *run, size_t whole)
{
    struct run_tail t = {{0}, {0}};
    for (size_t i = whole; i < run->n; i++) {
        t.x[i - whole] = run->x[i] * run->x_factor - run->shift;
        t.w[i - whole] = run->w ? (run->w[i] + run->w_plus) * run->w_factor : 1.0f;
    }
    return t;
}

static void run_sums(const hone_run *run, float base, float inverse, int lo, int hi, hone_run_sums *out)
{
    const struct lane_line line = {
        .base = lanes_all(base), .inverse = lanes_all(inverse), .lo = lanes_all((float)lo), .hi = lanes_all((float)hi)};
    const lanes factor = lanes_all(run->x_factor), shift = lanes_all(run->shift), zero = lanes_all(0.0f);
    const lanes w_factor = lanes_all(run->w_factor), plus = lanes_all(run->w_plus);
    const size_t whole = run->n / HONE_TILE * HONE_TILE;
    const struct run_tail tail = tail_of(run, whole);
    float w[HONE_TILE], x[HONE_TILE], l[HONE_TILE], ll[HONE_TILE], xl[HONE_TILE];
    for (size_t g = 0; g < HONE_TILE; g += HONE_LANES) {
        struct run_lanes s = {zero, zero, zero, zero, zero};
        for (size_t i = g; i < whole; i += HONE_TILE) {
            lanes weight = lanes_all(1.0f);
            if (run->w)
                weight = (lanes_load(run->w + i) + plus) * w_factor;
            add_to_run(&s, &line, lanes_load(run->x + i) * factor - shift, weight);
        }
        if (whole < run->n)
            add_to_run(&s, &line, lanes_load(tail.x + g), lanes_load(tail.w + g));
        lanes_store(w + g, s.w);
        lanes_store(x + g, s.x);
        lanes_store(l + g, s.l);
        lanes_store(ll + g, s.ll);
        lanes_store(xl + g, s.xl);
    }
    *out = (hone_run_sums){fold(w), fold(x), fold(l), fold(ll), fold(xl)};
}

#include "quantize/best_blocks_impl.h"

const hone_best_kernels HONE_BEST_KERNELS = {
    .level = HONE_BEST_LEVEL,
    .largest = largest,
    .load = load,
    .load_groups = load_groups,
    .affine_fit = affine_fit,
    .affine_step = affine_step,
    .affine_sums = affine_sums,
    .symmetric_fit = symmetric_fit,
    .symmetric_step = symmetric_step,
    .symmetric_sums = symmetric_sums,
    .equal_fit = equal_fit,
    .soften = soften,
    .small_scales = small_scales,
    .e2m1_search = e2m1_search,
    .to_halves = to_halves,
    .from_halves = from_halves,
    .pack = pack,
    .packed_error = packed_error,
    .codes = codes,
    .table_codes = table_codes,
    .error = error,
    .run_sums = run_sums,
};

static void best_q4_0(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_best_q4_0(&HONE_BEST_KERNELS, src, ncols, importance, dst);
}

static void best_q4_1(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_best_q4_1(&HONE_BEST_KERNELS, src, ncols, importance, dst);
}

static void best_q5_0(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_best_q5_0(&HONE_BEST_KERNELS, src, ncols, importance, dst);
}

static void best_q5_1(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_best_q5_1(&HONE_BEST_KERNELS, src, ncols, importance, dst);
}

static void best_q2_k(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_best_q2_k(&HONE_BEST_KERNELS, src, ncols, importance, dst);
}

static void best_q3_k(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_best_q3_k(&HONE_BEST_KERNELS, src, ncols, importance, dst);
}

static void best_q6_k(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_best_q6_k(&HONE_BEST_KERNELS, src, ncols, importance, dst);
}

static void best_q4_k(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_best_q4_k(&HONE_BEST_KERNELS, src, ncols, importance, dst);
}

static void best_q5_k(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_best_q5_k(&HONE_BEST_KERNELS, src, ncols, importance, dst);
}

static void best_iq4_nl(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_best_iq4_nl(&HONE_BEST_KERNELS, src, ncols, importance, dst);
}

static void best_iq4_xs(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_best_iq4_xs(&HONE_BEST_KERNELS, src, ncols, importance, dst);
}

static void best_mxfp4(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_best_mxfp4(&HONE_BEST_KERNELS, src, ncols, importance, dst);
}

static void best_nvfp4(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_best_nvfp4(&HONE_BEST_KERNELS, src, ncols, importance, dst);
}

static void best_tq1_0(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_best_tq1_0(&HONE_BEST_KERNELS, src, ncols, importance, dst);
}

static void best_tq2_0(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_best_tq2_0(&HONE_BEST_KERNELS, src, ncols, importance, dst);
}

const hone_encode_fn HONE_BEST_ENCODERS[HONE_N_DTYPES] = {
    [HONE_Q4_0] = best_q4_0,   [HONE_Q4_1] = best_q4_1,     [HONE_Q5_0] = best_q5_0,     [HONE_Q5_1] = best_q5_1,
    [HONE_Q2_K] = best_q2_k,   [HONE_Q3_K] = best_q3_k,     [HONE_Q6_K] = best_q6_k,     [HONE_Q4_K] = best_q4_k,
    [HONE_Q5_K] = best_q5_k,   [HONE_IQ4_NL] = best_iq4_nl, [HONE_IQ4_XS] = best_iq4_xs, [HONE_MXFP4] = best_mxfp4,
    [HONE_NVFP4] = best_nvfp4, [HONE_TQ1_0] = best_tq1_0,   [HONE_TQ2_0] = best_tq2_0,
};
