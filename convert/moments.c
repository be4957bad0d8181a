/* SPDX-License-Identifier: MIT */
#include "convert/moments.h"

#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "convert/grid_parts.h"
#include "convert/importance.h"
#include "convert/sequential_run.h"
#include "convert/turned_gram.h"
#include "formats/imatrix_keys.h"
#include "formats/sources.h"
#include "quantize/calibration_keys.h"
#include "quantize/gptq.h"
#include "quantize/product_rate.h"
#include "quantize/sequential.h"

static const hone_metadata *list(const hone_checkpoint *file, const char *key)
{
    const hone_metadata *entry = hone_checkpoint_find_metadata(file, key);
    const bool strings = entry && entry->type == HONE_VALUE_ARRAY && entry->v.array.elem_type == HONE_VALUE_STRING;
    return strings ? entry : NULL;
}

static hone_status refuse(const hone_plan *plan, hone_status status, const char *item, const char *reason,
                          hone_error *err)
{
    (void)hone_fail(err, status, HONE_NO_OFFSET, item, "%s", reason);
    return hone_fail_in_file(err, status, hone_checkpoint_path(plan->calibration));
}

static hone_status open_file(hone_plan *plan, const char *path, hone_error *err)
{
    HONE_TRY(hone_checkpoint_open(path, NULL, &plan->calibration, err));
    const hone_metadata *weights = list(plan->calibration, HONE_CALIBRATION_WEIGHTS);
    const hone_metadata *grams = list(plan->calibration, HONE_CALIBRATION_GRAMS);
    const hone_metadata *made_for = hone_checkpoint_find_metadata(plan->calibration, HONE_IMATRIX_TRANSFORMS_KEY);
    const char *transforms = made_for && made_for->type == HONE_VALUE_STRING ? made_for->v.string.data : "";
    plan->turns_moments = !transforms[0] && !plan->src->transforms_stored;
    if (!plan->turns_moments && strcmp(transforms, hone_checkpoint_transforms_text(plan->src)) != 0)
        return refuse(plan, HONE_ERROR_ARG, NULL, "was made of this model under another rotation (--rotate)", err);
    if (!weights || !grams)
        return refuse(plan, HONE_ERROR_DATA, NULL, "holds no second moments (hone calibrate --hessian)", err);
    if (weights->v.array.count != grams->v.array.count)
        return refuse(plan, HONE_ERROR_DATA, HONE_CALIBRATION_GRAMS, "is not as long as the list of weights", err);
    return HONE_OK;
}

hone_status hone_moments_open(const hone_context *ctx, hone_plan *plan, const hone_convert_options *opts,
                              hone_error *err)
{
    if (opts->sequential)
        return hone_plan_open_sequential(ctx, plan, opts->sequential, err);
    if (opts->calibration)
        return open_file(plan, opts->calibration, err);
    return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "GPTQ needs a calibration file");
}

/* The tensor of second moments for a tensor, which GGUF calls `weight`, or NULL. */
static const hone_tensor *find(const hone_plan *plan, const hone_planned_tensor *t, const char *weight)
{
    if (plan->sequential)
        return hone_sequential_input_of(plan, t);
    const hone_metadata *weights = list(plan->calibration, HONE_CALIBRATION_WEIGHTS);
    const hone_metadata *grams = list(plan->calibration, HONE_CALIBRATION_GRAMS);
    for (uint64_t i = 0; i < weights->v.array.count; i++)
        if (strcmp(weights->v.array.strings[i].data, weight) == 0)
            return hone_checkpoint_find(plan->calibration, grams->v.array.strings[i].data);
    return NULL;
}

static hone_status read_count(const hone_plan *plan, const char *weight, float *count, hone_error *err)
{
    char name[160];
    (void)snprintf(name, sizeof name, "%s" HONE_COUNTS, weight);
    const hone_tensor *t = hone_checkpoint_find(plan->calibration, name);
    if (!t || t->dtype != HONE_F32 || t->nelems != 1)
        return refuse(plan, HONE_ERROR_DATA, name, "is missing, or no single count", err);
    HONE_TRY(hone_checkpoint_read(plan->calibration, t, 0, sizeof *count, count, err));
    if (!(*count > 0.0f && *count < 1e30f))
        return refuse(plan, HONE_ERROR_DATA, name, "is no count of tokens", err);
    return HONE_OK;
}

