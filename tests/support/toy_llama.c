/* SPDX-License-Identifier: MIT */
#include "tests/support/toy_llama.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static void add_to_layer(hone_toy *toy, size_t layer, const char *hf, const char *gguf, size_t nrows, size_t ncols,
                         size_t n_heads, bool bias)
{
    for (int part = 0; part < (bias ? 2 : 1); part++) {
        char hf_name[64], gguf_name[64];
        const char *tail = part ? "bias" : "weight";
        (void)snprintf(hf_name, sizeof hf_name, "model.layers.%zu.%s.%s", layer, hf, tail);
        (void)snprintf(gguf_name, sizeof gguf_name, "blk.%zu.%s.%s", layer, gguf, tail);
        hone_toy_add(&toy->tensors, &toy->n_tensors, hf_name, gguf_name, nrows, part ? 0 : ncols)->n_heads = n_heads;
    }
}

static void add_rope_divisors(hone_toy *toy)
{
    hone_toy_tensor *t = hone_toy_add(&toy->tensors, &toy->n_tensors, "", "rope_freqs.weight", toy->head_dim / 2, 0);
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

static const char *const parts[] = {"w1", "w3", "w2"}, *const gguf_parts[] = {"gate", "up", "down"};

static void add_experts(hone_toy *toy, size_t layer)
{
    const size_t d = toy->n_embd, f = toy->n_ff;
    add_to_layer(toy, layer, "block_sparse_moe.gate", "ffn_gate_inp", toy->n_experts, d, 0, false);
    for (size_t e = 0; e < toy->n_experts; e++)
        for (int i = 0; i < 3; i++) {
            char name[128];
            (void)snprintf(name, sizeof name, "model.layers.%zu.block_sparse_moe.experts.%zu.%s.weight", layer, e,
                           parts[i]);
            hone_toy_add(&toy->tensors, &toy->n_tensors, name, "", i == 2 ? d : f, i == 2 ? f : d)->not_gguf = true;
        }
}

/* The experts of a layer one behind the other, as GGUF has them. */
static void add_stacks(hone_toy *toy, size_t layer)
{
    for (int i = 0; i < 3; i++) {
        char name[128];
        (void)snprintf(name, sizeof name, "blk.%zu.ffn_%s_exps.weight", layer, gguf_parts[i]);
        const size_t nrows = i == 2 ? toy->n_embd : toy->n_ff, ncols = i == 2 ? toy->n_ff : toy->n_embd;
        float *data = malloc(toy->n_experts * nrows * ncols * sizeof *data);
        if (!data)
            abort();
        for (size_t e = 0; e < toy->n_experts; e++) {
            char expert[128];
            (void)snprintf(expert, sizeof expert, "model.layers.%zu.block_sparse_moe.experts.%zu.%s.weight", layer, e,
                           parts[i]);
            memcpy(data + e * nrows * ncols, hone_toy_find(toy, expert)->data, nrows * ncols * sizeof *data);
        }
        hone_toy_tensor *t = hone_toy_add(&toy->tensors, &toy->n_tensors, "", name, toy->n_experts * nrows, ncols);
        t->not_hf = true;
        t->n_stacked = toy->n_experts;
        t->data = data;
    }
}

void hone_toy_fill(hone_toy *toy)
{
    const size_t d = toy->n_embd, q = toy->n_heads * toy->head_dim, kv = toy->n_kv_heads * toy->head_dim;
    hone_toy_add(&toy->tensors, &toy->n_tensors, "model.embed_tokens.weight", "token_embd.weight", toy->n_vocab, d);
    for (size_t i = 0; i < toy->n_layers; i++) {
        add_to_layer(toy, i, "input_layernorm", "attn_norm", d, 0, 0, false);
        add_to_layer(toy, i, "self_attn.q_proj", "attn_q", q, d, toy->n_heads, toy->attn_bias);
        add_to_layer(toy, i, "self_attn.k_proj", "attn_k", kv, d, toy->n_kv_heads, toy->attn_bias);
        add_to_layer(toy, i, "self_attn.v_proj", "attn_v", kv, d, 0, toy->attn_bias);
        add_to_layer(toy, i, "self_attn.o_proj", "attn_output", d, q, 0, toy->attn_bias);
        add_to_layer(toy, i, "post_attention_layernorm", "ffn_norm", d, 0, 0, false);
        if (toy->n_experts) {
            add_experts(toy, i);
            continue;
        }
        add_to_layer(toy, i, "mlp.gate_proj", "ffn_gate", toy->n_ff, d, 0, toy->mlp_bias);
        add_to_layer(toy, i, "mlp.up_proj", "ffn_up", toy->n_ff, d, 0, toy->mlp_bias);
        add_to_layer(toy, i, "mlp.down_proj", "ffn_down", d, toy->n_ff, 0, toy->mlp_bias);
    }
    hone_toy_add(&toy->tensors, &toy->n_tensors, "model.norm.weight", "output_norm.weight", d, 0);
    if (!toy->tied)
        hone_toy_add(&toy->tensors, &toy->n_tensors, "lm_head.weight", "output.weight", toy->n_vocab, d);
    hone_toy_randomize(toy->tensors, toy->n_tensors);
    for (size_t i = 0; i < toy->n_layers && toy->n_experts; i++)
        add_stacks(toy, i);
    if (toy->llama3_factor > 0)
        add_rope_divisors(toy);
}

void hone_toy_free(hone_toy *toy)
{
    hone_toy_free_tensors(&toy->tensors, &toy->n_tensors);
}

hone_toy_tensor *hone_toy_find(hone_toy *toy, const char *hf)
{
    return hone_toy_find_tensor(toy->tensors, toy->n_tensors, hf);
}

/* ---- Hugging Face ---- */

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
                 toy->n_experts ? "MixtralForCausalLM"
                 : toy->window  ? "MistralForCausalLM"
                                : "LlamaForCausalLM",
                 toy->n_vocab, toy->n_embd, toy->n_ff, toy->n_layers, toy->n_heads, toy->n_kv_heads, toy->head_dim,
                 toy->n_ctx, toy->theta, toy->eps, toy->tied ? "true" : "false", toy->attn_bias ? "true" : "false",
                 toy->mlp_bias ? "true" : "false");
    if (toy->window)
        n += snprintf(config + n, sizeof config - (size_t)n, ", \"sliding_window\": %zu", toy->window);
    if (toy->n_experts)
        n +=
            snprintf(config + n, sizeof config - (size_t)n,
                     ", \"num_local_experts\": %zu, \"num_experts_per_tok\": %zu", toy->n_experts, toy->n_experts_used);
    (void)snprintf(config + n, sizeof config - (size_t)n, "%s%s}", rope, toy->json_extra ? toy->json_extra : "");
    (void)hone_temp_text(dir, "config.json", config);
}

