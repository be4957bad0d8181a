/* SPDX-License-Identifier: MIT */
/* The toy model run token by token with a key-value cache, in f64 and complex numbers. */
#include <complex.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/toy_llama.h"

enum { MAX_WIDTH = 256, MAX_TOKENS = 256 };

struct cache {
    double k[MAX_TOKENS][MAX_WIDTH], v[MAX_TOKENS][MAX_WIDTH];
};

static const float *data_of(hone_toy *toy, const char *name)
{
    return hone_toy_find(toy, name)->data;
}

static const float *layer_data(hone_toy *toy, size_t layer, const char *name)
{
    char full[128];
    (void)snprintf(full, sizeof full, "model.layers.%zu.%s", layer, name);
    return data_of(toy, full);
}

/* y = W x + b of a linear layer. */
static void apply(hone_toy *toy, size_t layer, const char *module, bool bias, const double *x, double *y)
{
    char name[96];
    (void)snprintf(name, sizeof name, "model.layers.%zu.%s.weight", layer, module);
    const hone_toy_tensor *w = hone_toy_find(toy, name);
    (void)snprintf(name, sizeof name, "%s.bias", module);
    const float *b = bias ? layer_data(toy, layer, name) : NULL;
    for (size_t r = 0; r < w->nrows; r++) {
        y[r] = b ? (double)b[r] : 0;
        for (size_t c = 0; c < w->ncols; c++)
            y[r] += (double)w->data[r * w->ncols + c] * x[c];
    }
}

static void normalize(const hone_toy *toy, const float *weight, const double *x, double *y)
{
    double mean = 0;
    for (size_t i = 0; i < toy->n_embd; i++)
        mean += x[i] * x[i] / (double)toy->n_embd;
    for (size_t i = 0; i < toy->n_embd; i++)
        y[i] = x[i] * (double)weight[i] / sqrt(mean + toy->eps);
}

static double frequency(hone_toy *toy, size_t i)
{
    double f = pow(toy->theta, -(double)(2 * i) / (double)toy->head_dim);
    if (toy->linear_factor > 0)
        f /= toy->linear_factor;
    for (size_t t = 0; t < toy->n_tensors && toy->llama3_factor > 0; t++)
        if (strcmp(toy->tensors[t].gguf, "rope_freqs.weight") == 0)
            f /= (double)toy->tensors[t].data[i];
    return f;
}

/* Pairs (i, i + h/2) of each head are complex numbers, turned by position * frequency. */
static void rotate(hone_toy *toy, double *x, size_t n_heads, size_t position)
{
    const size_t half = toy->head_dim / 2;
    for (size_t h = 0; h < n_heads; h++)
        for (size_t i = 0; i < half; i++) {
            double *head = x + h * toy->head_dim;
            const double complex z = (head[i] + I * head[i + half]) * cexp(I * ((double)position * frequency(toy, i)));
            head[i] = creal(z);
            head[i + half] = cimag(z);
        }
}

static void attend(const hone_toy *toy, const struct cache *cache, const double *q, size_t position, double *out)
{
    const size_t d = toy->head_dim, oldest = toy->window && position >= toy->window ? position - toy->window + 1 : 0;
    for (size_t h = 0; h < toy->n_heads; h++) {
        const size_t shared = h * toy->n_kv_heads / toy->n_heads * d;
        double weights[MAX_TOKENS], total = 0;
        for (size_t t = oldest; t <= position; t++) {
            double dot = 0;
            for (size_t i = 0; i < d; i++)
                dot += q[h * d + i] * cache->k[t][shared + i];
            total += weights[t] = exp(dot / sqrt((double)d));
        }
        for (size_t i = 0; i < d; i++) {
            out[h * d + i] = 0;
            for (size_t t = oldest; t <= position; t++)
                out[h * d + i] += weights[t] / total * cache->v[t][shared + i];
        }
    }
}

