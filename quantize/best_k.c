/* SPDX-License-Identifier: MIT */
/*
 * The best search for super-blocks of 256:
 *
 *   fit      each sub-block's line, from pulled-in ends of its range, by coding and least squares in turn
 *   share    several d (and dmin) near what the largest needs; for each, every sub-block picks its whole numbers anew
 *   refit    d and dmin by least squares for all the codes, and once more
 *   compare  with the block of the reference search, as decoded
 */
#include "quantize/best.h"

#include <math.h>
#include <string.h>

#include "base/half.h"
#include "formats/blocks.h"
#include "quantize/pack_k.h"

enum { SUPERS_MAX = 2 }; /* super-blocks in a tile */

/* How much is tried. */
struct effort {
    hone_symmetric_grid grid; /* of types without minimums */
    int n_trials;             /* neighbouring whole numbers for the scale of a sub-block */
    int n_nudges, n_refits;
};

struct k_type {
    hone_dtype dtype;
    size_t nbytes, sub_size;
    hone_step_range range;
    hone_affine_grid affine;       /* of types with minimums */
    struct effort plain, weighted; /* without importance, and with */
    /* How much of their size weights get back, without importance and with; see restore_size(). */
    double plain_growth, weighted_growth;
    int scale_zero; /* what is added to signed scales */
    void (*pack)(const hone_super_block *s, uint8_t *dst);
};

/* A tile's worth of super-blocks. */
struct k_tile {
    hone_tile tile;
    size_t n_supers, n_subs; /* n_subs: in each */
    float factor[SUPERS_MAX];
};

static void load_tile(const hone_best_kernels *k, const struct k_type *t, const float *x, const float *importance,
                      size_t n_supers, struct k_tile *out)
{
    float factor[HONE_TILE], w_factor[HONE_TILE], w_plus[HONE_TILE];
    out->n_supers = n_supers;
    out->n_subs = HONE_QK_K / t->sub_size;
    for (size_t g = 0; g < HONE_TILE; g++) {
        const size_t super = g / out->n_subs;
        if (super >= n_supers || g % out->n_subs) {
            factor[g] = factor[g - 1];
            w_factor[g] = w_factor[g - 1];
            w_plus[g] = w_plus[g - 1];
            continue;
        }
        out->factor[super] = factor[g] = hone_best_factor(k->largest(x + super * HONE_QK_K, HONE_QK_K));
        hone_best_weigh(k, importance ? importance + super * HONE_QK_K : NULL, HONE_QK_K, &w_factor[g], &w_plus[g]);
    }
    k->load(x, importance, n_supers * out->n_subs, t->sub_size, factor, w_factor, w_plus, &out->tile);
}

static float largest_of(const float *v, size_t n)
{
    float most = 0.0f;
    for (size_t i = 0; i < n; i++)
        most = fabsf(v[i]) > fabsf(most) ? v[i] : most;
    return most;
}

/* The best so far of one super-block of the tile. */
struct affine_best {
    float error;
    float d, dmin;
    uint16_t half_d, half_dmin;
};

struct affine_search {
    const struct k_type *t;
    const hone_best_kernels *k;
    const struct effort *effort;
    hone_step_range range;
    struct k_tile in;
    hone_tile_floats scale, min; /* the targets; min is what is subtracted */
    hone_affine_steps best;
    struct affine_best at[SUPERS_MAX];
};

/* Tries d and dmin, one of each for every super-block. */
static void try_affine(struct affine_search *s, const float *d, const float *dmin)
{
    hone_tile_floats unit = {{0}}, unit_min = {{0}};
    hone_affine_steps found;
    struct affine_best trial[SUPERS_MAX];
    const size_t n = s->in.n_subs;
    for (size_t b = 0; b < s->in.n_supers; b++) {
        trial[b].half_d = hone_best_half(d[b], s->in.factor[b], &trial[b].d);
        trial[b].half_dmin = hone_best_half(dmin[b], s->in.factor[b], &trial[b].dmin);
        for (size_t g = b * n; g < (b + 1) * n; g++) {
            unit.of[g] = trial[b].d;
            unit_min.of[g] = trial[b].dmin;
        }
    }
    s->k->affine_step(&s->range, &s->in.tile, &unit, &unit_min, &s->scale, &s->min, &found);
    for (size_t b = 0; b < s->in.n_supers; b++) {
        trial[b].error = 0.0f;
        for (size_t g = b * n; g < (b + 1) * n; g++)
            trial[b].error += found.error.of[g];
        if (!(trial[b].error < s->at[b].error))
            continue;
        s->at[b] = trial[b];
        memcpy(s->best.scale.of + b * n, found.scale.of + b * n, n * sizeof(float));
        memcpy(s->best.min.of + b * n, found.min.of + b * n, n * sizeof(float));
        memcpy(s->best.error.of + b * n, found.error.of + b * n, n * sizeof(float));
    }
}

