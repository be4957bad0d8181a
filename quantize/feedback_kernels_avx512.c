/* SPDX-License-Identifier: MIT */
/* Error feedback with AVX-512. */
#define HONE_LANES 16
#define HONE_FEEDBACK_KERNELS hone_feedback_avx512
#include "quantize/feedback_kernels_impl.h"
