/* SPDX-License-Identifier: MIT */
#include "convert/budget_measure.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "base/fail.h"
#include "base/mem.h"
#include "convert/budget_probe.h"
#include "convert/budget_time.h"
#include "convert/importance.h"
#include "convert/moments.h"
#include "convert/output_guard.h"
#include "convert/type_errors.h"
#include "quantize/encode.h"
#include "verify/sensitivity.h"

/* Types there is a choice of: those that every runtime of GGUF computes with. */
static const hone_dtype usual[] = {HONE_Q2_K, HONE_Q3_K, HONE_IQ4_XS, HONE_Q4_K, HONE_IQ4_NL, HONE_Q4_0, HONE_Q4_1,
                                   HONE_Q5_K, HONE_Q5_0, HONE_Q5_1,   HONE_Q6_K, HONE_Q8_0,   HONE_F16};
enum { FAST_SAMPLE_NELEMS = 1 << 14 }; /* tell types apart to some percent */
enum { N_USUAL = sizeof usual / sizeof usual[0], N_TYPES = HONE_BUDGET_MAX_TYPES, DEFAULT_N_CHUNKS = 4 };
static_assert(N_TYPES <= (int)HONE_MAX_TYPE_ERRORS && N_USUAL <= N_TYPES, "there is room for every type");

/* What a tensor alone is measured in, the first of its types that is one of these; or its smallest. */
static const hone_dtype probes[] = {HONE_Q3_K, HONE_Q4_0};

/* Multiplications to measure all tensors, each to the end, beyond which that takes too long: a minute or two. */
#define LONG_WORK 4e12

/* What the journal keeps of an item: as many entries of 8 bytes, the last of which is the checksum of the others. */
struct record {
    double errors[N_TYPES], probe_error, kld, shift; /* of the rows that were run; kld or shift */
};
enum { RECORD_N = sizeof(struct record) / 8 + 1 };

struct measured {
    struct record record;
    bool known;     /* from the journal */
    double seconds; /* that it will take, else */
};

struct measuring {
    const hone_context *ctx;
    const hone_plan *plan;
    hone_budget_items *budget;
    hone_sensitivity *sensitivity;
    hone_feedback feedback;
    const hone_tensor *current;
    hone_journal *journal;
    hone_probe *probes;       /* (n items) */
    struct measured *results; /* (n items) */
    size_t n_known;
};

/* An item and when its matrix is read. */
struct turn {
    size_t stage, item;
};

/* ---- items ---- */

static bool has_choice(const hone_planned_tensor *t)
{
    return t->source && !t->bytes && !t->ruled && hone_dtype_describe(t->dtype)->is_quantized;
}

/* Lists the types that there is a choice of for a tensor. */
static void list_types(const hone_budget_options *asked, hone_search search, hone_cpu_level cpu,
                       const hone_planned_tensor *t, hone_budget_item *item)
{
    const hone_dtype *types = asked->n_types ? asked->types : usual;
    const size_t n = asked->n_types ? asked->n_types : N_USUAL;
    for (size_t i = 0; i < n; i++) {
        uint64_t row_nbytes;
        if (hone_dtype_row_nbytes(types[i], t->row_nelems, &row_nbytes) || !hone_encoder(types[i], search, cpu) ||
            hone_importance_lacks(t, types[i]))
            continue;
        item->types[item->n] = types[i];
        item->nbytes[item->n++] = row_nbytes * t->n_rows;
    }
}

static hone_status add_item(hone_budget_items *b, const hone_plan *plan, const hone_budget_options *asked,
                            size_t tensor, hone_cpu_level cpu, hone_error *err)
{
    const hone_planned_tensor *t = &plan->tensors[tensor];
    hone_budget_item item = {.tensor = tensor, .n_weights = t->n_rows * t->row_nelems};
    list_types(asked, plan->search, cpu, t, &item);
    if (item.n == 0)
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, t->name, "it can have none of the types");
    item.name = hone_arena_copy(&b->names, t->name, strlen(t->name));
    hone_budget_item *grown = hone_grow(b->items, &b->cap, b->n + 1, sizeof item);
    if (grown)
        b->items = grown;
    if (!item.name || !grown)
        return hone_fail_nomem(err, sizeof item);
    b->items[b->n++] = item;
    return HONE_OK;
}

