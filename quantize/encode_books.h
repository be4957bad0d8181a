/* SPDX-License-Identifier: MIT */
/*
 * Encoders of the types with code books, as ggml's quantize_iq* do. Types that ggml refuses to encode without
 * importance (iq2_xs, iq2_xxs, iq1_s) take it as 1 throughout.
 */
#ifndef HONE_ENCODE_BOOKS_H
#define HONE_ENCODE_BOOKS_H

#include "quantize/book_search.h"

void hone_encode_iq3_s(const hone_book_kernels *k, const float *src, size_t ncols, const float *importance, void *dst);
void hone_encode_iq3_xxs(const hone_book_kernels *k, const float *src, size_t ncols, const float *importance,
                         void *dst);
void hone_encode_iq2_s(const hone_book_kernels *k, const float *src, size_t ncols, const float *importance, void *dst);
void hone_encode_iq2_xs(const hone_book_kernels *k, const float *src, size_t ncols, const float *importance, void *dst);
void hone_encode_iq2_xxs(const hone_book_kernels *k, const float *src, size_t ncols, const float *importance,
                         void *dst);

#endif
