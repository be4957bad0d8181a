/* SPDX-License-Identifier: MIT */
/*
 * The forward pass of the LLaMA family over a whole sequence of n tokens.
 *
 *     x = embedding[tokens]
 *     for each layer:
 *         x += O · attend(rope(Q · norm(x)), rope(K · norm(x)), V · norm(x))
 *         x += down · (silu(gate · norm(x)) * (up · norm(x)))
 *     hidden = norm(x)
 */
#include <math.h>

#include "base/arith.h"
#include "base/parallel.h"
#include "verify/forward_ops.h"
#include "verify/matmul.h"
#include "verify/model_llama.h"
#include "verify/team.h"

/* Queries attended at a time, and tokens whose MLP activations are held at a time. The rounding of the products depends
 * on both, so they are constants. */
enum { QUERY_BLOCK = 32, MLP_TILE = 512, ROW_BLOCK = 16 };

/* One forward pass: what it works on and its scratch. */
struct pass {
    const hone_context *ctx;
    const hone_llama *body;
    const int32_t *tokens;
    size_t n;
    float *x;               /* (n, n_embd) the residual stream */
    float *normed;          /* (n, n_embd) also takes what is added to x */
    float *q, *attended;    /* (n, n_heads * head_dim) */
    float *k, *v;           /* (n, n_kv_heads * head_dim) */
    float *gate, *up;       /* (min(n, MLP_TILE), n_ff) */
    float *cosines, *sines; /* (n, head_dim / 2) */
    float *threads;         /* for each thread, a panel of hone_matmul() or QUERY_BLOCK rows of attention scores */
    size_t thread_nfloats;
};

/* Hands out nfloats at *used; with base NULL it only counts. false when the count overflows. */
static bool carve(float *base, size_t *used, size_t nrows, size_t ncols, float **out)
{
    size_t nfloats, end;
    if (!hone_mul_size(nrows, ncols, &nfloats) || nfloats > SIZE_MAX / 2 ||
        __builtin_add_overflow(*used, (nfloats + 15) / 16 * 16, &end) || end > SIZE_MAX / sizeof(float))
        return false;
    *out = base ? base + *used : NULL;
    *used = end;
    return true;
}

/* Lays the buffers of a pass out in scratch, or measures them. */
static bool lay_out(struct pass *p, const hone_llama_config *c, size_t n, int n_threads, float *base, size_t *nfloats)
{
    const size_t tile = n < MLP_TILE ? n : MLP_TILE;
    const size_t n_q = c->n_heads * c->head_dim, n_kv = c->n_kv_heads * c->head_dim, half = c->head_dim / 2;
    size_t scores;
    if (!hone_mul_size(n, QUERY_BLOCK, &scores))
        return false;
    p->thread_nfloats = scores > hone_matmul_scratch_nfloats() ? scores : hone_matmul_scratch_nfloats();
    *nfloats = 0;
    return carve(base, nfloats, n, c->n_embd, &p->normed) && carve(base, nfloats, n, n_q, &p->q) &&
           carve(base, nfloats, n, n_q, &p->attended) && carve(base, nfloats, n, n_kv, &p->k) &&
           carve(base, nfloats, n, n_kv, &p->v) && carve(base, nfloats, tile, c->n_ff, &p->gate) &&
           carve(base, nfloats, tile, c->n_ff, &p->up) && carve(base, nfloats, n, half, &p->cosines) &&
           carve(base, nfloats, n, half, &p->sines) &&
           carve(base, nfloats, (size_t)n_threads, p->thread_nfloats, &p->threads);
}

bool hone_llama_scratch_nfloats(const hone_model *model, size_t n, int n_threads, size_t *nfloats)
{
    const hone_llama *body = model->body;
    struct pass p;
    return lay_out(&p, &body->config, n, n_threads, NULL, nfloats);
}

/* ---- loops over blocks of tokens ---- */

/* Work on the rows of one token; row-wise loops below differ only in this. */
typedef void (*row_fn)(const struct pass *p, const void *arg, size_t row);

struct row_loop {
    const struct pass *p;
    row_fn fn;
    const void *arg;
    size_t n;
};

static hone_status run_rows(void *user, size_t i, int thread, hone_error *err)
{
    (void)thread;
    (void)err;
    const struct row_loop *loop = user;
    const size_t end = (i + 1) * ROW_BLOCK < loop->n ? (i + 1) * ROW_BLOCK : loop->n;
    for (size_t row = i * ROW_BLOCK; row < end; row++)
        loop->fn(loop->p, loop->arg, row);
    return HONE_OK;
}

/* width: elements that fn() works on in a row */
static void for_rows(const struct pass *p, size_t n, size_t width, row_fn fn, const void *arg)
{
    struct row_loop loop = {.p = p, .fn = fn, .arg = arg, .n = n};
    const size_t n_blocks = (n + ROW_BLOCK - 1) / ROW_BLOCK;
    const double cost = 3.0 * (double)n * (double)width;
    (void)hone_parallel_for(n_blocks, hone_team(p->ctx, n_blocks, cost), run_rows, &loop, NULL);
}

static void embed_row(const struct pass *p, const void *arg, size_t t)
{
    (void)arg;
    const hone_llama_config *c = &p->body->config;
    const size_t half = c->head_dim / 2;
    hone_weight_decode(&p->body->embedding, (size_t)p->tokens[t], 1, p->x + t * c->n_embd);
    hone_rope_angles(t, p->body->inv_freq, c->head_dim, p->cosines + t * half, p->sines + t * half);
}

