/* SPDX-License-Identifier: MIT */
/* Planning: everything about the output is settled here, before any of it exists. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <xxhash.h>

#include "base/arith.h"
#include "base/fail.h"
#include "base/mem.h"
#include "convert/budget_types.h"
#include "convert/correction.h"
#include "convert/fold_scales.h"
#include "convert/grid_parts.h"
#include "convert/importance.h"
#include "convert/method_choice.h"
#include "convert/moments.h"
#include "convert/plan_impl.h"
#include "convert/row_reader.h"
#include "convert/sequential_run.h"
#include "convert/target.h"
#include "formats/decode.h"
#include "formats/imatrix.h"
#include "formats/sources.h"
#include "quantize/encode.h"
#include "quantize/sequential.h"
#include "verify/transform.h"

enum { TARGET_CHUNK_NELEMS = 1 << 18, TARGET_GRID_CHUNK_NELEMS = 1 << 20, TARGET_TURNED_CHUNK_NELEMS = 1 << 21 };

HONE_PRINTF(2, 0)
static hone_status format_name(hone_plan *plan, const char *format, va_list args, const char **out, hone_error *err)
{
    va_list again;
    va_copy(again, args);
    const int len = vsnprintf(NULL, 0, format, args);
    char *name = len < 0 ? NULL : hone_arena_alloc(&plan->arena, (size_t)len + 1, 1);
    if (name)
        (void)vsnprintf(name, (size_t)len + 1, format, again);
    va_end(again);
    *out = name;
    return name ? HONE_OK : hone_fail_nomem(err, (uint64_t)len);
}

hone_status hone_plan_add(hone_plan *plan, hone_planned_tensor t, hone_error *err, const char *name, ...)
{
    va_list args;
    va_start(args, name);
    const hone_status status = format_name(plan, name, args, &t.name, err);
    va_end(args);
    HONE_TRY(status);
    hone_planned_tensor *grown = hone_grow(plan->tensors, &plan->cap_tensors, plan->n_tensors + 1, sizeof t);
    if (!grown)
        return hone_fail_nomem(err, (plan->n_tensors + 1) * sizeof t);
    plan->tensors = grown;
    if (t.source) {
        t.n_dims = t.source->n_dims;
        memcpy(t.shape, t.source->shape, sizeof t.shape);
        if (t.order == HONE_ROWS_TRANSPOSE && t.n_dims == 2) {
            t.shape[0] = t.source->shape[1];
            t.shape[1] = t.source->shape[0];
        }
    }
    t.why = "";
    plan->tensors[plan->n_tensors++] = t;
    return HONE_OK;
}

hone_status hone_plan_source(const hone_plan *plan, bool required, const hone_tensor **out, hone_error *err,
                             const char *name, ...)
{
    char buf[128];
    va_list args;
    va_start(args, name);
    (void)vsnprintf(buf, sizeof buf, name, args);
    va_end(args);
    *out = hone_checkpoint_find(plan->src, buf);
    if (!*out && required)
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, buf, "missing from the checkpoint");
    return HONE_OK;
}

/* "2048, 128" */
static void print_dims(const uint64_t *dims, unsigned n, char *buf, size_t cap)
{
    size_t len = 0;
    buf[0] = '\0';
    for (unsigned i = 0; i < n && len < cap; i++)
        len += (size_t)snprintf(buf + len, cap - len, i ? ", %llu" : "%llu", (unsigned long long)dims[i]);
}

static hone_status check_dims(const hone_tensor *t, const uint64_t *wanted, unsigned n, hone_error *err)
{
    bool same = t->n_dims == n;
    for (unsigned i = 0; same && i < n; i++)
        same = t->shape[i] == wanted[i];
    if (same)
        return HONE_OK;
    char shape[192], asked[96];
    print_dims(t->shape, t->n_dims, shape, sizeof shape);
    print_dims(wanted, n, asked, sizeof asked);
    return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, t->name, "has shape [%s], the configuration says [%s]",
                     shape, asked);
}

hone_status hone_plan_check_shape(const hone_tensor *t, uint64_t rows, uint64_t cols, hone_error *err)
{
    return check_dims(t, (uint64_t[]){rows, cols}, cols ? 2 : 1, err);
}

