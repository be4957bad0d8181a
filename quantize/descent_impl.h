/* SPDX-License-Identifier: MIT */
/*
 * The descent of the reference quantizer to q3_k over lanes: a part of lane_encoders_impl.h.
 *
 * In the definition every element in turn, over and over, divides to find the code that it wants, and one in fifty
 * wants another than it has. Here a test without a division per element tells which elements may want another; only
 * those take the exact step, in the same order. Four groups of five have none from the start; the others are put aside
 * and searched together.
 */

enum { DESCENT_SIZE = 16, MAX_SWEEPS = 5 };

struct descent_batch {
    lanes x[DESCENT_SIZE], l[DESCENT_SIZE];
    lanes terms[DESCENT_SIZE]; /* w x l, w = x^2 */
    struct sums s;
    lanes largest; /* |x| */
};

/* The element of largest magnitude. Only where two differ in sign alone is it looked for: it is the first. */
static inline lanes extreme_of(const lanes x[DESCENT_SIZE])
{
    lanes lowest = x[0], highest = x[0];
    LANES_UNROLL
    for (size_t j = 1; j < DESCENT_SIZE; j++) {
        lowest = lanes_min(x[j], lowest);
        highest = lanes_max(x[j], highest);
    }
    const lanes below = -lowest, one = lanes_all(1.0f), zero = lanes_all(0.0f);
    if (lanes_any(lanes_less(zero, lanes_choose(lanes_differ(below, highest), zero, one))))
        return signed_extreme(x, DESCENT_SIZE);
    return lanes_choose(lanes_less(highest, below), lowest, highest);
}

/* The code under the scale that gives the extreme the code -nmax: no other code is below that. */
static inline lanes first_code(int nmax, lanes x, lanes inverse)
{
    return lanes_round(lanes_min(inverse * x, lanes_all((float)(nmax - 1))));
}

/* The first codes and their sums. Groups that are tiny compute what nobody reads. */
static inline void descent_start(int nmax, lanes inverse, struct descent_batch *b)
{
    const lanes zero = lanes_all(0.0f);
    struct sums s = {zero, zero};
    LANES_UNROLL
    for (size_t j = 0; j < DESCENT_SIZE; j++) {
        // cppcheck-suppress uninitvar ; transpose_groups() fills x
        const lanes x = b->x[j], w = x * x, l = first_code(nmax, x, inverse);
        b->l[j] = l;
        b->terms[j] = w * x * l;
        s.xl = s.xl + b->terms[j];
        s.ll = s.ll + w * l * l;
    }
    b->s = s;
}

/*
 * Which elements cannot move.
 *
 * With code l and the term t = w x l, an element wants the code nearest to q = x (ll - w l^2) / (xl - t), provided that
 * xl > t. As x w l^2 = l t,
 *
 *   q - l = (x ll - l xl) / (xl - t),
 *
 * and |q - l| < h just where |z - l| + h t / xl < h, with z = x ll / xl. For the first and the last code, what lies
 * beyond them counts as the code itself: z is clamped.
 *
 * The test in floats is |z - l| + h t / xl < h - 2^-8 with h = 1/2 - 2^-8. That leaves room for all rounding, of the
 * test and of the step that it stands for. Let u = 2^-24 and |l| <= 64; rest_test_of() sees to it that nothing
 * overflows and that underflow is far below u xl. In q the products of x and l have errors of a few u of themselves,
 * and |t| <= xl + (xl - t); so x ll - l xl is found with an error of at most
 *
 *   u (13 |l| + 4 |z|) (xl + (xl - t)) < 2^-13 (xl + (xl - t)),
 *
 * as long as z is not clamped; the test adds less than that again. If it holds, then
 *
 *   h t < (h - 2^-9) xl, so that xl - t > 2^-8 xl > 0, and
 *   |q - l| (xl - t) < h (xl - t) - 2^-8 xl + 2^-12 (xl + (xl - t)) < (1/2 - 2^-9) (xl - t),
 *
 * and q is rounded to l. Where z is clamped to l, q lies beyond l but for u (13 |l| + 4 |z|) (xl / (xl - t) + 1) < 1/8,
 * and not beyond 2^20, since |z| < 2^10: there, too, it becomes l.
 */
