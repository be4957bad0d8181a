/* SPDX-License-Identifier: MIT */
/* Roles by GGUF tensor name (gguf-py constants.py; which are never quantized: llama-quant.cpp). */
#include <stdlib.h>
#include <string.h>

#include "convert/plan_impl.h"

static bool has(const char *name, const char *part)
{
    return strstr(name, part) != NULL;
}

static bool ends_with(const char *name, const char *end)
{
    const size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

static bool never_quantized(const char *name)
{
    static const char *const parts[] = {"_norm.weight", "ffn_gate_inp.weight", "position_embd",  "token_types",
                                        "attn_rel_b",   "ssm_conv1d",          "shortconv.conv", "rope_freqs"};
    if (!ends_with(name, "weight"))
        return true;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (has(name, parts[i]))
            return true;
    return false;
}

hone_role hone_role_of(const char *name, unsigned *layer)
{
    static const struct {
        const char *part;
        hone_role role;
    } parts[] = {
        {"attn_qkv.weight", HONE_ROLE_ATTN_QKV},
        {"attn_v.weight", HONE_ROLE_ATTN_V},
        {"attn_k.weight", HONE_ROLE_ATTN_K},
        {"attn_q.weight", HONE_ROLE_ATTN_Q},
        {"attn_output.weight", HONE_ROLE_ATTN_OUTPUT},
        {"ffn_up", HONE_ROLE_FFN_UP},
        {"ffn_gate", HONE_ROLE_FFN_GATE},
        {"ffn_down", HONE_ROLE_FFN_DOWN},
    };
    *layer = 0;
    if (strncmp(name, "blk.", 4) == 0)
        *layer = (unsigned)strtoul(name + 4, NULL, 10);
    if (never_quantized(name))
        return HONE_ROLE_KEEP;
    if (strcmp(name, "output.weight") == 0)
        return HONE_ROLE_OUTPUT;
    if (strcmp(name, "token_embd.weight") == 0)
        return HONE_ROLE_TOKEN_EMBD;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (has(name, parts[i].part))
            return parts[i].role;
    return HONE_ROLE_OTHER;
}
