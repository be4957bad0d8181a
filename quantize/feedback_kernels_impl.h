/* SPDX-License-Identifier: MIT */
/* The kernels of error feedback over lanes: included once by each width's file, which says what they are called. */
#include "quantize/feedback_kernels.h"

#include "quantize/lanes.h"

enum { ROWS = HONE_FEEDBACK_ROWS };

/* The entry nearest to v: its number, and its value. */
static inline lanes look_up(const hone_code_range *range, lanes v, lanes *value)
{
    const lanes zero = lanes_all(0.0f), one = lanes_all(1.0f);
    lanes l = zero;
    *value = lanes_all((float)range->table[0]);
    for (int i = 1; i <= range->hi; i++) {
        const float low = (float)range->table[i - 1], high = (float)range->table[i];
        const lane_mask above = lanes_less(lanes_all(0.5f * (low + high)), v);
        l = l + lanes_choose(above, one, zero);
        *value = lanes_choose(above, lanes_all(high), *value);
    }
    return l;
}

static inline void walk_lanes(const hone_code_range *range, hone_walk *w, size_t g)
{
    const lanes zero = lanes_all(0.0f), lo = lanes_all((float)range->lo), hi = lanes_all((float)range->hi);
    lanes scale = zero, base = zero, inverse = zero, loss = lanes_load(w->loss + g);
    for (size_t j = 0; j < w->n; j++) {
        if (j == 0 || w->own_scales) {
            scale = lanes_load(w->scale + ROWS * j + g);
            base = lanes_load(w->base + ROWS * j + g);
            inverse = lanes_choose(lanes_less(zero, lanes_abs(scale)), lanes_all(1.0f) / scale, zero);
        }
        const lanes x = lanes_load(w->x + ROWS * j + g);
        lanes l, value;
        if (range->table) {
            l = look_up(range, x * inverse, &value);
            value = scale * value;
        } else {
            l = lanes_round_within((x - base) * inverse, lo, hi);
            value = scale * l + base;
            l = l - lo;
        }
        const lanes e = lanes_load(w->w + ROWS * j + g) - value, miss = x - value;
        loss = loss + lanes_all(w->diagonal[j]) * (miss * miss);
        lanes_store(w->e + ROWS * j + g, e);
        lanes_store_bytes(w->codes + ROWS * j + g, l);
        const float *m = w->m + j * w->m_stride;
        for (size_t k = j + 1; k < w->n; k++)
            lanes_store(w->x + ROWS * k + g, lanes_load(w->x + ROWS * k + g) + e * lanes_all(m[k]));
    }
    lanes_store(w->loss + g, loss);
}

static void walk(const hone_code_range *range, hone_walk *w)
{
    for (size_t g = 0; g < ROWS; g += HONE_LANES)
        walk_lanes(range, w, g);
}

/* Four rows by sixteen columns in registers. */
enum { TILE_ROWS = 4, TILE_COLS = 16, TILE_LANES = TILE_COLS / HONE_LANES };

static inline void add_tile(const float *a, size_t a_stride, const float *b, size_t b_stride, size_t depth, float *y,
                            size_t y_stride)
{
    lanes sum[TILE_ROWS][TILE_LANES];
    for (size_t r = 0; r < TILE_ROWS; r++)
        for (size_t c = 0; c < TILE_LANES; c++)
            sum[r][c] = lanes_load(y + r * y_stride + c * HONE_LANES);
    for (size_t t = 0; t < depth; t++) {
        lanes row[TILE_LANES];
        for (size_t c = 0; c < TILE_LANES; c++)
            row[c] = lanes_load(b + t * b_stride + c * HONE_LANES);
        for (size_t r = 0; r < TILE_ROWS; r++) {
            const lanes factor = lanes_all(a[r * a_stride + t]);
            for (size_t c = 0; c < TILE_LANES; c++)
                sum[r][c] = sum[r][c] + factor * row[c];
        }
    }
    for (size_t r = 0; r < TILE_ROWS; r++)
        for (size_t c = 0; c < TILE_LANES; c++)
            lanes_store(y + r * y_stride + c * HONE_LANES, sum[r][c]);
}

static void add_product(const float *a, size_t a_stride, const float *b, size_t b_stride, size_t depth, size_t n,
                        float *y, size_t y_stride)
{
    for (size_t c = 0; c < n; c += TILE_COLS)
        for (size_t r = 0; r < ROWS; r += TILE_ROWS)
            add_tile(a + r * a_stride, a_stride, b + c, b_stride, depth, y + r * y_stride + c, y_stride);
}

/* The compiler's vectors: in f64 a lane is a column, and no sum crosses lanes. */
static void subtract_rows(const double *restrict a, const double *restrict b, size_t b_stride, size_t depth, size_t n,
                          double *restrict y)
{
    enum { RUN = 32 };
    size_t c = 0;
    for (; c + RUN <= n; c += RUN) {
        double sum[RUN];
        for (size_t i = 0; i < RUN; i++)
            sum[i] = y[c + i];
        for (size_t t = 0; t < depth; t++)
            for (size_t i = 0; i < RUN; i++)
                sum[i] -= a[t] * b[t * b_stride + c + i];
        for (size_t i = 0; i < RUN; i++)
            y[c + i] = sum[i];
    }
    for (; c < n; c++)
        for (size_t t = 0; t < depth; t++)
            y[c] -= a[t] * b[t * b_stride + c];
}

const hone_feedback_kernels HONE_FEEDBACK_KERNELS = {
    .walk = walk,
    .add_product = add_product,
    .subtract_rows = subtract_rows,
};
