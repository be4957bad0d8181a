/* SPDX-License-Identifier: MIT */
#include "convert/fold_scales.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <xxhash.h>

#include "base/fail.h"
#include "base/mem.h"
#include "convert/fold_groups.h"
#include "convert/importance.h"
#include "convert/moments.h"
#include "convert/row_coder.h"
#include "convert/row_reader.h"
#include "convert/target.h"
#include "convert/type_errors.h"
#include "formats/imatrix.h"
#include "formats/sources.h"
#include "verify/transform.h"

/*
 * Powers of x and 1 / w that are tried. If a block's step grows with the root mean square of its weights, and errors
 * are spread evenly over it, then x^1/2 / w^1/2 is best: the least of (sum of x^2 / s^2) (sum of w^2 s^2). Where the
 * largest weight sets the step, less is.
 */
static const struct powers {
    double input, weight;
} powers[] = {
    {0.125, 0},   {0.25, 0},      {0.375, 0}, {0.5, 0},      {0.75, 0},      {0, 0.25},   {0, 0.5},     {0.125, 0.25},
    {0.25, 0.25}, {0.375, 0.375}, {0.5, 0.5}, {0.25, 0.125}, {0.375, 0.125}, {0.5, 0.25}, {0.75, 0.25},
};
enum { N_POWERS = sizeof powers / sizeof powers[0], SAMPLE_NELEMS = 1 << 19, TILE_ROWS = 64 };

/* Less than a thousandth is no gain: the rows that were looked at are not all. */
static const double LEAST_GAIN = 0.001;

/* Columns that nothing reached, or without weights, count as if they had this part of the mean. */
static const double LEAST_PART = 0x1p-10;

/* What a tensor's columns were multiplied by. */
struct scaled_tensor {
    const char *name; /* arena */
    float *scale;     /* (ncols); arena */
    size_t ncols;
};

struct hone_fold {
    uint64_t nbytes; /* that the search took */
    hone_arena arena;
    hone_fold_group *groups;
    size_t n_groups, cap_groups;
    struct scaled_tensor *tensors;
    size_t n_tensors, cap_tensors;
};

struct search {
    const hone_context *ctx;
    const hone_plan *plan;
    const hone_fold_link *link;
    hone_feedback feedback, scaled; /* of the readers */
    const hone_tensor *current;
    double *inputs, *weights; /* (link->n) mean squares */
    float *scale, *best;      /* (link->n) */
    float *columns;           /* (ncols) */
};

static size_t n_columns(const hone_fold_link *link)
{
    return (size_t)link->readers[0]->row_nelems;
}

/* ---- what columns are like ---- */

/* Those of columns that share a factor together. */
static void add_columns(struct search *s)
{
    for (size_t c = 0; c < n_columns(s->link); c++)
        s->inputs[hone_fold_output_of(s->link, c)] += (double)s->columns[c];
}

/* Mean squares of the inputs, and of several experts' their sum. */
static hone_status measure_inputs(struct search *s, hone_error *err)
{
    const hone_fold_link *link = s->link;
    const hone_planned_tensor *t = link->readers[0];
    memset(s->inputs, 0, (size_t)link->n * sizeof *s->inputs);
    if (t->gram) {
        memcpy(s->columns, s->feedback.squares, n_columns(link) * sizeof *s->columns);
    } else {
        const uint64_t n_experts = t->n_dims > 2 ? t->shape[0] : 1;
        for (uint64_t e = 0; e < n_experts; e++) {
            uint64_t held = UINT64_MAX;
            const float *importance;
            HONE_TRY(
                hone_importance_of_row(s->plan, t, e * (t->n_rows / n_experts), s->columns, &held, &importance, err));
            add_columns(s);
        }
        return HONE_OK;
    }
    add_columns(s);
    return HONE_OK;
}

