/* SPDX-License-Identifier: MIT */
#include "tests/support/toy_llama.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/byte_builder.h"

hone_toy hone_toy_sizes(void)
{
    return (hone_toy){.n_vocab = 40,
                      .n_embd = 24,
                      .n_ff = 28,
                      .n_layers = 2,
                      .n_heads = 4,
                      .n_kv_heads = 2,
                      .head_dim = 6,
                      .n_ctx = 64,
                      .theta = 10000.0,
                      .eps = 1e-5};
}

/* Uniform in (-1, 1), from a linear congruential generator: the same everywhere. */
static float next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(*state >> 40) * 0x1p-23 - 1.0);
}

static hone_toy_tensor *add(hone_toy *toy, const char *hf, const char *gguf, size_t nrows, size_t ncols)
{
    toy->tensors = realloc(toy->tensors, (toy->n_tensors + 1) * sizeof *toy->tensors);
    if (!toy->tensors)
        abort();
    hone_toy_tensor *t = &toy->tensors[toy->n_tensors++];
    memset(t, 0, sizeof *t);
    (void)snprintf(t->hf, sizeof t->hf, "%s", hf);
    (void)snprintf(t->gguf, sizeof t->gguf, "%s", gguf);
    t->nrows = nrows;
    t->ncols = ncols;
    return t;
}

static void add_to_layer(hone_toy *toy, size_t layer, const char *hf, const char *gguf, size_t nrows, size_t ncols,
                         size_t n_heads, bool bias)
{
    for (int part = 0; part < (bias ? 2 : 1); part++) {
        char hf_name[64], gguf_name[64];
        const char *tail = part ? "bias" : "weight";
        (void)snprintf(hf_name, sizeof hf_name, "model.layers.%zu.%s.%s", layer, hf, tail);
        (void)snprintf(gguf_name, sizeof gguf_name, "blk.%zu.%s.%s", layer, gguf, tail);
        add(toy, hf_name, gguf_name, nrows, part ? 0 : ncols)->n_heads = n_heads;
    }
}

static void add_rope_divisors(hone_toy *toy)
{
    hone_toy_tensor *t = add(toy, "", "rope_freqs.weight", toy->head_dim / 2, 0);
    t->not_hf = true;
    t->data = malloc(t->nrows * sizeof(float));
    if (!t->data)
        abort();
    for (size_t i = 0; i < t->nrows; i++) {
        const double wavelength = 2 * acos(-1.0) * pow(toy->theta, 2.0 * (double)i / (double)toy->head_dim);
        const double low = toy->llama3_low, high = toy->llama3_high, factor = toy->llama3_factor;
        const double s = (toy->llama3_ctx / wavelength - low) / (high - low);
        t->data[i] = wavelength < toy->llama3_ctx / high  ? 1.0f
                     : wavelength > toy->llama3_ctx / low ? (float)factor
                                                          : (float)(1 / ((1 - s) / factor + s));
    }
}

void hone_toy_fill(hone_toy *toy)
{
    const size_t d = toy->n_embd, q = toy->n_heads * toy->head_dim, kv = toy->n_kv_heads * toy->head_dim;
    add(toy, "model.embed_tokens.weight", "token_embd.weight", toy->n_vocab, d);
    for (size_t i = 0; i < toy->n_layers; i++) {
        add_to_layer(toy, i, "input_layernorm", "attn_norm", d, 0, 0, false);
        add_to_layer(toy, i, "self_attn.q_proj", "attn_q", q, d, toy->n_heads, toy->attn_bias);
        add_to_layer(toy, i, "self_attn.k_proj", "attn_k", kv, d, toy->n_kv_heads, toy->attn_bias);
        add_to_layer(toy, i, "self_attn.v_proj", "attn_v", kv, d, 0, toy->attn_bias);
        add_to_layer(toy, i, "self_attn.o_proj", "attn_output", d, q, 0, toy->attn_bias);
        add_to_layer(toy, i, "post_attention_layernorm", "ffn_norm", d, 0, 0, false);
        add_to_layer(toy, i, "mlp.gate_proj", "ffn_gate", toy->n_ff, d, 0, toy->mlp_bias);
        add_to_layer(toy, i, "mlp.up_proj", "ffn_up", toy->n_ff, d, 0, toy->mlp_bias);
        add_to_layer(toy, i, "mlp.down_proj", "ffn_down", d, toy->n_ff, 0, toy->mlp_bias);
    }
    add(toy, "model.norm.weight", "output_norm.weight", d, 0);
    if (!toy->tied)
        add(toy, "lm_head.weight", "output.weight", toy->n_vocab, d);
    uint64_t state = 1;
    for (size_t i = 0; i < toy->n_tensors; i++) {
        hone_toy_tensor *t = &toy->tensors[i];
        const size_t n = t->nrows * (t->ncols ? t->ncols : 1);
        t->data = malloc(n * sizeof(float));
        if (!t->data)
            abort();
        for (size_t k = 0; k < n; k++)
            t->data[k] = strstr(t->hf, "norm") ? 1 + 0.3f * next_random(&state) : 0.6f * next_random(&state);
    }
    if (toy->llama3_factor > 0)
        add_rope_divisors(toy);
}