hone_status hone_plan_check_stack(const hone_tensor *t, uint64_t n, uint64_t rows, uint64_t cols, hone_error *err)
{
    return check_dims(t, (uint64_t[]){n, rows, cols}, 3, err);
}

hone_status hone_plan_check_all_used(const hone_plan *plan, bool tied,
                                     bool (*is_derived)(const hone_tensor *t, bool tied), hone_error *err)
{
    const size_t n = hone_checkpoint_n_tensors(plan->src);
    for (size_t i = 0; i < n; i++) {
        const hone_tensor *t = hone_checkpoint_tensor(plan->src, i), *stack = hone_checkpoint_stack_of(plan->src, t);
        bool used = is_derived(t, tied);
        for (size_t j = 0; j < plan->n_tensors && !used; j++)
            used = plan->tensors[j].source == t || (stack && plan->tensors[j].source == stack);
        if (!used)
            return hone_fail(err, HONE_ERROR_UNSUPPORTED, t->offset, t->name, "has no place in this architecture");
    }
    return HONE_OK;
}

uint64_t hone_source_row(const hone_planned_tensor *t, uint64_t r)
{
    if (t->order != HONE_ROWS_INTERLEAVE_HALVES)
        return r;
    const uint64_t head_rows = t->n_rows / t->n_heads;
    const uint64_t head = r / head_rows, within = r % head_rows;
    return head * head_rows + within % 2 * (head_rows / 2) + within / 2;
}

/* Rows and row length. A vector is one row unless its elements move: then each element is a row of its own. */
hone_status hone_plan_settle_rows(hone_planned_tensor *t, hone_error *err)
{
    t->n_rows = 1;
    t->row_nelems = t->n_dims ? t->shape[t->n_dims - 1] : 1;
    for (unsigned i = 0; i + 1 < t->n_dims; i++)
        if (!hone_mul_u64(t->n_rows, t->shape[i], &t->n_rows))
            return hone_fail(err, HONE_ERROR_LIMIT, HONE_NO_OFFSET, t->name, "shape overflows");
    if (t->order == HONE_ROWS_TRANSPOSE && (t->n_dims != 2 || hone_dtype_describe(t->source->dtype)->is_quantized))
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, t->name, "only plain matrices can be transposed");
    if (t->order == HONE_ROWS_INTERLEAVE_HALVES && t->n_dims == 1) {
        t->n_rows = t->row_nelems;
        t->row_nelems = 1;
    }
    if (t->order == HONE_ROWS_INTERLEAVE_HALVES && t->n_rows % (2 * (uint64_t)t->n_heads) != 0)
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, t->name, "%llu rows are no %u heads of even size",
                         (unsigned long long)t->n_rows, t->n_heads);
    return HONE_OK;
}

/* A part of a weight: its size is that of its shape; the source is read once, for the codes. */
static hone_status settle_part(hone_plan *plan, hone_planned_tensor *t, hone_error *err)
{
    hone_tensor stored = {.dtype = t->dtype, .n_dims = t->n_dims};
    memcpy(stored.shape, t->shape, sizeof stored.shape);
    if (hone_tensor_measure(&stored))
        return hone_fail(err, HONE_ERROR_LIMIT, HONE_NO_OFFSET, t->name, "too large");
    t->nbytes = stored.nbytes;
    plan->input_nbytes += t->part == HONE_PART_CODES ? t->source->nbytes : 0;
    return HONE_OK;
}

static hone_status settle_tensors(const hone_context *ctx, hone_plan *plan, const hone_type_choice *choice,
                                  hone_error *err)
{
    for (size_t i = 0; i < plan->n_tensors; i++) {
        hone_planned_tensor *t = &plan->tensors[i];
        HONE_TRY(plan->target->settle(ctx, plan, choice, t, err));
        if (t->weight) {
            HONE_TRY(settle_part(plan, t, err));
            continue;
        }
        hone_status status = hone_dtype_row_nbytes(t->dtype, t->row_nelems, &t->row_nbytes);
        if (status != HONE_OK || !hone_mul_u64(t->row_nbytes, t->n_rows, &t->nbytes))
            return hone_fail(err, HONE_ERROR_LIMIT, HONE_NO_OFFSET, t->name, "too large");
        plan->input_nbytes += t->source ? t->source->nbytes : 0;
        if (t->bytes || (t->any_value && t->dtype == t->source->dtype))
            continue; /* copied, never decoded */
        if (!hone_encoder(t->dtype, plan->search, ctx->cpu))
            return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, t->name, "nothing encodes %s",
                             hone_dtype_describe(t->dtype)->name);
        if (t->source && !hone_decoder(t->source->dtype, ctx->cpu))
            return hone_fail(err, HONE_ERROR_UNSUPPORTED, t->source->offset, t->source->name, "nothing decodes %s",
                             hone_dtype_describe(t->source->dtype)->name);
    }
    return HONE_OK;
}