/* y = down(silu(gate x) * up x) of the three named modules. */
static void apply_mlp(hone_toy *toy, size_t layer, const char *gate, const char *up, const char *down, const double *x,
                      double *y)
{
    double a[MAX_WIDTH], b[MAX_WIDTH];
    apply(toy, layer, gate, toy->mlp_bias, x, a);
    apply(toy, layer, up, toy->mlp_bias, x, b);
    for (size_t i = 0; i < toy->n_ff; i++)
        a[i] = a[i] / (1 + exp(-a[i])) * b[i];
    apply(toy, layer, down, toy->mlp_bias, a, y);
}

/* Each expert by how many score higher: those with fewer than n_used above them share the token by their odds. */
static void mix_experts(hone_toy *toy, size_t layer, const double *x, double *y)
{
    double scores[MAX_WIDTH], out[MAX_WIDTH], total = 0;
    bool used[MAX_WIDTH];
    apply(toy, layer, "block_sparse_moe.gate", false, x, scores);
    for (size_t e = 0; e < toy->n_experts; e++) {
        size_t above = 0;
        for (size_t other = 0; other < toy->n_experts; other++)
            above += scores[other] > scores[e];
        used[e] = above < toy->n_experts_used;
        total += used[e] ? exp(scores[e]) : 0;
    }
    memset(y, 0, toy->n_embd * sizeof *y);
    for (size_t e = 0; e < toy->n_experts; e++) {
        char names[3][64];
        for (int i = 0; i < 3; i++)
            (void)snprintf(names[i], sizeof names[i], "block_sparse_moe.experts.%zu.w%d", e, i + 1);
        apply_mlp(toy, layer, names[0], names[2], names[1], x, out);
        for (size_t i = 0; i < toy->n_embd && used[e]; i++)
            y[i] += exp(scores[e]) / total * out[i];
    }
}

static void run_layer(hone_toy *toy, size_t layer, struct cache *cache, size_t position, double *x)
{
    double normed[MAX_WIDTH], a[MAX_WIDTH], b[MAX_WIDTH];
    normalize(toy, layer_data(toy, layer, "input_layernorm.weight"), x, normed);
    apply(toy, layer, "self_attn.q_proj", toy->attn_bias, normed, a);
    apply(toy, layer, "self_attn.k_proj", toy->attn_bias, normed, cache->k[position]);
    apply(toy, layer, "self_attn.v_proj", toy->attn_bias, normed, cache->v[position]);
    rotate(toy, a, toy->n_heads, position);
    rotate(toy, cache->k[position], toy->n_kv_heads, position);
    attend(toy, cache, a, position, b);
    apply(toy, layer, "self_attn.o_proj", toy->attn_bias, b, a);
    for (size_t i = 0; i < toy->n_embd; i++)
        x[i] += a[i];
    normalize(toy, layer_data(toy, layer, "post_attention_layernorm.weight"), x, normed);
    if (toy->n_experts)
        mix_experts(toy, layer, normed, b);
    else
        apply_mlp(toy, layer, "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj", normed, b);
    for (size_t i = 0; i < toy->n_embd; i++)
        x[i] += b[i];
}

void hone_toy_run(hone_toy *toy, const int32_t *tokens, size_t n, double *logits)
{
    const float *embedding = data_of(toy, "model.embed_tokens.weight");
    const float *head = toy->tied ? embedding : data_of(toy, "lm_head.weight");
    struct cache *caches = calloc(toy->n_layers, sizeof *caches);
    if (!caches || n > MAX_TOKENS || toy->n_embd > MAX_WIDTH || toy->n_ff > MAX_WIDTH)
        abort();
    for (size_t t = 0; t < n; t++) {
        double x[MAX_WIDTH], y[MAX_WIDTH];
        for (size_t i = 0; i < toy->n_embd; i++)
            x[i] = (double)embedding[(size_t)tokens[t] * toy->n_embd + i];
        for (size_t layer = 0; layer < toy->n_layers; layer++)
            run_layer(toy, layer, &caches[layer], t, x);
        normalize(toy, data_of(toy, "model.norm.weight"), x, y);
        for (size_t v = 0; v < toy->n_vocab; v++) {
            double *logit = &logits[t * toy->n_vocab + v];
            *logit = 0;
            for (size_t i = 0; i < toy->n_embd; i++)
                *logit += y[i] * (double)head[v * toy->n_embd + i];
        }
    }
    free(caches);
}
