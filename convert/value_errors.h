/* SPDX-License-Identifier: MIT */
/*
 * What coding the matrices at a layer's values costs in what its attention adds to the residual stream.
 *
 * Let V make the values (of its rows some belong to each head) and O read the heads' outputs. O's error E costs
 * tr(E H ET), H being the moments of what it reads. Errors of V pass through attention, which averages them over tokens
 * as it does the values themselves, and through O: with G = OT O of a head's columns they cost f tr(G E H ET), where f
 * is what is left of the squares of the head's values, tr(H of the head's output) / tr(V H VT).
 */
#ifndef HONE_VALUE_ERRORS_H
#define HONE_VALUE_ERRORS_H

#include "convert/plan_impl.h"

/* The two matrices of a layer. The values are the last rows of `values`. */
typedef struct hone_value_matrices {
    const hone_planned_tensor *values, *output;
    size_t n_heads, n_kv_heads;
} hone_value_matrices;

/*
 * hone_value_errors_measure() sets *error to the sum of both, relative to what attention adds. Both matrices have
 * moments and a quantized type. plain: they are coded without error feedback. DATA, IO, NOMEM.
 */
hone_status hone_value_errors_measure(const hone_context *ctx, const hone_plan *plan, const hone_value_matrices *m,
                                      bool plain, double *error, hone_error *err);

#endif
