/* SPDX-License-Identifier: MIT */
/*
 * Scale folding: columns of weights that are hard to code are made larger, and what feeds them smaller, by factors that
 * cancel out (AWQ, Lin et al. 2023). A norm takes them into its weights, a linear layer into its rows, so a file needs
 * no new tensor and a runtime no new operation.
 *
 *   norm    -> q, k, v    w / s, W diag(s)
 *   norm    -> gate, up
 *   v       -> output     rows of v by head: query heads that share a value head share its factors
 *   up      -> down       where a gate multiplies up
 *   norm    -> logits     where the matrix is not the embedding too
 *
 * Factors are s = x^a / w^b for a grid of powers, x the root mean square of the input of a column and w that of its
 * weights. What each leaves in the output of its layers is measured on the codes that a run would write, on some of the
 * rows, and the least taken, if it is less than without.
 */
#ifndef HONE_FOLD_H
#define HONE_FOLD_H

#include "hone/convert.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What was found for the weights that share an input. */
typedef struct hone_fold_group {
    const char *name;                 /* of the output's tensor that takes the factors in; borrowed */
    double error;                     /* in the output of the layers, without folding; in arbitrary units */
    double folded_error;              /* with it; equal to error where nothing is folded */
    double input_power, weight_power; /* a and b; both 0 where nothing is folded */
} hone_fold_group;

/*
 * hone_fold_new() searches the factors for a model and puts them into src: all that reads it afterwards sees folded
 * weights, and computes the same. opts as for hone_plan_new(), for what quantizes, with an importance matrix or
 * calibration file of the model as it was. Give the result to hone_plan_new() in opts.fold, with all else the same.
 * ARG: neither of these files; else as hone_plan_new(). UNSUPPORTED: an architecture whose norms are not known.
 */
HONE_API hone_status hone_fold_new(const hone_context *ctx, hone_checkpoint *src, const hone_convert_options *opts,
                                   hone_fold **out, hone_error *err) HONE_CHECK_RESULT;
HONE_API void hone_fold_free(hone_fold *fold);

HONE_API size_t hone_fold_n(const hone_fold *fold);
HONE_API hone_fold_group hone_fold_at(const hone_fold *fold, size_t i);

#ifdef __cplusplus
}
#endif

#endif
