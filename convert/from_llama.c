/* SPDX-License-Identifier: MIT */
/*
 * LLaMA, Mistral and Mixtral: Hugging Face checkpoint to GGUF architecture "llama".
 *
 * Names and transforms: llama.cpp conversion/llama.py and gguf-py tensor_mapping.py.
 */
#include <math.h>
#include <string.h>

#include "base/fail.h"
#include "convert/config.h"
#include "convert/plan_impl.h"
#include "formats/sources.h"

enum { MAX_LAYERS = 512, MAX_HEADS = 65536 }; /* llama.cpp's limit on blocks; ours on heads */

struct rope_scaling {
    bool llama3, linear;
    double factor, low_freq_factor, high_freq_factor, original_context;
};

struct llama_config {
    uint32_t hidden, ffn, n_layers, n_heads, n_kv_heads, head_dim, n_vocab, n_ctx;
    uint32_t n_experts, n_experts_used; /* 0: no mixture */
    double rms_eps, rope_theta;
    bool tied;
    struct rope_scaling rope;
};

static hone_status unsupported(hone_error *err, const char *key, const char *value)
{
    return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, key, "\"%s\" is not supported", value);
}

static hone_status read_rope(const json_t *config, struct llama_config *c, hone_error *err)
{
    /* transformers 5 keeps all of it in rope_parameters, older versions theta outside and the rest in rope_scaling. */
    const json_t *rope = json_object_get(config, "rope_parameters");
    if (!json_is_object(rope))
        rope = json_object_get(config, "rope_scaling");
    HONE_TRY(hone_config_f64(config, "rope_theta", HONE_OPTIONAL, &c->rope_theta, err));
    if (!rope || json_is_null(rope))
        return HONE_OK;
    if (!json_is_object(rope))
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, "rope_scaling", "is not an object");
    HONE_TRY(hone_config_f64(rope, "rope_theta", HONE_OPTIONAL, &c->rope_theta, err));
    const char *type = "default";
    HONE_TRY(hone_config_str(rope, "type", HONE_OPTIONAL, &type, err));
    HONE_TRY(hone_config_str(rope, "rope_type", HONE_OPTIONAL, &type, err));
    if (strcmp(type, "default") == 0)
        return HONE_OK;
    c->rope.linear = strcmp(type, "linear") == 0;
    c->rope.llama3 = strcmp(type, "llama3") == 0;
    if (!c->rope.linear && !c->rope.llama3)
        return unsupported(err, "rope_scaling", type);
    HONE_TRY(hone_config_f64(rope, "factor", HONE_REQUIRED, &c->rope.factor, err));
    if (!(c->rope.factor > 0))
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, "rope_scaling", "factor is not positive");
    if (!c->rope.llama3)
        return HONE_OK;
    HONE_TRY(hone_config_f64(rope, "low_freq_factor", HONE_REQUIRED, &c->rope.low_freq_factor, err));
    HONE_TRY(hone_config_f64(rope, "high_freq_factor", HONE_REQUIRED, &c->rope.high_freq_factor, err));
    HONE_TRY(hone_config_f64(rope, "original_max_position_embeddings", HONE_REQUIRED, &c->rope.original_context, err));
    if (!(c->rope.low_freq_factor > 0 && c->rope.high_freq_factor > c->rope.low_freq_factor))
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, "rope_scaling",
                         "needs 0 < low_freq_factor < high_freq_factor");
    return HONE_OK;
}

/* What transformers takes for Mixtral where the configuration is silent. */
static hone_status read_experts(const json_t *config, struct llama_config *c, hone_error *err)
{
    enum { CTX = 4096 * 32, KV_HEADS = 8, N_EXPERTS = 8, N_USED = 2, MAX_EXPERTS = 1024 };
    c->n_ctx = CTX;
    c->n_kv_heads = KV_HEADS;
    c->rms_eps = 1e-5;
    c->rope_theta = 1e6;
    c->n_experts = N_EXPERTS;
    c->n_experts_used = N_USED;
    HONE_TRY(hone_config_u32(config, "num_local_experts", HONE_OPTIONAL, &c->n_experts, err));
    HONE_TRY(hone_config_u32(config, "num_experts_per_tok", HONE_OPTIONAL, &c->n_experts_used, err));
    if (c->n_experts == 0 || c->n_experts > MAX_EXPERTS || c->n_experts_used == 0 || c->n_experts_used > c->n_experts)
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, "num_local_experts",
                         "%u experts, of which %u are used; at most %d are possible", c->n_experts, c->n_experts_used,
                         MAX_EXPERTS);
    return HONE_OK;
}

