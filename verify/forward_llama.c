/* SPDX-License-Identifier: MIT */
/*
 * The forward pass of the LLaMA family over a whole sequence of n tokens.
 *
 *     x = embedding[tokens]
 *     for each layer:
 *         x += O · attend(rope(Q · norm(x)), rope(K · norm(x)), V · norm(x))
 *         x += down · (silu(gate · norm(x)) * (up · norm(x)))
 *           or, with experts, the sum of that over the experts that the router chose for the token, times its weights
 *     hidden = norm(x)
 */
#include <math.h>
#include <string.h>

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
    /* of experts, for a tile */
    float *routing; /* (tile, n_experts) the weight of an expert; 0: it is not used */
    float *chosen;  /* (tile, n_embd) the rows that an expert is given, and what it makes of them */
    float *shares;  /* (tile) their weights */
    float *mixed;   /* (tile, n_embd) */
    float *threads; /* thread_nfloats for each thread */
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
           hone_carve(base, nfloats, c->n_experts ? tile : 0, c->n_experts, &p->routing) &&
           hone_carve(base, nfloats, c->n_experts ? tile : 0, c->n_embd, &p->chosen) &&
           hone_carve(base, nfloats, c->n_experts ? tile : 0, 1, &p->shares) &&
           hone_carve(base, nfloats, c->n_experts ? tile : 0, c->n_embd, &p->mixed) &&
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

/* Returns false where an observer wants no more of the layer. */
static bool attention(struct pass *p, const hone_llama_layer *layer)
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
    if (hone_observe(p->observer, qkv, 3, p->normed, p->n))
        return false;
    multiply(p, &layer->q, p->normed, p->n, p->q);
    multiply(p, &layer->k, p->normed, p->n, p->k);
    multiply(p, &layer->v, p->normed, p->n, p->v);
    for_rows(p, p->n, (c->n_heads + c->n_kv_heads) * c->head_dim, rotate_row, NULL);
    hone_attend_all(p->ctx, &heads);
    if (hone_observe(p->observer, o, 1, p->attended, p->n))
        return false;
    multiply(p, &layer->o, p->attended, p->n, p->normed);
    hone_add_rows(p->ctx, p->x, p->normed, p->n, c->n_embd);
    return true;
}

/*
 * Turns a token's scores of all experts into weights: their softmax, of which only the n_used largest are kept, in
 * proportion. Of equal scores the first are larger.
 */
static void route_row(const void *pass, const void *arg, size_t t)
{
    (void)arg;
    const struct pass *p = pass;
    const hone_llama_config *c = &p->body->config;
    float *row = p->routing + t * c->n_experts;
    float top = row[0];
    for (size_t e = 1; e < c->n_experts; e++)
        top = row[e] > top ? row[e] : top;
    for (size_t e = 0; e < c->n_experts; e++)
        row[e] = (float)exp((double)row[e] - (double)top); /* above 0 where it can be chosen */
    double sum = 0;
    for (size_t k = 0; k < c->n_experts_used; k++) {
        size_t best = 0;
        for (size_t e = 1; e < c->n_experts; e++)
            best = row[e] > row[best] ? e : best;
        sum += (double)row[best];
        row[best] = -row[best]; /* chosen */
    }
    for (size_t e = 0; e < c->n_experts; e++)
        row[e] = row[e] < 0.0f ? (float)(-(double)row[e] / sum) : 0.0f;
}

/* Fills p->routing for a tile whose first token is `first`; normed is what the router is given. */
static void route(const struct pass *p, const hone_llama_layer *layer, size_t first, const float *normed, size_t tile)
{
    const size_t n = p->body->config.n_experts;
    const hone_linear router = {.weight = layer->router};
    float *kept = p->observer && p->observer->routing ? p->observer->routing + first * n : NULL;
    if (kept && p->observer->routed) {
        memcpy(p->routing, kept, tile * n * sizeof *kept);
        return;
    }
    multiply(p, &router, normed, tile, p->routing);
    for_rows(p, tile, n, route_row, NULL);
    if (kept)
        memcpy(kept, p->routing, tile * n * sizeof *kept);
}

