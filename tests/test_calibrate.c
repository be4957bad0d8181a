/* SPDX-License-Identifier: MIT */
/* Calibration runs on the model that comes with the tests. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "hone/calibrate.h"
#include "tests/support/temp_dir.h"

Suite *hone_suite_calibrate(void);

enum { TIMEOUT = 120 };

#define MODEL "tests/models/tiny-llama"

static hone_temp_dir dir;
static hone_checkpoint *model;
static char *text;
static size_t n_text;
static hone_error err;
static char note[512];
static const char *const datasets[] = {"heldout.txt"};

static void set_up(void)
{
    hone_temp_dir_init(&dir);
    ck_assert_int_eq(hone_checkpoint_open(MODEL, NULL, &model, &err), HONE_OK);
    ck_assert_int_eq(hone_file_slurp(MODEL "/heldout.txt", 1 << 20, &text, &n_text, &err), HONE_OK);
    note[0] = '\0';
}

static void tear_down(void)
{
    hone_mem_fail_after(-1);
    hone_release(text);
    hone_checkpoint_close(model);
    hone_temp_dir_deinit(&dir);
}

static void take_note(void *user, const char *line)
{
    (void)user;
    (void)strncpy(note, line, sizeof note - 1);
}

static hone_status calibrate_at(const char *path, int n_threads, uint64_t memory, const hone_calibrate_options *opts,
                                hone_calibration **out)
{
    const hone_context_options how = {.n_threads = n_threads, .memory_nbytes = memory, .note = take_note};
    hone_context *ctx;
    ck_assert_int_eq(hone_context_new(&how, &ctx, &err), HONE_OK);
    const hone_status status = hone_calibrate(ctx, model, text, n_text, opts, path, out, &err);
    hone_context_free(ctx);
    return status;
}

static hone_calibrate_options small(void)
{
    return (hone_calibrate_options){.n_ctx = 32, .n_chunks = 3, .hessian = true, .datasets = datasets, .n_datasets = 1};
}

/* Writes name in the test's directory; returns its bytes. */
static char *bytes_of(const char *name, int n_threads, uint64_t memory, const hone_calibrate_options *opts, size_t *n)
{
    char *bytes;
    const hone_status status = calibrate_at(hone_temp_path(&dir, name), n_threads, memory, opts, NULL);
    ck_assert_msg(status == HONE_OK, "%s: %s", err.item, err.reason);
    ck_assert_int_eq(hone_file_slurp(hone_temp_path(&dir, name), 1 << 28, &bytes, n, &err), HONE_OK);
    return bytes;
}

static float *floats_of(const hone_checkpoint *file, const char *name, size_t *n)
{
    const hone_tensor *t = hone_checkpoint_find(file, name);
    ck_assert_msg(t != NULL, "%s", name);
    *n = (size_t)t->nelems;
    float *values = malloc(*n * sizeof *values);
    ck_assert_ptr_nonnull(values);
    ck_assert_int_eq(hone_checkpoint_read(file, t, 0, *n * sizeof *values, values, &err), HONE_OK);
    return values;
}

START_TEST(threads_and_memory_do_not_change_the_file)
{
    const hone_calibrate_options opts = small();
    size_t n, n_other;
    char *want = bytes_of("a", 1, 0, &opts, &n);
    char *threads = bytes_of("b", 3, 0, &opts, &n_other);
    ck_assert_uint_eq(n, n_other);
    ck_assert_mem_eq(want, threads, n);
    ck_assert_str_eq(note, "");
    char *rounds = bytes_of("c", 2, 3 << 20, &opts, &n_other);
    ck_assert_uint_eq(n, n_other);
    ck_assert_mem_eq(want, rounds, n);
    hone_release(want);
    hone_release(threads);
    hone_release(rounds);
}
END_TEST

