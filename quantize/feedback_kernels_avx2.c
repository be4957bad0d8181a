/* SPDX-License-Identifier: MIT */
/* Error feedback with AVX2. */
#define HONE_LANES 8
#define HONE_FEEDBACK_KERNELS hone_feedback_avx2
#include "quantize/feedback_kernels_impl.h"
