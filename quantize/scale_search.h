/* SPDX-License-Identifier: MIT */
/*
 * The searches for scales and codes that ggml's quantizers are made of.
 *
 * Glossary. A group is a run of neighbouring weights that share a scale: a block of 32, or a sub-block of 16 or 32. x
 * is a weight, w its importance, l its integer code; x is approximated by scale * l, or by scale * l + min. Sums run
 * over the elements of a group in order, in f32: the order of additions is part of the definition. A faster version
 * works on several groups at once and never splits the sum of one.
 */
#ifndef HONE_SCALE_SEARCH_H
#define HONE_SCALE_SEARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HONE_GROUP_MAX = 32 };

/* n groups of `size` neighbouring elements each, 16 or 32: x and w hold n * size floats. */
typedef struct hone_groups {
    const float *x;
    const float *w;
    size_t n, size;
} hone_groups;

/* The trials of a minmax search: inverse scales (nmax + offset + step * k) / (max - min) for k in [0, n_steps]. */
typedef struct hone_minmax_grid {
    int nmax; /* codes are in [0, nmax] */
    float offset, step;
    int n_steps;
    bool absolute; /* minimize the sum of w |error|, not of w error^2 */
} hone_minmax_grid;

/* How a group with scale and min is coded at last: l = clamp((x + min) / scale, lo, hi) - lo. */
typedef struct hone_recode_range {
    int lo, hi;
} hone_recode_range;

/* One implementation of the searches. Codes are n * size bytes; scales, mins: one per group. */
typedef struct hone_search_kernels {
    /* w = importance * sqrt(sigma2 + x^2): large weights matter more than their importance alone says. */
    void (*weigh)(const float *importance, const float *x, size_t n, float sigma2, float *w);
    /* x ~ scale * l - min with min >= 0, l in [0, nmax]. Zeros, or one negative value throughout, have scale 0. */
    void (*minmax)(const hone_minmax_grid *grid, const hone_groups *g, uint8_t *codes, float *scales, float *mins);
    /* x ~ scale * (code - nmax), code in [0, 2 nmax - 1]; the element of largest magnitude gets code 0 in the first
     * trial. Scale and codes are 0 where |x| < 1e-15. */
    void (*sym)(int nmax, const hone_groups *g, uint8_t *codes, float *scales);
    /* As sym, with weights x^2 (g->w is not read), by moving one code at a time downhill. codes may be NULL. */
    void (*descent)(int nmax, const hone_groups *g, uint8_t *codes, float *scales);
    /* Codes of groups whose scale is not 0; the others keep theirs. mins may be NULL (zeros). */
    void (*recode)(hone_recode_range range, const hone_groups *g, const float *scales, const float *mins,
                   uint8_t *codes);
    /* x ~ scale * V[code] for groups of 32, V the table of iq4. Scales are 0 where |x| < 1e-15. */
    void (*iq4_scales)(const hone_groups *g, float *scales);
    /* Codes of the entries nearest to inverses[i] * x. */
    void (*iq4_codes)(const hone_groups *g, const float *inverses, uint8_t *codes);
} hone_search_kernels;

extern const hone_search_kernels hone_search_ref;

/* Those of hone_search_ref for iq4. */
void hone_iq4_scales(const hone_groups *g, float *scales);
void hone_iq4_codes(const hone_groups *g, const float *inverses, uint8_t *codes);

/* hone_sum_squares() adds x^2 in order. */
float hone_sum_squares(const float *x, size_t n);

/*
 * hone_search_positive() finds x ~ scale * l for n values with l in [0, nmax] and returns the scale; scale and
 * codes are 0 when max x < 1e-15.
 */
float hone_search_positive(int nmax, const float *x, const float *w, size_t n, uint8_t *codes);

#endif
