/* SPDX-License-Identifier: MIT */
/*
 * GPT-2: Hugging Face checkpoint to GGUF architecture "gpt2".
 *
 * Names and transforms: llama.cpp conversion/gpt2.py. Its linear layers are Conv1D, stored (in, out), so they are
 * transposed; query, key and value stay fused.
 */
#include <string.h>

#include "base/fail.h"
#include "convert/config.h"
#include "convert/plan_impl.h"
#include "formats/sources.h"

struct gpt2_config {
    uint32_t hidden, n_layers, n_heads, n_ctx, n_vocab, ffn;
    double eps;
    bool tied;
    const char *prefix; /* of tensor names: "transformer." or "" */
};

static hone_status read_config(const hone_context *ctx, const hone_plan *plan, struct gpt2_config *c, hone_error *err)
{
    const json_t *config = hone_checkpoint_config(plan->src);
    const char *act = "gelu_new";
    *c = (struct gpt2_config){.eps = 1e-5, .n_ctx = 1024, .tied = true, .prefix = "transformer."};
    HONE_TRY(hone_config_u32(config, "n_embd", HONE_REQUIRED, &c->hidden, err));
    HONE_TRY(hone_config_u32(config, "n_layer", HONE_REQUIRED, &c->n_layers, err));
    HONE_TRY(hone_config_u32(config, "n_head", HONE_REQUIRED, &c->n_heads, err));
    HONE_TRY(hone_config_u32(config, "vocab_size", HONE_REQUIRED, &c->n_vocab, err));
    HONE_TRY(hone_config_u32(config, "n_positions", HONE_OPTIONAL, &c->n_ctx, err));
    HONE_TRY(hone_config_f64(config, "layer_norm_epsilon", HONE_OPTIONAL, &c->eps, err));
    HONE_TRY(hone_config_bool(config, "tie_word_embeddings", HONE_OPTIONAL, &c->tied, err));
    HONE_TRY(hone_config_str(config, "activation_function", HONE_OPTIONAL, &act, err));
    if (c->hidden == 0 || c->hidden > UINT32_MAX / 4 || c->n_heads == 0 || c->hidden % c->n_heads != 0)
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, "n_head", "%u heads cannot share %u columns", c->n_heads,
                         c->hidden);
    c->ffn = 4 * c->hidden;
    HONE_TRY(hone_config_u32(config, "n_inner", HONE_OPTIONAL, &c->ffn, err));
    if (strcmp(act, "gelu") == 0)
        hone_context_note(ctx, "activation_function \"gelu\" is exact; GGUF's \"gpt2\" runs its tanh approximation, so "
                               "results differ slightly");
    else if (strcmp(act, "gelu_new") != 0 && strcmp(act, "gelu_pytorch_tanh") != 0 && strcmp(act, "gelu_fast") != 0)
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, "activation_function", "\"%s\" is not supported",
                         act);
    if (!hone_checkpoint_find(plan->src, "transformer.wte.weight") && hone_checkpoint_find(plan->src, "wte.weight"))
        c->prefix = ""; /* exported from GPT2Model */
    return HONE_OK;
}

/* What GGUF's "gpt2" has no key for: its graph would compute something else. */
static hone_status check_attention(const json_t *config, hone_error *err)
{
    static const struct {
        const char *key;
        bool value; /* the one that can be expressed */
        const char *reason;
    } keys[] = {
        {"scale_attn_weights", true, "GGUF's \"gpt2\" scales attention by the root of a head's length, always"},
        {"scale_attn_by_inverse_layer_idx", false, "GGUF's \"gpt2\" does not scale attention by layer"},
        {"add_cross_attention", false, "GGUF's \"gpt2\" attends to no other model"},
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        bool value = keys[i].value;
        HONE_TRY(hone_config_bool(config, keys[i].key, HONE_OPTIONAL, &value, err));
        if (value != keys[i].value)
            return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, keys[i].key, "%s", keys[i].reason);
    }
    return HONE_OK;
}

static void put_metadata(hone_gguf_header *h, const struct gpt2_config *c)
{
    hone_gguf_put_u32(h, "gpt2.vocab_size", c->n_vocab);
    hone_gguf_put_u32(h, "gpt2.context_length", c->n_ctx);
    hone_gguf_put_u32(h, "gpt2.embedding_length", c->hidden);
    hone_gguf_put_u32(h, "gpt2.block_count", c->n_layers);
    hone_gguf_put_u32(h, "gpt2.feed_forward_length", c->ffn);
    hone_gguf_put_u32(h, "gpt2.attention.head_count", c->n_heads);
    hone_gguf_put_f32(h, "gpt2.attention.layer_norm_epsilon", (float)c->eps);
}

