/* SPDX-License-Identifier: MIT */
/* The configuration of the LLaMA family, from config.json and from GGUF keys. */
#include <math.h>
#include <string.h>

#include "base/fail.h"
#include "formats/sources.h"
#include "verify/model_keys.h"
#include "verify/model_llama.h"

/* Far above every model there is; they keep the products of two of them inside size_t. */
enum { MAX_LAYERS = 4096, MAX_HEADS = 1 << 16, MAX_VOCAB = 1 << 26, MAX_CTX = INT32_MAX };
enum { MAX_EXPERTS = 1024 }; /* llama.cpp's */

/* What both namings leave to check. */
static hone_status check(hone_llama_config *c, hone_error *err)
{
    if (c->n_heads % c->n_kv_heads != 0)
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, NULL, "%zu heads cannot share %zu key-value heads",
                         c->n_heads, c->n_kv_heads);
    if (c->head_dim % 2 != 0)
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, NULL,
                         "a head of %zu elements cannot be rotated in pairs", c->head_dim);
    if (c->n_heads * c->head_dim > HONE_MAX_ROW_NELEMS)
        return hone_fail(err, HONE_ERROR_LIMIT, HONE_NO_OFFSET, NULL, "%zu heads of %zu elements", c->n_heads,
                         c->head_dim);
    if (c->n_experts_used > c->n_experts)
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, NULL, "%zu of %zu experts cannot be used",
                         c->n_experts_used, c->n_experts);
    return HONE_OK;
}

static hone_status default_head_dim(hone_llama_config *c, const char *key, hone_error *err)
{
    if (c->head_dim)
        return HONE_OK;
    if (c->n_embd % c->n_heads != 0)
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, key, "%zu is not a multiple of %zu heads", c->n_embd,
                         c->n_heads);
    c->head_dim = c->n_embd / c->n_heads;
    return HONE_OK;
}

/* ---- config.json ---- */

/* The dictionary that describes scaling: rope_scaling, or since transformers 5 rope_parameters; NULL if there is none.
 */
static hone_status find_rope_parameters(const json_t *config, json_t **out, hone_error *err)
{
    static const char *const keys[] = {"rope_scaling", "rope_parameters"};
    *out = NULL;
    for (size_t i = 0; i < 2 && !*out; i++) {
        json_t *v = json_object_get(config, keys[i]);
        if (v && !json_is_null(v) && !json_is_object(v))
            return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, keys[i], "must be an object");
        if (json_object_size(v) > 0)
            *out = v;
    }
    const char *key;
    json_t *v;
    json_object_foreach(*out, key, v)
    {
        if (json_is_object(v))
            return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, key, "rotary positions that differ by layer");
    }
    return HONE_OK;
}

static hone_status read_json_llama3(const json_t *config, const json_t *rope, hone_llama_config *c, hone_error *err)
{
    c->scaling = HONE_ROPE_LLAMA3;
    c->rope_original_ctx = (double)c->n_ctx;
    HONE_TRY(hone_json_positive(rope, "factor", HONE_KEY_REQUIRED, &c->rope_factor, err));
    HONE_TRY(hone_json_positive(rope, "low_freq_factor", HONE_KEY_REQUIRED, &c->rope_low, err));
    HONE_TRY(hone_json_positive(rope, "high_freq_factor", HONE_KEY_REQUIRED, &c->rope_high, err));
    static const char original[] = "original_max_position_embeddings";
    HONE_TRY(hone_json_positive(rope, original, HONE_KEY_OPTIONAL, &c->rope_original_ctx, err));
    HONE_TRY(hone_json_positive(config, original, HONE_KEY_OPTIONAL, &c->rope_original_ctx, err));
    if (c->rope_high <= c->rope_low)
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, "high_freq_factor", "must be above low_freq_factor");
    return HONE_OK;
}

static hone_status read_json_rope(const json_t *config, hone_llama_config *c, hone_error *err)
{
    json_t *rope;
    HONE_TRY(find_rope_parameters(config, &rope, err));
    double partial = 1.0;
    HONE_TRY(hone_json_positive(config, "rope_theta", HONE_KEY_OPTIONAL, &c->rope_theta, err));
    HONE_TRY(hone_json_positive(rope, "rope_theta", HONE_KEY_OPTIONAL, &c->rope_theta, err));
    HONE_TRY(hone_json_positive(config, "partial_rotary_factor", HONE_KEY_OPTIONAL, &partial, err));
    HONE_TRY(hone_json_positive(rope, "partial_rotary_factor", HONE_KEY_OPTIONAL, &partial, err));
    if (partial != 1.0)
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, "partial_rotary_factor",
                         "heads that are rotated in part");
    const char *type = "default";
    HONE_TRY(hone_json_string(rope, "type", &type, err));
    HONE_TRY(hone_json_string(rope, "rope_type", &type, err));
    if (strcmp(type, "default") == 0)
        return HONE_OK;
    if (strcmp(type, "llama3") == 0)
        return read_json_llama3(config, rope, c, err);
    if (strcmp(type, "linear") == 0) {
        c->scaling = HONE_ROPE_LINEAR;
        return hone_json_positive(rope, "factor", HONE_KEY_REQUIRED, &c->rope_factor, err);
    }
    return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, "rope_scaling", "rotary scaling of type \"%s\"",
                     type);
}

