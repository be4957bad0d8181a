/* SPDX-License-Identifier: MIT */
/* The reference quantizers' searches for 4 groups at a time. */
#define HONE_LANES 4
#define HONE_SEARCH_KERNELS hone_search_neon

#include "quantize/search_impl.h"