void hone_toy_free(hone_toy *toy)
{
    for (size_t i = 0; i < toy->n_tensors; i++)
        free(toy->tensors[i].data);
    free(toy->tensors);
    toy->tensors = NULL;
    toy->n_tensors = 0;
}

hone_toy_tensor *hone_toy_find(hone_toy *toy, const char *hf)
{
    for (size_t i = 0; i < toy->n_tensors; i++)
        if (strcmp(toy->tensors[i].hf, hf) == 0)
            return &toy->tensors[i];
    (void)fprintf(stderr, "toy model has no %s\n", hf);
    abort();
}

/* ---- Hugging Face ---- */

static void put_text(hone_bytes *b, const char *text)
{
    hone_bytes_put(b, text, strlen(text));
}

static void write_config(const hone_toy *toy, hone_temp_dir *dir)
{
    char rope[256] = "", config[2048];
    if (toy->linear_factor > 0)
        (void)snprintf(rope, sizeof rope, ", \"rope_scaling\": {\"type\": \"linear\", \"factor\": %.17g}",
                       toy->linear_factor);
    if (toy->llama3_factor > 0)
        (void)snprintf(
            rope, sizeof rope,
            ", \"rope_parameters\": {\"rope_type\": \"llama3\", \"factor\": %.17g, \"low_freq_factor\": %.17g, "
            "\"high_freq_factor\": %.17g, \"original_max_position_embeddings\": %.0f}",
            toy->llama3_factor, toy->llama3_low, toy->llama3_high, toy->llama3_ctx);
    int n =
        snprintf(config, sizeof config,
                 "{\"architectures\": [\"%s\"], \"vocab_size\": %zu, \"hidden_size\": %zu, \"intermediate_size\": %zu, "
                 "\"num_hidden_layers\": %zu, \"num_attention_heads\": %zu, \"num_key_value_heads\": %zu, "
                 "\"head_dim\": %zu, \"max_position_embeddings\": %zu, \"rope_theta\": %.17g, \"rms_norm_eps\": %.17g, "
                 "\"tie_word_embeddings\": %s, \"attention_bias\": %s, \"mlp_bias\": %s",
                 toy->window ? "MistralForCausalLM" : "LlamaForCausalLM", toy->n_vocab, toy->n_embd, toy->n_ff,
                 toy->n_layers, toy->n_heads, toy->n_kv_heads, toy->head_dim, toy->n_ctx, toy->theta, toy->eps,
                 toy->tied ? "true" : "false", toy->attn_bias ? "true" : "false", toy->mlp_bias ? "true" : "false");
    if (toy->window)
        n += snprintf(config + n, sizeof config - (size_t)n, ", \"sliding_window\": %zu", toy->window);
    (void)snprintf(config + n, sizeof config - (size_t)n, "%s%s}", rope, toy->json_extra ? toy->json_extra : "");
    (void)hone_temp_text(dir, "config.json", config);
}

const char *hone_toy_write_hf(const hone_toy *toy, hone_temp_dir *dir)
{
    hone_bytes header = {0}, data = {0}, file = {0};
    for (size_t i = 0; i < toy->n_tensors; i++) {
        const hone_toy_tensor *t = &toy->tensors[i];
        if (t->not_hf)
            continue;
        char shape[64], entry[256];
        (void)snprintf(shape, sizeof shape, t->ncols ? "%zu,%zu" : "%zu", t->nrows, t->ncols);
        const size_t begin = data.n;
        hone_bytes_put(&data, t->data, t->nrows * (t->ncols ? t->ncols : 1) * sizeof(float));
        (void)snprintf(entry, sizeof entry, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
                       header.n ? "," : "{", t->hf, shape, begin, data.n);
        put_text(&header, entry);
    }
    put_text(&header, "}");
    hone_bytes_u64(&file, header.n);
    hone_bytes_put(&file, header.data, header.n);
    hone_bytes_put(&file, data.data, data.n);
    (void)hone_temp_file(dir, "model.safetensors", file.data, file.n);
    hone_bytes_free(&header);
    hone_bytes_free(&data);
    hone_bytes_free(&file);
    write_config(toy, dir);
    (void)snprintf(dir->last, sizeof dir->last, "%s", dir->path);
    return dir->last;
}