/* transformers gives Mistral and Mixtral other defaults than LLaMA, and null another meaning than absence. */
static void set_mistral_defaults(const json_t *config, hone_llama_config *c, bool mixtral)
{
    enum { KV_HEADS = 8, WINDOW = 4096, CTX = 4096 * 32 };
    c->n_ctx = CTX;
    if (!json_object_get(config, "num_key_value_heads"))
        c->n_kv_heads = KV_HEADS;
    if (!json_object_get(config, "sliding_window") && !mixtral)
        c->window = WINDOW;
    if (mixtral) {
        c->rms_eps = 1e-5;
        c->rope_theta = 1e6;
    }
}

static hone_status read_json_experts(const json_t *config, hone_llama_config *c, hone_error *err)
{
    enum { N = 8, N_USED = 2 };
    c->n_experts = N;
    c->n_experts_used = N_USED;
    HONE_TRY(hone_json_count(config, "num_local_experts", HONE_KEY_OPTIONAL, MAX_EXPERTS, &c->n_experts, err));
    return hone_json_count(config, "num_experts_per_tok", HONE_KEY_OPTIONAL, MAX_EXPERTS, &c->n_experts_used, err);
}

static hone_status read_json(const hone_checkpoint *ckpt, hone_llama_config *c, hone_error *err)
{
    const json_t *config = hone_checkpoint_config(ckpt);
    if (!config)
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "no config.json to run the model by");
    const char *architecture = hone_checkpoint_architecture(ckpt);
    const bool mixtral = strcmp(architecture, "MixtralForCausalLM") == 0;
    const bool mistral = mixtral || strcmp(architecture, "MistralForCausalLM") == 0;
    *c = (hone_llama_config){.n_ctx = 2048, .rms_eps = 1e-6, .rope_theta = 10000.0};
    const size_t max_row = HONE_MAX_ROW_NELEMS;
    HONE_TRY(hone_json_count(config, "vocab_size", HONE_KEY_REQUIRED, MAX_VOCAB, &c->n_vocab, err));
    HONE_TRY(hone_json_count(config, "hidden_size", HONE_KEY_REQUIRED, max_row, &c->n_embd, err));
    HONE_TRY(hone_json_count(config, "intermediate_size", HONE_KEY_REQUIRED, max_row, &c->n_ff, err));
    HONE_TRY(hone_json_count(config, "num_hidden_layers", HONE_KEY_REQUIRED, MAX_LAYERS, &c->n_layers, err));
    HONE_TRY(hone_json_count(config, "num_attention_heads", HONE_KEY_REQUIRED, MAX_HEADS, &c->n_heads, err));
    c->n_kv_heads = c->n_heads;
    if (mixtral)
        HONE_TRY(read_json_experts(config, c, err));
    if (mistral) {
        set_mistral_defaults(config, c, mixtral);
        HONE_TRY(hone_json_count(config, "sliding_window", HONE_KEY_OPTIONAL, MAX_CTX, &c->window, err));
    } else {
        HONE_TRY(hone_json_bool(config, "attention_bias", &c->attn_bias, err));
        HONE_TRY(hone_json_bool(config, "mlp_bias", &c->mlp_bias, err));
    }
    HONE_TRY(hone_json_count(config, "num_key_value_heads", HONE_KEY_OPTIONAL, MAX_HEADS, &c->n_kv_heads, err));
    HONE_TRY(hone_json_count(config, "max_position_embeddings", HONE_KEY_OPTIONAL, MAX_CTX, &c->n_ctx, err));
    HONE_TRY(hone_json_count(config, "head_dim", HONE_KEY_OPTIONAL, max_row, &c->head_dim, err));
    HONE_TRY(hone_json_positive(config, "rms_norm_eps", HONE_KEY_OPTIONAL, &c->rms_eps, err));
    HONE_TRY(hone_json_bool(config, "tie_word_embeddings", &c->tied, err));
    const char *act = "silu";
    HONE_TRY(hone_json_string(config, "hidden_act", &act, err));
    if (strcmp(act, "silu") != 0 && strcmp(act, "swish") != 0)
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, "hidden_act", "activation \"%s\"", act);
    HONE_TRY(default_head_dim(c, "hidden_size", err));
    return read_json_rope(config, c, err);
}

/* ---- GGUF ---- */

