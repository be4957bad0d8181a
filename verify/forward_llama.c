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

#include "base/run_context.h"
#include "verify/forward_ops.h"
#include "verify/forward_pass.h"
#include "verify/matmul.h"
#include "verify/model_llama.h"

/* One forward pass: what it works on and its scratch. */
struct pass {
    const hone_context *ctx;
    const hone_llama *body;
    const hone_observer *observer;
    size_t n;
    float *x;               /* (n, n_embd) the residual stream */
    float *normed;          /* (n, n_embd) also takes what is added to x */
    float *q, *attended;    /* (n, n_heads * head_dim) */
    float *k, *v;           /* (n, n_kv_heads * head_dim) */
    float *gate, *up;       /* (min(n, HONE_MLP_TILE), n_ff) */
    float *cosines, *sines; /* (n, head_dim / 2) */
    float *threads;         /* thread_nfloats for each thread */
    size_t thread_nfloats;
};

/* Lays the buffers of a pass out in scratch, or measures them. */
static bool lay_out(struct pass *p, const hone_llama_config *c, size_t n, int n_threads, float *base, size_t *nfloats)
{
    const size_t tile = n < HONE_MLP_TILE ? n : HONE_MLP_TILE;
    const size_t n_q = c->n_heads * c->head_dim, n_kv = c->n_kv_heads * c->head_dim, half = c->head_dim / 2;
    *nfloats = 0;
    return hone_thread_nfloats(n, &p->thread_nfloats) && hone_carve(base, nfloats, n, c->n_embd, &p->normed) &&
           hone_carve(base, nfloats, n, n_q, &p->q) && hone_carve(base, nfloats, n, n_q, &p->attended) &&
           hone_carve(base, nfloats, n, n_kv, &p->k) && hone_carve(base, nfloats, n, n_kv, &p->v) &&
           hone_carve(base, nfloats, tile, c->n_ff, &p->gate) && hone_carve(base, nfloats, tile, c->n_ff, &p->up) &&
           hone_carve(base, nfloats, n, half, &p->cosines) && hone_carve(base, nfloats, n, half, &p->sines) &&
           hone_carve(base, nfloats, (size_t)n_threads, p->thread_nfloats, &p->threads);
}

bool hone_llama_scratch_nfloats(const hone_model *model, size_t n, int n_threads, size_t *nfloats)
{
    const hone_llama *body = model->body;
    struct pass p;
    return lay_out(&p, &body->config, n, n_threads, NULL, nfloats);
}

/* ---- the rows of one token ---- */

/* arg: the tokens */
static void embed_row(const void *pass, const void *arg, size_t t)
{
    const struct pass *p = pass;
    const int32_t *tokens = arg;
    hone_weight_decode(&p->body->embedding, (size_t)tokens[t], 1, p->x + t * p->body->config.n_embd);
}

static void angles_row(const void *pass, const void *arg, size_t t)
{
    const struct pass *p = pass;
    (void)arg;
    const size_t d = p->body->config.head_dim;
    hone_rope_angles(t, p->body->inv_freq, d, p->cosines + t * (d / 2), p->sines + t * (d / 2));
}

/* arg: the norm's weight (n_embd) */
static void norm_row(const void *pass, const void *arg, size_t t)
{
    const struct pass *p = pass;
    const size_t d = p->body->config.n_embd;
    hone_rmsnorm(p->x + t * d, arg, d, p->body->config.rms_eps, p->normed + t * d);
}

static void rotate_row(const void *pass, const void *arg, size_t t)
{
    const struct pass *p = pass;
    (void)arg;
    const hone_llama_config *c = &p->body->config;
    const size_t d = c->head_dim;
    const float *cosines = p->cosines + t * (d / 2), *sines = p->sines + t * (d / 2);
    for (size_t h = 0; h < c->n_heads; h++)
        hone_rope(p->q + (t * c->n_heads + h) * d, cosines, sines, d, c->interleaved);
    for (size_t h = 0; h < c->n_kv_heads; h++)
        hone_rope(p->k + (t * c->n_kv_heads + h) * d, cosines, sines, d, c->interleaved);
}

static void gate_row(const void *pass, const void *arg, size_t t)
{
    const struct pass *p = pass;
    (void)arg;
    const size_t n_ff = p->body->config.n_ff;
    hone_forward_kernels_for(p->ctx->cpu)->silu_gate(p->gate + t * n_ff, p->up + t * n_ff, n_ff);
}

static void for_rows(const struct pass *p, size_t n, size_t width, hone_row_fn fn, const void *arg)
{
    hone_for_rows(p->ctx, n, width, fn, p, arg);
}