struct rest_test {
    lanes ratio, share; /* ll / xl, h / xl; share is NaN where the test cannot tell, so that it fails */
};

static const float rest_half = 0.5f - 0x1p-8f, rest_bound = 0.5f - 0x1p-7f;

static inline struct rest_test rest_test_of(struct sums s, lanes largest)
{
    const lanes inverse = lanes_all(1.0f) / s.xl, ratio = s.ll * inverse;
    const lane_mask inside = lanes_both(lanes_less(lanes_all(0x1p-90f), s.xl), lanes_less(largest, lanes_all(0x1p30f)));
    const lane_mask ordinary = lanes_both(inside, lanes_less(largest * ratio, lanes_all(0x1p10f)));
    return (struct rest_test){
        .ratio = ratio, .share = lanes_choose(ordinary, lanes_all(rest_half) * inverse, lanes_all(__builtin_nanf("")))};
}

/* Where an element cannot move. */
static inline lane_mask cannot_move(int nmax, struct rest_test t, lanes x, lanes l, lanes term)
{
    const lanes lo = lanes_all(-(float)nmax), hi = lanes_all((float)(nmax - 1));
    const lanes z = lanes_min(lanes_max(x * t.ratio, lo), hi);
    return lanes_less(lanes_abs(z - l) + t.share * term, lanes_all(rest_bound));
}

/* Bit j is set where element j may move, as a number. */
static inline lanes restless_elements(int nmax, const struct descent_batch *b)
{
    const struct rest_test t = rest_test_of(b->s, b->largest);
    const lanes zero = lanes_all(0.0f);
    lanes bits = zero;
    LANES_UNROLL
    for (size_t j = 0; j < DESCENT_SIZE; j++) {
        const lane_mask still = cannot_move(nmax, t, b->x[j], b->l[j], b->terms[j]);
        bits = bits + lanes_choose(still, zero, lanes_all((float)(1u << j)));
    }
    return bits;
}

/* Groups that may move, to be searched together. */
enum { RESTLESS_ENOUGH = 64, RESTLESS_MAX = RESTLESS_ENOUGH + HONE_LANES };

/* A step of a sweep is about one element; steps are counted over the sweeps, from 0. */
struct restless {
    size_t n;
    size_t at[RESTLESS_MAX]; /* which group */
    float l[RESTLESS_MAX][DESCENT_SIZE];
    float xl[RESTLESS_MAX], ll[RESTLESS_MAX], largest[RESTLESS_MAX];
    unsigned elements[RESTLESS_MAX]; /* bit j: element j may move */
    int step[RESTLESS_MAX];          /* the next that may move anything */
    int moved[RESTLESS_MAX];         /* the last that did */
};

/*
 * From step `from` on, the next whose element may move. False if the search ends before it: with the last sweep, or
 * because a whole sweep moved nothing. Sixteen steps tell that, wherever they begin: the sums do not change.
 */
static inline bool find_step(struct restless *r, size_t k, int from)
{
    const unsigned elements = r->elements[k];
    if (elements == 0)
        return false;
    const unsigned cycle = (elements | elements << DESCENT_SIZE) >> (from % DESCENT_SIZE);
    r->step[k] = from + __builtin_ctz(cycle);
    return r->step[k] <= r->moved[k] + DESCENT_SIZE && r->step[k] < MAX_SWEEPS * DESCENT_SIZE;
}

/* One element of each group. */
struct descent_step {
    float x[HONE_LANES], l[HONE_LANES], code[HONE_LANES], xl[HONE_LANES], ll[HONE_LANES], largest[HONE_LANES];
    float ratio[HONE_LANES], share[HONE_LANES]; /* rest_test */
    unsigned moves;                             /* bit i: group i */
};