/* Runs that fail at some allocation leave what they did; the next goes on from there, and only with the same text. */
START_TEST(a_stopped_run_is_taken_up)
{
    hone_calibrate_options opts = small();
    size_t n, n_other;
    char *want = bytes_of("a", 2, 0, &opts, &n);
    bool resumed = false;
    for (long fail = 60; !resumed; fail += 100) {
        ck_assert_int_lt(fail, 100000);
        opts.overwrite = opts.restart = true;
        hone_mem_fail_after(fail);
        const hone_status status = calibrate_at(hone_temp_path(&dir, "b"), 2, 0, &opts, NULL);
        hone_mem_fail_after(-1);
        opts.restart = false;
        note[0] = '\0';
        ck_assert_int_eq(status, HONE_ERROR_NOMEM);
        if (hone_file_exists(hone_temp_path(&dir, "b.hone-partial"))) {
            hone_calibrate_options other = opts;
            other.n_chunks = 2;
            ck_assert_int_eq(calibrate_at(hone_temp_path(&dir, "b"), 2, 0, &other, NULL), HONE_ERROR_ARG);
            ck_assert_ptr_nonnull(strstr(err.reason, "--restart"));
        }
        char *got = bytes_of("b", 1, 3 << 20, &opts, &n_other);
        ck_assert_uint_eq(n, n_other);
        ck_assert_mem_eq(want, got, n);
        hone_release(got);
        resumed = strstr(note, "resuming: ") != NULL;
        ck_assert(!hone_file_exists(hone_temp_path(&dir, "b.hone-journal")));
    }
    hone_release(want);
}
END_TEST

START_TEST(squares_are_the_diagonal_of_the_moments)
{
    const hone_calibrate_options opts = small();
    hone_calibration *seen;
    ck_assert_int_eq(calibrate_at(hone_temp_path(&dir, "a"), 2, 0, &opts, &seen), HONE_OK);
    hone_checkpoint *file;
    ck_assert_int_eq(hone_checkpoint_open(hone_temp_path(&dir, "a"), NULL, &file, &err), HONE_OK);
    size_t d, n, one;
    float *sums = floats_of(file, "blk.2.ffn_down.weight.in_sum2", &d);
    float *gram = floats_of(file, "blk.2.ffn_down.weight.in_gram", &n);
    float *count = floats_of(file, "blk.2.ffn_down.weight.counts", &one);
    ck_assert_uint_eq(d, 512);
    ck_assert_uint_eq(n, d * (d + 1) / 2);
    ck_assert_float_eq(count[0], 96.0f);
    for (size_t i = 0, at = 0; i < d; at += d - i, i++)
        ck_assert_double_eq_tol((double)gram[at], (double)sums[i], 1e-5 * (double)sums[i]);
    /* Those that share an input share its moments. */
    ck_assert_ptr_nonnull(hone_checkpoint_find(file, "blk.0.attn_q.weight.in_gram"));
    ck_assert_ptr_null(hone_checkpoint_find(file, "blk.0.attn_k.weight.in_gram"));
    ck_assert_ptr_nonnull(hone_checkpoint_find(file, "blk.0.attn_k.weight.in_sum2"));
    free(sums);
    free(gram);
    free(count);
    hone_checkpoint_close(file);
    hone_calibration_free(seen);
}
END_TEST

START_TEST(coverage_tells_what_was_not_seen)
{
    hone_calibrate_options opts = small();
    opts.hessian = _i == 2;
    opts.output = _i == 1;
    hone_calibration *seen;
    ck_assert_int_eq(calibrate_at(hone_temp_path(&dir, "a"), 2, 0, &opts, &seen), HONE_OK);
    ck_assert_uint_eq(hone_calibration_tokens(seen), 96);
    ck_assert_uint_eq(hone_calibration_chunks(seen), 3);
    ck_assert_uint_eq(hone_calibration_n(seen), 4 * 7 + 2);
    size_t n_unseen = 0;
    for (size_t i = 0; i < hone_calibration_n(seen); i++) {
        const hone_calibration_weight w = hone_calibration_at(seen, i);
        ck_assert(w.hessian == opts.hessian);
        if (strncmp(w.name, "blk.", 4) == 0 || (_i > 0 && strcmp(w.name, "output.weight") == 0)) {
            ck_assert_uint_eq(w.tokens, 96);
        } else if (opts.hessian) {
            ck_assert_str_eq(w.name, "token_embd.weight");
            ck_assert_uint_eq(w.tokens, 256 + 2 * 128 + 2 * 512); /* rows of q, k, v, gate, up */
        } else {
            n_unseen++;
            ck_assert_uint_eq(w.tokens, 0);
        }
    }
    ck_assert_uint_eq(n_unseen, 2 - _i);
    hone_calibration_free(seen);
}
END_TEST

static hone_status merge(const char *const *paths, size_t n, const char *path)
{
    hone_context *ctx;
    ck_assert_int_eq(hone_context_new(NULL, &ctx, &err), HONE_OK);
    const hone_status status = hone_calibration_merge(ctx, paths, n, NULL, path, NULL, &err);
    hone_context_free(ctx);
    return status;
}

/* Each token is given to the router, and to as many experts as the model uses; an expert's squares are the diagonal of
 * its moments. */
