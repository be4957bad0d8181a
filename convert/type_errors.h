/* SPDX-License-Identifier: MIT */
/* What storing a tensor in one type or another would do to it, without storing it. */
#ifndef HONE_TYPE_ERRORS_H
#define HONE_TYPE_ERRORS_H

#include "convert/plan_impl.h"
#include "quantize/feedback.h"

enum { HONE_MAX_TYPE_ERRORS = 24 };

/*
 * Errors are in the output of the tensor's layer, per token: tr(E H ET) if there is feedback; else squared errors,
 * weighed by importance if the tensor has some. Of large tensors a part of the rows is looked at, the same for all
 * types.
 */
typedef struct hone_type_errors {
    const hone_dtype *types; /* n, each with an encoder, that the rows can be cut into */
    size_t n;
    bool plain;                         /* coded without feedback, which then only weighs the errors */
    size_t probe;                       /* whose rows are wanted; n: none */
    unsigned char *probe_rows;          /* out: (n_rows) of types[probe], in the order of the source's rows */
    bool plain_probe;                   /* those are coded without feedback, whatever the others are */
    double probe_error;                 /* out: of those rows, like error[] */
    double error[HONE_MAX_TYPE_ERRORS]; /* out: infinite or NaN where the type cannot hold the values */
    double whole;                       /* out: what leaving the same rows out altogether would cost */
    double share;                       /* out: of the rows, that were looked at */
    const float *column_scale; /* (ncols) that the columns are multiplied by first, importance divided by its square;
                                * feedback is that of the weight so scaled. NULL: none */
    size_t sample_nelems;      /* how many elements are looked at, about; 0: enough to tell types apart */
} hone_type_errors;

/* hone_type_errors_measure() encodes rows of t as a run of the plan would. feedback: of its gram, or NULL. DATA,
 * IO, NOMEM. */
hone_status hone_type_errors_measure(const hone_context *ctx, const hone_plan *plan, const hone_planned_tensor *t,
                                     const hone_feedback *feedback, hone_type_errors *e, hone_error *err);

/* hone_type_errors_sampled() returns how many tiles of HONE_FEEDBACK_ROWS rows it will look at. */
size_t hone_type_errors_sampled(const hone_planned_tensor *t, const hone_type_errors *e);

#endif
