/* SPDX-License-Identifier: MIT */
/* Types settled for a size, on the model that comes with the tests; and what they are settled by. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "convert/budget_probe.h"
#include "hone/hone.h"
#include "tests/support/temp_dir.h"
#include "verify/sensitivity.h"

Suite *hone_suite_budget(void);

enum { TIMEOUT = 240 };

#define MODEL "tests/models/tiny-llama"
#define MATRIX "model.layers.1.mlp.down_proj.weight"

static hone_temp_dir dir;
static hone_context *ctx;
static hone_checkpoint *model;
static char *text;
static size_t n_text;
static hone_error err;

static void open_context(int n_threads)
{
    const hone_context_options how = {.n_threads = n_threads};
    hone_context_free(ctx);
    ck_assert_int_eq(hone_context_new(&how, &ctx, &err), HONE_OK);
}

static void set_up(void)
{
    hone_temp_dir_init(&dir);
    ck_assert_int_eq(hone_checkpoint_open(MODEL, NULL, &model, &err), HONE_OK);
    ck_assert_int_eq(hone_file_slurp(MODEL "/heldout.txt", 1 << 20, &text, &n_text, &err), HONE_OK);
    ctx = NULL;
    open_context(2);
}

static void tear_down(void)
{
    hone_mem_fail_after(-1);
    hone_release(text);
    hone_context_free(ctx);
    hone_checkpoint_close(model);
    hone_temp_dir_deinit(&dir);
}

/* ---- sensitivity ---- */

static hone_sensitivity *new_sensitivity(void)
{
    const hone_eval_options opts = {.n_ctx = 32, .n_chunks = 2};
    hone_sensitivity *s;
    ck_assert_int_eq(hone_sensitivity_new(ctx, model, text, n_text, &opts, &s, &err), HONE_OK);
    return s;
}

/* The matrix as it is stored, in name's order; release with free(). */
static hone_replacement stored(const char *name)
{
    const hone_tensor *t = hone_checkpoint_find(model, name);
    ck_assert_ptr_nonnull(t);
    hone_replacement r = {name, t->dtype, (size_t)t->shape[0], (size_t)t->shape[1], malloc((size_t)t->nbytes)};
    ck_assert_int_eq(hone_checkpoint_read(model, t, 0, (size_t)t->nbytes, r.rows, &err), HONE_OK);
    return r;
}

static double kld_of(hone_sensitivity *s, const hone_replacement *r, size_t n)
{
    double kld = -1;
    ck_assert_int_eq(hone_sensitivity_measure(s, r, n, &kld, &err), HONE_OK);
    return kld;
}

START_TEST(same_matrix_changes_nothing_and_zeros_change_much)
{
    hone_sensitivity *s = new_sensitivity();
    hone_replacement r[2] = {stored(MATRIX), stored("model.embed_tokens.weight")};
    ck_assert_double_eq(kld_of(s, r, 2), 0);
    memset(r[0].rows, 0, r[0].nrows * r[0].ncols);
    const double one = kld_of(s, r, 1);
    ck_assert_double_gt(one, 1e-6);
    memset(r[1].rows, 0, r[1].nrows * r[1].ncols);
    ck_assert_double_gt(kld_of(s, &r[1], 1), 0.1);
    /* What was replaced is back in its place. */
    ck_assert_double_eq(kld_of(s, NULL, 0), 0);
    ck_assert_double_eq(kld_of(s, r, 1), one);
    free(r[0].rows);
    free(r[1].rows);
    hone_sensitivity_free(s);
}
END_TEST

START_TEST(refuses_matrices_that_do_not_fit)
{
    hone_sensitivity *s = new_sensitivity();
    hone_replacement r = stored(MATRIX);
    double kld;
    r.ncols /= 2;
    ck_assert_int_eq(hone_sensitivity_measure(s, &r, 1, &kld, &err), HONE_ERROR_ARG);
    r.ncols *= 2;
    r.name = "model.norm.weight";
    ck_assert_int_eq(hone_sensitivity_measure(s, &r, 1, &kld, &err), HONE_ERROR_ARG);
    ck_assert_uint_eq(hone_sensitivity_stage(s, r.name), SIZE_MAX);
    ck_assert_uint_eq(hone_sensitivity_stage(s, MATRIX), 2);
    ck_assert_double_eq(kld_of(s, NULL, 0), 0);
    free(r.rows);
    hone_sensitivity_free(s);
}
END_TEST

