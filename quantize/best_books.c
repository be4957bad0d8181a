/* SPDX-License-Identifier: MIT */
/*
 * The best search for types with code books, a block at a time: a scale for each group by trials, one d that most of
 * these are near multiples of, then rounds of choosing each group's multiple with its codes and fitting d to them.
 *
 * Unlike the reference search, it counts with the magnitudes that levels are decoded to and with the weights as they
 * are.
 */
#include "quantize/best_books.h"

#include <math.h>
#include <string.h>

#include "base/half.h"
#include "formats/blocks.h"
#include "quantize/best.h"
#include "quantize/book_types.h"

enum { GROUPS_MAX = HONE_QK_K / 16, UNITS_MAX = 4, SIGNED = 8 };

/* A block to code: magnitudes, weights, both of ordinary size. */
struct search {
    const hone_book_type *t;
    const hone_book_kernels *k;
    const hone_book_index *index;
    size_t n_groups;
    float x[HONE_QK_K], w[HONE_QK_K];
    uint8_t signs[HONE_QK_K / 8];
};

/* A group's codes, which levels each unit has, and sums of w x value and w value^2. */
struct codes {
    uint16_t index[HONE_BOOK_VECTORS];
    uint8_t levels[UNITS_MAX];
    float xq, qq;
};

/* What coding with a scale takes off the group's squared error. */
static float gain_at(float scale, float xq, float qq)
{
    return scale * (2.0f * xq - scale * qq);
}

/* Codes a group with each of n scales. */
static void code_group(const struct search *s, size_t group, size_t n, const float *scales, struct codes *out)
{
    const hone_book_type *t = s->t;
    float inverses[HONE_BOOK_TRIALS];
    hone_book_codes found[2][HONE_BOOK_TRIALS];
    for (size_t i = 0; i < n; i++) {
        inverses[i] = 1.0f / scales[i];
        out[i].xq = out[i].qq = 0.0f;
    }
    for (size_t unit = 0, vector = 0; unit < t->group / t->unit; unit++, vector += t->unit / s->index->dim) {
        hone_book_group g;
        const size_t at = group * t->group + unit * t->unit;
        memcpy(g.x, s->x + at, t->unit * sizeof(float));
        memcpy(g.w, s->w + at, t->unit * sizeof(float));
        memcpy(g.rival, s->w + at, t->unit * sizeof(float));
        for (size_t l = 0; l < t->n_levels; l++) {
            hone_book_group_init(s->index, &t->levels[l], t->unit, &g);
            s->k->code(&g, n, inverses, scales, found[l]);
        }
        for (size_t i = 0; i < n; i++) {
            const bool second = t->n_levels > 1 && gain_at(scales[i], found[1][i].xq, found[1][i].qq) >
                                                       gain_at(scales[i], found[0][i].xq, found[0][i].qq);
            const hone_book_codes *c = &found[second][i];
            memcpy(out[i].index + vector, c->index, t->unit / s->index->dim * sizeof(uint16_t));
            out[i].levels[unit] = second;
            out[i].xq += c->xq;
            out[i].qq += c->qq;
        }
    }
}

/* A real scale for a group, and how much it matters: the sum of w value^2. Both 0 where nothing can be gained. */
static void fit_group(const struct search *s, size_t group, float *scale, float *weight)
{
    enum { N_TRIALS = 20, N_ROUNDS = 2 };
    float largest = 0.0f, scales[N_TRIALS], best = 0.0f;
    struct codes trials[N_TRIALS];
    for (size_t i = group * s->t->group; i < (group + 1) * s->t->group; i++)
        largest = fabsf(s->x[i]) > largest ? fabsf(s->x[i]) : largest;
    *scale = *weight = 0.0f;
    if (largest == 0.0f)
        return;
    for (int i = 0; i < N_TRIALS; i++)
        scales[i] = largest / (s->t->first + (s->t->last - s->t->first) * (float)i / (float)(N_TRIALS - 1));
    size_t n = N_TRIALS;
    for (int round = 0; round <= N_ROUNDS; round++, n = 1) {
        code_group(s, group, n, scales, trials);
        for (size_t i = 0; i < n; i++)
            if (trials[i].xq > 0.0f && trials[i].qq > 0.0f && trials[i].xq * trials[i].xq > best * trials[i].qq) {
                *scale = trials[i].xq / trials[i].qq;
                *weight = trials[i].qq;
                best = *scale * trials[i].xq;
            }
        scales[0] = *scale;
        if (best == 0.0f)
            return;
    }
}

