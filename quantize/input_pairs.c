/* SPDX-License-Identifier: MIT */
#include "quantize/input_pairs.h"

#include <string.h>

#include <cblas.h>

#include "base/fail.h"
#include "base/mem.h"
#include "base/parallel.h"
#include "base/run_context.h"
#include "verify/team.h"

/* Rows that n inputs may be given in a chunk. */
static size_t max_rows(const hone_layer_pass *coded, size_t n)
{
    const size_t n_used = coded->model->n_experts_used;
    return coded->chunks.n_ctx * (n_used > 0 && n_used < n ? n_used : n);
}

uint64_t hone_input_pairs_nbytes(const hone_layer_pass *coded, size_t first, size_t n)
{
    const size_t ncols = coded->set.inputs[first].ncols;
    const uint64_t sums = hone_gram_nfloats(ncols) + (uint64_t)ncols * ncols;
    const uint64_t rows = (uint64_t)(max_rows(coded, n) + coded->chunks.n_ctx) * ncols;
    return (n * sums + rows + (uint64_t)coded->chunks.n_ctx * coded->model->n_experts) * sizeof(float);
}

size_t hone_input_pairs_group(const hone_layer_pass *coded, size_t first, uint64_t max_nbytes)
{
    const hone_input_stats *inputs = coded->set.inputs;
    size_t n = 1;
    while (inputs[first].n_experts > 0 && first + n < coded->set.n &&
           inputs[first + n].weights[0] == inputs[first].weights[0] &&
           hone_input_pairs_nbytes(coded, first, n + 1) <= max_nbytes)
        n++;
    return n;
}

hone_status hone_input_pairs_begin(hone_layer_pass *coded, hone_layer_pass *original, size_t first, size_t n,
                                   hone_input_pairs *out, hone_error *err)
{
    const size_t ncols = coded->set.inputs[first].ncols, n_experts = coded->model->n_experts;
    *out = (hone_input_pairs){.coded = coded, .original = original, .first = first, .n = n};
    out->differences = hone_calloc(n, sizeof *out->differences);
    out->kept = hone_alloc(max_rows(coded, n), ncols * sizeof *out->kept);
    out->apart = hone_alloc(coded->chunks.n_ctx, ncols * sizeof *out->apart);
    out->routing = n_experts ? hone_calloc(coded->chunks.n_ctx, n_experts * sizeof *out->routing) : NULL;
    bool there = out->differences && out->kept && out->apart && (out->routing || !n_experts);
    for (size_t i = 0; i < n && there; i++) {
        out->differences[i] = hone_calloc(ncols, ncols * sizeof(float));
        there = out->differences[i] != NULL;
        if (there)
            HONE_TRY(hone_input_collect(&coded->set.inputs[first + i], true, err));
    }
    return there ? HONE_OK : hone_fail_nomem(err, hone_input_pairs_nbytes(coded, first, n));
}

float *hone_input_pairs_take(hone_input_pairs *pairs, size_t i)
{
    float *difference = pairs->differences[i];
    pairs->differences[i] = NULL;
    return difference;
}

void hone_input_pairs_deinit(hone_input_pairs *pairs)
{
    for (size_t i = 0; i < pairs->n; i++) {
        if (pairs->differences)
            hone_release(pairs->differences[i]);
        hone_input_release(&pairs->coded->set.inputs[pairs->first + i]);
    }
    hone_release(pairs->differences);
    hone_release(pairs->kept);
    hone_release(pairs->apart);
    hone_release(pairs->routing);
    *pairs = (hone_input_pairs){0};
}

/* ---- the two models in turn ---- */

static const hone_input_stats *first_of(const hone_input_pairs *pairs, const hone_layer_pass *pass)
{
    return &pass->set.inputs[pairs->first];
}

/* shares: what rows are multiplied by; NULL: 1. Returns the rows as they are kept. */
static const float *keep(hone_input_pairs *pairs, const float *x, const float *shares, size_t n)
{
    const size_t ncols = first_of(pairs, pairs->coded)->ncols;
    float *kept = pairs->kept + pairs->n_kept * ncols;
    pairs->n_kept += n;
    memcpy(kept, x, n * ncols * sizeof *x);
    for (size_t t = 0; shares && t < n; t++)
        for (size_t c = 0; c < ncols; c++)
            kept[t * ncols + c] *= shares[t];
    return kept;
}

struct product {
    const float *apart, *kept;
    float *difference;
    size_t n, ncols;
};