START_TEST(experts_share_the_tokens)
{
    hone_checkpoint_close(model);
    ck_assert_int_eq(hone_checkpoint_open("tests/models/tiny-mixtral", NULL, &model, &err), HONE_OK);
    const hone_calibrate_options opts = small();
    hone_calibration *seen;
    ck_assert_msg(calibrate_at(hone_temp_path(&dir, "a"), 2, 0, &opts, &seen) == HONE_OK, "%s", err.reason);
    hone_checkpoint *file;
    ck_assert_int_eq(hone_checkpoint_open(hone_temp_path(&dir, "a"), NULL, &file, &err), HONE_OK);
    size_t n_counts, n_sums, n_gram;
    float *counts = floats_of(file, "blk.1.ffn_down_exps.weight.counts", &n_counts);
    float *sums = floats_of(file, "blk.1.ffn_down_exps.weight.in_sum2", &n_sums);
    float *gram = floats_of(file, "blk.1.ffn_down_exps.weight.in_gram", &n_gram);
    const size_t d = 256, triangle = d * (d + 1) / 2;
    ck_assert_uint_eq(n_counts, 4);
    ck_assert_uint_eq(n_sums, 4 * d);
    ck_assert_uint_eq(n_gram, 4 * triangle);
    float total = 0;
    for (size_t e = 0; e < n_counts; e++) {
        total += counts[e];
        for (size_t i = 0, at = e * triangle; i < d; at += d - i, i++)
            ck_assert_double_eq_tol((double)gram[at], (double)sums[e * d + i], 1e-5 * (double)sums[e * d + i]);
    }
    ck_assert_float_eq(total, 2 * 96);
    size_t n_experts = 0, n_routers = 0;
    uint64_t n_tokens = 0;
    for (size_t i = 0; i < hone_calibration_n(seen); i++) {
        const hone_calibration_weight w = hone_calibration_at(seen, i);
        ck_assert_uint_gt(w.tokens, 0);
        n_routers += strstr(w.name, "ffn_gate_inp.weight") && w.tokens == 96;
        if (strcmp(w.name, "blk.1.ffn_down_exps.weight") != 0)
            continue;
        ck_assert_uint_eq(w.n_experts, 4);
        ck_assert_float_eq(counts[w.expert], (float)w.tokens);
        n_tokens += w.tokens;
        n_experts++;
    }
    ck_assert_uint_eq(n_experts, 4);
    ck_assert_uint_eq(n_routers, 2);
    ck_assert_uint_eq(n_tokens, 2 * 96);
    hone_calibration_free(seen);
    hone_checkpoint_close(file);
    free(counts);
    free(sums);
    free(gram);
}
END_TEST

START_TEST(merging_adds_up)
{
    const hone_calibrate_options opts = small();
    ck_assert_int_eq(calibrate_at(hone_temp_path(&dir, "a"), 2, 0, &opts, NULL), HONE_OK);
    char *a = strdup(hone_temp_path(&dir, "a"));
    const char *const twice[] = {a, a};
    ck_assert_msg(merge(twice, 2, hone_temp_path(&dir, "b")) == HONE_OK, "%s: %s", err.item, err.reason);
    hone_checkpoint *one, *two;
    ck_assert_int_eq(hone_checkpoint_open(a, NULL, &one, &err), HONE_OK);
    ck_assert_int_eq(hone_checkpoint_open(hone_temp_path(&dir, "b"), NULL, &two, &err), HONE_OK);
    ck_assert_uint_eq(hone_checkpoint_n_tensors(one), hone_checkpoint_n_tensors(two));
    for (size_t i = 0; i < hone_checkpoint_n_tensors(one); i++) {
        size_t n, n_two;
        const char *name = hone_checkpoint_tensor(one, i)->name;
        float *x = floats_of(one, name, &n), *y = floats_of(two, name, &n_two);
        ck_assert_uint_eq(n, n_two);
        for (size_t k = 0; k < n; k++)
            ck_assert_float_eq(2.0f * x[k], y[k]);
        free(x);
        free(y);
    }
    ck_assert_uint_eq(hone_checkpoint_find_metadata(two, "imatrix.chunk_count")->v.u, 6);
    ck_assert_uint_eq(hone_checkpoint_find_metadata(two, "imatrix.datasets")->v.array.count, 2);
    ck_assert_ptr_nonnull(hone_checkpoint_find_metadata(two, "hone.calibration.grams"));
    hone_checkpoint_close(one);
    hone_checkpoint_close(two);
    free(a);
}
END_TEST