static int nearest_multiple(float scale, float inverse, int most)
{
    const float v = 0.5f * (scale * inverse - 1.0f);
    return v < (float)most ? v > 0.0f ? (int)(v + 0.5f) : 0 : most;
}

/* The d whose odd multiples leave the groups' scales least to regret. */
static float share(const struct search *s, const float *scales, const float *weights)
{
    enum { N_TRIALS = 96 };
    float largest = 0.0f, best = 0.0f, least = INFINITY;
    for (size_t g = 0; g < s->n_groups; g++)
        largest = scales[g] > largest ? scales[g] : largest;
    for (int i = 0; i < N_TRIALS; i++) {
        const float d = largest / ((float)(2 * s->t->most + 1) * (1.1f - 0.6f * (float)i / (float)N_TRIALS));
        float regret = 0.0f;
        for (size_t g = 0; g < s->n_groups; g++) {
            const int k = nearest_multiple(scales[g], 1.0f / d, s->t->most);
            const float off = d * (float)(2 * k + 1) - scales[g];
            regret += weights[g] * off * off;
        }
        if (regret < least) {
            least = regret;
            best = d;
        }
    }
    return best;
}

/* The best of a group's multiples near its scale. Returns what it gains. */
static float step_group(const struct search *s, size_t group, float d, int near, int reach, int *multiple,
                        struct codes *out)
{
    enum { TRIALS_MAX = 5 };
    float scales[TRIALS_MAX];
    int multiples[TRIALS_MAX] = {near};
    struct codes trials[TRIALS_MAX];
    size_t n = 0, best = 0;
    for (int k = near - reach; k <= near + reach; k++)
        if (k >= 0 && k <= s->t->most) {
            multiples[n] = k;
            scales[n++] = d * (float)(2 * k + 1);
        }
    code_group(s, group, n, scales, trials);
    for (size_t i = 1; i < n; i++)
        if (gain_at(scales[i], trials[i].xq, trials[i].qq) > gain_at(scales[best], trials[best].xq, trials[best].qq))
            best = i;
    *out = trials[best];
    *multiple = multiples[best];
    return gain_at(scales[best], out->xq, out->qq);
}

static void put_group(const struct search *s, size_t group, int multiple, const struct codes *c, hone_book_block *b)
{
    const size_t vectors = s->t->group / s->index->dim;
    b->scales[group] = (uint8_t)multiple;
    memcpy(b->index + group * vectors, c->index, vectors * sizeof(uint16_t));
    for (size_t k = 0; s->t->bare && k < vectors; k++)
        b->signs[group * vectors + k] = c->levels[k * SIGNED / s->t->unit];
}

static float sum_squares(const struct search *s)
{
    float sum = 0.0f;
    for (size_t i = 0; i < HONE_QK_K; i++)
        sum += s->w[i] * s->x[i] * s->x[i];
    return sum;
}

/*
 * Rounds from a first d; the block whose codes gain most.
 *
 * The d of least error is not what is stored. With few bits it shrinks weights, at two by some 5 %, and so the outputs
 * of every layer; models suffer from that more than from a little more noise. For given codes, d = sum w x^2 / sum w x
 * value keeps the products of weights with inputs like them what they were. See bench/RESULTS.md.
 */
static void refine(const struct search *s, float factor, float d, const float *scales, hone_book_block *out)
{
    enum { N_ROUNDS = 3, REACH = 1 };
    float best = -INFINITY, unshrunk = 0.0f;
    int multiples[GROUPS_MAX];
    const float xx = sum_squares(s);
    for (int round = 0; round < N_ROUNDS && d > 0.0f; round++) {
        hone_book_block b = {.d = hone_best_half(d, factor, &d)};
        float gain = 0.0f, xq = 0.0f, qq = 0.0f;
        memcpy(b.signs, s->signs, sizeof b.signs);
        for (size_t g = 0; g < s->n_groups && d > 0.0f; g++) {
            struct codes c;
            const int near = round == 0 ? nearest_multiple(scales[g], 1.0f / d, s->t->most) : multiples[g];
            gain += step_group(s, g, d, near, REACH, &multiples[g], &c);
            const float odd = (float)(2 * multiples[g] + 1);
            xq += odd * c.xq;
            qq += odd * odd * c.qq;
            put_group(s, g, multiples[g], &c, &b);
        }
        if (gain > best) {
            best = gain;
            *out = b;
            unshrunk = xq > 0.0f ? xx / xq : d;
        }
        d = qq > 0.0f ? xq / qq : 0.0f;
    }
    out->d = hone_best_half(unshrunk, factor, &unshrunk);
}

