/* SPDX-License-Identifier: MIT */
/* Plans under an importance matrix, and what a run says about the error it made. */
#include <check.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fail.h"
#include "convert/measure.h"
#include "formats/gguf_writer.h"
#include "formats/imatrix.h"
#include "hone/hone.h"
#include "tests/support/fills.h"
#include "tests/support/seeded_weights.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_checkpoint.h"

Suite *hone_suite_importance(void);

/* A model of one block: experts stacked, and plain matrices. */
enum { NCOLS = 256, NROWS = 6, N_EXPERTS = 3, N_TENSORS = 4 };

static const struct {
    const char *name;
    unsigned n_dims;
    uint64_t shape[3];
} tensors[N_TENSORS] = {
    {"token_embd.weight", 2, {NROWS, NCOLS}},
    {"blk.0.attn_q.weight", 2, {NROWS, NCOLS}},
    {"blk.0.ffn_up_exps.weight", 3, {N_EXPERTS, NROWS, NCOLS}},
    {"output_norm.weight", 1, {NCOLS}},
};
enum { EMBD, Q, EXPS, NORM };

static hone_temp_dir dir;
static hone_context *ctx;
static hone_checkpoint *src;
static hone_plan *plan;
static hone_error err;
static char model[512], imatrix[512], out[512];
static float values[N_TENSORS][N_EXPERTS * NROWS * NCOLS], sums[N_EXPERTS * NCOLS], counts[N_EXPERTS];

static size_t n_values(size_t tensor)
{
    size_t n = 1;
    for (unsigned d = 0; d < tensors[tensor].n_dims; d++)
        n *= (size_t)tensors[tensor].shape[d];
    return n;
}

static void write_model(void)
{
    hone_gguf_header *h = hone_gguf_new();
    hone_gguf_put_str(h, "general.architecture", "llama");
    hone_gguf_put_str(h, "quantize.imatrix.file", "another.gguf");
    hone_gguf_put_u32(h, "llama.block_count", 1);
    for (size_t i = 0; i < N_TENSORS; i++)
        hone_gguf_add_tensor(h, tensors[i].name, HONE_F32, tensors[i].n_dims, tensors[i].shape);
    hone_gguf_layout layout;
    ck_assert_int_eq(hone_gguf_finish(h, HONE_GGUF_ALIGNMENT, &layout, &err), HONE_OK);
    uint8_t *bytes = calloc((size_t)layout.file_nbytes, 1);
    memcpy(bytes, layout.bytes, layout.nbytes);
    for (size_t i = 0; i < N_TENSORS; i++) {
        hone_seeded_weights(HONE_FILL_SEED + i, n_values(i), values[i]);
        memcpy(bytes + layout.offsets[i], values[i], (size_t)layout.sizes[i]);
    }
    (void)snprintf(model, sizeof model, "%s", hone_temp_file(&dir, "model.gguf", bytes, (size_t)layout.file_nbytes));
    free(bytes);
    hone_gguf_layout_deinit(&layout);
    hone_gguf_free(h);
}

static void set_up(void)
{
    hone_temp_dir_init(&dir);
    (void)snprintf(imatrix, sizeof imatrix, "%s", hone_temp_path(&dir, "imatrix.gguf"));
    (void)snprintf(out, sizeof out, "%s", hone_temp_path(&dir, "out.gguf"));
    const hone_context_options opts = {.n_threads = 2};
    ck_assert_int_eq(hone_context_new(&opts, &ctx, &err), HONE_OK);
    plan = NULL;
    write_model();
    ck_assert_int_eq(hone_checkpoint_open(model, NULL, &src, &err), HONE_OK);
    for (size_t i = 0; i < sizeof sums / sizeof sums[0]; i++)
        sums[i] = (float)(1 + i * 7919 % 1000);
    for (size_t i = 0; i < N_EXPERTS; i++)
        counts[i] = (float)(3 + i);
}

