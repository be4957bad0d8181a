/* SPDX-License-Identifier: MIT */
/* hone quantize --budget: its options read, what it settled shown. */
#ifndef HONE_CLI_BUDGET_OUT_H
#define HONE_CLI_BUDGET_OUT_H

#include "cli/json_out.h"
#include "hone/budget.h"
#include "hone/verify.h"

/* The options as given. */
typedef struct hone_cli_budget_words {
    const char *budget, *max_kld; /* or NULL */
    hone_cli_list texts;
    size_t n_ctx, n_chunks;
    const char *probe, *types;                   /* or NULL */
    hone_dtype type_list[HONE_BUDGET_MAX_TYPES]; /* what types means, once read */
} hone_cli_budget_words;

/* hone_cli_parse_budget() reads the options, all but the text; *out borrows words. Returns 0, or an exit code when they
 * are no budget. */
int hone_cli_parse_budget(hone_cli_budget_words *words, hone_budget_options *out);

/* hone_cli_print_budget() prints sizes against divergences, where the file lies among them, and beside what was
 * predicted for it what was measured, if not NULL. */
void hone_cli_print_budget(const hone_budget *budget, const hone_divergence *measured);

/* hone_cli_budget_json() returns all that is known of a budget. */
json_t *hone_cli_budget_json(const hone_budget *budget, const hone_divergence *measured);

#endif
