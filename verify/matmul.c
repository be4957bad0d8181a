/* SPDX-License-Identifier: MIT */
#include "verify/matmul.h"

#include <string.h>

#include <cblas.h>

#include "base/parallel.h"
#include "verify/team.h"

/*
 * A panel of at most 2 MiB of f32 stays in a core's share of the cache between decoding and use. A matrix gives 16
 * panels to share out where that leaves 64 rows to each: with fewer rows, the BLAS mostly repacks X.
 */
enum { PANEL_NFLOATS = HONE_MAX_ROW_NELEMS, MIN_PANEL_NROWS = 64, MAX_PANEL_NROWS = 512, N_PANELS = 16 };

struct product {
    const hone_weight *w;
    const float *bias, *x;
    float *y, *scratch;
    size_t n, panel_nrows;
};

void hone_matmul_init(void)
{
    openblas_set_num_threads(1);
}

size_t hone_matmul_scratch_nfloats(void)
{
    return PANEL_NFLOATS;
}

static hone_status multiply_panel(void *user, size_t i, int thread, hone_error *err)
{
    (void)err;
    const struct product *p = user;
    const hone_weight *w = p->w;
    const size_t first = i * p->panel_nrows;
    const size_t left = w->nrows - first;
    const size_t nrows = left < p->panel_nrows ? left : p->panel_nrows;
    const float *panel;
    if (w->dtype == HONE_F32) {
        panel = (const float *)(const void *)(w->data + first * w->row_nbytes); /* hone_alloc() aligned it */
    } else {
        float *decoded = p->scratch + (size_t)thread * PANEL_NFLOATS;
        hone_weight_decode(w, first, nrows, decoded);
        panel = decoded;
    }
    const int n = (int)p->n, out = (int)nrows, in = (int)w->ncols;
    float *y = p->y + first;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, out, in, 1.0f, p->x, in, panel, in, 0.0f, y, (int)w->nrows);
    if (p->bias)
        for (size_t t = 0; t < p->n; t++)
            for (size_t r = 0; r < nrows; r++)
                y[t * w->nrows + r] += p->bias[first + r];
    return HONE_OK;
}

static size_t choose_panel_nrows(size_t nrows, size_t ncols)
{
    const size_t most = PANEL_NFLOATS / ncols < MAX_PANEL_NROWS ? PANEL_NFLOATS / ncols : MAX_PANEL_NROWS;
    const size_t shared = (nrows / N_PANELS + 15) / 16 * 16;
    const size_t wanted = shared < MIN_PANEL_NROWS ? MIN_PANEL_NROWS : shared;
    return wanted < most ? wanted : most;
}

void hone_matmul(const hone_context *ctx, const hone_weight *w, const float *bias, const float *x, size_t n, float *y,
                 float *scratch)
{
    if (!w->data) { /* not held: zeros, and a bias adds nothing to what a dry pass shows */
        memset(y, 0, n * w->nrows * sizeof *y);
        return;
    }
    const size_t panel_nrows = choose_panel_nrows(w->nrows, w->ncols);
    struct product p = {.w = w, .bias = bias, .x = x, .y = y, .scratch = scratch, .n = n, .panel_nrows = panel_nrows};
    const size_t n_panels = (w->nrows + panel_nrows - 1) / panel_nrows;
    /* Per weight, half a nanosecond to decode it and 0.03 for each multiplication. */
    const double cost = (double)w->nrows * (double)w->ncols * (0.5 + 0.03 * (double)n);
    (void)hone_parallel_for(n_panels, hone_team(ctx, n_panels, cost), multiply_panel, &p,
                            NULL); /* its body cannot fail */
}
