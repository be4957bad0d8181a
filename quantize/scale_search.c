/* SPDX-License-Identifier: MIT */
/* The searches in portable C: the definition (ggml-quants.c of llama.cpp: make_qkx3, make_qx, make_q3, make_qp). */
#include "quantize/scale_search.h"

#include <math.h>
#include <string.h>

#include "quantize/rounding.h"

/* Weights below this are taken as zero (ggml's GROUP_MAX_EPS): their inverse would soon leave f32. */
static const float tiny = 1e-15f;

float hone_sum_squares(const float *x, size_t n)
{
    float sum = 0.0f;
    for (size_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    return sum;
}

static void weigh(const float *importance, const float *x, size_t n, float sigma2, float *w)
{
    for (size_t i = 0; i < n; i++)
        w[i] = importance[i] * sqrtf(sigma2 + x[i] * x[i]);
}

/* The element of largest magnitude, with its sign; the first of equals. */
static float signed_extreme(const float *x, size_t n)
{
    float extreme = 0.0f;
    for (size_t i = 0; i < n; i++)
        if (fabsf(x[i]) > fabsf(extreme))
            extreme = x[i];
    return extreme;
}

static float minmax_error(const hone_minmax_grid *grid, const float *x, const float *w, const float *l, size_t n,
                          float scale, float min)
{
    float error = 0.0f;
    for (size_t i = 0; i < n; i++) {
        const float diff = scale * l[i] + min - x[i];
        error += w[i] * (grid->absolute ? fabsf(diff) : diff * diff);
    }
    return error;
}

static void minmax_codes(const hone_minmax_grid *grid, const float *x, size_t n, float inverse, float base, float *l)
{
    for (size_t i = 0; i < n; i++)
        l[i] = (float)hone_clamp_int(hone_nearest(inverse * (x[i] - base)), 0, grid->nmax);
}

/*
 * The least squares fit of x ~ scale * l + min for given codes l; where the free fit wants min > 0, min = 0. False when
 * the codes (or the weights) determine no line.
 */
static bool minmax_fit(const float *x, const float *w, const float *l, size_t n, float sum_w, float sum_x, float *scale,
                       float *min)
{
    float sum_l = 0.0f, sum_l2 = 0.0f, sum_xl = 0.0f;
    for (size_t i = 0; i < n; i++) {
        const float wl = w[i] * l[i];
        sum_l += wl;
        sum_l2 += wl * l[i];
        sum_xl += wl * x[i];
    }
    const float det = sum_w * sum_l2 - sum_l * sum_l;
    if (!(det > 0.0f))
        return false;
    *scale = (sum_w * sum_xl - sum_x * sum_l) / det;
    *min = (sum_l2 * sum_x - sum_l * sum_xl) / det;
    if (*min > 0.0f) {
        *min = 0.0f;
        *scale = sum_xl / sum_l2;
    }
    return true;
}

static void minmax_group(const hone_minmax_grid *grid, const float *x, const float *w, size_t n, uint8_t *codes,
                         float *out_scale, float *out_min)
{
    float min = x[0], max = x[0], sum_w = w[0], sum_x = w[0] * x[0];
    for (size_t i = 1; i < n; i++) {
        min = x[i] < min ? x[i] : min;
        max = x[i] > max ? x[i] : max;
        sum_w += w[i];
        sum_x += w[i] * x[i];
    }
    min = min > 0.0f ? 0.0f : min;
    if (max <= min) {
        memset(codes, 0, n);
        *out_scale = 0.0f;
        *out_min = -min;
        return;
    }

    float l[HONE_GROUP_MAX];
    /* The codes of the best trial, by the inverse and the base that they were rounded with. */
    float best_inverse = (float)grid->nmax / (max - min), best_base = min;
    float scale = 1.0f / best_inverse;
    minmax_codes(grid, x, n, best_inverse, best_base, l);
    float best_error = minmax_error(grid, x, w, l, n, scale, min);
    for (int k = 0; k <= grid->n_steps; k++) {
        const float inverse = (grid->offset + grid->step * (float)k + (float)grid->nmax) / (max - min);
        float trial_scale, trial_min;
        minmax_codes(grid, x, n, inverse, min, l);
        if (!minmax_fit(x, w, l, n, sum_w, sum_x, &trial_scale, &trial_min))
            continue;
        const float error = minmax_error(grid, x, w, l, n, trial_scale, trial_min);
        if (error < best_error) {
            best_error = error;
            best_inverse = inverse;
            best_base = min;
            scale = trial_scale;
            min = trial_min; /* the next trials start from it */
        }
    }
    minmax_codes(grid, x, n, best_inverse, best_base, l);
    for (size_t i = 0; i < n; i++)
        codes[i] = (uint8_t)l[i];
    *out_scale = scale;
    *out_min = -min;
}

static void minmax(const hone_minmax_grid *grid, const hone_groups *g, uint8_t *codes, float *scales, float *mins)
{
    for (size_t i = 0; i < g->n; i++) {
        const size_t at = i * g->size;
        minmax_group(grid, g->x + at, g->w + at, g->size, codes + at, &scales[i], &mins[i]);
    }
}

/* For codes l of x: sums of w x l and w l^2. Their quotient is the best scale, and xl^2 / ll what it takes off the
 * error. */
struct sums {
    float xl, ll;
};

static struct sums sym_sums(int nmax, const float *x, const float *w, size_t n, float inverse)
{
    struct sums s = {0.0f, 0.0f};
    for (size_t i = 0; i < n; i++) {
        const float l = (float)hone_clamp_int(hone_nearest(inverse * x[i]), -nmax, nmax - 1);
        s.xl += w[i] * x[i] * l;
        s.ll += w[i] * l * l;
    }
    return s;
}

static float sym_group(int nmax, const float *x, const float *w, size_t n, uint8_t *codes)
{
    const float extreme = signed_extreme(x, n);
    if (fabsf(extreme) < tiny) {
        memset(codes, 0, n);
        return 0.0f;
    }
    float best_inverse = -(float)nmax / extreme;
    const struct sums first = sym_sums(nmax, x, w, n, best_inverse);
    float scale = first.ll != 0.0f ? first.xl / first.ll : 0.0f;
    float best = scale * first.xl;
    for (int k = -9; k <= 9; k++) {
        if (k == 0)
            continue;
        const float inverse = -((float)nmax + 0.1f * (float)k) / extreme;
        const struct sums s = sym_sums(nmax, x, w, n, inverse);
        if (s.ll > 0.0f && s.xl * s.xl > best * s.ll) {
            scale = s.xl / s.ll;
            best = scale * s.xl;
            best_inverse = inverse;
        }
    }
    for (size_t i = 0; i < n; i++)
        codes[i] = (uint8_t)(nmax + hone_clamp_int(hone_nearest(best_inverse * x[i]), -nmax, nmax - 1));
    return scale;
}

static void sym(int nmax, const hone_groups *g, uint8_t *codes, float *scales)
{
    for (size_t i = 0; i < g->n; i++) {
        const size_t at = i * g->size;
        scales[i] = sym_group(nmax, g->x + at, g->w + at, g->size, codes + at);
    }
}

/* One sweep: each element in turn takes the code nearest under the scale that the others want. True if any moved. */
static bool descent_sweep(int nmax, const float *x, size_t n, int *l, struct sums *s)
{
    bool moved = false;
    for (size_t i = 0; i < n; i++) {
        const float w = x[i] * x[i];
        struct sums t = {s->xl - w * x[i] * (float)l[i], s->ll - w * (float)l[i] * (float)l[i]};
        if (!(t.xl > 0.0f))
            continue;
        const int code = hone_clamp_int(hone_nearest(x[i] * t.ll / t.xl), -nmax, nmax - 1);
        if (code == l[i])
            continue;
        t.xl += w * x[i] * (float)code;
        t.ll += w * (float)code * (float)code;
        if (t.ll > 0.0f && t.xl * t.xl * s->ll > s->xl * s->xl * t.ll) {
            l[i] = code;
            *s = t;
            moved = true;
        }
    }
    return moved;
}

enum { MAX_SWEEPS = 5 };

static float descent_group(int nmax, const float *x, size_t n, uint8_t *codes)
{
    const float extreme = signed_extreme(x, n);
    if (fabsf(extreme) < tiny) {
        if (codes)
            memset(codes, 0, n);
        return 0.0f;
    }
    const float inverse = -(float)nmax / extreme;
    int l[HONE_GROUP_MAX];
    struct sums s = {0.0f, 0.0f};
    for (size_t i = 0; i < n; i++) {
        const float w = x[i] * x[i];
        l[i] = hone_clamp_int(hone_nearest(inverse * x[i]), -nmax, nmax - 1);
        s.xl += w * x[i] * (float)l[i];
        s.ll += w * (float)l[i] * (float)l[i];
    }
    for (int sweep = 0; sweep < MAX_SWEEPS && descent_sweep(nmax, x, n, l, &s); sweep++)
        ;
    for (size_t i = 0; codes && i < n; i++)
        codes[i] = (uint8_t)(l[i] + nmax);
    return s.ll > 0.0f ? s.xl / s.ll : 0.0f;
}

static void descent(int nmax, const hone_groups *g, uint8_t *codes, float *scales)
{
    for (size_t i = 0; i < g->n; i++)
        scales[i] = descent_group(nmax, g->x + i * g->size, g->size, codes ? codes + i * g->size : NULL);
}

static void recode(hone_recode_range range, const hone_groups *g, const float *scales, const float *mins,
                   uint8_t *codes)
{
    for (size_t i = 0; i < g->n; i++) {
        const float scale = scales[i], min = mins ? mins[i] : 0.0f;
        if (scale == 0.0f)
            continue;
        for (size_t j = i * g->size; j < (i + 1) * g->size; j++)
            codes[j] = (uint8_t)(hone_clamp_int(hone_nearest((g->x[j] + min) / scale), range.lo, range.hi) - range.lo);
    }
}

const hone_search_kernels hone_search_ref = {
    .weigh = weigh,
    .minmax = minmax,
    .sym = sym,
    .descent = descent,
    .recode = recode,
    .iq4_scales = hone_iq4_scales,
    .iq4_codes = hone_iq4_codes,
};

static int positive_code(float v, int nmax)
{
    const int l = hone_nearest(v);
    return l < nmax ? l : nmax;
}

/* Codes of values below zero (signs that were bent, in iq2_xxs) wrap where ggml stores them in a byte: in the first
 * trial, and between sweeps. */

/* The inverse scale of least squared error among nmax / max and (nmax + 0.1 k) / max. */
static float positive_start(int nmax, const float *x, const float *w, size_t n, float max)
{
    float best_inverse = (float)nmax / max, best_error = 0.0f;
    for (int trial = 0; trial < 9; trial++) {
        /* The plain inverse goes first, so that a tie keeps it. */
        static const int order[9] = {0, -4, -3, -2, -1, 1, 2, 3, 4};
        const float inverse = trial == 0 ? best_inverse : (0.1f * (float)order[trial] + (float)nmax) / max;
        const float scale = 1.0f / inverse;
        float error = 0.0f;
        for (size_t i = 0; i < n; i++) {
            const int l = positive_code(inverse * x[i], nmax);
            const float diff = x[i] - scale * (float)(trial == 0 ? (uint8_t)l : l);
            error += w[i] * diff * diff;
        }
        if (trial == 0 || error < best_error) {
            best_error = error;
            best_inverse = inverse;
        }
    }
    return best_inverse;
}

static bool positive_sweep(int nmax, const float *x, const float *w, size_t n, uint8_t *codes, struct sums *s)
{
    bool moved = false;
    for (size_t i = 0; i < n; i++) {
        const float l = (float)codes[i];
        struct sums t = {s->xl - w[i] * x[i] * l, s->ll - w[i] * l * l};
        if (!(t.xl > 0.0f && t.ll > 0.0f))
            continue;
        const int nearest = hone_nearest(x[i] * t.ll / t.xl);
        const int code = nearest < nmax ? nearest : nmax;
        if (code == codes[i])
            continue;
        t.xl += w[i] * x[i] * (float)code;
        t.ll += w[i] * (float)code * (float)code;
        if (t.xl * t.xl * s->ll > s->xl * s->xl * t.ll) {
            codes[i] = (uint8_t)code;
            *s = t;
            moved = true;
        }
    }
    return moved;
}

float hone_search_positive(int nmax, const float *x, const float *w, size_t n, uint8_t *codes)
{
    float max = 0.0f;
    for (size_t i = 0; i < n; i++)
        max = max > x[i] ? max : x[i];
    if (max < tiny) {
        memset(codes, 0, n);
        return 0.0f;
    }
    const float inverse = positive_start(nmax, x, w, n, max);
    struct sums s = {0.0f, 0.0f};
    for (size_t i = 0; i < n; i++) {
        const int code = positive_code(inverse * x[i], nmax);
        codes[i] = (uint8_t)code;
        const float l = (float)code;
        s.xl += w[i] * x[i] * l;
        s.ll += w[i] * l * l;
    }
    for (int sweep = 0; sweep < MAX_SWEEPS && positive_sweep(nmax, x, w, n, codes, &s); sweep++)
        ;
    return s.ll > 0.0f ? s.xl / s.ll : 0.0f;
}
