/* SPDX-License-Identifier: MIT */
#include "quantize/gptq_rows.h"

#include <math.h>
#include <string.h>

#include "quantize/asymmetric.h"

enum { ROWS = HONE_FEEDBACK_ROWS, PANEL = HONE_FEEDBACK_PANEL, RUN = HONE_FEEDBACK_RUN, LEAST_GROUP = 16 };

/* How often the scales of a row are chosen anew. */
enum { ROUNDS = 8 };

/* Rows on the grid. */
struct coded {
    uint8_t *codes;        /* (n, ncols) by column */
    float *scales, *zeros; /* (n, groups) */
};

/* Rows coded together, and where. Rows beyond n repeat the last. */
struct rows {
    const hone_feedback *f;
    const hone_grid *grid;
    size_t ncols, group, groups;
    size_t n;
    float *w;          /* (ROWS, ncols) what is to be coded, by column */
    float *x;          /* (ROWS, ncols) what codes are rounded from, by column */
    float *e;          /* (ROWS, ncols) what is left, in the order of f */
    float *importance; /* (ncols) by column */
    struct coded now, best;
    float loss[ROWS], best_loss[ROWS];
};

/* The k-th column. */
static size_t column_at(const struct rows *g, size_t k)
{
    return g->f->order ? g->f->order[k] : k;
}

size_t hone_gptq_rows_scratch_nfloats(size_t ncols)
{
    /* w, x and e; importance; scales and zeros; codes. */
    return 3 * ROWS * ncols + ncols + 2 * ROWS * (ncols / LEAST_GROUP + 1) + ROWS * ncols / sizeof(float) + 1;
}

static void lay_out(struct rows *g, float *scratch)
{
    const size_t n = g->ncols;
    g->w = scratch;
    g->x = g->w + ROWS * n;
    g->e = g->x + ROWS * n;
    g->importance = g->e + ROWS * n;
    g->now.scales = g->importance + n;
    g->now.zeros = g->now.scales + ROWS * g->groups;
    g->now.codes = (uint8_t *)(g->now.zeros + ROWS * g->groups);
}

static void encode_row(const struct rows *g, const float *x, const float *importance, size_t r)
{
    for (size_t i = 0; i < g->groups; i++) {
        const size_t first = i * g->group, at = r * g->groups + i;
        hone_grid_encode(g->grid, x + first, g->group, importance + first, g->now.codes + r * g->ncols + first,
                         &g->now.scales[at], &g->now.zeros[at]);
    }
}

/* Columns [first, first + walk->n) in the order of f; x (ROWS, PANEL): them, with all feedback. */
static void load_walk(const struct rows *g, size_t first, const float *x, hone_walk *walk)
{
    for (size_t j = 0; j < walk->n; j++) {
        const size_t column = column_at(g, first + j), i = column / g->group;
        for (size_t r = 0; r < ROWS; r++) {
            const float scale = g->now.scales[r * g->groups + i];
            walk->scale[ROWS * j + r] = scale;
            walk->base[ROWS * j + r] = hone_grid_base(g->grid, scale, g->now.zeros[r * g->groups + i]);
            walk->x[ROWS * j + r] = x[r * PANEL + j];
            walk->w[ROWS * j + r] = g->w[r * g->ncols + column];
        }
    }
}

static void store_walk(struct rows *g, size_t first, const hone_walk *walk)
{
    for (size_t j = 0; j < walk->n; j++) {
        const size_t column = column_at(g, first + j);
        for (size_t r = 0; r < ROWS; r++) {
            g->x[r * g->ncols + column] = walk->x[ROWS * j + r];
            g->e[r * g->ncols + first + j] = walk->e[ROWS * j + r];
            g->now.codes[r * g->ncols + column] = walk->codes[ROWS * j + r];
        }
    }
}

/* Codes the columns of a panel. x (ROWS, PANEL): them, with the feedback of all columns before the panel. */
static void code_panel(struct rows *g, size_t p, const float *panel, size_t width, float *x)
{
    const float *m = panel + p * PANEL * PANEL; /* from the panel's first column's row on */
    const hone_code_range range = {.hi = (1 << g->grid->bits) - 1};
    hone_walk walk = {.m_stride = PANEL, .own_scales = true};
    memcpy(walk.loss, g->loss, sizeof walk.loss);
    for (size_t first = 0; first < width; first += walk.n) {
        walk.n = width - first < RUN ? width - first : RUN;
        walk.m = m + first * PANEL + first;
        walk.diagonal = g->f->diagonal + p * PANEL + first;
        load_walk(g, p * PANEL + first, x + first, &walk);
        g->f->kernels->walk(&range, &walk);
        store_walk(g, p * PANEL + first, &walk);
        const size_t end = first + walk.n;
        g->f->kernels->add_product(g->e + p * PANEL + first, g->ncols, m + first * PANEL + end, PANEL, walk.n,
                                   width - end, x + end, PANEL);
    }
    memcpy(g->loss, walk.loss, sizeof walk.loss);
}

