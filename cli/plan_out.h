/* SPDX-License-Identifier: MIT */
/* What hone convert and hone quantize share: plan, show or run, report. */
#ifndef HONE_CLI_PLAN_OUT_H
#define HONE_CLI_PLAN_OUT_H

#include "cli/args.h"
#include "hone/budget.h"
#include "hone/convert.h"

/* Of --rotate. */
#define HONE_CLI_ROTATE_HELP                                                                                           \
    "fold orthogonal matrices into the weights, which leave what the model\ncomputes as it is: residual, heads, "      \
    "residual+heads, all that the model\nallows, or none (default)"

typedef struct hone_cli_job {
    const char *src, *out; /* out may be NULL under dry_run */
    bool dry_run, restart;
    const char *rotate; /* of hone_checkpoint_rotate(), "auto" to choose one, or NULL */
    bool quality;       /* measure what encoding does to the weights, and tell */
    bool fold;          /* move factors between tensors first */
    hone_convert_options convert;
    const hone_budget_options *budget;       /* settle the types for it; or NULL */
    const hone_cli_list *budget_texts;       /* files that it is measured on */
    bool measure;                            /* and that the file made for it is measured on, too */
    const hone_calibration_text *sequential; /* calibrate while quantizing; or NULL. Its text is that of... */
    const hone_cli_list *sequential_texts;   /* ...these files */
} hone_cli_job;

/*
 * hone_cli_run_job() plans the conversion of job->src; under dry_run prints the plan, else writes job->out and prints
 * what came of it. Errors are printed. Returns the exit code.
 */
int hone_cli_run_job(const hone_cli_globals *globals, const hone_cli_job *job);

#endif
