/* SPDX-License-Identifier: MIT */
/* The best search in portable C: the definition. */
#define HONE_LANES 1
#define HONE_BEST_LEVEL HONE_CPU_REF
#define HONE_BEST_KERNELS hone_best_ref
#define HONE_BEST_ENCODERS hone_best_encoders_ref
#include "quantize/best_kernels_impl.h"
