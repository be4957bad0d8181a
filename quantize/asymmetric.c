/* SPDX-License-Identifier: MIT */
#include "quantize/asymmetric.h"

#include <string.h>

#include <cblas.h>

#include "base/fail.h"
#include "base/mem.h"
#include "base/parallel.h"
#include "base/run_context.h"

enum { ROWS_A_TURN = 64 };

struct solve {
    const hone_feedback *f;
    const float *m; /* (ncols, ncols) M, upper */
    float *rows;
    float strength;
};

/* B M^-T D^-1 M^-1 of some rows B. */
static hone_status solve_rows(void *user, size_t turn, int thread, hone_error *err)
{
    (void)thread;
    (void)err;
    const struct solve *s = user;
    const size_t d = s->f->ncols, first = turn * ROWS_A_TURN, n = d - first < ROWS_A_TURN ? d - first : ROWS_A_TURN;
    float *rows = s->rows + first * d;
    cblas_strsm(CblasRowMajor, CblasRight, CblasUpper, CblasTrans, CblasUnit, (int)n, (int)d, s->strength, s->m, (int)d,
                rows, (int)d);
    for (size_t r = 0; r < n; r++)
        for (size_t j = 0; j < d; j++)
            rows[r * d + j] /= s->f->diagonal[j];
    cblas_strsm(CblasRowMajor, CblasRight, CblasUpper, CblasNoTrans, CblasUnit, (int)n, (int)d, 1.0f, s->m, (int)d,
                rows, (int)d);
    return HONE_OK;
}

/* M row by row. */
static void unfold(const hone_feedback *f, float *m)
{
    for (size_t p = 0; p * HONE_FEEDBACK_PANEL < f->ncols; p++) {
        size_t width;
        const size_t first = p * HONE_FEEDBACK_PANEL;
        const float *panel = hone_feedback_panel(f, p, &width);
        for (size_t i = 0; i < first + width; i++)
            memcpy(m + i * f->ncols + first, panel + i * HONE_FEEDBACK_PANEL, width * sizeof *m);
    }
}

void hone_feedback_shift_rows(const hone_feedback *f, const float *w, float *shifted)
{
    enum { PANEL = HONE_FEEDBACK_PANEL };
    const size_t d = f->ncols;
    memcpy(shifted, w, HONE_FEEDBACK_ROWS * d * sizeof *w);
    for (size_t first = 0; first < d; first += PANEL) {
        const size_t n = d - first < PANEL ? d - first : PANEL;
        f->kernels->add_product(w, d, f->shift + first, d, d, n, shifted + first, d);
    }
}

uint64_t hone_feedback_aim_nbytes(size_t ncols)
{
    return 2 * (uint64_t)ncols * ncols * sizeof(float);
}

/* Rows' columns into the order of f, or back; row (ncols) is scratch. */
static void order_rows(const hone_feedback *f, float *rows, bool back, float *row)
{
    const size_t d = f->ncols;
    for (float *at = rows; at < rows + d * d; at += d) {
        memcpy(row, at, d * sizeof *row);
        for (size_t k = 0; k < d; k++)
            if (back)
                at[f->order[k]] = row[k];
            else
                at[k] = row[f->order[k]];
    }
}

hone_status hone_feedback_aim(const hone_context *ctx, hone_feedback *f, float *difference, float strength,
                              hone_error *err)
{
    const size_t d = f->ncols;
    float *m = hone_alloc(d * d, sizeof *m);
    if (!m) {
        hone_release(difference);
        return hone_fail_nomem(err, d * d * sizeof *m);
    }
    if (f->order)
        order_rows(f, difference, false, m);
    unfold(f, m);
    struct solve s = {f, m, difference, strength};
    (void)hone_parallel_for((d + ROWS_A_TURN - 1) / ROWS_A_TURN, ctx->n_threads, solve_rows, &s, NULL);
    if (f->order)
        order_rows(f, difference, true, m);
    hone_release(m);
    f->shift = difference;
    return HONE_OK;
}
