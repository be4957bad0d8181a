/* SPDX-License-Identifier: MIT */
/* The best search with AVX2. */
#define HONE_LANES 8
#define HONE_BEST_LEVEL HONE_CPU_AVX2
#define HONE_BEST_KERNELS hone_best_avx2
#define HONE_BEST_ENCODERS hone_best_encoders_avx2
#include "quantize/best_kernels_impl.h"
