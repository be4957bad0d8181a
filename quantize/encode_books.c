/* SPDX-License-Identifier: MIT */
/*
 * Encoding iq3 and iq2: signs are taken off, a scale for each group is found by trying some near the plain one and
 * fitting each to its codes, then scales become four-bit numbers times one f16 for the super-block.
 */
#include "quantize/encode_books.h"

#include <math.h>
#include <string.h>

#include "quantize/pack_books.h"
#include "quantize/rounding.h"
#include "quantize/scale_search.h"

/* Weights without importance. */
typedef enum plain_weights { PLAIN_SQUARES, PLAIN_VARIANCE, PLAIN_ONES } plain_weights;

/* Which vectors are coded anew with the scale of the best trial. */
typedef enum refit { REFIT_MISSES, REFIT_ALL_IF_MISSES, REFIT_ALL } refit;

struct book_type {
    size_t nbytes;
    hone_book book;
    size_t group; /* elements with one scale */
    plain_weights plain;
    float variances;     /* sigma2 is this times the mean square */
    bool even_signs;     /* of eight, an even number are minus */
    float tiny;          /* groups below have scale 0 */
    bool positive_start; /* where trials begin is told by hone_search_positive(), not by the largest element */
    int n_trials;        /* on either side of the middle, */
    float trial_step;    /* in units of q */
    refit refit;
    float fudge;      /* of d as stored: its codes were made with more precise scales */
    bool keeps_codes; /* with d = 0, codes and signs are stored all the same */
    bool closes_gaps; /* see close_gaps() */
    void (*pack)(const hone_book_block *b, uint8_t *dst);
};

static const struct book_type iq3_s = {
    .nbytes = sizeof(hone_block_iq3_s),
    .book = HONE_BOOK_IQ3_S,
    .group = 32,
    .plain = PLAIN_SQUARES,
    .variances = 2.0f,
    .tiny = 0x1p-149f,
    .n_trials = 9,
    .trial_step = 0.2f,
    .refit = REFIT_ALL_IF_MISSES,
    .fudge = 1.033f,
    .keeps_codes = true,
    .closes_gaps = true,
    .pack = hone_pack_iq3_s,
};
static const struct book_type iq3_xxs = {
    .nbytes = sizeof(hone_block_iq3_xxs),
    .book = HONE_BOOK_IQ3_XXS,
    .group = 32,
    .plain = PLAIN_SQUARES,
    .variances = 2.0f,
    .even_signs = true,
    .tiny = 1e-8f,
    .n_trials = 15,
    .trial_step = 0.2f,
    .refit = REFIT_MISSES,
    .fudge = 1.0125f,
    .pack = hone_pack_iq3_xxs,
};
static const struct book_type iq2_s = {
    .nbytes = sizeof(hone_block_iq2_s),
    .book = HONE_BOOK_IQ2_S,
    .group = 16,
    .plain = PLAIN_VARIANCE,
    .variances = 2.0f,
    .tiny = 1e-8f,
    .n_trials = 9,
    .trial_step = 0.1f,
    .refit = REFIT_MISSES,
    .fudge = 0.9875f,
    .keeps_codes = true,
    .pack = hone_pack_iq2_s,
};
static const struct book_type iq2_xs = {
    .nbytes = sizeof(hone_block_iq2_xs),
    .book = HONE_BOOK_IQ2_XS,
    .group = 16,
    .plain = PLAIN_ONES,
    .variances = 1.0f,
    .even_signs = true,
    .tiny = 1e-15f,
    .n_trials = 9,
    .trial_step = 0.1f,
    .refit = REFIT_MISSES,
    .fudge = 1.0f,
    .pack = hone_pack_iq2_xs,
};
static const struct book_type iq2_xxs = {
    .nbytes = sizeof(hone_block_iq2_xxs),
    .book = HONE_BOOK_IQ2_XXS,
    .group = 32,
    .plain = PLAIN_ONES,
    .variances = 1.0f,
    .even_signs = true,
    .tiny = 1e-15f,
    .positive_start = true,
    .n_trials = 6,
    .trial_step = 0.1f,
    .refit = REFIT_ALL,
    .fudge = 1.0f,
    .pack = hone_pack_iq2_xxs,
};

static void weigh(const struct book_type *t, const float *x, const float *importance, float sigma2, float *w)
{
    for (size_t i = 0; i < t->group; i++) {
        const float square = x[i] * x[i];
        if (importance)
            w[i] = importance[i] * sqrtf(sigma2 + square);
        else if (t->plain == PLAIN_ONES)
            w[i] = sqrtf(sigma2 + square);
        else
            w[i] = t->plain == PLAIN_SQUARES ? square : 0.25f * sigma2 + square;
    }
}

