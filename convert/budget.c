/* SPDX-License-Identifier: MIT */
#include "hone/budget.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/arith.h"
#include "base/fail.h"
#include "base/mem.h"
#include "convert/budget_types.h"
#include "convert/moments.h"
#include "convert/plan_impl.h"
#include "convert/target.h"
#include "convert/type_errors.h"
#include "quantize/allocate.h"
#include "quantize/encode.h"
#include "verify/sensitivity.h"

/* Types there is a choice of: those that every runtime of GGUF computes with. */
static const hone_dtype types[] = {HONE_Q2_K, HONE_Q3_K, HONE_IQ4_XS, HONE_Q4_K, HONE_IQ4_NL, HONE_Q4_0, HONE_Q4_1,
                                   HONE_Q5_K, HONE_Q5_0, HONE_Q5_1,   HONE_Q6_K, HONE_Q8_0,   HONE_F16};
enum { N_TYPES = sizeof types / sizeof types[0], DEFAULT_N_CHUNKS = 4, MAX_POINTS = 16 };

/* What a tensor alone is measured in, the first that its rows can be cut into. */
static const hone_dtype probes[] = {HONE_Q3_K, HONE_Q4_0};

/* One tensor with a choice. */
struct item {
    const char *name; /* arena */
    size_t tensor;    /* in the plan that was measured */
    uint64_t n_weights;
    hone_dtype types[N_TYPES];
    uint64_t nbytes[N_TYPES];
    double costs[N_TYPES];
    size_t n, picked;
    hone_dtype probed;
    double probe_kld;
};

struct hone_budget {
    hone_arena arena;
    hone_budget_options asked;
    struct item *items;
    size_t n, cap;
    uint64_t n_weights;        /* of the whole file */
    uint64_t rest_nbytes;      /* of tensors without a choice */
    uint64_t rest_file_nbytes; /* of the file but for the tensors with a choice and their padding */
    hone_budget_point chosen, points[MAX_POINTS];
    size_t n_points;
};

struct measuring {
    const hone_context *ctx;
    const hone_plan *plan;
    hone_budget *budget;
    hone_sensitivity *sensitivity;
    hone_feedback feedback;
    const hone_tensor *current;
};

/* ---- measuring ---- */

static bool has_choice(const hone_planned_tensor *t)
{
    return t->source && !t->bytes && !t->ruled && hone_dtype_describe(t->dtype)->is_quantized;
}

static hone_status add_item(hone_budget *b, const hone_plan *plan, size_t tensor, hone_cpu_level cpu, hone_error *err)
{
    const hone_planned_tensor *t = &plan->tensors[tensor];
    struct item item = {.tensor = tensor, .n_weights = t->n_rows * t->row_nelems};
    for (size_t i = 0; i < N_TYPES; i++) {
        uint64_t row_nbytes;
        if (hone_dtype_row_nbytes(types[i], t->row_nelems, &row_nbytes) || !hone_encoder(types[i], plan->search, cpu))
            continue;
        item.types[item.n] = types[i];
        item.nbytes[item.n++] = row_nbytes * t->n_rows;
    }
    item.name = hone_arena_copy(&b->arena, t->name, strlen(t->name));
    struct item *grown = hone_grow(b->items, &b->cap, b->n + 1, sizeof item);
    if (grown)
        b->items = grown;
    if (!item.name || !grown)
        return hone_fail_nomem(err, sizeof item);
    b->items[b->n++] = item;
    return HONE_OK;
}

static size_t find_probe(const struct item *item)
{
    for (size_t p = 0; p < sizeof probes / sizeof probes[0]; p++)
        for (size_t i = 0; i < item->n; i++)
            if (item->types[i] == probes[p])
                return i;
    return item->n;
}

/* Divergences from errors, by what the probe was measured to do. */
static void set_costs(struct item *item, const hone_type_errors *e)
{
    const double unit = e->error[e->probe], scale = unit > 0 ? item->probe_kld / unit : 0;
    size_t n = 0;
    for (size_t i = 0; i < e->n; i++) {
        if (!isfinite(e->error[i]))
            continue;
        item->types[n] = item->types[i];
        item->nbytes[n] = item->nbytes[i];
        item->costs[n++] = e->error[i] * scale;
    }
    item->n = n;
}

/*
 * Three digits: more are within the error of the measurement, and the last of them depend on the machine's products of
 * floats, which is no reason for another choice of types.
 */
static double rounded(double x)
{
    if (!(x > 0))
        return 0;
    const double unit = pow(10, floor(log10(x)) - 2);
    return round(x / unit) * unit;
}

