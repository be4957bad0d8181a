/* SPDX-License-Identifier: MIT */
/*
 * Coding with error feedback on the grids of block types.
 *
 * A block's scales are chosen by a search when its turn comes, on the weights as the feedback of all columns before has
 * left them; then its columns are coded one after the other with those scales. The rows of a weight do not meet.
 */
#ifndef HONE_GPTQ_H
#define HONE_GPTQ_H

#include "hone/quantize.h"
#include "quantize/feedback.h"

/* hone_gptq_can() tells whether a type's blocks can be coded this way. */
bool hone_gptq_can(hone_dtype dtype);

/* hone_gptq_scratch_nfloats() returns the scratch that one call needs. */
size_t hone_gptq_scratch_nfloats(size_t ncols);

/*
 * hone_gptq_encode() encodes src (nrows, f->ncols), finite, whole blocks, to dst. A row that would leave no less error
 * in the layer's output than the plain search leaves keeps the codes of that; *n_plain gets how many. The same bytes at
 * every level, and however the rows are cut. Thread-safe on one f.
 */
void hone_gptq_encode(const hone_feedback *f, hone_dtype dtype, hone_search search, hone_cpu_level cpu,
                      const float *src, size_t nrows, void *dst, float *scratch, size_t *n_plain);

#endif
