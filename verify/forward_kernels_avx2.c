/* SPDX-License-Identifier: MIT */
/* Row operations of a forward pass with AVX2. */
#define HONE_FORWARD_KERNELS hone_forward_avx2
#include "verify/forward_kernels_impl.h"
