/* SPDX-License-Identifier: MIT */
/*
 * Changing the weights of an opened checkpoint without changing what its model computes: whoever reads a tensor
 * afterwards reads the changed one. A matrix W (nrows, ncols) becomes
 *
 *     Q diag(r) W diag(c) Pt
 *
 * with r and c vectors, Q and P rotations of its rows and its columns. What adds up to no change, such as a norm's
 * weight moved into the matrices behind it, is for the caller to choose.
 *
 * A changed tensor is F32, and computed while it is read: scales and rotated columns row by row; rotated rows a block
 * at a time, which is kept in memory until all of it was read. Changes apply to what the tensor was before, so that
 * several may be made to one tensor, one after the other.
 */
#ifndef HONE_TRANSFORM_H
#define HONE_TRANSFORM_H

#include "hone/checkpoint.h"

/*
 * A rotation of the elements first .. first + n - 1 of a vector, block by block; the others stay. Within a block
 *
 *     x -> H (signs * x) / sqrt(block)
 *
 * where H is Sylvester's Hadamard matrix, or its product with Paley's of order 12 or 20.
 */
typedef struct hone_rotation {
    size_t first, n;
    size_t block;       /* divides n: a power of two, or 12 or 20 times one; see hone_rotation_block() */
    const float *signs; /* (n) of 1 and -1 */
} hone_rotation;

/* NULL: not that. The rotations come after the scales. */
typedef struct hone_transform {
    bool ones;                 /* W is replaced by ones first */
    const float *row_scale;    /* (nrows) */
    const float *column_scale; /* (ncols) */
    const hone_rotation *row_rotation, *column_rotation;
} hone_transform;

/* hone_rotation_block() returns the largest block that divides n. */
size_t hone_rotation_block(size_t n);

/* hone_rotation_signs() fills signs (n) with what the seed gives; every seed and index is independent of the others. */
void hone_rotation_signs(uint64_t seed, size_t n, float *signs);

/* hone_rotate() applies a rotation to x, which has at least rotation->first + n elements. */
void hone_rotate(const hone_rotation *rotation, double *x);

/*
 * hone_transform_tensor() changes a tensor as it is stored: its rows are those of the file. Axes before the last count
 * as one, a tensor of one axis as a matrix of one column; experts stored one by one are changed one by one, and all of
 * a layer before any is read. *transform is copied. Not while others use the checkpoint.
 * DATA: no such tensor. ARG: a rotation that leaves the tensor or is of a block that does not exist. UNSUPPORTED: of no
 * type that decodes. NOMEM.
 */
hone_status hone_transform_tensor(hone_checkpoint *ckpt, const char *name, const hone_transform *transform,
                                  hone_error *err);

/* hone_transform_stored_dtype() returns the type that a tensor had before it was changed, its own if it was not. */
hone_dtype hone_transform_stored_dtype(const hone_tensor *tensor);

/* What was done to the columns of a matrix. */
typedef enum hone_input_change { HONE_INPUT_SAME = 0, HONE_INPUT_SCALED, HONE_INPUT_ROTATED } hone_input_change;

/* hone_transform_of_input() tells the most that was done to what a matrix is multiplied with. turned: its inputs are
 * the rows as it is stored. */
hone_input_change hone_transform_of_input(const hone_tensor *tensor, bool turned);

/* hone_transform_input() turns an input x of the matrix as it was stored into what the changed one is given in its
 * place: P diag(1 / c) x, and again for every change; 0 where c is. */
void hone_transform_input(const hone_tensor *tensor, bool turned, double *x);

/* hone_transform_nbytes() returns the memory that reading the checkpoint's changed tensors, one after the other, may
 * take beside the caller's. */
uint64_t hone_transform_nbytes(const hone_checkpoint *ckpt);

#endif
