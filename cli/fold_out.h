/* SPDX-License-Identifier: MIT */
/* Words about folding. */
#ifndef HONE_CLI_FOLD_OUT_H
#define HONE_CLI_FOLD_OUT_H

#include "cli/json_out.h"
#include "hone/fold.h"

/* hone_cli_print_fold() prints a line for each kind of tensor that can take factors in. */
void hone_cli_print_fold(const hone_fold *fold);

/* hone_cli_fold_json() describes every group. */
json_t *hone_cli_fold_json(const hone_fold *fold);

#endif
