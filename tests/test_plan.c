/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "tests/support/plan_fixture.h"
#include "tests/support/tiny_checkpoint.h"

Suite *hone_suite_plan(void);

static void set_up(void)
{
    set_up_plan("out.gguf");
}

/* Writes a checkpoint and plans it as `type`. */
static hone_status plan_as(const char *type, const hone_tiny_options *opts)
{
    hone_tiny_checkpoint(&dir, opts);
    return plan_source(dir.path, &(hone_convert_options){.type = type});
}

static hone_plan_tensor find(const char *name)
{
    for (size_t i = 0; i < hone_plan_describe(plan).n_tensors; i++)
        if (strcmp(hone_plan_tensor_at(plan, i).name, name) == 0)
            return hone_plan_tensor_at(plan, i);
    ck_abort_msg("no tensor %s in the plan", name);
}

/* The output's tensor as f32 (malloc'd). */
static float *read_output(const char *path, const char *name, size_t *n)
{
    hone_checkpoint *written = must_open(path);
    const hone_tensor *t = hone_checkpoint_find(written, name);
    ck_assert_ptr_nonnull(t);
    char *raw = malloc(t->nbytes);
    float *values = malloc(t->nelems * sizeof *values);
    ck_assert_int_eq(hone_checkpoint_read(written, t, 0, t->nbytes, raw, &err), HONE_OK);
    ck_assert_int_eq(hone_dequantize_row(ctx, t->dtype, raw, t->nelems, values, &err), HONE_OK);
    *n = t->nelems;
    free(raw);
    hone_checkpoint_close(written);
    return values;
}

static float *read_source(const char *name)
{
    const hone_tensor *t = hone_checkpoint_find(ckpt, name);
    float *values = malloc(t->nbytes);
    ck_assert_int_eq(hone_checkpoint_read(ckpt, t, 0, t->nbytes, values, &err), HONE_OK);
    return values;
}

START_TEST(tensors_follow_each_other_without_holes)
{
    ck_assert_int_eq(plan_as("q8_0", &(hone_tiny_options){0}), HONE_OK);
    const hone_plan_totals totals = hone_plan_describe(plan);
    uint64_t expected = hone_plan_tensor_at(plan, 0).offset;
    for (size_t i = 0; i < totals.n_tensors; i++) {
        const hone_plan_tensor t = hone_plan_tensor_at(plan, i);
        ck_assert_uint_eq(t.offset, expected);
        expected = t.offset + (t.nbytes + 31) / 32 * 32;
    }
    ck_assert_uint_eq(expected, totals.output_nbytes);
}
END_TEST

START_TEST(vectors_stay_f32_and_matrices_get_the_type)
{
    ck_assert_int_eq(plan_as("q8_0", &(hone_tiny_options){0}), HONE_OK);
    ck_assert_int_eq(find("blk.0.attn_norm.weight").dtype, HONE_F32);
    ck_assert_int_eq(find("blk.1.ffn_down.weight").dtype, HONE_Q8_0);
    ck_assert_int_eq(find("token_embd.weight").dtype, HONE_Q8_0);
}
END_TEST

START_TEST(rows_too_short_for_k_quants_fall_back)
{
    ck_assert_int_eq(plan_as("q4_k_s", &(hone_tiny_options){0}), HONE_OK);
    ck_assert_int_eq(find("blk.0.attn_q.weight").dtype, HONE_Q5_0); /* 64 is no multiple of 256 */
    ck_assert_str_eq(find("blk.0.attn_q.weight").why, "row length");
    ck_assert_int_eq(find("output.weight").dtype, HONE_Q8_0);
}
END_TEST