static hone_status check_types(const hone_plan *plan, const hone_budget_options *asked, hone_cpu_level cpu,
                               hone_error *err)
{
    if (asked->n_types > N_TYPES)
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "%zu types are too many", asked->n_types);
    for (size_t i = 0; i < asked->n_types; i++)
        if (!hone_encoder(asked->types[i], plan->search, cpu))
            return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "%s is no type that can be chosen",
                             hone_dtype_describe(asked->types[i])->name);
    return HONE_OK;
}

hone_status hone_budget_items_find(const hone_context *ctx, const hone_plan *plan, const hone_budget_options *asked,
                                   hone_budget_items *out, hone_error *err)
{
    HONE_TRY(check_types(plan, asked, ctx->cpu, err));
    for (size_t i = 0; i < plan->n_tensors; i++)
        if (has_choice(&plan->tensors[i]))
            HONE_TRY(add_item(out, plan, asked, i, ctx->cpu, err));
    return HONE_OK;
}

void hone_budget_items_deinit(hone_budget_items *b)
{
    hone_text_marks_deinit(&b->texts);
    hone_release(b->items);
    hone_arena_deinit(&b->names);
}

static size_t find_probe(const hone_budget_item *item)
{
    for (size_t p = 0; p < sizeof probes / sizeof probes[0]; p++)
        for (size_t i = 0; i < item->n; i++)
            if (item->types[i] == probes[p])
                return i;
    size_t least = 0;
    for (size_t i = 1; i < item->n; i++)
        least = item->nbytes[i] < item->nbytes[least] ? i : least;
    return least;
}

/* ---- one item ---- */

/* Divergences from errors, by what the probe was measured to do. */
static void set_costs(hone_budget_item *item, const struct record *r, const hone_probe *probe)
{
    const double scale = r->probe_error > 0 ? probe->kld / r->probe_error : 0;
    size_t n = 0;
    item->probed = item->types[find_probe(item)];
    item->probe_kld = probe->kld;
    item->inferred = !probe->whole;
    for (size_t i = 0; i < item->n; i++) {
        if (!isfinite(r->errors[i]))
            continue;
        item->types[n] = item->types[i];
        item->nbytes[n] = item->nbytes[i];
        item->costs[n++] = r->errors[i] * scale;
    }
    item->n = n;
    item->picked = find_probe(item); /* a type that has error feedback, until one is settled */
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

static bool probe_needs_shift(const struct measuring *m, size_t i)
{
    const size_t stage = m->probes[i].stage;
    return m->budget->probe == HONE_PROBE_FAST && stage > 0 && stage <= hone_sensitivity_n_layers(m->sensitivity);
}

/* Runs the rows that were coded. */
static hone_status run_probe(const struct measuring *m, size_t i, const hone_type_errors *e, struct record *out,
                             hone_error *err)
{
    const hone_planned_tensor *t = &m->plan->tensors[m->budget->items[i].tensor];
    const hone_probe *probe = &m->probes[i];
    const hone_replacement r = {.name = t->source->name,
                                .dtype = e->types[e->probe],
                                .nrows = (size_t)t->n_rows,
                                .ncols = (size_t)t->row_nelems,
                                .rows = e->probe_rows};
    if (probe->whole)
        HONE_TRY(hone_sensitivity_measure(m->sensitivity, &r, 1, &out->kld, err));
    if (probe_needs_shift(m, i))
        HONE_TRY(hone_sensitivity_shift(m->sensitivity, &r, 1, HONE_PROBE_REACH, &out->shift, err));
    if (!isfinite(out->kld) || !isfinite(out->shift))
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, t->source->name, "no divergence can be measured");
    out->kld = rounded(out->kld);
    out->shift = rounded(out->shift);
    return HONE_OK;
}

