/* SPDX-License-Identifier: MIT */
#include "base/transpose.h"

#include <string.h>

/* 32 lines of 64 bytes on either side of a tile. */
enum { TILE = 32 };

static inline void turn_sized(const char *src, size_t nrows, size_t ncols, size_t size, char *dst)
{
    for (size_t r0 = 0; r0 < nrows; r0 += TILE) {
        const size_t r1 = nrows - r0 < TILE ? nrows : r0 + TILE;
        for (size_t c0 = 0; c0 < ncols; c0 += TILE) {
            const size_t c1 = ncols - c0 < TILE ? ncols : c0 + TILE;
            for (size_t c = c0; c < c1; c++)
                for (size_t r = r0; r < r1; r++)
                    memcpy(dst + (c * nrows + r) * size, src + (r * ncols + c) * size, size);
        }
    }
}

/* The size is a constant in each call, so that memcpy becomes a load and a store. */
void hone_transpose(const void *src, size_t nrows, size_t ncols, size_t size, void *dst)
{
    switch (size) {
    case 1:
        turn_sized(src, nrows, ncols, 1, dst);
        break;
    case 2:
        turn_sized(src, nrows, ncols, 2, dst);
        break;
    case 4:
        turn_sized(src, nrows, ncols, 4, dst);
        break;
    case 8:
        turn_sized(src, nrows, ncols, 8, dst);
        break;
    default:
        turn_sized(src, nrows, ncols, size, dst);
    }
}