/* The scales and minimums of the best so far, as decoded. min: what is added. */
static void current_affine(const struct affine_search *s, hone_tile_floats *scale, hone_tile_floats *min)
{
    for (size_t g = 0; g < HONE_TILE; g++) {
        const size_t b = g / s->in.n_subs;
        scale->of[g] = b < s->in.n_supers ? s->at[b].d * s->best.scale.of[g] : 0.0f;
        min->of[g] = b < s->in.n_supers ? -(s->at[b].dmin * s->best.min.of[g]) : 0.0f;
    }
}

/* d and dmin of least squared error for the codes as they are. */
static void refit_affine(struct affine_search *s)
{
    hone_tile_floats scale, min;
    hone_tile_sums sums;
    float d[SUPERS_MAX], dmin[SUPERS_MAX];
    current_affine(s, &scale, &min);
    s->k->affine_sums(s->range.nmax, &s->in.tile, &scale, &min, &sums);
    for (size_t b = 0; b < s->in.n_supers; b++) {
        double dd = 0, dm = 0, mm = 0, xd = 0, xm = 0;
        for (size_t g = b * s->in.n_subs; g < (b + 1) * s->in.n_subs; g++) {
            const double ls = (double)s->best.scale.of[g], lm = (double)s->best.min.of[g];
            dd += ls * ls * (double)sums.ll.of[g];
            dm += ls * lm * (double)sums.l.of[g];
            mm += lm * lm * (double)sums.w.of[g];
            xd += ls * (double)sums.xl.of[g];
            xm += lm * (double)sums.x.of[g];
        }
        const double det = dd * mm - dm * dm;
        d[b] = s->at[b].d;
        dmin[b] = s->at[b].dmin;
        if (det > 1e-6 * dd * mm) {
            d[b] = (float)((xd * mm - dm * xm) / det);
            dmin[b] = (float)((dm * xd - dd * xm) / det);
        } else if (dd > 0) {
            d[b] = (float)(xd / dd);
        }
        d[b] = d[b] > 0.0f ? d[b] : s->at[b].d;
        dmin[b] = dmin[b] > 0.0f ? dmin[b] : 0.0f;
    }
    current_affine(s, &s->scale, &s->min);
    for (size_t g = 0; g < HONE_TILE; g++)
        s->min.of[g] = -s->min.of[g];
    try_affine(s, d, dmin);
}

/* What d and dmin are tried at, in units of what gives the largest sub-block the largest whole number. */
static const float nudges[] = {1.0f, 0.97f, 1.03f, 0.94f, 1.06f, 0.91f, 1.09f};

static void search_affine(struct affine_search *s)
{
    s->k->affine_fit(&s->t->affine, &s->in.tile, &s->scale, &s->min);
    for (size_t g = 0; g < HONE_TILE; g++)
        s->min.of[g] = s->min.of[g] < 0.0f ? -s->min.of[g] : 0.0f;
    float d0[SUPERS_MAX], dmin0[SUPERS_MAX], d[SUPERS_MAX], dmin[SUPERS_MAX];
    for (size_t b = 0; b < s->in.n_supers; b++) {
        s->at[b] = (struct affine_best){.error = INFINITY};
        d0[b] = largest_of(s->scale.of + b * s->in.n_subs, s->in.n_subs) / (float)s->range.hi;
        dmin0[b] = largest_of(s->min.of + b * s->in.n_subs, s->in.n_subs) / (float)s->range.hi;
    }
    for (int i = 0; i < s->effort->n_nudges; i++) {
        for (size_t b = 0; b < s->in.n_supers; b++)
            d[b] = d0[b] * nudges[i];
        try_affine(s, d, dmin0);
    }
    for (size_t b = 0; b < s->in.n_supers; b++)
        d[b] = s->at[b].d;
    for (int i = 1; i < s->effort->n_nudges; i++) {
        for (size_t b = 0; b < s->in.n_supers; b++)
            dmin[b] = dmin0[b] * nudges[i];
        try_affine(s, d, dmin);
    }
    for (int i = 0; i < s->effort->n_refits; i++)
        refit_affine(s);
}

