/* SPDX-License-Identifier: MIT */
/* The kernels for types whose blocks are single groups: a part of best_kernels_impl.h. */
/* One factor for each group, by its largest magnitude. False if all are 1. */
static bool factors_of(lanes most, float *factor)
{
    bool any = false;
    lanes_store(factor, most);
    for (size_t g = 0; g < HONE_LANES; g++) {
        factor[g] = hone_best_factor(factor[g]);
        any = any || factor[g] != 1.0f;
    }
    return any;
}

static inline lanes largest_of_lanes(const float *x, size_t size)
{
    lanes most = lanes_all(0.0f);
    for (size_t j = 0; j < size; j++)
        most = lanes_max(lanes_abs(lanes_load(x + HONE_TILE * j)), most);
    return most;
}

static inline void multiply_lanes(float *x, size_t size, const float *factor)
{
    const lanes f = lanes_load(factor);
    for (size_t j = 0; j < size; j++)
        lanes_store(x + HONE_TILE * j, lanes_load(x + HONE_TILE * j) * f);
}

static void load_groups(const float *x, const float *w, size_t n_groups, size_t size, hone_tile *t,
                        hone_tile_floats *factor, float *weights)
{
    t->size = size;
    load_part(x, n_groups, size, t->x);
    if (w)
        load_part(w, n_groups, size, weights);
    for (size_t g = 0; g < HONE_TILE; g += HONE_LANES) {
        if (factors_of(largest_of_lanes(t->x + g, size), factor->of + g))
            multiply_lanes(t->x + g, size, factor->of + g);
        lanes weight = lanes_all(1.0f), w_factor = weight, plus = lanes_all(0.0f);
        if (w) {
            float factors[HONE_LANES];
            const lanes most = largest_of_lanes(weights + g, size);
            (void)factors_of(most, factors);
            w_factor = lanes_load(factors);
            plus = lanes_choose(lanes_less(plus, most), most * lanes_all(0x1p-30f), weight);
        }
        for (size_t i = g; i < HONE_TILE * size; i += HONE_TILE) {
            if (w)
                weight = (lanes_load(weights + i) + plus) * w_factor;
            lanes_store(t->w + i, weight);
        }
    }
}

static void soften(hone_tile *t, float softening)
{
    const lanes zero = lanes_all(0.0f), one = lanes_all(1.0f), gain = lanes_all(softening * (float)t->size);
    for (size_t g = 0; g < HONE_TILE; g += HONE_LANES) {
        lanes sum = zero;
        for (size_t i = g; i < HONE_TILE * t->size; i += HONE_TILE)
            sum = sum + lanes_load(t->x + i) * lanes_load(t->x + i);
        const lanes per_square = lanes_choose(lanes_less(zero, sum), gain / sum, zero);
        for (size_t i = g; i < HONE_TILE * t->size; i += HONE_TILE)
            lanes_store(t->w + i, one / (one + per_square * (lanes_load(t->x + i) * lanes_load(t->x + i))));
    }
}

static void to_halves(const hone_tile_floats *scale, const hone_tile_floats *factor, uint16_t halves[HONE_TILE],
                      hone_tile_floats *rounded)
{
    const lanes most = lanes_all(65504.0f), least = lanes_all(-65504.0f);
    for (size_t g = 0; g < HONE_TILE; g += HONE_LANES) {
        const lanes f = lanes_load(factor->of + g), real = lanes_load(scale->of + g) / f;
        lanes_store_halves(halves + g, lanes_min(lanes_max(real, least), most));
        lanes_store(rounded->of + g, lanes_load_halves(halves + g) * f);
    }
}

static void from_halves(const uint16_t halves[HONE_TILE], const hone_tile_floats *factor, hone_tile_floats *scale)
{
    for (size_t g = 0; g < HONE_TILE; g += HONE_LANES)
        lanes_store(scale->of + g, lanes_load_halves(halves + g) * lanes_load(factor->of + g));
}

/*
 * The search of equal weights and whole codes in 16-bit arithmetic: x is counted in the 32767th part of its largest
 * magnitude, and a ratio in the 2^fraction_bits-th part of a code.
 */
struct equal_search {
    lane_pairs x[HONE_TILE_SIZE_MAX / 2];
    size_t n_pairs;
    int nmax, fraction_bits;
};

/* Sums over codes; their quotient is the best scale. */
struct pair_sums {
    lane_sums xl, ll;
};

/* The best so far, and what it takes off the sum of squares. */
struct equal_best {
    lanes xl, ll, gain;
};

static const float pair_unit = 32767.0f;

static inline lane_pairs pair_codes(const struct equal_search *s, lane_pairs x, lane_pairs ratio)
{
    return pairs_multiply(pairs_multiply(x, ratio), pairs_all(1 << (15 - s->fraction_bits)));
}

static inline void add_pairs(struct pair_sums *s, lane_pairs x, lane_pairs l)
{
    s->xl += pairs_dot(x, l);
    s->ll += pairs_dot(l, l);
}