static hone_type_errors errors_of(const struct measuring *m, const hone_budget_item *item)
{
    const bool fast = m->budget->probe == HONE_PROBE_FAST;
    return (hone_type_errors){.types = item->types,
                              .n = item->n,
                              .probe = find_probe(item),
                              .plain_probe = fast,
                              .sample_nelems = fast ? FAST_SAMPLE_NELEMS : 0};
}

static hone_status measure_item(struct measuring *m, size_t i, struct record *out, hone_error *err)
{
    const hone_budget_item *item = &m->budget->items[i];
    const hone_planned_tensor *t = &m->plan->tensors[item->tensor];
    *out = (struct record){.kld = 0};
    HONE_TRY(hone_moments_prepare(m->ctx, m->plan, t, &m->current, &m->feedback, err));
    hone_type_errors e = errors_of(m, item);
    e.probe_rows = hone_alloc((size_t)item->nbytes[e.probe], 1);
    if (!e.probe_rows)
        return hone_fail_nomem(err, item->nbytes[e.probe]);
    hone_status status = hone_type_errors_measure(m->ctx, m->plan, t, t->gram ? &m->feedback : NULL, &e, err);
    if (status == HONE_OK)
        status = run_probe(m, i, &e, out, err);
    memcpy(out->errors, e.error, item->n * sizeof e.error[0]);
    out->probe_error = e.probe_error;
    hone_release(e.probe_rows);
    return status;
}

/* ---- the journal ---- */

/* What must be equal for measurements to be the same: the inputs, the text, and what is asked of them. */
static uint64_t identity(const hone_plan *plan, const hone_budget_options *asked, const hone_budget_items *b)
{
    const uint64_t facts[] = {
        asked->n_ctx, asked->n_chunks, (uint64_t)plan->search, plan->calibration != NULL, (uint64_t)asked->probe, b->n};
    uint64_t id = XXH3_64bits_withSeed(facts, sizeof facts, hone_identify_inputs(plan, 0));
    id = XXH3_64bits_withSeed(asked->text, asked->text_nbytes, id);
    for (size_t i = 0; i < b->n; i++) {
        id = XXH3_64bits_withSeed(b->items[i].name, strlen(b->items[i].name), id);
        id = XXH3_64bits_withSeed(b->items[i].types, sizeof b->items[i].types, id);
    }
    return XXH3_64bits_withSeed(hone_version(), strlen(hone_version()), id);
}

static hone_status load(const struct measuring *m, size_t item, struct record *out, bool *known, hone_error *err)
{
    uint64_t entries[RECORD_N] = {0};
    *known = false;
    if (!m->journal->path)
        return HONE_OK;
    for (size_t i = 0; i < RECORD_N; i++)
        HONE_TRY(hone_journal_chunk(m->journal, item * RECORD_N + i, &entries[i], err));
    *known = entries[RECORD_N - 1] != 0 && entries[RECORD_N - 1] == XXH3_64bits(entries, sizeof *out);
    memcpy(out, entries, sizeof *out);
    return HONE_OK;
}

static hone_status save(const struct measuring *m, size_t item, const struct record *r, hone_error *err)
{
    if (!m->journal->path)
        return HONE_OK;
    uint64_t entries[RECORD_N];
    memcpy(entries, r, sizeof *r);
    entries[RECORD_N - 1] = XXH3_64bits(entries, sizeof *r);
    for (size_t i = 0; i < RECORD_N; i++)
        HONE_TRY(hone_journal_commit(m->journal, item * RECORD_N + i, entries[i], err));
    return HONE_OK;
}

/* ---- turns ---- */

static int by_stage(const void *a, const void *b)
{
    const struct turn *x = a, *y = b;
    if (x->stage != y->stage)
        return x->stage < y->stage ? -1 : 1;
    return x->item < y->item ? -1 : 1;
}

