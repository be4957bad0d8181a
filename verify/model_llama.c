/* SPDX-License-Identifier: MIT */
/* The weights of the LLaMA family. */
#include "verify/model_llama.h"

#include <math.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"

enum role {
    EMBEDDING,
    OUTPUT_NORM,
    OUTPUT,
    ATTN_NORM,
    ATTN_Q,
    ATTN_K,
    ATTN_V,
    ATTN_O,
    FFN_NORM,
    FFN_GATE,
    FFN_UP,
    FFN_DOWN,
    /* of a mixture of experts, in place of the three before */
    FFN_ROUTER,
    FFN_GATE_EXPERTS,
    FFN_UP_EXPERTS,
    FFN_DOWN_EXPERTS,
    /* biases in the order of their matrices, so that bias_of() is an addition */
    ATTN_Q_BIAS,
    ATTN_K_BIAS,
    ATTN_V_BIAS,
    ATTN_O_BIAS,
    FFN_GATE_BIAS,
    FFN_UP_BIAS,
    FFN_DOWN_BIAS,
    N_ROLES
};

#define EXPERTS "block_sparse_moe.experts."
#define GLOBAL .in_layer = false
#define LAYER .in_layer = true
#define OPTIONAL .in_layer = true, .optional = true
/* clang-format off */
static const hone_weight_role roles[N_ROLES] = {
    [EMBEDDING]     = {"model.embed_tokens.weight", "token_embd.weight", GLOBAL},
    [OUTPUT_NORM]   = {"model.norm.weight", "output_norm.weight", GLOBAL},
    [OUTPUT]        = {"lm_head.weight", "output.weight", GLOBAL},
    [ATTN_NORM]     = {"input_layernorm.weight", "attn_norm.weight", LAYER},
    [ATTN_Q]        = {"self_attn.q_proj.weight", "attn_q.weight", LAYER, .order = HONE_ROWS_PAIRED_BY_HEAD},
    [ATTN_K]        = {"self_attn.k_proj.weight", "attn_k.weight", LAYER, .order = HONE_ROWS_PAIRED_BY_KV_HEAD},
    [ATTN_V]        = {"self_attn.v_proj.weight", "attn_v.weight", LAYER},
    [ATTN_O]        = {"self_attn.o_proj.weight", "attn_output.weight", LAYER},
    [FFN_NORM]      = {"post_attention_layernorm.weight", "ffn_norm.weight", LAYER},
    [FFN_GATE]      = {"mlp.gate_proj.weight", "ffn_gate.weight", LAYER},
    [FFN_UP]        = {"mlp.up_proj.weight", "ffn_up.weight", LAYER},
    [FFN_DOWN]      = {"mlp.down_proj.weight", "ffn_down.weight", LAYER},
    [FFN_ROUTER]    = {"block_sparse_moe.gate.weight", "ffn_gate_inp.weight", OPTIONAL},
    [FFN_GATE_EXPERTS] = {EXPERTS "w1.weight", "ffn_gate_exps.weight", OPTIONAL},
    [FFN_UP_EXPERTS]   = {EXPERTS "w3.weight", "ffn_up_exps.weight", OPTIONAL},
    [FFN_DOWN_EXPERTS] = {EXPERTS "w2.weight", "ffn_down_exps.weight", OPTIONAL},
    [ATTN_Q_BIAS]   = {"self_attn.q_proj.bias", "attn_q.bias", OPTIONAL, .order = HONE_ROWS_PAIRED_BY_HEAD},
    [ATTN_K_BIAS]   = {"self_attn.k_proj.bias", "attn_k.bias", OPTIONAL, .order = HONE_ROWS_PAIRED_BY_KV_HEAD},
    [ATTN_V_BIAS]   = {"self_attn.v_proj.bias", "attn_v.bias", OPTIONAL},
    [ATTN_O_BIAS]   = {"self_attn.o_proj.bias", "attn_output.bias", OPTIONAL},
    [FFN_GATE_BIAS] = {"mlp.gate_proj.bias", "ffn_gate.bias", OPTIONAL},
    [FFN_UP_BIAS]   = {"mlp.up_proj.bias", "ffn_up.bias", OPTIONAL},
    [FFN_DOWN_BIAS] = {"mlp.down_proj.bias", "ffn_down.bias", OPTIONAL},
};
/* clang-format on */