static hone_status read_config(const json_t *config, bool mixtral, struct llama_config *c, hone_error *err)
{
    *c = (struct llama_config){.n_ctx = 2048, .rms_eps = 1e-6, .rope_theta = 10000.0};
    const char *act = "silu";
    HONE_TRY(hone_config_u32(config, "hidden_size", HONE_REQUIRED, &c->hidden, err));
    HONE_TRY(hone_config_u32(config, "intermediate_size", HONE_REQUIRED, &c->ffn, err));
    HONE_TRY(hone_config_u32(config, "num_hidden_layers", HONE_REQUIRED, &c->n_layers, err));
    HONE_TRY(hone_config_u32(config, "num_attention_heads", HONE_REQUIRED, &c->n_heads, err));
    c->n_kv_heads = c->n_heads;
    if (mixtral)
        HONE_TRY(read_experts(config, c, err));
    HONE_TRY(hone_config_u32(config, "num_key_value_heads", HONE_OPTIONAL, &c->n_kv_heads, err));
    HONE_TRY(hone_config_u32(config, "vocab_size", HONE_REQUIRED, &c->n_vocab, err));
    HONE_TRY(hone_config_u32(config, "max_position_embeddings", HONE_OPTIONAL, &c->n_ctx, err));
    HONE_TRY(hone_config_f64(config, "rms_norm_eps", HONE_OPTIONAL, &c->rms_eps, err));
    HONE_TRY(hone_config_bool(config, "tie_word_embeddings", HONE_OPTIONAL, &c->tied, err));
    HONE_TRY(hone_config_str(config, "hidden_act", HONE_OPTIONAL, &act, err));
    if (strcmp(act, "silu") != 0)
        return unsupported(err, "hidden_act", act);
    if (c->n_layers == 0 || c->n_layers > MAX_LAYERS)
        return hone_fail(err, HONE_ERROR_LIMIT, HONE_NO_OFFSET, "num_hidden_layers", "%u; 1 to %d are possible",
                         c->n_layers, MAX_LAYERS);
    if (c->n_heads == 0 || c->n_heads > MAX_HEADS || c->n_kv_heads == 0 || c->n_heads % c->n_kv_heads != 0)
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, "num_attention_heads",
                         "%u heads cannot share %u key/value heads", c->n_heads, c->n_kv_heads);
    c->head_dim = c->hidden / c->n_heads;
    HONE_TRY(hone_config_u32(config, "head_dim", HONE_OPTIONAL, &c->head_dim, err));
    if (c->head_dim == 0 || c->head_dim % 2 != 0 || c->head_dim > MAX_HEADS)
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, "head_dim", "%u is not a positive even number",
                         c->head_dim);
    return read_rope(config, c, err);
}

static void put_metadata(hone_gguf_header *h, const struct llama_config *c)
{
    hone_gguf_put_u32(h, "llama.vocab_size", c->n_vocab);
    hone_gguf_put_u32(h, "llama.context_length", c->n_ctx);
    hone_gguf_put_u32(h, "llama.embedding_length", c->hidden);
    hone_gguf_put_u32(h, "llama.block_count", c->n_layers);
    hone_gguf_put_u32(h, "llama.feed_forward_length", c->ffn);
    if (c->n_experts) {
        hone_gguf_put_u32(h, "llama.expert_count", c->n_experts);
        hone_gguf_put_u32(h, "llama.expert_used_count", c->n_experts_used);
    }
    hone_gguf_put_u32(h, "llama.attention.head_count", c->n_heads);
    hone_gguf_put_u32(h, "llama.attention.head_count_kv", c->n_kv_heads);
    hone_gguf_put_u32(h, "llama.attention.key_length", c->head_dim);
    hone_gguf_put_u32(h, "llama.attention.value_length", c->head_dim);
    hone_gguf_put_f32(h, "llama.attention.layer_norm_rms_epsilon", (float)c->rms_eps);
    hone_gguf_put_u32(h, "llama.rope.dimension_count", c->head_dim);
    hone_gguf_put_f32(h, "llama.rope.freq_base", (float)c->rope_theta);
    if (c->rope.linear) {
        hone_gguf_put_str(h, "llama.rope.scaling.type", "linear");
        hone_gguf_put_f32(h, "llama.rope.scaling.factor", (float)c->rope.factor);
    }
}

