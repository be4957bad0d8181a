/* SPDX-License-Identifier: MIT */
/* GGUF: one file, its names and orders of rows those of llama.cpp. */
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "base/cursor.h"
#include "base/fail.h"
#include "convert/calibrated_on.h"
#include "convert/importance.h"
#include "convert/lean_recipe.h"
#include "convert/target.h"
#include "formats/checksum.h"
#include "formats/sources.h"

/* general.name: what the checkpoint's folder is called. */
static void put_name(hone_plan *plan)
{
    char *dir = realpath(plan->src->dir, NULL);
    const char *slash = dir ? strrchr(dir, '/') : NULL;
    if (slash && slash[1])
        hone_gguf_put_str(plan->header, "general.name", slash + 1);
    free(dir);
}

static hone_status plan_tensors(const hone_context *ctx, hone_plan *plan, hone_error *err)
{
    plan->header = hone_gguf_new(); /* NULL is reported when it is finished */
    if (strcmp(hone_checkpoint_format(plan->src), "gguf") == 0)
        return hone_plan_from_gguf(ctx, plan, err);
    const char *model_class = hone_checkpoint_architecture(plan->src);
    if (!model_class)
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, "architectures",
                         "no configuration names the model's architecture (--config FILE)");
    const hone_conversion *family = hone_conversion_find(model_class);
    if (!family)
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, "architectures", "unknown architecture \"%s\"",
                         model_class);
    hone_gguf_put_str(plan->header, "general.architecture", family->gguf_architecture);
    hone_gguf_put_str(plan->header, "general.type", "model");
    put_name(plan);
    HONE_TRY(family->plan(ctx, plan, err));
    return hone_import_tokenizer(ctx, plan, err);
}

static hone_status settle(const hone_context *ctx, const hone_plan *plan, const hone_type_choice *choice,
                          hone_planned_tensor *t, hone_error *err)
{
    t->role = hone_role_of(t->name, &t->layer);
    HONE_TRY(hone_plan_settle_rows(t, err));
    if (t->n_dims == 0 || t->n_dims > 4 || t->n_rows == 0 || t->row_nelems == 0)
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, t->name,
                         "GGUF holds tensors of 1 to 4 non-empty axes");
    if (t->source && !hone_dtype_describe(t->source->dtype)->is_float)
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, t->source->offset, t->source->name, "%s is not a type of weights",
                         hone_dtype_describe(t->source->dtype)->name);
    return hone_type_choose(ctx, plan, choice, t, err);
}

static bool any_quantized(const hone_plan *plan)
{
    for (size_t i = 0; i < plan->n_tensors; i++)
        if (hone_dtype_describe(plan->tensors[i].dtype)->is_quantized)
            return true;
    return false;
}

/* The recipe, and the texts that the output depends on. */
static hone_status put_recipe(hone_plan *plan, const hone_convert_options *opts, hone_error *err)
{
    const char *recipe;
    HONE_TRY(hone_plan_recipe(plan, opts, &recipe, err));
    plan->recipe_id = XXH3_64bits(recipe, strlen(recipe));
    hone_text_marks texts;
    hone_status status = hone_calibrated_on(plan, opts->budget, &texts, err);
    if (status == HONE_OK && plan->lean)
        status = hone_lean_recipe(plan, recipe, &texts, &recipe, err);
    if (status == HONE_OK)
        hone_gguf_put_str(plan->header, "hone.recipe", recipe);
    if (status == HONE_OK && !plan->lean)
        hone_text_marks_put(&texts, plan->header);
    hone_text_marks_deinit(&texts);
    return status;
}

static void put_zero_sums(hone_plan *plan)
{
    if (plan->lean)
        hone_gguf_put_u64_array(plan->header, HONE_JOINT_SUMS_KEY, NULL, HONE_JOINT_SUMS);
    else
        hone_gguf_put_sums(plan->header, plan->n_tensors);
}

static hone_status put_common(hone_plan *plan, const hone_type_choice *choice, const hone_convert_options *opts,
                              hone_error *err)
{
    hone_gguf_put_u32(plan->header, "general.file_type", hone_type_file_type(choice));
    if (any_quantized(plan))
        hone_gguf_put_u32(plan->header, "general.quantization_version", 2); /* ggml.h: GGML_QNT_VERSION */
    hone_importance_put_metadata(plan);
    hone_gguf_put_str(plan->header, "hone.version", hone_version());
    HONE_TRY(put_recipe(plan, opts, err));
    put_zero_sums(plan);
    return HONE_OK;
}

static hone_status lay_out(hone_plan *plan, const hone_type_choice *choice, const hone_convert_options *opts,
                           hone_error *err)
{
    for (size_t i = 0; i < plan->n_tensors; i++) {
        const hone_planned_tensor *t = &plan->tensors[i];
        hone_gguf_add_tensor(plan->header, t->name, t->dtype, t->n_dims, t->shape);
    }
    HONE_TRY(put_common(plan, choice, opts, err));
    hone_output_file *file = hone_plan_add_file(plan);
    if (!file)
        return hone_fail_nomem(err, sizeof *file);
    hone_gguf_layout layout;
    HONE_TRY(hone_gguf_finish(plan->header, HONE_GGUF_ALIGNMENT, &layout, err));
    for (size_t i = 0; i < plan->n_tensors; i++)
        plan->tensors[i].offset = layout.offsets[i];
    *file = (hone_output_file){
        .header = layout.bytes,
        .header_nbytes = layout.nbytes,
        .nbytes = layout.file_nbytes,
        .joint_sums = plan->lean,
        .checksums_at =
            (size_t)hone_gguf_payload_offset(plan->header, plan->lean ? HONE_JOINT_SUMS_KEY : HONE_TENSOR_SUMS_KEY),
        .header_sum_at = (size_t)hone_gguf_payload_offset(plan->header, HONE_HEADER_SUM_KEY),
        .n_tensors = plan->n_tensors,
    };
    layout.bytes = NULL; /* the file's now */
    hone_gguf_layout_deinit(&layout);
    return HONE_OK;
}

static void put_checksums(const hone_output_file *file, const uint64_t *checksums, uint8_t *header)
{
    if (file->joint_sums) {
        hone_joint_sums_put(header, file->header_nbytes, file->checksums_at, checksums, file->n_tensors);
        return;
    }
    for (size_t i = 0; i < file->n_tensors; i++)
        hone_store_u64(header + file->checksums_at + 8 * i, checksums[i]);
    hone_store_u64(header + file->header_sum_at, hone_header_sum(header, file->header_nbytes));
}

const hone_target hone_target_gguf = {
    .name = "gguf",
    .weighs = true,
    .plan = plan_tensors,
    .settle = settle,
    .lay_out = lay_out,
    .put_checksums = put_checksums,
};
