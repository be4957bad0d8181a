/* SPDX-License-Identifier: MIT */
#include "quantize/gptq.h"

#include <string.h>

#include "quantize/asymmetric.h"
#include "quantize/book_encoders.h"
#include "quantize/gptq_books.h"
#include "quantize/gptq_rows.h"

enum { ROWS = HONE_FEEDBACK_ROWS, PANEL = HONE_FEEDBACK_PANEL, BLOCK_MAX = HONE_QK_K };
enum { GROUP_HEAD = 2 * sizeof(float), BLOCK_NBYTES_MAX = GROUP_HEAD + BLOCK_MAX };
enum { RUNS_MAX = 16 };

/*
 * How often a block's scales are chosen anew, for the targets that its codes turned out to be rounded from. On a model
 * of 6.8 M weights under q4_k_m, its ends and attention outputs left in f16: none 0.000413 KLD, three 0.000374, eight
 * 0.000372 (5,080 positions, standard error 0.000006); found on the text it was measured on.
 */
enum { ROUNDS = 3, GROUP_ROUNDS = 1 }; /* the search of a group takes longer */

/* Rows coded together, and where. Rows beyond n repeat the last. */
struct group {
    const hone_feedback *f;
    const hone_gptq_coder *c;
    size_t ncols, row_nbytes;
    size_t n;
    const float *w[ROWS];
    uint8_t *dst;          /* (n, row_nbytes) */
    float *e;              /* (ROWS, ncols) what is left of the columns done */
    float x[ROWS * PANEL]; /* the panel with the feedback of all columns before */
    float loss[ROWS];
};

/* One block of every row, coded. */
struct trial {
    float x[ROWS * BLOCK_MAX]; /* in: as it comes; out: the targets its codes were rounded from */
    float e[ROWS * BLOCK_MAX];
    float loss[ROWS];
    uint8_t blocks[ROWS * BLOCK_NBYTES_MAX];
};

bool hone_gptq_can(hone_dtype dtype)
{
    return hone_block_grid_for(dtype) || hone_book_type_of(dtype);
}

hone_gptq_coder hone_gptq_blocks(hone_dtype dtype, hone_search search, hone_cpu_level cpu)
{
    const hone_dtype_info *info = hone_dtype_describe(dtype);
    const hone_block_grid *blocks = hone_block_grid_for(dtype);
    if (!blocks)
        return (hone_gptq_coder){
            .block_nelems = info->block_nelems,
            .block_nbytes = info->block_nbytes,
            .books = hone_book_type_of(dtype),
            .book_kernels = hone_book_kernels_for(cpu),
            .encode = hone_encoder(dtype, search, cpu),
            .decode = hone_decoder(dtype, cpu),
        };
    return (hone_gptq_coder){
        .block_nelems = info->block_nelems,
        .block_nbytes = info->block_nbytes,
        .run = blocks->run,
        .range = blocks->range,
        .blocks = blocks,
        .encode = hone_encoder(dtype, search, cpu),
        .decode = hone_decoder(dtype, cpu),
    };
}

bool hone_gptq_can_group(size_t group, size_t ncols)
{
    return ncols % group == 0 && ncols % 16 == 0;
}

/* Whether groups are parts of a panel, and can be coded one after the other as blocks are. */
static bool are_blocks(size_t group)
{
    return group % 16 == 0 && group <= BLOCK_MAX && PANEL % group == 0;
}

hone_gptq_coder hone_gptq_groups(const hone_grid *grid, size_t group)
{
    return (hone_gptq_coder){
        .block_nelems = group,
        .block_nbytes = GROUP_HEAD + group,
        .run = group < HONE_FEEDBACK_RUN ? group : HONE_FEEDBACK_RUN,
        .range = {.hi = (1 << grid->bits) - 1},
        .grid = grid,
    };
}

size_t hone_gptq_scratch_nfloats(size_t ncols)
{
    /* Errors, what is coded in place of the rows, a decoded row, an encoded row, and the groups of all rows. */
    const size_t own = (2 * ROWS + 4) * ncols + ROWS * ncols / 2 + 64, rows = hone_gptq_rows_scratch_nfloats(ncols);
    return own > rows ? own : rows;
}