/* ---- the two halves of a layer ---- */

static void multiply(const struct pass *p, const hone_linear *linear, const float *x, size_t n, float *y)
{
    hone_matmul(p->ctx, &linear->weight, linear->bias, x, n, y, p->threads);
}

static void attention(struct pass *p, const hone_llama_layer *layer)
{
    const hone_llama_config *c = &p->body->config;
    const hone_heads heads = {
        .q = p->q,
        .k = p->k,
        .v = p->v,
        .out = p->attended,
        .n = p->n,
        .n_heads = c->n_heads,
        .n_kv_heads = c->n_kv_heads,
        .head_dim = c->head_dim,
        .query_stride = c->n_heads * c->head_dim,
        .key_stride = c->n_kv_heads * c->head_dim,
        .out_stride = c->n_heads * c->head_dim,
        .window = c->window,
        .scale = 1.0 / sqrt((double)c->head_dim),
        .scratch = p->threads,
        .thread_nfloats = p->thread_nfloats,
    };
    const hone_weight *const qkv[] = {&layer->q.weight, &layer->k.weight, &layer->v.weight};
    const hone_weight *const o[] = {&layer->o.weight};
    for_rows(p, p->n, c->n_embd, norm_row, layer->attn_norm);
    hone_observe(p->observer, qkv, 3, p->normed, p->n);
    multiply(p, &layer->q, p->normed, p->n, p->q);
    multiply(p, &layer->k, p->normed, p->n, p->k);
    multiply(p, &layer->v, p->normed, p->n, p->v);
    for_rows(p, p->n, (c->n_heads + c->n_kv_heads) * c->head_dim, rotate_row, NULL);
    hone_attend_all(p->ctx, &heads);
    hone_observe(p->observer, o, 1, p->attended, p->n);
    multiply(p, &layer->o, p->attended, p->n, p->normed);
    hone_add_rows(p->ctx, p->x, p->normed, p->n, c->n_embd);
}

static void mlp(struct pass *p, const hone_llama_layer *layer)
{
    const size_t d = p->body->config.n_embd;
    const hone_weight *const gate_up[] = {&layer->gate.weight, &layer->up.weight};
    const hone_weight *const down[] = {&layer->down.weight};
    for_rows(p, p->n, d, norm_row, layer->ffn_norm);
    for (size_t first = 0; first < p->n; first += HONE_MLP_TILE) {
        const size_t left = p->n - first, tile = left < HONE_MLP_TILE ? left : HONE_MLP_TILE;
        float *normed = p->normed + first * d;
        hone_observe(p->observer, gate_up, 2, normed, tile);
        multiply(p, &layer->gate, normed, tile, p->gate);
        multiply(p, &layer->up, normed, tile, p->up);
        for_rows(p, tile, p->body->config.n_ff, gate_row, NULL);
        hone_observe(p->observer, down, 1, p->gate, tile);
        multiply(p, &layer->down, p->gate, tile, normed); /* the tile's norms are not needed any more */
    }
    hone_add_rows(p->ctx, p->x, p->normed, p->n, d);
}

/* ---- the steps of a pass ---- */

static struct pass open_pass(const hone_pass *pass)
{
    const hone_llama *body = pass->model->body;
    struct pass p = {.ctx = pass->ctx, .body = body, .n = pass->n, .x = pass->hidden, .observer = pass->observer};
    size_t nfloats;
    (void)lay_out(&p, &body->config, p.n, p.ctx->n_threads, pass->scratch, &nfloats); /* measured for at least n */
    return p;
}

void hone_llama_prepare(const hone_pass *pass)
{
    const struct pass p = open_pass(pass);
    for_rows(&p, p.n, p.body->config.head_dim, angles_row, NULL);
}

void hone_llama_embed(const hone_pass *pass, const int32_t *tokens)
{
    const struct pass p = open_pass(pass);
    for_rows(&p, p.n, p.body->config.n_embd, embed_row, tokens);
}

void hone_llama_layer_pass(const hone_pass *pass, size_t i)
{
    struct pass p = open_pass(pass);
    attention(&p, &p.body->layers[i]);
    mlp(&p, &p.body->layers[i]);
}

void hone_llama_finish(const hone_pass *pass)
{
    const hone_llama *body = pass->model->body;
    const size_t d = body->config.n_embd;
    for (size_t t = 0; t < pass->n; t++)
        hone_rmsnorm(pass->hidden + t * d, body->output_norm, d, body->config.rms_eps, pass->hidden + t * d);
}