START_TEST(rotary_halves_become_pairs)
{
    ck_assert_int_eq(plan_as("f32", &(hone_tiny_options){.bias = true}), HONE_OK);
    must_run();
    enum { COLS = 64, HEAD = 16 };
    static const struct {
        const char *hf, *gguf;
        size_t cols, rows;
    } cases[] = {
        {"model.layers.1.self_attn.q_proj.weight", "blk.1.attn_q.weight", COLS, 64},
        {"model.layers.1.self_attn.k_proj.weight", "blk.1.attn_k.weight", COLS, 32},
        {"model.layers.0.self_attn.k_proj.bias", "blk.0.attn_k.bias", 1, 32},
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        size_t n;
        float *got = read_output(out, cases[c].gguf, &n), *source = read_source(cases[c].hf);
        ck_assert_uint_eq(n, cases[c].rows * cases[c].cols);
        for (size_t r = 0; r < cases[c].rows; r++) {
            const size_t head = r / HEAD, i = r % HEAD;
            const size_t from = head * HEAD + (i % 2 ? HEAD / 2 : 0) + i / 2;
            ck_assert_mem_eq(got + r * cases[c].cols, source + from * cases[c].cols, cases[c].cols * sizeof *got);
        }
        free(got);
        free(source);
    }
}
END_TEST

START_TEST(the_output_carries_checksums_that_hold)
{
    ck_assert_int_eq(plan_as("q4_0", &(hone_tiny_options){0}), HONE_OK);
    must_run();
    must_hold_sums(hone_plan_describe(plan).n_tensors);
    hone_checkpoint *written = must_open(out);
    const hone_tensor *t = hone_checkpoint_find(written, "blk.1.ffn_up.weight");
    const uint64_t at = t->offset + 5;
    hone_checkpoint_close(written);

    const int fd = open(out, O_RDWR); /* flip one bit */
    unsigned char byte;
    ck_assert_int_eq(pread(fd, &byte, 1, (off_t)at), 1);
    byte ^= 0x10;
    ck_assert_int_eq(pwrite(fd, &byte, 1, (off_t)at), 1);
    (void)close(fd);
    written = must_open(out);
    size_t n;
    ck_assert_int_eq(hone_checkpoint_check(ctx, written, &n, &err), HONE_ERROR_MISMATCH);
    ck_assert_str_eq(err.item, "blk.1.ffn_up.weight");
    hone_checkpoint_close(written);
}
END_TEST

START_TEST(tied_embeddings_are_stored_once)
{
    ck_assert_int_eq(plan_as("f16", &(hone_tiny_options){.tied = true}), HONE_OK);
    for (size_t i = 0; i < hone_plan_describe(plan).n_tensors; i++)
        ck_assert_str_ne(hone_plan_tensor_at(plan, i).name, "output.weight");
    ck_assert_str_eq(find("token_embd.weight").source, "model.embed_tokens.weight");
}
END_TEST

START_TEST(llama3_scaling_becomes_frequency_divisors)
{
    const hone_tiny_options opts = {
        .config_extra = ", \"rope_theta\": 500000.0, \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8.0, "
                        "\"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, "
                        "\"original_max_position_embeddings\": 8192}"};
    ck_assert_int_eq(plan_as("f16", &opts), HONE_OK);
    const hone_plan_tensor t = find("rope_freqs.weight");
    ck_assert_int_eq(t.dtype, HONE_F32);
    ck_assert_uint_eq(t.shape[0], 8);
    must_run();
    size_t n;
    float *divisors = read_output(out, "rope_freqs.weight", &n);
    ck_assert_float_eq(divisors[0], 1); /* the fastest is left alone, the slowest divided by the factor */
    ck_assert_float_eq(divisors[7], 8);
    free(divisors);
}
END_TEST

START_TEST(auto_stores_what_f16_cannot_hold_as_bf16)
{
    const hone_tiny_options opts = {.poke = "model.layers.0.mlp.up_proj.weight", .poke_at = 77, .poke_value = 65520};
    ck_assert_int_eq(plan_as("auto", &opts), HONE_OK);
    ck_assert_int_eq(find("blk.0.ffn_up.weight").dtype, HONE_BF16);
    ck_assert_int_eq(find("blk.1.ffn_up.weight").dtype, HONE_F16);
    ck_assert_ptr_nonnull(strstr(notes, "model.layers.0.mlp.up_proj.weight"));
}
END_TEST

