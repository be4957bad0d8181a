/* SPDX-License-Identifier: MIT */
#include "quantize/cost.h"

static double n_tokens(const hone_layer_pass *p)
{
    return (double)p->chunks.n_chunks * (double)p->chunks.n_ctx;
}

double hone_pass_work(const hone_layer_pass *p)
{
    double weights = 0;
    for (size_t stage = 1; stage <= p->model->n_layers; stage++) {
        const hone_weight *w;
        for (size_t i = 0; (w = p->model->family->matrix(p->model, stage, i)); i++)
            weights += (double)w->nrows * (double)w->ncols;
    }
    return 2.0 * weights * n_tokens(p);
}

double hone_moments_work(const hone_layer_pass *p, size_t input)
{
    const double ncols = (double)p->set.inputs[input].ncols;
    return ncols * ncols * n_tokens(p);
}