/* Lets each element take the code nearest under the scale that the others of its group want. */
static inline void take_step(int nmax, struct descent_step *d)
{
    const lanes lo = lanes_all(-(float)nmax), hi = lanes_all((float)(nmax - 1)), zero = lanes_all(0.0f);
    const lanes x = lanes_load(d->x), l = lanes_load(d->l), w = x * x, wx = w * x;
    struct sums s = {lanes_load(d->xl), lanes_load(d->ll)};
    const struct sums others = {s.xl - wx * l, s.ll - w * l * l};
    const lanes code = lanes_nearest(x * others.ll / others.xl, lo, hi);
    const struct sums moved = {others.xl + wx * code, others.ll + w * code * code};
    const lane_mask possible = lanes_both(lanes_less(zero, others.xl), lanes_less(zero, moved.ll));
    const lane_mask gains = lanes_less(s.xl * s.xl * moved.ll, moved.xl * moved.xl * s.ll);
    const lane_mask move = lanes_both(lanes_both(possible, lanes_differ(code, l)), gains);
    s.xl = lanes_choose(move, moved.xl, s.xl);
    s.ll = lanes_choose(move, moved.ll, s.ll);
    const struct rest_test t = rest_test_of(s, lanes_load(d->largest));
    lanes_store(d->code, code);
    lanes_store(d->xl, s.xl);
    lanes_store(d->ll, s.ll);
    lanes_store(d->ratio, t.ratio);
    lanes_store(d->share, t.share);
    d->moves = lanes_bits(move);
}

/* Element j of a group gets a code; returns which elements may move then. */
static inline unsigned set_code(int nmax, const float *x, float *l, int j, float code, float ratio, float share)
{
    static const float indices[DESCENT_SIZE] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const struct rest_test t = {lanes_all(ratio), lanes_all(share)};
    unsigned still = 0;
    LANES_UNROLL
    for (size_t i = 0; i < DESCENT_SIZE; i += HONE_LANES) {
        const lane_mask other = lanes_differ(lanes_load(indices + i), lanes_all((float)j));
        const lanes codes = lanes_choose(other, lanes_load(l + i), lanes_all(code)), v = lanes_load(x + i);
        lanes_store(l + i, codes);
        still |= lanes_bits(cannot_move(nmax, t, v, codes, v * v * v * codes)) << i;
    }
    return ~still & ((1u << DESCENT_SIZE) - 1);
}

/* The next step of up to HONE_LANES groups. Those that have another are left; returns how many. What d holds beyond
 * them does not matter. */
static size_t step_batch(int nmax, const hone_groups *g, struct restless *r, const uint8_t *list, size_t n,
                         struct descent_step *d, uint8_t *left)
{
    for (size_t i = 0; i < n; i++) {
        const size_t k = list[i], j = (size_t)(r->step[k] % DESCENT_SIZE);
        d->x[i] = g->x[r->at[k] * DESCENT_SIZE + j];
        d->l[i] = r->l[k][j];
        d->xl[i] = r->xl[k];
        d->ll[i] = r->ll[k];
        d->largest[i] = r->largest[k];
    }
    take_step(nmax, d);
    size_t n_left = 0;
    for (size_t i = 0; i < n; i++) {
        const size_t k = list[i];
        const int step = r->step[k];
        if (d->moves >> i & 1) {
            r->moved[k] = step;
            r->xl[k] = d->xl[i];
            r->ll[k] = d->ll[i];
            r->elements[k] = set_code(nmax, g->x + r->at[k] * DESCENT_SIZE, r->l[k], step % DESCENT_SIZE, d->code[i],
                                      d->ratio[i], d->share[i]);
        }
        left[n_left] = (uint8_t)k;
        n_left += find_step(r, k, step + 1);
    }
    return n_left;
}

static void search_restless(int nmax, const hone_groups *g, struct restless *r, uint8_t *codes, float *scales)
{
    struct descent_step d = {.moves = 0};
    uint8_t list[RESTLESS_MAX];
    for (size_t k = 0; k < r->n; k++)
        list[k] = (uint8_t)k;
    for (size_t n = r->n, left; n > 0; n = left) {
        left = 0;
        for (size_t i = 0; i < n; i += HONE_LANES)
            left += step_batch(nmax, g, r, list + i, n - i < HONE_LANES ? n - i : HONE_LANES, &d, list + left);
    }
    for (size_t k = 0; k < r->n; k++) {
        scales[r->at[k]] = r->ll[k] > 0.0f ? r->xl[k] / r->ll[k] : 0.0f;
        for (size_t j = 0; codes && j < DESCENT_SIZE; j++)
            codes[r->at[k] * DESCENT_SIZE + j] = (uint8_t)((int)r->l[k][j] + nmax);
    }
    r->n = 0;
}