static hone_status add_weights(struct search *s, const hone_planned_tensor *t, void *raw, float *values,
                               hone_error *err)
{
    const size_t ncols = n_columns(s->link);
    for (uint64_t row = 0; row < t->n_rows; row += TILE_ROWS) {
        const uint64_t left = t->n_rows - row, nrows = left < TILE_ROWS ? left : TILE_ROWS;
        HONE_TRY(hone_read_rows(s->ctx, s->plan, t, row, nrows, raw, values, err));
        for (size_t i = 0; i < nrows * ncols; i++)
            s->weights[hone_fold_output_of(s->link, i % ncols)] += (double)values[i] * (double)values[i];
    }
    return HONE_OK;
}

static hone_status measure_weights(struct search *s, hone_error *err)
{
    memset(s->weights, 0, (size_t)s->link->n * sizeof *s->weights);
    for (size_t i = 0; i < s->link->n_readers; i++) {
        const hone_planned_tensor *t = s->link->readers[i];
        void *raw = hone_alloc(hone_row_reader_nbytes(t, TILE_ROWS), 1);
        float *values = hone_alloc(TILE_ROWS * n_columns(s->link), sizeof *values);
        hone_status status = raw && values ? add_weights(s, t, raw, values, err)
                                           : hone_fail_nomem(err, TILE_ROWS * n_columns(s->link) * sizeof *values);
        hone_release(raw);
        hone_release(values);
        HONE_TRY(status);
    }
    return HONE_OK;
}

static void raise_to_least(double *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    const double least = sum > 0 ? LEAST_PART * sum / (double)n : 1;
    for (size_t i = 0; i < n; i++)
        x[i] = x[i] > least ? x[i] : least;
}

/* ---- factors ---- */

/*
 * Eight significant bits: then a weight of f16 or bf16 times its factor is exact in f32, and the last bits of a
 * mathematical library do not show.
 */
static float rounded(double x)
{
    int exponent;
    const double fraction = frexp(x, &exponent);
    return (float)ldexp(round(ldexp(fraction, 8)), exponent - 8);
}

/* Factors of geometric mean 1. */
static void compute_scale(const struct search *s, struct powers p, float *out)
{
    const size_t n = (size_t)s->link->n;
    double mean = 0;
    for (size_t i = 0; i < n; i++)
        mean += (p.input * log2(s->inputs[i]) - p.weight * log2(s->weights[i])) / 2 / (double)n;
    for (size_t i = 0; i < n; i++)
        out[i] = rounded(exp2((p.input * log2(s->inputs[i]) - p.weight * log2(s->weights[i])) / 2 - mean));
}

/* ---- errors ---- */

/* A router reads what experts do. It is not coded, so that nothing need be known of its input. */
static bool is_router(const hone_fold_link *link, const hone_planned_tensor *reader)
{
    return link->readers[0]->n_dims > 2 && reader->n_dims == 2;
}

/* What coding the readers, with columns multiplied by scale, leaves; scale NULL: as they are. */
static hone_status measure_error(struct search *s, const float *scale, double *out, hone_error *err)
{
    *out = 0;
    for (size_t c = 0; scale && c < n_columns(s->link); c++)
        s->columns[c] = scale[hone_fold_output_of(s->link, c)];
    const bool moments = s->link->readers[0]->gram != NULL;
    if (scale && moments)
        HONE_TRY(hone_feedback_scale(&s->feedback, s->columns, &s->scaled, err));
    const hone_feedback *feedback = !moments ? NULL : scale ? &s->scaled : &s->feedback;
    for (size_t i = 0; i < s->link->n_readers; i++) {
        const hone_planned_tensor *t = s->link->readers[i];
        if (is_router(s->link, t))
            continue;
        hone_type_errors e = {.types = &t->dtype,
                              .n = 1,
                              .probe = 1,
                              .column_scale = scale ? s->columns : NULL,
                              .sample_nelems = SAMPLE_NELEMS};
        HONE_TRY(hone_type_errors_measure(s->ctx, s->plan, t, feedback, &e, err));
        *out += e.error[0];
    }
    return HONE_OK;
}