/* The bias of a matrix of blocks, or of codes on a grid, or NULL. */
const hone_planned_tensor *hone_plan_bias_of(const hone_plan *plan, const hone_planned_tensor *t)
{
    static const char weight[] = ".weight";
    const char *own = t->weight ? t->source->name : t->name;
    const size_t len = strlen(own), n = sizeof weight - 1;
    for (size_t i = 0; len > n && strcmp(own + len - n, weight) == 0 && i < plan->n_tensors; i++) {
        const char *name = plan->tensors[i].name;
        if (strncmp(name, own, len - n) == 0 && strcmp(name + len - n, ".bias") == 0)
            return &plan->tensors[i];
    }
    return NULL;
}

/* Sums of an input as the file has them become the means of what the tensor is given now. */
static hone_status turn_means(const hone_plan *plan, const hone_planned_tensor *t, float *means, hone_error *err)
{
    const size_t n = (size_t)t->row_nelems;
    double *x = hone_alloc(n, sizeof *x);
    if (!x)
        return hone_fail_nomem(err, n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = (double)means[i] / (double)t->n_tokens;
    if (plan->turns_moments)
        hone_transform_input(t->source, t->order == HONE_ROWS_TRANSPOSE, x);
    for (size_t i = 0; i < n; i++)
        means[i] = (float)(t->input_scale && !plan->turns_moments ? x[i] / (double)t->input_scale[i] : x[i]);
    hone_release(x);
    return HONE_OK;
}

/* The means of an input, where a bias can take up what coding does to them. */
static hone_status read_means(hone_plan *plan, hone_planned_tensor *t, hone_error *err)
{
    char name[160];
    const size_t len = strlen(t->gram->name), n = sizeof HONE_IN_GRAM - 1;
    (void)snprintf(name, sizeof name, "%.*s" HONE_IN_SUM, (int)(len > n ? len - n : 0), t->gram->name);
    const hone_tensor *sum = hone_checkpoint_find(plan->calibration, name);
    if (!hone_plan_bias_of(plan, t))
        return HONE_OK;
    if (!sum || sum->dtype != HONE_F32 || sum->nelems != t->row_nelems)
        return refuse(plan, HONE_ERROR_DATA, name, "is missing, or of another number of columns than the weight", err);
    float *means = hone_arena_alloc(&plan->arena, (size_t)sum->nelems, sizeof *means);
    if (!means)
        return hone_fail_nomem(err, sum->nelems * sizeof *means);
    HONE_TRY(hone_checkpoint_read(plan->calibration, sum, 0, (size_t)sum->nelems * sizeof *means, means, err));
    HONE_TRY(turn_means(plan, t, means, err));
    t->input_means = means;
    return HONE_OK;
}

static uint64_t n_columns(const hone_plan *plan, const hone_planned_tensor *t)
{
    return t->weight ? plan->weights[t->weight - 1].in : t->row_nelems;
}

static bool can_be_coded(const hone_plan *plan, const hone_planned_tensor *t)
{
    if (!t->weight)
        return hone_gptq_can(t->dtype);
    const hone_grid_weight *w = &plan->weights[t->weight - 1];
    return t->part == HONE_PART_CODES && hone_gptq_can_group((size_t)w->group, (size_t)w->in);
}

/* Tensors that share an input are coded by the same moments: less its means where all of them have a bias. */
static void agree_on_means(hone_plan *plan)
{
    for (size_t i = 0; i < plan->n_tensors; i++) {
        const hone_planned_tensor *t = &plan->tensors[i];
        for (size_t j = 0; t->gram && !t->input_means && j < plan->n_tensors; j++)
            if (plan->tensors[j].gram == t->gram)
                plan->tensors[j].input_means = NULL;
    }
}

/* Experts that are stacked in a tensor are coded one after the other, each by the moments of its own tokens. */
static hone_status assign_experts(hone_plan *plan, hone_planned_tensor *t, const char *name, hone_error *err)
{
    const bool possible = !t->weight && plan->method != HONE_METHOD_PLAIN;
    const hone_tensor *grams = possible && t->n_dims == 3 ? find(plan, t, name) : NULL;
    const uint64_t d = t->row_nelems;
    if (!grams)
        return HONE_OK;
    const uint64_t n = plan->sequential ? 1 : t->shape[0]; /* there, each has an input of its own */
    if (grams->dtype != HONE_F32 || d > UINT32_MAX || grams->nelems != n * (d * (d + 1) / 2))
        return refuse(plan, HONE_ERROR_DATA, grams->name, "is of other experts or columns than the weight", err);
    t->expert_grams = grams;
    return HONE_OK;
}

hone_status hone_moments_assign(const hone_context *ctx, hone_plan *plan, hone_error *err)
{
    size_t n_assigned = 0;
    if (plan->n_weights)
        HONE_TRY(hone_plan_name_codes(ctx, plan, err));
    for (size_t i = 0; i < plan->n_tensors; i++) {
        hone_planned_tensor *t = &plan->tensors[i];
        const char *name = t->gguf_name ? t->gguf_name : t->name;
        const bool can = can_be_coded(plan, t);
        const hone_tensor *moments = can && t->n_dims == 2 ? find(plan, t, name) : NULL;
        if (!moments) {
            if (can)
                HONE_TRY(assign_experts(plan, t, name, err));
            n_assigned += t->expert_grams != NULL;
            if (can && !t->expert_grams)
                hone_context_note(ctx, "%s: no second moments, coded without", t->name);
            continue;
        }
        const uint64_t d = n_columns(plan, t);
        if (moments->dtype != HONE_F32 || d > UINT32_MAX || moments->nelems != d * (d + 1) / 2)
            return refuse(plan, HONE_ERROR_DATA, moments->name, "is of another number of columns than the weight", err);
        if (plan->calibration)
            HONE_TRY(read_count(plan, name, &t->n_tokens, err));
        t->gram = moments;
        t->moments = plan->method == HONE_METHOD_PLAIN ? NULL : moments;
        if (plan->corrects)
            HONE_TRY(read_means(plan, t, err));
        n_assigned++;
    }
    agree_on_means(plan);
    if (n_assigned == 0 && plan->calibration)
        return refuse(plan, HONE_ERROR_DATA, NULL, "has second moments for none of the tensors to be quantized", err);
    return HONE_OK;
}

uint64_t hone_moments_nbytes(const hone_plan *plan, const hone_planned_tensor *t)
{
    const size_t ncols = (size_t)n_columns(plan, t);
    const bool turned = t->order == HONE_ROWS_TRANSPOSE;
    return hone_feedback_nbytes(ncols) + (plan->turns_moments ? hone_turned_gram_nbytes(t->source, turned, ncols) : 0);
}

/* What error feedback takes beside the chunks: at its peak, and for each thread. */
static uint64_t feedback_nbytes(const hone_plan *plan, uint64_t *per_thread_nbytes)
{
    uint64_t most = 0;
    *per_thread_nbytes = 0;
    for (size_t i = 0; i < plan->n_tensors; i++) {
        if (!plan->tensors[i].moments && !plan->tensors[i].expert_grams)
            continue;
        const uint64_t nbytes = hone_moments_nbytes(plan, &plan->tensors[i]);
        const uint64_t scratch = hone_gptq_scratch_nfloats((size_t)n_columns(plan, &plan->tensors[i])) * sizeof(float);
        most = nbytes > most ? nbytes : most;
        *per_thread_nbytes = scratch > *per_thread_nbytes ? scratch : *per_thread_nbytes;
    }
    return most;
}

static void count_sequential(hone_plan *plan)
{
    const hone_sequential_memory m = hone_sequential_memory_needed(plan->sequential);
    /* What is coded on a grid goes back as f32, twice what weights mostly take. */
    plan->weights_nbytes = (plan->n_weights ? 3 : 1) * m.weights_nbytes + m.pass_nbytes;
    plan->streams_nbytes = m.streams_nbytes;
    plan->moments_nbytes += m.moments_nbytes;
}

void hone_moments_count(hone_plan *plan)
{
    plan->moments_nbytes = feedback_nbytes(plan, &plan->thread_moments_nbytes);
    if (plan->sequential)
        count_sequential(plan);
}

struct triangle {
    const hone_checkpoint *file;
    const hone_tensor *tensor;
    uint64_t ncols;
    float n_tokens;
    uint64_t matrix;    /* which of several triangles */
    const float *scale; /* (ncols) that inputs are divided by; or NULL */
};

static hone_status read_row(void *user, size_t i, float *dst, hone_error *err)
{
    const struct triangle *t = user;
    const size_t n = (size_t)(t->ncols - i);
    const uint64_t others = t->matrix * (t->ncols * (t->ncols + 1) / 2);
    const uint64_t before = others + t->ncols * i - (uint64_t)i * (i - (i > 0)) / 2;
    HONE_TRY(hone_checkpoint_read(t->file, t->tensor, before * sizeof *dst, n * sizeof *dst, dst, err));
    for (size_t j = 0; j < n; j++)
        dst[j] /= t->scale ? t->n_tokens * (t->scale[i] * t->scale[i + j]) : t->n_tokens;
    return HONE_OK;
}

/* The moments of what a tensor is given now. A file of the model before it was changed has them turned, which folded
 * scales are a part of; one of the rotated model knows nothing of these. */
struct moments {
    struct triangle triangle;
    hone_turned_gram turned;
    const float *means; /* (ncols) that they are less; or NULL */
};

static struct triangle triangle_of(const hone_plan *plan, const hone_planned_tensor *t)
{
    return (struct triangle){
        .file = plan->calibration, .tensor = t->gram, .ncols = n_columns(plan, t), .n_tokens = t->n_tokens};
}

/* triangle: of t, or of one of its experts. */
static hone_status moments_init(const hone_context *ctx, const hone_plan *plan, const hone_planned_tensor *t,
                                struct triangle triangle, struct moments *out, hone_error *err)
{
    const size_t ncols = (size_t)triangle.ncols;
    triangle.scale = plan->turns_moments ? NULL : t->input_scale;
    out->triangle = triangle;
    out->turned = (hone_turned_gram){.read_row = read_row, .user = &out->triangle, .ncols = ncols};
    out->means = t->input_means;
    if (!plan->turns_moments)
        return HONE_OK;
    return hone_turned_gram_init(ctx, t->source, t->order == HONE_ROWS_TRANSPOSE, ncols, read_row, &out->triangle,
                                 &out->turned, err);
}

static hone_status moments_row(void *user, size_t i, float *dst, hone_error *err)
{
    struct moments *m = user;
    HONE_TRY(hone_turned_gram_row(&m->turned, i, dst, err));
    for (size_t j = i; m->means && j < m->triangle.ncols; j++)
        dst[j - i] -= m->means[i] * m->means[j];
    if (m->means && dst[0] < 0)
        dst[0] = 0; /* rounding */
    return HONE_OK;
}

hone_status hone_moments_diagonal(const hone_plan *plan, const hone_planned_tensor *t, float *dst, hone_error *err)
{
    const uint64_t n = n_columns(plan, t);
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t at = n * i - i * (i - (i > 0)) / 2;
        HONE_TRY(hone_checkpoint_read(plan->calibration, t->gram, at * sizeof *dst, sizeof *dst, &dst[i], err));
        dst[i] /= t->n_tokens;
    }
    return HONE_OK;
}

