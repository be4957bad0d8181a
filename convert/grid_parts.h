/* SPDX-License-Identifier: MIT */
/*
 * The tensors that a group-quantized weight P [out, in] is stored as, b bits a code, G groups a row:
 *
 *   compressed-tensors   P.weight_packed i32 [out, in*b/32]   P.weight_scale [out, G]   P.weight_zero_point i32
 * [out*b/32, G] P.weight_shape i64 [2] GPTQ                 P.qweight i32 [in*b/32, out]         P.scales [G, out]
 * P.qzeros i32 [G, out*b/32] P.g_idx i32 [in] AWQ                  P.qweight i32 [in, out/8]            P.scales [G,
 * out]         P.qzeros i32 [G, out/8] MLX                  P.weight u32 [out, in*b/32]          P.scales [out, G]
 * P.biases [out, G]
 *
 * Codes are streams of bits from the low end up, along the axis that is divided. Work goes by rows of the weight; where
 * rows are columns of what is stored, a chunk of rows is a rectangle of it: many short runs.
 */
#ifndef HONE_GRID_PARTS_H
#define HONE_GRID_PARTS_H

#include "convert/pieces.h"
#include "convert/plan_impl.h"
#include "quantize/gptq.h"
#include "quantize/group_grid.h"

enum { HONE_GRID_ROWS_UNIT = 32 }; /* so many rows fill whole words in every layout */

typedef enum hone_grid_part { HONE_PART_CODES, HONE_PART_SCALES, HONE_PART_ZEROS, HONE_N_PARTS } hone_grid_part;

typedef struct hone_grid_weight {
    const hone_tensor *source;
    hone_grid grid;
    uint64_t out, in, group;    /* group: columns that share a scale */
    size_t parts[HONE_N_PARTS]; /* in plan->tensors; SIZE_MAX: not stored. Set once the tensors have their order. */
} hone_grid_weight;

/* hone_grid_fits() tells whether rows and columns fill whole words and groups; *why (static) if not. */
bool hone_grid_fits(const hone_grid *grid, uint64_t out, uint64_t in, uint64_t group, const char **why);

/* hone_grid_add_parts() adds the tensors of weight number `weight` of the plan; stem is P with a dot. NOMEM. */
hone_status hone_grid_add_parts(hone_plan *plan, size_t weight, const char *stem, hone_error *err);

/* hone_grid_pieces() sets the pieces of rows [row, row + nrows) and returns how many there are. */
unsigned hone_grid_pieces(const hone_plan *plan, const hone_grid_weight *w, uint64_t row, uint64_t nrows,
                          hone_piece pieces[HONE_N_PARTS]);

/* hone_grid_chunk_nbytes() is the room that hone_grid_encode_rows() needs for nrows rows: the pieces and scratch. */
size_t hone_grid_chunk_nbytes(const hone_grid_weight *w, uint64_t nrows);

/* Error feedback, the scratch it needs, and where the number of rows goes that did without. */
typedef struct hone_grid_feedback {
    const hone_feedback *feedback;
    float *scratch;
    size_t *n_plain;
} hone_grid_feedback;

/*
 * hone_grid_encode_rows() encodes rows (nrows, in) to the pieces, one behind the other in dst. importance (in) or NULL.
 */
void hone_grid_encode_rows(const hone_plan *plan, const hone_grid_weight *w, uint64_t row, uint64_t nrows,
                           const float *values, const float *importance, const hone_grid_feedback *feedback, void *dst);

/* hone_grid_code_rows() leaves what hone_grid_encode_rows() does, but the pieces: enough to decode them. */
void hone_grid_code_rows(const hone_grid_weight *w, uint64_t nrows, const float *values, const float *importance,
                         const hone_grid_feedback *feedback, void *chunk);

/* hone_grid_unpack_rows() takes up a chunk whose pieces were read back: it becomes what hone_grid_encode_rows() left.
 */
void hone_grid_unpack_rows(const hone_plan *plan, const hone_grid_weight *w, uint64_t row, uint64_t nrows, void *chunk);

/* hone_grid_decode_piece() decodes columns [first, first + n) of row r of the nrows that were encoded to chunk. */
void hone_grid_decode_piece(const hone_grid_weight *w, uint64_t nrows, const void *chunk, uint64_t r, size_t first,
                            size_t n, float *dst);

#endif
