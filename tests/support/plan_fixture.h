/* SPDX-License-Identifier: MIT */
/*
 * What tests of conversions work with: the fixtures of sources and of a context, a plan and where its output goes.
 */
#ifndef HONE_PLAN_FIXTURE_H
#define HONE_PLAN_FIXTURE_H

#include "hone/hone.h"
#include "tests/support/context_fixture.h"
#include "tests/support/source_fixture.h"

extern hone_plan *plan; /* NULL at first; freed at the end */
extern char out[512];   /* a path in dir; nothing is there at first */

/* set_up_plan() begins with a context of two threads, and an output of this name. */
void set_up_plan(const char *out_name);
void tear_down_plan(void);

/* plan_source() opens path as ckpt and plans it, in place of what was open and planned before. */
hone_status plan_source(const char *path, const hone_convert_options *opts);

/* must_run() runs the plan to out; a failure fails the test. must_hold_sums() checks the checksums of the output. */
void must_run(void);
void must_hold_sums(size_t n_expected);

/* expect_same_bytes() compares two files. */
void expect_same_bytes(const char *a, const char *b);

/*
 * run_apart() runs the plan in a process of its own with n_threads, which kills itself at the n-th event of progress
 * (0: never). Returns 0 for HONE_OK, RUN_KILLED, or another number for an error. A test that calls it makes all its
 * runs so: OpenMP does not survive a fork of a process that has used it.
 */
enum { RUN_KILLED = 9 };
int run_apart(int n_threads, long n);

/* plan_with_failing_allocations() plans and runs with each allocation failing; `written` exists after a success alone.
 */
void plan_with_failing_allocations(const hone_convert_options *opts, const char *written);

#endif
