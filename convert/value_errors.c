/* SPDX-License-Identifier: MIT */
#include "convert/value_errors.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "convert/moments.h"
#include "convert/row_reader.h"
#include "convert/type_errors.h"
#include "formats/decode.h"

enum { TILE = HONE_FEEDBACK_ROWS };

struct measuring {
    const hone_context *ctx;
    const hone_plan *plan;
    const hone_value_matrices *m;
    bool plain;
    size_t head_dim, shared; /* query heads that read one head's values */
    hone_feedback feedback;
    const hone_tensor *current;
    double *gram;         /* (n_kv_heads, head_dim, head_dim) G, summed over query heads, by tr(H) of each */
    double *traces;       /* (n_heads) tr(H) of each query head's output */
    unsigned char *coded; /* rows of V */
    void *raw;
    float *rows, *error; /* (head_dim rounded up to TILE, ncols of V) */
};

static hone_status prepare(struct measuring *g, const hone_planned_tensor *t, hone_error *err)
{
    return hone_moments_prepare(g->ctx, g->plan, t, &g->current, &g->feedback, err);
}

/* ---- O ---- */

/* What attention adds, per token; and what O's codes leave of it, relative to that. */
static hone_status measure_output(struct measuring *g, double *energy, double *relative, hone_error *err)
{
    const hone_planned_tensor *t = g->m->output;
    HONE_TRY(prepare(g, t, err));
    hone_type_errors e = {.types = &t->dtype, .n = 1, .probe = 1, .plain = g->plain};
    HONE_TRY(hone_type_errors_measure(g->ctx, g->plan, t, &g->feedback, &e, err));
    *energy = e.whole / e.share;
    *relative = e.whole > 0 ? e.error[0] / e.whole : 0;
    return HONE_OK;
}

static hone_status set_traces(const struct measuring *g, hone_error *err)
{
    const size_t n = (size_t)g->m->output->row_nelems;
    float *squares = hone_alloc(n, sizeof *squares);
    if (!squares)
        return hone_fail_nomem(err, n * sizeof *squares);
    const hone_status status = hone_moments_diagonal(g->plan, g->m->output, squares, err);
    for (size_t i = 0; i < n && status == HONE_OK; i++)
        g->traces[i / g->head_dim] += (double)squares[i];
    hone_release(squares);
    return status;
}

/* Adds what a row of O has to G. */
static void add_row(const struct measuring *g, const float *row)
{
    const size_t d = g->head_dim;
    for (size_t h = 0; h < g->m->n_heads; h++) {
        double *gram = g->gram + h / g->shared * d * d;
        const float *x = row + h * d;
        for (size_t i = 0; i < d; i++) {
            const double scaled = g->traces[h] * (double)x[i];
            for (size_t j = 0; j <= i; j++)
                gram[i * d + j] += scaled * (double)x[j];
        }
    }
}

static hone_status add_output(const struct measuring *g, hone_error *err)
{
    const hone_planned_tensor *t = g->m->output;
    const size_t n = (size_t)t->row_nelems;
    float *rows = hone_alloc(TILE * n, sizeof *rows);
    void *raw = hone_alloc(hone_row_reader_nbytes(t, TILE), 1);
    hone_status status = rows && raw ? HONE_OK : hone_fail_nomem(err, TILE * n * sizeof *rows);
    for (uint64_t row = 0; row < t->n_rows && status == HONE_OK; row += TILE) {
        const uint64_t nrows = t->n_rows - row < TILE ? t->n_rows - row : TILE;
        status = hone_read_rows(g->ctx, g->plan, t, row, nrows, raw, rows, err);
        for (uint64_t r = 0; r < nrows && status == HONE_OK; r++)
            add_row(g, rows + r * n);
    }
    hone_release(raw);
    hone_release(rows);
    return status;
}

/* ---- V ---- */

/* tr(X H XT) of the rows (head_dim, ncols); rows behind them are zero. */
static double weigh(const struct measuring *g, const float *rows)
{
    double sum = 0;
    for (size_t r = 0; r < g->head_dim; r += TILE) {
        float loss[TILE];
        hone_feedback_losses(&g->feedback, rows + r * g->feedback.ncols, loss);
        for (size_t i = 0; i < TILE; i++)
            sum += (double)loss[i];
    }
    return sum;
}

/* G = L LT in place, the lower triangle. What a rounding makes negative is no direction at all. */
static void factor(double *gram, size_t d)
{
    for (size_t j = 0; j < d; j++) {
        double pivot = gram[j * d + j];
        for (size_t k = 0; k < j; k++)
            pivot -= gram[j * d + k] * gram[j * d + k];
        pivot = pivot > 0 ? sqrt(pivot) : 0;
        for (size_t i = j; i < d; i++) {
            double sum = gram[i * d + j];
            for (size_t k = 0; k < j; k++)
                sum -= gram[i * d + k] * gram[j * d + k];
            gram[i * d + j] = pivot > 0 ? sum / pivot : 0;
        }
    }
}

