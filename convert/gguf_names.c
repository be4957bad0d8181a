/* SPDX-License-Identifier: MIT */
/* Roles by GGUF tensor name (gguf-py constants.py; which are never quantized: llama-quant.cpp). */
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "convert/grid_parts.h"
#include "convert/plan_impl.h"
#include "formats/sources.h"

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

/* Whether a tensor is one of the experts of a stack, and which. */
static bool is_part(const hone_tensor *stack, const hone_tensor *t, uint64_t *expert)
{
    const hone_tensor *part;
    for (*expert = 0; (part = hone_tensor_stack_part(stack, (size_t)*expert)); ++*expert)
        if (part == t)
            return true;
    return false;
}

static hone_status name_codes(hone_plan *plan, const hone_plan *names, hone_error *err)
{
    for (size_t i = 0; i < plan->n_tensors; i++) {
        hone_planned_tensor *t = &plan->tensors[i];
        for (size_t j = 0; t->weight && t->part == HONE_PART_CODES && j < names->n_tensors; j++) {
            const char *name = names->tensors[j].name;
            const hone_tensor *source = names->tensors[j].source;
            uint64_t expert;
            const bool in_stack = source && is_part(source, t->source, &expert);
            if (source != t->source && !in_stack)
                continue;
            const char *copy = hone_arena_copy(&plan->arena, name, strlen(name));
            if (!copy)
                return hone_fail_nomem(err, strlen(name));
            if (in_stack) {
                t->stack_name = copy;
                t->expert = expert;
            } else {
                t->gguf_name = copy;
            }
        }
    }
    return HONE_OK;
}

hone_status hone_plan_names(const hone_context *ctx, const hone_checkpoint *src, hone_plan *names, hone_error *err)
{
    const char *model_class = hone_checkpoint_architecture(src);
    const hone_conversion *family = model_class ? hone_conversion_find(model_class) : NULL;
    *names = (hone_plan){.src = src};
    if (!family)
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, "architectures",
                         "an importance matrix needs an architecture whose names in GGUF are known");
    names->header = hone_gguf_new();
    const hone_status status = family->plan(ctx, names, err);
    hone_gguf_free(names->header);
    names->header = NULL;
    if (status != HONE_OK)
        hone_plan_names_deinit(names);
    return status;
}

void hone_plan_names_deinit(hone_plan *names)
{
    hone_release(names->tensors);
    hone_arena_deinit(&names->arena);
    *names = (hone_plan){.src = NULL};
}

hone_status hone_plan_name_codes(const hone_context *ctx, hone_plan *plan, hone_error *err)
{
    hone_plan names;
    HONE_TRY(hone_plan_names(ctx, plan->src, &names, err));
    const hone_status status = name_codes(plan, &names, err);
    hone_plan_names_deinit(&names);
    return status;
}
