/* SPDX-License-Identifier: MIT */
#define HONE_LANES 16
#define HONE_ENCODERS hone_encoders_avx512
#define HONE_FAST_ENCODERS hone_fast_encoders_avx512
#include "quantize/lane_encoders_impl.h"
