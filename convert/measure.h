/* SPDX-License-Identifier: MIT */
/*
 * How far encoded rows are from what they stand for.
 *
 * Sums are made for each row by itself and joined in the order of rows, so that they depend neither on how rows are cut
 * into chunks nor on threads; in f32 inside a block, in double beyond it.
 */
#ifndef HONE_MEASURE_H
#define HONE_MEASURE_H

#include "convert/plan_impl.h"

/* One row's sums over its elements. */
typedef struct hone_row_sums {
    double squared_error, squared_source, squared_output, dot;
} hone_row_sums;

/* A chunk's measure: the sums of each of its rows, as far as they are measured, and its block of largest squared error.
 */
typedef struct hone_measure {
    hone_row_sums *rows;  /* room for those of a chunk */
    size_t n_rows;        /* 0: begin anew */
    uint64_t worst_block; /* counted within the tensor */
    size_t worst_nelems;
    double worst_squared_error;
} hone_measure;

/* hone_is_measured() tells whether encoding a tensor can lose anything. */
bool hone_is_measured(const hone_planned_tensor *t);

/*
 * hone_measure_rows() compares rows [row, row + nrows) of t, values (nrows, t->row_nelems), with encoded, which holds
 * them: as they are written, or, of a part of a weight, as hone_grid_encode_rows() leaves them. They follow the rows
 * that are in m.
 */
void hone_measure_rows(const hone_plan *plan, const hone_planned_tensor *t, hone_cpu_level cpu, uint64_t row,
                       uint64_t nrows, const float *values, const void *encoded, hone_measure *m);

/* hone_measure_add() joins the measure of the next rows of t to what is known of it. */
void hone_measure_add(const hone_planned_tensor *t, const hone_measure *m, hone_tensor_error *error);

#endif
