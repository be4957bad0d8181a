/* SPDX-License-Identifier: MIT */
/*
 * Directories of group-quantized safetensors, in the layouts of compressed-tensors, GPTQ, AWQ and MLX: the linear
 * layers as codes, scales and zeros, everything else as floats of the scales' type, config.json with what the loaders
 * look for.
 */
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "base/fail.h"
#include "base/mem.h"
#include "convert/grid_parts.h"
#include "convert/sidecars.h"
#include "convert/target.h"
#include "formats/sources.h"
#include "verify/transform.h"

/* The oldest version whose loaders read codes of 3, 5 and 6 bits as one dense stream is older; this one was compared.
 */
static const char COMPRESSED_VERSION[] = "0.20.0";
static const char WEIGHT[] = ".weight";

static bool ends_with(const char *s, const char *suffix)
{
    const size_t len = strlen(s), n = strlen(suffix);
    return len >= n && strcmp(s + len - n, suffix) == 0;
}

/* The module P of a matrix P.weight; 0 if it is none. */
static size_t module_len(const hone_tensor *t)
{
    return t->n_dims == 2 && ends_with(t->name, WEIGHT) ? strlen(t->name) - (sizeof WEIGHT - 1) : 0;
}

/* Embeddings are matrices of floats everywhere but in MLX; the head is left alone by the same tools. */
static bool is_embedding(const hone_tensor *t)
{
    return strstr(t->name, "embed") != NULL || ends_with(t->name, "wte.weight") || ends_with(t->name, "wpe.weight");
}

/* Layers are numbered in a list named so by every decoder of transformers whose linear layers are (out, in). A gate
 * that chooses experts is small, and its errors are not. */
static bool is_linear_of_layer(const hone_tensor *t)
{
    return strstr(t->name, "layers.") != NULL && !is_embedding(t) && !ends_with(t->name, ".gate.weight") &&
           !ends_with(t->name, ".router.weight");
}

static bool is_wanted(const hone_plan *plan, const hone_tensor *t)
{
    if (module_len(t) == 0 || !hone_dtype_describe(t->dtype)->is_float)
        return false;
    if (plan->grid.rule == HONE_GRID_MLX)
        return is_linear_of_layer(t) || is_embedding(t) || strcmp(t->name, "lm_head.weight") == 0;
    return is_linear_of_layer(t);
}

static hone_status add_weight(hone_plan *plan, const hone_tensor *t, uint64_t group, hone_error *err)
{
    hone_grid_weight *grown = hone_grow(plan->weights, &plan->cap_weights, plan->n_weights + 1, sizeof *grown);
    if (!grown)
        return hone_fail_nomem(err, sizeof *grown);
    plan->weights = grown;
    plan->weights[plan->n_weights] = (hone_grid_weight){.source = t,
                                                        .grid = plan->grid,
                                                        .out = t->shape[0],
                                                        .in = t->shape[1],
                                                        .group = group,
                                                        .parts = {SIZE_MAX, SIZE_MAX, SIZE_MAX}};
    char *stem = hone_arena_copy(&plan->arena, t->name, module_len(t) + 1);
    if (!stem)
        return hone_fail_nomem(err, strlen(t->name));
    return hone_grid_add_parts(plan, plan->n_weights++, stem, err);
}

static hone_status plan_tensors(const hone_context *ctx, hone_plan *plan, hone_error *err)
{
    plan->grid.search = plan->search == HONE_SEARCH_BEST ? hone_best_kernels_for(ctx->cpu) : NULL;
    if (!plan->src->config)
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, NULL,
                         "%s needs a source with a config.json in the layout of Hugging Face", plan->target->name);
    for (size_t i = 0; i < hone_checkpoint_n_tensors(plan->src); i++) {
        const hone_tensor *t = hone_checkpoint_tensor(plan->src, i);
        const char *why = "";
        if (is_wanted(plan, t) && t->shape[0] > 0 && t->shape[1] > 0) {
            const uint64_t group = plan->grid_group ? plan->grid_group : t->shape[1];
            if (hone_grid_fits(&plan->grid, t->shape[0], t->shape[1], group, &why)) {
                HONE_TRY(add_weight(plan, t, group, err));
                continue;
            }
        }
        HONE_TRY(hone_plan_add(plan, (hone_planned_tensor){.source = t, .any_value = true}, err, "%s", t->name));
        plan->tensors[plan->n_tensors - 1].why = why;
    }
    if (plan->n_weights == 0)
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, NULL, "no linear layer that %s could quantize",
                         plan->target->name);
    return HONE_OK;
}

