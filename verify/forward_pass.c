/* SPDX-License-Identifier: MIT */
#include "verify/forward_pass.h"

#include "base/arith.h"
#include "base/parallel.h"
#include "verify/forward_ops.h"
#include "verify/matmul.h"
#include "verify/team.h"

/* Queries attended at a time; rows that one turn of a row loop takes. */
enum { QUERY_BLOCK = 32, ROW_BLOCK = 16 };

bool hone_carve(float *base, size_t *used, size_t nrows, size_t ncols, float **out)
{
    size_t nfloats, end;
    if (!hone_mul_size(nrows, ncols, &nfloats) || nfloats > SIZE_MAX / 2 ||
        __builtin_add_overflow(*used, (nfloats + 15) / 16 * 16, &end) || end > SIZE_MAX / sizeof(float))
        return false;
    *out = base ? base + *used : NULL;
    *used = end;
    return true;
}

bool hone_thread_nfloats(size_t n, size_t *nfloats)
{
    size_t scores;
    if (!hone_mul_size(n, QUERY_BLOCK, &scores))
        return false;
    *nfloats = scores > hone_matmul_scratch_nfloats() ? scores : hone_matmul_scratch_nfloats();
    return true;
}

struct row_loop {
    const void *pass, *arg;
    hone_row_fn fn;
    size_t n;
};

static hone_status run_rows(void *user, size_t i, int thread, hone_error *err)
{
    (void)thread;
    (void)err;
    const struct row_loop *loop = user;
    const size_t end = (i + 1) * ROW_BLOCK < loop->n ? (i + 1) * ROW_BLOCK : loop->n;
    for (size_t row = i * ROW_BLOCK; row < end; row++)
        loop->fn(loop->pass, loop->arg, row);
    return HONE_OK;
}

void hone_for_rows(const hone_context *ctx, size_t n, size_t width, hone_row_fn fn, const void *pass, const void *arg)
{
    struct row_loop loop = {.pass = pass, .arg = arg, .fn = fn, .n = n};
    const size_t n_blocks = (n + ROW_BLOCK - 1) / ROW_BLOCK;
    const double cost = 3.0 * (double)n * (double)width;
    (void)hone_parallel_for(n_blocks, hone_team(ctx, n_blocks, cost), run_rows, &loop, NULL);
}

struct addition {
    float *x;
    const float *y;
    size_t width;
};

static void add_row(const void *pass, const void *arg, size_t row)
{
    (void)arg;
    const struct addition *a = pass;
    for (size_t i = row * a->width; i < (row + 1) * a->width; i++)
        a->x[i] += a->y[i];
}

void hone_add_rows(const hone_context *ctx, float *x, const float *y, size_t n, size_t width)
{
    const struct addition a = {.x = x, .y = y, .width = width};
    hone_for_rows(ctx, n, width, add_row, &a, NULL);
}

struct attending {
    const hone_heads *heads;
    const hone_forward_kernels *kernels;
};

static hone_status attend_block(void *user, size_t i, int thread, hone_error *err)
{
    (void)err;
    const struct attending *job = user;
    const hone_heads *h = job->heads;
    const size_t head = i % h->n_heads, kv_head = head / (h->n_heads / h->n_kv_heads);
    const size_t first = i / h->n_heads * QUERY_BLOCK, left = h->n - first;
    const hone_attention a = {
        .query = h->q + first * h->query_stride + head * h->head_dim,
        .keys = h->k + kv_head * h->head_dim,
        .values = h->v + kv_head * h->head_dim,
        .out = h->out + first * h->out_stride + head * h->head_dim,
        .scores = h->scratch + (size_t)thread * h->thread_nfloats,
        .first = first,
        .n_queries = left < QUERY_BLOCK ? left : QUERY_BLOCK,
        .head_dim = h->head_dim,
        .window = h->window,
        .query_stride = h->query_stride,
        .key_stride = h->key_stride,
        .out_stride = h->out_stride,
        .scale = h->scale,
        .kernels = job->kernels,
    };
    hone_attend(&a);
    return HONE_OK;
}

void hone_attend_all(const hone_context *ctx, const hone_heads *heads)
{
    struct attending job = {heads, hone_forward_kernels_for(ctx->cpu)};
    const size_t n_blocks = (heads->n + QUERY_BLOCK - 1) / QUERY_BLOCK * heads->n_heads;
    const double n_scores = 0.5 * (double)heads->n * (double)heads->n * (double)heads->n_heads;
    const double cost = n_scores * (5.0 + 0.06 * (double)heads->head_dim);
    (void)hone_parallel_for(n_blocks, hone_team(ctx, n_blocks, cost), attend_block, &job, NULL);
}