/* One expert on those rows of a tile that are its own. */
static void run_expert(const struct pass *p, const hone_llama_layer *layer, size_t e, const float *normed, size_t tile)
{
    const hone_llama_config *c = &p->body->config;
    const size_t d = c->n_embd;
    const hone_weight *const gate_up[] = {&layer->gate.weight, &layer->up.weight};
    const hone_weight *const down[] = {&layer->down.weight};
    size_t n = 0;
    for (size_t t = 0; t < tile; t++) {
        const float share = p->routing[t * c->n_experts + e];
        if (!(share > 0.0f))
            continue;
        memcpy(p->chosen + n * d, normed + t * d, d * sizeof *normed);
        p->shares[n++] = share;
    }
    const hone_expert_rows given = {e, c->n_experts, p->chosen, p->shares, n};
    if (hone_observe_expert(p->observer, gate_up, 2, &given))
        return;
    if (n > 0) {
        const hone_linear gate = {.weight = hone_weight_of_stack(&layer->gate.weight, c->n_experts, e)};
        const hone_linear up = {.weight = hone_weight_of_stack(&layer->up.weight, c->n_experts, e)};
        multiply(p, &gate, p->chosen, n, p->gate);
        multiply(p, &up, p->chosen, n, p->up);
        for_rows(p, n, c->n_ff, gate_row, NULL);
    }
    const hone_expert_rows gated = {e, c->n_experts, p->gate, p->shares, n};
    if (hone_observe_expert(p->observer, down, 1, &gated) || n == 0)
        return;
    const hone_linear linear = {.weight = hone_weight_of_stack(&layer->down.weight, c->n_experts, e)};
    multiply(p, &linear, p->gate, n, p->chosen);
    for (size_t t = 0, row = 0; t < tile; t++) {
        if (!(p->routing[t * c->n_experts + e] > 0.0f))
            continue;
        for (size_t i = 0; i < d; i++)
            p->mixed[t * d + i] += p->shares[row] * p->chosen[row * d + i];
        row++;
    }
}

static void mix_experts(struct pass *p, const hone_llama_layer *layer)
{
    const hone_llama_config *c = &p->body->config;
    const size_t d = c->n_embd;
    const hone_weight *const router[] = {&layer->router};
    for_rows(p, p->n, d, norm_row, layer->ffn_norm);
    for (size_t first = 0; first < p->n; first += HONE_MLP_TILE) {
        const size_t left = p->n - first, tile = left < HONE_MLP_TILE ? left : HONE_MLP_TILE;
        float *normed = p->normed + first * d;
        if (hone_observe(p->observer, router, 1, normed, tile))
            continue;
        route(p, layer, first, normed, tile);
        memset(p->mixed, 0, tile * d * sizeof *p->mixed);
        for (size_t e = 0; e < c->n_experts; e++)
            run_expert(p, layer, e, normed, tile);
        memcpy(normed, p->mixed, tile * d * sizeof *normed);
    }
    hone_add_rows(p->ctx, p->x, p->normed, p->n, d);
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
        if (hone_observe(p->observer, gate_up, 2, normed, tile))
            continue;
        multiply(p, &layer->gate, normed, tile, p->gate);
        multiply(p, &layer->up, normed, tile, p->up);
        for_rows(p, tile, p->body->config.n_ff, gate_row, NULL);
        if (hone_observe(p->observer, down, 1, p->gate, tile))
            continue;
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
    if (!attention(&p, &p.body->layers[i]))
        return;
    if (p.body->config.n_experts)
        mix_experts(&p, &p.body->layers[i]);
    else
        mlp(&p, &p.body->layers[i]);
}

void hone_llama_finish(const hone_pass *pass)
{
    const hone_llama *body = pass->model->body;
    const size_t d = body->config.n_embd;
    for (size_t t = 0; t < pass->n; t++)
        hone_rmsnorm(pass->hidden + t * d, body->output_norm, d, body->config.rms_eps, pass->hidden + t * d);
}
