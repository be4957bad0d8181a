/* SPDX-License-Identifier: MIT */
/*
 * The LLaMA family (LLaMA, Mistral, Mixtral): RMSNorm before each half of a layer, rotary positions, grouped heads, a
 * gated MLP or several, of which a router chooses some for each token.
 */
#ifndef HONE_MODEL_LLAMA_H
#define HONE_MODEL_LLAMA_H

#include "verify/family_loader.h"
#include "verify/model_impl.h"

typedef struct hone_llama_layer {
    float *attn_norm;     /* (n_embd) */
    hone_linear q;        /* (n_heads * head_dim, n_embd) */
    hone_linear k, v;     /* (n_kv_heads * head_dim, n_embd) */
    hone_linear o;        /* (n_embd, n_heads * head_dim) */
    float *ffn_norm;      /* (n_embd) */
    hone_linear gate, up; /* (n_ff, n_embd) */
    hone_linear down;     /* (n_embd, n_ff) */
    hone_weight router;   /* (n_experts, n_embd), with experts; then gate, up and down are stacks of n_experts */
} hone_llama_layer;

typedef struct hone_llama_config {
    size_t n_vocab, n_embd, n_ff, n_layers, n_heads, n_kv_heads, head_dim, n_ctx;
    size_t n_experts, n_experts_used; /* of a mixture; 0: one MLP */
    size_t window;                    /* a query sees this many positions, its own included; 0: all before it */
    double rms_eps;
    bool interleaved;         /* rotated pairs are neighbours (GGUF) or half a head apart (Hugging Face) */
    bool attn_bias, mlp_bias; /* required when set, ... */
    bool any_bias;            /* ... else used where the file has one */
    bool tied;                /* embedding and output are one matrix when only one is stored */
    /* Rotary frequencies: theta^(-2i/head_dim), changed as `scaling` says. */
    double rope_theta, rope_factor, rope_low, rope_high, rope_original_ctx;
    enum { HONE_ROPE_PLAIN = 0, HONE_ROPE_LINEAR, HONE_ROPE_LLAMA3 } scaling;
} hone_llama_config;

/* The body of a hone_model of this family. */
typedef struct hone_llama {
    hone_llama_config config;
    hone_weight embedding; /* (n_vocab, n_embd) */
    float *output_norm;    /* (n_embd) */
    double *inv_freq;      /* (head_dim / 2) radians per position */
    hone_llama_layer *layers;
} hone_llama;

/* hone_llama_config_read() reads and checks the configuration of a checkpoint of either naming. */
hone_status hone_llama_config_read(const hone_checkpoint *ckpt, hone_llama_config *out, hone_error *err);

/* The forward pass; see hone_family. */
bool hone_llama_scratch_nfloats(const hone_model *model, size_t n, int n_threads, size_t *nfloats);
void hone_llama_prepare(const hone_pass *pass);
void hone_llama_embed(const hone_pass *pass, const int32_t *tokens);
void hone_llama_layer_pass(const hone_pass *pass, size_t i);
void hone_llama_finish(const hone_pass *pass);

#endif
