/* SPDX-License-Identifier: MIT */
/*
 * Encoders of the types with tables of values and with few levels, as llama.cpp's reference search codes them.
 *
 * Of these only iq4_nl and iq4_xs search for a scale, and only they look at importance.
 */
#ifndef HONE_TABLE_ENCODERS_H
#define HONE_TABLE_ENCODERS_H

#include <stddef.h>
#include <stdint.h>

#include "quantize/scale_search.h"

void hone_encode_iq4_nl(const float *src, size_t ncols, const float *importance, void *dst);
void hone_encode_iq4_xs(const float *src, size_t ncols, const float *importance, void *dst);
void hone_encode_mxfp4(const float *src, size_t ncols, const float *importance, void *dst);
void hone_encode_nvfp4(const float *src, size_t ncols, const float *importance, void *dst);
void hone_encode_q1_0(const float *src, size_t ncols, const float *importance, void *dst);
void hone_encode_q2_0(const float *src, size_t ncols, const float *importance, void *dst);
void hone_encode_tq1_0(const float *src, size_t ncols, const float *importance, void *dst);
void hone_encode_tq2_0(const float *src, size_t ncols, const float *importance, void *dst);

/* Blocks of tq1_0 and tq2_0 from their parts: HONE_QK_K codes 0, 1 and 2 for -d, 0 and d. */
void hone_pack_tq1_0(float d, const uint8_t *codes, uint8_t *dst);
void hone_pack_tq2_0(float d, const uint8_t *codes, uint8_t *dst);

/* One implementation of the search for scales of iq4 groups, of 32 elements each. */
typedef struct hone_iq4_kernels {
    /* w = importance * sqrt(sigma2 + x^2), as in hone_search_kernels. */
    void (*weigh)(const float *importance, const float *x, size_t n, float sigma2, float *w);
    /* x ~ scale * V[code]: the scale of each group; 0 where |x| < 1e-15. */
    void (*search)(const hone_groups *g, float *scales);
    /* codes (g->n, 32) = the entries nearest to inverses[i] * x. */
    void (*code)(const hone_groups *g, const float *inverses, uint8_t *codes);
} hone_iq4_kernels;

extern const hone_iq4_kernels hone_iq4_ref;

/* The two types over any kernels. */
void hone_iq4_nl_blocks(const hone_iq4_kernels *k, const float *src, size_t ncols, const float *importance, void *dst);
void hone_iq4_xs_blocks(const hone_iq4_kernels *k, const float *src, size_t ncols, const float *importance, void *dst);

/* hone_mxfp4_scale() returns the exponent byte for a block whose largest magnitude is amax. */
uint8_t hone_mxfp4_scale(float amax);

/* hone_ue4m3_scale() returns the unsigned E4M3 number for a scale. */
uint8_t hone_ue4m3_scale(float scale);

#if defined(__x86_64__)
void hone_encode_iq4_nl_avx2(const float *src, size_t ncols, const float *importance, void *dst);
void hone_encode_iq4_xs_avx2(const float *src, size_t ncols, const float *importance, void *dst);
void hone_encode_mxfp4_avx2(const float *src, size_t ncols, const float *importance, void *dst);
void hone_encode_nvfp4_avx2(const float *src, size_t ncols, const float *importance, void *dst);
#endif

#endif
