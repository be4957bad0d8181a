/* SPDX-License-Identifier: MIT */
#include "quantize/group_grid.h"

#include <math.h>
#include <string.h>

#include "base/half.h"
#include "quantize/rounding.h"

enum { SHRINKS = 20, REFINEMENTS = 4 };

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
    return v;
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

void hone_grid_decode(const hone_grid *g, const uint8_t *codes, size_t n, float scale, float zero, float *dst)
{
    if (g->rule == HONE_GRID_MLX)
        for (size_t i = 0; i < n; i++)
            dst[i] = (float)codes[i] * scale + zero;
    else
        for (size_t i = 0; i < n; i++)
            dst[i] = scale * ((float)codes[i] - zero);
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
 */

struct search {
    const hone_grid *grid;
    const float *x, *importance;
    size_t n;
    struct point best; /* as stored */
    double best_error;
};

static float value_of(const hone_grid *g, struct point p, int code)
{
    return g->rule == HONE_GRID_MLX ? (float)code * p.scale + p.zero : p.scale * ((float)code - p.zero);
}

/*
 * The error of a point, its codes chosen anew, and the sums that the best scale and zero for these codes follow from;
 * no memory for codes is needed.
 */
struct fit {
    double error;
    double w, wq, wqq, wx, wqx; /* q counts from the zero where that is a whole number */
};

static struct fit evaluate(const struct search *s, struct point p)
{
    enum { RUN = 64 };
    const bool real_zero = s->grid->rule == HONE_GRID_MLX;
    struct fit f = {0};
    uint8_t codes[RUN];
    for (size_t i = 0; i < s->n; i += RUN) {
        const size_t n = s->n - i < RUN ? s->n - i : RUN;
        encode_at(s->grid, p, s->x + i, n, codes);
        for (size_t j = 0; j < n; j++) {
            const double x = (double)s->x[i + j], w = s->importance ? (double)s->importance[i + j] : 1.0;
            const double miss = x - (double)value_of(s->grid, p, codes[j]);
            const double q = (double)codes[j] - (real_zero ? 0.0 : (double)p.zero);
            f.error += w * miss * miss;
            f.w += w;
            f.wq += w * q;
            f.wqq += w * q * q;
            f.wx += w * x;
            f.wqx += w * q * x;
        }
    }
    return f;
}

static struct fit consider(struct search *s, struct point p)
{
    const struct fit f = evaluate(s, p);
    if (f.error < s->best_error) {
        s->best_error = f.error;
        s->best = p;
    }
    return f;
}

/* The least squares for given codes: a line through the origin, or a line with an intercept. */
static bool least_squares(const hone_grid *g, const struct fit *f, struct point *p)
{
    double scale;
    if (g->rule == HONE_GRID_MLX) {
        const double det = f->w * f->wqq - f->wq * f->wq;
        if (!(det > 0.0))
            return false;
        scale = (f->w * f->wqx - f->wq * f->wx) / det;
        p->zero = as_stored(g->stored, (float)((f->wx - scale * f->wq) / f->w));
        p->scale = as_stored(g->stored, (float)scale);
        return p->scale != 0.0f && isfinite(p->zero);
    }
    if (!(f->wqq > 0.0))
        return false;
    scale = f->wqx / f->wqq;
    p->scale = as_stored(g->stored, (float)scale);
    return p->scale > 0.0f;
}

static void refine(struct search *s, struct point p)
{
    struct fit f = consider(s, p);
    for (int i = 0; i < REFINEMENTS; i++) {
        struct point next = p;
        if (!least_squares(s->grid, &f, &next) || (next.scale == p.scale && next.zero == p.zero))
            return;
        const double before = f.error;
        f = consider(s, next);
        if (!(f.error < before))
            return;
        p = next;
    }
}

/* Narrower ranges clip what is rare and large, and bring the steps closer together. */
static void search(struct search *s, float lo, float hi)
{
    const hone_grid *g = s->grid;
    const bool whole_zero = !g->symmetric && g->rule != HONE_GRID_MLX;
    for (int k = 0; k <= SHRINKS; k++) {
        const float f = 1.0f - 0.025f * (float)k;
        const struct point p = as_stored_point(g, choose(g, lo * f, hi * f));
        refine(s, p);
        for (int step = -1; whole_zero && step <= 1; step += 2) {
            const float zero = p.zero + (float)step;
            if (zero >= 0.0f && zero <= (float)max_code(g))
                refine(s, (struct point){p.scale, zero});
        }
    }
}

void hone_grid_encode(const hone_grid *g, const float *x, size_t n, const float *importance, uint8_t *codes,
                      float *scale, float *zero)
{
    float lo, hi;
    find_range(x, n, &lo, &hi);
    const struct point chosen = choose(g, lo, hi);
    struct point p = as_stored_point(g, chosen);
    encode_at(g, chosen, x, n, codes);
    if (g->search) {
        /* The rule's own codes set the bar; MLX finds them before it rounds the scale. */
        struct search s = {.grid = g, .x = x, .importance = importance, .n = n, .best = p};
        for (size_t i = 0; i < n; i++) {
            const double miss = (double)x[i] - (double)value_of(g, p, codes[i]);
            s.best_error += (importance ? (double)importance[i] : 1.0) * miss * miss;
        }
        const double bar = s.best_error;
        search(&s, lo, hi);
        if (s.best_error < bar) {
            p = s.best;
            encode_at(g, p, x, n, codes);
        }
    }
    *scale = p.scale;
    *zero = p.zero;
}
