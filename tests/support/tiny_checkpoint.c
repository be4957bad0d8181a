/* SPDX-License-Identifier: MIT */
#include "tests/support/tiny_checkpoint.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/byte_builder.h"

enum { N_LAYERS = 2, FFN = 96, N_HEADS = 4, N_KV_HEADS = 2, N_VOCAB = 48 };

struct builder {
    const hone_tiny_options *opts;
    hone_bytes header, data;
    uint64_t seed;
};

/* splitmix64: the same weights on every machine. */
static uint64_t next(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void put_text(hone_bytes *b, const char *text)
{
    hone_bytes_put(b, text, strlen(text));
}

static void add(struct builder *b, const char *name, size_t rows, size_t cols)
{
    if (b->opts->skip && strcmp(name, b->opts->skip) == 0)
        return;
    const size_t begin = b->data.n, n = rows * (cols ? cols : 1);
    for (size_t i = 0; i < n; i++) {
        float w = (float)((double)(next(&b->seed) >> 11) * 0x1p-53 - 0.5) * 0.5f;
        if (!cols)
            w += 1; /* norms are near one */
        if (b->opts->poke && strcmp(name, b->opts->poke) == 0 && i == b->opts->poke_at)
            w = b->opts->poke_value;
        hone_bytes_put(&b->data, &w, sizeof w);
    }
    char entry[256], shape[48];
    (void)snprintf(shape, sizeof shape, cols ? "%zu,%zu" : "%zu", rows, cols);
    (void)snprintf(entry, sizeof entry, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
                   b->header.n > 1 ? "," : "", name, shape, begin, b->data.n);
    put_text(&b->header, entry);
}

static void add_layer(struct builder *b, int layer, size_t hidden)
{
    static const struct {
        const char *name;
        int rows, cols; /* 'd' hidden, 'k' key/value width, 'f' feed-forward, 0 none */
        bool bias;
    } kinds[] = {
        {"input_layernorm.weight", 'd', 0, false},    {"self_attn.q_proj.weight", 'd', 'd', false},
        {"self_attn.k_proj.weight", 'k', 'd', false}, {"self_attn.v_proj.weight", 'k', 'd', false},
        {"self_attn.o_proj.weight", 'd', 'd', false}, {"self_attn.q_proj.bias", 'd', 0, true},
        {"self_attn.k_proj.bias", 'k', 0, true},      {"self_attn.v_proj.bias", 'k', 0, true},
        {"self_attn.o_proj.bias", 'd', 0, true},      {"post_attention_layernorm.weight", 'd', 0, false},
        {"mlp.gate_proj.weight", 'f', 'd', false},    {"mlp.up_proj.weight", 'f', 'd', false},
        {"mlp.down_proj.weight", 'd', 'f', false},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (kinds[i].bias && !b->opts->bias)
            continue;
        size_t axis[2] = {0, 0};
        const int letters[2] = {kinds[i].rows, kinds[i].cols};
        for (int a = 0; a < 2; a++)
            axis[a] = letters[a] == 'd'   ? hidden
                      : letters[a] == 'k' ? hidden / N_HEADS * N_KV_HEADS
                      : letters[a] == 'f' ? FFN
                                          : 0;
        char name[128];
        (void)snprintf(name, sizeof name, "model.layers.%d.%s", layer, kinds[i].name);
        add(b, name, axis[0], axis[1]);
    }
}

void hone_tiny_checkpoint(hone_temp_dir *dir, const hone_tiny_options *opts)
{
    const size_t hidden = opts->hidden ? opts->hidden : 64;
    struct builder b = {.opts = opts, .seed = 7};
    put_text(&b.header, "{");
    add(&b, "model.embed_tokens.weight", N_VOCAB, hidden);
    for (int layer = 0; layer < N_LAYERS; layer++)
        add_layer(&b, layer, hidden);
    add(&b, "model.norm.weight", hidden, 0);
    if (!opts->tied)
        add(&b, "lm_head.weight", N_VOCAB, hidden);
    if (opts->extra)
        add(&b, opts->extra, 4, 0);
    put_text(&b.header, "}");

    hone_bytes file = {0};
    hone_bytes_u64(&file, b.header.n);
    hone_bytes_put(&file, b.header.data, b.header.n);
    hone_bytes_put(&file, b.data.data, b.data.n);
    (void)hone_temp_file(dir, "model.safetensors", file.data, file.n);

    char config[1024];
    (void)snprintf(config, sizeof config,
                   "{\"architectures\": [\"%s\"], \"hidden_size\": %zu, \"intermediate_size\": %d, "
                   "\"num_hidden_layers\": %d, \"num_attention_heads\": %d, \"num_key_value_heads\": %d, "
                   "\"vocab_size\": %d, \"max_position_embeddings\": 64, \"rms_norm_eps\": 1e-5, "
                   "\"tie_word_embeddings\": %s%s}",
                   opts->model_class ? opts->model_class : "LlamaForCausalLM", hidden, FFN, N_LAYERS, N_HEADS,
                   N_KV_HEADS, N_VOCAB, opts->tied ? "true" : "false", opts->config_extra ? opts->config_extra : "");
    (void)hone_temp_text(dir, "config.json", config);
    hone_bytes_free(&file);
    hone_bytes_free(&b.header);
    hone_bytes_free(&b.data);
}