/*
 * Weights, and x, of ordinary size. In iq1 they grow with the size of x as in the reference search: errors there are so
 * large that which weights bear them matters more to models than what they come to.
 */
static void weigh(struct search *s, const hone_best_kernels *best, const float *x, const float *importance,
                  float factor)
{
    float w_factor, w_plus, squares = 0.0f;
    hone_best_weigh(best, importance, HONE_QK_K, &w_factor, &w_plus);
    for (size_t i = 0; i < HONE_QK_K; i++) {
        s->x[i] = x[i] * factor;
        s->w[i] = importance ? (importance[i] + w_plus) * w_factor : 1.0f;
        squares += s->x[i] * s->x[i];
    }
    for (size_t i = 0; i < HONE_QK_K && s->t->size_counts; i++)
        s->w[i] *= sqrtf(2.0f * squares / (float)HONE_QK_K + s->x[i] * s->x[i]);
}

static void improve_block(struct search *s, const hone_best_kernels *best, const float *x, const float *importance,
                          uint8_t *out)
{
    const float largest = best->largest(x, HONE_QK_K), factor = hone_best_factor(largest);
    float scales[GROUPS_MAX], weights[GROUPS_MAX];
    if (largest == 0.0f)
        return;
    weigh(s, best, x, importance, factor);
    memset(s->signs, 0, sizeof s->signs);
    for (size_t i = 0; i < HONE_QK_K && !s->t->bare; i += SIGNED)
        s->signs[i / SIGNED] = hone_book_take_signs(s->t->even_signs, s->w + i, s->x + i);
    for (size_t g = 0; g < s->n_groups; g++)
        fit_group(s, g, &scales[g], &weights[g]);
    hone_book_block b = {.d = 0};
    uint8_t block[sizeof(hone_block_iq3_s)];
    refine(s, factor, share(s, scales, weights), scales, &b);
    s->t->pack(&b, block);
    hone_best_keep(best, s->t->dtype, x, importance, factor, block, out);
}

static void encode(const hone_book_type *t, const hone_book_kernels *k, const float *src, size_t ncols,
                   const float *importance, void *dst)
{
    uint8_t *out = dst;
    struct search s = {.t = t, .k = k, .index = hone_book_index_of(t->book), .n_groups = HONE_QK_K / t->group};
    hone_encoder(t->dtype, HONE_SEARCH_REFERENCE, k->level)(src, ncols, importance, dst);
    for (size_t i = 0; i < ncols; i += HONE_QK_K, out += t->nbytes)
        improve_block(&s, hone_best_kernels_for(k->level), src + i, importance ? importance + i : NULL, out);
}

void hone_best_iq3_s(const hone_book_kernels *k, const float *src, size_t ncols, const float *importance, void *dst)
{
    encode(hone_book_type_of(HONE_IQ3_S), k, src, ncols, importance, dst);
}

void hone_best_iq3_xxs(const hone_book_kernels *k, const float *src, size_t ncols, const float *importance, void *dst)
{
    encode(hone_book_type_of(HONE_IQ3_XXS), k, src, ncols, importance, dst);
}

void hone_best_iq2_s(const hone_book_kernels *k, const float *src, size_t ncols, const float *importance, void *dst)
{
    encode(hone_book_type_of(HONE_IQ2_S), k, src, ncols, importance, dst);
}

void hone_best_iq2_xs(const hone_book_kernels *k, const float *src, size_t ncols, const float *importance, void *dst)
{
    encode(hone_book_type_of(HONE_IQ2_XS), k, src, ncols, importance, dst);
}

void hone_best_iq2_xxs(const hone_book_kernels *k, const float *src, size_t ncols, const float *importance, void *dst)
{
    encode(hone_book_type_of(HONE_IQ2_XXS), k, src, ncols, importance, dst);
}

void hone_best_iq1_s(const hone_book_kernels *k, const float *src, size_t ncols, const float *importance, void *dst)
{
    encode(hone_book_type_of(HONE_IQ1_S), k, src, ncols, importance, dst);
}

void hone_best_iq1_m(const hone_book_kernels *k, const float *src, size_t ncols, const float *importance, void *dst)
{
    encode(hone_book_type_of(HONE_IQ1_M), k, src, ncols, importance, dst);
}
