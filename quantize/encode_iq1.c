/* SPDX-License-Identifier: MIT */
/*
 * Encoding iq1: x ~ scale * (digit + shift), digits -1, 0, 1, the shift an eighth up or down.
 *
 * Sorted, a group falls into those coded -1, 0 and 1, so that trying all pairs of borders finds the best there is. What
 * it finds for eight digits is then moved to an entry of the book.
 */
#include "quantize/encode_iq1.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/half.h"
#include "quantize/book_index.h"
#include "quantize/pack_books.h"
#include "quantize/rounding.h"
#include "quantize/scale_search.h"

enum { GROUP = 32, VECTOR = 8 };

/* What a level stands for, shifted up and down. */
static const float values[2][3] = {{-0.875f, 0.125f, 1.125f}, {-1.125f, -0.125f, 0.875f}};

struct group {
    size_t size;
    float x[GROUP], w[GROUP];
    uint8_t order[GROUP]; /* of x, ascending; equals as they come */
};

struct fit {
    float scale;
    unsigned down;                /* bit k: vector k is shifted down */
    size_t from_zeros, from_ones; /* borders: places in the order */
};

struct iq1_type {
    size_t nbytes;
    size_t group;
    float tiny;      /* groups below have scale 0 */
    bool plain_ones; /* without importance, it is 1; else weights are x^2 */
    bool (*search)(const struct group *g, struct fit *best);
    uint16_t (*scale)(const hone_book_block *b, const float *x, const float *w, float d);
    void (*pack)(const hone_book_block *b, uint8_t *dst);
};

static void sort(struct group *g)
{
    for (size_t i = 0; i < g->size; i++) {
        size_t at = i;
        for (; at > 0 && g->x[i] < g->x[g->order[at - 1]]; at--)
            g->order[at] = g->order[at - 1];
        g->order[at] = (uint8_t)i;
    }
}

static float sum_of_parts(const float *sums, size_t n, size_t i, size_t j, float a, float b, float c)
{
    return sums[i] * a + (sums[j] - sums[i]) * b + (sums[n] - sums[j]) * c;
}

static float squares_of_parts(const float *sums, size_t n, size_t i, size_t j, const float v[3])
{
    return sums[i] * v[0] * v[0] + (sums[j] - sums[i]) * v[1] * v[1] + (sums[n] - sums[j]) * v[2] * v[2];
}

/* One shift for the group. */
static bool search_iq1_s(const struct group *g, struct fit *best)
{
    float x[GROUP + 1] = {0}, w[GROUP + 1] = {0};
    for (size_t j = 0; j < g->size; j++) {
        const size_t i = g->order[j];
        x[j + 1] = x[j] + g->w[i] * g->x[i];
        w[j + 1] = w[j] + g->w[i];
    }
    const size_t n = g->size;
    float gain = -FLT_MAX;
    for (size_t i = 0; i <= n; i++)
        for (size_t j = i; j <= n; j++)
            for (unsigned down = 0; down < 2; down++) {
                const float *v = values[down];
                const float xq = sum_of_parts(x, n, i, j, v[0], v[1], v[2]);
                const float qq = squares_of_parts(w, n, i, j, v);
                if (qq > 0.0f && xq * xq > gain * qq) {
                    *best = (struct fit){xq / qq, down ? 15 : 0, i, j};
                    gain = best->scale * xq;
                }
            }
    return gain > -FLT_MAX;
}

/* Sums over one half of a group, for each border: of w x, and of w. */
struct half_sums {
    float x[GROUP / 2 + 1], w[GROUP / 2 + 1];
};

/* For both shifts, sums of w x q and w q^2. As digits are one apart, the first is short. */
static void sum_half(const struct half_sums *s, size_t n, size_t i, size_t j, float xq[2], float qq[2])
{
    const float below = s->x[i] + s->x[j];
    for (unsigned down = 0; down < 2; down++) {
        const float *v = values[down];
        xq[down] = s->x[n] * v[2] - below;
        qq[down] =
            s->w[n] * v[2] * v[2] + s->w[i] * (v[0] * v[0] - v[1] * v[1]) + s->w[j] * (v[1] * v[1] - v[2] * v[2]);
    }
}