static hone_status add_panel(void *user, size_t p, int thread, hone_error *err)
{
    (void)thread;
    (void)err;
    const struct product *job = user;
    const size_t first = p * HONE_GRAM_PANEL, left = job->ncols - first;
    const size_t nrows = left < HONE_GRAM_PANEL ? left : HONE_GRAM_PANEL;
    const int d = (int)job->ncols;
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)nrows, d, (int)job->n, 1.0f, job->apart + first, d,
                job->kept, d, 1.0f, job->difference + first * job->ncols, d);
    return HONE_OK;
}

/* Rows of the original for input first + i meet the next that were kept. */
static void meet(hone_input_pairs *pairs, size_t i, const float *x, const float *shares, size_t n)
{
    const size_t ncols = first_of(pairs, pairs->coded)->ncols;
    struct product job = {pairs->apart, pairs->kept + pairs->n_met * ncols, pairs->differences[i], n, ncols};
    for (size_t k = 0; k < n * ncols; k++)
        pairs->apart[k] = (shares ? shares[k / ncols] * x[k] : x[k]) - job.kept[k];
    pairs->n_met += n;
    const size_t n_panels = (ncols + HONE_GRAM_PANEL - 1) / HONE_GRAM_PANEL;
    const double cost = 0.03 * (double)n * (double)ncols * (double)ncols;
    (void)hone_parallel_for(n_panels, hone_team(pairs->coded->ctx, n_panels, cost), add_panel, &job, NULL);
}

static void see_coded(void *user, const hone_weight *const *weights, size_t n_weights, const float *x, size_t n)
{
    hone_input_pairs *pairs = user;
    if (weights[0] != first_of(pairs, pairs->coded)->weights[0])
        return;
    hone_input_see(&pairs->coded->set, weights, n_weights, x, n);
    (void)keep(pairs, x, NULL, n);
}

static void see_original(void *user, const hone_weight *const *weights, size_t n_weights, const float *x, size_t n)
{
    (void)n_weights;
    hone_input_pairs *pairs = user;
    if (weights[0] == first_of(pairs, pairs->original)->weights[0])
        meet(pairs, 0, x, NULL, n);
}

/* Which of the inputs an expert's is; n: none of them. */
static size_t which(const hone_input_pairs *pairs, size_t e)
{
    const size_t first = first_of(pairs, pairs->coded)->expert;
    return e >= first && e - first < pairs->n ? e - first : pairs->n;
}

static bool see_coded_expert(void *user, const hone_weight *const *weights, size_t n_weights,
                             const hone_expert_rows *rows)
{
    hone_input_pairs *pairs = user;
    if (which(pairs, rows->expert) == pairs->n)
        return true;
    if (weights[0] != first_of(pairs, pairs->coded)->weights[0])
        return false;
    hone_expert_rows shared = *rows;
    shared.x = keep(pairs, rows->x, rows->shares, rows->n);
    (void)hone_input_see_expert(&pairs->coded->set, weights, n_weights, &shared);
    return true;
}

static bool see_original_expert(void *user, const hone_weight *const *weights, size_t n_weights,
                                const hone_expert_rows *rows)
{
    (void)n_weights;
    hone_input_pairs *pairs = user;
    const size_t i = which(pairs, rows->expert);
    if (i == pairs->n)
        return true;
    if (weights[0] != first_of(pairs, pairs->original)->weights[0])
        return false;
    if (rows->n > 0)
        meet(pairs, i, rows->x, rows->shares, rows->n);
    return true;
}

hone_status hone_input_pairs_see(hone_input_pairs *pairs, size_t chunk, hone_error *err)
{
    const hone_observer coded = {.see = see_coded,
                                 .user = pairs,
                                 .see_expert = see_coded_expert,
                                 .last = first_of(pairs, pairs->coded)->weights[0],
                                 .routing = pairs->routing};
    const hone_observer original = {.see = see_original,
                                    .user = pairs,
                                    .see_expert = see_original_expert,
                                    .last = first_of(pairs, pairs->original)->weights[0],
                                    .routing = pairs->routing,
                                    .routed = true};
    pairs->n_kept = pairs->n_met = 0;
    pairs->coded->run.observer = &coded;
    pairs->original->run.observer = &original;
    hone_status status = hone_layer_pass_step(pairs->coded, chunk, err);
    if (status == HONE_OK)
        status = hone_layer_pass_step(pairs->original, chunk, err);
    pairs->coded->run.observer = pairs->original->run.observer = NULL;
    return status;
}