START_TEST(f16_refuses_what_it_cannot_hold)
{
    const hone_tiny_options opts = {
        .poke = "model.layers.1.self_attn.q_proj.weight", .poke_at = 1030, .poke_value = -7e4f};
    ck_assert_int_eq(plan_as("f16", &opts), HONE_ERROR_DATA);
    ck_assert_str_eq(err.item, "model.layers.1.self_attn.q_proj.weight");
    ck_assert_ptr_nonnull(strstr(err.reason, "element 1030 "));
    ck_assert_uint_eq(err.offset, hone_checkpoint_find(ckpt, err.item)->offset + 1030 * sizeof(float));
}
END_TEST

START_TEST(the_largest_f16_is_no_overflow)
{
    const hone_tiny_options opts = {.poke = "lm_head.weight", .poke_at = 0, .poke_value = 65519.99f};
    ck_assert_int_eq(plan_as("f16", &opts), HONE_OK);
}
END_TEST

/* A NaN or infinity stops the run, names tensor and element, and leaves no file. */
static void check_poisoned(const char *type, float poison, const char *word)
{
    const hone_tiny_options opts = {
        .poke = "model.layers.1.self_attn.k_proj.weight", .poke_at = 515, .poke_value = poison};
    ck_assert_int_eq(plan_as(type, &opts), HONE_OK);
    ck_assert_int_eq(hone_plan_run(ctx, plan, out, NULL, &err), HONE_ERROR_DATA);
    ck_assert_str_eq(err.item, "model.layers.1.self_attn.k_proj.weight");
    ck_assert_ptr_nonnull(strstr(err.reason, "element 515 "));
    ck_assert_ptr_nonnull(strstr(err.reason, word));
    const hone_tensor *t = hone_checkpoint_find(ckpt, "model.layers.1.self_attn.k_proj.weight");
    ck_assert_uint_eq(err.offset, t->offset + 515 * 4);
    ck_assert(!hone_file_exists(out));
    ck_assert(!hone_file_exists(hone_temp_path(&dir, "out.gguf.hone-partial")));
}

START_TEST(a_nan_weight_is_named)
{
    check_poisoned("q4_0", NAN, "NaN");
}
END_TEST

START_TEST(an_infinite_weight_is_named)
{
    check_poisoned("f32", -INFINITY, "infinite");
}
END_TEST

/* What a checkpoint can lack or hold too much of: status and the item named. */
static const struct {
    hone_tiny_options opts;
    hone_status status;
    const char *item;
} refused[] = {
    {{.skip = "model.norm.weight"}, HONE_ERROR_DATA, "model.norm.weight"},
    {{.skip = "lm_head.weight"}, HONE_ERROR_DATA, "lm_head.weight"},
    {{.skip = "model.layers.1.mlp.up_proj.weight"}, HONE_ERROR_DATA, "model.layers.1.mlp.up_proj.weight"},
    {{.extra = "model.layers.0.mystery"}, HONE_ERROR_UNSUPPORTED, "model.layers.0.mystery"},
    {{.model_class = "MysteryForCausalLM"}, HONE_ERROR_UNSUPPORTED, "architectures"},
    {{.config_extra = ", \"hidden_act\": \"gelu\""}, HONE_ERROR_UNSUPPORTED, "hidden_act"},
    {{.config_extra = ", \"head_dim\": 32"}, HONE_ERROR_DATA, "model.layers.0.self_attn.q_proj.weight"},
    {{.config_extra = ", \"head_dim\": 15"}, HONE_ERROR_DATA, "head_dim"},
    {{.config_extra = ", \"rope_scaling\": {\"type\": \"yarn\", \"factor\": 2}"},
     HONE_ERROR_UNSUPPORTED,
     "rope_scaling"},
    {{.config_extra = ", \"rope_theta\": \"big\""}, HONE_ERROR_DATA, "rope_theta"},
};

START_TEST(bad_checkpoints_are_refused_by_name)
{
    ck_assert_int_eq(plan_as("f16", &refused[_i].opts), refused[_i].status);
    ck_assert_str_eq(err.item, refused[_i].item);
    ck_assert_ptr_null(plan);
}
END_TEST

START_TEST(unknown_types_are_refused)
{
    ck_assert_int_eq(plan_as("q9_z", &(hone_tiny_options){0}), HONE_ERROR_ARG);
}
END_TEST

