/* SPDX-License-Identifier: MIT */
#include "tests/support/plan_fixture.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

hone_plan *plan;
char out[512];

void set_up_plan(const char *out_name)
{
    set_up_source();
    (void)snprintf(out, sizeof out, "%s", hone_temp_path(&dir, out_name));
    renew_context(2, 0);
    plan = NULL;
}

void tear_down_plan(void)
{
    hone_plan_free(plan);
    plan = NULL;
    drop_context();
    tear_down_source();
}

hone_status plan_source(const char *path, const hone_convert_options *opts)
{
    hone_plan_free(plan);
    plan = NULL;
    open_source(path);
    return hone_plan_new(ctx, ckpt, opts, &plan, &err);
}

void must_run(void)
{
    const hone_status status = hone_plan_run(ctx, plan, out, NULL, &err);
    ck_assert_msg(status == HONE_OK, "%s: %s: %s", err.file, err.item, err.reason);
}

void must_hold_sums(size_t n_expected)
{
    hone_checkpoint *written = must_open(out);
    size_t n;
    ck_assert_int_eq(hone_checkpoint_check(ctx, written, &n, &err), HONE_OK);
    ck_assert_uint_eq(n, n_expected);
    hone_checkpoint_close(written);
}

void expect_same_bytes(const char *a, const char *b)
{
    char *x, *y;
    size_t x_len, y_len;
    ck_assert_int_eq(hone_file_slurp(a, 1 << 26, &x, &x_len, &err), HONE_OK);
    ck_assert_int_eq(hone_file_slurp(b, 1 << 26, &y, &y_len, &err), HONE_OK);
    ck_assert_uint_eq(x_len, y_len);
    ck_assert_mem_eq(x, y, x_len);
    hone_release(x);
    hone_release(y);
}

static long events_to_live;

static void die_at_last_event(void *user, const char *phase, uint64_t done, uint64_t total)
{
    (void)user;
    (void)phase;
    (void)done;
    (void)total;
    if (--events_to_live == 0)
        (void)raise(SIGKILL);
}

int run_apart(int n_threads, long n)
{
    (void)fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        events_to_live = n;
        hone_context *mortal;
        const hone_context_options opts = {.n_threads = n_threads, .progress = die_at_last_event};
        if (hone_context_new(&opts, &mortal, NULL) != HONE_OK)
            _exit(1);
        _exit(hone_plan_run(mortal, plan, out, NULL, &err) == HONE_OK ? 0 : 2);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? RUN_KILLED : WEXITSTATUS(status);
}

struct attempt {
    const hone_convert_options *opts;
    const char *written;
};

static hone_status plan_and_run(void *user)
{
    const struct attempt *attempt = user;
    hone_status status = hone_plan_new(ctx, ckpt, attempt->opts, &plan, &err);
    if (status == HONE_OK)
        status = hone_plan_run(ctx, plan, out, NULL, &err);
    hone_mem_fail_after(-1);
    ck_assert(hone_file_exists(attempt->written) == (status == HONE_OK));
    hone_plan_free(plan);
    plan = NULL;
    return status;
}

void plan_with_failing_allocations(const hone_convert_options *opts, const char *written)
{
    fail_each_allocation(plan_and_run, &(struct attempt){opts, written}, 20);
}