static void tear_down(void)
{
    hone_plan_free(plan);
    hone_checkpoint_close(src);
    hone_context_free(ctx);
    hone_temp_dir_deinit(&dir);
}

static void write_imatrix(const hone_imatrix_sums *entries, size_t n)
{
    static const char *const text = "calibration.txt";
    const hone_imatrix_origin origin = {&text, 1, 5, 512};
    ck_assert_int_eq(hone_imatrix_write(imatrix, entries, n, &origin, true, &err), HONE_OK);
}

static hone_status plan_with(const char *type, const char *path, hone_search search)
{
    const hone_convert_options opts = {.type = type, .imatrix = path, .search = search, .pure = true};
    hone_plan_free(plan);
    return hone_plan_new(ctx, src, &opts, &plan, &err);
}

static size_t plain_expert = SIZE_MAX;

/* Runs the plan, and compares a tensor of the output with rows encoded under given importance (n_mats, NCOLS), or NULL.
 */
static void expect_encoded(size_t tensor, hone_search search, const float *importance)
{
    const hone_run_options run = {.overwrite = true};
    ck_assert_int_eq(hone_plan_run(ctx, plan, out, &run, &err), HONE_OK);
    hone_checkpoint *written;
    ck_assert_int_eq(hone_checkpoint_open(out, NULL, &written, &err), HONE_OK);
    const hone_tensor *t = hone_checkpoint_find(written, tensors[tensor].name);
    ck_assert_ptr_nonnull(t);
    uint8_t *got = malloc((size_t)t->nbytes), *expected = malloc((size_t)t->nbytes);
    ck_assert_int_eq(hone_checkpoint_read(written, t, 0, (size_t)t->nbytes, got, &err), HONE_OK);
    const size_t n_mats = tensors[tensor].n_dims == 3 ? N_EXPERTS : 1;
    for (size_t m = 0; m < n_mats; m++)
        ck_assert_int_eq(hone_quantize_rows(ctx, t->dtype, search, values[tensor] + m * NROWS * NCOLS, NROWS, NCOLS,
                                            importance && m != plain_expert ? importance + m * NCOLS : NULL,
                                            expected + m * (size_t)t->nbytes / n_mats, &err),
                         HONE_OK);
    ck_assert_mem_eq(got, expected, (size_t)t->nbytes);
    free(got);
    free(expected);
    hone_checkpoint_close(written);
}

static const char *const types[] = {"q4_0", "q4_1", "q5_0",   "q5_1",   "q8_0",  "q2_k",  "q3_k_s",   "q4_k",
                                    "q5_k", "q6_k", "iq4_nl", "iq4_xs", "tq1_0", "nvfp4", "mxfp4_moe"};

START_TEST(rows_are_weighed_by_the_entry_of_their_tensor)
{
    float mean[NCOLS];
    for (size_t i = 0; i < NCOLS; i++)
        mean[i] = sums[i] / counts[0];
    write_imatrix(&(hone_imatrix_sums){tensors[Q].name, NCOLS, 1, sums, counts}, 1);
    for (hone_search search = HONE_SEARCH_REFERENCE; search <= HONE_SEARCH_BEST; search++) {
        ck_assert_int_eq(plan_with(types[_i], imatrix, search), HONE_OK);
        expect_encoded(Q, search, mean);
        expect_encoded(EXPS, search, NULL);
    }
}
END_TEST

START_TEST(each_expert_has_its_own_importance)
{
    float mean[N_EXPERTS * NCOLS];
    counts[1] = 0;
    for (size_t i = 0; i < N_EXPERTS * NCOLS; i++)
        mean[i] = counts[i / NCOLS] > 0 ? sums[i] / counts[i / NCOLS] : 1;
    write_imatrix(&(hone_imatrix_sums){tensors[EXPS].name, NCOLS, N_EXPERTS, sums, counts}, 1);
    ck_assert_int_eq(plan_with("q4_k", imatrix, HONE_SEARCH_REFERENCE), HONE_OK);
    ck_assert_uint_eq(hone_plan_tensor_at(plan, EXPS).n_unseen, 1);
    ck_assert_uint_eq(hone_plan_tensor_at(plan, EXPS).n_experts, N_EXPERTS);
    expect_encoded(EXPS, HONE_SEARCH_REFERENCE, mean);
}
END_TEST