START_TEST(merging_refuses_other_models_and_other_files)
{
    hone_calibrate_options opts = small();
    ck_assert_int_eq(calibrate_at(hone_temp_path(&dir, "a"), 2, 0, &opts, NULL), HONE_OK);
    char *a = strdup(hone_temp_path(&dir, "a"));
    opts.hessian = false;
    ck_assert_int_eq(calibrate_at(hone_temp_path(&dir, "b"), 2, 0, &opts, NULL), HONE_OK);
    char *b = strdup(hone_temp_path(&dir, "b"));
    const char *const mixed[] = {a, b}, *const weights[] = {a, MODEL "/config.json"};
    ck_assert_int_eq(merge(mixed, 2, hone_temp_path(&dir, "c")), HONE_ERROR_DATA);
    ck_assert_str_eq(err.reason, "holds other tensors than the first file");
    ck_assert_str_eq(err.file, b);
    ck_assert_int_ne(merge(weights, 2, hone_temp_path(&dir, "c")), HONE_OK);
    ck_assert_int_eq(merge(mixed, 0, hone_temp_path(&dir, "c")), HONE_ERROR_ARG);
    ck_assert(!hone_file_exists(hone_temp_path(&dir, "c")));
    free(a);
    free(b);
}
END_TEST

START_TEST(a_budget_below_one_input_is_refused)
{
    const hone_calibrate_options opts = small();
    ck_assert_int_eq(calibrate_at(hone_temp_path(&dir, "a"), 2, 100000, &opts, NULL), HONE_ERROR_NOMEM);
    ck_assert_ptr_nonnull(strstr(err.reason, "--memory"));
    ck_assert_str_eq(err.item, "blk.0.attn_q.weight");
    ck_assert(!hone_file_exists(hone_temp_path(&dir, "a")));
    ck_assert(!hone_file_exists(hone_temp_path(&dir, "a.hone-partial")));
}
END_TEST

START_TEST(an_existing_file_stays)
{
    hone_calibrate_options opts = small();
    (void)hone_temp_text(&dir, "a", "mine");
    ck_assert_int_eq(calibrate_at(hone_temp_path(&dir, "a"), 2, 0, &opts, NULL), HONE_ERROR_ARG);
    opts.overwrite = true;
    ck_assert_int_eq(calibrate_at(hone_temp_path(&dir, "a"), 2, 0, &opts, NULL), HONE_OK);
}
END_TEST

START_TEST(every_failing_allocation_is_reported)
{
    hone_calibrate_options opts = small();
    opts.n_chunks = 1;
    opts.n_ctx = 8;
    hone_context *ctx;
    ck_assert_int_eq(hone_context_new(&(hone_context_options){.n_threads = 1}, &ctx, &err), HONE_OK);
    const char *path = hone_temp_path(&dir, "a");
    hone_status status = HONE_ERROR_NOMEM;
    /* The first are the tokenizer's and the model's, which have tests of their own. */
    for (long n = 0; status == HONE_ERROR_NOMEM; n += 1 + n / 8) {
        hone_calibration *seen;
        hone_mem_fail_after(n);
        status = hone_calibrate(ctx, model, text, n_text, &opts, path, &seen, &err);
        ck_assert(status == HONE_OK || seen == NULL);
        ck_assert(status == HONE_OK || !hone_file_exists(path));
        hone_mem_fail_after(-1);
        if (status == HONE_OK)
            hone_calibration_free(seen);
    }
    ck_assert_int_eq(status, HONE_OK);
    hone_context_free(ctx);
}
END_TEST

Suite *hone_suite_calibrate(void)
{
    Suite *s = suite_create("calibrate");
    TCase *tc = tcase_create("core");
    tcase_set_timeout(tc, TIMEOUT);
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, threads_and_memory_do_not_change_the_file);
    tcase_add_test(tc, a_stopped_run_is_taken_up);
    tcase_add_test(tc, squares_are_the_diagonal_of_the_moments);
    tcase_add_loop_test(tc, coverage_tells_what_was_not_seen, 0, 3);
    tcase_add_test(tc, experts_share_the_tokens);
    tcase_add_test(tc, merging_adds_up);
    tcase_add_test(tc, merging_refuses_other_models_and_other_files);
    tcase_add_test(tc, a_budget_below_one_input_is_refused);
    tcase_add_test(tc, an_existing_file_stays);
    tcase_add_test(tc, every_failing_allocation_is_reported);
    suite_add_tcase(s, tc);
    return s;
}
