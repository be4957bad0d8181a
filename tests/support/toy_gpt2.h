/* SPDX-License-Identifier: MIT */
/*
 * A GPT-2 model small enough to be run by loops over scalars, written to disk under both namings.
 *
 * It is made apart from the code it tests: names, transposition and forward pass are spelled out again here.
 */
#ifndef HONE_TOY_GPT2_H
#define HONE_TOY_GPT2_H

#include "tests/support/toy_weights.h"

typedef struct hone_toy_gpt2 {
    size_t n_vocab, n_embd, n_ff, n_layers, n_heads, n_ctx;
    double eps;
    const char *act;        /* of config.json; NULL: not said */
    bool exact_gelu;        /* what act means */
    bool no_inner;          /* config.json has null for n_inner; n_ff must be 4 * n_embd */
    bool untied;            /* both ends are stored */
    bool unscaled, layered; /* scale_attn_weights is false; scale_attn_by_inverse_layer_idx is true */
    bool bare;              /* Hugging Face names lack "transformer." */
    bool masks;             /* Hugging Face stores the causal masks of older exports */
    const char *json_extra; /* more members for config.json, each after a comma */
    const char *gguf_extra; /* more entries as a byte script (see byte_builder.h), ... */
    size_t n_gguf_extra;    /* ... and how many */
    const char *skip_key;   /* a key that neither config.json nor the GGUF file gets */
    hone_toy_tensor *tensors;
    size_t n_tensors;
} hone_toy_gpt2;

/* hone_toy_gpt2_sizes() returns a plain tied model's description; change it, then call hone_toy_gpt2_fill(). */
hone_toy_gpt2 hone_toy_gpt2_sizes(void);

/* hone_toy_gpt2_fill() makes the tensors with seeded random values. Release with hone_toy_gpt2_free(). */
void hone_toy_gpt2_fill(hone_toy_gpt2 *toy);
void hone_toy_gpt2_free(hone_toy_gpt2 *toy);

/* hone_toy_gpt2_find() returns a tensor by its Hugging Face name without "transformer."; an unknown one aborts. */
hone_toy_tensor *hone_toy_gpt2_find(hone_toy_gpt2 *toy, const char *name);

/* hone_toy_gpt2_write_hf() writes config.json and model.safetensors into dir; hone_toy_gpt2_write_gguf() writes
 * toy.gguf. Each returns the path to open, as hone_temp_path() does. */
const char *hone_toy_gpt2_write_hf(const hone_toy_gpt2 *toy, hone_temp_dir *dir);
const char *hone_toy_gpt2_write_gguf(const hone_toy_gpt2 *toy, hone_temp_dir *dir);

/* hone_toy_gpt2_run() computes logits (n, n_vocab) in f64, one token and one head at a time. */
void hone_toy_gpt2_run(hone_toy_gpt2 *toy, const int32_t *tokens, size_t n, double *logits);

#endif
