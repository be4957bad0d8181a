/* SPDX-License-Identifier: MIT */
#include "hone/budget.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/arith.h"
#include "base/fail.h"
#include "base/mem.h"
#include "convert/budget_measure.h"
#include "convert/budget_types.h"
#include "convert/plan_impl.h"
#include "convert/target.h"
#include "quantize/allocate.h"

enum { N_TYPES = HONE_BUDGET_MAX_TYPES, MAX_POINTS = 16 };

struct hone_budget {
    hone_budget_options asked;
    hone_budget_items tensors;
    hone_journal journal;
    uint64_t n_weights;        /* of the whole file */
    uint64_t rest_nbytes;      /* of tensors without a choice */
    uint64_t rest_file_nbytes; /* of the file but for the tensors with a choice and their padding */
    hone_budget_point chosen, points[MAX_POINTS];
    size_t n_points;
};

/* ---- settling ---- */

static uint64_t padded(uint64_t nbytes)
{
    return hone_align_up(nbytes, HONE_GGUF_ALIGNMENT);
}

static hone_budget_point describe(const hone_budget *b, const size_t *picked, bool exact)
{
    hone_budget_point p = {.nbytes = b->rest_file_nbytes, .is_exact = exact};
    uint64_t tensors = b->rest_nbytes;
    for (size_t i = 0; i < b->tensors.n; i++) {
        const hone_budget_item *item = &b->tensors.items[i];
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
    for (size_t i = 0; i < b->tensors.n; i++) {
        const hone_budget_item *item = &b->tensors.items[i];
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
    for (size_t i = 0; i < b->tensors.n; i++) {
        uint64_t smallest = UINT64_MAX;
        for (size_t j = 0; j < b->tensors.items[i].n; j++)
            smallest = k->alternatives[i][j].nbytes < smallest ? k->alternatives[i][j].nbytes : smallest;
        least += smallest;
    }
    if (least > nbytes)
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL,
                         "the budget is %" PRIu64 " bytes%s, the least there can be is %" PRIu64, nbytes,
                         rest == b->rest_nbytes ? " of tensors" : "", least);
    return hone_allocate(k->items, b->tensors.n, nbytes - rest, k->picked, out, err);
}

static hone_status fit_kld(const struct knapsack *k, const hone_budget *b, hone_allocation *out, hone_error *err)
{
    double least = 0;
    for (size_t i = 0; i < b->tensors.n; i++) {
        double best = b->tensors.items[i].costs[0];
        for (size_t j = 1; j < b->tensors.items[i].n; j++)
            best = b->tensors.items[i].costs[j] < best ? b->tensors.items[i].costs[j] : best;
        least += best;
    }
    if (least > b->asked.max_kld)
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL,
                         "the least divergence there can be is %.3g, above %.3g", least, b->asked.max_kld);
    return hone_allocate_smallest(k->items, b->tensors.n, b->asked.max_kld, k->picked, out, err);
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
    for (size_t i = 0; i < b->tensors.n; i++)
        b->tensors.items[i].picked = k->picked[i];
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
        .alternatives = hone_alloc(b->tensors.n, sizeof *k.alternatives),
        .items = hone_alloc(b->tensors.n, sizeof *k.items),
        .picked = hone_alloc(b->tensors.n, sizeof *k.picked),
    };
    hone_status status = HONE_OK;
    if (!k.alternatives || !k.items || !k.picked)
        status = hone_fail_nomem(err, b->tensors.n * sizeof *k.alternatives);
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
    b->rest_file_nbytes = hone_plan_describe(plan).output_nbytes + padded(b->asked.reserved_nbytes);
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
    hone_status status = hone_budget_items_find(ctx, plan, &b->asked, &b->tensors, err);
    if (status == HONE_OK && b->tensors.n == 0)
        status = hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "there is no tensor to choose a type for");
    if (status == HONE_OK)
        status = hone_budget_items_measure(ctx, plan, &b->asked, &b->tensors, &b->journal, err);
    if (status == HONE_OK) /* the header names the text that was measured on */
        status = measure_rest(&quiet, src, opts, b, err);
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
    b->journal.fd = -1;
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
    hone_budget_items_deinit(&budget->tensors);
    hone_journal_close(&budget->journal, false);
    hone_release(budget);
}

void hone_budget_forget(hone_budget *budget)
{
    hone_journal_close(&budget->journal, true);
}

size_t hone_budget_n(const hone_budget *budget)
{
    return budget->tensors.n;
}

hone_budget_tensor hone_budget_at(const hone_budget *budget, size_t i)
{
    const hone_budget_item *item = &budget->tensors.items[i];
    return (hone_budget_tensor){item->name,
                                item->types[item->picked],
                                item->nbytes[item->picked],
                                item->costs[item->picked],
                                item->probed,
                                item->probe_kld,
                                item->inferred};
}

hone_budget_probe hone_budget_probe_used(const hone_budget *budget)
{
    return budget->tensors.probe;
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
    for (size_t i = 0; i < budget->tensors.n; i++)
        if (strcmp(budget->tensors.items[i].name, name) == 0)
            return budget->tensors.items[i].types[budget->tensors.items[i].picked];
    return HONE_INVALID;
}

hone_dtype hone_budget_main_type(const hone_budget *budget)
{
    uint64_t n_weights[HONE_N_DTYPES] = {0};
    hone_dtype most = HONE_F16;
    for (size_t i = 0; i < budget->tensors.n; i++) {
        const hone_budget_item *item = &budget->tensors.items[i];
        const hone_dtype type = item->types[item->picked];
        n_weights[type] += item->n_weights;
        if (n_weights[type] > n_weights[most])
            most = type;
    }
    return most;
}

const struct hone_text_marks *hone_budget_texts(const hone_budget *budget)
{
    return &budget->tensors.texts;
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