/* A shift for each half. */
static bool search_iq1_m(const struct group *g, struct fit *best)
{
    struct half_sums s[2] = {{{0}, {0}}, {{0}, {0}}};
    const size_t n = g->size;
    for (size_t j = 0; j < n; j++) {
        const size_t i = g->order[j], h = i / VECTOR;
        s[h].x[j + 1] = s[h].x[j] + g->w[i] * g->x[i];
        s[h].w[j + 1] = s[h].w[j] + g->w[i];
        s[1 - h].x[j + 1] = s[1 - h].x[j];
        s[1 - h].w[j + 1] = s[1 - h].w[j];
    }
    float gain = -FLT_MAX;
    for (size_t i = 0; i <= n; i++)
        for (size_t j = i; j <= n; j++) {
            float xq[2][2], qq[2][2];
            for (int h = 0; h < 2; h++)
                sum_half(&s[h], n, i, j, xq[h], qq[h]);
            for (unsigned k = 0; k < 4; k++) {
                const float x = xq[0][k >> 1] + xq[1][k & 1], q = qq[0][k >> 1] + qq[1][k & 1];
                if (q > 0.0f && x * x > gain * q) {
                    *best = (struct fit){x / q, k >> 1 | (k & 1) << 1, i, j};
                    gain = best->scale * x;
                }
            }
        }
    return gain > -FLT_MAX;
}

/* Of a list, the first entry with the least error; the nearest when errors are beyond f32. */
static unsigned best_of_list(const uint32_t *list, const float *x, const float *w, float scale, const float v[3])
{
    float cost[VECTOR][3];
    for (int i = 0; i < VECTOR; i++)
        for (int l = 0; l < 3; l++) {
            const float diff = scale * v[l] - x[i];
            cost[i][l] = w[i] * diff * diff;
        }
    unsigned best = list[1] >> 16;
    float least = FLT_MAX;
    for (uint32_t n = list[0]; n > 0; n--) {
        const uint32_t entry = *++list;
        float error = 0.0f;
        for (int i = 0; i < VECTOR; i++)
            error += cost[i][entry >> 2 * i & 3];
        if (error < least) {
            least = error;
            best = entry >> 16;
        }
    }
    return best;
}

/* The digits of a fit, or entries near them. Where any had to move, the scale that is best for them. */
static void choose_entries(const struct group *g, const uint8_t *levels, struct fit *fit, uint16_t *index)
{
    const hone_book_index *b = hone_book_index_of(HONE_BOOK_IQ1);
    bool moved = false;
    float xq = 0.0f, qq = 0.0f;
    for (size_t k = 0; k < g->size / VECTOR; k++) {
        const float *x = g->x + k * VECTOR, *w = g->w + k * VECTOR, *v = values[fit->down >> k & 1];
        unsigned key = 0;
        for (int i = VECTOR; i-- > 0;)
            key = 3 * key + levels[k * VECTOR + (size_t)i];
        const int32_t near = b->near[key];
        moved = moved || near < 0;
        index[k] = (uint16_t)(near >= 0 ? (unsigned)near : best_of_list(b->lists + (-1 - near), x, w, fit->scale, v));
        for (int i = 0; i < VECTOR; i++) {
            const float q = v[b->entries[index[k]] >> 2 * i & 3];
            xq += w[i] * q * x[i];
            qq += w[i] * q * q;
        }
    }
    if (moved && xq > 0.0f && qq > 0.0f)
        fit->scale = xq / qq;
}

/* One group, weights in place, into its place in a block. Returns its scale. */
static float encode_group(const struct iq1_type *t, struct group *g, uint16_t *index, uint8_t *down)
{
    float max = 0.0f;
    for (size_t i = 0; i < g->size; i++)
        max = fabsf(g->x[i]) > max ? fabsf(g->x[i]) : max;
    struct fit fit;
    if (max < t->tiny)
        return 0.0f;
    sort(g);
    if (!t->search(g, &fit))
        return 0.0f;
    uint8_t levels[GROUP];
    const bool flip = fit.scale < 0.0f;
    for (size_t j = 0; j < g->size; j++) {
        const int level = (j >= fit.from_zeros) + (j >= fit.from_ones);
        levels[g->order[j]] = (uint8_t)(flip ? 2 - level : level);
    }
    if (flip) {
        fit.scale = -fit.scale;
        fit.down ^= 15;
    }
    choose_entries(g, levels, &fit, index);
    for (size_t k = 0; k < g->size / VECTOR; k++)
        down[k] = fit.down >> k & 1;
    return fit.scale >= 0.0f ? fit.scale : 0.0f; /* sums beyond f32, where ggml gives up */
}