/* What is known of the input must be known alike for all readers, and of every expert, and some be coded at all. */
static bool can_be_searched(const struct search *s)
{
    const hone_fold_link *link = s->link;
    bool any = false;
    for (size_t i = 0; i < link->n_readers; i++) {
        const hone_planned_tensor *t = link->readers[i];
        if (is_router(s->link, t))
            continue;
        if (t->gram != link->readers[0]->gram || (!t->gram && !t->entry))
            return false;
        if (t->n_dims > 2 && (t->entry->n_unseen > 0 || hone_importance_n_few(s->plan, t) > 0))
            return false;
        any |= t->weight || hone_dtype_describe(t->dtype)->is_quantized;
    }
    return any;
}

static hone_status search_powers(struct search *s, hone_fold_group *group, hone_error *err)
{
    HONE_TRY(hone_moments_prepare(s->ctx, s->plan, s->link->readers[0], &s->current, &s->feedback, err));
    HONE_TRY(measure_inputs(s, err));
    HONE_TRY(measure_weights(s, err));
    raise_to_least(s->inputs, (size_t)s->link->n);
    raise_to_least(s->weights, (size_t)s->link->n);
    HONE_TRY(measure_error(s, NULL, &group->error, err));
    group->folded_error = group->error;
    for (size_t i = 0; i < N_POWERS; i++) {
        double error;
        compute_scale(s, powers[i], s->scale);
        HONE_TRY(measure_error(s, s->scale, &error, err));
        if (!(error < group->error * (1 - LEAST_GAIN) && error < group->folded_error))
            continue;
        group->folded_error = error;
        group->input_power = powers[i].input;
        group->weight_power = powers[i].weight;
        memcpy(s->best, s->scale, (size_t)s->link->n * sizeof *s->best);
    }
    return HONE_OK;
}

/* ---- applying ---- */

/*
 * A norm w that is stored in few bits becomes what its type makes of w / s. With the s that leads there exactly, the
 * model computes the same.
 */
static hone_status settle_norm(struct search *s, hone_error *err)
{
    const hone_planned_tensor *norm = s->link->writer;
    if (norm->n_dims != 1 || norm->dtype == HONE_F32)
        return HONE_OK;
    const size_t n = (size_t)s->link->n;
    float *w = hone_alloc(n, sizeof *w), *q = hone_alloc(n, sizeof *q);
    hone_status status = w && q ? hone_read_vector(s->ctx, s->plan, norm, w, err) : hone_fail_nomem(err, n * sizeof *w);
    for (size_t i = 0; i < n && status == HONE_OK; i++)
        q[i] = w[i] / s->best[i];
    if (status == HONE_OK)
        status = hone_round_to(s->ctx, norm->dtype, q, n, err);
    for (size_t i = 0; i < n && status == HONE_OK; i++)
        if (w[i] != 0.0f && q[i] != 0.0f)
            s->best[i] = w[i] / q[i];
    hone_release(w);
    hone_release(q);
    return status;
}

/* Rows and columns are the output's, either NULL; a vector is a column. Experts, of which columns alone are, are
 * changed alike. */
static hone_status transform(hone_checkpoint *src, const hone_planned_tensor *t, const float *rows,
                             const float *columns, hone_error *err)
{
    const bool turned = t->order == HONE_ROWS_TRANSPOSE;
    const hone_transform how = {.row_scale = turned ? columns : rows, .column_scale = turned ? rows : columns};
    const hone_tensor *part = hone_tensor_stack_part(t->source, 0);
    if (!part)
        return hone_transform_tensor(src, t->source->name, &how, err);
    for (size_t i = 0; (part = hone_tensor_stack_part(t->source, i)); i++)
        HONE_TRY(hone_transform_tensor(src, part->name, &how, err));
    return HONE_OK;
}

static hone_status scale_readers(hone_fold *fold, hone_checkpoint *src, const struct search *s, hone_error *err)
{
    const size_t ncols = n_columns(s->link);
    for (size_t i = 0; i < s->link->n_readers; i++) {
        const hone_planned_tensor *t = s->link->readers[i];
        struct scaled_tensor scaled = {hone_arena_copy(&fold->arena, t->name, strlen(t->name)),
                                       hone_arena_alloc(&fold->arena, ncols, sizeof(float)), ncols};
        struct scaled_tensor *grown = hone_grow(fold->tensors, &fold->cap_tensors, fold->n_tensors + 1, sizeof scaled);
        if (grown)
            fold->tensors = grown;
        if (!scaled.name || !scaled.scale || !grown)
            return hone_fail_nomem(err, ncols * sizeof(float));
        for (size_t c = 0; c < ncols; c++)
            scaled.scale[c] = s->best[hone_fold_output_of(s->link, c)];
        fold->tensors[fold->n_tensors++] = scaled;
        HONE_TRY(transform(src, t, NULL, scaled.scale, err));
    }
    return HONE_OK;
}

