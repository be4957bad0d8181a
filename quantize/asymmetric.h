/* SPDX-License-Identifier: MIT */
/*
 * Coding for the outputs of the original model (GPTAQ, Li et al. 2025).
 *
 * A layer that comes behind quantized ones is given X' where it was given X. What it should give is still W X, so that
 * what is to be coded is not W but
 *
 *     W* = W X X'T (X' X'T)^-1 = W + W (X - X') X'T H^-1,     H = X' X'T
 *
 * of which as much is taken as the text can be trusted for.
 */
#ifndef HONE_ASYMMETRIC_H
#define HONE_ASYMMETRIC_H

#include "quantize/feedback.h"

/*
 * hone_feedback_aim() sets f->shift to strength times difference (ncols, ncols) H^-1, where f is that of H and
 * difference (X - X') X'T in the same units; difference is taken over (hone_release()), on failure, too. NOMEM.
 */
hone_status hone_feedback_aim(const hone_context *ctx, hone_feedback *f, float *difference, float strength,
                              hone_error *err);

/* hone_feedback_shift_rows() computes what is coded in place of rows w (HONE_FEEDBACK_ROWS, ncols) where f has a shift.
 */
void hone_feedback_shift_rows(const hone_feedback *f, const float *w, float *shifted);

/* hone_feedback_aim_nbytes() returns the memory that takes: difference, and beside it at its peak. */
uint64_t hone_feedback_aim_nbytes(size_t ncols);

#endif