static hone_status make_feedback(const hone_context *ctx, const hone_plan *plan, const hone_planned_tensor *t,
                                 struct triangle triangle, hone_feedback *f, hone_error *err)
{
    struct moments m;
    hone_status status = moments_init(ctx, plan, t, triangle, &m, err);
    if (status == HONE_OK)
        status = (plan->by_activation ? hone_feedback_init_ordered : hone_feedback_init)(
            ctx, m.turned.ncols, (double)triangle.n_tokens, moments_row, &m, f, err);
    hone_turned_gram_deinit(&m.turned);
    return status == HONE_OK ? HONE_OK
                             : hone_fail_in_file(err, hone_fail_for(err, status, triangle.tensor->name),
                                                 hone_checkpoint_path(plan->calibration));
}

/*
 * What plain coding weighs columns by: the diagonal but for its last bits, which may end a search elsewhere. A row that
 * is guarded against its plain codes is to be guarded against those that it would really have.
 */
static hone_status take_importance(const hone_plan *plan, const hone_planned_tensor *t, hone_feedback *f,
                                   hone_error *err)
{
    uint64_t held = UINT64_MAX;
    const float *importance;
    if (!hone_importance_is_calibration(plan) || t->input_means || t->weight)
        return HONE_OK;
    const hone_status status = hone_importance_of_row(plan, t, 0, f->squares, &held, &importance, err);
    return status == HONE_OK ? HONE_OK : hone_fail_in_file(err, status, hone_checkpoint_path(plan->calibration));
}

