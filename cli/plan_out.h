/* SPDX-License-Identifier: MIT */
/* What hone convert and hone quantize share: plan, show or run, report. */
#ifndef HONE_CLI_PLAN_OUT_H
#define HONE_CLI_PLAN_OUT_H

#include "cli/args.h"
#include "hone/budget.h"
#include "hone/convert.h"

typedef struct hone_cli_job {
    const char *src, *out; /* out may be NULL under dry_run */
    bool dry_run, restart;
    bool quality; /* measure what encoding does to the weights, and tell */
    bool fold;    /* move factors between tensors first */
    hone_convert_options convert;
    const hone_budget_options *budget; /* settle the types for it; or NULL */
    const hone_cli_list *budget_texts; /* files that it is measured on */
} hone_cli_job;

/*
 * hone_cli_run_job() plans the conversion of job->src; under dry_run prints the plan, else writes job->out and prints
 * what came of it. Errors are printed. Returns the exit code.
 */
int hone_cli_run_job(const hone_cli_globals *globals, const hone_cli_job *job);

#endif