START_TEST(one_row_must_fit_the_budget)
{
    hone_tiny_checkpoint(&dir, &(hone_tiny_options){0});
    open_source(dir.path);
    hone_context *small;
    const hone_context_options opts = {.n_threads = 2, .memory_nbytes = 1000};
    ck_assert_int_eq(hone_context_new(&opts, &small, &err), HONE_OK);
    const hone_convert_options convert = {.type = "f32"};
    ck_assert_int_eq(hone_plan_new(small, ckpt, &convert, &plan, &err), HONE_ERROR_NOMEM);
    hone_context_free(small);
}
END_TEST

START_TEST(an_existing_output_is_kept)
{
    ck_assert_int_eq(plan_as("f16", &(hone_tiny_options){0}), HONE_OK);
    (void)hone_temp_text(&dir, "out.gguf", "precious");
    ck_assert_int_eq(hone_plan_run(ctx, plan, out, NULL, &err), HONE_ERROR_ARG);
    char *text;
    size_t len;
    ck_assert_int_eq(hone_file_slurp(out, 100, &text, &len, &err), HONE_OK);
    ck_assert_str_eq(text, "precious");
    hone_release(text);
}
END_TEST

START_TEST(an_input_is_never_overwritten)
{
    ck_assert_int_eq(plan_as("f16", &(hone_tiny_options){0}), HONE_OK);
    ck_assert_int_eq(link(hone_temp_path(&dir, "model.safetensors"), out), 0);
    ck_assert_int_eq(hone_plan_run(ctx, plan, out, &(hone_run_options){.overwrite = true}, &err), HONE_ERROR_ARG);
    ck_assert_ptr_nonnull(strstr(err.reason, "input"));
}
END_TEST

START_TEST(a_second_run_to_one_output_is_refused)
{
    ck_assert_int_eq(plan_as("f16", &(hone_tiny_options){0}), HONE_OK);
    const int fd = open(hone_temp_path(&dir, "out.gguf.hone-partial"), O_RDWR | O_CREAT, 0666);
    ck_assert_int_eq(flock(fd, LOCK_EX | LOCK_NB), 0);
    ck_assert_int_eq(hone_plan_run(ctx, plan, out, NULL, &err), HONE_ERROR_IO);
    (void)close(fd);
    must_run();
}
END_TEST

START_TEST(a_partial_file_of_other_work_is_left_alone)
{
    ck_assert_int_eq(plan_as("f16", &(hone_tiny_options){0}), HONE_OK);
    (void)hone_temp_text(&dir, "out.gguf.hone-partial", "hours of other work");
    ck_assert_int_eq(hone_plan_run(ctx, plan, out, NULL, &err), HONE_ERROR_ARG);
    ck_assert_ptr_nonnull(strstr(err.reason, "--restart"));
    ck_assert(hone_file_exists(hone_temp_path(&dir, "out.gguf.hone-partial")));
    ck_assert_int_eq(hone_plan_run(ctx, plan, out, &(hone_run_options){.restart = true}, &err), HONE_OK);
}
END_TEST

/* Runs the plan in a process that dies when n chunks are done, those of the runs before it included. */
static void run_killed_after(uint64_t n, int n_threads)
{
    ck_assert_int_eq(run_apart(n_threads, (long)n), RUN_KILLED);
}

struct progress {
    size_t written, recorded;
};

/* How many tensors are in the partial file and in the journal: a tensor of a tiny checkpoint is a chunk, and none is
 * all zero. */
static struct progress progress_of_killed_run(void)
{
    enum { JOURNAL_HEAD_NBYTES = 24 };
    char path[600], *bytes, *journal;
    size_t nbytes, journal_nbytes;
    (void)snprintf(path, sizeof path, "%s.hone-partial", out);
    ck_assert_int_eq(hone_file_slurp(path, 1 << 24, &bytes, &nbytes, &err), HONE_OK);
    (void)snprintf(path, sizeof path, "%s.hone-journal", out);
    ck_assert_int_eq(hone_file_slurp(path, 1 << 24, &journal, &journal_nbytes, &err), HONE_OK);
    struct progress done = {0};
    for (size_t i = 0; i < hone_plan_describe(plan).n_tensors; i++) {
        const hone_plan_tensor t = hone_plan_tensor_at(plan, i);
        size_t at = t.offset;
        while (at < t.offset + t.nbytes && bytes[at] == 0)
            at++;
        done.written += at < t.offset + t.nbytes;
        const size_t entry = JOURNAL_HEAD_NBYTES + 8 * i;
        done.recorded += entry + 8 <= journal_nbytes && memcmp(journal + entry, "\0\0\0\0\0\0\0", 8) != 0;
    }
    hone_release(bytes);
    hone_release(journal);
    return done;
}

