/* SPDX-License-Identifier: MIT */
/*
 * The decoders behind hone_decoder(), one table per instruction set.
 *
 * The portable C is the definition. A table of another level holds NULL where that level has nothing better.
 */
#ifndef HONE_DECODE_KERNELS_H
#define HONE_DECODE_KERNELS_H

#include "formats/decode.h"

void hone_decode_q4_0(const void *src, float *dst, size_t nelems);
void hone_decode_q4_1(const void *src, float *dst, size_t nelems);
void hone_decode_q5_0(const void *src, float *dst, size_t nelems);
void hone_decode_q5_1(const void *src, float *dst, size_t nelems);
void hone_decode_q8_0(const void *src, float *dst, size_t nelems);
void hone_decode_q2_k(const void *src, float *dst, size_t nelems);
void hone_decode_q3_k(const void *src, float *dst, size_t nelems);
void hone_decode_q4_k(const void *src, float *dst, size_t nelems);
void hone_decode_q5_k(const void *src, float *dst, size_t nelems);
void hone_decode_q6_k(const void *src, float *dst, size_t nelems);
void hone_decode_q1_0(const void *src, float *dst, size_t nelems);
void hone_decode_q2_0(const void *src, float *dst, size_t nelems);
void hone_decode_q8_1(const void *src, float *dst, size_t nelems);
void hone_decode_q8_k(const void *src, float *dst, size_t nelems);
void hone_decode_iq4_nl(const void *src, float *dst, size_t nelems);
void hone_decode_iq4_xs(const void *src, float *dst, size_t nelems);
void hone_decode_mxfp4(const void *src, float *dst, size_t nelems);
void hone_decode_nvfp4(const void *src, float *dst, size_t nelems);
void hone_decode_tq1_0(const void *src, float *dst, size_t nelems);
void hone_decode_tq2_0(const void *src, float *dst, size_t nelems);
void hone_decode_iq3_s(const void *src, float *dst, size_t nelems);
void hone_decode_iq3_xxs(const void *src, float *dst, size_t nelems);
void hone_decode_iq2_s(const void *src, float *dst, size_t nelems);
void hone_decode_iq2_xs(const void *src, float *dst, size_t nelems);
void hone_decode_iq2_xxs(const void *src, float *dst, size_t nelems);
void hone_decode_iq1_s(const void *src, float *dst, size_t nelems);
void hone_decode_iq1_m(const void *src, float *dst, size_t nelems);

#if defined(__x86_64__)
extern const hone_decode_fn hone_decoders_avx2[HONE_N_DTYPES];
#endif

#endif
