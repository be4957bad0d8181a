/* SPDX-License-Identifier: MIT */
/* Comparing two tensors element by element, a chunk of rows at a time. */
#ifndef HONE_DIFF_ROWS_H
#define HONE_DIFF_ROWS_H

#include "hone/verify.h"

/*
 * Two tensors of one shape, or when transposed of shapes (m, n) and (n, m): one side is a GGUF file then, and the other
 * is not. head_nrows: 0, or the rows of each head when one side is a GGUF file that stores a head's rows 0, h/2, 1,
 * h/2 + 1, ...
 */
typedef struct hone_tensor_pair {
    const hone_tensor *reference, *candidate;
    size_t head_nrows;
    bool transposed;
} hone_tensor_pair;

/*
 * hone_diff_rows() measures a pair into everything of *out but the names. Integers and what has no decoder
 * are compared exactly, as they are stored; different values without decoder are NaN apart. UNSUPPORTED: floats against
 * such, or blocks that would have to be transposed. LIMIT: reordered rows that are too long. DATA, IO, NOMEM. A NaN on
 * either side makes every figure NaN that it enters; max_index is then the first such element.
 */
hone_status hone_diff_rows(const hone_context *ctx, const hone_checkpoint *reference, const hone_checkpoint *candidate,
                           const hone_tensor_pair *pair, hone_tensor_diff *out, hone_error *err);

#endif
