/* SPDX-License-Identifier: MIT */
#include "tests/support/toy_gpt2.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char BASE[] = "transformer.";

hone_toy_gpt2 hone_toy_gpt2_sizes(void)
{
    return (hone_toy_gpt2){
        .n_vocab = 40, .n_embd = 24, .n_ff = 28, .n_layers = 3, .n_heads = 4, .n_ctx = 64, .eps = 1e-5};
}

static hone_toy_tensor *add(hone_toy_gpt2 *toy, const char *hf, const char *gguf, size_t nrows, size_t ncols)
{
    char full[64];
    const bool head = strncmp(hf, "lm_head", 7) == 0;
    (void)snprintf(full, sizeof full, "%s%s", toy->bare || head ? "" : BASE, hf);
    return hone_toy_add(&toy->tensors, &toy->n_tensors, full, gguf, nrows, ncols);
}

static void add_to_layer(hone_toy_gpt2 *toy, size_t layer, const char *hf, const char *gguf, size_t nrows, size_t ncols)
{
    char a[48], b[48];
    for (int bias = 0; bias < 2; bias++) {
        const char *tail = bias ? "bias" : "weight";
        (void)snprintf(a, sizeof a, "h.%zu.%s.%s", layer, hf, tail);
        (void)snprintf(b, sizeof b, "blk.%zu.%s.%s", layer, gguf, tail);
        add(toy, a, b, nrows, bias ? 0 : ncols)->transposed = ncols && !bias;
    }
}

static void add_masks(hone_toy_gpt2 *toy, size_t layer)
{
    static const char *const names[] = {"attn.bias", "attn.masked_bias"};
    char name[48];
    for (size_t i = 0; i < 2; i++) {
        (void)snprintf(name, sizeof name, "h.%zu.%s", layer, names[i]);
        add(toy, name, "", toy->n_ctx, i ? 0 : toy->n_ctx)->not_gguf = true;
    }
}

void hone_toy_gpt2_fill(hone_toy_gpt2 *toy)
{
    const size_t d = toy->n_embd;
    add(toy, "wte.weight", "token_embd.weight", toy->n_vocab, d);
    add(toy, "wpe.weight", "position_embd.weight", toy->n_ctx, d);
    for (size_t i = 0; i < toy->n_layers; i++) {
        add_to_layer(toy, i, "ln_1", "attn_norm", d, 0);
        add_to_layer(toy, i, "attn.c_attn", "attn_qkv", 3 * d, d);
        add_to_layer(toy, i, "attn.c_proj", "attn_output", d, d);
        add_to_layer(toy, i, "ln_2", "ffn_norm", d, 0);
        add_to_layer(toy, i, "mlp.c_fc", "ffn_up", toy->n_ff, d);
        add_to_layer(toy, i, "mlp.c_proj", "ffn_down", d, toy->n_ff);
        if (toy->masks)
            add_masks(toy, i);
    }
    add(toy, "ln_f.weight", "output_norm.weight", d, 0);
    add(toy, "ln_f.bias", "output_norm.bias", d, 0);
    if (toy->untied)
        add(toy, "lm_head.weight", "output.weight", toy->n_vocab, d);
    hone_toy_randomize(toy->tensors, toy->n_tensors);
}

void hone_toy_gpt2_free(hone_toy_gpt2 *toy)
{
    hone_toy_free_tensors(&toy->tensors, &toy->n_tensors);
}

hone_toy_tensor *hone_toy_gpt2_find(hone_toy_gpt2 *toy, const char *name)
{
    char full[96];
    const bool head = strncmp(name, "lm_head", 7) == 0;
    (void)snprintf(full, sizeof full, "%s%s", toy->bare || head ? "" : BASE, name);
    return hone_toy_find_tensor(toy->tensors, toy->n_tensors, full);
}

/* ---- files ---- */

static bool skipped(const hone_toy_gpt2 *toy, const char *key)
{
    return toy->skip_key && strcmp(toy->skip_key, key) == 0;
}

