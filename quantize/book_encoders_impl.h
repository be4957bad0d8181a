/* SPDX-License-Identifier: MIT */
/*
 * The table of encoders with code books of one level: included once by each level's file, after it has defined
 * HONE_BOOK_KERNELS, its searches, and HONE_BOOK_ENCODERS, what the table is called.
 */
#include "quantize/best_books.h"
#include "quantize/book_encoders.h"
#include "quantize/encode_books.h"
#include "quantize/encode_iq1.h"

static void encode_iq3_s(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_encode_iq3_s(&HONE_BOOK_KERNELS, src, ncols, importance, dst);
}

static void encode_iq3_xxs(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_encode_iq3_xxs(&HONE_BOOK_KERNELS, src, ncols, importance, dst);
}

static void encode_iq2_s(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_encode_iq2_s(&HONE_BOOK_KERNELS, src, ncols, importance, dst);
}

static void encode_iq2_xs(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_encode_iq2_xs(&HONE_BOOK_KERNELS, src, ncols, importance, dst);
}

static void encode_iq2_xxs(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_encode_iq2_xxs(&HONE_BOOK_KERNELS, src, ncols, importance, dst);
}

static void best_iq3_s(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_best_iq3_s(&HONE_BOOK_KERNELS, src, ncols, importance, dst);
}

static void best_iq3_xxs(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_best_iq3_xxs(&HONE_BOOK_KERNELS, src, ncols, importance, dst);
}

static void best_iq2_s(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_best_iq2_s(&HONE_BOOK_KERNELS, src, ncols, importance, dst);
}

static void best_iq2_xs(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_best_iq2_xs(&HONE_BOOK_KERNELS, src, ncols, importance, dst);
}

static void best_iq2_xxs(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_best_iq2_xxs(&HONE_BOOK_KERNELS, src, ncols, importance, dst);
}

static void best_iq1_s(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_best_iq1_s(&HONE_BOOK_KERNELS, src, ncols, importance, dst);
}

static void best_iq1_m(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_best_iq1_m(&HONE_BOOK_KERNELS, src, ncols, importance, dst);
}

const hone_book_encoders HONE_BOOK_ENCODERS = {
    .reference = {[HONE_IQ3_S] = encode_iq3_s,
                  [HONE_IQ3_XXS] = encode_iq3_xxs,
                  [HONE_IQ2_S] = encode_iq2_s,
                  [HONE_IQ2_XS] = encode_iq2_xs,
                  [HONE_IQ2_XXS] = encode_iq2_xxs,
                  [HONE_IQ1_S] = hone_encode_iq1_s,
                  [HONE_IQ1_M] = hone_encode_iq1_m},
    .best = {[HONE_IQ3_S] = best_iq3_s,
             [HONE_IQ3_XXS] = best_iq3_xxs,
             [HONE_IQ2_S] = best_iq2_s,
             [HONE_IQ2_XS] = best_iq2_xs,
             [HONE_IQ2_XXS] = best_iq2_xxs,
             [HONE_IQ1_S] = best_iq1_s,
             [HONE_IQ1_M] = best_iq1_m},
};
