/* SPDX-License-Identifier: MIT */
/* The best search for types with code books: see best.h. */
#ifndef HONE_BEST_BOOKS_H
#define HONE_BEST_BOOKS_H

#include "quantize/book_search.h"

void hone_best_iq3_s(const hone_book_kernels *k, const float *src, size_t ncols, const float *importance, void *dst);
void hone_best_iq3_xxs(const hone_book_kernels *k, const float *src, size_t ncols, const float *importance, void *dst);
void hone_best_iq2_s(const hone_book_kernels *k, const float *src, size_t ncols, const float *importance, void *dst);
void hone_best_iq2_xs(const hone_book_kernels *k, const float *src, size_t ncols, const float *importance, void *dst);
void hone_best_iq2_xxs(const hone_book_kernels *k, const float *src, size_t ncols, const float *importance, void *dst);
void hone_best_iq1_s(const hone_book_kernels *k, const float *src, size_t ncols, const float *importance, void *dst);
void hone_best_iq1_m(const hone_book_kernels *k, const float *src, size_t ncols, const float *importance, void *dst);

#endif