/*
 * Least squares makes weights smaller, the more the fewer the codes: by 5 % under q2_k, and layers pass that on. A
 * block gets, wholly or in part, the scale at which it is as long as its weights are, along them. On a model of 6.8 M
 * weights KLD of q2_k fell from 0.0219 to 0.0162, the reference's being 0.0202 (standard error 0.0004); error grows by
 * 3 %. q3_k_m: 0.00450, by 0.4 of it 0.00420, by all of it 0.00403 (reference 0.00437); with importance 0.00479, by
 * 0.35 of it 0.00445, by all of it 0.00437 (reference 0.00455). All of it would cost q3_k a third of the error that
 * this search saves; 0.28 of it, with importance, is what leaves both error and KLD below the reference's.
 */
static void restore_size(const struct k_type *t, const float *x, const float *w, size_t n, const float *scale,
                         const float *min, hone_super_block *parts)
{
    double own = 0, along = 0;
    for (size_t i = 0; i < n * t->sub_size; i++) {
        const size_t j = i / t->sub_size;
        const double weight = w ? (double)w[i] : 1.0, value = (double)scale[j] * parts->codes[i] + (double)min[j];
        own += weight * (double)x[i] * (double)x[i];
        along += weight * (double)x[i] * value;
    }
    const double growth = w ? t->weighted_growth : t->plain_growth;
    const double factor = along > 0 ? 1 + growth * (own / along - 1) : 1,
                 most = 1.2; /* far above what real weights need */
    if (!(factor > 1 && factor < most))
        return;
    parts->d = hone_f32_to_f16((float)(factor * (double)hone_f16_to_f32(parts->d)));
    parts->dmin = hone_f32_to_f16((float)(factor * (double)hone_f16_to_f32(parts->dmin)));
}

static void finish_affine(const struct affine_search *s, const float *x, const float *importance, uint8_t *out)
{
    const size_t n = s->in.n_subs;
    for (size_t b = 0; b < s->in.n_supers; b++) {
        uint8_t codes[HONE_QK_K], block[sizeof(hone_block_q6_k)];
        hone_super_block parts = {.d = s->at[b].half_d, .dmin = s->at[b].half_dmin, .codes = codes};
        float scale[HONE_SUB_BLOCKS_MAX], min[HONE_SUB_BLOCKS_MAX];
        if (!(s->at[b].error < INFINITY))
            continue;
        for (size_t j = 0; j < n; j++) {
            parts.scales[j] = (uint8_t)s->best.scale.of[b * n + j];
            parts.mins[j] = (uint8_t)s->best.min.of[b * n + j];
            scale[j] = hone_f16_to_f32(parts.d) * (float)parts.scales[j];
            min[j] = -(hone_f16_to_f32(parts.dmin) * (float)parts.mins[j]);
        }
        const float *at = x + b * HONE_QK_K;
        s->k->codes(0, s->range.nmax, at, n, s->t->sub_size, scale, min, codes);
        if (s->t->plain_growth > 0)
            restore_size(s->t, at, importance ? importance + b * HONE_QK_K : NULL, n, scale, min, &parts);
        s->t->pack(&parts, block);
        hone_best_keep(s->k, s->t->dtype, at, importance ? importance + b * HONE_QK_K : NULL, s->in.factor[b], block,
                       out + b * s->t->nbytes);
    }
}

static void encode_affine(const struct k_type *t, const hone_best_kernels *k, const float *src, size_t ncols,
                          const float *importance, void *dst)
{
    uint8_t *out = dst;
    struct affine_search s = {.t = t, .k = k, .range = t->range, .effort = importance ? &t->weighted : &t->plain};
    const size_t supers = HONE_TILE * t->sub_size / HONE_QK_K, nblocks = ncols / HONE_QK_K;
    s.range.n_trials = s.effort->n_trials;
    hone_encoder(t->dtype, HONE_SEARCH_REFERENCE, k->level)(src, ncols, importance, dst);
    for (size_t i = 0; i < nblocks; i += supers) {
        const size_t left = nblocks - i, at = i * HONE_QK_K;
        const float *w = importance ? importance + at : NULL;
        load_tile(k, t, src + at, w, left < supers ? left : supers, &s.in);
        search_affine(&s);
        finish_affine(&s, src + at, w, out + i * t->nbytes);
    }
}

