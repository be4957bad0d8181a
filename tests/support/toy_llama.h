/* SPDX-License-Identifier: MIT */
/*
 * A LLaMA model small enough to be run by loops over scalars, written to disk under both namings.
 *
 * It is made apart from the code it tests: names, row order and forward pass are spelled out again here.
 */
#ifndef HONE_TOY_LLAMA_H
#define HONE_TOY_LLAMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/support/toy_weights.h"

typedef struct hone_toy {
    size_t n_vocab, n_embd, n_ff, n_layers, n_heads, n_kv_heads, head_dim, n_ctx;
    size_t window;                    /* of a Mistral model; 0: LlamaForCausalLM */
    size_t n_experts, n_experts_used; /* of a Mixtral model; 0: one MLP */
    bool tied, attn_bias, mlp_bias;
    double theta, eps;
    double linear_factor;                                      /* 0: none */
    double llama3_factor, llama3_low, llama3_high, llama3_ctx; /* factor 0: none */
    const char *json_extra;                                    /* more members for config.json, each after a comma */
    const char *gguf_extra;                                    /* more entries as a byte script (see byte_builder.h), */
    size_t n_gguf_extra;                                       /* and how many */
    hone_toy_tensor *tensors;
    size_t n_tensors;
} hone_toy;

/* hone_toy_sizes() returns a plain untied model's description; change it, then call hone_toy_fill(). */
hone_toy hone_toy_sizes(void);

/* hone_toy_fill() makes the tensors with seeded random values. Release with hone_toy_free(). */
void hone_toy_fill(hone_toy *toy);
void hone_toy_free(hone_toy *toy);

/* hone_toy_find() returns a tensor by its Hugging Face name; an unknown one aborts. */
hone_toy_tensor *hone_toy_find(hone_toy *toy, const char *hf);

/* hone_toy_write_hf() writes config.json and model.safetensors into dir; hone_toy_write_gguf() writes toy.gguf. Each
 * returns the path to open, as hone_temp_path() does. */
const char *hone_toy_write_hf(const hone_toy *toy, hone_temp_dir *dir);
const char *hone_toy_write_gguf(const hone_toy *toy, hone_temp_dir *dir);

/* hone_toy_run() computes logits (n, n_vocab) in f64, one token and one head at a time. */
void hone_toy_run(hone_toy *toy, const int32_t *tokens, size_t n, double *logits);

#endif