/* Bits of the signs of eight. Where their number must be even, the element that matters least bends to it. */
static uint8_t take_signs(const float *x, const float *w, bool even, float *magnitudes)
{
    unsigned signs = 0, parity = 0;
    for (unsigned i = 0; i < 8; i++) {
        const bool minus = !(x[i] >= 0.0f);
        magnitudes[i] = minus ? -x[i] : x[i];
        signs |= (unsigned)minus << i;
        parity ^= minus;
    }
    if (even && parity) {
        unsigned least = 0;
        for (unsigned i = 1; i < 8; i++)
            if (w[i] * x[i] * x[i] < w[least] * x[least] * x[least])
                least = i;
        magnitudes[least] = -magnitudes[least];
        signs ^= 1u << least;
    }
    return (uint8_t)signs;
}

/* The codes of some vectors of `from` into `to`, and the sums of all. */
static void replace(const hone_book_group *g, unsigned vectors, const hone_book_codes *from, hone_book_codes *to)
{
    const hone_book_index *b = g->index;
    to->xq = to->qq = 0.0f;
    for (size_t at = 0, k = 0; at < g->size; at += b->dim, k++) {
        if (vectors >> k & 1)
            to->index[k] = from->index[k];
        for (unsigned i = 0; i < b->dim; i++) {
            const unsigned level = (unsigned)b->entries[to->index[k]] >> i * b->bits & ((1u << b->bits) - 1);
            to->xq += g->xq[at + i][level];
            to->qq += g->qq[at + i][level];
        }
    }
}

/* The scale of a group and its codes. below 0: codes are for -x. */
static float search(const struct book_type *t, const hone_book_kernels *k, const hone_book_group *g, float start,
                    float scale, hone_book_codes *best)
{
    float inverses[HONE_BOOK_TRIALS], scales[HONE_BOOK_TRIALS];
    hone_book_codes trials[HONE_BOOK_TRIALS];
    const float largest = (float)(2 * g->index->n_levels - 1);
    const size_t n = 2 * (size_t)t->n_trials + 1;
    for (size_t i = 0; i < n; i++) {
        inverses[i] = (largest + (float)((int)i - t->n_trials) * t->trial_step) / start;
        scales[i] = 1.0f / inverses[i];
    }
    k->code(g, n, inverses, scales, trials);
    const unsigned all = (1u << g->size / g->index->dim) - 1;
    float gain = 0.0f;
    *best = (hone_book_codes){.hits = t->refit == REFIT_MISSES ? all : 0};
    for (size_t i = 0; i < n; i++)
        if (trials[i].qq > 0.0f && trials[i].xq * trials[i].xq > gain * trials[i].qq) {
            *best = trials[i];
            scale = best->xq / best->qq;
            gain = scale * best->xq;
        }
    const unsigned again =
        t->refit == REFIT_ALL || (t->refit == REFIT_ALL_IF_MISSES && best->hits != all) ? all : all & ~best->hits;
    if (again != 0 && scale > 0.0f) {
        hone_book_codes anew;
        const float inverse = 1.0f / scale;
        k->code(g, 1, &inverse, &scale, &anew);
        replace(g, again, &anew, best);
        if (best->qq > 0.0f)
            scale = best->xq / best->qq;
    }
    return scale;
}

/* Where trials begin, and the scale if none of them is any good; 0: the group is all zeros. */
static float start_of_trials(const struct book_type *t, const hone_book_group *g, float *scale)
{
    float max = g->x[0];
    for (size_t i = 1; i < g->size; i++)
        max = g->x[i] > max ? g->x[i] : max;
    const float levels = (float)g->index->n_levels;
    *scale = max / (2.0f * levels - 1.0f);
    if (max < t->tiny)
        return 0.0f;
    if (!t->positive_start)
        return max;
    uint8_t codes[HONE_BOOK_GROUP];
    *scale = hone_search_positive((int)g->index->n_levels + 1, g->x, g->w, g->size, codes);
    const float start = *scale * levels;
    return start <= 0.0f ? 0.0f : start;
}

