/* SPDX-License-Identifier: MIT */
/* Decoding stored elements to f32. */
#ifndef HONE_DECODE_H
#define HONE_DECODE_H

#include <stddef.h>

#include "base/cpu.h"
#include "hone/tensor.h"

/* Decodes nelems (whole blocks) from src, which may be unaligned, to dst. Exact: every level gives the same floats. */
typedef void (*hone_decode_fn)(const void *src, float *dst, size_t nelems);

/* hone_decoder() returns the decoder of a dtype for a CPU level, or NULL when the dtype has none. */
hone_decode_fn hone_decoder(hone_dtype dtype, hone_cpu_level cpu);

#endif
