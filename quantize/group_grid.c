/* SPDX-License-Identifier: MIT */
#include "quantize/group_grid.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/half.h"
#include "quantize/best.h"
#include "quantize/rounding.h"

enum { N_POLISH = 2 };

static const float FAR = 4096.0f; /* beyond every code and zero, within what hone_nearest() takes */

struct point {
    float scale, zero;
};

static float as_stored(hone_dtype dtype, float v)
{
    if (dtype == HONE_F16)
        return hone_f16_to_f32(hone_f32_to_f16(v > 65504.0f ? 65504.0f : v < -65504.0f ? -65504.0f : v));
    if (dtype == HONE_BF16) {
        const float rounded = hone_bf16_to_f32(hone_f32_to_bf16(v));
        return isinf(rounded) ? copysignf(0x1.fep+127f, v) : rounded;
    }
    return isinf(v) ? copysignf(FLT_MAX, v) : v;
}

/* What a scale that comes out as 0 becomes. compressed-tensors takes the type's epsilon; where it does not matter, the
 * least number above 0. */
static float least_scale(const hone_grid *g)
{
    if (g->rule == HONE_GRID_COMPRESSED)
        return g->stored == HONE_F16 ? 0x1p-10f : g->stored == HONE_BF16 ? 0x1p-7f : 0x1p-23f;
    return g->stored == HONE_F16 ? 0x1p-24f : 0x1p-126f;
}

static float stored_scale(const hone_grid *g, float scale)
{
    const float rounded = as_stored(g->stored, scale);
    return rounded == 0.0f ? least_scale(g) : rounded;
}

static float quotient(float x, float scale)
{
    const float v = x / scale;
    return v > FAR ? FAR : v < -FAR ? -FAR : v;
}

static int max_code(const hone_grid *g)
{
    return (1 << g->bits) - 1;
}

/* --- from a point of the grid to codes and back ---------------------------------------------------------------------
 */

static void encode_at(const hone_grid *g, struct point p, const float *x, size_t n, uint8_t *codes)
{
    const int max = max_code(g), half = 1 << (g->bits - 1);
    switch (g->rule) {
    case HONE_GRID_COMPRESSED: { /* codes and zeros are signed there, and the zero joins before rounding */
        const float zero = p.zero - (float)half;
        for (size_t i = 0; i < n; i++)
            codes[i] = (uint8_t)(hone_clamp_int(hone_nearest(quotient(x[i], p.scale) + zero), -half, half - 1) + half);
        break;
    }
    case HONE_GRID_GPTQ:
    case HONE_GRID_AWQ: {
        const int zero = (int)p.zero;
        for (size_t i = 0; i < n; i++)
            codes[i] = (uint8_t)hone_clamp_int(hone_nearest(quotient(x[i], p.scale)) + zero, 0, max);
        break;
    }
    case HONE_GRID_MLX:
        for (size_t i = 0; i < n; i++)
            codes[i] = (uint8_t)hone_clamp_int(hone_nearest(quotient(x[i] - p.zero, p.scale)), 0, max);
        break;
    }
}

static float value_of(const hone_grid *g, struct point p, uint8_t code)
{
    return g->rule == HONE_GRID_MLX ? (float)code * p.scale + p.zero : p.scale * ((float)code - p.zero);
}

void hone_grid_decode(const hone_grid *g, const uint8_t *codes, size_t n, float scale, float zero, float *dst)
{
    for (size_t i = 0; i < n; i++)
        dst[i] = value_of(g, (struct point){scale, zero}, codes[i]);
}

float hone_grid_base(const hone_grid *g, float scale, float zero)
{
    return g->rule == HONE_GRID_MLX ? zero : -scale * zero;
}

/* --- the rules' own choices -----------------------------------------------------------------------------------------
 */

static void find_range(const float *x, size_t n, float *lo, float *hi)
{
    *lo = *hi = x[0];
    for (size_t i = 1; i < n; i++) {
        *lo = x[i] < *lo ? x[i] : *lo;
        *hi = x[i] > *hi ? x[i] : *hi;
    }
}

/* Half the codes, less one half, span the larger magnitude. */
static struct point choose_symmetric(const hone_grid *g, float lo, float hi)
{
    const float largest = -lo > hi ? -lo : hi;
    return (struct point){stored_scale(g, largest / ((float)max_code(g) / 2.0f)), (float)(1 << (g->bits - 1))};
}

static struct point choose_compressed(const hone_grid *g, float lo, float hi)
{
    const float n = (float)max_code(g), least = -(float)(1 << (g->bits - 1)), most = least + n;
    const float scale = stored_scale(g, (hi - lo) / n);
    float zero = least - lo / scale;
    zero = zero < least ? least : zero > most ? most : zero;
    return (struct point){scale, (float)hone_nearest(zero) - least};
}