START_TEST(streams_move_where_matrices_do)
{
    hone_sensitivity *s = new_sensitivity();
    hone_replacement r = stored(MATRIX);
    double near = -1, far = -1, again = -1;
    ck_assert_int_eq(hone_sensitivity_shift(s, &r, 1, 0, &near, &err), HONE_OK);
    ck_assert_double_eq(near, 0);
    memset(r.rows, 0, r.nrows * r.ncols); /* half of them: bf16 */
    ck_assert_int_eq(hone_sensitivity_shift(s, &r, 1, 0, &near, &err), HONE_OK);
    ck_assert_int_eq(hone_sensitivity_shift(s, &r, 1, 9, &far, &err), HONE_OK);
    const double kld = kld_of(s, &r, 1);
    ck_assert_int_eq(hone_sensitivity_shift(s, &r, 1, 0, &again, &err), HONE_OK);
    ck_assert_double_gt(near, 0);
    ck_assert_double_lt(near, 4);
    ck_assert_double_gt(far, 0);
    ck_assert_double_ne(far, near);
    ck_assert_double_eq(again, near);
    ck_assert_double_gt(hone_sensitivity_measure_work(s, 2), 2 * hone_sensitivity_shift_work(s, 2, 0));
    ck_assert_double_gt(hone_sensitivity_measure_work(s, 1), hone_sensitivity_measure_work(s, 2));
    hone_sensitivity_shorten(s); /* one chunk of two */
    ck_assert_double_gt(kld_of(s, &r, 1), 0);
    ck_assert_double_ne(kld_of(s, &r, 1), kld);
    ck_assert_int_eq(hone_sensitivity_shift(s, NULL, 0, 0, &near, &err), HONE_ERROR_ARG);
    free(r.rows);
    hone_sensitivity_free(s);
}
END_TEST

/* ---- probes ---- */

enum { N_LAYERS = 10, N_KINDS = 3, N_PROBES = N_LAYERS * N_KINDS + 3 };

/* Matrices of layers whose rates are a factor of the layer times one of the kind, an embedding, an output, and in
 * layer 5 a matrix like none other. */
static void make_probes(hone_probe *probes)
{
    static const char *const kinds[N_KINDS] = {"a", "b", "c"};
    size_t n = 0;
    for (size_t layer = 1; layer <= N_LAYERS; layer++)
        for (size_t k = 0; k < N_KINDS; k++) {
            const double shift = 0.001 * (double)(1 + (layer * 7 + k * 5) % 11);
            const double rate = pow(1.2, (double)layer) * (double)(k + 1);
            probes[n++] = (hone_probe){kinds[k], layer, false, rate * shift, shift};
        }
    probes[n++] = (hone_probe){"embedding", 0, false, 1, 0};
    probes[n++] = (hone_probe){"output", N_LAYERS + 1, false, 1, 0};
    probes[n++] = (hone_probe){"odd", 5, false, 1, 1000};
    ck_assert_uint_eq(n, N_PROBES);
}

START_TEST(some_layers_tell_of_the_others)
{
    hone_probe probes[N_PROBES], truth[N_PROBES];
    make_probes(probes);
    memcpy(truth, probes, sizeof truth);
    hone_probes_choose(probes, N_PROBES, N_LAYERS);
    size_t n_whole = 0;
    for (size_t i = 0; i < N_PROBES; i++) {
        n_whole += probes[i].whole;
        if (!probes[i].whole)
            probes[i].kld = -1;
    }
    ck_assert_uint_eq(n_whole, 4 * N_KINDS + 3);
    ck_assert(probes[0].whole && !probes[N_KINDS].whole && probes[N_PROBES - 4].whole && probes[N_PROBES - 1].whole);
    probes[N_PROBES - 1].shift = 0; /* does not count as a rate of its layer */
    hone_probes_fill(probes, N_PROBES);
    for (size_t i = 0; i < N_PROBES; i++)
        ck_assert_double_eq_tol(probes[i].kld, truth[i].kld, 1e-9 * truth[i].kld);
}
END_TEST