/* A file by its name, whatever its folder, and by its first bytes: of a GGUF file, the header with its checksums. NULL:
 * it cannot be read, or out of memory. */
static json_t *describe_file(const hone_file *file)
{
    enum { HEAD_NBYTES = 1 << 20 };
    const char *slash = strrchr(file->path, '/');
    const size_t nbytes = file->nbytes < HEAD_NBYTES ? (size_t)file->nbytes : HEAD_NBYTES;
    void *head = hone_alloc(nbytes, 1);
    hone_error ignored;
    json_t *out = NULL;
    if (head && hone_file_read(file, 0, head, nbytes, &ignored) == HONE_OK) {
        char sum[17];
        (void)snprintf(sum, sizeof sum, "%016llx",
                       (unsigned long long)XXH3_64bits_withSeed(head, nbytes, file->nbytes));
        out = json_pack("{s:s, s:s}", "file", slash ? slash + 1 : file->path, "xxh3", sum);
    }
    hone_release(head);
    return out;
}

hone_status hone_plan_recipe(hone_plan *plan, const hone_convert_options *opts, const char **out, hone_error *err)
{
    json_t *rules = json_array();
    for (size_t i = 0; rules && i < opts->n_rules; i++)
        (void)json_array_append_new(
            rules, json_pack("[s,s]", opts->rules[i].pattern, hone_dtype_describe(opts->rules[i].dtype)->name));
    const char *architecture = hone_checkpoint_architecture(plan->src);
    const char *type = opts->budget ? "budget" : opts->type ? opts->type : "as stored";
    json_t *recipe =
        json_pack("{s:s, s:s, s:b, s:o, s:{s:s, s:s}}", "type", type, "search", hone_search_name(opts->search), "pure",
                  (int)opts->pure, "rules", rules, "source", "format", hone_checkpoint_format(plan->src),
                  "architecture", architecture ? architecture : "");
    if (recipe && opts->output_dtype != HONE_INVALID)
        (void)json_object_set_new(recipe, "output_type", json_string(hone_dtype_describe(opts->output_dtype)->name));
    if (recipe && opts->embedding_dtype != HONE_INVALID)
        (void)json_object_set_new(recipe, "embedding_type",
                                  json_string(hone_dtype_describe(opts->embedding_dtype)->name));
    if (recipe && hone_checkpoint_transforms(plan->src))
        (void)json_object_set_new(recipe, "transforms", json_deep_copy(hone_checkpoint_transforms(plan->src)));
    if (recipe && opts->budget)
        (void)json_object_set_new(recipe, "budget", hone_budget_recipe(opts->budget));
    if (recipe && opts->method != HONE_METHOD_PLAIN)
        (void)json_object_set_new(recipe, "method", json_string(opts->method == HONE_METHOD_AUTO ? "auto" : "gptq"));
    if (recipe && opts->method == HONE_METHOD_AUTO)
        (void)json_object_set_new(recipe, "methods", hone_method_recipe(plan));
    if (recipe && plan->by_activation && opts->method != HONE_METHOD_PLAIN)
        (void)json_object_set_new(recipe, "order", json_string("activation"));
    if (recipe && opts->correction)
        (void)json_object_set_new(recipe, "correction", hone_correction_recipe(opts->correction));
    if (recipe && opts->fold)
        (void)json_object_set_new(recipe, "fold", hone_fold_recipe(opts->fold));
    if (recipe && plan->imatrix && !hone_importance_is_calibration(plan))
        (void)json_object_set_new(recipe, "imatrix", describe_file(hone_imatrix_file(plan->imatrix)));
    if (recipe && plan->calibration)
        (void)json_object_set_new(recipe, "calibration", describe_file(&plan->calibration->files[0]));
    if (recipe && plan->sequential)
        (void)json_object_set_new(recipe, "sequential", hone_sequential_recipe(plan));
    if (recipe && plan->n_weights) {
        json_t *grid = json_pack("{s:s, s:i, s:i, s:b}", "to", plan->target->name, "bits", (int)plan->grid.bits,
                                 "group", (int)plan->grid_group, "symmetric", (int)plan->grid.symmetric);
        (void)json_object_set_new(recipe, "grid", grid);
    }
    char *text = recipe ? json_dumps(recipe, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    *out = text ? hone_arena_copy(&plan->arena, text, strlen(text)) : NULL;
    free(text);
    json_decref(recipe);
    return *out ? HONE_OK : hone_fail(err, HONE_ERROR_NOMEM, HONE_NO_OFFSET, NULL, "out of memory");
}

/* What error feedback takes is set aside first. */
static hone_status settle_moments(const hone_context *ctx, hone_plan *plan, const hone_convert_options *opts,
                                  hone_error *err)
{
    if (!opts->calibration && !opts->sequential && (opts->method != HONE_METHOD_PLAIN || opts->correct))
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "%s needs a calibration file",
                         opts->correct ? "correction" : "error feedback");
    if (!opts->calibration && !opts->sequential)
        return HONE_OK;
    plan->method = opts->method;
    plan->by_activation = plan->n_weights && opts->order != HONE_ORDER_NATURAL;
    plan->corrects = opts->correct;
    HONE_TRY(hone_moments_open(ctx, plan, opts, err));
    HONE_TRY(hone_moments_assign(ctx, plan, err));
    hone_moments_count(plan);
    const uint64_t nbytes = plan->moments_nbytes + plan->thread_moments_nbytes * (unsigned)ctx->n_threads;
    if (nbytes < ctx->memory_nbytes / 8 * 7)
        return opts->method == HONE_METHOD_AUTO ? hone_method_choose(ctx, plan, err) : HONE_OK;
    return hone_fail(err, HONE_ERROR_NOMEM, HONE_NO_OFFSET, NULL,
                     "error feedback needs %llu bytes of working memory, the budget is %llu (--memory)",
                     (unsigned long long)(nbytes / 7 * 8), (unsigned long long)ctx->memory_nbytes);
}

