/* SPDX-License-Identifier: MIT */
#include "quantize/cost.h"

#include <string.h>

#include <cblas.h>

#include "base/mem.h"
#include "base/parallel.h"
#include "base/run_context.h"

enum { SIDE = 512, TRIES = 64 };

struct sample {
    float *x, *y; /* (SIDE, SIDE), y for each thread */
};

static hone_status multiply(void *user, size_t i, int thread, hone_error *err)
{
    (void)i;
    (void)err;
    const struct sample *s = user;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, SIDE, SIDE, SIDE, 1.0f, s->x, SIDE, s->x, SIDE, 0.0f,
                s->y + (size_t)thread * SIDE * SIDE, SIDE);
    return HONE_OK;
}

double hone_product_rate(const hone_context *ctx)
{
    const size_t n_threads = (size_t)ctx->n_threads, n = (size_t)SIDE * SIDE;
    struct sample s = {hone_calloc(n, sizeof *s.x), hone_alloc(n * n_threads, sizeof *s.y)};
    double rate = 1e9; /* a guess, if there is no memory to measure in */
    if (s.x && s.y) {
        (void)hone_parallel_for(n_threads, ctx->n_threads, multiply, &s, NULL); /* warm */
        const double started = hone_clock();
        double seconds = 0, done = 0;
        for (int i = 0; i < TRIES && seconds < 0.1; i++) {
            (void)hone_parallel_for(n_threads, ctx->n_threads, multiply, &s, NULL);
            done += 2.0 * SIDE * SIDE * SIDE * (double)n_threads;
            seconds = hone_clock() - started;
        }
        rate = seconds > 0 ? done / seconds : rate;
    }
    hone_release(s.x);
    hone_release(s.y);
    return rate;
}

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