static hone_status scale_writer(hone_checkpoint *src, const hone_fold_link *link, const float *best, hone_error *err)
{
    const hone_planned_tensor *w = link->writer;
    const size_t n = (size_t)(w->n_dims == 1 ? w->shape[0] : w->n_rows);
    float *rows = hone_alloc(n, sizeof *rows);
    if (!rows)
        return hone_fail_nomem(err, n * sizeof *rows);
    for (size_t i = 0; i < n; i++)
        rows[i] = i < link->first_row ? 1.0f : 1.0f / best[i - link->first_row];
    hone_status status = transform(src, w, rows, NULL, err);
    if (status == HONE_OK && link->bias)
        status = transform(src, link->bias, rows, NULL, err);
    hone_release(rows);
    return status;
}

/* ---- the whole ---- */

static void release(struct search *s)
{
    hone_release(s->inputs);
    hone_release(s->weights);
    hone_release(s->scale);
    hone_release(s->best);
    hone_release(s->columns);
    hone_feedback_deinit(&s->scaled);
}

static hone_status fold_link(hone_fold *fold, hone_checkpoint *src, struct search *s, hone_error *err)
{
    const hone_planned_tensor *w = s->link->writer;
    hone_fold_group group = {.name = hone_arena_copy(&fold->arena, w->name, strlen(w->name))};
    hone_fold_group *grown = hone_grow(fold->groups, &fold->cap_groups, fold->n_groups + 1, sizeof group);
    if (grown)
        fold->groups = grown;
    const size_t n = (size_t)s->link->n;
    s->inputs = hone_alloc(n, sizeof *s->inputs);
    s->weights = hone_alloc(n, sizeof *s->weights);
    s->scale = hone_alloc(n, sizeof *s->scale);
    s->best = hone_alloc(n, sizeof *s->best);
    s->columns = hone_alloc(n_columns(s->link), sizeof *s->columns);
    if (!grown || !group.name || !s->inputs || !s->weights || !s->scale || !s->best || !s->columns)
        return hone_fail_nomem(err, 6 * n * sizeof *s->inputs);
    HONE_TRY(search_powers(s, &group, err));
    fold->groups[fold->n_groups++] = group;
    if (!(group.folded_error < group.error))
        return HONE_OK;
    HONE_TRY(settle_norm(s, err));
    HONE_TRY(scale_readers(fold, src, s, err));
    return scale_writer(src, s->link, s->best, err);
}

/* Moments are factored while those of the factors tried before are gone; vectors are small beside that. */
static uint64_t link_nbytes(const hone_context *ctx, const hone_plan *plan, const hone_fold_link *link)
{
    uint64_t coders = 0;
    for (size_t i = 0; i < link->n_readers; i++) {
        const uint64_t nbytes = hone_row_coders_nbytes(plan, link->readers[i], ctx->n_threads);
        coders = nbytes > coders ? nbytes : coders;
    }
    return coders + (link->readers[0]->gram ? hone_moments_nbytes(plan, link->readers[0]) : 0);
}

static hone_status count_memory(const hone_context *ctx, const hone_plan *plan, const hone_fold_links *links,
                                uint64_t *nbytes, hone_error *err)
{
    *nbytes = 0;
    for (size_t i = 0; i < links->n; i++) {
        const uint64_t each = link_nbytes(ctx, plan, &links->links[i]);
        *nbytes = each > *nbytes ? each : *nbytes;
    }
    if (*nbytes <= ctx->memory_nbytes)
        return HONE_OK;
    return hone_fail(err, HONE_ERROR_NOMEM, HONE_NO_OFFSET, NULL,
                     "folding needs %llu bytes of working memory, the budget is %llu (--memory)",
                     (unsigned long long)*nbytes, (unsigned long long)ctx->memory_nbytes);
}

