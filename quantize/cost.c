/* SPDX-License-Identifier: MIT */
#include "quantize/cost.h"

static double n_tokens(const hone_layer_pass *p)
{
    return (double)p->chunks.n_chunks * (double)p->chunks.n_ctx;
}

/* What part of the tokens a mixture's experts are given each. */
static double part_of_tokens(const hone_layer_pass *p)
{
    return p->model->n_experts ? (double)p->model->n_experts_used / (double)p->model->n_experts : 1;
}

double hone_pass_work(const hone_layer_pass *p)
{
    double weights = 0;
    for (size_t stage = 1; stage <= p->model->n_layers; stage++) {
        const hone_weight *w;
        for (size_t i = 0; (w = p->model->family->matrix(p->model, stage, i)); i++)
            weights += (double)w->nrows * (double)w->ncols * (w->tensor->n_dims == 3 ? part_of_tokens(p) : 1);
    }
    return 2.0 * weights * n_tokens(p);
}

double hone_moments_work(const hone_layer_pass *p, size_t input)
{
    const hone_input_stats *in = &p->set.inputs[input];
    return (double)in->ncols * (double)in->ncols * n_tokens(p) * (in->n_experts ? part_of_tokens(p) : 1);
}