const char *hone_toy_write_hf(const hone_toy *toy, hone_temp_dir *dir)
{
    hone_toy_write_safetensors(toy->tensors, toy->n_tensors, dir);
    write_config(toy, dir);
    (void)snprintf(dir->last, sizeof dir->last, "%s", dir->path);
    return dir->last;
}

/* ---- GGUF ---- */

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
        {"llama.expert_count", toy->n_experts},        {"llama.expert_used_count", toy->n_experts_used},
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
    hone_toy_put_string(b, "general.architecture");
    hone_bytes_u32(b, 8);
    hone_toy_put_string(b, "llama");
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        if (counts[i].value == 0)
            continue;
        hone_toy_put_count(b, counts[i].key, counts[i].value);
        n++;
    }
    for (size_t i = 0; i < sizeof floats / sizeof floats[0]; i++) {
        if (floats[i].value <= 0)
            continue;
        hone_toy_put_float(b, floats[i].key, floats[i].value);
        n++;
    }
    if (toy->gguf_extra)
        hone_bytes_script(b, toy->gguf_extra);
    return n + toy->n_gguf_extra;
}

const char *hone_toy_write_gguf(const hone_toy *toy, hone_temp_dir *dir)
{
    hone_bytes entries = {0};
    const uint64_t n_entries = put_metadata(toy, &entries);
    const char *path = hone_toy_write_gguf_file(toy->tensors, toy->n_tensors, &entries, n_entries, dir);
    hone_bytes_free(&entries);
    return path;
}