/* 40 tokens are too few by default, and enough where 40 are asked for; the reference does as llama.cpp. */
START_TEST(an_expert_that_saw_little_is_coded_plainly)
{
    float mean[N_EXPERTS * NCOLS];
    for (size_t i = 0; i < N_EXPERTS; i++)
        counts[i] = i == 1 ? 40 : 64;
    for (size_t i = 0; i < N_EXPERTS * NCOLS; i++)
        mean[i] = sums[i] / counts[i / NCOLS];
    write_imatrix(&(hone_imatrix_sums){tensors[EXPS].name, NCOLS, N_EXPERTS, sums, counts}, 1);
    ck_assert_int_eq(plan_with("q4_k", imatrix, HONE_SEARCH_REFERENCE), HONE_OK);
    ck_assert_uint_eq(hone_plan_tensor_at(plan, EXPS).n_few, 0);
    expect_encoded(EXPS, HONE_SEARCH_REFERENCE, mean);
    hone_plan_free(plan);
    hone_convert_options opts = {.type = "q4_k", .imatrix = imatrix, .pure = true, .min_expert_tokens = 40};
    ck_assert_int_eq(hone_plan_new(ctx, src, &opts, &plan, &err), HONE_OK);
    ck_assert_uint_eq(hone_plan_tensor_at(plan, EXPS).n_few, 0);
    expect_encoded(EXPS, HONE_SEARCH_BEST, mean);
    ck_assert_int_eq(plan_with("q4_k", imatrix, HONE_SEARCH_BEST), HONE_OK);
    ck_assert_uint_eq(hone_plan_tensor_at(plan, EXPS).n_few, 1);
    plain_expert = 1;
    expect_encoded(EXPS, HONE_SEARCH_BEST, mean);
    plain_expert = SIZE_MAX;
}
END_TEST

START_TEST(says_what_has_no_importance)
{
    sums[7] = sums[9] = 0;
    const hone_imatrix_sums entries[] = {{tensors[Q].name, NCOLS, 1, sums, counts},
                                         {"blk.9.attn_q.weight", NCOLS, 1, sums, counts}};
    write_imatrix(entries, 2);
    ck_assert_int_eq(plan_with("q4_k", imatrix, HONE_SEARCH_BEST), HONE_OK);
    static const hone_importance expected[N_TENSORS] = {HONE_IMPORTANCE_MISSING, HONE_IMPORTANCE_USED,
                                                        HONE_IMPORTANCE_MISSING, HONE_IMPORTANCE_NONE};
    for (size_t i = 0; i < N_TENSORS; i++)
        ck_assert_int_eq(hone_plan_tensor_at(plan, i).importance, expected[i]);
    ck_assert_uint_eq(hone_plan_tensor_at(plan, Q).n_zero_columns, 2);
    ck_assert_uint_eq(hone_plan_describe(plan).n_imatrix_entries, 2);
    ck_assert_uint_eq(hone_plan_describe(plan).n_imatrix_unknown, 1);
    ck_assert_int_eq(plan_with("nvfp4", imatrix, HONE_SEARCH_BEST), HONE_OK);
    ck_assert_int_eq(hone_plan_tensor_at(plan, Q).importance, HONE_IMPORTANCE_USED);
    ck_assert_int_eq(plan_with("nvfp4", imatrix, HONE_SEARCH_REFERENCE), HONE_OK);
    ck_assert_int_eq(hone_plan_tensor_at(plan, Q).importance, HONE_IMPORTANCE_NONE);
    /* blocks of 8 bits weigh nothing, so nothing is missing */
    ck_assert_int_eq(plan_with("q8_0", imatrix, HONE_SEARCH_BEST), HONE_OK);
    for (size_t i = 0; i < N_TENSORS; i++)
        ck_assert_int_eq(hone_plan_tensor_at(plan, i).importance, HONE_IMPORTANCE_NONE);
}
END_TEST

