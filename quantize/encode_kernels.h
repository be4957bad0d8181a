/* SPDX-License-Identifier: MIT */
/*
 * The encoders behind hone_encoder().
 *
 * What makes a block of groups is written once, over a hone_search_kernels; an instruction set brings its own searches,
 * and its own whole encoders for the types that need none.
 */
#ifndef HONE_ENCODE_KERNELS_H
#define HONE_ENCODE_KERNELS_H

#include "quantize/encode.h"
#include "quantize/scale_search.h"

/* Blocks of 32. Without importance they take the plain scale and k is not used. */
void hone_encode_q4_0(const hone_search_kernels *k, const float *src, size_t ncols, const float *importance, void *dst);
void hone_encode_q4_1(const hone_search_kernels *k, const float *src, size_t ncols, const float *importance, void *dst);
void hone_encode_q5_0(const hone_search_kernels *k, const float *src, size_t ncols, const float *importance, void *dst);
void hone_encode_q5_1(const hone_search_kernels *k, const float *src, size_t ncols, const float *importance, void *dst);
void hone_encode_q8_0(const float *src, size_t ncols, void *dst);

/* Super-blocks of 256. */
void hone_encode_q2_k(const hone_search_kernels *k, const float *src, size_t ncols, const float *importance, void *dst);
void hone_encode_q3_k(const hone_search_kernels *k, const float *src, size_t ncols, const float *importance, void *dst);
void hone_encode_q4_k(const hone_search_kernels *k, const float *src, size_t ncols, const float *importance, void *dst);
void hone_encode_q5_k(const hone_search_kernels *k, const float *src, size_t ncols, const float *importance, void *dst);
void hone_encode_q6_k(const hone_search_kernels *k, const float *src, size_t ncols, const float *importance, void *dst);

/* Blocks of 32 and super-blocks of 256 with a table of values. */
void hone_encode_iq4_nl(const hone_search_kernels *k, const float *src, size_t ncols, const float *importance,
                        void *dst);
void hone_encode_iq4_xs(const hone_search_kernels *k, const float *src, size_t ncols, const float *importance,
                        void *dst);

/* The fast search. */
void hone_encode_fast_q2_k(const hone_search_kernels *k, const float *src, size_t ncols, void *dst);
void hone_encode_fast_q3_k(const hone_search_kernels *k, const float *src, size_t ncols, void *dst);
void hone_encode_fast_q4_k(const hone_search_kernels *k, const float *src, size_t ncols, void *dst);
void hone_encode_fast_q5_k(const hone_search_kernels *k, const float *src, size_t ncols, void *dst);
void hone_encode_fast_q6_k(const hone_search_kernels *k, const float *src, size_t ncols, void *dst);

/* The encoders of a level, but for those that only the portable C has; of the fast search, but for types whose
 * reference search is as fast. */
extern const hone_encode_fn hone_encoders_ref[HONE_N_DTYPES], hone_fast_encoders_ref[HONE_N_DTYPES];
#if defined(__x86_64__)
extern const hone_encode_fn hone_encoders_avx2[HONE_N_DTYPES], hone_fast_encoders_avx2[HONE_N_DTYPES];
extern const hone_encode_fn hone_encoders_avx512[HONE_N_DTYPES], hone_fast_encoders_avx512[HONE_N_DTYPES];
#elif defined(__aarch64__)
extern const hone_encode_fn hone_encoders_neon[HONE_N_DTYPES], hone_fast_encoders_neon[HONE_N_DTYPES];
#endif

#endif