static hone_status probe(const struct measuring *m, struct item *item, const hone_type_errors *e, hone_error *err)
{
    const hone_planned_tensor *t = &m->plan->tensors[item->tensor];
    const hone_replacement r = {.name = t->source->name,
                                .dtype = item->types[e->probe],
                                .nrows = (size_t)t->n_rows,
                                .ncols = (size_t)t->row_nelems,
                                .rows = e->probe_rows};
    HONE_TRY(hone_sensitivity_measure(m->sensitivity, &r, 1, &item->probe_kld, err));
    if (!isfinite(item->probe_kld))
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, t->source->name, "no divergence can be measured");
    item->probe_kld = rounded(item->probe_kld);
    item->probed = item->types[e->probe];
    return HONE_OK;
}

static hone_status measure_item(struct measuring *m, struct item *item, hone_error *err)
{
    const hone_planned_tensor *t = &m->plan->tensors[item->tensor];
    HONE_TRY(hone_moments_prepare(m->ctx, m->plan, t, &m->current, &m->feedback, err));
    hone_type_errors e = {.types = item->types, .n = item->n, .probe = find_probe(item)};
    if (e.probe == e.n || !hone_sensitivity_holds(m->sensitivity, t->source->name))
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, t->name,
                         "what it does to predictions cannot be measured");
    e.probe_rows = hone_alloc((size_t)item->nbytes[e.probe], 1);
    if (!e.probe_rows)
        return hone_fail_nomem(err, item->nbytes[e.probe]);
    hone_status status = hone_type_errors_measure(m->ctx, m->plan, t, t->gram ? &m->feedback : NULL, &e, err);
    if (status == HONE_OK)
        status = probe(m, item, &e, err);
    if (status == HONE_OK)
        set_costs(item, &e);
    hone_release(e.probe_rows);
    return status;
}

static hone_status measure(const hone_context *ctx, const hone_plan *plan, hone_budget *b, hone_error *err)
{
    struct measuring m = {.ctx = ctx, .plan = plan, .budget = b};
    const hone_budget_options *asked = &b->asked;
    const hone_eval_options eval = {.n_ctx = asked->n_ctx,
                                    .n_chunks = asked->n_chunks ? asked->n_chunks : DEFAULT_N_CHUNKS};
    hone_status status =
        hone_sensitivity_new(ctx, plan->src, asked->text, asked->text_nbytes, &eval, &m.sensitivity, err);
    for (size_t i = 0; i < b->n && status == HONE_OK; i++) {
        status = measure_item(&m, &b->items[i], err);
        hone_context_progress(ctx, "measure", i + 1, b->n);
    }
    hone_feedback_deinit(&m.feedback);
    hone_sensitivity_free(m.sensitivity);
    return status;
}

/* ---- settling ---- */

static uint64_t padded(uint64_t nbytes)
{
    return hone_align_up(nbytes, HONE_GGUF_ALIGNMENT);
}

static hone_budget_point describe(const hone_budget *b, const size_t *picked, bool exact)
{
    hone_budget_point p = {.nbytes = b->rest_file_nbytes, .is_exact = exact};
    uint64_t tensors = b->rest_nbytes;
    for (size_t i = 0; i < b->n; i++) {
        const struct item *item = &b->items[i];
        p.nbytes += padded(item->nbytes[picked[i]]);
        tensors += item->nbytes[picked[i]];
        p.kld += item->costs[picked[i]];
    }
    p.bpw = b->n_weights ? 8.0 * (double)tensors / (double)b->n_weights : 0;
    return p;
}

/* The knapsack's view of the items. */
struct knapsack {
    hone_alternative (*alternatives)[N_TYPES];
    hone_allocation_item *items;
    size_t *picked;
};

static void fill(const struct knapsack *k, const hone_budget *b, bool with_padding)
{
    for (size_t i = 0; i < b->n; i++) {
        const struct item *item = &b->items[i];
        for (size_t j = 0; j < item->n; j++)
            k->alternatives[i][j] =
                (hone_alternative){with_padding ? padded(item->nbytes[j]) : item->nbytes[j], item->costs[j]};
        k->items[i] = (hone_allocation_item){k->alternatives[i], item->n};
    }
}

static hone_status fit_bytes(const struct knapsack *k, const hone_budget *b, uint64_t rest, uint64_t nbytes,
                             hone_allocation *out, hone_error *err)
{
    uint64_t least = rest;
    for (size_t i = 0; i < b->n; i++) {
        uint64_t smallest = UINT64_MAX;
        for (size_t j = 0; j < b->items[i].n; j++)
            smallest = k->alternatives[i][j].nbytes < smallest ? k->alternatives[i][j].nbytes : smallest;
        least += smallest;
    }
    if (least > nbytes)
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL,
                         "the budget is %" PRIu64 " bytes%s, the least there can be is %" PRIu64, nbytes,
                         rest == b->rest_nbytes ? " of tensors" : "", least);
    return hone_allocate(k->items, b->n, nbytes - rest, k->picked, out, err);
}