static void encode(const hone_gptq_coder *c, const float *src, size_t n, const float *importance, uint8_t *dst)
{
    if (!c->grid) {
        c->encode(src, n, importance, dst);
        return;
    }
    for (size_t i = 0; i < n; i += c->block_nelems, dst += c->block_nbytes) {
        float head[2];
        hone_grid_encode(c->grid, src + i, c->block_nelems, importance ? importance + i : NULL, dst + GROUP_HEAD,
                         &head[0], &head[1]);
        memcpy(dst, head, sizeof head);
    }
}

static void decode(const hone_gptq_coder *c, const uint8_t *row, float *dst, size_t n)
{
    if (!c->grid) {
        c->decode(row, dst, n);
        return;
    }
    for (size_t i = 0; i < n; i += c->block_nelems, row += c->block_nbytes) {
        float head[2];
        memcpy(head, row, sizeof head);
        hone_grid_decode(c->grid, row + GROUP_HEAD, c->block_nelems, head[0], head[1], dst + i);
    }
}

static void open_block(const hone_gptq_coder *c, const uint8_t *block, float *scale, float *base)
{
    if (!c->grid) {
        c->blocks->open(block, scale, base);
        return;
    }
    float head[2];
    memcpy(head, block, sizeof head);
    for (size_t i = 0; i < c->block_nelems / c->run; i++) {
        scale[i] = head[0];
        base[i] = hone_grid_base(c->grid, head[0], head[1]);
    }
}

static void recode_block(const hone_gptq_coder *c, const uint8_t *codes, uint8_t *block)
{
    if (c->grid)
        memcpy(block + GROUP_HEAD, codes, c->block_nelems);
    else
        c->blocks->recode(codes, block);
}

/* Scales for the block's columns from `at` on, as they would be if these targets were all there is: then D is what a
 * column's error counts. */
static void choose_scales(const struct group *g, size_t at, const float *targets, uint8_t *blocks)
{
    const size_t n = g->c->block_nelems;
    float importance[ROWS * BLOCK_MAX];
    for (size_t r = 0; r < ROWS; r++)
        memcpy(importance + r * n, g->f->diagonal + at, n * sizeof *importance);
    /* Blocks of 256 do not look at each other. Those of 32 are weighed by the mean square of all they are given. */
    const size_t step = n == HONE_QK_K || g->c->grid ? ROWS : 1;
    for (size_t r = 0; r < ROWS; r += step)
        encode(g->c, targets + r * n, step * n, importance, blocks + r * g->c->block_nbytes);
}

static void load_walk(const struct group *g, size_t at, const struct trial *t, size_t first, hone_walk *walk)
{
    for (size_t r = 0; r < ROWS; r++)
        for (size_t j = 0; j < walk->n; j++) {
            walk->x[ROWS * j + r] = t->x[r * g->c->block_nelems + first + j];
            walk->w[ROWS * j + r] = g->w[r][at + first + j];
        }
}

static void store_walk(const struct group *g, const hone_walk *walk, size_t first, struct trial *t, uint8_t *codes)
{
    for (size_t r = 0; r < ROWS; r++)
        for (size_t j = 0; j < walk->n; j++) {
            const size_t i = r * g->c->block_nelems + first + j;
            t->x[i] = walk->x[ROWS * j + r];
            t->e[i] = walk->e[ROWS * j + r];
            codes[i] = walk->codes[ROWS * j + r];
        }
}

static void code_block_of_books(const struct group *g, size_t at, const float *m, struct trial *t)
{
    hone_book_walk walk = {.type = g->c->books,
                           .kernels = g->c->book_kernels,
                           .feedback = g->f->kernels,
                           .m = m,
                           .m_stride = PANEL,
                           .diagonal = g->f->diagonal + at,
                           .x = t->x,
                           .e = t->e,
                           .blocks = t->blocks};
    for (size_t r = 0; r < ROWS; r++)
        walk.w[r] = g->w[r] + at;
    hone_book_walk_block(&walk);
    memcpy(t->loss, walk.loss, sizeof t->loss);
}