/* The codes stand for the weight, and carry its rows; the other parts are written along with them. */
static void settle_part(const hone_plan *plan, hone_planned_tensor *t)
{
    const hone_grid_weight *w = &plan->weights[t->weight - 1];
    static const char *const whys[] = {"codes", "scales", "zeros"};
    t->n_rows = t->part == HONE_PART_CODES ? w->out : 0;
    t->row_nelems = t->part == HONE_PART_CODES ? w->in : 1;
    t->why = whys[t->part];
}

static hone_status settle(const hone_context *ctx, const hone_plan *plan, const hone_type_choice *choice,
                          hone_planned_tensor *t, hone_error *err)
{
    if (t->weight) {
        settle_part(plan, t);
        return HONE_OK;
    }
    if (t->bytes) {
        t->n_rows = t->shape[0];
        t->row_nelems = 1;
        return HONE_OK;
    }
    const char *why = t->why;
    hone_plan_settle_stored(t);
    t->dtype = t->source->dtype;
    if (hone_dtype_describe(t->dtype)->is_float)
        HONE_TRY(hone_type_choose_float(ctx, plan, choice, t, err));
    if (why[0])
        t->why = why;
    return HONE_OK;
}

/* --- config.json ----------------------------------------------------------------------------------------------------
 */

/* Calls put() with the module path of every matrix that stayed as it was, embeddings excepted. */
static void each_left_alone(const hone_plan *plan, void (*put)(json_t *to, const char *module), json_t *to)
{
    for (size_t i = 0; i < plan->n_tensors; i++) {
        const hone_planned_tensor *t = &plan->tensors[i];
        if (t->weight || !t->source || module_len(t->source) == 0 ||
            (is_embedding(t->source) && plan->grid.rule != HONE_GRID_MLX))
            continue;
        char name[256];
        (void)snprintf(name, sizeof name, "%.*s", (int)module_len(t->source), t->source->name);
        put(to, name);
    }
}

static void put_name(json_t *list, const char *module)
{
    (void)json_array_append_new(list, json_string(module));
}

static void put_false(json_t *object, const char *module)
{
    (void)json_object_set_new(object, module, json_false());
}

/* GPTQModel's way to leave a module alone: a pattern that matches it, behind "-:". */
static void put_pattern(json_t *object, const char *module)
{
    char pattern[600] = "-:^";
    size_t len = 3;
    for (const char *p = module; *p && len < sizeof pattern - 4; p++) {
        if (*p == '.')
            pattern[len++] = '\\';
        pattern[len++] = *p;
    }
    pattern[len++] = '$';
    pattern[len] = '\0';
    (void)json_object_set_new(object, pattern, json_object());
}

static json_t *compressed_config(const hone_plan *plan, json_int_t group)
{
    json_t *ignore = json_array();
    each_left_alone(plan, put_name, ignore);
    if (!hone_checkpoint_find(plan->src, "lm_head.weight")) /* a tied head is a Linear all the same */
        put_name(ignore, "lm_head");
    json_t *weights =
        json_pack("{s:i, s:s, s:b, s:s, s:o, s:n, s:b, s:n, s:s, s:{}}", "num_bits", (int)plan->grid.bits, "type",
                  "int", "symmetric", (int)plan->grid.symmetric, "strategy", group > 0 ? "group" : "channel",
                  "group_size", group > 0 ? json_integer(group) : json_null(), "block_structure", "dynamic", 0,
                  "actorder", "observer", "minmax", "observer_kwargs");
    return json_pack("{s:s, s:s, s:s, s:n, s:o, s:n, s:s, s:{s:{s:[s], s:o, s:n, s:n, s:s}}}", "quant_method",
                     "compressed-tensors", "format", "pack-quantized", "quantization_status", "compressed",
                     "global_compression_ratio", "ignore", ignore, "kv_cache_scheme", "version", COMPRESSED_VERSION,
                     "config_groups", "group_0", "targets", "Linear", "weights", weights, "input_activations",
                     "output_activations", "format", "pack-quantized");
}