static hone_status fit_kld(const struct knapsack *k, const hone_budget *b, hone_allocation *out, hone_error *err)
{
    double least = 0;
    for (size_t i = 0; i < b->n; i++) {
        double best = b->items[i].costs[0];
        for (size_t j = 1; j < b->items[i].n; j++)
            best = b->items[i].costs[j] < best ? b->items[i].costs[j] : best;
        least += best;
    }
    if (least > b->asked.max_kld)
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL,
                         "the least divergence there can be is %.3g, above %.3g", least, b->asked.max_kld);
    return hone_allocate_smallest(k->items, b->n, b->asked.max_kld, k->picked, out, err);
}

/* Bytes of tensors at so many bits per weight. */
static uint64_t bytes_at(const hone_budget *b, double bpw)
{
    const double nbytes = bpw * (double)b->n_weights / 8;
    return nbytes < 9e15 ? (uint64_t)nbytes : UINT64_C(9000000000000000);
}

static hone_status choose(const struct knapsack *k, hone_budget *b, hone_error *err)
{
    hone_allocation a;
    const bool by_bpw = b->asked.bpw > 0;
    fill(k, b, !by_bpw);
    if (by_bpw)
        HONE_TRY(fit_bytes(k, b, b->rest_nbytes, bytes_at(b, b->asked.bpw), &a, err));
    else if (b->asked.nbytes)
        HONE_TRY(fit_bytes(k, b, b->rest_file_nbytes, b->asked.nbytes, &a, err));
    else
        HONE_TRY(fit_kld(k, b, &a, err));
    for (size_t i = 0; i < b->n; i++)
        b->items[i].picked = k->picked[i];
    b->chosen = describe(b, k->picked, a.exact);
    return HONE_OK;
}

static hone_status draw_curve(const struct knapsack *k, hone_budget *b, hone_error *err)
{
    static const double at[] = {2.75, 3, 3.25, 3.5, 4, 4.5, 5, 5.5, 6, 7, 8.5};
    fill(k, b, false);
    for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
        hone_allocation a;
        const hone_status status = fit_bytes(k, b, b->rest_nbytes, bytes_at(b, at[i]), &a, err);
        if (status == HONE_ERROR_ARG)
            continue; /* too little */
        HONE_TRY(status);
        const hone_budget_point p = describe(b, k->picked, a.exact);
        if (b->n_points == 0 || p.nbytes > b->points[b->n_points - 1].nbytes)
            b->points[b->n_points++] = p;
    }
    return HONE_OK;
}

static hone_status settle(hone_budget *b, hone_error *err)
{
    struct knapsack k = {
        .alternatives = hone_alloc(b->n, sizeof *k.alternatives),
        .items = hone_alloc(b->n, sizeof *k.items),
        .picked = hone_alloc(b->n, sizeof *k.picked),
    };
    hone_status status = HONE_OK;
    if (!k.alternatives || !k.items || !k.picked)
        status = hone_fail_nomem(err, b->n * sizeof *k.alternatives);
    if (status == HONE_OK)
        status = draw_curve(&k, b, err);
    if (status == HONE_OK)
        status = choose(&k, b, err);
    hone_release(k.picked);
    hone_release(k.items);
    hone_release(k.alternatives);
    return status;
}

/* ---- the whole ---- */

static hone_status check(const hone_convert_options *opts, const hone_budget_options *asked, hone_error *err)
{
    const int n = (asked->nbytes > 0) + (asked->bpw > 0) + (asked->max_kld > 0);
    if (n != 1)
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL,
                         "one budget is needed: bytes, bits per weight, or divergence");
    if (!asked->text)
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "a budget needs text to measure tensors on");
    if (hone_target_find(opts->to) != &hone_target_gguf)
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "a budget is for gguf");
    return HONE_OK;
}