/* Found by trying: more and finer pulls, rounds and trials lower the error by little and cost time in proportion. */
static const float pulls[] = {-0.6f, 0.0f, 0.6f, 1.2f, 1.8f}, pulls_q2[] = {-0.3f, 0.0f, 0.3f, 0.6f, 0.9f};
enum { N_PULLS = sizeof pulls / sizeof pulls[0] };

static const struct k_type q2_k = {
    .dtype = HONE_Q2_K,
    .nbytes = sizeof(hone_block_q2_k),
    .sub_size = 16,
    .range = {.nmax = 3, .lo = 0, .hi = 15},
    .affine = {.nmax = 3, .n_pulls = N_PULLS, .pulls = pulls_q2, .n_rounds = 1, .n_polish = 1},
    .plain = {.n_trials = 2, .n_nudges = 3, .n_refits = 2},
    .weighted = {.n_trials = 2, .n_nudges = 3, .n_refits = 2},
    .pack = hone_pack_q2_k,
    .plain_growth = 1,
    .weighted_growth = 1,
};
static const struct k_type q4_k = {
    .dtype = HONE_Q4_K,
    .nbytes = sizeof(hone_block_q4_k),
    .sub_size = 32,
    .range = {.nmax = 15, .lo = 0, .hi = 63},
    .affine = {.nmax = 15, .n_pulls = N_PULLS, .pulls = pulls, .n_rounds = 3, .n_polish = 1},
    .plain = {.n_trials = 2, .n_nudges = 3, .n_refits = 2},
    .weighted = {.n_trials = 2, .n_nudges = 3, .n_refits = 2},
    .pack = hone_pack_q4_k,
};
static const struct k_type q5_k = {
    .dtype = HONE_Q5_K,
    .nbytes = sizeof(hone_block_q5_k),
    .sub_size = 32,
    .range = {.nmax = 31, .lo = 0, .hi = 63},
    .affine = {.nmax = 31, .n_pulls = N_PULLS, .pulls = pulls, .n_rounds = 2, .n_polish = 1},
    .plain = {.n_trials = 2, .n_nudges = 3, .n_refits = 2},
    .weighted = {.n_trials = 2, .n_nudges = 3, .n_refits = 2},
    .pack = hone_pack_q5_k,
};

void hone_best_q2_k(const hone_best_kernels *k, const float *src, size_t ncols, const float *importance, void *dst)
{
    encode_affine(&q2_k, k, src, ncols, importance, dst);
}

void hone_best_q4_k(const hone_best_kernels *k, const float *src, size_t ncols, const float *importance, void *dst)
{
    encode_affine(&q4_k, k, src, ncols, importance, dst);
}

void hone_best_q5_k(const hone_best_kernels *k, const float *src, size_t ncols, const float *importance, void *dst)
{
    encode_affine(&q5_k, k, src, ncols, importance, dst);
}

/* The best so far of one super-block of the tile. */
struct symmetric_best {
    float error, d;
    uint16_t half_d;
};

struct symmetric_search {
    const struct k_type *t;
    const hone_best_kernels *k;
    const struct effort *effort;
    hone_step_range range;
    struct k_tile in;
    hone_tile_floats scale; /* the targets */
    hone_symmetric_steps best;
    struct symmetric_best at[SUPERS_MAX];
};

/* Tries d, one for every super-block. */
static void try_symmetric(struct symmetric_search *s, const float *d)
{
    hone_tile_floats unit = {{0}};
    hone_symmetric_steps found;
    struct symmetric_best trial[SUPERS_MAX];
    const size_t n = s->in.n_subs;
    for (size_t b = 0; b < s->in.n_supers; b++) {
        trial[b].half_d = hone_best_half(d[b], s->in.factor[b], &trial[b].d);
        for (size_t g = b * n; g < (b + 1) * n; g++)
            unit.of[g] = trial[b].d;
    }
    s->k->symmetric_step(s->effort->grid.codes, &s->range, &s->in.tile, &unit, &s->scale, &found);
    for (size_t b = 0; b < s->in.n_supers; b++) {
        trial[b].error = 0.0f;
        for (size_t g = b * n; g < (b + 1) * n; g++)
            trial[b].error += found.error.of[g];
        if (!(trial[b].error < s->at[b].error))
            continue;
        s->at[b] = trial[b];
        memcpy(s->best.scale.of + b * n, found.scale.of + b * n, n * sizeof(float));
        memcpy(s->best.error.of + b * n, found.error.of + b * n, n * sizeof(float));
    }
}

