/* SPDX-License-Identifier: MIT */
/* What quantizing did to the weights: by type and by tensor, and which of them had no importance. */
#ifndef HONE_CLI_QUALITY_OUT_H
#define HONE_CLI_QUALITY_OUT_H

#include <jansson.h>

#include "hone/convert.h"

/* hone_cli_print_quality() prints a table of types to stdout. errors: one for each tensor of the plan. */
void hone_cli_print_quality(const hone_plan *plan, const hone_tensor_error *errors);

/* hone_cli_print_importance() prints how the importance matrix was used; nothing if there was none. */
void hone_cli_print_importance(const hone_plan *plan, const char *imatrix);

/* hone_cli_put_tensor_quality() adds bits per weight, importance and, if errors is not NULL, the error of tensor i. */
void hone_cli_put_tensor_quality(json_t *object, const hone_plan *plan, size_t i, const hone_tensor_error *errors);

/* hone_cli_put_quality() adds the same by type and over all, and what became of the importance matrix (or NULL). */
void hone_cli_put_quality(json_t *object, const hone_plan *plan, const char *imatrix, const hone_tensor_error *errors);

#endif