static bool any_turned(const hone_plan *plan)
{
    for (size_t i = 0; i < plan->n_tensors; i++)
        if (hone_rows_are_turned(&plan->tensors[i]))
            return true;
    return false;
}

/* Streams take what the budget leaves. The model's weights come on top of it, as they do for every forward pass. */
static void settle_sequential_memory(const hone_context *ctx, hone_plan *plan)
{
    if (plan->memory_nbytes < ctx->memory_nbytes)
        plan->streams_max_nbytes = ctx->memory_nbytes - plan->memory_nbytes;
    if (plan->streams_nbytes <= plan->streams_max_nbytes)
        plan->memory_nbytes += plan->streams_nbytes;
    plan->memory_nbytes += plan->weights_nbytes;
}

/* Working memory: for each thread, and some more so that threads need not wait for each other, one chunk as stored, as
 * f32, and as encoded. */
static hone_status settle_memory(const hone_context *ctx, hone_plan *plan, hone_error *err)
{
    uint64_t widest = 0;
    const hone_planned_tensor *widest_tensor = NULL;
    for (size_t i = 0; i < plan->n_tensors; i++) {
        const hone_planned_tensor *t = &plan->tensors[i];
        const uint64_t nelems = t->row_nelems * (t->weight ? HONE_GRID_ROWS_UNIT : 1); /* the least chunk */
        if (nelems <= widest)
            continue;
        widest = nelems;
        widest_tensor = t;
    }
    /* The widest source, f32 before and after a transpose, the widest target, and a row's importance. */
    const uint64_t elem_nbytes = 8 + 4 + 4 + 4 + (plan->imatrix ? 4 : 0);
    const uint64_t set_aside = plan->moments_nbytes + plan->thread_moments_nbytes * (unsigned)ctx->n_threads;
    const uint64_t changing = hone_transform_nbytes(plan->src); /* weights while they are changed */
    if (changing >= ctx->memory_nbytes - set_aside)
        return hone_fail(err, HONE_ERROR_NOMEM, HONE_NO_OFFSET, NULL,
                         "changed weights take %llu bytes of working memory, the budget is %llu (--memory)",
                         (unsigned long long)changing, (unsigned long long)(ctx->memory_nbytes - set_aside));
    const uint64_t budget = ctx->memory_nbytes - set_aside - changing;
    const uint64_t per_thread = budget / (unsigned)ctx->n_threads / elem_nbytes;
    /* Chunks that are written or read in short runs want to be large. */
    const uint64_t target = any_turned(plan)  ? TARGET_TURNED_CHUNK_NELEMS
                            : plan->n_weights ? TARGET_GRID_CHUNK_NELEMS
                                              : TARGET_CHUNK_NELEMS;
    uint64_t nelems = per_thread < target ? per_thread : target;
    plan->n_threads = ctx->n_threads;
    if (nelems < widest) { /* a chunk is at least a row; fewer threads if that is what it takes */
        const uint64_t fits = budget / (widest * elem_nbytes);
        if (fits == 0)
            return hone_fail(err, HONE_ERROR_NOMEM, HONE_NO_OFFSET, widest_tensor->name,
                             "one row needs %llu bytes of working memory, the budget is %llu (--memory)",
                             (unsigned long long)(widest * elem_nbytes), (unsigned long long)ctx->memory_nbytes);
        if (fits < (unsigned)plan->n_threads)
            plan->n_threads = (int)fits;
        nelems = widest;
    }
    plan->chunk_nelems = (size_t)nelems;
    plan->n_slots = plan->n_threads;
    if (plan->thread_moments_nbytes == 0) { /* else there is much to compute for a chunk, and little to wait for */
        const uint64_t fits = budget / (nelems * elem_nbytes), wanted = 4 * (uint64_t)plan->n_threads;
        plan->n_slots = (int)(fits < wanted ? fits : wanted);
    }
    plan->memory_nbytes = changing + plan->moments_nbytes +
                          (nelems * elem_nbytes + plan->thread_moments_nbytes) * (unsigned)plan->n_slots;
    settle_sequential_memory(ctx, plan);
    return HONE_OK;
}