/* d of least squared error for the codes as they are. */
static void refit_symmetric(struct symmetric_search *s)
{
    hone_tile_sums sums;
    float d[SUPERS_MAX];
    const size_t n = s->in.n_subs;
    for (size_t g = 0; g < s->in.n_supers * n; g++)
        s->scale.of[g] = s->at[g / n].d * s->best.scale.of[g];
    s->k->symmetric_sums(s->effort->grid.codes, &s->in.tile, &s->scale, &sums);
    for (size_t b = 0; b < s->in.n_supers; b++) {
        double dd = 0, xd = 0;
        for (size_t g = b * n; g < (b + 1) * n; g++) {
            const double l = (double)s->best.scale.of[g];
            dd += l * l * (double)sums.ll.of[g];
            xd += l * (double)sums.xl.of[g];
        }
        d[b] = dd > 0 ? (float)(xd / dd) : s->at[b].d;
    }
    try_symmetric(s, d);
}

static void search_symmetric(struct symmetric_search *s)
{
    float d0[SUPERS_MAX], d[SUPERS_MAX];
    const size_t n = s->in.n_subs;
    s->k->symmetric_fit(&s->effort->grid, &s->in.tile, &s->scale);
    for (size_t b = 0; b < s->in.n_supers; b++) {
        d0[b] = largest_of(s->scale.of + b * n, n) / (float)s->range.lo;
        s->at[b] = (struct symmetric_best){.error = INFINITY};
    }
    for (int i = 0; i < s->effort->n_nudges; i++) {
        for (size_t b = 0; b < s->in.n_supers; b++)
            d[b] = d0[b] * nudges[i];
        try_symmetric(s, d);
    }
    for (int i = 0; i < s->effort->n_refits; i++)
        refit_symmetric(s);
}

static void finish_symmetric(const struct symmetric_search *s, const float *x, const float *importance, uint8_t *out)
{
    const size_t n = s->in.n_subs;
    const hone_code_set set = s->effort->grid.codes;
    for (size_t b = 0; b < s->in.n_supers; b++) {
        uint8_t codes[HONE_QK_K], block[sizeof(hone_block_q6_k)];
        hone_super_block parts = {.d = s->at[b].half_d, .codes = codes};
        float scale[HONE_SUB_BLOCKS_MAX];
        if (!(s->at[b].error < INFINITY))
            continue;
        for (size_t j = 0; j < n; j++) {
            const int steps = (int)s->best.scale.of[b * n + j];
            parts.scales[j] = (uint8_t)(steps + s->t->scale_zero);
            scale[j] = hone_f16_to_f32(parts.d) * (float)steps;
        }
        const float *at = x + b * HONE_QK_K;
        if (set.kind == HONE_CODES_WHOLE)
            s->k->codes(-set.nmax, set.nmax - 1, at, n, s->t->sub_size, scale, NULL, codes);
        else
            s->k->table_codes(set.kind, at, n, s->t->sub_size, scale, codes);
        if (s->t->plain_growth > 0) {
            float zero[HONE_SUB_BLOCKS_MAX];
            for (size_t j = 0; j < n; j++)
                zero[j] = -((float)set.nmax * scale[j]);
            restore_size(s->t, at, importance ? importance + b * HONE_QK_K : NULL, n, scale, zero, &parts);
        }
        s->t->pack(&parts, block);
        hone_best_keep(s->k, s->t->dtype, at, importance ? importance + b * HONE_QK_K : NULL, s->in.factor[b], block,
                       out + b * s->t->nbytes);
    }
}

static void encode_symmetric(const struct k_type *t, const hone_best_kernels *k, const float *src, size_t ncols,
                             const float *importance, void *dst)
{
    uint8_t *out = dst;
    struct symmetric_search s = {.t = t, .k = k, .range = t->range, .effort = importance ? &t->weighted : &t->plain};
    const size_t supers = HONE_TILE * t->sub_size / HONE_QK_K, nblocks = ncols / HONE_QK_K;
    s.range.n_trials = s.effort->n_trials;
    hone_encoder(t->dtype, HONE_SEARCH_REFERENCE, k->level)(src, ncols, importance, dst);
    for (size_t i = 0; i < nblocks; i += supers) {
        const size_t left = nblocks - i, at = i * HONE_QK_K;
        const float *w = importance ? importance + at : NULL;
        load_tile(k, t, src + at, w, left < supers ? left : supers, &s.in);
        search_symmetric(&s);
        finish_symmetric(&s, src + at, w, out + i * t->nbytes);
    }
}

