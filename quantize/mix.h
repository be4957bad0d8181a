/* SPDX-License-Identifier: MIT */
/*
 * Mixes: which block type each tensor of a file gets under a name such as "q4_k_m".
 *
 * The rules are those of llama.cpp's quantizer (src/llama-quant.cpp), so that equal names give equal files. They see a
 * tensor's role, layer and row length, never its name.
 */
#ifndef HONE_MIX_H
#define HONE_MIX_H

#include <stdbool.h>
#include <stdint.h>

#include "hone/tensor.h"

/* What a matrix does in the model. OTHER: quantized like most. KEEP: never quantized. */
typedef enum hone_role {
    HONE_ROLE_OTHER = 0,
    HONE_ROLE_KEEP,
    HONE_ROLE_TOKEN_EMBD,
    HONE_ROLE_OUTPUT,
    HONE_ROLE_ATTN_Q,
    HONE_ROLE_ATTN_K,
    HONE_ROLE_ATTN_V,
    HONE_ROLE_ATTN_QKV,
    HONE_ROLE_ATTN_OUTPUT,
    HONE_ROLE_FFN_UP,
    HONE_ROLE_FFN_GATE,
    HONE_ROLE_FFN_DOWN
} hone_role;

/* A named file type. */
typedef struct hone_mix {
    const char *name; /* lower case: "q4_k_m" */
    int file_type;    /* general.file_type of a GGUF file */
    hone_dtype dtype; /* what most matrices get */
} hone_mix;

/* hone_mix_find() finds a mix by name, ignoring case; NULL if there is none. */
const hone_mix *hone_mix_find(const char *name);

/* The model as far as the rules look at it. */
typedef struct hone_mix_model {
    unsigned n_layers, n_heads, n_kv_heads, n_experts;
    bool tied; /* token_embd is also the output matrix */
    bool falcon;
    bool importance; /* an importance matrix is at hand */
} hone_mix_model;

/* One matrix to choose for. layer is 0 outside blocks. */
typedef struct hone_mix_tensor {
    hone_role role;
    unsigned layer;
    uint64_t row_nelems;
    bool stacked; /* several matrices in one tensor: a layer's experts */
} hone_mix_tensor;

/* hone_mix_choose() returns the type of a matrix before any fallback for its row length. */
hone_dtype hone_mix_choose(const hone_mix *mix, const hone_mix_model *model, const hone_mix_tensor *tensor);

/*
 * hone_mix_fallback() returns dtype, or the nearest type of at least its width that rows of row_nelems can be cut into:
 * a type with blocks of 32, or f16.
 */
hone_dtype hone_mix_fallback(hone_dtype dtype, uint64_t row_nelems);

#endif
