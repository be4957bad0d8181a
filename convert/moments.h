/* SPDX-License-Identifier: MIT */
/*
 * The second moments that a calibration file holds for a plan's tensors, and the error feedback made of them when a
 * tensor's turn comes.
 */
#ifndef HONE_MOMENTS_H
#define HONE_MOMENTS_H

#include "convert/plan_impl.h"
#include "quantize/feedback.h"

/*
 * hone_moments_open() opens the plan's calibration file, or what computes moments while the plan runs. A file made of
 * the model before its weights were changed has its moments changed, too. FORMAT, DATA: the file has no second moments,
 * or no consistent ones. ARG: neither is asked for, or the file is of the model changed in another way. Else as
 * hone_plan_open_sequential().
 */
hone_status hone_moments_open(const hone_context *ctx, hone_plan *plan, const hone_convert_options *opts,
                              hone_error *err);

/*
 * hone_moments_assign() gives each tensor of the plan that can be coded with error feedback its moments, and notes
 * those that could but have none. DATA: the file is of another model.
 */
hone_status hone_moments_assign(const hone_context *ctx, hone_plan *plan, hone_error *err);

/* hone_moments_count() sets the memory that moments and error feedback take beside the chunks: plan->moments_nbytes at
 * its peak, thread_moments_nbytes for each thread, and what sequential calibration takes besides. */
void hone_moments_count(hone_plan *plan);

/* hone_moments_nbytes() is the memory that hone_moments_prepare() takes for a tensor at its peak. */
uint64_t hone_moments_nbytes(const hone_plan *plan, const hone_planned_tensor *t);

/* hone_moments_diagonal() reads the diagonal (ncols) of the moments that the file holds for a tensor, as they are
 * there: mean squares of its input before it was changed. DATA, IO, NOMEM. */
hone_status hone_moments_diagonal(const hone_plan *plan, const hone_planned_tensor *t, float *dst, hone_error *err);

/* hone_moments_prepare() makes the feedback for a tensor; *f is kept if it is that already. t->gram NULL: nothing is
 * done. DATA, IO, NOMEM. */
hone_status hone_moments_prepare(const hone_context *ctx, const hone_plan *plan, const hone_planned_tensor *t,
                                 const hone_tensor **current, hone_feedback *f, hone_error *err);

/* hone_moments_prepare_expert() makes the feedback for one expert of a tensor with expert_grams, or for a tensor that
 * is an expert, and for those that share its moments. *n_tokens: what the expert saw; where that is less than
 * plan->min_expert_tokens, *f is empty. DATA, IO, NOMEM. */
hone_status hone_moments_prepare_expert(const hone_context *ctx, const hone_plan *plan, const hone_planned_tensor *t,
                                        uint64_t expert, hone_feedback *f, double *n_tokens, hone_error *err);

/* hone_moments_read() reads the second moments that a tensor is coded by to out (ncols, ncols), as they are. DATA, IO,
 * NOMEM. */
hone_status hone_moments_read(const hone_context *ctx, const hone_plan *plan, const hone_planned_tensor *t, double *out,
                              hone_error *err);

/* hone_plan_bias_of() returns the planned bias of a matrix, or NULL. */
const hone_planned_tensor *hone_plan_bias_of(const hone_plan *plan, const hone_planned_tensor *t);

#endif
