/* SPDX-License-Identifier: MIT */
/* A GGUF source: its metadata is carried over, its tensors keep their names and rows. */
#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "convert/importance.h"
#include "formats/checksum.h"
#include "formats/sources.h"
#include "formats/text_marks.h"

/* Keys that describe the file rather than the model: written anew, or void in a single file. */
static bool is_about_the_file(const char *key)
{
    static const char *const keys[] = {"general.file_type",  "general.quantization_version",
                                       "general.alignment",  "split.no",
                                       "split.count",        "split.tensors.count",
                                       "hone.version",       "hone.recipe",
                                       HONE_TENSOR_SUMS_KEY, HONE_HEADER_SUM_KEY,
                                       HONE_JOINT_SUMS_KEY,  HONE_TEXT_MARKS_KEY};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (strcmp(key, keys[i]) == 0)
            return true;
    return false;
}

/* An unsigned value, or the first element of an array of them (per-layer values); 0 when absent. */
static uint32_t model_u32(const hone_checkpoint *src, const char *architecture, const char *what)
{
    char key[160];
    (void)snprintf(key, sizeof key, "%s.%s", architecture, what);
    const hone_metadata *entry = hone_checkpoint_find_metadata(src, key);
    if (!entry)
        return 0;
    if (entry->type == HONE_VALUE_U32 || entry->type == HONE_VALUE_I32)
        return (uint32_t)entry->v.u;
    if (entry->type != HONE_VALUE_ARRAY || entry->v.array.count == 0 ||
        (entry->v.array.elem_type != HONE_VALUE_U32 && entry->v.array.elem_type != HONE_VALUE_I32))
        return 0;
    uint32_t first;
    memcpy(&first, entry->v.array.items, sizeof first);
    return first;
}

hone_status hone_plan_from_gguf(const hone_context *ctx, hone_plan *plan, hone_error *err)
{
    (void)ctx;
    const hone_checkpoint *src = plan->src;
    const char *architecture = hone_checkpoint_architecture(src);
    if (!architecture)
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, "general.architecture", "missing");
    for (size_t i = 0; i < hone_checkpoint_n_metadata(src); i++) {
        const hone_metadata *entry = hone_checkpoint_metadata(src, i);
        const bool replaced = plan->imatrix && hone_importance_is_key(entry->key.data);
        if (!is_about_the_file(entry->key.data) && !replaced)
            hone_gguf_put_metadata(plan->header, entry);
    }
    for (size_t i = 0; i < hone_checkpoint_n_tensors(src); i++) {
        const hone_tensor *t = hone_checkpoint_tensor(src, i);
        HONE_TRY(hone_plan_add(plan, (hone_planned_tensor){.source = t}, err, "%s", t->name));
    }
    plan->model.n_layers = model_u32(src, architecture, "block_count");
    plan->model.n_heads = model_u32(src, architecture, "attention.head_count");
    plan->model.n_kv_heads = model_u32(src, architecture, "attention.head_count_kv");
    if (plan->model.n_kv_heads == 0)
        plan->model.n_kv_heads = plan->model.n_heads;
    plan->model.n_experts = model_u32(src, architecture, "expert_count");
    plan->model.tied = hone_checkpoint_find(src, "output.weight") == NULL;
    plan->model.falcon = strcmp(architecture, "falcon") == 0;
    return HONE_OK;
}