static hone_status fold_all(const hone_context *ctx, hone_checkpoint *src, const hone_plan *plan, hone_fold *fold,
                            hone_error *err)
{
    hone_fold_links links;
    hone_feedback feedback = {0};
    const hone_tensor *current = NULL;
    hone_status status = hone_fold_links_find(ctx, plan, &links, err);
    if (status == HONE_OK)
        status = count_memory(ctx, plan, &links, &fold->nbytes, err);
    for (size_t i = 0; i < links.n && status == HONE_OK; i++) {
        struct search s = {.ctx = ctx, .plan = plan, .link = &links.links[i], .feedback = feedback, .current = current};
        if (can_be_searched(&s))
            status = fold_link(fold, src, &s, err);
        feedback = s.feedback;
        current = s.current;
        release(&s);
        hone_context_progress(ctx, "fold", i + 1, links.n);
    }
    hone_feedback_deinit(&feedback);
    hone_release(links.links);
    return status;
}

static hone_status check(const hone_convert_options *opts, hone_error *err)
{
    const hone_target *target = hone_target_find(opts->to);
    if (!target || !target->weighs)
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "folding is for what is quantized");
    if (!opts->imatrix && !opts->calibration)
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL,
                         "folding needs to know the inputs: a calibration file or an importance matrix");
    return HONE_OK;
}

hone_status hone_fold_new(const hone_context *ctx, hone_checkpoint *src, const hone_convert_options *opts,
                          hone_fold **out, hone_error *err)
{
    *out = NULL;
    HONE_TRY(check(opts, err));
    hone_fold *fold = hone_calloc(1, sizeof *fold);
    if (!fold)
        return hone_fail_nomem(err, sizeof *fold);
    hone_context quiet = *ctx; /* what there is to note will be noted when the real plan is made */
    quiet.note = NULL;
    hone_plan *plan;
    hone_status status = hone_plan_new(&quiet, src, opts, &plan, err);
    if (status == HONE_OK)
        status = fold_all(ctx, src, plan, fold, err);
    hone_plan_free(plan);
    if (status != HONE_OK) {
        hone_fold_free(fold);
        return hone_fail_in_file(err, status, hone_checkpoint_path(src));
    }
    *out = fold;
    return HONE_OK;
}

void hone_fold_free(hone_fold *fold)
{
    if (!fold)
        return;
    hone_release(fold->groups);
    hone_release(fold->tensors);
    hone_arena_deinit(&fold->arena);
    hone_release(fold);
}

size_t hone_fold_n(const hone_fold *fold)
{
    return fold->n_groups;
}

hone_fold_group hone_fold_at(const hone_fold *fold, size_t i)
{
    return fold->groups[i];
}

void hone_fold_assign(const hone_fold *fold, hone_plan *plan)
{
    if (fold && fold->nbytes > plan->changes_nbytes)
        plan->changes_nbytes = fold->nbytes;
    for (size_t i = 0; fold && i < fold->n_tensors; i++)
        for (size_t j = 0; j < plan->n_tensors; j++)
            if (strcmp(plan->tensors[j].name, fold->tensors[i].name) == 0)
                plan->tensors[j].input_scale = fold->tensors[i].scale;
}

json_t *hone_fold_recipe(const hone_fold *fold)
{
    uint64_t sum = 0;
    size_t n_folded = 0;
    for (size_t i = 0; i < fold->n_tensors; i++)
        sum = XXH3_64bits_withSeed(fold->tensors[i].scale, fold->tensors[i].ncols * sizeof(float), sum);
    for (size_t i = 0; i < fold->n_groups; i++)
        n_folded += fold->groups[i].folded_error < fold->groups[i].error;
    char text[24];
    (void)snprintf(text, sizeof text, "%016" PRIx64, sum);
    return json_pack("{s:I, s:I, s:s}", "groups", (json_int_t)fold->n_groups, "folded", (json_int_t)n_folded, "scales",
                     text);
}