static json_t *gptq_config(const hone_plan *plan, json_int_t group)
{
    json_t *dynamic = json_object();
    each_left_alone(plan, put_pattern, dynamic);
    char quantizer[64];
    (void)snprintf(quantizer, sizeof quantizer, "hone:%s", hone_version());
    json_t *config = json_pack("{s:i, s:I, s:b, s:b, s:b, s:b, s:s, s:s, s:s, s:{s:[s]}}", "bits", (int)plan->grid.bits,
                               "group_size", group, "desc_act", 0, "sym", (int)plan->grid.symmetric, "lm_head", 0,
                               "true_sequential", 1, "quant_method", "gptq", "checkpoint_format", "gptq", "pack_dtype",
                               "int32", "meta", "quantizer", quantizer);
    (void)json_object_del(dynamic, "-:^lm_head$"); /* "lm_head" says so */
    if (json_object_size(dynamic) > 0)
        (void)json_object_set(config, "dynamic", dynamic);
    json_decref(dynamic);
    return config;
}

static json_t *awq_config(const hone_plan *plan, json_int_t group)
{
    json_t *left = json_array();
    each_left_alone(plan, put_name, left);
    if (json_array_size(left) == 0)
        put_name(left, "lm_head");
    return json_pack("{s:s, s:i, s:I, s:b, s:s, s:o}", "quant_method", "awq", "bits", (int)plan->grid.bits,
                     "group_size", group, "zero_point", 1, "version", "gemm", "modules_to_not_convert", left);
}

static json_t *mlx_config(const hone_plan *plan, json_int_t group)
{
    json_t *config = json_pack("{s:I, s:i, s:s}", "group_size", group, "bits", (int)plan->grid.bits, "mode", "affine");
    each_left_alone(plan, put_false, config);
    return config;
}

static json_t *quantization_config(const hone_plan *plan)
{
    const json_int_t group = plan->grid_group ? (json_int_t)plan->grid_group : -1;
    switch (plan->grid.rule) {
    case HONE_GRID_COMPRESSED:
        return compressed_config(plan, group);
    case HONE_GRID_GPTQ:
        return gptq_config(plan, group);
    case HONE_GRID_AWQ:
        return awq_config(plan, group);
    case HONE_GRID_MLX:
        return mlx_config(plan, group);
    }
    return NULL;
}

static hone_status lay_out(hone_plan *plan, const hone_type_choice *choice, const hone_convert_options *opts,
                           hone_error *err)
{
    (void)choice;
    const bool mlx = plan->grid.rule == HONE_GRID_MLX;
    hone_safetensors_pair *metadata;
    size_t n_metadata;
    HONE_TRY(hone_plan_put_safetensors_metadata(plan, opts, mlx ? "mlx" : "pt", &metadata, &n_metadata, err));
    HONE_TRY(hone_plan_lay_out_shards(plan, opts->shard_nbytes, metadata, n_metadata, err));
    for (size_t i = 0; i < plan->n_tensors; i++)
        if (plan->tensors[i].weight)
            plan->weights[plan->tensors[i].weight - 1].parts[plan->tensors[i].part] = i;
    json_t *config = quantization_config(plan);
    if (!config)
        return hone_fail_nomem(err, 0);
    const hone_dtype stored = plan->grid.stored;
    const char *dtype = stored == HONE_F16 ? "float16" : stored == HONE_BF16 ? "bfloat16" : "float32";
    const hone_status status = hone_sidecars_plan(plan, true, dtype, config, mlx, err);
    json_decref(config);
    return status;
}

/* --- options --------------------------------------------------------------------------------------------------------
 */

static hone_status refuse(hone_error *err, const char *target, const char *what)
{
    return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "%s has no %s", target, what);
}

static bool is_group(uint32_t group)
{
    return group == 0 || group == 16 || group == 32 || group == 64 || group == 128 || group == 256;
}

