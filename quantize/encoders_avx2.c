/* SPDX-License-Identifier: MIT */
#define HONE_LANES 8
#define HONE_ENCODERS hone_encoders_avx2
#define HONE_FAST_ENCODERS hone_fast_encoders_avx2
#include "quantize/lane_encoders_impl.h"