START_TEST(few_layers_are_all_measured)
{
    hone_probe probes[2] = {{"a", 1, false, 1, 1}, {"a", 2, false, 1, 1}};
    hone_probes_choose(probes, 2, 2);
    ck_assert(probes[0].whole && probes[1].whole);
    hone_probe still[2] = {{"a", 1, true, 0, 0}, {"a", 2, false, 7, 1}}; /* nothing moved where it was measured */
    hone_probes_fill(still, 2);
    ck_assert_double_eq(still[1].kld, 0);
    ck_assert_str_eq(hone_probe_kind("blk.12.ffn_up.weight"), "ffn_up.weight");
    ck_assert_str_eq(hone_probe_kind("blk.x"), "blk.x");
    ck_assert_str_eq(hone_probe_kind("output.weight"), "output.weight");
}
END_TEST

/* ---- budgets ---- */

static hone_budget_options asked(uint64_t nbytes)
{
    return (hone_budget_options){.nbytes = nbytes, .text = text, .text_nbytes = n_text, .n_ctx = 32, .n_chunks = 2};
}

static hone_budget *settled(const hone_convert_options *opts, const hone_budget_options *budget)
{
    hone_budget *b;
    const hone_status status = hone_budget_new(ctx, model, opts, budget, &b, &err);
    ck_assert_msg(status == HONE_OK, "%s: %s", err.item, err.reason);
    return b;
}

/* Makes the plan of a budget; returns its totals. */
static hone_plan_totals totals_of(const hone_budget *b, const hone_convert_options *opts)
{
    hone_convert_options under = *opts;
    hone_plan *plan;
    under.budget = b;
    ck_assert_int_eq(hone_plan_new(ctx, model, &under, &plan, &err), HONE_OK);
    const hone_plan_totals totals = hone_plan_describe(plan);
    for (size_t i = 0, at = 0; i < totals.n_tensors && at < hone_budget_n(b); i++) {
        const hone_budget_tensor want = hone_budget_at(b, at);
        const hone_plan_tensor t = hone_plan_tensor_at(plan, i);
        if (strcmp(t.name, want.name) != 0)
            continue;
        ck_assert_int_eq(t.dtype, want.dtype);
        ck_assert_uint_eq(t.nbytes, want.nbytes);
        ck_assert_str_eq(t.why, "budget");
        at++;
    }
    hone_plan_free(plan);
    return totals;
}

static uint64_t mix_nbytes(const char *type)
{
    const hone_convert_options opts = {.type = type};
    hone_plan *plan;
    ck_assert_int_eq(hone_plan_new(ctx, model, &opts, &plan, &err), HONE_OK);
    const uint64_t nbytes = hone_plan_describe(plan).output_nbytes;
    hone_plan_free(plan);
    return nbytes;
}

START_TEST(fills_the_file_and_no_more)
{
    const hone_convert_options opts = {.type = NULL};
    const hone_budget_options budget = asked(mix_nbytes("q4_k_m"));
    hone_budget *b = settled(&opts, &budget);
    const hone_budget_point chosen = hone_budget_chosen(b);
    const hone_plan_totals totals = totals_of(b, &opts);
    ck_assert_uint_eq(chosen.nbytes, totals.output_nbytes);
    ck_assert_double_eq_tol(chosen.bpw, totals.bpw, 1e-9);
    ck_assert_uint_le(totals.output_nbytes, budget.nbytes);
    ck_assert_uint_ge(totals.output_nbytes, budget.nbytes - budget.nbytes / 100);
    ck_assert(chosen.is_exact);
    double kld = 0;
    for (size_t i = 0; i < hone_budget_n(b); i++)
        kld += hone_budget_at(b, i).kld;
    ck_assert_double_eq_tol(kld, chosen.kld, 1e-12);
    for (size_t i = 1; i < hone_budget_n_points(b); i++) { /* more bytes, less divergence */
        ck_assert_uint_gt(hone_budget_point_at(b, i).nbytes, hone_budget_point_at(b, i - 1).nbytes);
        ck_assert_double_lt(hone_budget_point_at(b, i).kld, hone_budget_point_at(b, i - 1).kld);
    }
    hone_budget_free(b);
}
END_TEST