static hone_status check_options(const hone_plan *plan, const hone_grid_options *o, hone_error *err)
{
    const char *name = plan->target->name;
    const hone_grid_rule rule = plan->grid.rule;
    const unsigned bits = o->bits;
    if (!(bits == 2 || bits == 3 || bits == 4 || bits == 5 || bits == 6 || bits == 8) ||
        (rule == HONE_GRID_AWQ && bits != 4) || (rule == HONE_GRID_GPTQ && (bits == 5 || bits == 6)))
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "%s has no codes of %u bits", name, bits);
    if (!is_group(o->group) || (rule == HONE_GRID_MLX && (o->group < 32 || o->group > 128)))
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "%s has no groups of %u columns", name,
                         (unsigned)o->group);
    if (o->symmetric && (rule == HONE_GRID_AWQ || rule == HONE_GRID_MLX))
        return refuse(err, name, "symmetric grid");
    const bool only_f16 = rule == HONE_GRID_AWQ || rule == HONE_GRID_GPTQ;
    if (o->scale != HONE_INVALID && o->scale != HONE_F16 &&
        (only_f16 || (o->scale != HONE_BF16 && o->scale != HONE_F32)))
        return refuse(err, name, "scales of that type");
    return HONE_OK;
}

/* Scales are of the model's type by custom: bf16 stays, everything else becomes f16. */
static hone_dtype default_scale(const hone_plan *plan)
{
    if (plan->grid.rule == HONE_GRID_AWQ || plan->grid.rule == HONE_GRID_GPTQ)
        return HONE_F16;
    for (size_t i = 0; i < hone_checkpoint_n_tensors(plan->src); i++)
        if (is_wanted(plan, hone_checkpoint_tensor(plan->src, i)))
            return hone_transform_stored_dtype(hone_checkpoint_tensor(plan->src, i)) == HONE_BF16 ? HONE_BF16
                                                                                                  : HONE_F16;
    return HONE_F16;
}

static hone_status prepare(hone_plan *plan, hone_grid_rule rule, hone_convert_options *opts, hone_error *err)
{
    plan->grid.rule = rule;
    HONE_TRY(check_options(plan, &opts->grid, err));
    if (opts->search == HONE_SEARCH_FAST)
        return refuse(err, plan->target->name, "fast search: its own rule, the reference, is one pass");
    if (opts->imatrix && opts->search == HONE_SEARCH_REFERENCE)
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL,
                         "the rule of %s looks at no importance (use the best search with an importance matrix)",
                         plan->target->name);
    plan->grid = (hone_grid){
        .rule = rule,
        .bits = opts->grid.bits,
        .symmetric = opts->grid.symmetric,
        .stored = opts->grid.scale,
    };
    if (plan->grid.stored == HONE_INVALID)
        plan->grid.stored = default_scale(plan);
    plan->grid_group = opts->grid.group;
    opts->type = hone_dtype_describe(plan->grid.stored)->name; /* of everything that is not quantized */
    return HONE_OK;
}

static hone_status prepare_compressed(hone_plan *plan, hone_convert_options *opts, hone_error *err)
{
    return prepare(plan, HONE_GRID_COMPRESSED, opts, err);
}

static hone_status prepare_gptq(hone_plan *plan, hone_convert_options *opts, hone_error *err)
{
    return prepare(plan, HONE_GRID_GPTQ, opts, err);
}

static hone_status prepare_awq(hone_plan *plan, hone_convert_options *opts, hone_error *err)
{
    return prepare(plan, HONE_GRID_AWQ, opts, err);
}

static hone_status prepare_mlx(hone_plan *plan, hone_convert_options *opts, hone_error *err)
{
    return prepare(plan, HONE_GRID_MLX, opts, err);
}

/* NOLINTBEGIN(bugprone-macro-parentheses): names of variables and strings that are joined */
#define GRID_TARGET(name_, prepare_)                                                                                   \
    {                                                                                                                  \
        .name = name_, .is_directory = true, .weighs = true, .prepare = prepare_, .plan = plan_tensors,                \
        .settle = settle, .lay_out = lay_out, .put_checksums = hone_put_safetensors_checksums                          \
    }
/* NOLINTEND(bugprone-macro-parentheses) */

const hone_target hone_target_compressed_tensors = GRID_TARGET("compressed-tensors", prepare_compressed);
const hone_target hone_target_gptq = GRID_TARGET("gptq", prepare_gptq);
const hone_target hone_target_awq = GRID_TARGET("awq", prepare_awq);
const hone_target hone_target_mlx = GRID_TARGET("mlx", prepare_mlx);