static struct point choose_gptq(const hone_grid *g, float lo, float hi)
{
    if (lo == 0.0f && hi == 0.0f) {
        lo = -1.0f;
        hi = 1.0f;
    }
    const float scale = stored_scale(g, (hi - lo) / (float)max_code(g));
    return (struct point){scale, (float)hone_clamp_int(hone_nearest(quotient(-lo, scale)), 0, max_code(g))};
}

static struct point choose_awq(const hone_grid *g, float lo, float hi)
{
    const float range = hi - lo > 1e-5f ? hi - lo : 1e-5f, scale = stored_scale(g, range / (float)max_code(g));
    return (struct point){scale, (float)hone_clamp_int(-hone_nearest(quotient(lo, scale)), 0, max_code(g))};
}

/* The scale and zero that codes are found with; MLX rounds them only for storing. */
static struct point choose_mlx(const hone_grid *g, float lo, float hi)
{
    float scale = (hi - lo) / (float)max_code(g);
    scale = scale > 1e-7f ? scale : 1e-7f;
    const bool low_edge = fabsf(lo) > fabsf(hi);
    const float edge = low_edge ? lo : hi;
    scale = low_edge ? scale : -scale;
    const float steps = (float)hone_nearest(quotient(edge, scale));
    return steps != 0.0f ? (struct point){edge / steps, edge} : (struct point){scale, 0.0f};
}

static struct point choose(const hone_grid *g, float lo, float hi)
{
    if (g->rule == HONE_GRID_MLX)
        return choose_mlx(g, lo, hi);
    if (g->rule == HONE_GRID_AWQ)
        return choose_awq(g, lo, hi);
    lo = lo < 0.0f ? lo : 0.0f;
    hi = hi > 0.0f ? hi : 0.0f;
    if (g->rule == HONE_GRID_GPTQ && g->symmetric && lo == 0.0f && hi == 0.0f)
        hi = 1.0f;
    if (g->symmetric)
        return choose_symmetric(g, lo, hi);
    return g->rule == HONE_GRID_GPTQ ? choose_gptq(g, lo, hi) : choose_compressed(g, lo, hi);
}

static struct point as_stored_point(const hone_grid *g, struct point p)
{
    if (g->rule == HONE_GRID_MLX) {
        p.scale = as_stored(g->stored, p.scale);
        p.zero = as_stored(g->stored, p.zero);
    }
    return p;
}

/* --- search ---------------------------------------------------------------------------------------------------------
 *
 * Ranges narrower than the group's clip what is rare and large, and bring the steps closer together. For each the codes
 * are taken and the line of least squared error for them; the best line once more. What is found is rounded for
 * storing, and must then beat the rule's own choice, both as decoded.
 */

struct search {
    const hone_grid *grid;
    hone_run run;
    float lo, hi; /* the range, 0 included where zeros are whole numbers; in the units of run */
    double gain;  /* what the best line takes off the sum of squares */
    struct point best;
};

static float largest_of(const hone_best_kernels *k, const float *x, size_t n)
{
    const size_t whole = n / HONE_TILE * HONE_TILE;
    float largest = k->largest(x, whole);
    for (size_t i = whole; i < n; i++)
        largest = fabsf(x[i]) > largest ? fabsf(x[i]) : largest;
    return largest;
}

static struct search start_search(const hone_grid *g, const float *x, size_t n, const float *importance)
{
    struct search s = {
        .grid = g, .run = {.x = x, .w = importance, .n = n, .w_factor = 1.0f}, .gain = -(double)INFINITY};
    const float most = importance ? largest_of(g->search, importance, n) : 1.0f;
    s.run.x_factor = hone_best_factor(largest_of(g->search, x, n));
    s.run.w_plus = most > 0.0f ? most * 0x1p-30f : 1.0f;
    s.run.w_factor = hone_best_factor(most);
    find_range(x, n, &s.lo, &s.hi);
    s.lo *= s.run.x_factor;
    s.hi *= s.run.x_factor;
    if (g->rule == HONE_GRID_MLX) { /* counted from the lowest, so that sums do not cancel */
        s.run.shift = s.lo;
    } else {
        s.lo = s.lo < 0.0f ? s.lo : 0.0f;
        s.hi = s.hi > 0.0f ? s.hi : 0.0f;
    }
    return s;
}

struct ends {
    float lo, hi;
};

/* Where most of the weight is: so many standard deviations around the mean, within the range. A weight far off, and of
 * no importance, does not stretch it. */
