/* SPDX-License-Identifier: MIT */
/* Encoding rows of f32 into blocks. */
#ifndef HONE_ENCODE_H
#define HONE_ENCODE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/cpu.h"
#include "hone/quantize.h"

/*
 * Encodes one row: src (ncols, whole blocks, finite) to dst, which may be unaligned. importance (ncols) or NULL.
 * Same bytes at every level.
 */
typedef void (*hone_encode_fn)(const float *src, size_t ncols, const float *importance, void *dst);

/* hone_encoder() returns the encoder of a dtype, or NULL when there is none. */
hone_encode_fn hone_encoder(hone_dtype dtype, hone_search search, hone_cpu_level cpu);

/* hone_encoder_weighs() tells whether the encoder of a dtype looks at importance. */
bool hone_encoder_weighs(hone_dtype dtype, hone_search search);

#endif
