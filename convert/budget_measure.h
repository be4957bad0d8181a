/* SPDX-License-Identifier: MIT */
/*
 * The tensors that a budget has a choice for, and what each type would do to the model's predictions: measured, and
 * kept in a journal as it is measured, for that takes long.
 */
#ifndef HONE_BUDGET_MEASURE_H
#define HONE_BUDGET_MEASURE_H

#include "base/journal.h"
#include "convert/plan_impl.h"
#include "formats/text_marks.h"
#include "hone/budget.h"

/* One tensor with a choice. */
typedef struct hone_budget_item {
    const char *name; /* arena */
    size_t tensor;    /* in the plan that is measured */
    uint64_t n_weights;
    hone_dtype types[HONE_BUDGET_MAX_TYPES];
    uint64_t nbytes[HONE_BUDGET_MAX_TYPES];
    double costs[HONE_BUDGET_MAX_TYPES]; /* divergences */
    size_t n, picked;
    hone_dtype probed;
    double probe_kld;
    bool inferred;
} hone_budget_item;

typedef struct hone_budget_items {
    hone_arena names;
    hone_budget_item *items;
    size_t n, cap;
    hone_text_marks texts;   /* what they were measured on */
    hone_budget_probe probe; /* how: not AUTO */
} hone_budget_items;

/* hone_budget_items_find() lists the tensors of a plan that have a choice, and their types. ARG: one of asked has no
 * encoder. NOMEM. */
hone_status hone_budget_items_find(const hone_context *ctx, const hone_plan *plan, const hone_budget_options *asked,
                                   hone_budget_items *out, hone_error *err);
void hone_budget_items_deinit(hone_budget_items *b);

/*
 * hone_budget_items_measure() fills in costs; types that cannot hold the values are dropped. What the journal of an
 * earlier call with the same inputs knows is taken from it; *journal is left open, or closed if asked names none. As
 * hone_budget_new().
 */
hone_status hone_budget_items_measure(const hone_context *ctx, const hone_plan *plan, const hone_budget_options *asked,
                                      hone_budget_items *b, hone_journal *journal, hone_error *err);

#endif
