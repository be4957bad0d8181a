/* SPDX-License-Identifier: MIT */
/*
 * Quantizing and dequantizing rows of floats.
 *
 * The bytes produced are the same on every CPU, compiler and thread count.
 */
#ifndef HONE_QUANTIZE_H
#define HONE_QUANTIZE_H

#include "hone/context.h"
#include "hone/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * How hard to look for scales.
 *
 * BEST, the default, never leaves a row with a larger squared error than REFERENCE does, weighted by importance or
 * equally, and mostly a smaller one. REFERENCE gives the bytes of llama.cpp's quantizer; on group-affine grids, the
 * choice of the tool whose layout is written. FAST takes the first scale that spans a group.
 */
typedef enum hone_search { HONE_SEARCH_BEST = 0, HONE_SEARCH_REFERENCE, HONE_SEARCH_FAST, HONE_N_SEARCHES } hone_search;

/* hone_search_name() returns "best", "reference" or "fast"; "" for no search. Static. */
HONE_API const char *hone_search_name(hone_search search);

/* hone_search_from_name() finds a search by name, ignoring case; HONE_N_SEARCHES if there is none. */
HONE_API hone_search hone_search_from_name(const char *name);

/*
 * hone_quantize_rows() encodes src (nrows, ncols) row by row into dst.
 *
 * importance (ncols) weights the squared error of each column; NULL weights as the search does by
 * default. dst holds nrows * hone_dtype_row_nbytes(dtype, ncols) bytes. dtype may also be F32, F16 or BF16.
 * ARG: ncols is not a multiple of the block, or dtype has no encoder. DATA: src has a NaN or an infinity;
 * err->offset is the index of the first in src; or importance has one or a negative number, and err->item says so.
 */
HONE_API hone_status hone_quantize_rows(const hone_context *ctx, hone_dtype dtype, hone_search search, const float *src,
                                        size_t nrows, size_t ncols, const float *importance, void *dst,
                                        hone_error *err) HONE_CHECK_RESULT;

/* hone_dequantize_row() decodes nelems elements of any float or block dtype. ARG: no decoder, or not whole blocks. */
HONE_API hone_status hone_dequantize_row(const hone_context *ctx, hone_dtype dtype, const void *src, size_t nelems,
                                         float *dst, hone_error *err) HONE_CHECK_RESULT;

#ifdef __cplusplus
}
#endif

#endif