START_TEST(a_killed_run_redoes_at_most_one_chunk_per_thread)
{
    const int n_threads = _i;
    renew_context(n_threads, 0);
    ck_assert_int_eq(plan_as("q8_0", &(hone_tiny_options){0}), HONE_OK);
    static const uint64_t deaths[] = {1, 2, 7, 8, 15, 20};
    struct progress done = {0};
    for (size_t i = 0; i < sizeof deaths / sizeof deaths[0]; i++) {
        run_killed_after(deaths[i], n_threads);
        ck_assert(!hone_file_exists(out));
        done = progress_of_killed_run();
        ck_assert_uint_ge(done.recorded, deaths[i]);
        ck_assert_uint_ge(done.written, done.recorded);
        ck_assert_uint_le(done.written, done.recorded + (unsigned)n_threads);
    }
    must_run();
    char expected[80];
    (void)snprintf(expected, sizeof expected, "resuming: %zu of %zu chunks", done.recorded,
                   hone_plan_describe(plan).n_tensors);
    ck_assert_msg(strstr(notes, expected) != NULL, "%s", notes);
    ck_assert(!hone_file_exists(hone_temp_path(&dir, "out.gguf.hone-partial")));

    const char *other = hone_temp_path(&dir, "other.gguf");
    ck_assert_int_eq(hone_plan_run(ctx, plan, other, NULL, &err), HONE_OK);
    expect_same_bytes(out, other);
}
END_TEST

/* The pages of a partial file may be lost in a power cut, whatever the journal says. */
START_TEST(chunks_that_are_not_what_the_journal_says_are_redone)
{
    ck_assert_int_eq(plan_as("q8_0", &(hone_tiny_options){0}), HONE_OK);
    run_killed_after(9, 1);
    const size_t recorded = progress_of_killed_run().recorded;
    char partial[600];
    (void)snprintf(partial, sizeof partial, "%s.hone-partial", out);
    const hone_plan_tensor lost = hone_plan_tensor_at(plan, 4);
    const int fd = open(partial, O_WRONLY);
    ck_assert_int_eq(pwrite(fd, "\0", 1, (off_t)lost.offset), 1);
    (void)close(fd);
    must_run();
    char expected[40];
    (void)snprintf(expected, sizeof expected, "resuming: %zu of ", recorded - 1);
    ck_assert_msg(strstr(notes, expected) != NULL, "%s", notes);
    must_hold_sums(hone_plan_describe(plan).n_tensors);
}
END_TEST

START_TEST(a_source_written_to_during_the_run_is_an_error)
{
    ck_assert_int_eq(plan_as("q8_0", &(hone_tiny_options){0}), HONE_OK);
    const char *source = hone_temp_path(&dir, "model.safetensors");
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1}};
    ck_assert_int_eq(utimensat(AT_FDCWD, source, times, 0), 0);
    ck_assert_int_eq(hone_plan_run(ctx, plan, out, NULL, &err), HONE_ERROR_DATA);
    ck_assert_ptr_nonnull(strstr(err.reason, "changed while"));
    ck_assert_str_eq(err.file, source);
    ck_assert(!hone_file_exists(out));
    ck_assert(!hone_file_exists(hone_temp_path(&dir, "out.gguf.hone-partial")));
    ck_assert(!hone_file_exists(hone_temp_path(&dir, "out.gguf.hone-journal")));
}
END_TEST