static void expect_refusal(hone_status status, const char *item, const char *file, const char *reason)
{
    ck_assert_msg(err.status == status, "%s (%s)", hone_status_name(err.status), err.reason);
    ck_assert_str_eq(err.item, item);
    ck_assert_str_eq(err.file, file);
    ck_assert_msg(strstr(err.reason, reason) != NULL, "%s", err.reason);
    ck_assert_ptr_null(plan);
}

START_TEST(refuses_entries_of_another_length)
{
    write_imatrix(&(hone_imatrix_sums){tensors[Q].name, NCOLS - 1, 1, sums, counts}, 1);
    (void)!plan_with("q4_k", imatrix, HONE_SEARCH_REFERENCE);
    expect_refusal(HONE_ERROR_DATA, tensors[Q].name, imatrix, "255 values of importance for 256 columns");
    write_imatrix(&(hone_imatrix_sums){tensors[EXPS].name, NCOLS, 1, sums, counts}, 1);
    (void)!plan_with("q8_0", imatrix, HONE_SEARCH_REFERENCE);
    expect_refusal(HONE_ERROR_DATA, tensors[EXPS].name, imatrix, "256 values of importance for 768 columns");
}
END_TEST

START_TEST(refuses_what_makes_no_sense)
{
    (void)!plan_with("q2_k_s", NULL, HONE_SEARCH_REFERENCE);
    expect_refusal(HONE_ERROR_ARG, tensors[Q].name, model, "q2_k_s needs an importance matrix");
    write_imatrix(&(hone_imatrix_sums){tensors[EXPS].name, NCOLS, N_EXPERTS, sums, counts}, 1);
    (void)!plan_with("q2_k_s", imatrix, HONE_SEARCH_REFERENCE);
    expect_refusal(HONE_ERROR_ARG, tensors[Q].name, model, "has no entry for it");
    (void)!plan_with("q4_k", imatrix, HONE_SEARCH_FAST);
    expect_refusal(HONE_ERROR_ARG, "", model, "the fast search looks at no importance");
    write_imatrix(&(hone_imatrix_sums){"blk.9.attn_q.weight", NCOLS, 1, sums, counts}, 1);
    (void)!plan_with("q4_k", imatrix, HONE_SEARCH_REFERENCE);
    expect_refusal(HONE_ERROR_ARG, "", imatrix, "none of its 1 entries belongs to a tensor of this model");
    const hone_convert_options plain = {.to = "safetensors", .imatrix = imatrix};
    (void)!hone_plan_new(ctx, src, &plain, &plan, &err);
    expect_refusal(HONE_ERROR_ARG, "", "", "safetensors has no use for an importance matrix");
}
END_TEST

START_TEST(is_never_its_own_output)
{
    write_imatrix(&(hone_imatrix_sums){tensors[Q].name, NCOLS, 1, sums, counts}, 1);
    ck_assert_int_eq(plan_with("q4_k", imatrix, HONE_SEARCH_REFERENCE), HONE_OK);
    const hone_run_options run = {.overwrite = true};
    ck_assert_int_eq(hone_plan_run(ctx, plan, imatrix, &run, &err), HONE_ERROR_ARG);
    ck_assert_ptr_nonnull(strstr(err.reason, "output is an input"));
}
END_TEST

START_TEST(notices_that_it_was_written_to)
{
    write_imatrix(&(hone_imatrix_sums){tensors[Q].name, NCOLS, 1, sums, counts}, 1);
    ck_assert_int_eq(plan_with("q4_k", imatrix, HONE_SEARCH_REFERENCE), HONE_OK);
    FILE *f = fopen(imatrix, "ab");
    ck_assert(f && fputc(0, f) == 0 && fclose(f) == 0);
    ck_assert_int_eq(hone_plan_run(ctx, plan, out, NULL, &err), HONE_ERROR_DATA);
    ck_assert_str_eq(err.file, imatrix);
}
END_TEST