static inline void equal_try(struct equal_best *best, const struct pair_sums *s, lanes sign)
{
    const lanes xl = lanes_of_sums(s->xl), ll = lanes_of_sums(s->ll), gain = xl * xl / ll;
    const lane_mask better = lanes_less(best->gain, gain);
    best->xl = lanes_choose(better, xl * sign, best->xl);
    best->ll = lanes_choose(better, ll, best->ll);
    best->gain = lanes_choose(better, gain, best->gain);
}

/* Codes that nothing cuts off: those of the opposite scale only differ in sign. */
static inline void equal_inside(const struct equal_search *s, lane_pairs ratio, struct equal_best *best)
{
    struct pair_sums sums = {0};
    for (size_t i = 0; i < s->n_pairs; i++)
        add_pairs(&sums, s->x[i], pair_codes(s, s->x[i], ratio));
    equal_try(best, &sums, lanes_all(1.0f));
}

static inline void equal_both(const struct equal_search *s, lane_pairs ratio, struct equal_best *best)
{
    struct pair_sums up = {0}, down = {0};
    const lane_pairs below = pairs_all(-s->nmax), above = pairs_all(s->nmax);
    const lane_pairs least = pairs_all(1 - s->nmax), most = pairs_all(s->nmax - 1);
    for (size_t i = 0; i < s->n_pairs; i++) {
        const lane_pairs l = pair_codes(s, s->x[i], ratio);
        add_pairs(&up, s->x[i], pairs_within(l, below, most));
        add_pairs(&down, s->x[i], pairs_within(l, least, above));
    }
    equal_try(best, &up, lanes_all(1.0f));
    equal_try(best, &down, lanes_all(-1.0f));
}

/* Codes for the scale that the best codes want. */
static inline void equal_again(const struct equal_search *s, struct equal_best *best)
{
    const lanes limit = lanes_all(pair_unit), unit = lanes_all((float)(1 << 15) * (float)(1 << s->fraction_bits));
    const lanes wanted = lanes_round_within(unit * best->ll / best->xl, lanes_all(-pair_unit), limit);
    const lane_bits half = bits_of_sum(wanted + lanes_all(12582912.0f)) & 0xffffu;
    const lane_pairs ratio = half | half << 16;
    const lane_pairs below = pairs_all(-s->nmax), most = pairs_all(s->nmax - 1);
    struct pair_sums sums = {0};
    for (size_t i = 0; i < s->n_pairs; i++)
        add_pairs(&sums, s->x[i], pairs_within(pair_codes(s, s->x[i], ratio), below, most));
    equal_try(best, &sums, lanes_all(1.0f));
}

static void equal_fit_lanes(const hone_symmetric_grid *grid, const float *x, size_t size, float *scale)
{
    struct equal_search s;
    s.n_pairs = size / 2;
    s.nmax = grid->codes.nmax;
    s.fraction_bits = grid->codes.nmax > 8 ? 10 : 11;
    const lanes zero = lanes_all(0.0f), big = lanes_all(12582912.0f), most = largest_of_lanes(x, size);
    const lanes per_unit = lanes_choose(lanes_less(zero, most), lanes_all(pair_unit) / most, zero);
    for (size_t i = 0; i < s.n_pairs; i++) {
        const lane_bits low = bits_of_sum(lanes_load(x + HONE_TILE * 2 * i) * per_unit + big);
        const lane_bits high = bits_of_sum(lanes_load(x + HONE_TILE * (2 * i + 1)) * per_unit + big);
        s.x[i] = (low & 0xffffu) | high << 16;
    }
    struct equal_best best = {zero, zero, zero};
    for (int i = 0; i < grid->n_ratios; i++) {
        const lane_pairs ratio = pairs_all((int)(grid->ratios[i] * (float)(1 << s.fraction_bits)));
        if (grid->ratios[i] < (float)s.nmax - 0.5f)
            equal_inside(&s, ratio, &best);
        else
            equal_both(&s, ratio, &best);
    }
    for (int i = 0; i < grid->n_rounds; i++)
        equal_again(&s, &best);
    const lanes found = best.xl / best.ll * (most / lanes_all(pair_unit));
    lanes_store(scale, lanes_choose(lanes_less(zero, best.gain), found, zero));
}

static void equal_fit(const hone_symmetric_grid *grid, const hone_tile *t, hone_tile_floats *scale)
{
    for (size_t g = 0; g < HONE_TILE; g += HONE_LANES)
        equal_fit_lanes(grid, t->x + g, t->size, scale->of + g);
}

/* How a group's elements are coded, and the error that grows with each. */
struct packed_lanes {
    lanes scale, min, inverse, lo, hi;
    lane_bits first; /* what is taken off whole codes */
    lane_table values, codes;
    lanes error;
};

static inline struct packed_lanes packed_lanes_of(const hone_packing *p, const hone_tile_blocks *b, size_t g)
{
    const hone_code_table *t = &hone_code_tables[p->kind];
    struct packed_lanes s = {
        .scale = lanes_load(b->scale.of + g), .min = lanes_load(b->min.of + g), .error = lanes_all(0.0f)};
    s.inverse = inverse_of(s.scale);
    s.lo = lanes_all((float)p->lo);
    s.hi = lanes_all((float)p->hi);
    s.first = bits_of_sum(s.lo + lanes_all(12582912.0f));
    s.values = lanes_table(t->tree, t->values);
    s.codes = lanes_table(t->tree, t->codes);
    return s;
}