static hone_status build(const hone_context *ctx, hone_plan *plan, const hone_convert_options *given, hone_error *err)
{
    hone_convert_options complete = *given;
    const hone_convert_options *opts = &complete;
    if (plan->target->prepare)
        HONE_TRY(plan->target->prepare(plan, &complete, err));
    if (opts->imatrix)
        HONE_TRY(hone_importance_open(plan, opts->imatrix, err));
    hone_type_choice *choice = NULL;
    HONE_TRY(hone_type_choice_new(opts, &choice, err));
    hone_status status = plan->target->plan(ctx, plan, err);
    if (status == HONE_OK)
        status = settle_tensors(ctx, plan, choice, err);
    if (status == HONE_OK && plan->target->weighs)
        status = hone_importance_settle(ctx, plan, hone_type_file_type(choice), err);
    hone_fold_assign(opts->fold, plan);
    hone_correction_assign(opts->correction, plan);
    if (status == HONE_OK)
        status = settle_moments(ctx, plan, opts, err);
    if (status == HONE_OK)
        status = plan->target->lay_out(plan, choice, opts, err);
    if (status == HONE_OK)
        status = settle_memory(ctx, plan, err);
    hone_type_choice_free(choice);
    return status;
}

hone_status hone_plan_new(const hone_context *ctx, const hone_checkpoint *src, const hone_convert_options *opts,
                          hone_plan **out, hone_error *err)
{
    *out = NULL;
    const hone_target *target = hone_target_find(opts->to);
    if (!target)
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "nothing writes \"%s\"", opts->to);
    if (opts->budget && target != &hone_target_gguf)
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "a budget is for gguf");
    if (!opts->type && !opts->budget && !target->is_directory)
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "no type is named");
    if (opts->order == HONE_ORDER_ACTIVATION && (target == &hone_target_gguf || opts->method == HONE_METHOD_PLAIN))
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL,
                         "columns are ordered by activation where groups are coded with error feedback");
    if (opts->imatrix && !target->weighs)
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "%s has no use for an importance matrix",
                         target->name);
    hone_plan *plan = hone_calloc(1, sizeof *plan);
    if (!plan)
        return hone_fail_nomem(err, sizeof *plan);
    plan->src = src;
    plan->target = target;
    plan->search = opts->search;
    plan->min_expert_tokens = opts->min_expert_tokens ? (float)opts->min_expert_tokens : 64;
    plan->saturate = opts->saturate;
    plan->lean = opts->lean;
    hone_status status = build(ctx, plan, opts, err);
    if (status != HONE_OK) {
        hone_plan_free(plan);
        return hone_fail_in_file(err, status, hone_checkpoint_path(src));
    }
    *out = plan;
    return HONE_OK;
}