static hone_status add_layer(hone_plan *plan, const struct gpt2_config *c, uint32_t layer, hone_error *err)
{
    const uint64_t d = c->hidden, f = c->ffn;
    const struct {
        const char *hf, *gguf;
        uint64_t n_out, n_in; /* n_in 0: a vector */
    } kinds[] = {
        {"ln_1.weight", "attn_norm.weight", d, 0},
        {"ln_1.bias", "attn_norm.bias", d, 0},
        {"attn.c_attn.weight", "attn_qkv.weight", 3 * d, d},
        {"attn.c_attn.bias", "attn_qkv.bias", 3 * d, 0},
        {"attn.c_proj.weight", "attn_output.weight", d, d},
        {"attn.c_proj.bias", "attn_output.bias", d, 0},
        {"ln_2.weight", "ffn_norm.weight", d, 0},
        {"ln_2.bias", "ffn_norm.bias", d, 0},
        {"mlp.c_fc.weight", "ffn_up.weight", f, d},
        {"mlp.c_fc.bias", "ffn_up.bias", f, 0},
        {"mlp.c_proj.weight", "ffn_down.weight", d, f},
        {"mlp.c_proj.bias", "ffn_down.bias", d, 0},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const hone_tensor *source;
        HONE_TRY(hone_plan_source(plan, true, &source, err, "%sh.%u.%s", c->prefix, layer, kinds[i].hf));
        if (kinds[i].n_in)
            HONE_TRY(hone_plan_check_shape(source, kinds[i].n_in, kinds[i].n_out, err));
        else
            HONE_TRY(hone_plan_check_shape(source, kinds[i].n_out, 0, err));
        const hone_planned_tensor t = {.source = source,
                                       .order = kinds[i].n_in ? HONE_ROWS_TRANSPOSE : HONE_ROWS_AS_STORED};
        HONE_TRY(hone_plan_add(plan, t, err, "blk.%u.%s", layer, kinds[i].gguf));
    }
    return HONE_OK;
}

static hone_status add_global(hone_plan *plan, const char *prefix, const char *hf, const char *gguf, uint64_t rows,
                              uint64_t cols, hone_error *err)
{
    const hone_tensor *source;
    HONE_TRY(hone_plan_source(plan, true, &source, err, "%s%s", prefix, hf));
    HONE_TRY(hone_plan_check_shape(source, rows, cols, err));
    return hone_plan_add(plan, (hone_planned_tensor){.source = source}, err, "%s", gguf);
}

/* Buffers, not weights: the causal mask that old exports carry, and the tied output. */
static bool is_derived(const hone_tensor *t, bool tied)
{
    const size_t len = strlen(t->name);
    const bool mask =
        len > 10 && (strcmp(t->name + len - 10, ".attn.bias") == 0 || strstr(t->name, ".attn.masked_bias") != NULL);
    return mask || (tied && strcmp(t->name, "lm_head.weight") == 0);
}

static hone_status plan_gpt2(const hone_context *ctx, hone_plan *plan, hone_error *err)
{
    struct gpt2_config c;
    HONE_TRY(hone_checkpoint_fail_in_config(plan->src, NULL, read_config(ctx, plan, &c, err), err));
    HONE_TRY(
        hone_checkpoint_fail_in_config(plan->src, NULL, check_attention(hone_checkpoint_config(plan->src), err), err));
    const char *embedding = c.prefix[0] ? "transformer.wte.weight" : "wte.weight";
    HONE_TRY(hone_plan_check_tie(ctx, plan, embedding, "lm_head.weight", &c.tied, err));
    plan->model.n_layers = c.n_layers;
    plan->model.n_heads = plan->model.n_kv_heads = c.n_heads;
    plan->model.tied = c.tied;
    plan->n_vocab = c.n_vocab;
    put_metadata(plan->header, &c);

    HONE_TRY(add_global(plan, c.prefix, "wte.weight", "token_embd.weight", c.n_vocab, c.hidden, err));
    HONE_TRY(add_global(plan, c.prefix, "wpe.weight", "position_embd.weight", c.n_ctx, c.hidden, err));
    for (uint32_t layer = 0; layer < c.n_layers; layer++)
        HONE_TRY(add_layer(plan, &c, layer, err));
    HONE_TRY(add_global(plan, c.prefix, "ln_f.weight", "output_norm.weight", c.hidden, 0, err));
    HONE_TRY(add_global(plan, c.prefix, "ln_f.bias", "output_norm.bias", c.hidden, 0, err));
    if (!c.tied)
        HONE_TRY(add_global(plan, "", "lm_head.weight", "output.weight", c.n_vocab, c.hidden, err));
    return hone_plan_check_all_used(plan, c.tied, is_derived, err);
}

static const char *const classes[] = {"GPT2LMHeadModel", "GPT2Model", NULL};

const hone_conversion hone_conversion_gpt2 = {.classes = classes, .gguf_architecture = "gpt2", .plan = plan_gpt2};