/* w may be NULL: 1. */
static inline void add_error(struct packed_lanes *s, lanes x, const float *w, lanes value)
{
    const lanes diff = x - (value * s->scale + s->min), square = diff * diff;
    if (w)
        s->error = s->error + lanes_load(w) * square;
    else
        s->error = s->error + square;
}

/* The code of one element of each group. */
static inline lane_bits pack_element(struct packed_lanes *s, hone_code_kind kind, const float *x, const float *w)
{
    const lanes big = lanes_all(12582912.0f), v = lanes_load(x), target = (v - s->min) * s->inverse;
    if (kind == HONE_CODES_WHOLE) {
        const lanes sum = lanes_min(lanes_max(target, s->lo), s->hi) + big;
        add_error(s, v, w, sum - big);
        return bits_of_sum(sum) - s->first;
    }
    const lane_bits place = lanes_find(&s->values, target);
    add_error(s, v, w, lanes_entry(&s->values, place));
    return bits_of_sum(lanes_entry(&s->codes, place) + big);
}

/* Inlined for each kind of codes. */
static inline void pack_lanes(struct packed_lanes *s, hone_code_kind kind, bool fifth, const hone_tile *t,
                              const float *w, size_t g, hone_tile_blocks *b)
{
    const size_t half = t->size / 2;
    lane_bits fifths = bits_of(lanes_all(0.0f));
    for (size_t k = 0; k < half / 4; k++) {
        lane_bits word = bits_of(lanes_all(0.0f));
        LANES_UNROLL
        for (size_t i = 0; i < 4; i++) {
            const size_t j = 4 * k + i, low_at = HONE_TILE * j + g, high_at = HONE_TILE * (j + half) + g;
            const lane_bits low = pack_element(s, kind, t->x + low_at, w ? w + low_at : NULL);
            const lane_bits high = pack_element(s, kind, t->x + high_at, w ? w + high_at : NULL);
            if (fifth) {
                fifths |= low >> 4 << j | high >> 4 << (j + half);
                word |= (low & 15) << 8 * i | (high & 15) << (8 * i + 4);
            } else {
                word |= low << 8 * i | high << (8 * i + 4);
            }
        }
        bits_store(b->nibbles[k] + g, word);
    }
    if (fifth)
        bits_store(b->fifths + g, fifths);
}

static void pack(const hone_packing *p, const hone_tile *t, const float *w, hone_tile_blocks *b)
{
    for (size_t g = 0; g < HONE_TILE; g += HONE_LANES) {
        struct packed_lanes s = packed_lanes_of(p, b, g);
        if (p->kind != HONE_CODES_WHOLE)
            pack_lanes(&s, HONE_CODES_E2M1, false, t, w, g, b);
        else if (p->hi - p->lo > 15)
            pack_lanes(&s, HONE_CODES_WHOLE, true, t, w, g, b);
        else
            pack_lanes(&s, HONE_CODES_WHOLE, false, t, w, g, b);
        lanes_store(b->error.of + g, s.error);
    }
}

static inline void unpack_lanes(struct packed_lanes *s, bool fifth, const hone_tile *t, const float *w, size_t g,
                                const hone_tile_blocks *b)
{
    const size_t half = t->size / 2;
    const lane_bits fifths = bits_load(b->fifths + g);
    for (size_t j = 0; j < t->size; j++) {
        const size_t at = HONE_TILE * j + g, k = j % half;
        const lane_bits code = bits_load(b->nibbles[k / 4] + g) >> (8 * (k % 4) + (j < half ? 0 : 4));
        lanes value;
        if (fifth)
            value = lanes_of_bits((code & 15) | (fifths >> j & 1) << 4) + s->lo;
        else
            value = lanes_entry(&s->values, code);
        add_error(s, lanes_load(t->x + at), w ? w + at : NULL, value);
    }
}

/* What each nibble stands for. */
static void nibble_values(const hone_packing *p, float values[16])
{
    const hone_code_table *t = &hone_code_tables[p->kind];
    for (int code = 0; code < 16; code++)
        values[code] = p->kind == HONE_CODES_WHOLE ? (float)(p->lo + code) : 0.0f;
    for (int i = 0; i < 16 && p->kind != HONE_CODES_WHOLE; i++)
        values[(int)t->codes[i]] = t->values[i];
}

static void packed_error(const hone_packing *p, const hone_tile *t, const float *w, hone_tile_blocks *b)
{
    float values[16];
    nibble_values(p, values);
    for (size_t g = 0; g < HONE_TILE; g += HONE_LANES) {
        struct packed_lanes s = packed_lanes_of(p, b, g);
        s.values = lanes_table(values, values);
        if (p->hi - p->lo > 15)
            unpack_lanes(&s, true, t, w, g, b);
        else
            unpack_lanes(&s, false, t, w, g, b);
        lanes_store(b->error.of + g, s.error);
    }
}
