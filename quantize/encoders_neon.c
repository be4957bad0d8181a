/* SPDX-License-Identifier: MIT */
#define HONE_LANES 4
#define HONE_ENCODERS hone_encoders_neon
#define HONE_FAST_ENCODERS hone_fast_encoders_neon
#include "quantize/lane_encoders_impl.h"
