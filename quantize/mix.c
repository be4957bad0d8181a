/* SPDX-License-Identifier: MIT */
#include "quantize/mix.h"

#include <stddef.h>
#include <strings.h>

enum mix_id {
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2_K,
    Q2_K_S,
    Q3_K_S,
    Q3_K_M,
    Q3_K_L,
    Q4_K_S,
    Q4_K_M,
    Q5_K_S,
    Q5_K_M,
    Q6_K,
    IQ4_NL,
    IQ4_XS,
    TQ1_0,
    TQ2_0,
    MXFP4_MOE,
    NVFP4,
    Q1_0,
    Q2_0,
    IQ3_M,
    IQ3_S,
    IQ3_XS,
    IQ3_XXS,
    IQ2_M,
    IQ2_S,
    IQ2_XS,
    IQ2_XXS,
    IQ1_M,
    IQ1_S
};

/* File types: llama.h, enum llama_ftype. */
static const hone_mix mixes[] = {
    [Q4_0] = {"q4_0", 2, HONE_Q4_0},           [Q4_1] = {"q4_1", 3, HONE_Q4_1},
    [Q5_0] = {"q5_0", 8, HONE_Q5_0},           [Q5_1] = {"q5_1", 9, HONE_Q5_1},
    [Q8_0] = {"q8_0", 7, HONE_Q8_0},           [Q2_K] = {"q2_k", 10, HONE_Q2_K},
    [Q2_K_S] = {"q2_k_s", 21, HONE_Q2_K},      [Q3_K_S] = {"q3_k_s", 11, HONE_Q3_K},
    [Q3_K_M] = {"q3_k_m", 12, HONE_Q3_K},      [Q3_K_L] = {"q3_k_l", 13, HONE_Q3_K},
    [Q4_K_S] = {"q4_k_s", 14, HONE_Q4_K},      [Q4_K_M] = {"q4_k_m", 15, HONE_Q4_K},
    [Q5_K_S] = {"q5_k_s", 16, HONE_Q5_K},      [Q5_K_M] = {"q5_k_m", 17, HONE_Q5_K},
    [Q6_K] = {"q6_k", 18, HONE_Q6_K},          [IQ4_NL] = {"iq4_nl", 25, HONE_IQ4_NL},
    [IQ4_XS] = {"iq4_xs", 30, HONE_IQ4_XS},    [TQ1_0] = {"tq1_0", 36, HONE_TQ1_0},
    [TQ2_0] = {"tq2_0", 37, HONE_TQ2_0},       [MXFP4_MOE] = {"mxfp4_moe", 38, HONE_MXFP4},
    [NVFP4] = {"nvfp4", 39, HONE_NVFP4},       [Q1_0] = {"q1_0", 40, HONE_Q1_0},
    [Q2_0] = {"q2_0", 41, HONE_Q2_0},          [IQ3_M] = {"iq3_m", 27, HONE_IQ3_S},
    [IQ3_S] = {"iq3_s", 26, HONE_IQ3_S},       [IQ3_XS] = {"iq3_xs", 22, HONE_IQ3_S},
    [IQ3_XXS] = {"iq3_xxs", 23, HONE_IQ3_XXS}, [IQ2_M] = {"iq2_m", 29, HONE_IQ2_S},
    [IQ2_S] = {"iq2_s", 28, HONE_IQ2_XS},      [IQ2_XS] = {"iq2_xs", 20, HONE_IQ2_XS},
    [IQ2_XXS] = {"iq2_xxs", 19, HONE_IQ2_XXS}, [IQ1_M] = {"iq1_m", 31, HONE_IQ1_M},
    [IQ1_S] = {"iq1_s", 24, HONE_IQ1_S},
};

/* What people type for a mix, when they leave its size off. */
static const struct {
    const char *name;
    enum mix_id mix;
} aliases[] = {{"q3_k", Q3_K_M}, {"q4_k", Q4_K_M}, {"q5_k", Q5_K_M}, {"mxfp4", MXFP4_MOE}};