static hone_status read_gguf_rope(const hone_checkpoint *ckpt, hone_llama_config *c, hone_error *err)
{
    HONE_TRY(hone_gguf_positive(ckpt, "rope.freq_base", HONE_KEY_OPTIONAL, &c->rope_theta, err));
    size_t n_rot = c->head_dim;
    HONE_TRY(hone_gguf_count(ckpt, "rope.dimension_count", HONE_KEY_OPTIONAL, HONE_MAX_ROW_NELEMS, &n_rot, err));
    if (n_rot != c->head_dim)
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, "rope.dimension_count",
                         "%zu of a head's %zu elements are rotated", n_rot, c->head_dim);
    /* llama.cpp: the type is "linear" unless said otherwise, and without a factor that changes nothing. */
    const char *type = "linear";
    HONE_TRY(hone_gguf_string(ckpt, "rope.scaling.type", &type, err));
    if (strcmp(type, "none") == 0)
        return HONE_OK;
    if (strcmp(type, "linear") != 0)
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, "rope.scaling.type", "rotary scaling \"%s\"",
                         type);
    c->scaling = HONE_ROPE_LINEAR;
    c->rope_factor = 1.0;
    HONE_TRY(hone_gguf_positive(ckpt, "rope.scale_linear", HONE_KEY_OPTIONAL, &c->rope_factor, err));
    return hone_gguf_positive(ckpt, "rope.scaling.factor", HONE_KEY_OPTIONAL, &c->rope_factor, err);
}

/* A sliding window among the keys is not read: llama.cpp's graph for this architecture attends to everything, and the
 * file is judged as its runtime runs it. */
static hone_status read_gguf(const hone_checkpoint *ckpt, hone_llama_config *c, hone_error *err)
{
    *c = (hone_llama_config){.interleaved = true, .any_bias = true, .tied = true, .rope_theta = 10000.0};
    const size_t max_row = HONE_MAX_ROW_NELEMS;
    HONE_TRY(hone_gguf_vocab_size(ckpt, MAX_VOCAB, &c->n_vocab, err));
    HONE_TRY(hone_gguf_count(ckpt, "embedding_length", HONE_KEY_REQUIRED, max_row, &c->n_embd, err));
    HONE_TRY(hone_gguf_count(ckpt, "feed_forward_length", HONE_KEY_REQUIRED, max_row, &c->n_ff, err));
    HONE_TRY(hone_gguf_count(ckpt, "block_count", HONE_KEY_REQUIRED, MAX_LAYERS, &c->n_layers, err));
    HONE_TRY(hone_gguf_count(ckpt, "attention.head_count", HONE_KEY_REQUIRED, MAX_HEADS, &c->n_heads, err));
    HONE_TRY(hone_gguf_count(ckpt, "context_length", HONE_KEY_REQUIRED, MAX_CTX, &c->n_ctx, err));
    c->n_kv_heads = c->n_heads;
    HONE_TRY(hone_gguf_count(ckpt, "attention.head_count_kv", HONE_KEY_OPTIONAL, MAX_HEADS, &c->n_kv_heads, err));
    HONE_TRY(hone_gguf_count(ckpt, "attention.key_length", HONE_KEY_OPTIONAL, max_row, &c->head_dim, err));
    HONE_TRY(default_head_dim(c, "embedding_length", err));
    size_t value_dim = c->head_dim;
    HONE_TRY(hone_gguf_count(ckpt, "attention.value_length", HONE_KEY_OPTIONAL, max_row, &value_dim, err));
    if (value_dim != c->head_dim)
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, "attention.value_length",
                         "values of %zu elements for keys of %zu", value_dim, c->head_dim);
    if (!hone_gguf_absent_or_zero(ckpt, "expert_count")) {
        HONE_TRY(hone_gguf_count(ckpt, "expert_count", HONE_KEY_REQUIRED, MAX_EXPERTS, &c->n_experts, err));
        HONE_TRY(hone_gguf_count(ckpt, "expert_used_count", HONE_KEY_REQUIRED, MAX_EXPERTS, &c->n_experts_used, err));
    }
    const char eps[] = "attention.layer_norm_rms_epsilon";
    HONE_TRY(hone_gguf_positive(ckpt, eps, HONE_KEY_REQUIRED, &c->rms_eps, err));
    return read_gguf_rope(ckpt, c, err);
}

hone_status hone_llama_config_read(const hone_checkpoint *ckpt, hone_llama_config *out, hone_error *err)
{
    memset(out, 0, sizeof *out);
    if (hone_checkpoint_is_gguf(ckpt)) {
        HONE_TRY(read_gguf(ckpt, out, err));
        return check(out, err);
    }
    const hone_status status = read_json(ckpt, out, err);
    return hone_checkpoint_fail_in_config(ckpt, NULL, status == HONE_OK ? check(out, err) : status, err);
}
