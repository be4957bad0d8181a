/* SPDX-License-Identifier: MIT */
/* Members of hone_search_avx2 that have a file of their own. */
#ifndef HONE_SEARCH_KERNELS_AVX2_H
#define HONE_SEARCH_KERNELS_AVX2_H

#include "quantize/scale_search.h"

void hone_minmax_avx2(const hone_minmax_grid *grid, const hone_groups *g, uint8_t *codes, float *scales, float *mins);

#endif
