/* SPDX-License-Identifier: MIT */
/*
 * Multiplying activations by a stored weight.
 *
 *     X (n, ncols) · W (nrows, ncols)ᵀ + b (nrows) -> Y (n, nrows)
 *
 * W is cut into panels of rows. A thread decodes one panel to f32 and multiplies X by it; the cut depends on the shape
 * alone, so Y is the same for every thread count.
 */
#ifndef HONE_MATMUL_H
#define HONE_MATMUL_H

#include "verify/weights.h"

/* hone_matmul_init() makes the BLAS run on the thread that calls it. Call once before the first hone_matmul(). */
void hone_matmul_init(void);

/* hone_matmul_scratch_nfloats() returns the scratch that one thread needs for a weight of any shape. */
size_t hone_matmul_scratch_nfloats(void);

/* hone_matmul() computes Y; all zeros if w is not held. bias may be NULL. scratch holds hone_matmul_scratch_nfloats()
 * floats per thread of ctx. */
void hone_matmul(const hone_context *ctx, const hone_weight *w, const float *bias, const float *x, size_t n, float *y,
                 float *scratch);

#endif
