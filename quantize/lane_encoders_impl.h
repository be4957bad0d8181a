/* SPDX-License-Identifier: MIT */
/* The encoders of an instruction set: included once by its file, after defining HONE_LANES and the names of the tables
 * (encoders_impl.h). */
#include "quantize/search_impl.h"

#include "quantize/blocks_impl.h"
#include "quantize/descent_impl.h"
#include "quantize/iq4_impl.h"

static const hone_search_kernels kernels = {
    .weigh = weigh,
    .minmax = minmax,
    .sym = sym,
    .descent = descent,
    .recode = recode,
    .iq4_scales = iq4_scales,
    .iq4_codes = iq4_codes,
};

#define HONE_SEARCH_KERNELS kernels
#include "quantize/encoders_impl.h"