/* arg: the norm's weight (n_embd) */
static void norm_row(const struct pass *p, const void *arg, size_t t)
{
    const size_t d = p->body->config.n_embd;
    hone_rmsnorm(p->x + t * d, arg, d, p->body->config.rms_eps, p->normed + t * d);
}

static void rotate_row(const struct pass *p, const void *arg, size_t t)
{
    (void)arg;
    const hone_llama_config *c = &p->body->config;
    const size_t d = c->head_dim;
    const float *cosines = p->cosines + t * (d / 2), *sines = p->sines + t * (d / 2);
    for (size_t h = 0; h < c->n_heads; h++)
        hone_rope(p->q + (t * c->n_heads + h) * d, cosines, sines, d, c->interleaved);
    for (size_t h = 0; h < c->n_kv_heads; h++)
        hone_rope(p->k + (t * c->n_kv_heads + h) * d, cosines, sines, d, c->interleaved);
}

static void gate_row(const struct pass *p, const void *arg, size_t t)
{
    (void)arg;
    const size_t n_ff = p->body->config.n_ff;
    hone_silu_gate(p->gate + t * n_ff, p->up + t * n_ff, n_ff);
}

static void add_row(const struct pass *p, const void *arg, size_t t)
{
    (void)arg;
    const size_t d = p->body->config.n_embd;
    for (size_t i = 0; i < d; i++)
        p->x[t * d + i] += p->normed[t * d + i];
}

/* ---- the two halves of a layer ---- */

static void multiply(const struct pass *p, const hone_linear *linear, const float *x, size_t n, float *y)
{
    hone_matmul(p->ctx, &linear->weight, linear->bias, x, n, y, p->threads);
}

static hone_status attend_block(void *user, size_t i, int thread, hone_error *err)
{
    (void)err;
    const struct pass *p = user;
    const hone_llama_config *c = &p->body->config;
    const size_t head = i % c->n_heads, kv_head = head / (c->n_heads / c->n_kv_heads);
    const size_t first = i / c->n_heads * QUERY_BLOCK, left = p->n - first;
    const size_t query_stride = c->n_heads * c->head_dim, key_stride = c->n_kv_heads * c->head_dim;
    const hone_attention a = {
        .query = p->q + first * query_stride + head * c->head_dim,
        .keys = p->k + kv_head * c->head_dim,
        .values = p->v + kv_head * c->head_dim,
        .out = p->attended + first * query_stride + head * c->head_dim,
        .scores = p->threads + (size_t)thread * p->thread_nfloats,
        .first = first,
        .n_queries = left < QUERY_BLOCK ? left : QUERY_BLOCK,
        .head_dim = c->head_dim,
        .window = c->window,
        .query_stride = query_stride,
        .key_stride = key_stride,
        .scale = 1.0 / sqrt((double)c->head_dim),
    };
    hone_attend(&a);
    return HONE_OK;
}

static void attention(struct pass *p, const hone_llama_layer *layer)
{
    const hone_llama_config *c = &p->body->config;
    const size_t n_blocks = (p->n + QUERY_BLOCK - 1) / QUERY_BLOCK * c->n_heads;
    const double n_scores = 0.5 * (double)p->n * (double)p->n * (double)c->n_heads;
    const double cost = n_scores * (5.0 + 0.06 * (double)c->head_dim);
    for_rows(p, p->n, c->n_embd, norm_row, layer->attn_norm);
    multiply(p, &layer->q, p->normed, p->n, p->q);
    multiply(p, &layer->k, p->normed, p->n, p->k);
    multiply(p, &layer->v, p->normed, p->n, p->v);
    for_rows(p, p->n, (c->n_heads + c->n_kv_heads) * c->head_dim, rotate_row, NULL);
    (void)hone_parallel_for(n_blocks, hone_team(p->ctx, n_blocks, cost), attend_block, p, NULL);
    multiply(p, &layer->o, p->attended, p->n, p->normed);
    for_rows(p, p->n, c->n_embd, add_row, NULL);
}

static void mlp(struct pass *p, const hone_llama_layer *layer)
{
    const size_t d = p->body->config.n_embd;
    for_rows(p, p->n, d, norm_row, layer->ffn_norm);
    for (size_t first = 0; first < p->n; first += MLP_TILE) {
        const size_t left = p->n - first, tile = left < MLP_TILE ? left : MLP_TILE;
        float *normed = p->normed + first * d;
        multiply(p, &layer->gate, normed, tile, p->gate);
        multiply(p, &layer->up, normed, tile, p->up);
        for_rows(p, tile, p->body->config.n_ff, gate_row, NULL);
        multiply(p, &layer->down, p->gate, tile, normed); /* the tile's norms are not needed any more */
    }
    for_rows(p, p->n, d, add_row, NULL);
}

void hone_llama_forward(const hone_context *ctx, const hone_model *model, const int32_t *tokens, size_t n,
                        float *hidden, float *scratch)
{
    const hone_llama *body = model->body;
    struct pass p = {.ctx = ctx, .body = body, .tokens = tokens, .n = n, .x = hidden};
    size_t nfloats;
    if (!lay_out(&p, &body->config, n, ctx->n_threads, scratch, &nfloats))
        return; /* unreachable: the same layout was measured for at least n */
    for_rows(&p, n, body->config.n_embd, embed_row, NULL);
    for (size_t i = 0; i < body->config.n_layers; i++) {
        attention(&p, &body->layers[i]);
        mlp(&p, &body->layers[i]);
    }
    for (size_t t = 0; t < n; t++)
        hone_rmsnorm(hidden + t * model->n_embd, body->output_norm, model->n_embd, body->config.rms_eps,
                     hidden + t * model->n_embd);
}