void hone_plan_free(hone_plan *plan)
{
    if (!plan)
        return;
    hone_gguf_free(plan->header);
    hone_imatrix_close(plan->imatrix);
    for (size_t i = 0; i < plan->n_files; i++)
        hone_release(plan->files[i].header);
    hone_release(plan->files);
    hone_release(plan->sidecars);
    hone_release(plan->weights);
    hone_release(plan->tensors);
    hone_checkpoint_close(plan->calibration);
    hone_sequential_close(plan->sequential);
    hone_arena_deinit(&plan->arena);
    hone_release(plan);
}

hone_plan_totals hone_plan_describe(const hone_plan *plan)
{
    uint64_t nelems = 0, nbytes = 0, output_nbytes = 0;
    for (size_t i = 0; i < plan->n_files; i++)
        output_nbytes += plan->files[i].nbytes;
    for (size_t i = 0; i < plan->n_tensors; i++) {
        nelems += plan->tensors[i].bytes ? 0 : plan->tensors[i].n_rows * plan->tensors[i].row_nelems;
        nbytes += plan->tensors[i].nbytes;
    }
    return (hone_plan_totals){
        .n_tensors = plan->n_tensors,
        .input_nbytes = plan->input_nbytes,
        .output_nbytes = output_nbytes,
        .memory_nbytes = plan->memory_nbytes,
        .moments_nbytes = plan->moments_nbytes,
        .changes_nbytes = plan->changes_nbytes,
        .weights_nbytes = plan->weights_nbytes,
        .streams_nbytes = plan->streams_nbytes,
        .streams_spilled = plan->streams_nbytes > plan->streams_max_nbytes,
        .bpw = nelems ? 8.0 * (double)nbytes / (double)nelems : 0,
        .n_imatrix_entries = plan->imatrix ? hone_imatrix_n_entries(plan->imatrix) : 0,
        .n_imatrix_unknown = plan->imatrix ? hone_imatrix_n_entries(plan->imatrix) - plan->n_known_entries : 0,
    };
}

hone_plan_tensor hone_plan_tensor_at(const hone_plan *plan, size_t i)
{
    static const char *const order_names[] = {
        [HONE_ROWS_AS_STORED] = "",
        [HONE_ROWS_INTERLEAVE_HALVES] = "interleave",
        [HONE_ROWS_TRANSPOSE] = "transpose",
    };
    const hone_planned_tensor *t = &plan->tensors[i];
    hone_plan_tensor out = {
        .name = t->name,
        .dtype = t->dtype,
        .n_dims = t->n_dims,
        .file = plan->files[t->file].name ? plan->files[t->file].name : "",
        .offset = t->offset,
        .nbytes = t->nbytes,
        .source = t->source ? t->source->name : "",
        .transform = !t->source  ? "computed"
                     : t->weight ? "quantize"
                                 : order_names[t->order],
        .why = t->why,
        .n_weights = t->bytes ? 0 : t->n_rows * t->row_nelems,
        .grid_bits = t->weight ? plan->grid.bits : 0,
        .has_moments = t->gram || t->expert_grams,
        .has_feedback = t->moments || t->expert_grams,
        .importance = t->importance,
        .n_zero_columns = t->entry ? t->entry->n_zeros : 0,
        .n_unseen = t->entry ? t->entry->n_unseen : 0,
        .n_experts = t->entry ? t->entry->n_mats : 0,
        .n_few = hone_importance_n_few(plan, t),
    };
    memcpy(out.shape, t->shape, sizeof out.shape);
    return out;
}