static struct ends bulk(const struct search *s, float deviations)
{
    enum { FINE = 32767 };
    hone_run_sums sums;
    const float largest = fabsf(s->lo) > fabsf(s->hi) ? fabsf(s->lo) : fabsf(s->hi);
    const float inverse = (float)FINE / (s->run.shift != 0.0f ? s->hi - s->lo : largest);
    s->grid->search->run_sums(&s->run, 0.0f, inverse, -FINE, FINE, &sums);
    const double w = (double)sums.w, mean = (double)sums.x / w;
    const double squares = (double)sums.ll / w / ((double)inverse * (double)inverse) - mean * mean;
    const float reach = deviations * (float)sqrt(squares > 0 ? squares : 0);
    const float middle = (float)mean + s->run.shift;
    return (struct ends){middle - reach > s->lo ? middle - reach : s->lo,
                         middle + reach < s->hi ? middle + reach : s->hi};
}

/* How far from the mean ends do least harm to a bell-shaped group; trial widths around that. */
static float bulk_deviations(const hone_grid *g)
{
    return 0.75f + 0.5f * (float)g->bits;
}

static const float bulk_widths[] = {0.8f, 1.0f, 1.25f};
enum { N_BULK_WIDTHS = sizeof bulk_widths / sizeof bulk_widths[0] };

/* x ~ scale * (q - zero), zero a whole number. */
static void try_whole(struct search *s, float scale, float zero)
{
    hone_run_sums sums;
    const int max = max_code(s->grid), z = (int)zero;
    if (zero < 0.0f || zero > (float)max || !(scale > 0.0f))
        return;
    s->grid->search->run_sums(&s->run, 0.0f, 1.0f / scale, -z, max - z, &sums);
    if (!(sums.ll > 0.0f && sums.xl > 0.0f))
        return;
    const double fit = (double)sums.xl / (double)sums.ll, gain = fit * (double)sums.xl;
    if (gain > s->gain) {
        s->gain = gain;
        s->best = (struct point){(float)fit, zero};
    }
}

static void search_symmetric(struct search *s)
{
    static const float widths[] = {1.1f,  1.07f, 1.04f, 1.0f,  0.96f, 0.93f, 0.9f, 0.86f, 0.83f,
                                   0.79f, 0.75f, 0.7f,  0.65f, 0.6f,  0.55f, 0.5f, 0.45f, 0.4f};
    const float half = (float)(1 << (s->grid->bits - 1));
    const float largest = -s->lo > s->hi ? -s->lo : s->hi, plain = largest / (half - 0.5f);
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++)
        try_whole(s, plain * widths[i], half);
    const struct ends ends = bulk(s, bulk_deviations(s->grid));
    const float reach = -ends.lo > ends.hi ? -ends.lo : ends.hi;
    for (int i = 0; i < N_BULK_WIDTHS; i++)
        try_whole(s, reach / (half - 0.5f) * bulk_widths[i], half);
    for (int r = 0; r < N_POLISH; r++)
        try_whole(s, s->best.scale, half);
}

/* The zero that suits the ends, and its neighbours, with steps of several sizes. */
static void try_widths(struct search *s, struct ends ends, const float *widths, size_t n)
{
    ends.lo = ends.lo < 0.0f ? ends.lo : 0.0f;
    ends.hi = ends.hi > 0.0f ? ends.hi : 0.0f;
    const float plain = (ends.hi - ends.lo) / (float)max_code(s->grid);
    if (!(plain > 0.0f))
        return;
    const float zero = (float)hone_nearest(-ends.lo / plain);
    for (size_t i = 0; i < n; i++)
        for (int step = -1; step <= 1; step++)
            try_whole(s, plain * widths[i], zero + (float)step);
}

static void search_whole_zeros(struct search *s)
{
    static const float widths[] = {1.03f, 1.0f, 0.96f, 0.92f, 0.88f, 0.84f, 0.8f, 0.75f, 0.7f, 0.64f, 0.57f, 0.5f};
    try_widths(s, (struct ends){s->lo, s->hi}, widths, sizeof widths / sizeof widths[0]);
    try_widths(s, bulk(s, bulk_deviations(s->grid)), bulk_widths, N_BULK_WIDTHS);
    for (int r = 0; r < N_POLISH; r++) {
        const struct point best = s->best;
        for (int step = -1; step <= 1; step++)
            try_whole(s, best.scale, best.zero + (float)step);
    }
}

/* x ~ scale * q + zero; returns the line of least squared error for the codes of this one. */
static struct point try_line(struct search *s, struct point line)
{
    hone_run_sums sums;
    if (!(line.scale > 0.0f))
        return line;
    s->grid->search->run_sums(&s->run, line.zero, 1.0f / line.scale, 0, max_code(s->grid), &sums);
    const double w = (double)sums.w, x = (double)sums.x, l = (double)sums.l, ll = (double)sums.ll, xl = (double)sums.xl;
    const double det = w * ll - l * l;
    if (!(det > 1e-9 * w * ll))
        return line;
    const double scale = (w * xl - x * l) / det, zero = (ll * x - l * xl) / det;
    const double gain = 2.0 * (scale * xl + zero * x) - (scale * scale * ll + 2.0 * scale * zero * l + zero * zero * w);
    line = (struct point){(float)scale, (float)zero};
    if (scale > 0.0 && gain > s->gain) {
        s->gain = gain;
        s->best = line;
    }
    return line;
}