static const hone_linear_roles linear_roles[] = {
    {ATTN_Q, ATTN_Q_BIAS, ATTN_NORM, .adds = false},
    {ATTN_K, ATTN_K_BIAS, ATTN_NORM, .adds = false},
    {ATTN_V, ATTN_V_BIAS, ATTN_NORM, .adds = false},
    {ATTN_O, ATTN_O_BIAS, HONE_NO_ROLE, .adds = true},
    {FFN_GATE, FFN_GATE_BIAS, FFN_NORM, .adds = false},
    {FFN_UP, FFN_UP_BIAS, FFN_NORM, .adds = false},
    {FFN_DOWN, FFN_DOWN_BIAS, HONE_NO_ROLE, .adds = true},
    {OUTPUT, HONE_NO_ROLE, OUTPUT_NORM, .adds = false},
    {FFN_ROUTER, HONE_NO_ROLE, FFN_NORM, .adds = false},
    {FFN_GATE_EXPERTS, HONE_NO_ROLE, FFN_NORM, .adds = false},
    {FFN_UP_EXPERTS, HONE_NO_ROLE, FFN_NORM, .adds = false},
    {FFN_DOWN_EXPERTS, HONE_NO_ROLE, HONE_NO_ROLE, .adds = true},
};

static enum role bias_of(enum role matrix)
{
    return matrix <= ATTN_O ? ATTN_Q_BIAS + (matrix - ATTN_Q) : FFN_GATE_BIAS + (matrix - FFN_GATE);
}

static hone_status load_linear(const hone_family_loader *l, const hone_llama_config *c, enum role role, size_t layer,
                               size_t nrows, size_t ncols, hone_linear *out, hone_error *err)
{
    HONE_TRY(hone_family_matrix(l, role, layer, nrows, ncols, &out->weight, err));
    const enum role bias = bias_of(role);
    const bool required = role <= ATTN_O ? c->attn_bias : c->mlp_bias;
    if (required || (c->any_bias && hone_family_holds(l, bias, layer)))
        return hone_family_vector(l, bias, layer, nrows, &out->bias, err);
    return HONE_OK;
}

static hone_status load_experts(const hone_family_loader *l, const hone_llama_config *c, size_t i,
                                hone_llama_layer *layer, hone_error *err)
{
    const size_t n = c->n_experts, d = c->n_embd;
    HONE_TRY(hone_family_matrix(l, FFN_ROUTER, i, n, d, &layer->router, err));
    HONE_TRY(hone_family_stack(l, FFN_GATE_EXPERTS, i, n, c->n_ff, d, &layer->gate.weight, err));
    HONE_TRY(hone_family_stack(l, FFN_UP_EXPERTS, i, n, c->n_ff, d, &layer->up.weight, err));
    return hone_family_stack(l, FFN_DOWN_EXPERTS, i, n, d, c->n_ff, &layer->down.weight, err);
}

static hone_status load_layer(const hone_family_loader *l, const hone_llama_config *c, size_t i,
                              hone_llama_layer *layer, hone_error *err)
{
    const size_t n_q = c->n_heads * c->head_dim, n_kv = c->n_kv_heads * c->head_dim;
    HONE_TRY(hone_family_vector(l, ATTN_NORM, i, c->n_embd, &layer->attn_norm, err));
    HONE_TRY(load_linear(l, c, ATTN_Q, i, n_q, c->n_embd, &layer->q, err));
    HONE_TRY(load_linear(l, c, ATTN_K, i, n_kv, c->n_embd, &layer->k, err));
    HONE_TRY(load_linear(l, c, ATTN_V, i, n_kv, c->n_embd, &layer->v, err));
    HONE_TRY(load_linear(l, c, ATTN_O, i, c->n_embd, n_q, &layer->o, err));
    HONE_TRY(hone_family_vector(l, FFN_NORM, i, c->n_embd, &layer->ffn_norm, err));
    if (c->n_experts)
        return load_experts(l, c, i, layer, err);
    HONE_TRY(load_linear(l, c, FFN_GATE, i, c->n_ff, c->n_embd, &layer->gate, err));
    HONE_TRY(load_linear(l, c, FFN_UP, i, c->n_ff, c->n_embd, &layer->up, err));
    return load_linear(l, c, FFN_DOWN, i, c->n_embd, c->n_ff, &layer->down, err);
}