/* E becomes LT E, in place: row i needs rows i and beyond. */
static void mix_rows(const double *l, size_t d, size_t ncols, float *e)
{
    for (size_t i = 0; i < d; i++)
        for (size_t c = 0; c < ncols; c++) {
            double sum = 0;
            for (size_t j = i; j < d; j++)
                sum += l[j * d + i] * (double)e[j * ncols + c];
            e[i * ncols + c] = (float)sum;
        }
}

/* f tr(G E H ET) of one head. */
static hone_status measure_head(const struct measuring *g, size_t head, double *error, hone_error *err)
{
    const hone_planned_tensor *t = g->m->values;
    const size_t d = g->head_dim, ncols = (size_t)t->row_nelems, n = d * ncols;
    const uint64_t row = t->n_rows - (g->m->n_kv_heads - head) * d;
    HONE_TRY(hone_read_rows(g->ctx, g->plan, t, row, d, g->raw, g->rows, err));
    hone_decoder(t->dtype, g->ctx->cpu)(g->coded + row * t->row_nbytes, g->error, n);
    for (size_t i = 0; i < n; i++)
        g->error[i] = g->rows[i] - g->error[i];
    const double energy = weigh(g, g->rows);
    double *gram = g->gram + head * d * d;
    factor(gram, d);
    mix_rows(gram, d, ncols, g->error);
    *error = energy > 0 ? weigh(g, g->error) / energy : 0;
    return HONE_OK;
}

static hone_status measure_values(struct measuring *g, double *error, hone_error *err)
{
    const hone_planned_tensor *t = g->m->values;
    const size_t n = (g->head_dim + TILE - 1) / TILE * TILE * (size_t)t->row_nelems;
    g->coded = hone_alloc((size_t)t->nbytes, 1);
    g->raw = hone_alloc(hone_row_reader_nbytes(t, g->head_dim), 1);
    g->rows = hone_calloc(n, sizeof *g->rows);
    g->error = hone_calloc(n, sizeof *g->error);
    if (!g->coded || !g->raw || !g->rows || !g->error)
        return hone_fail_nomem(err, t->nbytes + 2 * n * sizeof *g->rows);
    HONE_TRY(prepare(g, t, err));
    hone_type_errors e = {.types = &t->dtype, .n = 1, .plain = g->plain, .probe_rows = g->coded};
    HONE_TRY(hone_type_errors_measure(g->ctx, g->plan, t, &g->feedback, &e, err));
    *error = 0;
    for (size_t head = 0; head < g->m->n_kv_heads; head++) {
        double of_head;
        HONE_TRY(measure_head(g, head, &of_head, err));
        *error += of_head;
    }
    return HONE_OK;
}

static hone_status measure(struct measuring *g, double *error, hone_error *err)
{
    const size_t n_gram = g->m->n_kv_heads * g->head_dim * g->head_dim;
    double energy, of_output, of_values = 0;
    g->gram = hone_calloc(n_gram, sizeof *g->gram);
    g->traces = hone_calloc(g->m->n_heads, sizeof *g->traces);
    if (!g->gram || !g->traces)
        return hone_fail_nomem(err, n_gram * sizeof *g->gram);
    HONE_TRY(measure_output(g, &energy, &of_output, err));
    HONE_TRY(set_traces(g, err));
    HONE_TRY(add_output(g, err));
    HONE_TRY(measure_values(g, &of_values, err));
    *error = of_output + (energy > 0 ? of_values / energy : 0);
    return HONE_OK;
}

hone_status hone_value_errors_measure(const hone_context *ctx, const hone_plan *plan, const hone_value_matrices *m,
                                      bool plain, double *error, hone_error *err)
{
    struct measuring g = {.ctx = ctx, .plan = plan, .m = m, .plain = plain};
    const uint64_t n = m->output->row_nelems;
    if (m->n_heads == 0 || m->n_kv_heads == 0 || m->n_heads % m->n_kv_heads != 0 || n % m->n_heads != 0 ||
        n / m->n_heads * m->n_kv_heads > m->values->n_rows)
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, m->values->name, "its rows are no %zu heads",
                         m->n_kv_heads);
    g.head_dim = (size_t)n / m->n_heads;
    g.shared = m->n_heads / m->n_kv_heads;
    const hone_status status = measure(&g, error, err);
    hone_feedback_deinit(&g.feedback);
    hone_release(g.gram);
    hone_release(g.traces);
    hone_release(g.coded);
    hone_release(g.raw);
    hone_release(g.rows);
    hone_release(g.error);
    return status;
}
