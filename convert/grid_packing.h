/* SPDX-License-Identifier: MIT */
/* Rows of codes, scales and zeros to and from the words of a layout; see grid_parts.h. */
#ifndef HONE_GRID_PACKING_H
#define HONE_GRID_PACKING_H

#include "convert/grid_parts.h"

/* Rows of one chunk: codes (nrows, in), scales and zeros (nrows, groups) as they are decoded with. */
typedef struct hone_grid_codes {
    const hone_grid_weight *w;
    size_t nrows, groups;
    uint8_t *codes;
    float *scales, *zeros;
} hone_grid_codes;

/* hone_grid_by_column() tells whether rows of a weight are columns of what is stored. */
bool hone_grid_by_column(const hone_grid *grid);

/* hone_grid_pack() writes them to the pieces of the chunk, which lie in dst, all zeros; hone_grid_unpack() reads them.
 */
void hone_grid_pack(const hone_grid_codes *c, const hone_piece pieces[HONE_N_PARTS], unsigned n_pieces, uint8_t *dst);
void hone_grid_unpack(const hone_grid_codes *c, const hone_piece pieces[HONE_N_PARTS], unsigned n_pieces,
                      const uint8_t *src);

#endif