/* Puts aside the groups of a batch whose elements may move. */
static inline void keep_restless(int nmax, const hone_groups *g, size_t first, size_t n, const struct descent_batch *b,
                                 lanes inverse, lanes elements, struct restless *r)
{
    float bits[HONE_LANES], inverses[HONE_LANES], xl[HONE_LANES], ll[HONE_LANES], largest[HONE_LANES];
    lanes_store(bits, elements);
    lanes_store(inverses, inverse);
    lanes_store(xl, b->s.xl);
    lanes_store(ll, b->s.ll);
    lanes_store(largest, b->largest);
    for (unsigned some = lanes_bits(lanes_less(lanes_all(0.0f), elements)) & ((1u << n) - 1); some; some &= some - 1) {
        const size_t i = (size_t)__builtin_ctz(some), k = r->n++;
        r->at[k] = first + i;
        for (size_t j = 0; j < DESCENT_SIZE; j += HONE_LANES)
            lanes_store(r->l[k] + j,
                        first_code(nmax, lanes_load(g->x + r->at[k] * DESCENT_SIZE + j), lanes_all(inverses[i])));
        r->xl[k] = xl[i];
        r->ll[k] = ll[i];
        r->largest[k] = largest[i];
        r->elements[k] = (unsigned)bits[i];
        r->moved[k] = -1;
        (void)find_step(r, k, 0);
    }
}

/* A batch of groups: what their first codes give, which stays for those at rest. */
static void descent_begin(int nmax, const hone_groups *g, size_t first, struct restless *r, uint8_t *codes,
                          float *scales)
{
    const size_t n = g->n - first < HONE_LANES ? g->n - first : HONE_LANES;
    struct descent_batch b;
    transpose_groups(g->x + first * DESCENT_SIZE, n, DESCENT_SIZE, b.x);
    const lanes extreme = extreme_of(b.x), zero = lanes_all(0.0f), inverse = lanes_all(-(float)nmax) / extreme;
    descent_start(nmax, inverse, &b);
    b.largest = lanes_abs(extreme);
    const lane_mask tiny = is_tiny(extreme);
    /* Where the extreme is positive its code is not, and no term is: xl, their sum, is above none of them, and xl > t
     * is false throughout. */
    const lane_mask backward = lanes_less(b.s.xl, zero);
    const lanes elements = lanes_choose(lanes_either(tiny, backward), zero, restless_elements(nmax, &b));
    const lane_mask some = lanes_except(lanes_less(zero, b.s.ll), tiny);
    store_floats(scales + first, n, lanes_choose(some, b.s.xl / b.s.ll, zero));
    for (size_t j = 0; codes && j < DESCENT_SIZE; j++) {
        uint8_t v[HONE_LANES];
        lanes_store_bytes(v, lanes_choose(tiny, zero, b.l[j] + lanes_all((float)nmax)));
        for (size_t i = 0; i < n; i++)
            codes[(first + i) * DESCENT_SIZE + j] = v[i];
    }
    keep_restless(nmax, g, first, n, &b, inverse, elements, r);
}

static void descent(int nmax, const hone_groups *g, uint8_t *codes, float *scales)
{
    if (g->size != DESCENT_SIZE) {
        hone_search_ref.descent(nmax, g, codes, scales);
        return;
    }
    struct restless r;
    r.n = 0;
    for (size_t first = 0; first < g->n; first += HONE_LANES) {
        descent_begin(nmax, g, first, &r, codes, scales);
        if (r.n >= RESTLESS_ENOUGH)
            search_restless(nmax, g, &r, codes, scales);
    }
    search_restless(nmax, g, &r, codes, scales);
}
