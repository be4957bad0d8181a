/* SPDX-License-Identifier: MIT */
/* The search of iq4_nl and iq4_xs over lanes, a group to a lane: a part of lane_encoders_impl.h. */
#include "quantize/code_tables.h"

enum { IQ4_GROUP = 32, IQ4_TRIALS = 7 };

struct iq4_batch {
    lanes x[IQ4_GROUP], w[IQ4_GROUP];
    lanes scale, best;
};

/* Sums of w x q and w q^2 for codes that stand for q. */
static inline struct sums iq4_add(struct sums s, lanes x, lanes w, lanes q)
{
    const lanes wq = w * q;
    return (struct sums){s.xl + wq * x, s.ll + wq * q};
}

/* Trials side by side. */
static inline void iq4_sums(const struct iq4_batch *b, const lanes inverse[SIDE_BY_SIDE], struct sums out[SIDE_BY_SIDE])
{
    const hone_code_table *t = &hone_code_tables[HONE_CODES_IQ4];
    const lane_table table = lanes_table(t->tree, t->values);
    const lanes zero = lanes_all(0.0f);
    struct sums s[SIDE_BY_SIDE] = {{zero, zero}, {zero, zero}};
    for (int j = 0; j < IQ4_GROUP; j++) {
        const lanes x = b->x[j], w = b->w[j];
        s[0] = iq4_add(s[0], x, w, lanes_lookup(&table, inverse[0] * x));
        s[1] = iq4_add(s[1], x, w, lanes_lookup(&table, inverse[1] * x));
    }
    out[0] = s[0];
    out[1] = s[1];
}

/* After a first trial without a fit the sum to beat is 0 times its xl, which may be NaN. */
static inline void iq4_keep(struct iq4_batch *b, struct sums s, bool first)
{
    lane_mask better = lanes_less(lanes_all(0.0f), s.ll);
    if (!first)
        better = lanes_both(better, lanes_less(b->best * s.ll, s.xl * s.xl));
    b->scale = lanes_choose(better, s.xl / s.ll, b->scale);
    const lanes beaten = b->scale * s.xl;
    b->best = first ? beaten : lanes_choose(better, beaten, b->best);
}

static lanes iq4_search(struct iq4_batch *b)
{
    const lanes zero = lanes_all(0.0f), extreme = signed_extreme(b->x, IQ4_GROUP);
    b->scale = b->best = zero;
    for (int k = -IQ4_TRIALS - 1; k < IQ4_TRIALS; k += SIDE_BY_SIDE) {
        const bool first = k < -IQ4_TRIALS;
        lanes inverse[SIDE_BY_SIDE];
        for (int i = 0; i < SIDE_BY_SIDE; i++)
            inverse[i] = lanes_all((float)(k + i - 127)) / extreme;
        if (first) /* divided in another way */
            inverse[0] = lanes_all(1.0f) / (-extreme / lanes_all(-127.0f));
        struct sums s[SIDE_BY_SIDE];
        iq4_sums(b, inverse, s);
        iq4_keep(b, s[0], first);
        iq4_keep(b, s[1], false);
    }
    return lanes_choose(is_tiny(extreme), zero, b->scale);
}

static void iq4_scales(const hone_groups *g, float *scales)
{
    for (size_t i = 0; i < g->n; i += HONE_LANES) {
        const size_t n = g->n - i < HONE_LANES ? g->n - i : HONE_LANES;
        struct iq4_batch b;
        transpose_groups(g->x + i * IQ4_GROUP, n, IQ4_GROUP, b.x);
        transpose_groups(g->w + i * IQ4_GROUP, n, IQ4_GROUP, b.w);
        store_floats(scales + i, n, iq4_search(&b));
    }
}

static void iq4_codes(const hone_groups *g, const float *inverses, uint8_t *codes)
{
    const hone_code_table *t = &hone_code_tables[HONE_CODES_IQ4];
    const lane_table table = lanes_table(t->tree, t->codes);
    for (size_t i = 0; i < g->n * IQ4_GROUP; i += 16) {
        const lanes inverse = lanes_all(inverses[i / IQ4_GROUP]);
        lanes v[16 / HONE_LANES];
        LANES_UNROLL
        for (size_t k = 0; k < 16 / HONE_LANES; k++)
            v[k] = lanes_lookup(&table, inverse * lanes_load(g->x + i + k * HONE_LANES));
        lanes_store_codes(codes + i, v);
    }
}