/* Llama-3 scales each rotary frequency by its wavelength; GGUF carries the divisors as a tensor of head_dim / 2. */
static hone_status add_rope_freqs(hone_plan *plan, const struct llama_config *c, hone_error *err)
{
    const uint32_t n = c->head_dim / 2;
    float *divisors = hone_arena_alloc(&plan->arena, n, sizeof *divisors);
    if (!divisors)
        return hone_fail_nomem(err, n * sizeof *divisors);
    const double low_wavelength = c->rope.original_context / c->rope.low_freq_factor;
    const double high_wavelength = c->rope.original_context / c->rope.high_freq_factor;
    for (uint32_t i = 0; i < n; i++) {
        const double frequency = pow(c->rope_theta, -2.0 * i / c->head_dim);
        const double wavelength = 2 * 3.14159265358979323846 / frequency;
        const double smooth = (c->rope.original_context / wavelength - c->rope.low_freq_factor) /
                              (c->rope.high_freq_factor - c->rope.low_freq_factor);
        if (wavelength < high_wavelength)
            divisors[i] = 1;
        else if (wavelength > low_wavelength)
            divisors[i] = (float)c->rope.factor;
        else
            divisors[i] = (float)(1 / ((1 - smooth) / c->rope.factor + smooth));
    }
    const hone_planned_tensor t = {.constant = divisors, .keep_f32 = true, .n_dims = 1, .shape = {n}};
    return hone_plan_add(plan, t, err, "rope_freqs.weight");
}

/* One kind of tensor inside a layer. rows and cols are 0 for "no such axis". */
struct layer_tensor {
    const char *hf, *gguf; /* "model.layers.N.<hf>", "blk.N.<gguf>" */
    uint64_t rows, cols;
    bool required;
    uint32_t interleave_heads; /* of the output; 0: rows as stored */
    uint32_t n_stacked;        /* so many of them in one tensor; 0: one */
};

static hone_status add_global(hone_plan *plan, const char *hf, const char *gguf, uint64_t rows, uint64_t cols,
                              hone_error *err)
{
    const hone_tensor *source;
    HONE_TRY(hone_plan_source(plan, true, &source, err, "%s", hf));
    HONE_TRY(hone_plan_check_shape(source, rows, cols, err));
    return hone_plan_add(plan, (hone_planned_tensor){.source = source}, err, "%s", gguf);
}

static hone_status add_layer_tensors(hone_plan *plan, const struct layer_tensor *kinds, size_t n, uint32_t layer,
                                     hone_error *err)
{
    for (size_t i = 0; i < n; i++) {
        const struct layer_tensor *k = &kinds[i];
        const hone_tensor *source;
        HONE_TRY(hone_plan_source(plan, k->required, &source, err, "model.layers.%u.%s", layer, k->hf));
        if (!source)
            continue;
        HONE_TRY(k->n_stacked ? hone_plan_check_stack(source, k->n_stacked, k->rows, k->cols, err)
                              : hone_plan_check_shape(source, k->rows, k->cols, err));
        const hone_planned_tensor t = {
            .source = source,
            .order = k->interleave_heads ? HONE_ROWS_INTERLEAVE_HALVES : HONE_ROWS_AS_STORED,
            .n_heads = k->interleave_heads,
        };
        HONE_TRY(hone_plan_add(plan, t, err, "blk.%u.%s", layer, k->gguf));
    }
    return HONE_OK;
}

#define EXPERTS "block_sparse_moe.experts."

static hone_status add_experts(hone_plan *plan, const struct llama_config *c, uint32_t layer, hone_error *err)
{
    const uint64_t d = c->hidden, f = c->ffn;
    const uint32_t n = c->n_experts;
    const struct layer_tensor kinds[] = {
        {EXPERTS "w1.weight", "ffn_gate_exps.weight", f, d, true, 0, n},
        {EXPERTS "w3.weight", "ffn_up_exps.weight", f, d, true, 0, n},
        {EXPERTS "w2.weight", "ffn_down_exps.weight", d, f, true, 0, n},
    };
    const hone_tensor *router;
    HONE_TRY(hone_plan_source(plan, true, &router, err, "model.layers.%u.block_sparse_moe.gate.weight", layer));
    HONE_TRY(hone_plan_check_shape(router, n, d, err));
    const hone_planned_tensor t = {.source = router, .keep_f32 = true};
    HONE_TRY(hone_plan_add(plan, t, err, "blk.%u.ffn_gate_inp.weight", layer));
    return add_layer_tensors(plan, kinds, sizeof kinds / sizeof kinds[0], layer, err);
}

static hone_status add_mlp(hone_plan *plan, const struct llama_config *c, uint32_t layer, hone_error *err)
{
    const uint64_t d = c->hidden, f = c->ffn;
    const struct layer_tensor kinds[] = {
        {"mlp.gate_proj.weight", "ffn_gate.weight", f, d, true, 0, 0},
        {"mlp.gate_proj.bias", "ffn_gate.bias", f, 0, false, 0, 0},
        {"mlp.up_proj.weight", "ffn_up.weight", f, d, true, 0, 0},
        {"mlp.up_proj.bias", "ffn_up.bias", f, 0, false, 0, 0},
        {"mlp.down_proj.weight", "ffn_down.weight", d, f, true, 0, 0},
        {"mlp.down_proj.bias", "ffn_down.bias", d, 0, false, 0, 0},
    };
    return add_layer_tensors(plan, kinds, sizeof kinds / sizeof kinds[0], layer, err);
}

