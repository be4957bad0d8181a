/* SPDX-License-Identifier: MIT */
/* Row operations of a forward pass with AVX-512. */
#define HONE_FORWARD_KERNELS hone_forward_avx512
#include "verify/forward_kernels_impl.h"
