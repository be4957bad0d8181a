/* SPDX-License-Identifier: MIT */
/* An importance matrix in a plan: which of its values weigh which rows of which tensor. */
#ifndef HONE_IMPORTANCE_H
#define HONE_IMPORTANCE_H

#include "convert/plan_impl.h"

/* hone_importance_open() opens the importance matrix at path for the plan. ARG: a search that looks at none; else as
 * hone_imatrix_open(). */
hone_status hone_importance_open(hone_plan *plan, const char *path, hone_error *err);

/*
 * hone_importance_settle() finds the entry of each tensor, once types are settled. file_type names the mix.
 * DATA: an entry of another length than its tensor. ARG: no entry belongs to any tensor; or a tensor needs one and has
 * none. UNSUPPORTED: what the weights of a directory are called in GGUF is not known.
 */
hone_status hone_importance_settle(const hone_context *ctx, hone_plan *plan, uint32_t file_type, hone_error *err);

/* hone_importance_lacks() tells whether t has no entry and type needs one. */
bool hone_importance_lacks(const hone_planned_tensor *t, hone_dtype type);

/* hone_importance_is_calibration() tells whether the importance is that of the plan's calibration file. */
bool hone_importance_is_calibration(const hone_plan *plan);

/* hone_importance_put_metadata() writes where the importance comes from, under llama.cpp's keys. */
void hone_importance_put_metadata(hone_plan *plan);

/* hone_importance_is_key() tells whether a metadata key is one of those. */
bool hone_importance_is_key(const char *key);

/* hone_importance_n_few() counts the experts of t whose importance is not used because few tokens reached them. */
uint64_t hone_importance_n_few(const hone_plan *plan, const hone_planned_tensor *t);

/*
 * hone_importance_of_row() returns the importance (row_nelems) of a row of a tensor, NULL if it has none, or
 * is of an expert that saw too little. buffer (of as
 * many floats) holds it, and *held the matrix that it is of; start with UINT64_MAX. DATA, IO.
 */
hone_status hone_importance_of_row(const hone_plan *plan, const hone_planned_tensor *t, uint64_t row, float *buffer,
                                   uint64_t *held, const float **out, hone_error *err);

#endif