/* In which order the model comes to the items. UNSUPPORTED: to one of them it does not. */
static hone_status take_turns(struct measuring *m, struct turn *turns, hone_error *err)
{
    for (size_t i = 0; i < m->budget->n; i++) {
        const hone_planned_tensor *t = &m->plan->tensors[m->budget->items[i].tensor];
        turns[i] = (struct turn){hone_sensitivity_stage(m->sensitivity, t->source->name), i};
        m->probes[i] = (hone_probe){.kind = hone_probe_kind(t->name), .stage = turns[i].stage, .whole = true};
        if (turns[i].stage == SIZE_MAX)
            return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, t->name,
                             "what it does to predictions cannot be measured");
    }
    qsort(turns, m->budget->n, sizeof *turns, by_stage);
    return HONE_OK;
}

/* What running the item takes, in multiplications. */
static double run_work(const struct measuring *m, size_t i)
{
    const size_t stage = m->probes[i].stage;
    return (m->probes[i].whole ? hone_sensitivity_measure_work(m->sensitivity, stage) : 0) +
           (probe_needs_shift(m, i) ? hone_sensitivity_shift_work(m->sensitivity, stage, HONE_PROBE_REACH) : 0);
}

static double work_of_all(const struct measuring *m)
{
    double work = 0;
    for (size_t i = 0; i < m->budget->n; i++)
        work += run_work(m, i);
    return work;
}

/* Settles how items are measured. */
static void choose_probes(struct measuring *m, hone_budget_probe asked)
{
    m->budget->probe = HONE_PROBE_EXACT;
    if (asked == HONE_PROBE_EXACT || (asked == HONE_PROBE_AUTO && work_of_all(m) <= LONG_WORK))
        return;
    m->budget->probe = HONE_PROBE_FAST;
    hone_sensitivity_shorten(m->sensitivity);
    hone_probes_choose(m->probes, m->budget->n, hone_sensitivity_n_layers(m->sensitivity));
}

/* ---- the time it takes ---- */

static void note_seconds(const struct measuring *m, double seconds)
{
    size_t n_whole = 0;
    for (size_t i = 0; i < m->budget->n; i++)
        n_whole += m->probes[i].whole;
    const bool minutes = seconds >= 100;
    hone_context_note(m->ctx, "measuring %zu tensors, %zu of them to the end of the model: about %.0f %s", m->budget->n,
                      n_whole, minutes ? seconds / 60 : seconds, minutes ? "min" : "s");
}

/* Estimates, for items not known, what each will take. */
static hone_status estimate(struct measuring *m, const struct turn *turns, hone_error *err)
{
    hone_coding_times times = {.n = 0};
    const hone_tensor *gram = NULL;
    double all = 0;
    for (size_t i = 0; i < m->budget->n; i++) {
        const size_t item = turns[i].item;
        const hone_planned_tensor *t = &m->plan->tensors[m->budget->items[item].tensor];
        if (m->results[item].known)
            continue;
        const hone_type_errors e = errors_of(m, &m->budget->items[item]);
        HONE_TRY(hone_coding_times_add(&times, m->ctx, m->plan, t, &e, err));
        m->results[item].seconds = hone_coding_seconds(&times, m->ctx, t, &e, t->gram != gram) +
                                   hone_sensitivity_seconds(m->sensitivity, run_work(m, item));
        gram = t->gram;
        all += m->results[item].seconds;
    }
    if (m->n_known < m->budget->n)
        note_seconds(m, all);
    return HONE_OK;
}

/* How many of the items the time that has gone by is worth. */
static void show_progress(const struct measuring *m, size_t n_done)
{
    double done = 0, all = 0;
    for (size_t i = 0; i < m->budget->n; i++) {
        all += m->results[i].seconds;
        done += m->results[i].known ? m->results[i].seconds : 0;
    }
    const size_t n = m->budget->n;
    const uint64_t worth = all > 0 ? (uint64_t)(done / all * (double)n) : n_done;
    hone_context_progress(m->ctx, "measure", n_done < n && worth >= n ? n - 1 : worth, n);
}