START_TEST(a_tight_budget_costs_threads_and_no_bytes)
{
    hone_tiny_checkpoint(&dir, &(hone_tiny_options){0});
    open_source(dir.path);
    static const uint64_t budgets[] = {2000, 5000, 1 << 20};
    char first[600] = "";
    for (size_t i = 0; i < sizeof budgets / sizeof budgets[0]; i++) {
        hone_context *tight;
        const hone_context_options opts = {.n_threads = 8, .memory_nbytes = budgets[i]};
        const hone_convert_options convert = {.type = "auto"}; /* which looks for what f16 cannot hold */
        ck_assert_int_eq(hone_context_new(&opts, &tight, &err), HONE_OK);
        ck_assert_int_eq(hone_plan_new(tight, ckpt, &convert, &plan, &err), HONE_OK);
        ck_assert_uint_le(hone_plan_describe(plan).memory_nbytes, budgets[i]);
        char name[16];
        (void)snprintf(name, sizeof name, "%zu.gguf", i);
        const char *path = hone_temp_path(&dir, name);
        ck_assert_int_eq(hone_plan_run(tight, plan, path, NULL, &err), HONE_OK);
        if (i == 0)
            (void)snprintf(first, sizeof first, "%s", path);
        expect_same_bytes(first, path);
        hone_plan_free(plan);
        plan = NULL;
        hone_context_free(tight);
    }
}
END_TEST

START_TEST(every_allocation_may_fail)
{
    hone_tiny_checkpoint(&dir, &(hone_tiny_options){0});
    open_source(dir.path);
    plan_with_failing_allocations(&(hone_convert_options){.type = "q4_k_m"}, out);
}
END_TEST

Suite *hone_suite_plan(void)
{
    Suite *suite = suite_create("plan");
    TCase *core = tcase_create("core");
    tcase_add_checked_fixture(core, set_up, tear_down_plan);
    tcase_add_test(core, tensors_follow_each_other_without_holes);
    tcase_add_test(core, vectors_stay_f32_and_matrices_get_the_type);
    tcase_add_test(core, rows_too_short_for_k_quants_fall_back);
    tcase_add_test(core, rotary_halves_become_pairs);
    tcase_add_test(core, the_output_carries_checksums_that_hold);
    tcase_add_test(core, tied_embeddings_are_stored_once);
    tcase_add_test(core, llama3_scaling_becomes_frequency_divisors);
    tcase_add_test(core, auto_stores_what_f16_cannot_hold_as_bf16);
    tcase_add_test(core, the_largest_f16_is_no_overflow);
    suite_add_tcase(suite, core);
    TCase *malformed = tcase_create("malformed");
    tcase_add_checked_fixture(malformed, set_up, tear_down_plan);
    tcase_add_test(malformed, f16_refuses_what_it_cannot_hold);
    tcase_add_test(malformed, a_nan_weight_is_named);
    tcase_add_test(malformed, an_infinite_weight_is_named);
    tcase_add_loop_test(malformed, bad_checkpoints_are_refused_by_name, 0, sizeof refused / sizeof refused[0]);
    tcase_add_test(malformed, unknown_types_are_refused);
    suite_add_tcase(suite, malformed);
    TCase *files = tcase_create("files");
    tcase_add_checked_fixture(files, set_up, tear_down_plan);
    tcase_add_test(files, an_existing_output_is_kept);
    tcase_add_test(files, an_input_is_never_overwritten);
    tcase_add_test(files, a_second_run_to_one_output_is_refused);
    tcase_add_test(files, a_partial_file_of_other_work_is_left_alone);
    tcase_add_loop_test(files, a_killed_run_redoes_at_most_one_chunk_per_thread, 1, 4);
    tcase_add_test(files, chunks_that_are_not_what_the_journal_says_are_redone);
    tcase_add_test(files, a_source_written_to_during_the_run_is_an_error);
    suite_add_tcase(suite, files);
    TCase *limits = tcase_create("limits");
    tcase_add_checked_fixture(limits, set_up, tear_down_plan);
    tcase_add_test(limits, one_row_must_fit_the_budget);
    tcase_add_test(limits, a_tight_budget_costs_threads_and_no_bytes);
    tcase_add_test(limits, every_allocation_may_fail);
    suite_add_tcase(suite, limits);
    return suite;
}
