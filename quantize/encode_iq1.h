/* SPDX-License-Identifier: MIT */
/*
 * Encoders of iq1_s and iq1_m, as ggml's quantize_iq1_s and quantize_iq1_m do. ggml refuses to encode iq1_s without
 * importance; here it is taken as 1 throughout then.
 */
#ifndef HONE_ENCODE_IQ1_H
#define HONE_ENCODE_IQ1_H

#include <stddef.h>

void hone_encode_iq1_s(const float *src, size_t ncols, const float *importance, void *dst);
void hone_encode_iq1_m(const float *src, size_t ncols, const float *importance, void *dst);

#endif