hone_status hone_moments_prepare(const hone_context *ctx, const hone_plan *plan, const hone_planned_tensor *t,
                                 const hone_tensor **current, hone_feedback *f, hone_error *err)
{
    if (!t->gram || t->gram == *current)
        return HONE_OK;
    hone_feedback_deinit(f);
    *current = NULL;
    if (plan->sequential) {
        uint64_t n_tokens;
        HONE_TRY(hone_sequential_feedback(plan->sequential, (size_t)(t->gram - plan->inputs), 0, plan->by_activation, f,
                                          &n_tokens, err));
        *current = t->gram;
        return HONE_OK;
    }
    HONE_TRY(make_feedback(ctx, plan, t, triangle_of(plan, t), f, err));
    HONE_TRY(take_importance(plan, t, f, err));
    *current = t->gram;
    return HONE_OK;
}

static hone_status read_expert_count(const hone_plan *plan, const char *weight, uint64_t expert, float *count,
                                     hone_error *err)
{
    char name[160];
    (void)snprintf(name, sizeof name, "%s" HONE_COUNTS, weight);
    const hone_tensor *t = hone_checkpoint_find(plan->calibration, name);
    if (!t || t->dtype != HONE_F32 || t->nelems <= expert)
        return refuse(plan, HONE_ERROR_DATA, name, "is missing, or without a count for each expert", err);
    return hone_checkpoint_read(plan->calibration, t, expert * sizeof *count, sizeof *count, count, err);
}