/* One group into its place in a block; false if it is taken as zeros. */
static bool encode_group(const struct book_type *t, const hone_book_kernels *k, const float *x, const float *importance,
                         float sigma2, uint16_t *index, uint8_t *signs, float *scale)
{
    hone_book_group g;
    uint8_t group_signs[HONE_BOOK_GROUP / 8];
    weigh(t, x, importance, sigma2, g.w);
    for (size_t i = 0; i < t->group; i += 8)
        group_signs[i / 8] = take_signs(x + i, g.w + i, t->even_signs, g.x + i);
    for (size_t i = 0; i < t->group; i++)
        g.rival[i] = sqrtf(g.w[i]); /* not w: by ggml's choice */
    const hone_book_index *index_of_book = hone_book_index_of(t->book);
    hone_book_group_init(index_of_book, index_of_book->n_levels == 3 ? &hone_odd_levels3 : &hone_odd_levels8, t->group,
                         &g);
    const float start = start_of_trials(t, &g, scale);
    if (start == 0.0f) {
        *scale = 0.0f;
        return false;
    }
    hone_book_codes best;
    const float found = search(t, k, &g, start, *scale, &best);
    const uint8_t flip = found < 0.0f ? 0xff : 0;
    for (size_t i = 0; i < t->group / 8; i++)
        signs[i] = group_signs[i] ^ flip;
    memcpy(index, best.index, t->group / g.index->dim * sizeof *index);
    *scale = found == found ? fabsf(found) : 0.0f; /* sums beyond f32, where ggml gives up */
    return true;
}

/* Scales into numbers of four bits. */
static void share(const struct book_type *t, const float *scales, hone_book_block *b)
{
    const size_t n = HONE_QK_K / t->group;
    float max = 0.0f;
    for (size_t i = 0; i < n; i++)
        max = scales[i] > max ? scales[i] : max;
    if (max == 0.0f) {
        if (!t->keeps_codes)
            memset(b, 0, sizeof *b);
        return;
    }
    const float d = max / 31.0f, inverse = 1.0f / d;
    b->d = hone_store_scale(d * t->fudge);
    for (size_t i = 0; i < n; i++)
        b->scales[i] = (uint8_t)hone_clamp_int(hone_nearest(0.5f * (inverse * scales[i] - 1.0f)), 0, 15);
}

/*
 * ggml leaves no room for a group of zeros: signs and low bytes of indices of all that follow move up, their high bits
 * do not. So such a block decodes to something else (quantize_row_iq3_s_impl() of ggml-quants.c). Equal bytes are what
 * the reference search is for; the best search puts it right.
 */
static void close_gaps(unsigned coded, hone_book_block *b)
{
    enum { VECTORS = 8, SIGNS = 4 };
    const hone_book_block from = *b;
    size_t to = 0;
    for (size_t s = 0; s < HONE_QK_K / 32; s++)
        for (size_t i = 0; coded >> s & 1 && i < VECTORS; i++, to++) {
            b->index[to] = (uint16_t)((b->index[to] & 0x100) | (from.index[s * VECTORS + i] & 0xff));
            b->signs[to / 2] = from.signs[s * SIGNS + i / 2];
        }
    for (; to < HONE_QK_K / 4; to++) {
        b->index[to] &= 0x100;
        b->signs[to / 2] = 0;
    }
}

static void encode(const struct book_type *t, const hone_book_kernels *k, const float *src, size_t ncols,
                   const float *importance, void *dst)
{
    uint8_t *out = dst;
    const size_t vectors = t->group / hone_book_index_of(t->book)->dim;
    for (size_t i = 0; i < ncols; i += HONE_QK_K, out += t->nbytes) {
        hone_book_block b = {.d = 0};
        float scales[HONE_QK_K / 16];
        const float sigma2 = t->variances * hone_sum_squares(src + i, HONE_QK_K) / (float)HONE_QK_K;
        unsigned coded = 0;
        for (size_t s = 0; s < HONE_QK_K / t->group; s++) {
            const size_t at = i + s * t->group;
            coded |= (unsigned)encode_group(t, k, src + at, importance ? importance + at : NULL, sigma2,
                                            b.index + s * vectors, b.signs + s * t->group / 8, &scales[s])
                     << s;
        }
        if (t->closes_gaps)
            close_gaps(coded, &b);
        share(t, scales, &b);
        t->pack(&b, out);
    }
}

void hone_encode_iq3_s(const hone_book_kernels *k, const float *src, size_t ncols, const float *importance, void *dst)
{
    encode(&iq3_s, k, src, ncols, importance, dst);
}

void hone_encode_iq3_xxs(const hone_book_kernels *k, const float *src, size_t ncols, const float *importance, void *dst)
{
    encode(&iq3_xxs, k, src, ncols, importance, dst);
}

void hone_encode_iq2_s(const hone_book_kernels *k, const float *src, size_t ncols, const float *importance, void *dst)
{
    encode(&iq2_s, k, src, ncols, importance, dst);
}

void hone_encode_iq2_xs(const hone_book_kernels *k, const float *src, size_t ncols, const float *importance, void *dst)
{
    encode(&iq2_xs, k, src, ncols, importance, dst);
}

void hone_encode_iq2_xxs(const hone_book_kernels *k, const float *src, size_t ncols, const float *importance, void *dst)
{
    encode(&iq2_xxs, k, src, ncols, importance, dst);
}
