/* SPDX-License-Identifier: MIT */
#include "cli/quality_out.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/json_out.h"
#include "cli/report.h"
#include "cli/table.h"

/* Figures over the tensors of one type, or over all. */
struct quality {
    size_t n_tensors, n_measured;
    uint64_t nbytes, n_weights;
    double squared_error, squared_source, squared_output, dot;
    /* the block that is worst in relation to its tensor */
    double worst;
    uint64_t worst_block;
    size_t worst_tensor;
};

static double relative_rmse(double squared_error, double squared_source)
{
    return squared_error > 0 ? sqrt(squared_error / squared_source) : 0;
}

static double cosine(double dot, double squared_source, double squared_output)
{
    const double both = squared_source * squared_output;
    if (both > 0)
        return fmin(1, dot / (sqrt(squared_source) * sqrt(squared_output)));
    return squared_source == squared_output ? 1 : 0;
}

/* The RMSE of the worst block over the RMS of its tensor's values. */
static double worst_block_rmse(const hone_tensor_error *e)
{
    return relative_rmse(e->worst_squared_error / e->worst_nelems, e->squared_source / (double)e->nelems);
}

static void add(struct quality *q, const hone_plan *plan, size_t i, const hone_tensor_error *e)
{
    const hone_plan_tensor p = hone_plan_tensor_at(plan, i);
    q->n_tensors++;
    q->nbytes += p.nbytes;
    q->n_weights += p.n_weights;
    if (!e->measured)
        return;
    const double worst = worst_block_rmse(e);
    if (q->n_measured++ == 0 || worst > q->worst) {
        q->worst = worst;
        q->worst_block = e->worst_block;
        q->worst_tensor = i;
    }
    q->squared_error += e->squared_error;
    q->squared_source += e->squared_source;
    q->squared_output += e->squared_output;
    q->dot += e->dot;
}

/* Sums for each dtype; at [0], which no tensor has, over all; and for what lies on a grid. */
enum { ALL = HONE_INVALID, GRID = HONE_N_DTYPES, N_SUMS };

static struct quality *sum_up(const hone_plan *plan, const hone_tensor_error *errors)
{
    struct quality *all = hone_cli_alloc(N_SUMS, sizeof *all);
    const size_t n = hone_plan_describe(plan).n_tensors;
    for (size_t i = 0; i < n; i++) {
        const hone_plan_tensor p = hone_plan_tensor_at(plan, i);
        add(&all[ALL], plan, i, &errors[i]);
        add(&all[p.grid_bits ? GRID : (int)p.dtype], plan, i, &errors[i]);
    }
    return all;
}

enum { SUM_NAME_LEN = 32 };

/* "q4_k", or "grid of 4 bits". Returns buf. */
static const char *sum_name(const hone_plan *plan, int sum, char buf[SUM_NAME_LEN])
{
    unsigned bits = 0;
    for (size_t i = 0; sum == GRID && bits == 0; i++)
        bits = hone_plan_tensor_at(plan, i).grid_bits;
    if (sum == GRID)
        (void)snprintf(buf, SUM_NAME_LEN, "grid of %u bits", bits);
    else
        (void)snprintf(buf, SUM_NAME_LEN, "%s", hone_dtype_describe((hone_dtype)sum)->name);
    return buf;
}

static double bits_per_weight(uint64_t nbytes, uint64_t n_weights)
{
    return n_weights ? 8.0 * (double)nbytes / (double)n_weights : 0;
}

static void print_row(hone_cli_table *t, const hone_plan *plan, const char *name, const struct quality *q)
{
    hone_cli_table_cell(t, "%s", name);
    hone_cli_table_cell(t, "%zu", q->n_tensors);
    if (q->n_weights)
        hone_cli_table_cell(t, "%.3f", bits_per_weight(q->nbytes, q->n_weights));
    else
        hone_cli_table_cell(t, "-");
    if (q->n_measured == 0) {
        for (size_t i = 0; i < 4; i++)
            hone_cli_table_cell(t, i < 2 ? "-" : "");
        return;
    }
    hone_cli_table_cell(t, "%.6f", relative_rmse(q->squared_error, q->squared_source));
    hone_cli_table_cell(t, "%.7f", cosine(q->dot, q->squared_source, q->squared_output));
    hone_cli_table_cell(t, "%.4f", q->worst);
    hone_cli_table_cell(t, "block %" PRIu64 " of %s", q->worst_block, hone_plan_tensor_at(plan, q->worst_tensor).name);
}

void hone_cli_print_quality(const hone_plan *plan, const hone_tensor_error *errors)
{
    struct quality *all = sum_up(plan, errors);
    hone_cli_table *t = hone_cli_table_new("<type|>tensors|>bits/weight|>relative RMSE|>cosine|>worst block|<which");
    char name[SUM_NAME_LEN];
    for (int i = ALL + 1; i < N_SUMS; i++)
        if (all[i].n_tensors > 0)
            print_row(t, plan, sum_name(plan, i, name), &all[i]);
    print_row(t, plan, "all", &all[ALL]);
    hone_cli_table_print(t);
    free(all);
}