static void code_columns(struct rows *g)
{
    float x[ROWS * PANEL];
    memset(g->loss, 0, sizeof g->loss);
    for (size_t p = 0; p * PANEL < g->ncols; p++) {
        size_t width;
        const float *panel = hone_feedback_panel(g->f, p, &width);
        for (size_t r = 0; r < ROWS; r++)
            for (size_t j = 0; j < width; j++)
                x[r * PANEL + j] = g->w[r * g->ncols + column_at(g, p * PANEL + j)];
        g->f->kernels->add_product(g->e, g->ncols, panel, PANEL, p * PANEL, width, x, PANEL);
        code_panel(g, p, panel, width, x);
    }
}

static void keep(struct rows *g, size_t r)
{
    memcpy(g->best.codes + r * g->ncols, g->now.codes + r * g->ncols, g->ncols);
    memcpy(g->best.scales + r * g->groups, g->now.scales + r * g->groups, g->groups * sizeof(float));
    memcpy(g->best.zeros + r * g->groups, g->now.zeros + r * g->groups, g->groups * sizeof(float));
    g->best_loss[r] = g->loss[r];
}

static void code_rows(struct rows *g)
{
    memcpy(g->importance, g->f->squares, g->ncols * sizeof *g->importance);
    for (int round = 0; round <= ROUNDS; round++) {
        for (size_t r = 0; r < ROWS; r++)
            encode_row(g, g->x + r * g->ncols, g->importance, r);
        code_columns(g);
        for (size_t r = 0; r < g->n; r++)
            if (round == 0 || g->loss[r] < g->best_loss[r])
                keep(g, r);
        for (size_t k = 0; k < g->ncols && round == 0; k++) /* with feedback, D is what a column's error counts */
            g->importance[column_at(g, k)] = g->f->diagonal[k];
    }
}

/* Rows for which the plain search does as well get its codes. Returns how many. */
static size_t keep_plain(struct rows *g)
{
    size_t n_plain = 0;
    float *left = g->x;
    for (size_t r = 0; r < ROWS; r++) {
        const float *w = g->w + r * g->ncols;
        encode_row(g, w, g->f->squares, r);
        for (size_t i = 0; i < g->groups; i++)
            hone_grid_decode(g->grid, g->now.codes + r * g->ncols + i * g->group, g->group,
                             g->now.scales[r * g->groups + i], g->now.zeros[r * g->groups + i], left + i * g->group);
        for (size_t j = 0; j < g->ncols; j++)
            left[j] = w[j] - left[j];
        hone_feedback_gather(g->f, left, g->e + r * g->ncols);
    }
    hone_feedback_losses(g->f, g->e, g->loss);
    for (size_t r = 0; r < g->n; r++)
        if (g->loss[r] <= g->best_loss[r]) {
            keep(g, r);
            n_plain++;
        }
    return n_plain;
}

/* Takes rows of src from the first on. */
static void load_rows(struct rows *g, const float *src)
{
    const size_t d = g->ncols;
    float *rows = g->f->shift ? g->x : g->w;
    for (size_t r = 0; r < ROWS; r++)
        memcpy(rows + r * d, src + (r < g->n ? r : g->n - 1) * d, d * sizeof *rows);
    if (g->f->shift)
        hone_feedback_shift_rows(g->f, rows, g->w);
    memcpy(g->x, g->w, ROWS * d * sizeof *g->x);
}

void hone_gptq_encode_rows(const hone_feedback *f, const hone_grid *grid, size_t group, const float *src, size_t nrows,
                           uint8_t *codes, float *scales, float *zeros, float *scratch, size_t *n_plain)
{
    struct rows g = {.f = f, .grid = grid, .ncols = f->ncols, .group = group, .groups = f->ncols / group};
    lay_out(&g, scratch);
    *n_plain = 0;
    for (size_t first = 0; first < nrows; first += ROWS) {
        g.n = nrows - first < ROWS ? nrows - first : ROWS;
        g.best = (struct coded){codes + first * g.ncols, scales + first * g.groups, zeros + first * g.groups};
        load_rows(&g, src + first * g.ncols);
        code_rows(&g);
        *n_plain += keep_plain(&g);
    }
}