/* The fudges are ggml's. */
static uint16_t scale_iq1_s(const hone_book_block *b, const float *x, const float *w, float d)
{
    (void)b, (void)x, (void)w;
    return hone_store_scale(d * 1.125f);
}

/* The d that is best for all codes under their small scales. */
static uint16_t scale_iq1_m(const hone_book_block *b, const float *x, const float *w, float d)
{
    const uint16_t *entries = hone_book_index_of(HONE_BOOK_IQ1)->entries;
    float xq = 0.0f, qq = 0.0f;
    for (int i = 0; i < HONE_QK_K; i++) {
        const int k = i / VECTOR, s = k / 2;
        const unsigned level = entries[b->index[k]] >> 2 * (i % VECTOR) & 3;
        const float q = values[b->signs[k]][level] * (float)(2 * b->scales[s] + 1);
        xq += w[i] * q * x[i];
        qq += w[i] * q * q;
    }
    return hone_store_scale((qq > 0.0f ? xq / qq : d) * 1.1125f);
}

static const struct iq1_type iq1_s = {sizeof(hone_block_iq1_s), 32, 1e-12f, true, search_iq1_s, scale_iq1_s,
                                      hone_pack_iq1_s};
static const struct iq1_type iq1_m = {sizeof(hone_block_iq1_m), 16, 1e-7f, false, search_iq1_m, scale_iq1_m,
                                      hone_pack_iq1_m};

static void weigh(const struct iq1_type *t, const float *x, const float *importance, float *w)
{
    const float sigma2 = 2.0f * hone_sum_squares(x, HONE_QK_K) / (float)HONE_QK_K;
    for (int i = 0; i < HONE_QK_K; i++) {
        const float square = x[i] * x[i];
        if (importance)
            w[i] = importance[i] * sqrtf(sigma2 + square);
        else
            w[i] = t->plain_ones ? sqrtf(sigma2 + square) : square;
    }
}

static void encode(const struct iq1_type *t, const float *src, size_t ncols, const float *importance, void *dst)
{
    uint8_t *out = dst;
    const size_t vectors = t->group / VECTOR, n_groups = HONE_QK_K / t->group;
    for (size_t i = 0; i < ncols; i += HONE_QK_K, out += t->nbytes) {
        hone_book_block b = {.d = 0};
        float scales[HONE_QK_K / 16], max = 0.0f, w[HONE_QK_K];
        weigh(t, src + i, importance ? importance + i : NULL, w);
        for (size_t s = 0; s < n_groups; s++) {
            struct group g = {.size = t->group};
            memcpy(g.x, src + i + s * t->group, t->group * sizeof(float));
            memcpy(g.w, w + s * t->group, t->group * sizeof(float));
            scales[s] = encode_group(t, &g, b.index + s * vectors, b.signs + s * vectors);
            max = scales[s] > max ? scales[s] : max;
        }
        if (max != 0.0f) {
            const float d = max / 15.0f, inverse = 1.0f / d;
            for (size_t s = 0; s < n_groups; s++)
                b.scales[s] = (uint8_t)hone_clamp_int(hone_nearest(0.5f * (inverse * scales[s] - 1.0f)), 0, 7);
            b.d = t->scale(&b, src + i, w, d);
        } else {
            memset(b.signs, 0, sizeof b.signs);
        }
        t->pack(&b, out);
    }
}

void hone_encode_iq1_s(const float *src, size_t ncols, const float *importance, void *dst)
{
    encode(&iq1_s, src, ncols, importance, dst);
}

void hone_encode_iq1_m(const float *src, size_t ncols, const float *importance, void *dst)
{
    encode(&iq1_m, src, ncols, importance, dst);
}