/* Codes the block with the scales that t->blocks have. m: M from the block's first row and column on. */
static void code_block(const struct group *g, size_t at, const float *m, struct trial *t)
{
    if (g->c->books) {
        code_block_of_books(g, at, m, t);
        return;
    }
    float scale[ROWS][RUNS_MAX], base[ROWS][RUNS_MAX];
    uint8_t codes[ROWS * BLOCK_MAX];
    for (size_t r = 0; r < ROWS; r++)
        open_block(g->c, t->blocks + r * g->c->block_nbytes, scale[r], base[r]);
    hone_walk walk = {.n = g->c->run, .m_stride = PANEL};
    const size_t n = g->c->block_nelems;
    for (size_t first = 0; first < n; first += walk.n) {
        walk.m = m + first * PANEL + first;
        walk.diagonal = g->f->diagonal + at + first;
        for (size_t r = 0; r < ROWS; r++) {
            walk.scale[r] = scale[r][first / walk.n];
            walk.base[r] = base[r][first / walk.n];
        }
        load_walk(g, at, t, first, &walk);
        g->f->kernels->walk(&g->c->range, &walk);
        store_walk(g, &walk, first, t, codes);
        const size_t end = first + walk.n;
        g->f->kernels->add_product(t->e + first, n, m + first * PANEL + end, PANEL, walk.n, n - end, t->x + end, n);
    }
    memcpy(t->loss, walk.loss, sizeof t->loss);
    for (size_t r = 0; r < ROWS; r++)
        recode_block(g->c, codes + r * n, t->blocks + r * g->c->block_nbytes);
}

/* Rows that t codes with less error than best has go there. */
static void keep_better(const struct group *g, const struct trial *t, struct trial *best)
{
    const size_t n = g->c->block_nelems;
    for (size_t r = 0; r < ROWS; r++) {
        if (!(t->loss[r] < best->loss[r]))
            continue;
        best->loss[r] = t->loss[r];
        memcpy(best->e + r * n, t->e + r * n, n * sizeof *t->e);
        memcpy(best->blocks + r * g->c->block_nbytes, t->blocks + r * g->c->block_nbytes, g->c->block_nbytes);
    }
}

/* Codes the block at column b of the panel in several ways, and keeps the best of each row. */
static void search_block(const struct group *g, size_t at, size_t b, const float *m, struct trial *best)
{
    const size_t n = g->c->block_nelems;
    float start[ROWS * BLOCK_MAX];
    for (size_t r = 0; r < ROWS; r++)
        memcpy(start + r * n, g->x + r * PANEL + b, n * sizeof *start);
    struct trial t;
    memcpy(t.x, start, ROWS * n * sizeof *start);
    const int n_rounds = g->c->grid ? GROUP_ROUNDS : ROUNDS;
    for (int round = 0; round <= n_rounds; round++) {
        choose_scales(g, at, t.x, t.blocks);
        memcpy(t.x, start, ROWS * n * sizeof *start);
        code_block(g, at, m, &t);
        if (round == 0)
            *best = t;
        else
            keep_better(g, &t, best);
    }
}

/* The block at column b of the panel: coded, written, and what it leaves fed to the columns of the panel behind it. */
static void finish_block(struct group *g, size_t p, size_t b, const float *panel, size_t width)
{
    const size_t n = g->c->block_nelems, at = p * PANEL + b;
    struct trial t;
    search_block(g, at, b, panel + at * PANEL + b, &t);
    for (size_t r = 0; r < ROWS; r++) {
        g->loss[r] += t.loss[r];
        memcpy(g->e + r * g->ncols + at, t.e + r * n, n * sizeof *t.e);
        if (r < g->n)
            memcpy(g->dst + r * g->row_nbytes + at / n * g->c->block_nbytes, t.blocks + r * g->c->block_nbytes,
                   g->c->block_nbytes);
    }
    const size_t end = b + n;
    g->f->kernels->add_product(t.e, n, panel + at * PANEL + end, PANEL, n, width - end, g->x + end, PANEL);
}