static const hone_metadata *metadata(const hone_checkpoint *ckpt, const char *key, hone_value_type type)
{
    const hone_metadata *m = hone_checkpoint_find_metadata(ckpt, key);
    ck_assert_msg(m && m->type == type, "%s", key);
    return m;
}

START_TEST(output_says_where_its_importance_comes_from)
{
    write_imatrix(&(hone_imatrix_sums){tensors[Q].name, NCOLS, 1, sums, counts}, 1);
    ck_assert_int_eq(plan_with("q4_k", imatrix, HONE_SEARCH_REFERENCE), HONE_OK);
    ck_assert_int_eq(hone_plan_run(ctx, plan, out, NULL, &err), HONE_OK);
    hone_checkpoint *written;
    ck_assert_int_eq(hone_checkpoint_open(out, NULL, &written, &err), HONE_OK);
    ck_assert_str_eq(metadata(written, "quantize.imatrix.file", HONE_VALUE_STRING)->v.string.data, imatrix);
    ck_assert_str_eq(metadata(written, "quantize.imatrix.dataset", HONE_VALUE_STRING)->v.string.data,
                     "calibration.txt");
    ck_assert_uint_eq(metadata(written, "quantize.imatrix.entries_count", HONE_VALUE_U32)->v.u, 1);
    ck_assert_uint_eq(metadata(written, "quantize.imatrix.chunks_count", HONE_VALUE_U32)->v.u, 5);
    hone_checkpoint_close(written);
}
END_TEST

/* --- errors made --- */

static void run_measured(const char *type, const hone_context_options *opts, hone_tensor_error errors[N_TENSORS])
{
    hone_context *own;
    ck_assert_int_eq(hone_context_new(opts, &own, &err), HONE_OK);
    const hone_convert_options convert = {.type = type, .pure = true};
    hone_plan *p;
    ck_assert_int_eq(hone_plan_new(own, src, &convert, &p, &err), HONE_OK);
    const hone_run_options run = {.overwrite = true, .errors = errors};
    const hone_status status = hone_plan_run(own, p, out, &run, &err);
    ck_assert_msg(status == HONE_OK, "%s", err.reason);
    hone_plan_free(p);
    hone_context_free(own);
}

static void expect_near(double got, double expected)
{
    ck_assert_msg(fabs(got - expected) <= 1e-6 * fabs(expected), "%.9g, not %.9g", got, expected);
}

/* What hone diff, which shares no code with the converter, finds in the file. */
START_TEST(errors_are_those_of_the_file)
{
    hone_tensor_error errors[N_TENSORS];
    run_measured(types[_i], &(hone_context_options){.n_threads = 2}, errors);
    hone_checkpoint *written;
    hone_diff *diff;
    ck_assert_int_eq(hone_checkpoint_open(out, NULL, &written, &err), HONE_OK);
    ck_assert_int_eq(hone_diff_run(ctx, src, written, NULL, &diff, &err), HONE_OK);
    ck_assert_uint_eq(hone_diff_n(diff), N_TENSORS);
    for (size_t i = 0; i < N_TENSORS; i++) {
        const hone_tensor_diff *d = hone_diff_at(diff, i);
        const hone_tensor_error *e = &errors[i];
        ck_assert_str_eq(d->name, tensors[i].name);
        ck_assert_int_eq(e->measured, i != NORM);
        if (e->measured) {
            expect_near(sqrt(e->squared_error / e->squared_source), d->relative_rmse);
            expect_near(e->dot / sqrt(e->squared_source * e->squared_output), d->cosine);
        }
    }
    ck_assert_double_eq(errors[NORM].squared_error, 0);
    hone_diff_free(diff);
    hone_checkpoint_close(written);
}
END_TEST