static void write_config(const hone_toy_gpt2 *toy, hone_temp_dir *dir)
{
    const struct {
        const char *key;
        size_t value;
    } counts[] = {{"vocab_size", toy->n_vocab},
                  {"n_embd", toy->n_embd},
                  {"n_layer", toy->n_layers},
                  {"n_head", toy->n_heads},
                  {"n_positions", toy->n_ctx}};
    char config[2048];
    int n = snprintf(config, sizeof config, "{\"architectures\": [\"GPT2LMHeadModel\"]");
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        if (!skipped(toy, counts[i].key))
            n += snprintf(config + n, sizeof config - (size_t)n, ", \"%s\": %zu", counts[i].key, counts[i].value);
    if (toy->no_inner)
        n += snprintf(config + n, sizeof config - (size_t)n, ", \"n_inner\": null");
    else if (!skipped(toy, "n_inner"))
        n += snprintf(config + n, sizeof config - (size_t)n, ", \"n_inner\": %zu", toy->n_ff);
    if (!skipped(toy, "layer_norm_epsilon"))
        n += snprintf(config + n, sizeof config - (size_t)n, ", \"layer_norm_epsilon\": %.17g", toy->eps);
    if (toy->act)
        n += snprintf(config + n, sizeof config - (size_t)n, ", \"activation_function\": \"%s\"", toy->act);
    if (toy->untied)
        n += snprintf(config + n, sizeof config - (size_t)n, ", \"tie_word_embeddings\": false");
    if (toy->unscaled)
        n += snprintf(config + n, sizeof config - (size_t)n, ", \"scale_attn_weights\": false");
    if (toy->layered)
        n += snprintf(config + n, sizeof config - (size_t)n, ", \"scale_attn_by_inverse_layer_idx\": true");
    (void)snprintf(config + n, sizeof config - (size_t)n, "%s}", toy->json_extra ? toy->json_extra : "");
    (void)hone_temp_text(dir, "config.json", config);
}

const char *hone_toy_gpt2_write_hf(const hone_toy_gpt2 *toy, hone_temp_dir *dir)
{
    hone_toy_write_safetensors(toy->tensors, toy->n_tensors, dir);
    write_config(toy, dir);
    (void)snprintf(dir->last, sizeof dir->last, "%s", dir->path);
    return dir->last;
}

const char *hone_toy_gpt2_write_gguf(const hone_toy_gpt2 *toy, hone_temp_dir *dir)
{
    const struct {
        const char *key;
        size_t value;
    } counts[] = {{"gpt2.context_length", toy->n_ctx},         {"gpt2.embedding_length", toy->n_embd},
                  {"gpt2.block_count", toy->n_layers},         {"gpt2.feed_forward_length", toy->n_ff},
                  {"gpt2.attention.head_count", toy->n_heads}, {"gpt2.vocab_size", toy->n_vocab}};
    static const char eps[] = "gpt2.attention.layer_norm_epsilon";
    hone_bytes entries = {0};
    uint64_t n = 1 + toy->n_gguf_extra;
    hone_toy_put_string(&entries, "general.architecture");
    hone_bytes_u32(&entries, 8);
    hone_toy_put_string(&entries, "gpt2");
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        if (skipped(toy, counts[i].key))
            continue;
        hone_toy_put_count(&entries, counts[i].key, counts[i].value);
        n++;
    }
    if (!skipped(toy, eps)) {
        hone_toy_put_float(&entries, eps, toy->eps);
        n++;
    }
    if (toy->gguf_extra)
        hone_bytes_script(&entries, toy->gguf_extra);
    const char *path = hone_toy_write_gguf_file(toy->tensors, toy->n_tensors, &entries, n, dir);
    hone_bytes_free(&entries);
    return path;
}

/* ---- running ---- */

enum { MAX_WIDTH = 256, MAX_TOKENS = 128 };

struct cache {
    double k[MAX_TOKENS][MAX_WIDTH], v[MAX_TOKENS][MAX_WIDTH];
};

static hone_toy_tensor *in_layer(hone_toy_gpt2 *toy, size_t layer, const char *module, const char *what)
{
    char name[64];
    (void)snprintf(name, sizeof name, "h.%zu.%s.%s", layer, module, what);
    return hone_toy_gpt2_find(toy, name);
}

/* y = W x + b */
static void apply(hone_toy_gpt2 *toy, size_t layer, const char *module, const double *x, double *y)
{
    const hone_toy_tensor *w = in_layer(toy, layer, module, "weight"), *b = in_layer(toy, layer, module, "bias");
    for (size_t r = 0; r < w->nrows; r++) {
        y[r] = (double)b->data[r];
        for (size_t c = 0; c < w->ncols; c++)
            y[r] += (double)w->data[r * w->ncols + c] * x[c];
    }
}

