/* SPDX-License-Identifier: MIT */
/* A LLaMA checkpoint of a few kilobytes in Hugging Face layout, with seeded random weights and no tokenizer. */
#ifndef HONE_TINY_CHECKPOINT_H
#define HONE_TINY_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>

#include "tests/support/temp_dir.h"

/* All zero: 2 layers, hidden 64, feed-forward 96, 4 heads sharing 2 key/value heads, 48 tokens, untied, F32. */
typedef struct hone_tiny_options {
    bool tied;                /* only the embedding is stored */
    bool bias;                /* attention biases */
    const char *config_extra; /* appended to config.json's members, such as ", \"head_dim\": 32" */
    const char *model_class;  /* NULL: LlamaForCausalLM */
    const char *skip;         /* a tensor that is left out */
    const char *extra;        /* a tensor [4] that is added */
    const char *poke;         /* a tensor in which element poke_at is poke_value */
    size_t poke_at;
    float poke_value;
    size_t hidden; /* 0: 64 */
} hone_tiny_options;

/* hone_tiny_checkpoint() writes config.json and model.safetensors into dir. */
void hone_tiny_checkpoint(hone_temp_dir *dir, const hone_tiny_options *opts);

#endif
