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

uint64_t hone_feedback_aim_nbytes(size_t ncols)
{
    return 2 * (uint64_t)ncols * ncols * sizeof(float);
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
    unfold(f, m);
    struct solve s = {f, m, difference, strength};
    (void)hone_parallel_for((d + ROWS_A_TURN - 1) / ROWS_A_TURN, ctx->n_threads, solve_rows, &s, NULL);
    hone_release(m);
    f->shift = difference;
    return HONE_OK;
}