static double scaled_frequency(const hone_llama_config *c, double freq)
{
    if (c->scaling == HONE_ROPE_PLAIN)
        return freq;
    if (c->scaling == HONE_ROPE_LINEAR)
        return freq / c->rope_factor;
    /* Llama 3: wavelengths that fit often into the original context stay, those that hardly fit are stretched. */
    const double turns = c->rope_original_ctx * freq / 6.283185307179586;
    if (turns > c->rope_high)
        return freq;
    if (turns < c->rope_low)
        return freq / c->rope_factor;
    const double keep = (turns - c->rope_low) / (c->rope_high - c->rope_low);
    return (1.0 - keep) * freq / c->rope_factor + keep * freq;
}

static hone_status make_frequencies(const hone_family_loader *l, hone_llama *body, hone_error *err)
{
    const hone_llama_config *c = &body->config;
    const size_t half = c->head_dim / 2;
    body->inv_freq = hone_alloc(half, sizeof *body->inv_freq);
    if (!body->inv_freq)
        return hone_fail_nomem(err, half * sizeof *body->inv_freq);
    for (size_t i = 0; i < half; i++)
        body->inv_freq[i] = scaled_frequency(c, pow(c->rope_theta, -2.0 * (double)i / (double)c->head_dim));
    /* A GGUF file states Llama 3's scaling as divisors. */
    static const char name[] = "rope_freqs.weight";
    if (l->naming != HONE_NAMES_GGUF || !hone_checkpoint_find(l->ckpt, name))
        return HONE_OK;
    float *divisors;
    HONE_TRY(hone_vector_load(l->ctx, l->ckpt, name, half, &divisors, err));
    hone_status status = HONE_OK;
    for (size_t i = 0; i < half && status == HONE_OK; i++) {
        if (!(divisors[i] > 0) || !isfinite(divisors[i]))
            status = hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, name, "divisor %zu is not above 0", i);
        body->inv_freq[i] /= (double)divisors[i];
    }
    hone_release(divisors);
    return status;
}

static hone_status load(const hone_context *ctx, const hone_checkpoint *ckpt, hone_model *model, hone_error *err)
{
    hone_llama *body = hone_calloc(1, sizeof *body);
    if (!body)
        return hone_fail_nomem(err, sizeof *body);
    model->body = body;
    hone_llama_config *c = &body->config;
    HONE_TRY(hone_llama_config_read(ckpt, c, err));
    model->n_vocab = c->n_vocab;
    model->n_layers = c->n_layers;
    model->n_embd = c->n_embd;
    model->n_ctx = c->n_ctx;
    model->n_experts = c->n_experts;
    model->n_experts_used = c->n_experts_used;
    body->layers = hone_calloc(c->n_layers, sizeof *body->layers);
    if (!body->layers)
        return hone_fail_nomem(err, c->n_layers * sizeof *body->layers);
    const hone_family *family = model->family;
    const hone_family_loader l = {ctx, ckpt, family, hone_family_naming(family, ckpt), model->deferred};
    HONE_TRY(make_frequencies(&l, body, err));
    HONE_TRY(hone_family_ends(&l, c->tied, model, &body->embedding, err));
    HONE_TRY(hone_family_vector(&l, OUTPUT_NORM, 0, c->n_embd, &body->output_norm, err));
    for (size_t i = 0; i < c->n_layers; i++)
        HONE_TRY(load_layer(&l, c, i, &body->layers[i], err));
    return HONE_OK;
}