static const float ratios_q3[] = {2.3f, 2.7f, 3.2f, 3.6f, 4.0f, 4.4f, 4.8f};
static const float weighted_q3[] = {1.9f, 2.1f, 2.3f, 2.5f, 2.7f, 2.95f, 3.2f, 3.4f,
                                    3.6f, 3.8f, 4.0f, 4.2f, 4.4f, 4.6f,  4.8f, 5.2f};
static const float ratios_q6[] = {20.0f, 20.5f, 21.0f, 21.5f, 22.0f, 22.5f, 23.0f, 23.5f, 24.0f, 24.5f, 25.0f,
                                  25.5f, 26.0f, 26.5f, 27.0f, 27.5f, 28.0f, 28.5f, 29.0f, 29.5f, 30.0f, 30.5f,
                                  31.0f, 31.5f, 32.0f, 32.5f, 33.0f, 33.5f, 34.0f, 34.5f, 35.0f, 35.5f, 36.0f};

static const float ratios_iq4[] = {84, 90, 96, 102, 108, 114, 120, 126, 132};
static const float weighted_iq4[] = {70, 76, 82, 88, 94, 100, 106, 112, 118, 124, 130, 136, 142, 148, 154, 160};

/* NOLINTBEGIN(bugprone-macro-parentheses): a member to initialise */
#define RATIOS(list) .n_ratios = sizeof(list) / sizeof(float), .ratios = (list)
/* NOLINTEND(bugprone-macro-parentheses) */

static const struct k_type q3_k = {
    .dtype = HONE_Q3_K,
    .nbytes = sizeof(hone_block_q3_k),
    .sub_size = 16,
    .range = {.lo = -32, .hi = 31},
    .plain = {.grid = {.codes.nmax = 4, RATIOS(ratios_q3), .n_rounds = 1}, .n_trials = 2, .n_nudges = 3, .n_refits = 1},
    .weighted = {.grid = {.codes.nmax = 4, RATIOS(weighted_q3), .n_rounds = 2},
                 .n_trials = 21,
                 .n_nudges = 3,
                 .n_refits = 2},
    .scale_zero = 32,
    .pack = hone_pack_q3_k,
    .plain_growth = 0.4,
    .weighted_growth = 0.28,
};
static const struct k_type q6_k = {
    .dtype = HONE_Q6_K,
    .nbytes = sizeof(hone_block_q6_k),
    .sub_size = 16,
    .range = {.lo = -128, .hi = 127},
    .plain = {.grid = {.codes.nmax = 32, RATIOS(ratios_q6), .n_rounds = 2},
              .n_trials = 5,
              .n_nudges = 3,
              .n_refits = 1},
    .weighted = {.grid = {.codes.nmax = 32, RATIOS(ratios_q6), .n_rounds = 2},
                 .n_trials = 5,
                 .n_nudges = 3,
                 .n_refits = 1},
    .pack = hone_pack_q6_k,
};
static const struct k_type iq4_xs = {
    .dtype = HONE_IQ4_XS,
    .nbytes = sizeof(hone_block_iq4_xs),
    .sub_size = 32,
    .range = {.lo = -32, .hi = 31},
    .plain = {.grid = {.codes.kind = HONE_CODES_IQ4, RATIOS(ratios_iq4), .n_rounds = 2},
              .n_trials = 3,
              .n_nudges = 3,
              .n_refits = 1},
    .weighted = {.grid = {.codes.kind = HONE_CODES_IQ4, RATIOS(weighted_iq4), .n_rounds = 2},
                 .n_trials = 3,
                 .n_nudges = 3,
                 .n_refits = 1},
    .scale_zero = 32,
    .pack = hone_pack_iq4_xs,
};

void hone_best_iq4_xs(const hone_best_kernels *k, const float *src, size_t ncols, const float *importance, void *dst)
{
    encode_symmetric(&iq4_xs, k, src, ncols, importance, dst);
}

void hone_best_q3_k(const hone_best_kernels *k, const float *src, size_t ncols, const float *importance, void *dst)
{
    encode_symmetric(&q3_k, k, src, ncols, importance, dst);
}

void hone_best_q6_k(const hone_best_kernels *k, const float *src, size_t ncols, const float *importance, void *dst)
{
    encode_symmetric(&q6_k, k, src, ncols, importance, dst);
}