static void search_lines(struct search *s)
{
    static const float pulls[] = {-0.02f, 0.03f, 0.08f, 0.14f, 0.22f};
    enum { N_PULLS = sizeof pulls / sizeof pulls[0] };
    const float range = s->hi - s->lo, max = (float)max_code(s->grid);
    for (int i = 0; i < N_PULLS; i++)
        for (int k = 0; k < N_PULLS; k++) {
            const struct point line = {range * (1.0f - pulls[i] - pulls[k]) / max, range * pulls[i]};
            (void)try_line(s, try_line(s, line));
        }
    for (int i = 0; i < N_BULK_WIDTHS; i++) {
        const struct ends ends = bulk(s, bulk_deviations(s->grid) * bulk_widths[i]);
        const struct point line = {(ends.hi - ends.lo) / max, ends.lo - s->run.shift};
        (void)try_line(s, try_line(s, line));
    }
    for (int r = 0; r < N_POLISH; r++)
        (void)try_line(s, s->best);
}

/* The minimum that suits a scale once that is rounded. */
static struct point refit_zero(const struct search *s, struct point p)
{
    hone_run_sums sums;
    const float scale = p.scale * s->run.x_factor, base = p.zero * s->run.x_factor - s->run.shift;
    s->grid->search->run_sums(&s->run, base, 1.0f / scale, 0, max_code(s->grid), &sums);
    const double zero = ((double)sums.x - (double)scale * (double)sums.l) / (double)sums.w;
    p.zero = (float)((zero + (double)s->run.shift) / (double)s->run.x_factor);
    return p;
}

/* The best point as it would be stored. */
static struct point found(const struct search *s)
{
    const double factor = (double)s->run.x_factor;
    struct point p = {(float)((double)s->best.scale / factor), s->best.zero};
    p.scale = as_stored(s->grid->stored, p.scale);
    if (s->grid->rule != HONE_GRID_MLX || !(p.scale > 0.0f))
        return p;
    p.zero = (float)(((double)s->best.zero + (double)s->run.shift) / factor);
    return as_stored_point(s->grid, refit_zero(s, as_stored_point(s->grid, p)));
}

static double error_of(const hone_grid *g, struct point p, const uint8_t *codes, const float *x, size_t n,
                       const float *importance)
{
    double error = 0;
    for (size_t i = 0; i < n; i++) {
        const double miss = (double)x[i] - (double)value_of(g, p, codes[i]);
        error += (importance ? (double)importance[i] : 1.0) * miss * miss;
    }
    return error;
}

/* The same with the codes that the point would get; no memory for all of them is needed. */
static double error_at(const hone_grid *g, struct point p, const float *x, size_t n, const float *importance)
{
    enum { RUN = 64 };
    uint8_t codes[RUN];
    double error = 0;
    for (size_t i = 0; i < n; i += RUN) {
        const size_t part = n - i < RUN ? n - i : RUN;
        encode_at(g, p, x + i, part, codes);
        error += error_of(g, p, codes, x + i, part, importance ? importance + i : NULL);
    }
    return error;
}

/* Replaces the rule's own point and codes by better ones, if there are any. */
static void improve(const hone_grid *g, const float *x, size_t n, const float *importance, struct point *p,
                    uint8_t *codes)
{
    struct search s = start_search(g, x, n, importance);
    if (g->rule == HONE_GRID_MLX)
        search_lines(&s);
    else if (g->symmetric)
        search_symmetric(&s);
    else
        search_whole_zeros(&s);
    const struct point other = s.gain > 0.0 ? found(&s) : *p;
    if (!(other.scale > 0.0f) || !isfinite(other.scale) || !isfinite(other.zero))
        return;
    const double bar = error_of(g, *p, codes, x, n, importance);
    const double error = error_at(g, other, x, n, importance);
    if (isfinite(error) && !(error >= bar)) { /* an error that overflowed loses */
        *p = other;
        encode_at(g, other, x, n, codes);
    }
}

void hone_grid_encode(const hone_grid *g, const float *x, size_t n, const float *importance, uint8_t *codes,
                      float *scale, float *zero)
{
    float lo, hi;
    find_range(x, n, &lo, &hi);
    const struct point chosen = choose(g, lo, hi);
    struct point p = as_stored_point(g, chosen);
    encode_at(g, chosen, x, n, codes); /* MLX finds codes before it rounds the scale */
    if (g->search)
        improve(g, x, n, importance, &p, codes);
    *scale = p.scale;
    *zero = p.zero;
}
