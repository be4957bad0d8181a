/* SPDX-License-Identifier: MIT */
/* Reading rows of a planned tensor as f32, in output order. */
#ifndef HONE_ROW_READER_H
#define HONE_ROW_READER_H

#include "convert/plan_impl.h"

/* hone_rows_are_raw() tells whether, after hone_read_rows(), raw holds the rows' stored bytes in output order. */
bool hone_rows_are_raw(const hone_planned_tensor *t);

/* hone_rows_are_turned() tells whether a row is read in as many pieces as it has elements: many rows are read better.
 */
bool hone_rows_are_turned(const hone_planned_tensor *t);

/* hone_row_reader_nbytes() returns the size of the raw buffer that reading nrows rows of t needs. */
size_t hone_row_reader_nbytes(const hone_planned_tensor *t, uint64_t nrows);

/*
 * hone_read_rows() decodes output rows [row, row + nrows) of t to dst (nrows, t->row_nelems); raw is scratch. DATA: a
 * NaN or an infinity, err->item the source tensor, the element's index in the reason. A tensor that may have any_value
 * and keeps its type is only read to raw.
 */
hone_status hone_read_rows(const hone_context *ctx, const hone_plan *plan, const hone_planned_tensor *t, uint64_t row,
                           uint64_t nrows, void *raw, float *dst, hone_error *err);

/* hone_read_vector() decodes a tensor of one axis, whatever its rows. As hone_read_rows(), NOMEM. */
hone_status hone_read_vector(const hone_context *ctx, const hone_plan *plan, const hone_planned_tensor *t, float *dst,
                             hone_error *err);

/* hone_round_to() makes n values what a type of floats stores them as. NOMEM. */
hone_status hone_round_to(const hone_context *ctx, hone_dtype dtype, float *values, size_t n, hone_error *err);

#endif
