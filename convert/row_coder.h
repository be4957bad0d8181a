/* SPDX-License-Identifier: MIT */
/* Coding rows of a planned tensor as a run of the plan would, without writing them. */
#ifndef HONE_ROW_CODER_H
#define HONE_ROW_CODER_H

#include "convert/plan_impl.h"
#include "quantize/feedback.h"

/* What one thread needs for HONE_FEEDBACK_ROWS rows at a time. */
typedef struct hone_row_coder {
    void *raw;
    float *values, *decoded; /* (HONE_FEEDBACK_ROWS, ncols) */
    float *importance, *scratch;
    unsigned char *encoded;
} hone_row_coder;

/* hone_row_coders_new() makes n of them for a tensor; NULL: out of memory. Release with hone_row_coders_free().
 * hone_row_coders_nbytes() is the memory they take. */
uint64_t hone_row_coders_nbytes(const hone_plan *plan, const hone_planned_tensor *t, int n);
hone_row_coder *hone_row_coders_new(const hone_plan *plan, const hone_planned_tensor *t, int n);
void hone_row_coders_free(hone_row_coder *coders, int n);

/*
 * hone_code_rows() encodes w->values, rows [row, row + nrows) of t, in a type to w->encoded: with feedback where t has
 * moments and the type can, else weighed by importance. Of codes on a grid the type is that of the grid. DATA, IO.
 */
hone_status hone_code_rows(const hone_context *ctx, const hone_plan *plan, const hone_planned_tensor *t,
                           hone_dtype type, const hone_feedback *feedback, uint64_t row, uint64_t nrows,
                           const hone_row_coder *w, hone_error *err);

/* hone_decode_rows() decodes w->encoded to w->decoded; rows beyond nrows become those of w->values: without an error.
 */
void hone_decode_rows(const hone_context *ctx, const hone_plan *plan, const hone_planned_tensor *t, hone_dtype type,
                      uint64_t nrows, const hone_row_coder *w);

#endif
