/* SPDX-License-Identifier: MIT */
/* The best search with AVX-512. */
#define HONE_LANES 16
#define HONE_BEST_LEVEL HONE_CPU_AVX512
#define HONE_BEST_KERNELS hone_best_avx512
#define HONE_BEST_ENCODERS hone_best_encoders_avx512
#include "quantize/best_kernels_impl.h"
