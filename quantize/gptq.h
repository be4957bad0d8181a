/* SPDX-License-Identifier: MIT */
/*
 * Coding with error feedback on the grids of block types.
 *
 * A block's scales are chosen by a search when its turn comes, on the weights as the feedback of all columns before has
 * left them; then its columns are coded one after the other with those scales. The rows of a weight do not meet.
 */
#ifndef HONE_GPTQ_H
#define HONE_GPTQ_H

#include "quantize/block_grid.h"
#include "quantize/book_types.h"
#include "quantize/encode.h"
#include "quantize/feedback.h"
#include "formats/decode.h"
#include "quantize/group_grid.h"

/* What is coded: blocks of a type, or groups of a grid. Those lie in memory as float scale, float zero, a byte for each
 * code. */
typedef struct hone_gptq_coder {
    size_t block_nelems, block_nbytes, run;
    hone_code_range range;
    const hone_block_grid *blocks; /* or, where codes are entries of a book: */
    const hone_book_type *books;
    const hone_book_kernels *book_kernels;
    hone_encode_fn encode;
    hone_decode_fn decode;
    const hone_grid *grid; /* NULL: blocks */
} hone_gptq_coder;

/* hone_gptq_can() tells whether a type's blocks can be coded this way. */
bool hone_gptq_can(hone_dtype dtype);
hone_gptq_coder hone_gptq_blocks(hone_dtype dtype, hone_search search, hone_cpu_level cpu);

/* hone_gptq_can_group() tells whether groups of so many columns of a row of ncols can. grid is borrowed. */
bool hone_gptq_can_group(size_t group, size_t ncols);
hone_gptq_coder hone_gptq_groups(const hone_grid *grid, size_t group);

/* hone_gptq_scratch_nfloats() returns the scratch that one call needs. */
size_t hone_gptq_scratch_nfloats(size_t ncols);

/*
 * hone_gptq_encode() encodes src (nrows, f->ncols), finite, whole blocks, to dst (nrows, whole blocks). A row that
 * would leave no less error in the layer's output than the plain search leaves keeps the codes of that; *n_plain gets
 * how many. The same bytes at every level, and however the rows are cut. Thread-safe on one f.
 */
void hone_gptq_encode(const hone_feedback *f, const hone_gptq_coder *coder, const float *src, size_t nrows, void *dst,
                      float *scratch, size_t *n_plain);

/* hone_gptq_encode_groups() is hone_gptq_encode() for a grid: codes (nrows, ncols), scales and zeros (nrows, groups).
 */
void hone_gptq_encode_groups(const hone_feedback *f, const hone_gptq_coder *coder, const float *src, size_t nrows,
                             uint8_t *codes, float *scales, float *zeros, float *scratch, size_t *n_plain);

#endif
