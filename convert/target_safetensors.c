/* SPDX-License-Identifier: MIT */
/*
 * Plain safetensors in the layout of a Hugging Face directory: the tensors of any source under their own names, in
 * their own order of rows, with their own types unless others are asked for.
 */
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "convert/calibrated_on.h"
#include "convert/sidecars.h"
#include "convert/target.h"
#include "formats/safetensors_writer.h"
#include "formats/sources.h"

enum { LONG_ROW_NELEMS = 1 << 16 };

static hone_status plan_tensors(const hone_context *ctx, hone_plan *plan, hone_error *err)
{
    (void)ctx;
    for (size_t i = 0; i < hone_checkpoint_n_tensors(plan->src); i++) {
        const hone_tensor *t = hone_checkpoint_tensor(plan->src, i);
        HONE_TRY(hone_plan_add(plan, (hone_planned_tensor){.source = t, .any_value = true}, err, "%s", t->name));
    }
    return HONE_OK;
}

void hone_plan_settle_stored(hone_planned_tensor *t)
{
    const hone_dtype_info *info = hone_dtype_describe(t->source->dtype);
    t->row_nelems = t->n_dims > 1 ? t->shape[t->n_dims - 1] : 0;
    if (t->row_nelems == 0 || t->row_nelems > LONG_ROW_NELEMS)
        t->row_nelems = info->block_nelems;
    t->n_rows = t->source->nelems / t->row_nelems;
}

/* Types that safetensors has are kept; blocks of GGUF become f32, which holds what they decode to. */
static hone_status settle(const hone_context *ctx, const hone_plan *plan, const hone_type_choice *choice,
                          hone_planned_tensor *t, hone_error *err)
{
    hone_plan_settle_stored(t);
    const hone_dtype_info *info = hone_dtype_describe(t->source->dtype);
    t->dtype = t->source->dtype;
    if (info->is_float)
        return hone_type_choose_float(ctx, plan, choice, t, err);
    if (!hone_type_keeps(choice))
        t->why = "no float";
    return HONE_OK;
}

/* The type of weights that config.json is to name: the one most bytes of the output have. */
static const char *torch_dtype(const hone_plan *plan)
{
    static const struct {
        hone_dtype dtype;
        const char *name;
    } names[] = {{HONE_F32, "float32"}, {HONE_F16, "float16"}, {HONE_BF16, "bfloat16"}, {HONE_F64, "float64"}};
    const char *best = NULL;
    uint64_t most = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        uint64_t nbytes = 0;
        for (size_t j = 0; j < plan->n_tensors; j++)
            nbytes += plan->tensors[j].dtype == names[i].dtype ? plan->tensors[j].nbytes : 0;
        if (nbytes > most) {
            most = nbytes;
            best = names[i].name;
        }
    }
    return best;
}

static bool any_retyped(const hone_plan *plan)
{
    for (size_t i = 0; i < plan->n_tensors; i++)
        if (plan->tensors[i].dtype != plan->tensors[i].source->dtype)
            return true;
    return false;
}

/* The texts that the output depends on; "" for none. */
static hone_status describe_texts(hone_plan *plan, const hone_convert_options *opts, const char **out, hone_error *err)
{
    hone_text_marks texts;
    hone_status status = hone_calibrated_on(plan, opts->budget, &texts, err);
    char *hex = status == HONE_OK ? hone_text_marks_hex(&texts) : NULL;
    *out = hex ? hone_arena_copy(&plan->arena, hex, strlen(hex)) : NULL;
    if (status == HONE_OK && !*out)
        status = hone_fail_nomem(err, texts.n * sizeof *texts.records);
    hone_release(hex);
    hone_text_marks_deinit(&texts);
    return status;
}

hone_status hone_plan_put_safetensors_metadata(hone_plan *plan, const hone_convert_options *opts, const char *format,
                                               hone_safetensors_pair **out, size_t *n_out, hone_error *err)
{
    const size_t n_source = hone_checkpoint_n_metadata(plan->src);
    const bool same = strcmp(plan->src->format, hone_safetensors_reader.name) == 0;
    hone_safetensors_pair *pairs = hone_arena_alloc(&plan->arena, n_source + 4, sizeof *pairs);
    if (!pairs)
        return hone_fail_nomem(err, n_source * sizeof *pairs);
    const char *recipe, *texts;
    HONE_TRY(hone_plan_recipe(plan, opts, &recipe, err));
    HONE_TRY(describe_texts(plan, opts, &texts, err));
    size_t n = 0;
    pairs[n++] = (hone_safetensors_pair){"format", format};
    for (size_t i = 0; same && i < n_source; i++) {
        const hone_metadata *entry = hone_checkpoint_metadata(plan->src, i);
        if (strcmp(entry->key.data, "format") != 0 && strncmp(entry->key.data, "hone.", 5) != 0)
            pairs[n++] = (hone_safetensors_pair){entry->key.data, entry->v.string.data};
    }
    pairs[n++] = (hone_safetensors_pair){"hone.version", hone_version()};
    pairs[n++] = (hone_safetensors_pair){"hone.recipe", recipe};
    if (texts[0])
        pairs[n++] = (hone_safetensors_pair){HONE_TEXT_MARKS_KEY, texts};
    *out = pairs;
    *n_out = n;
    return HONE_OK;
}

static hone_status lay_out(hone_plan *plan, const hone_type_choice *choice, const hone_convert_options *opts,
                           hone_error *err)
{
    hone_safetensors_pair *metadata;
    size_t n_metadata;
    HONE_TRY(hone_plan_put_safetensors_metadata(plan, opts, "pt", &metadata, &n_metadata, err));
    HONE_TRY(hone_plan_lay_out_shards(plan, opts->shard_nbytes, metadata, n_metadata, err));
    const bool retyped = !hone_type_keeps(choice) || any_retyped(plan);
    return hone_sidecars_plan(plan, retyped, torch_dtype(plan), NULL, false, err);
}

void hone_put_safetensors_checksums(const hone_output_file *file, const uint64_t *checksums, uint8_t *header)
{
    hone_safetensors_put_sums(header, file->header_nbytes, file->checksums_at, file->header_sum_at, checksums,
                              file->n_tensors);
}

const hone_target hone_target_safetensors = {
    .name = "safetensors",
    .is_directory = true,
    .plan = plan_tensors,
    .settle = settle,
    .lay_out = lay_out,
    .put_checksums = hone_put_safetensors_checksums,
};