void hone_cli_print_importance(const hone_plan *plan, const char *imatrix)
{
    const hone_plan_totals totals = hone_plan_describe(plan);
    if (!imatrix)
        return;
    hone_cli_table *t = hone_cli_table_new("<|<");
    hone_cli_table_cell(t, "importance");
    hone_cli_table_cell(t, "%s: %zu of %zu entries are for tensors of this model", imatrix,
                        totals.n_imatrix_entries - totals.n_imatrix_unknown, totals.n_imatrix_entries);
    for (size_t i = 0; i < totals.n_tensors; i++) {
        const hone_plan_tensor p = hone_plan_tensor_at(plan, i);
        if (p.importance == HONE_IMPORTANCE_MISSING) {
            hone_cli_table_cell(t, "without importance");
            hone_cli_table_cell(t, "%s", p.name);
        }
        if (p.n_unseen > 0) {
            hone_cli_table_cell(t, "never reached");
            hone_cli_table_cell(t, "%s: %" PRIu64 " of %" PRIu64 " matrices, whose columns all weigh 1", p.name,
                                p.n_unseen, p.n_experts);
        }
        if (p.n_few > 0) {
            hone_cli_table_cell(t, "reached too little");
            hone_cli_table_cell(t, "%s: %" PRIu64 " of %" PRIu64 " matrices, coded without importance", p.name, p.n_few,
                                p.n_experts);
        }
        if (p.n_zero_columns > 0) {
            hone_cli_table_cell(t, "zero importance");
            hone_cli_table_cell(t, "%s: %" PRIu64 " columns", p.name, p.n_zero_columns);
        }
    }
    hone_cli_table_print(t);
}

static json_t *error_json(double squared_error, double squared_source, double squared_output, double dot)
{
    json_t *o = hone_cli_json_object();
    hone_cli_json_put(o, "relative_rmse", hone_cli_json_real(relative_rmse(squared_error, squared_source)));
    hone_cli_json_put(o, "cosine", hone_cli_json_real(cosine(dot, squared_source, squared_output)));
    return o;
}

static json_t *worst_json(uint64_t block, double rmse)
{
    json_t *o = hone_cli_json_object();
    hone_cli_json_put(o, "index", hone_cli_json_uint(block));
    hone_cli_json_put(o, "relative_rmse", hone_cli_json_real(rmse));
    return o;
}

static void put_importance(json_t *object, const hone_plan_tensor *p)
{
    static const char *const names[] = {
        [HONE_IMPORTANCE_NONE] = "none",
        [HONE_IMPORTANCE_USED] = "used",
        [HONE_IMPORTANCE_MISSING] = "missing",
    };
    json_t *o = hone_cli_json_object();
    hone_cli_json_put(o, "entry", hone_cli_json_text(names[p->importance]));
    hone_cli_json_put(o, "zero_columns", hone_cli_json_uint(p->n_zero_columns));
    hone_cli_json_put(o, "matrices_never_reached", hone_cli_json_uint(p->n_unseen));
    hone_cli_json_put(o, "matrices_reached_too_little", hone_cli_json_uint(p->n_few));
    hone_cli_json_put(object, "importance", o);
}

void hone_cli_put_tensor_quality(json_t *object, const hone_plan *plan, size_t i, const hone_tensor_error *errors)
{
    const hone_plan_tensor p = hone_plan_tensor_at(plan, i);
    hone_cli_json_put(object, "bpw", hone_cli_json_real(bits_per_weight(p.nbytes, p.n_weights)));
    if (hone_plan_describe(plan).n_imatrix_entries > 0)
        put_importance(object, &p);
    if (!errors)
        return;
    const hone_tensor_error *e = &errors[i];
    if (!e->measured) {
        hone_cli_json_put(object, "error", json_null());
        return;
    }
    json_t *o = error_json(e->squared_error, e->squared_source, e->squared_output, e->dot);
    hone_cli_json_put(o, "worst_block", worst_json(e->worst_block, worst_block_rmse(e)));
    hone_cli_json_put(object, "error", o);
}

static json_t *quality_json(const hone_plan *plan, const struct quality *q)
{
    json_t *o = hone_cli_json_object();
    hone_cli_json_put(o, "tensors", hone_cli_json_uint(q->n_tensors));
    hone_cli_json_put(o, "bytes", hone_cli_json_uint(q->nbytes));
    hone_cli_json_put(o, "bpw", hone_cli_json_real(bits_per_weight(q->nbytes, q->n_weights)));
    if (q->n_measured == 0) {
        hone_cli_json_put(o, "error", json_null());
        return o;
    }
    json_t *error = error_json(q->squared_error, q->squared_source, q->squared_output, q->dot);
    json_t *worst = worst_json(q->worst_block, q->worst);
    hone_cli_json_put(worst, "tensor", hone_cli_json_text(hone_plan_tensor_at(plan, q->worst_tensor).name));
    hone_cli_json_put(error, "worst_block", worst);
    hone_cli_json_put(o, "error", error);
    return o;
}

void hone_cli_put_quality(json_t *object, const hone_plan *plan, const char *imatrix, const hone_tensor_error *errors)
{
    const hone_plan_totals totals = hone_plan_describe(plan);
    if (imatrix) {
        json_t *o = hone_cli_json_object();
        hone_cli_json_put(o, "file", hone_cli_json_text(imatrix));
        hone_cli_json_put(o, "entries", hone_cli_json_uint(totals.n_imatrix_entries));
        hone_cli_json_put(o, "entries_of_no_tensor", hone_cli_json_uint(totals.n_imatrix_unknown));
        hone_cli_json_put(object, "imatrix", o);
    }
    if (!errors)
        return;
    struct quality *all = sum_up(plan, errors);
    json_t *types = hone_cli_json_object();
    char name[SUM_NAME_LEN];
    for (int i = ALL + 1; i < N_SUMS; i++)
        if (all[i].n_tensors > 0)
            hone_cli_json_put(types, sum_name(plan, i, name), quality_json(plan, &all[i]));
    hone_cli_json_put(object, "types", types);
    hone_cli_json_put(object, "total", quality_json(plan, &all[ALL]));
    free(all);
}
