/* SPDX-License-Identifier: MIT */
/* With x' = T x the moments are T H Tt: T is applied to every row, and then to every column. */
#include "convert/turned_gram.h"

#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "base/parallel.h"
#include "base/run_context.h"

struct turning {
    const hone_tensor *matrix;
    bool turned;
    hone_turned_gram *gram;
    double *rows; /* (threads, ncols) */
};

static hone_status turn_row(void *user, size_t i, int thread, hone_error *err)
{
    (void)err;
    const struct turning *t = user;
    const size_t n = t->gram->ncols;
    double *x = t->rows + (size_t)thread * n;
    float *row = t->gram->rotated + i * n;
    for (size_t j = 0; j < n; j++)
        x[j] = (double)row[j];
    hone_transform_input(t->matrix, t->turned, x);
    for (size_t j = 0; j < n; j++)
        row[j] = (float)x[j];
    return HONE_OK;
}

static void swap_sides(float *m, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++) {
            const float kept = m[i * n + j];
            m[i * n + j] = m[j * n + i];
            m[j * n + i] = kept;
        }
}

static hone_status read_all(const hone_turned_gram *g, hone_error *err)
{
    for (size_t i = 0; i < g->ncols; i++) {
        float *row = g->rotated + i * g->ncols;
        HONE_TRY(g->read_row(g->user, i, row + i, err));
        for (size_t j = i + 1; j < g->ncols; j++)
            g->rotated[j * g->ncols + i] = row[j];
    }
    return HONE_OK;
}

static hone_status rotate(const hone_context *ctx, struct turning *t, hone_error *err)
{
    hone_turned_gram *g = t->gram;
    t->rows = hone_alloc((size_t)ctx->n_threads * g->ncols, sizeof *t->rows);
    g->rotated = hone_alloc(g->ncols * g->ncols, sizeof *g->rotated);
    hone_status status = HONE_OK;
    if (!t->rows || !g->rotated)
        status = hone_fail_nomem(err, (uint64_t)g->ncols * g->ncols * sizeof *g->rotated);
    if (status == HONE_OK)
        status = read_all(g, err);
    for (int side = 0; side < 2 && status == HONE_OK; side++) {
        status = hone_parallel_for(g->ncols, ctx->n_threads, turn_row, t, err);
        swap_sides(g->rotated, g->ncols);
    }
    hone_release(t->rows);
    return status;
}

static hone_status scale(struct turning *t, hone_error *err)
{
    hone_turned_gram *g = t->gram;
    double *x = hone_alloc(g->ncols, sizeof *x);
    g->scale = hone_alloc(g->ncols, sizeof *g->scale);
    if (!x || !g->scale) {
        hone_release(x);
        return hone_fail_nomem(err, g->ncols * sizeof *x);
    }
    for (size_t i = 0; i < g->ncols; i++)
        x[i] = 1;
    hone_transform_input(t->matrix, t->turned, x);
    for (size_t i = 0; i < g->ncols; i++)
        g->scale[i] = (float)x[i];
    hone_release(x);
    return HONE_OK;
}

hone_status hone_turned_gram_init(const hone_context *ctx, const hone_tensor *matrix, bool turned, size_t ncols,
                                  hone_gram_row_fn read_row, void *user, hone_turned_gram *out, hone_error *err)
{
    *out = (hone_turned_gram){.read_row = read_row, .user = user, .ncols = ncols};
    struct turning t = {.matrix = matrix, .turned = turned, .gram = out};
    hone_status status = HONE_OK;
    const hone_input_change change = hone_transform_of_input(matrix, turned);
    if (change == HONE_INPUT_ROTATED)
        status = rotate(ctx, &t, err);
    else if (change == HONE_INPUT_SCALED)
        status = scale(&t, err);
    if (status != HONE_OK)
        hone_turned_gram_deinit(out);
    return status;
}

void hone_turned_gram_deinit(hone_turned_gram *g)
{
    hone_release(g->scale);
    hone_release(g->rotated);
    *g = (hone_turned_gram){0};
}

hone_status hone_turned_gram_row(void *user, size_t i, float *dst, hone_error *err)
{
    const hone_turned_gram *g = user;
    const size_t n = g->ncols - i;
    if (g->rotated) {
        memcpy(dst, g->rotated + i * g->ncols + i, n * sizeof *dst);
        return HONE_OK;
    }
    HONE_TRY(g->read_row(g->user, i, dst, err));
    for (size_t j = 0; g->scale && j < n; j++)
        dst[j] *= g->scale[i] * g->scale[i + j];
    return HONE_OK;
}

uint64_t hone_turned_gram_nbytes(const hone_tensor *matrix, bool turned, size_t ncols)
{
    const hone_input_change change = hone_transform_of_input(matrix, turned);
    return change == HONE_INPUT_ROTATED ? (uint64_t)ncols * ncols * sizeof(float) : 0;
}
