/* SPDX-License-Identifier: MIT */
#include "quantize/product_rate.h"

#include <time.h>

#include <cblas.h>

#include "base/mem.h"
#include "base/parallel.h"
#include "base/run_context.h"
#include "verify/matmul.h"

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

static double seconds_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double hone_product_rate(const hone_context *ctx)
{
    const size_t n_threads = (size_t)ctx->n_threads, n = (size_t)SIDE * SIDE;
    struct sample s = {hone_calloc(n, sizeof *s.x), hone_alloc(n * n_threads, sizeof *s.y)};
    hone_matmul_init();
    double rate = 1e9; /* a guess, if there is no memory to measure in */
    if (s.x && s.y) {
        (void)hone_parallel_for(n_threads, ctx->n_threads, multiply, &s, NULL); /* warm */
        const double started = seconds_now();
        double seconds = 0, done = 0;
        for (int i = 0; i < TRIES && seconds < 0.1; i++) {
            (void)hone_parallel_for(n_threads, ctx->n_threads, multiply, &s, NULL);
            done += 2.0 * SIDE * SIDE * SIDE * (double)n_threads;
            seconds = seconds_now() - started;
        }
        rate = seconds > 0 ? done / seconds : rate;
    }
    hone_release(s.x);
    hone_release(s.y);
    return rate;
}