static void code_rows(struct group *g)
{
    for (size_t p = 0; p * PANEL < g->ncols; p++) {
        size_t width;
        const float *panel = hone_feedback_panel(g->f, p, &width);
        for (size_t r = 0; r < ROWS; r++)
            memcpy(g->x + r * PANEL, g->w[r] + p * PANEL, width * sizeof *g->x);
        g->f->kernels->add_product(g->e, g->ncols, panel, PANEL, p * PANEL, width, g->x, PANEL);
        for (size_t b = 0; b < width; b += g->c->block_nelems)
            finish_block(g, p, b, panel, width);
    }
}

/* Rows in the place of those that are to be coded. */
static void shift_rows(struct group *g, float *shifted)
{
    const size_t d = g->ncols;
    float *w = g->e; /* nothing is left yet */
    for (size_t r = 0; r < ROWS; r++) {
        memcpy(w + r * d, g->w[r], d * sizeof *w);
        g->w[r] = shifted + r * d;
    }
    hone_feedback_shift_rows(g->f, w, shifted);
}

/* Rows for which the plain search does as well keep its codes. Returns how many. */
static size_t keep_plain(struct group *g, float *decoded, uint8_t *row)
{
    float loss[ROWS];
    size_t n_plain = 0;
    for (size_t r = 0; r < ROWS; r++) {
        if (r < g->n) {
            encode(g->c, g->w[r], g->ncols, g->f->squares, row);
            decode(g->c, row, decoded, g->ncols);
        }
        for (size_t j = 0; j < g->ncols; j++)
            g->e[r * g->ncols + j] = g->w[r][j] - decoded[j];
    }
    hone_feedback_losses(g->f, g->e, loss);
    for (size_t r = 0; r < g->n; r++) {
        if (g->loss[r] < loss[r])
            continue;
        encode(g->c, g->w[r], g->ncols, g->f->squares, g->dst + r * g->row_nbytes);
        n_plain++;
    }
    return n_plain;
}

void hone_gptq_encode(const hone_feedback *f, const hone_gptq_coder *coder, const float *src, size_t nrows, void *dst,
                      float *scratch, size_t *n_plain)
{
    struct group g = {
        .f = f,
        .c = coder,
        .ncols = f->ncols,
        .row_nbytes = f->ncols / coder->block_nelems * coder->block_nbytes,
        .e = scratch,
    };
    float *shifted = scratch + ROWS * f->ncols, *decoded = shifted + ROWS * f->ncols;
    uint8_t *row = (uint8_t *)(decoded + f->ncols);
    *n_plain = 0;
    for (size_t first = 0; first < nrows; first += ROWS) {
        g.n = nrows - first < ROWS ? nrows - first : ROWS;
        g.dst = (uint8_t *)dst + first * g.row_nbytes;
        memset(g.loss, 0, sizeof g.loss);
        for (size_t r = 0; r < ROWS; r++)
            g.w[r] = src + (first + (r < g.n ? r : g.n - 1)) * f->ncols;
        if (f->shift)
            shift_rows(&g, shifted);
        code_rows(&g);
        *n_plain += keep_plain(&g, decoded, row);
    }
}

void hone_gptq_encode_groups(const hone_feedback *f, const hone_gptq_coder *coder, const float *src, size_t nrows,
                             uint8_t *codes, float *scales, float *zeros, float *scratch, size_t *n_plain)
{
    const size_t group = coder->block_nelems, groups = f->ncols / group;
    if (f->order || !are_blocks(group)) {
        hone_gptq_encode_rows(f, coder->grid, group, src, nrows, codes, scales, zeros, scratch, n_plain);
        return;
    }
    uint8_t *blocks = (uint8_t *)(scratch + (2 * ROWS + 4) * f->ncols);
    *n_plain = 0;
    for (size_t first = 0; first < nrows; first += ROWS) {
        const size_t n = nrows - first < ROWS ? nrows - first : ROWS;
        size_t n_kept;
        hone_gptq_encode(f, coder, src + first * f->ncols, n, blocks, scratch, &n_kept);
        *n_plain += n_kept;
        for (size_t i = 0; i < n * groups; i++) {
            const uint8_t *block = blocks + i * coder->block_nbytes;
            memcpy(&scales[first * groups + i], block, sizeof *scales);
            memcpy(&zeros[first * groups + i], block + sizeof *scales, sizeof *zeros);
            memcpy(codes + (first * groups + i) * group, block + GROUP_HEAD, group);
        }
    }
}