START_TEST(bits_per_weight_and_divergence_are_kept)
{
    const hone_convert_options opts = {.type = NULL};
    hone_budget_options budget = asked(0);
    budget.bpw = 4.25;
    hone_budget *b = settled(&opts, &budget);
    const hone_budget_point at_bpw = hone_budget_chosen(b);
    ck_assert_double_le(totals_of(b, &opts).bpw, 4.25);
    ck_assert_double_gt(totals_of(b, &opts).bpw, 4.2);
    hone_budget_free(b);
    budget.bpw = 0;
    budget.max_kld = at_bpw.kld; /* the reverse gives as small a file */
    b = settled(&opts, &budget);
    ck_assert_double_le(hone_budget_chosen(b).kld, at_bpw.kld);
    ck_assert_uint_le(hone_budget_chosen(b).nbytes, at_bpw.nbytes);
    ck_assert_uint_eq(hone_budget_chosen(b).nbytes, totals_of(b, &opts).output_nbytes);
    hone_budget_free(b);
}
END_TEST

START_TEST(fast_probe_tells_much_the_same)
{
    const hone_convert_options opts = {.type = NULL};
    hone_budget_options budget = asked(0);
    budget.bpw = 4;
    hone_budget *exact = settled(&opts, &budget);
    ck_assert_int_eq(hone_budget_probe_used(exact), HONE_PROBE_EXACT); /* a small model */
    budget.probe = HONE_PROBE_FAST;
    hone_budget *fast = settled(&opts, &budget);
    ck_assert_int_eq(hone_budget_probe_used(fast), HONE_PROBE_FAST);
    size_t n_inferred = 0;
    for (size_t i = 0; i < hone_budget_n(fast); i++) {
        const hone_budget_tensor a = hone_budget_at(exact, i), b = hone_budget_at(fast, i);
        ck_assert(!a.inferred);
        n_inferred += b.inferred;
        ck_assert_double_lt(b.probe_kld, 4 * a.probe_kld);
        ck_assert_double_gt(b.probe_kld, a.probe_kld / 4);
    }
    ck_assert_uint_eq(n_inferred, 2 * 7); /* of 4 layers those in the middle */
    ck_assert_double_lt(hone_budget_chosen(fast).kld, 2 * hone_budget_chosen(exact).kld);
    ck_assert_double_gt(hone_budget_chosen(fast).kld, hone_budget_chosen(exact).kld / 2);
    hone_budget_free(fast);
    budget.bpw = 0;
    budget.max_kld = hone_budget_chosen(exact).kld * 2;
    fast = settled(&opts, &budget);
    ck_assert_int_eq(hone_budget_probe_used(fast), HONE_PROBE_FAST);
    ck_assert_double_le(hone_budget_chosen(fast).kld, budget.max_kld);
    hone_budget_free(fast);
    hone_budget_free(exact);
}
END_TEST