const hone_mix *hone_mix_find(const char *name)
{
    for (size_t i = 0; i < sizeof mixes / sizeof mixes[0]; i++)
        if (strcasecmp(mixes[i].name, name) == 0)
            return &mixes[i];
    for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++)
        if (strcasecmp(aliases[i].name, name) == 0)
            return &mixes[aliases[i].mix];
    return NULL;
}

/* The first and last eighth of the layers, and every third between. */
static bool use_more_bits(unsigned layer, unsigned n_layers)
{
    const unsigned eighth = n_layers / 8;
    return layer < eighth || layer >= 7 * n_layers / 8 || (layer - eighth) % 3 == 2;
}

/* Mixes of less than three bits. */
static bool is_low(enum mix_id id)
{
    return id == IQ2_M || id == IQ2_S || id == IQ2_XS || id == IQ2_XXS || id == IQ1_M || id == IQ1_S;
}

/* What takes the place of a type of less than three bits where it would hurt most. */
static hone_dtype better_than_low(enum mix_id id)
{
    return id == IQ2_M || id == IQ2_S ? HONE_IQ3_S : HONE_Q2_K;
}

static bool has_wide_groups(const hone_mix_model *model)
{
    return model->n_kv_heads && model->n_heads / model->n_kv_heads >= 4;
}

static hone_dtype choose_output(enum mix_id id, hone_dtype base, const hone_mix_model *model, uint64_t row_nelems)
{
    if (id == MXFP4_MOE || model->falcon || row_nelems % hone_dtype_describe(base)->block_nelems != 0 ||
        base == HONE_Q8_0)
        return HONE_Q8_0;
    return is_low(id) || id == IQ3_XXS ? HONE_Q5_K : HONE_Q6_K;
}

static hone_dtype choose_token_embd(enum mix_id id, hone_dtype base, const hone_mix_model *model, uint64_t row_nelems)
{
    if (model->tied)
        return choose_output(id, base, model, row_nelems);
    if (is_low(id))
        return better_than_low(id);
    if (id == IQ3_XXS)
        return HONE_IQ3_S;
    return id == TQ1_0 || id == TQ2_0 || id == Q2_0 ? HONE_Q4_K : base;
}

/* Mixes of less than three bits have rules of their own. */
static hone_dtype choose_low(enum mix_id id, hone_dtype base, const hone_mix_model *model,
                             const hone_mix_tensor *tensor)
{
    switch (tensor->role) {
    case HONE_ROLE_ATTN_V:
    case HONE_ROLE_ATTN_QKV:
        return has_wide_groups(model) || model->n_experts >= 4 ? HONE_Q4_K : better_than_low(id);
    case HONE_ROLE_ATTN_K:
        return model->n_experts == 8 ? HONE_Q4_K : base;
    case HONE_ROLE_FFN_DOWN:
        return tensor->layer < model->n_layers / 8 ? better_than_low(id) : base;
    case HONE_ROLE_ATTN_OUTPUT:
        if (model->n_experts == 8)
            return HONE_Q5_K;
        if (id == IQ1_M || id == IQ1_S)
            return HONE_IQ2_XXS;
        return id == IQ2_M || id == IQ2_S ? HONE_IQ3_S : base;
    default:
        return base;
    }
}

/* iq3_xxs is made of what is smaller yet where that does little harm. iq3_xs is iq3_s in the same way. */
static hone_dtype choose_attn_qk(enum mix_id id, hone_dtype base)
{
    return id == IQ3_XXS ? HONE_IQ2_S : id == IQ3_XS ? HONE_IQ3_XXS : base;
}

static hone_dtype choose_ffn_in(enum mix_id id, hone_dtype base, const hone_mix_model *model, unsigned layer)
{
    const unsigned n = model->n_layers;
    return id == IQ3_XS && layer >= n / 8 && layer < 7 * n / 8 ? HONE_IQ3_XXS : base;
}

