/* SPDX-License-Identifier: MIT */
/* The reference quantizers' searches for 8 groups at a time. */
#define HONE_LANES 8
#define HONE_SEARCH_KERNELS hone_search_avx2

#include "quantize/search_impl.h"
