/* SPDX-License-Identifier: MIT */
/*
 * Encoders of the types with tables of values and with few levels, as llama.cpp's reference search codes them. None of
 * these searches for a scale or looks at importance.
 */
#ifndef HONE_TABLE_ENCODERS_H
#define HONE_TABLE_ENCODERS_H

#include <stddef.h>
#include <stdint.h>

void hone_encode_mxfp4(const float *src, size_t ncols, const float *importance, void *dst);
void hone_encode_nvfp4(const float *src, size_t ncols, const float *importance, void *dst);
void hone_encode_q1_0(const float *src, size_t ncols, const float *importance, void *dst);
void hone_encode_q2_0(const float *src, size_t ncols, const float *importance, void *dst);
void hone_encode_tq1_0(const float *src, size_t ncols, const float *importance, void *dst);
void hone_encode_tq2_0(const float *src, size_t ncols, const float *importance, void *dst);

/* Blocks of tq1_0 and tq2_0 from their parts: HONE_QK_K codes 0, 1 and 2 for -d, 0 and d. */
void hone_pack_tq1_0(float d, const uint8_t *codes, uint8_t *dst);
void hone_pack_tq2_0(float d, const uint8_t *codes, uint8_t *dst);

/* hone_mxfp4_scale() returns the exponent byte for a block whose largest magnitude is amax. */
uint8_t hone_mxfp4_scale(float amax);

/* hone_ue4m3_scale() returns the unsigned E4M3 number for a scale. */
uint8_t hone_ue4m3_scale(float scale);

#endif