/* ---- all of them ---- */

static hone_status load_all(struct measuring *m, hone_error *err)
{
    for (size_t i = 0; i < m->budget->n; i++) {
        struct measured *r = &m->results[i];
        HONE_TRY(load(m, i, &r->record, &r->known, err));
        m->n_known += r->known;
    }
    if (m->n_known > 0)
        hone_context_note(m->ctx, "resuming: %zu of %zu tensors were measured", m->n_known, m->budget->n);
    return HONE_OK;
}

static hone_status measure_all(struct measuring *m, struct turn *turns, hone_error *err)
{
    HONE_TRY(load_all(m, err));
    HONE_TRY(estimate(m, turns, err));
    for (size_t i = 0; i < m->budget->n; i++) {
        const size_t item = turns[i].item;
        struct measured *r = &m->results[item];
        if (!r->known) {
            HONE_TRY(measure_item(m, item, &r->record, err));
            HONE_TRY(save(m, item, &r->record, err));
            r->known = true;
        }
        m->probes[item].kld = r->record.kld;
        m->probes[item].shift = r->record.shift;
        show_progress(m, i + 1);
    }
    hone_probes_fill(m->probes, m->budget->n);
    for (size_t i = 0; i < m->budget->n; i++) {
        m->probes[i].kld = rounded(m->probes[i].kld);
        set_costs(&m->budget->items[i], &m->results[i].record, &m->probes[i]);
    }
    return HONE_OK;
}

static hone_status measure_on_text(struct measuring *m, const hone_budget_options *asked, hone_error *err)
{
    const hone_eval_options eval = hone_budget_eval(asked);
    struct turn *turns = hone_alloc(m->budget->n, sizeof *turns);
    m->probes = hone_alloc(m->budget->n, sizeof *m->probes);
    m->results = hone_calloc(m->budget->n, sizeof *m->results);
    hone_status status = HONE_OK;
    if (!turns || !m->probes || !m->results)
        status = hone_fail_nomem(err, m->budget->n * sizeof *m->results);
    if (status == HONE_OK)
        status =
            hone_sensitivity_new(m->ctx, m->plan->src, asked->text, asked->text_nbytes, &eval, &m->sensitivity, err);
    if (status == HONE_OK)
        status = hone_text_marks_add(&m->budget->texts, asked->text,
                                     hone_sensitivity_covered(m->sensitivity, asked->text_nbytes), 1, err);
    if (status == HONE_OK)
        status = take_turns(m, turns, err);
    if (status == HONE_OK) {
        choose_probes(m, asked->probe);
        status = measure_all(m, turns, err);
    }
    hone_release(turns);
    return status;
}

hone_eval_options hone_budget_eval(const hone_budget_options *budget)
{
    return (hone_eval_options){
        .any_text = true, .n_ctx = budget->n_ctx, .n_chunks = budget->n_chunks ? budget->n_chunks : DEFAULT_N_CHUNKS};
}

hone_status hone_budget_items_measure(const hone_context *ctx, const hone_plan *plan, const hone_budget_options *asked,
                                      hone_budget_items *b, hone_journal *journal, hone_error *err)
{
    *journal = (hone_journal){.fd = -1};
    if (asked->journal)
        HONE_TRY(hone_journal_open(asked->journal, !asked->restart, identity(plan, asked, b), b->n * RECORD_N, journal,
                                   err));
    struct measuring m = {.ctx = ctx, .plan = plan, .budget = b, .journal = journal};
    const hone_status status = measure_on_text(&m, asked, err);
    hone_release(m.results);
    hone_release(m.probes);
    hone_feedback_deinit(&m.feedback);
    hone_sensitivity_free(m.sensitivity);
    return status;
}