static hone_dtype choose_attn_v(enum mix_id id, hone_dtype base, const hone_mix_model *model, unsigned layer)
{
    const bool wide_groups = has_wide_groups(model);
    hone_dtype dtype = base;
    if (id == Q2_K)
        dtype = wide_groups ? HONE_Q4_K : HONE_Q3_K;
    else if ((id == Q2_K_S || id == IQ3_XXS || id == IQ3_XS || id == IQ3_S) && wide_groups)
        dtype = HONE_Q4_K;
    else if (id == IQ3_XXS && !model->importance)
        dtype = HONE_IQ3_S;
    else if (id == IQ3_M)
        dtype = HONE_Q4_K;
    else if (id == Q3_K_M)
        dtype = layer < 2 ? HONE_Q5_K : HONE_Q4_K;
    else if (id == Q3_K_L)
        dtype = HONE_Q5_K;
    else if ((id == IQ4_NL || id == IQ4_XS) && wide_groups)
        dtype = HONE_Q5_K;
    else if ((id == Q4_K_M || id == Q5_K_M) && use_more_bits(layer, model->n_layers))
        dtype = HONE_Q6_K;
    else if (id == Q4_K_S && layer < 4)
        dtype = HONE_Q5_K;
    /* LLaMA 70B: eight heads share each attn_v row, so the matrix is small and its error counts eightfold. */
    const bool llama_70b = model->n_layers == 80 && model->n_heads != model->n_kv_heads;
    if (llama_70b && (dtype == HONE_Q3_K || dtype == HONE_Q4_K))
        dtype = HONE_Q5_K;
    return model->n_experts == 8 ? HONE_Q8_0 : dtype;
}

static hone_dtype choose_ffn_down(enum mix_id id, hone_dtype base, const hone_mix_model *model, unsigned layer)
{
    const unsigned n = model->n_layers;
    switch (id) {
    case Q2_K:
        return HONE_Q3_K;
    case Q2_K_S:
        return layer < n / 8 ? HONE_Q4_K : base;
    case Q3_K_M:
        if (layer < n / 16)
            return HONE_Q5_K;
        return !model->falcon || use_more_bits(layer, n) ? HONE_Q4_K : HONE_Q3_K;
    case Q3_K_L:
        return model->falcon ? HONE_Q4_K : HONE_Q5_K;
    case Q4_K_S:
        return !model->falcon && layer < n / 8 ? HONE_Q5_K : base;
    case Q4_K_M:
        if (!model->falcon)
            return use_more_bits(layer, n) ? HONE_Q6_K : base;
        if (layer < n / 16)
            return HONE_Q6_K;
        return use_more_bits(layer, n) ? HONE_Q5_K : HONE_Q4_K;
    case Q5_K_M:
        return use_more_bits(layer, n) ? HONE_Q6_K : base;
    case IQ3_XXS:
        if (model->importance)
            return base;
        return layer < n / 8 ? HONE_Q4_K : HONE_Q3_K;
    case IQ3_M:
        return layer < n / 8 || (model->n_experts == 8 && use_more_bits(layer, n)) ? HONE_Q4_K : base;
    case IQ4_NL:
    case IQ4_XS:
        return layer < n / 8 && !model->importance ? HONE_Q5_K : base;
    case Q4_0: /* with importance the first layers can go astray in types without a minimum */
        return layer < n / 8 && model->importance ? HONE_Q4_1 : base;
    case Q5_0:
        return layer < n / 8 && model->importance ? HONE_Q5_1 : base;
    default:
        return base;
    }
}