static hone_status add_layer(hone_plan *plan, const struct llama_config *c, uint32_t layer, hone_error *err)
{
    const uint64_t q = (uint64_t)c->n_heads * c->head_dim, kv = (uint64_t)c->n_kv_heads * c->head_dim;
    const uint64_t d = c->hidden;
    const struct layer_tensor kinds[] = {
        {"input_layernorm.weight", "attn_norm.weight", d, 0, true, 0, 0},
        {"self_attn.q_proj.weight", "attn_q.weight", q, d, true, c->n_heads, 0},
        {"self_attn.q_proj.bias", "attn_q.bias", q, 0, false, c->n_heads, 0},
        {"self_attn.k_proj.weight", "attn_k.weight", kv, d, true, c->n_kv_heads, 0},
        {"self_attn.k_proj.bias", "attn_k.bias", kv, 0, false, c->n_kv_heads, 0},
        {"self_attn.v_proj.weight", "attn_v.weight", kv, d, true, 0, 0},
        {"self_attn.v_proj.bias", "attn_v.bias", kv, 0, false, 0, 0},
        {"self_attn.o_proj.weight", "attn_output.weight", d, q, true, 0, 0},
        {"self_attn.o_proj.bias", "attn_output.bias", d, 0, false, 0, 0},
        {"post_attention_layernorm.weight", "ffn_norm.weight", d, 0, true, 0, 0},
    };
    HONE_TRY(add_layer_tensors(plan, kinds, sizeof kinds / sizeof kinds[0], layer, err));
    return c->n_experts ? add_experts(plan, c, layer, err) : add_mlp(plan, c, layer, err);
}

static const char EMBED[] = "model.embed_tokens.weight", HEAD[] = "lm_head.weight";

/* Tied matrices are stored once, under whichever name the exporter kept. */
static hone_status add_embeddings(hone_plan *plan, const struct llama_config *c, hone_error *err)
{
    const bool has_embed = hone_checkpoint_find(plan->src, EMBED) != NULL;
    if (c->tied)
        return add_global(plan, has_embed ? EMBED : HEAD, "token_embd.weight", c->n_vocab, c->hidden, err);
    HONE_TRY(add_global(plan, EMBED, "token_embd.weight", c->n_vocab, c->hidden, err));
    return add_global(plan, HEAD, "output.weight", c->n_vocab, c->hidden, err);
}

/* Computed from the configuration, or the other name of a tied matrix. */
static bool is_derived(const hone_tensor *t, bool tied)
{
    return strstr(t->name, "rotary_emb.inv_freq") != NULL || (tied && strcmp(t->name, HEAD) == 0);
}

static hone_status plan_llama(const hone_context *ctx, hone_plan *plan, hone_error *err)
{
    const json_t *config = hone_checkpoint_config(plan->src);
    struct llama_config c;
    const bool mixtral = strcmp(hone_checkpoint_architecture(plan->src), "MixtralForCausalLM") == 0;
    HONE_TRY(hone_checkpoint_fail_in_config(plan->src, NULL, read_config(config, mixtral, &c, err), err));
    HONE_TRY(hone_plan_check_tie(ctx, plan, EMBED, HEAD, &c.tied, err));
    uint32_t window = 0;
    HONE_TRY(hone_config_u32(config, "sliding_window", HONE_OPTIONAL, &window, err));
    if (window && window < c.n_ctx)
        hone_context_note(
            ctx,
            "sliding_window %u is below the context length %u; GGUF's \"llama\" attends to everything, so "
            "results differ beyond %u tokens",
            window, c.n_ctx, window);

    plan->model.n_layers = c.n_layers;
    plan->model.n_heads = c.n_heads;
    plan->model.n_kv_heads = c.n_kv_heads;
    plan->model.n_experts = c.n_experts;
    plan->model.tied = c.tied;
    plan->n_vocab = c.n_vocab;
    put_metadata(plan->header, &c);

    HONE_TRY(add_embeddings(plan, &c, err));
    if (c.rope.llama3)
        HONE_TRY(add_rope_freqs(plan, &c, err));
    for (uint32_t layer = 0; layer < c.n_layers; layer++)
        HONE_TRY(add_layer(plan, &c, layer, err));
    HONE_TRY(add_global(plan, "model.norm.weight", "output_norm.weight", c.hidden, 0, err));
    return hone_plan_check_all_used(plan, c.tied, is_derived, err);
}

static const char *const classes[] = {"LlamaForCausalLM", "LLaMAForCausalLM", "MistralForCausalLM",
                                      "MixtralForCausalLM", NULL};

const hone_conversion hone_conversion_llama = {.classes = classes, .gguf_architecture = "llama", .plan = plan_llama};
