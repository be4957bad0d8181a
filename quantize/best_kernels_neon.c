/* SPDX-License-Identifier: MIT */
/* The best search with NEON. */
#define HONE_LANES 4
#define HONE_BEST_LEVEL HONE_CPU_NEON
#define HONE_BEST_KERNELS hone_best_neon
#define HONE_BEST_ENCODERS hone_best_encoders_neon
#include "quantize/best_kernels_impl.h"