hone_status hone_moments_prepare_expert(const hone_context *ctx, const hone_plan *plan, const hone_planned_tensor *t,
                                        uint64_t expert, hone_feedback *f, double *n_tokens, hone_error *err)
{
    hone_feedback_deinit(f);
    if (plan->sequential) {
        uint64_t n;
        const size_t input =
            (size_t)(t->moments ? t->moments - plan->inputs : t->expert_grams - plan->inputs + (ptrdiff_t)expert);
        const hone_status status = hone_sequential_feedback(plan->sequential, input, (uint64_t)plan->min_expert_tokens,
                                                            plan->by_activation, f, &n, err);
        *n_tokens = (double)n;
        return status;
    }
    float count;
    HONE_TRY(read_expert_count(plan, t->name, expert, &count, err));
    *n_tokens = (double)count;
    if (!(count >= plan->min_expert_tokens && count < 1e30f))
        return HONE_OK;
    const struct triangle triangle = {.file = plan->calibration,
                                      .tensor = t->expert_grams,
                                      .ncols = t->row_nelems,
                                      .n_tokens = count,
                                      .matrix = expert};
    return make_feedback(ctx, plan, t, triangle, f, err);
}

/* For each column of a row: error feedback (half a square of columns in several rounds), the shift of sequential
 * calibration, and what plain codes would cost; and the searches, which took 200 ns for a weight where products took
 * 0.03 for a multiplication. Rows on scales chosen for all of a row are coded nine times over. */
static double coding_work(const hone_plan *plan, const hone_planned_tensor *t)
{
    const double ncols = (double)n_columns(plan, t), products = plan->sequential ? 8.0 : 6.0;
    const double per_column = plan->by_activation ? (products + 4.0) * ncols + 18000.0 : products * ncols + 6000.0;
    return (double)t->n_rows * ncols * per_column;
}

double hone_plan_seconds(const hone_context *ctx, const hone_plan *plan)
{
    double work = 0;
    for (size_t i = 0; i < plan->n_tensors; i++)
        if (plan->tensors[i].moments || plan->tensors[i].expert_grams)
            work += coding_work(plan, &plan->tensors[i]);
    if (work == 0)
        return 0;
    const double seconds = work / hone_product_rate(ctx);
    return plan->sequential ? seconds + hone_sequential_seconds(plan->sequential) : seconds;
}

hone_status hone_moments_read(const hone_context *ctx, const hone_plan *plan, const hone_planned_tensor *t, double *out,
                              hone_error *err)
{
    struct moments m;
    const size_t n = (size_t)n_columns(plan, t);
    float *row = hone_alloc(n, sizeof *row);
    if (!row)
        return hone_fail_nomem(err, n * sizeof *row);
    hone_status status = moments_init(ctx, plan, t, triangle_of(plan, t), &m, err);
    for (size_t i = 0; i < n && status == HONE_OK; i++) {
        status = moments_row(&m, i, row, err);
        for (size_t j = i; j < n && status == HONE_OK; j++)
            out[i * n + j] = out[j * n + i] = (double)row[j - i];
    }
    hone_turned_gram_deinit(&m.turned);
    hone_release(row);
    return status;
}
