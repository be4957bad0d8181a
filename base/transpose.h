/* SPDX-License-Identifier: MIT */
/* Turning a matrix round, tile by tile, so that both sides stay in the cache. */
#ifndef HONE_TRANSPOSE_H
#define HONE_TRANSPOSE_H

#include <stddef.h>

/* hone_transpose() writes src (nrows, ncols) as dst (ncols, nrows); elements of size bytes. They must not overlap. */
void hone_transpose(const void *src, size_t nrows, size_t ncols, size_t size, void *dst);

#endif