/* What the tensors without a choice take, and all that is no tensor: from a plan under the budget as it stands. */
static hone_status measure_rest(const hone_context *ctx, const hone_checkpoint *src, const hone_convert_options *opts,
                                hone_budget *b, hone_error *err)
{
    hone_convert_options under = *opts;
    under.budget = b;
    hone_plan *plan;
    HONE_TRY(hone_plan_new(ctx, src, &under, &plan, err));
    b->rest_file_nbytes = hone_plan_describe(plan).output_nbytes;
    for (size_t i = 0; i < plan->n_tensors; i++) {
        const hone_planned_tensor *t = &plan->tensors[i];
        b->n_weights += t->bytes ? 0 : t->n_rows * t->row_nelems;
        if (hone_budget_type(b, t->name) == HONE_INVALID)
            b->rest_nbytes += t->nbytes;
        else
            b->rest_file_nbytes -= padded(t->nbytes);
    }
    hone_plan_free(plan);
    return HONE_OK;
}

static hone_status build(const hone_context *ctx, const hone_checkpoint *src, const hone_convert_options *opts,
                         hone_budget *b, hone_error *err)
{
    hone_context quiet = *ctx; /* what there is to note will be noted when the real plan is made */
    quiet.note = NULL;
    hone_convert_options all_alike = *opts;
    all_alike.type = "q4_k";
    all_alike.pure = true;
    hone_plan *plan;
    HONE_TRY(hone_plan_new(&quiet, src, &all_alike, &plan, err));
    hone_status status = HONE_OK;
    for (size_t i = 0; i < plan->n_tensors && status == HONE_OK; i++)
        if (has_choice(&plan->tensors[i]))
            status = add_item(b, plan, i, ctx->cpu, err);
    if (status == HONE_OK && b->n == 0)
        status = hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "there is no tensor to choose a type for");
    if (status == HONE_OK)
        status = measure_rest(&quiet, src, opts, b, err);
    if (status == HONE_OK)
        status = measure(ctx, plan, b, err);
    if (status == HONE_OK)
        status = settle(b, err);
    hone_plan_free(plan);
    return status;
}

hone_status hone_budget_new(const hone_context *ctx, const hone_checkpoint *src, const hone_convert_options *opts,
                            const hone_budget_options *budget, hone_budget **out, hone_error *err)
{
    *out = NULL;
    HONE_TRY(check(opts, budget, err));
    hone_budget *b = hone_calloc(1, sizeof *b);
    if (!b)
        return hone_fail_nomem(err, sizeof *b);
    b->asked = *budget;
    const hone_status status = build(ctx, src, opts, b, err);
    if (status != HONE_OK) {
        hone_budget_free(b);
        return hone_fail_in_file(err, status, hone_checkpoint_path(src));
    }
    *out = b;
    return HONE_OK;
}

void hone_budget_free(hone_budget *budget)
{
    if (!budget)
        return;
    hone_release(budget->items);
    hone_arena_deinit(&budget->arena);
    hone_release(budget);
}

size_t hone_budget_n(const hone_budget *budget)
{
    return budget->n;
}

hone_budget_tensor hone_budget_at(const hone_budget *budget, size_t i)
{
    const struct item *item = &budget->items[i];
    return (hone_budget_tensor){
        item->name,     item->types[item->picked], item->nbytes[item->picked], item->costs[item->picked], item->probed,
        item->probe_kld};
}

hone_budget_point hone_budget_chosen(const hone_budget *budget)
{
    return budget->chosen;
}

size_t hone_budget_n_points(const hone_budget *budget)
{
    return budget->n_points;
}

hone_budget_point hone_budget_point_at(const hone_budget *budget, size_t i)
{
    return budget->points[i];
}

hone_dtype hone_budget_type(const hone_budget *budget, const char *name)
{
    for (size_t i = 0; i < budget->n; i++)
        if (strcmp(budget->items[i].name, name) == 0)
            return budget->items[i].types[budget->items[i].picked];
    return HONE_INVALID;
}

hone_dtype hone_budget_main_type(const hone_budget *budget)
{
    uint64_t n_weights[HONE_N_DTYPES] = {0};
    hone_dtype most = HONE_F16;
    for (size_t i = 0; i < budget->n; i++) {
        const struct item *item = &budget->items[i];
        const hone_dtype type = item->types[item->picked];
        n_weights[type] += item->n_weights;
        if (n_weights[type] > n_weights[most])
            most = type;
    }
    return most;
}

json_t *hone_budget_recipe(const hone_budget *budget)
{
    const hone_budget_options *asked = &budget->asked;
    json_t *o = json_object();
    json_t *limit = asked->nbytes    ? json_integer((json_int_t)asked->nbytes)
                    : asked->bpw > 0 ? json_real(asked->bpw)
                                     : json_real(asked->max_kld);
    const char *key = asked->nbytes ? "bytes" : asked->bpw > 0 ? "bpw" : "max_kld";
    if (o && json_object_set_new(o, key, limit) == 0)
        return o;
    json_decref(o);
    return NULL;
}