START_TEST(types_are_those_asked_for)
{
    static const hone_dtype types[] = {HONE_Q6_K, HONE_IQ3_S, HONE_IQ2_XXS}, none[] = {HONE_IQ2_XXS};
    static const hone_dtype unknown[] = {HONE_Q4_K, HONE_I32};
    const hone_convert_options opts = {.type = NULL, .search = HONE_SEARCH_FAST};
    hone_budget_options budget = asked(0);
    budget.bpw = 4;
    budget.types = types;
    budget.n_types = 3;
    hone_budget *b = settled(&opts, &budget);
    for (size_t i = 0; i < hone_budget_n(b); i++) { /* without importance there is no iq2_xxs */
        const hone_dtype type = hone_budget_at(b, i).dtype;
        ck_assert(type == HONE_Q6_K || type == HONE_IQ3_S ||
                  (type == HONE_IQ2_XXS && strncmp(hone_budget_at(b, i).name, "blk.", 4) != 0));
    }
    hone_budget_free(b);
    budget.types = none;
    budget.n_types = 1;
    ck_assert_int_eq(hone_budget_new(ctx, model, &opts, &budget, &b, &err), HONE_ERROR_ARG);
    budget.types = unknown;
    budget.n_types = 2;
    ck_assert_int_eq(hone_budget_new(ctx, model, &opts, &budget, &b, &err), HONE_ERROR_ARG);
    ck_assert_ptr_nonnull(strstr(err.reason, "i32 is no type that can be chosen"));
    budget.n_types = HONE_BUDGET_MAX_TYPES + 1;
    ck_assert_int_eq(hone_budget_new(ctx, model, &opts, &budget, &b, &err), HONE_ERROR_ARG);
}
END_TEST

START_TEST(rules_go_before_a_budget)
{
    const hone_type_rule rules[] = {{"blk\\.0\\.ffn", HONE_Q8_0}};
    const hone_convert_options opts = {.rules = rules, .n_rules = 1, .output_dtype = HONE_Q6_K};
    const hone_budget_options budget = asked(mix_nbytes("q5_k_m"));
    hone_budget *b = settled(&opts, &budget);
    for (size_t i = 0; i < hone_budget_n(b); i++)
        ck_assert_ptr_null(strstr(hone_budget_at(b, i).name, "blk.0.ffn"));
    ck_assert_uint_eq(totals_of(b, &opts).output_nbytes, hone_budget_chosen(b).nbytes);
    hone_budget_free(b);
}
END_TEST

START_TEST(threads_do_not_change_the_types)
{
    const hone_convert_options opts = {.type = NULL};
    const hone_budget_options budget = asked(mix_nbytes("q3_k_m"));
    hone_budget *two = settled(&opts, &budget);
    open_context(1);
    hone_budget *one = settled(&opts, &budget);
    for (size_t i = 0; i < hone_budget_n(two); i++) {
        ck_assert_int_eq(hone_budget_at(one, i).dtype, hone_budget_at(two, i).dtype);
        ck_assert_double_eq(hone_budget_at(one, i).kld, hone_budget_at(two, i).kld);
    }
    hone_budget_free(one);
    hone_budget_free(two);
}
END_TEST

static char noted[256];

static void take_note(void *user, const char *note)
{
    (void)user;
    if (strncmp(note, "resuming:", 9) == 0)
        (void)snprintf(noted, sizeof noted, "%s", note);
}

/* A journal that ends in the middle of a record, as a killed run leaves it; another size is asked for than before. */
START_TEST(what_was_measured_is_not_measured_again)
{
    const hone_convert_options opts = {.type = NULL};
    const hone_context_options how = {.n_threads = 2, .note = take_note};
    hone_context_free(ctx);
    ck_assert_int_eq(hone_context_new(&how, &ctx, &err), HONE_OK);
    hone_budget_options budget = asked(mix_nbytes("q4_k_m"));
    hone_budget *whole = settled(&opts, &budget);
    budget.journal = hone_temp_path(&dir, "out");
    budget.nbytes = mix_nbytes("q3_k_m");
    hone_budget_free(settled(&opts, &budget));
    char journal[512];
    (void)snprintf(journal, sizeof journal, "%s.hone-journal", budget.journal);
    ck_assert_int_eq(truncate(journal, 24 + 2 * 28 * 8 + 30), 0);
    noted[0] = '\0';
    budget.nbytes = mix_nbytes("q4_k_m");
    hone_budget *b = settled(&opts, &budget);
    ck_assert_msg(strncmp(noted, "resuming: 2 of ", 15) == 0, "%s", noted);
    for (size_t i = 0; i < hone_budget_n(b); i++) {
        ck_assert_int_eq(hone_budget_at(b, i).dtype, hone_budget_at(whole, i).dtype);
        ck_assert_double_eq(hone_budget_at(b, i).kld, hone_budget_at(whole, i).kld);
        ck_assert_double_eq(hone_budget_at(b, i).probe_kld, hone_budget_at(whole, i).probe_kld);
    }
    hone_budget_free(b);
    budget.n_chunks = 1; /* other work */
    ck_assert_int_eq(hone_budget_new(ctx, model, &opts, &budget, &b, &err), HONE_ERROR_ARG);
    ck_assert_ptr_nonnull(strstr(err.reason, "--restart"));
    budget.restart = true;
    b = settled(&opts, &budget);
    hone_budget_forget(b);
    ck_assert(!hone_file_exists(journal));
    hone_budget_free(b);
    hone_budget_free(whole);
}
END_TEST

