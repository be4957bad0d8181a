/* SPDX-License-Identifier: MIT */
/* Words about what a quantization did beside coding: methods chosen, factors folded, vectors corrected. */
#ifndef HONE_CLI_INGREDIENTS_OUT_H
#define HONE_CLI_INGREDIENTS_OUT_H

#include "cli/json_out.h"
#include "hone/correct.h"
#include "hone/fold.h"

/* Each prints a line for each kind of tensor that could be chosen for, be folded into, or be corrected. */
void hone_cli_print_methods(const hone_plan *plan);
void hone_cli_print_fold(const hone_fold *fold);
void hone_cli_print_correction(const hone_correction *correction);

/* They describe every group, and every vector. */
json_t *hone_cli_fold_json(const hone_fold *fold);
json_t *hone_cli_correction_json(const hone_correction *correction);

#endif
