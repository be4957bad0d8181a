/* SPDX-License-Identifier: MIT */
/*
 * Correction: vectors that a model has anyhow are changed so that they make up for a part of what coding does to its
 * matrices. With Q in place of W, and x the input,
 *
 *   a bias behind W becomes   b + (W - Q) mean(x)
 *   an RMS norm before W      w d, with the d that makes (W - Q diag(d)) x least in the mean square, over all W behind
 *
 * kept where the output's error, by the second moments of a calibration file, becomes less.
 */
#ifndef HONE_CORRECT_H
#define HONE_CORRECT_H

#include "hone/convert.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hone_correction_tensor {
    const char *name;              /* of the output's vector; borrowed */
    double error, corrected_error; /* in the output of the layers beside it; equal where it is as it was */
} hone_correction_tensor;

/*
 * hone_correction_new() codes the matrices as a run of the plan would, and finds what their vectors are to be. opts as
 * for hone_plan_new(), for what quantizes, with a calibration file with second moments and, for biases, means. Give the
 * result to hone_plan_new() in opts.correction, with correct set and all else the same. ARG: no such file; else as
 * hone_plan_new(). UNSUPPORTED: an architecture whose norms are not known. Needs the memory of two matrices of f64 of
 * the longest input.
 */
HONE_API hone_status hone_correction_new(const hone_context *ctx, const hone_checkpoint *src,
                                         const hone_convert_options *opts, hone_correction **out,
                                         hone_error *err) HONE_CHECK_RESULT;
HONE_API void hone_correction_free(hone_correction *correction);

HONE_API size_t hone_correction_n(const hone_correction *correction);
HONE_API hone_correction_tensor hone_correction_at(const hone_correction *correction, size_t i);

#ifdef __cplusplus
}
#endif

#endif
