/* SPDX-License-Identifier: MIT */
/*
 * The best search: scales, minimums and codes found together, for the least weighted squared error a block can have.
 *
 * Each encodes one row as a hone_encode_fn does. A block is kept only if it beats the reference search's under the
 * weights (importance, or 1) as both are decoded; so no row comes out worse.
 */
#ifndef HONE_BEST_H
#define HONE_BEST_H

#include <stdbool.h>

#include "quantize/best_kernels.h"

void hone_best_q4_0(const hone_best_kernels *k, const float *src, size_t ncols, const float *importance, void *dst);
void hone_best_q4_1(const hone_best_kernels *k, const float *src, size_t ncols, const float *importance, void *dst);
void hone_best_q5_0(const hone_best_kernels *k, const float *src, size_t ncols, const float *importance, void *dst);
void hone_best_q5_1(const hone_best_kernels *k, const float *src, size_t ncols, const float *importance, void *dst);
void hone_best_q2_k(const hone_best_kernels *k, const float *src, size_t ncols, const float *importance, void *dst);
void hone_best_q3_k(const hone_best_kernels *k, const float *src, size_t ncols, const float *importance, void *dst);
void hone_best_q4_k(const hone_best_kernels *k, const float *src, size_t ncols, const float *importance, void *dst);
void hone_best_q5_k(const hone_best_kernels *k, const float *src, size_t ncols, const float *importance, void *dst);
void hone_best_q6_k(const hone_best_kernels *k, const float *src, size_t ncols, const float *importance, void *dst);
void hone_best_iq4_nl(const hone_best_kernels *k, const float *src, size_t ncols, const float *importance, void *dst);
void hone_best_iq4_xs(const hone_best_kernels *k, const float *src, size_t ncols, const float *importance, void *dst);
void hone_best_mxfp4(const hone_best_kernels *k, const float *src, size_t ncols, const float *importance, void *dst);
void hone_best_nvfp4(const hone_best_kernels *k, const float *src, size_t ncols, const float *importance, void *dst);
void hone_best_tq1_0(const hone_best_kernels *k, const float *src, size_t ncols, const float *importance, void *dst);
void hone_best_tq2_0(const hone_best_kernels *k, const float *src, size_t ncols, const float *importance, void *dst);

/* One block, or several of n elements: where candidate decodes nearer to x than kept, it replaces it. */
void hone_best_keep(const hone_best_kernels *k, hone_dtype dtype, const float *x, const float *importance, float factor,
                    const uint8_t *candidate, uint8_t *kept);

/* The same for groups of a tile: packs `new`, whose scales are given, and tells where it beats `old`. */
void hone_best_compare(const hone_best_kernels *k, const hone_packing *p, const hone_tile *t, const float *w,
                       hone_tile_blocks *old, hone_tile_blocks *new, bool better[HONE_TILE]);

/* A power of two that brings numbers of this magnitude near 1, or 1 if they are not far from it. */
float hone_best_factor(float largest);

/* d (in units of x * factor) as its f16, at most the largest finite one; *rounded gets what that is in those units. */
uint16_t hone_best_half(float d, float factor, float *rounded);

/*
 * For loading a tile: weights are (importance + *plus) * *factor, of ordinary magnitude. Columns without importance
 * still count for 2^-30 of the largest, so that they are coded sensibly.
 */
void hone_best_weigh(const hone_best_kernels *k, const float *importance, size_t n, float *factor, float *plus);

#endif