static void normalize(const hone_toy_gpt2 *toy, const float *weight, const float *bias, const double *x, double *y)
{
    const double n = (double)toy->n_embd;
    double mean = 0, square = 0;
    for (size_t i = 0; i < toy->n_embd; i++) {
        mean += x[i] / n;
        square += x[i] * x[i] / n;
    }
    for (size_t i = 0; i < toy->n_embd; i++)
        y[i] = (x[i] - mean) / sqrt(square - mean * mean + toy->eps) * (double)weight[i] + (double)bias[i];
}

static double gelu(const hone_toy_gpt2 *toy, double z)
{
    const double pi = acos(-1.0);
    if (toy->exact_gelu)
        return z * 0.5 * erfc(-z / sqrt(2.0));
    return z / (1 + exp(-2 * sqrt(2 / pi) * (z + 0.044715 * pow(z, 3))));
}

static void attend(const hone_toy_gpt2 *toy, const struct cache *cache, size_t layer, const double *q, size_t position,
                   double *out)
{
    const size_t d = toy->n_embd / toy->n_heads;
    const double scale = (toy->unscaled ? 1 : pow((double)d, -0.5)) * (toy->layered ? 1 / (1.0 + (double)layer) : 1);
    for (size_t h = 0; h < toy->n_heads; h++) {
        double weights[MAX_TOKENS], total = 0;
        for (size_t t = 0; t <= position; t++) {
            double dot = 0;
            for (size_t i = h * d; i < (h + 1) * d; i++)
                dot += q[i] * cache->k[t][i];
            total += weights[t] = exp(dot * scale);
        }
        for (size_t i = h * d; i < (h + 1) * d; i++) {
            out[i] = 0;
            for (size_t t = 0; t <= position; t++)
                out[i] += weights[t] / total * cache->v[t][i];
        }
    }
}

static void run_layer(hone_toy_gpt2 *toy, size_t layer, struct cache *cache, size_t position, double *x)
{
    const size_t d = toy->n_embd;
    double normed[MAX_WIDTH], a[MAX_WIDTH], b[MAX_WIDTH];
    normalize(toy, in_layer(toy, layer, "ln_1", "weight")->data, in_layer(toy, layer, "ln_1", "bias")->data, x, normed);
    apply(toy, layer, "attn.c_attn", normed, a);
    memcpy(cache->k[position], a + d, d * sizeof *a);
    memcpy(cache->v[position], a + 2 * d, d * sizeof *a);
    attend(toy, cache, layer, a, position, b);
    apply(toy, layer, "attn.c_proj", b, a);
    for (size_t i = 0; i < d; i++)
        x[i] += a[i];
    normalize(toy, in_layer(toy, layer, "ln_2", "weight")->data, in_layer(toy, layer, "ln_2", "bias")->data, x, normed);
    apply(toy, layer, "mlp.c_fc", normed, a);
    for (size_t i = 0; i < toy->n_ff; i++)
        a[i] = gelu(toy, a[i]);
    apply(toy, layer, "mlp.c_proj", a, b);
    for (size_t i = 0; i < d; i++)
        x[i] += b[i];
}

void hone_toy_gpt2_run(hone_toy_gpt2 *toy, const int32_t *tokens, size_t n, double *logits)
{
    const size_t d = toy->n_embd;
    const float *embedding = hone_toy_gpt2_find(toy, "wte.weight")->data;
    const float *positions = hone_toy_gpt2_find(toy, "wpe.weight")->data;
    const float *head = toy->untied ? hone_toy_gpt2_find(toy, "lm_head.weight")->data : embedding;
    const float *norm[2] = {hone_toy_gpt2_find(toy, "ln_f.weight")->data, hone_toy_gpt2_find(toy, "ln_f.bias")->data};
    struct cache *caches = calloc(toy->n_layers, sizeof *caches);
    if (!caches || n > MAX_TOKENS || 3 * d > MAX_WIDTH || toy->n_ff > MAX_WIDTH)
        abort();
    for (size_t t = 0; t < n; t++) {
        double x[MAX_WIDTH], y[MAX_WIDTH];
        for (size_t i = 0; i < d; i++)
            x[i] = (double)embedding[(size_t)tokens[t] * d + i] + (double)positions[t * d + i];
        for (size_t layer = 0; layer < toy->n_layers; layer++)
            run_layer(toy, layer, &caches[layer], t, x);
        normalize(toy, norm[0], norm[1], x, y);
        for (size_t v = 0; v < toy->n_vocab; v++) {
            double *logit = &logits[t * toy->n_vocab + v];
            *logit = 0;
            for (size_t i = 0; i < d; i++)
                *logit += y[i] * (double)head[v * d + i];
        }
    }
    free(caches);
}