static hone_dtype choose_attn_output(enum mix_id id, hone_dtype base, const hone_mix_model *model)
{
    if (model->falcon)
        return id == Q3_K_L ? HONE_Q4_K : base;
    if (model->n_experts == 8) {
        const bool small = id == Q2_K || id == Q3_K_S || id == Q3_K_M || id == Q4_K_S || id == Q4_K_M || id == IQ4_NL ||
                           id == IQ4_XS || id == IQ3_M || id == IQ3_S || id == IQ3_XS || id == IQ3_XXS;
        return small ? HONE_Q5_K : base;
    }
    switch (id) {
    case Q2_K:
        return HONE_Q3_K;
    case IQ3_XXS:
        return HONE_IQ3_S;
    case Q3_K_M:
    case IQ3_M:
        return HONE_Q4_K;
    case Q3_K_L:
        return HONE_Q5_K;
    default:
        return base;
    }
}

hone_dtype hone_mix_choose(const hone_mix *mix, const hone_mix_model *model, const hone_mix_tensor *tensor)
{
    const enum mix_id id = (enum mix_id)(mix - mixes);
    const bool is_end = tensor->role == HONE_ROLE_OUTPUT || (tensor->role == HONE_ROLE_TOKEN_EMBD && model->tied);
    /* Experts are most of such a model; all else is too little to save on. */
    const hone_dtype base = id != MXFP4_MOE || tensor->stacked || is_end ? mix->dtype : HONE_Q8_0;
    if (id == MXFP4_MOE && !is_end)
        return base;
    if (is_low(id) && tensor->role != HONE_ROLE_OUTPUT && tensor->role != HONE_ROLE_TOKEN_EMBD)
        return choose_low(id, base, model, tensor);
    switch (tensor->role) {
    case HONE_ROLE_OUTPUT:
        return choose_output(id, base, model, tensor->row_nelems);
    case HONE_ROLE_TOKEN_EMBD:
        return choose_token_embd(id, base, model, tensor->row_nelems);
    case HONE_ROLE_ATTN_V:
    case HONE_ROLE_ATTN_QKV: /* a fused matrix is as sensitive as the v in it; llama.cpp's own qkv rule is unreachable
                              */
        return choose_attn_v(id, base, model, tensor->layer);
    case HONE_ROLE_ATTN_K:
        return model->n_experts == 8 ? HONE_Q8_0 : choose_attn_qk(id, base);
    case HONE_ROLE_ATTN_Q:
        return choose_attn_qk(id, base);
    case HONE_ROLE_FFN_UP:
    case HONE_ROLE_FFN_GATE:
        return choose_ffn_in(id, base, model, tensor->layer);
    case HONE_ROLE_FFN_DOWN:
        return choose_ffn_down(id, base, model, tensor->layer);
    case HONE_ROLE_ATTN_OUTPUT:
        return choose_attn_output(id, base, model);
    default:
        return base;
    }
}

hone_dtype hone_mix_fallback(hone_dtype dtype, uint64_t row_nelems)
{
    if (row_nelems % hone_dtype_describe(dtype)->block_nelems == 0)
        return dtype;
    hone_dtype smaller = HONE_F16;
    switch (dtype) {
    case HONE_Q2_K:
    case HONE_Q3_K:
    case HONE_TQ1_0:
    case HONE_TQ2_0:
    case HONE_Q1_0:
    case HONE_Q2_0:
        smaller = HONE_Q4_0;
        break;
    case HONE_Q4_K:
        smaller = HONE_Q5_0;
        break;
    case HONE_Q5_K:
        smaller = HONE_Q5_1;
        break;
    case HONE_Q6_K:
        smaller = HONE_Q8_0;
        break;
    case HONE_IQ4_XS:
    case HONE_IQ3_S:
    case HONE_IQ3_XXS:
    case HONE_IQ2_S:
    case HONE_IQ2_XS:
    case HONE_IQ2_XXS:
    case HONE_IQ1_M:
    case HONE_IQ1_S:
    case HONE_NVFP4:
        smaller = HONE_IQ4_NL;
        break;
    default:
        break;
    }
    return row_nelems % hone_dtype_describe(smaller)->block_nelems == 0 ? smaller : HONE_F16;
}