/* ---- GGUF ---- */

enum { ALIGNMENT = 32 };

static void put_string(hone_bytes *b, const char *text)
{
    hone_bytes_u64(b, strlen(text));
    put_text(b, text);
}

static uint64_t put_metadata(const hone_toy *toy, hone_bytes *b)
{
    const struct {
        const char *key;
        size_t value;
    } counts[] = {
        {"llama.context_length", toy->n_ctx},          {"llama.embedding_length", toy->n_embd},
        {"llama.block_count", toy->n_layers},          {"llama.feed_forward_length", toy->n_ff},
        {"llama.attention.head_count", toy->n_heads},  {"llama.attention.head_count_kv", toy->n_kv_heads},
        {"llama.attention.key_length", toy->head_dim}, {"llama.attention.value_length", toy->head_dim},
        {"llama.rope.dimension_count", toy->head_dim}, {"llama.vocab_size", toy->n_vocab},
    };
    const struct {
        const char *key;
        double value;
    } floats[] = {
        {"llama.attention.layer_norm_rms_epsilon", toy->eps},
        {"llama.rope.freq_base", toy->theta},
        {"llama.rope.scaling.factor", toy->linear_factor},
    };
    uint64_t n = 1;
    put_string(b, "general.architecture");
    hone_bytes_u32(b, 8);
    put_string(b, "llama");
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++, n++) {
        put_string(b, counts[i].key);
        hone_bytes_u32(b, 4);
        hone_bytes_u32(b, (uint32_t)counts[i].value);
    }
    for (size_t i = 0; i < sizeof floats / sizeof floats[0]; i++) {
        const float value = (float)floats[i].value;
        if (floats[i].value <= 0)
            continue;
        put_string(b, floats[i].key);
        hone_bytes_u32(b, 6);
        hone_bytes_put(b, &value, sizeof value);
        n++;
    }
    if (toy->gguf_extra)
        hone_bytes_script(b, toy->gguf_extra);
    return n + toy->n_gguf_extra;
}

/* Halves become neighbours: row i of a head goes to 2i, row h/2 + i to 2i + 1. */
static void put_rows(hone_bytes *b, const hone_toy_tensor *t)
{
    const size_t row_nelems = t->ncols ? t->ncols : 1;
    const size_t per_head = t->n_heads ? t->nrows / t->n_heads : t->nrows;
    for (size_t head = 0; head < t->nrows / per_head; head++)
        for (size_t i = 0; i < per_head; i++) {
            const size_t from = t->n_heads == 0 ? i : i % 2 == 0 ? i / 2 : per_head / 2 + i / 2;
            hone_bytes_put(b, t->data + (head * per_head + from) * row_nelems, row_nelems * sizeof(float));
        }
    hone_bytes_zero(b, (ALIGNMENT - b->n % ALIGNMENT) % ALIGNMENT);
}

const char *hone_toy_write_gguf(const hone_toy *toy, hone_temp_dir *dir)
{
    hone_bytes entries = {0}, infos = {0}, data = {0}, file = {0};
    const uint64_t n_entries = put_metadata(toy, &entries);
    uint64_t n_tensors = 0;
    for (size_t i = 0; i < toy->n_tensors; i++) {
        const hone_toy_tensor *t = &toy->tensors[i];
        if (t->not_gguf)
            continue;
        n_tensors++;
        put_string(&infos, t->gguf);
        hone_bytes_u32(&infos, t->ncols ? 2 : 1);
        if (t->ncols)
            hone_bytes_u64(&infos, t->ncols);
        hone_bytes_u64(&infos, t->nrows);
        hone_bytes_u32(&infos, 0); /* F32 */
        hone_bytes_u64(&infos, data.n);
        put_rows(&data, t);
    }
    put_text(&file, "GGUF");
    hone_bytes_u32(&file, 3);
    hone_bytes_u64(&file, n_tensors);
    hone_bytes_u64(&file, n_entries);
    hone_bytes_put(&file, entries.data, entries.n);
    hone_bytes_put(&file, infos.data, infos.n);
    hone_bytes_zero(&file, (ALIGNMENT - file.n % ALIGNMENT) % ALIGNMENT);
    hone_bytes_put(&file, data.data, data.n);
    const char *path = hone_temp_file(dir, "toy.gguf", file.data, file.n);
    hone_bytes_free(&entries);
    hone_bytes_free(&infos);
    hone_bytes_free(&data);
    hone_bytes_free(&file);
    return path;
}