START_TEST(refuses_budgets_that_cannot_be)
{
    const hone_convert_options opts = {.type = NULL}, elsewhere = {.to = "mlx", .grid = {.bits = 4, .group = 64}};
    hone_budget *b;
    hone_budget_options budget = asked(1000);
    ck_assert_int_eq(hone_budget_new(ctx, model, &opts, &budget, &b, &err), HONE_ERROR_ARG);
    ck_assert_ptr_nonnull(strstr(err.reason, "the budget is 1000 bytes, the least there can be is"));
    ck_assert_ptr_null(b);
    budget.bpw = 4;
    ck_assert_int_eq(hone_budget_new(ctx, model, &opts, &budget, &b, &err), HONE_ERROR_ARG);
    budget = asked(0);
    ck_assert_int_eq(hone_budget_new(ctx, model, &opts, &budget, &b, &err), HONE_ERROR_ARG);
    budget = asked(1 << 30);
    ck_assert_int_eq(hone_budget_new(ctx, model, &elsewhere, &budget, &b, &err), HONE_ERROR_ARG);
    budget.text = NULL;
    ck_assert_int_eq(hone_budget_new(ctx, model, &opts, &budget, &b, &err), HONE_ERROR_ARG);
    budget = asked(0);
    budget.max_kld = 1e-12; /* f16 holds these weights as they are */
    b = settled(&opts, &budget);
    ck_assert_double_le(hone_budget_chosen(b).kld, budget.max_kld);
    hone_budget_free(b);
}
END_TEST

START_TEST(survives_failed_allocations)
{
    const hone_convert_options opts = {.type = NULL, .search = HONE_SEARCH_FAST};
    hone_budget_options budget = asked(mix_nbytes("q4_0"));
    budget.n_chunks = 1;
    hone_status status = HONE_ERROR_NOMEM;
    /* Each of the first, then ever fewer: most are alike. */
    for (long n = 0; status == HONE_ERROR_NOMEM; n += 1 + n / 8) {
        hone_budget *b;
        hone_mem_fail_after(n);
        status = hone_budget_new(ctx, model, &opts, &budget, &b, &err);
        hone_mem_fail_after(-1);
        hone_budget_free(b);
    }
    ck_assert_int_eq(status, HONE_OK);
}
END_TEST

Suite *hone_suite_budget(void)
{
    Suite *s = suite_create("budget");
    TCase *t = tcase_create("core");
    tcase_set_timeout(t, TIMEOUT);
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, same_matrix_changes_nothing_and_zeros_change_much);
    tcase_add_test(t, refuses_matrices_that_do_not_fit);
    tcase_add_test(t, streams_move_where_matrices_do);
    tcase_add_test(t, some_layers_tell_of_the_others);
    tcase_add_test(t, few_layers_are_all_measured);
    tcase_add_test(t, fast_probe_tells_much_the_same);
    tcase_add_test(t, types_are_those_asked_for);
    tcase_add_test(t, fills_the_file_and_no_more);
    tcase_add_test(t, bits_per_weight_and_divergence_are_kept);
    tcase_add_test(t, rules_go_before_a_budget);
    tcase_add_test(t, threads_do_not_change_the_types);
    tcase_add_test(t, what_was_measured_is_not_measured_again);
    tcase_add_test(t, refuses_budgets_that_cannot_be);
    tcase_add_test(t, survives_failed_allocations);
    suite_add_tcase(s, t);
    return s;
}
