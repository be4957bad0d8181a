/* SPDX-License-Identifier: MIT */
/*
 * Coding with error feedback on a group-affine grid, a whole row at a time.
 *
 * The scales of all groups of a row are chosen first, by a search; then its columns are coded with those scales in the
 * order of the feedback, whatever groups they lie in. That shows what each code was rounded from, the weight and the
 * feedback of all columns before, and on these the scales are chosen anew. So groups may be of any width, and columns
 * of any order, in a file that tells of neither.
 */
#ifndef HONE_GPTQ_ROWS_H
#define HONE_GPTQ_ROWS_H

#include "quantize/feedback.h"
#include "quantize/group_grid.h"

/* hone_gptq_rows_scratch_nfloats() returns the scratch that one call needs. */
size_t hone_gptq_rows_scratch_nfloats(size_t ncols);

/*
 * hone_gptq_encode_rows() encodes src (nrows, f->ncols), finite, whole groups, to codes (nrows, ncols), scales and
 * zeros (nrows, groups). As hone_gptq_encode(): no row comes out worse than by the plain search; *n_plain gets how many
 * keep the codes of that. The same bytes at every level, and however the rows are cut. Thread-safe on one f.
 */
void hone_gptq_encode_rows(const hone_feedback *f, const hone_grid *grid, size_t group, const float *src, size_t nrows,
                           uint8_t *codes, float *scales, float *zeros, float *scratch, size_t *n_plain);

#endif
