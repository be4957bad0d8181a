/* SPDX-License-Identifier: MIT */
#include "quantize/input_stats.h"

#include <string.h>

#include <cblas.h>

#include "base/arith.h"
#include "base/fail.h"
#include "base/mem.h"
#include "base/parallel.h"
#include "base/run_context.h"
#include "verify/team.h"

/* Where panel p begins: before it lie p panels of P rows, the k-th of them ncols - k P long. */
static size_t panel_start(size_t ncols, size_t p)
{
    const size_t full = HONE_GRAM_PANEL * ncols * p;
    return full - (size_t)HONE_GRAM_PANEL * HONE_GRAM_PANEL * (p * (p - (p > 0)) / 2);
}

size_t hone_gram_nfloats(size_t ncols)
{
    size_t square;
    if (!hone_mul_size(ncols, ncols, &square) || square > SIZE_MAX / 16)
        return 0;
    const size_t last = (ncols - 1) / HONE_GRAM_PANEL, left = ncols - last * HONE_GRAM_PANEL;
    return panel_start(ncols, last) + left * left;
}

const float *hone_gram_row(const float *gram, size_t ncols, size_t i)
{
    const size_t p = i / HONE_GRAM_PANEL, first = p * HONE_GRAM_PANEL;
    return gram + panel_start(ncols, p) + (i - first) * (ncols - first) + (i - first);
}

struct products {
    const float *x;
    float *gram;
    size_t n, ncols;
};

static hone_status add_panel(void *user, size_t p, int thread, hone_error *err)
{
    (void)thread;
    (void)err;
    const struct products *job = user;
    const size_t first = p * HONE_GRAM_PANEL, left = job->ncols - first;
    const size_t nrows = left < HONE_GRAM_PANEL ? left : HONE_GRAM_PANEL;
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)nrows, (int)left, (int)job->n, 1.0f, job->x + first,
                (int)job->ncols, job->x + first, (int)job->ncols, 1.0f, job->gram + panel_start(job->ncols, p),
                (int)left);
    return HONE_OK;
}

static void add_sums(const hone_input_stats *in, const float *x, size_t n)
{
    for (size_t t = 0; t < n; t++, x += in->ncols)
        for (size_t c = 0; c < in->ncols; c++) {
            in->sums[c] += (double)x[c];
            in->squares[c] += (double)x[c] * (double)x[c];
        }
}

static hone_status add_input(hone_input_set *set, const hone_weight *const *weights, size_t n_weights, size_t expert,
                             size_t n_experts)
{
    hone_error *err = &set->error;
    hone_input_stats in = {.n_weights = n_weights,
                           .ncols = weights[0]->ncols,
                           .stage = set->stage,
                           .expert = expert,
                           .n_experts = n_experts};
    for (size_t i = 0; i < n_weights; i++) {
        in.weights[i] = weights[i];
        if (!hone_role_gguf_name(set->family, set->naming, weights[i]->name, in.names[i]))
            return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, weights[i]->name, "GGUF has no name for it");
    }
    hone_input_stats *grown = hone_grow(set->inputs, &set->cap, set->n + 1, sizeof in);
    if (grown)
        set->inputs = grown;
    in.squares = hone_calloc(in.ncols, sizeof *in.squares);
    in.sums = hone_calloc(in.ncols, sizeof *in.sums);
    if (!grown || !in.squares || !in.sums) {
        hone_release(in.squares);
        hone_release(in.sums);
        return hone_fail_nomem(err, in.ncols * sizeof *in.squares);
    }
    set->inputs[set->n++] = in;
    return HONE_OK;
}

/* Inputs come in the same order in every pass; where a long sequence is cut into tiles, two or three of them repeat. */
static hone_input_stats *find_input(hone_input_set *set, const hone_weight *weight, size_t expert)
{
    for (size_t k = 0; k < set->n; k++) {
        const size_t i = (set->next + k) % set->n;
        if (set->inputs[i].weights[0] == weight && set->inputs[i].expert == expert) {
            set->next = i + 1;
            return &set->inputs[i];
        }
    }
    return NULL;
}

static void add_rows(const hone_input_set *set, hone_input_stats *in, const float *x, size_t n)
{
    add_sums(in, x, n);
    in->n_tokens += n;
    if (in->gram) {
        struct products job = {.x = x, .gram = in->gram, .n = n, .ncols = in->ncols};
        const size_t n_panels = (in->ncols + HONE_GRAM_PANEL - 1) / HONE_GRAM_PANEL;
        const double cost = 0.015 * (double)n * (double)in->ncols * (double)in->ncols;
        (void)hone_parallel_for(n_panels, hone_team(set->ctx, n_panels, cost), add_panel, &job, NULL);
    }
}

hone_status hone_input_collect(hone_input_stats *in, bool grams, hone_error *err)
{
    const size_t nfloats = hone_gram_nfloats(in->ncols);
    hone_input_release(in);
    if (grams && !(in->gram = hone_calloc(nfloats, sizeof *in->gram)))
        return hone_fail_nomem(err, nfloats * sizeof *in->gram);
    memset(in->squares, 0, in->ncols * sizeof *in->squares);
    memset(in->sums, 0, in->ncols * sizeof *in->sums);
    in->n_tokens = 0;
    in->collecting = true;
    return HONE_OK;
}

void hone_input_release(hone_input_stats *in)
{
    in->collecting = false;
    hone_release(in->gram);
    in->gram = NULL;
}

void hone_input_see(void *user, const hone_weight *const *weights, size_t n_weights, const float *x, size_t n)
{
    hone_input_set *set = user;
    if (set->status != HONE_OK)
        return;
    hone_input_stats *in = find_input(set, weights[0], 0);
    if (in && in->collecting)
        add_rows(set, in, x, n);
    else if (!in && !set->complete)
        set->status = add_input(set, weights, n_weights, 0, 0);
}

bool hone_input_see_expert(void *user, const hone_weight *const *weights, size_t n_weights,
                           const hone_expert_rows *rows)
{
    hone_input_set *set = user;
    if (set->status != HONE_OK)
        return false;
    hone_input_stats *in = find_input(set, weights[0], rows->expert);
    if (in && in->collecting && rows->n > 0)
        add_rows(set, in, rows->x, rows->n);
    for (size_t i = 0; !in && !set->complete && i < rows->n_experts && set->status == HONE_OK; i++)
        set->status = add_input(set, weights, n_weights, i, rows->n_experts);
    return false;
}

void hone_input_set_deinit(hone_input_set *set)
{
    for (size_t i = 0; i < set->n; i++) {
        hone_release(set->inputs[i].squares);
        hone_release(set->inputs[i].sums);
        hone_release(set->inputs[i].gram);
    }
    hone_release(set->inputs);
    *set = (hone_input_set){0};
}