START_TEST(errors_do_not_depend_on_how_the_work_is_done)
{
    static const hone_context_options ways[] = {
        {.n_threads = 1}, {.n_threads = 2, .memory_nbytes = 2 * NCOLS * 24}, {.n_threads = 2, .cpu = "ref"}};
    hone_tensor_error first[N_TENSORS], errors[N_TENSORS];
    run_measured(types[_i], &ways[0], first);
    for (size_t i = 1; i < sizeof ways / sizeof ways[0]; i++) {
        run_measured(types[_i], &ways[i], errors);
        ck_assert_mem_eq(errors, first, sizeof errors);
    }
}
END_TEST

/* Gone in the midst of the work, as if killed. */
static void leave(void *user, const char *phase, uint64_t done, uint64_t total)
{
    (void)user;
    if (strcmp(phase, "write") == 0 && done > total / 2)
        _exit(0);
}

static void note_resumed(void *user, const char *text)
{
    if (strncmp(text, "resuming: ", 10) == 0)
        *(bool *)user = true;
}

START_TEST(errors_of_a_resumed_run_are_those_of_an_undisturbed_one)
{
    bool resumed = false;
    const hone_context_options opts = {
        .n_threads = 2, .memory_nbytes = (uint64_t)2 * NCOLS * 24, .note = note_resumed, .user = &resumed};
    hone_tensor_error undisturbed[N_TENSORS], errors[N_TENSORS];
    const pid_t pid = fork(); /* before there are threads */
    if (pid == 0) {
        hone_context_options leaving = opts;
        leaving.progress = leave;
        run_measured("q4_k", &leaving, errors);
        _exit(1);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    ck_assert_int_ne(access(out, F_OK), 0);
    run_measured("q4_k", &opts, errors);
    ck_assert(resumed);
    run_measured("q4_k", &opts, undisturbed);
    ck_assert_mem_eq(errors, undisturbed, sizeof errors);
}
END_TEST

START_TEST(finds_the_worst_block)
{
    enum { BLOCK = 32, N_BLOCKS = NROWS * NCOLS / BLOCK, BLOCK_NBYTES = 18 };
    hone_tensor_error errors[N_TENSORS];
    run_measured("q4_0", &(hone_context_options){.n_threads = 2}, errors);
    uint8_t encoded[N_BLOCKS * BLOCK_NBYTES];
    float decoded[NROWS * NCOLS];
    ck_assert_int_eq(hone_quantize_rows(ctx, HONE_Q4_0, HONE_SEARCH_BEST, values[Q], NROWS, NCOLS, NULL, encoded, &err),
                     HONE_OK);
    ck_assert_int_eq(hone_dequantize_row(ctx, HONE_Q4_0, encoded, NROWS * NCOLS, decoded, &err), HONE_OK);
    size_t worst = 0;
    double most = -1;
    for (size_t b = 0; b < N_BLOCKS; b++) {
        double sum = 0;
        for (size_t i = b * BLOCK; i < (b + 1) * BLOCK; i++)
            sum += ((double)values[Q][i] - (double)decoded[i]) * ((double)values[Q][i] - (double)decoded[i]);
        if (sum > most) {
            most = sum;
            worst = b;
        }
    }
    ck_assert_uint_eq(errors[Q].worst_block, worst);
    expect_near(errors[Q].worst_squared_error, most);
    ck_assert_uint_eq(errors[Q].worst_nelems, BLOCK);
    ck_assert_uint_eq(errors[Q].nelems, NROWS * NCOLS);
}
END_TEST

/* Values whose squares f32 cannot hold, on every CPU. */
START_TEST(measures_the_smallest_and_the_largest)
{
    static const char *const cpus[] = {"ref", NULL};
    float x[2 * NCOLS];
    for (size_t i = 0; i < NCOLS; i++) {
        x[i] = 1e-30f * values[Q][i];
        x[NCOLS + i] = 1e30f * values[Q][i];
    }
    const hone_tensor source = {.dtype = HONE_F32};
    const hone_planned_tensor t = {
        .source = &source, .dtype = HONE_BF16, .row_nelems = NCOLS, .n_rows = 2, .row_nbytes = 2 * NCOLS};
    uint8_t encoded[4 * NCOLS];
    ck_assert_int_eq(hone_quantize_rows(ctx, HONE_BF16, HONE_SEARCH_REFERENCE, x, 2, NCOLS, NULL, encoded, &err),
                     HONE_OK);
    for (size_t c = 0; c < 2; c++) {
        hone_cpu_level cpu;
        ck_assert_int_eq(hone_cpu_choose(cpus[c], &cpu, &err), HONE_OK);
        hone_row_sums rows[2];
        hone_measure m = {.rows = rows};
        hone_measure_rows(NULL, &t, cpu, 0, 2, x, encoded, &m);
        for (size_t r = 0; r < 2; r++) {
            const double error = sqrt(rows[r].squared_error / rows[r].squared_source);
            ck_assert_msg(error > 1e-4 && error < 4e-3, "%g", error); /* half a step of 8 bits at most */
        }
        ck_assert_uint_ge(m.worst_block, NCOLS / 32);
    }
}
END_TEST

/* --- codes on a grid --- */

static const char *const grids[] = {"compressed-tensors", "gptq", "awq", "mlx"};
enum { N_GRIDS = sizeof grids / sizeof grids[0] };
static const char q_proj[] = "model.layers.1.self_attn.q_proj.weight", q_gguf[] = "blk.1.attn_q.weight";

/* The weighted squared error of q_proj (64, 64) in the directory that its grid was written to. */
static double weighted_error(const hone_checkpoint *source, const char *directory)
{
    enum { N = 64 };
    static float is[N * N], was[N * N];
    hone_checkpoint *written;
    ck_assert_int_eq(hone_checkpoint_open(directory, NULL, &written, &err), HONE_OK);
    const hone_tensor *t = hone_checkpoint_find(written, q_proj), *from = hone_checkpoint_find(source, q_proj);
    ck_assert(t && t->dtype == HONE_F32 && from && from->dtype == HONE_F32);
    ck_assert_int_eq(hone_checkpoint_read(written, t, 0, sizeof is, is, &err), HONE_OK);
    ck_assert_int_eq(hone_checkpoint_read(source, from, 0, sizeof was, was, &err), HONE_OK);
    hone_checkpoint_close(written);
    double sum = 0;
    for (size_t i = 0; i < N * N; i++)
        sum += (double)sums[i % N] * ((double)is[i] - (double)was[i]) * ((double)is[i] - (double)was[i]);
    return sum;
}

static hone_status quantize_to(const hone_checkpoint *source, const char *to, hone_search search, const char *path,
                               const char *directory, hone_tensor_error *errors)
{
    const hone_convert_options opts = {
        .to = to, .grid = {.bits = 4, .group = 32, .symmetric = false}, .search = search, .imatrix = path};
    hone_plan_free(plan);
    HONE_TRY(hone_plan_new(ctx, source, &opts, &plan, &err));
    const hone_run_options run = {.errors = errors};
    return hone_plan_run(ctx, plan, directory, &run, &err);
}

static size_t find_codes(const char *source)
{
    for (size_t i = 0; i < hone_plan_describe(plan).n_tensors; i++) {
        const hone_plan_tensor p = hone_plan_tensor_at(plan, i);
        if (strcmp(p.source, source) == 0 && p.n_weights > 0)
            return i;
    }
    ck_abort_msg("no codes of %s", source);
}

START_TEST(grids_are_weighed_by_the_names_in_gguf)
{
    enum { MOST = 64 };
    static hone_tensor_error errors[MOST];
    hone_temp_dir checkpoint;
    hone_temp_dir_init(&checkpoint);
    hone_tiny_checkpoint(&checkpoint, &(hone_tiny_options){0});
    hone_checkpoint *source;
    ck_assert_int_eq(hone_checkpoint_open(checkpoint.path, NULL, &source, &err), HONE_OK);
    for (size_t i = 0; i < 64; i++)
        sums[i] = i % 4 == 0 ? 1000.0f : 1.0f;
    write_imatrix(&(hone_imatrix_sums){q_gguf, 64, 1, sums, counts}, 1);
    char plain[600], weighed[600];
    (void)snprintf(plain, sizeof plain, "%s/plain", dir.path);
    (void)snprintf(weighed, sizeof weighed, "%s/weighed", dir.path);

    const char *to = grids[_i];
    ck_assert_int_eq(quantize_to(source, to, HONE_SEARCH_REFERENCE, imatrix, weighed, NULL), HONE_ERROR_ARG);
    ck_assert_ptr_nonnull(strstr(err.reason, "looks at no importance"));
    ck_assert_int_eq(quantize_to(source, to, HONE_SEARCH_FAST, NULL, weighed, NULL), HONE_ERROR_ARG);
    ck_assert_int_eq(quantize_to(source, to, HONE_SEARCH_BEST, NULL, plain, NULL), HONE_OK);
    ck_assert_msg(quantize_to(source, to, HONE_SEARCH_BEST, imatrix, weighed, errors) == HONE_OK, "%s", err.reason);
    ck_assert_double_lt(weighted_error(source, weighed), 0.95 * weighted_error(source, plain));
    const size_t codes = find_codes(q_proj);
    ck_assert_int_eq(hone_plan_tensor_at(plan, codes).importance, HONE_IMPORTANCE_USED);
    ck_assert_int_eq(hone_plan_tensor_at(plan, find_codes("model.layers.0.self_attn.q_proj.weight")).importance,
                     HONE_IMPORTANCE_MISSING);

    /* the error is that of the weights that a reader finds */
    hone_checkpoint *written;
    hone_diff *diff;
    ck_assert_int_eq(hone_checkpoint_open(weighed, NULL, &written, &err), HONE_OK);
    ck_assert_int_eq(hone_diff_run(ctx, source, written, q_proj, &diff, &err), HONE_OK);
    ck_assert(errors[codes].measured && errors[codes].nelems == 64 * 64 && errors[codes].worst_nelems == 32);
    expect_near(sqrt(errors[codes].squared_error / errors[codes].squared_source), hone_diff_at(diff, 0)->relative_rmse);
    hone_diff_free(diff);
    hone_checkpoint_close(written);
    hone_checkpoint_close(source);
    hone_temp_dir_deinit(&checkpoint);
}
END_TEST

Suite *hone_suite_importance(void)
{
    const int n_types = sizeof types / sizeof types[0];
    Suite *s = suite_create("importance");
    TCase *t = tcase_create("weights");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_loop_test(t, rows_are_weighed_by_the_entry_of_their_tensor, 0, n_types);
    tcase_add_test(t, each_expert_has_its_own_importance);
    tcase_add_test(t, an_expert_that_saw_little_is_coded_plainly);
    tcase_add_test(t, says_what_has_no_importance);
    tcase_add_test(t, refuses_entries_of_another_length);
    tcase_add_test(t, refuses_what_makes_no_sense);
    tcase_add_test(t, is_never_its_own_output);
    tcase_add_test(t, notices_that_it_was_written_to);
    tcase_add_test(t, output_says_where_its_importance_comes_from);
    suite_add_tcase(s, t);
    t = tcase_create("errors");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_loop_test(t, errors_are_those_of_the_file, 0, n_types);
    tcase_add_loop_test(t, errors_do_not_depend_on_how_the_work_is_done, 0, n_types);
    tcase_add_test(t, errors_of_a_resumed_run_are_those_of_an_undisturbed_one);
    tcase_add_test(t, finds_the_worst_block);
    tcase_add_test(t, measures_the_smallest_and_the_largest);
    suite_add_tcase(s, t);
    t = tcase_create("grids");
    tcase_set_timeout(t, 60); /* the best search is slow */
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_loop_test(t, grids_are_weighed_by_the_names_in_gguf, 0, N_GRIDS);
    suite_add_tcase(s, t);
    return s;
}
