/* SPDX-License-Identifier: MIT */
/* The reference quantizers' searches for 16 groups at a time. */
#define HONE_LANES 16
#define HONE_SEARCH_KERNELS hone_search_avx512

#include "quantize/search_impl.h"