static void unload(hone_model *model)
{
    hone_llama *body = model->body;
    if (!body)
        return;
    for (size_t i = 0; body->layers && i < body->config.n_layers; i++) {
        hone_llama_layer *layer = &body->layers[i];
        hone_release(layer->attn_norm);
        hone_release(layer->ffn_norm);
        hone_linear_deinit(&layer->q);
        hone_linear_deinit(&layer->k);
        hone_linear_deinit(&layer->v);
        hone_linear_deinit(&layer->o);
        hone_linear_deinit(&layer->gate);
        hone_linear_deinit(&layer->up);
        hone_linear_deinit(&layer->down);
        hone_weight_deinit(&layer->router);
    }
    hone_release(body->layers);
    hone_release(body->inv_freq);
    hone_release(body->output_norm);
    hone_weight_deinit(&body->embedding);
    hone_weight_deinit(&model->output);
    hone_release(body);
}

static hone_status shape(const hone_checkpoint *ckpt, hone_family_shape *out, hone_error *err)
{
    hone_llama_config c;
    HONE_TRY(hone_llama_config_read(ckpt, &c, err));
    *out = (hone_family_shape){.n_layers = c.n_layers,
                               .n_heads = c.n_heads,
                               .n_kv_heads = c.n_kv_heads,
                               .n_embd = c.n_embd,
                               .head_dim = c.head_dim,
                               .tied = c.tied};
    return HONE_OK;
}

static const hone_weight *embedding_readers(const hone_model *model,
                                            hone_embedding_reader readers[HONE_N_EMBEDDING_READERS])
{
    const hone_llama *body = model->body;
    const hone_llama_layer *first = body->layers;
    readers[0] =
        (hone_embedding_reader){{&first->q.weight, &first->k.weight, &first->v.weight}, 3, first->attn_norm, false};
    readers[1] = (hone_embedding_reader){.n_weights = 0};
    if (body->config.n_experts) /* experts: only the attention counts */
        return &body->embedding;
    readers[1] = (hone_embedding_reader){{&first->gate.weight, &first->up.weight}, 2, first->ffn_norm, false};
    return &body->embedding;
}

static hone_weight *matrix(hone_model *model, size_t stage, size_t i)
{
    enum { N_IN_LAYER = 8 };
    hone_llama *body = model->body;
    if (stage == 0 || stage > model->n_layers)
        return i > 0 ? NULL : stage == 0 ? &body->embedding : &model->output;
    hone_llama_layer *layer = &body->layers[stage - 1];
    hone_weight *const weights[N_IN_LAYER] = {&layer->q.weight,    &layer->k.weight,    &layer->v.weight,
                                              &layer->o.weight,    &layer->gate.weight, &layer->up.weight,
                                              &layer->down.weight, &layer->router};
    return i < (body->config.n_experts ? N_IN_LAYER : N_IN_LAYER - 1) ? weights[i] : NULL;
}

static const char *const architectures[] = {
    "LlamaForCausalLM", "LLaMAForCausalLM", "MistralForCausalLM", "MixtralForCausalLM", "llama", NULL};

const hone_family hone_llama_family = {
    .architectures = architectures,
    .hf_layer = "model.layers.",
    .gguf_layer = "blk.",
    .roles = roles,
    .n_roles = N_ROLES,
    .role_embedding = EMBEDDING,
    .role_output = OUTPUT,
    .linears = linear_roles,
    .n_linears = sizeof linear_roles / sizeof linear_roles[0],
    .rms_norms = true,
    .role_value = ATTN_V,
    .role_attn_out = ATTN_O,
    .shape = shape,
    .load = load,
    .unload = unload,
    .scratch_nfloats = hone_llama_scratch_nfloats,
    .prepare = hone_llama_prepare,
    .embed = hone_llama_embed,
    .layer = hone_llama_layer_pass,
    .finish = hone_llama_finish,
    .embedding_readers = embedding_readers,
    .matrix = matrix,
};
