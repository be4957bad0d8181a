/* SPDX-License-Identifier: MIT */
/*
 * Coding a group of weights with entries of a code book.
 *
 * A group is 8, 16 or 32 neighbouring weights with one scale, that is 1 to 8 vectors of the book. x stands for
 * scale * value of its level. Sums run over the elements of a group in order, in f32, as in ggml.
 */
#ifndef HONE_BOOK_SEARCH_H
#define HONE_BOOK_SEARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cpu.h"
#include "quantize/book_index.h"

enum { HONE_BOOK_GROUP = 32, HONE_BOOK_VECTORS = 8, HONE_BOOK_LEVELS = 8, HONE_BOOK_TRIALS = 32 };

/* What levels stand for, rising, and how one is found: round(slope * (x / scale - shift)). */
typedef struct hone_book_levels {
    float values[HONE_BOOK_LEVELS]; /* three of them are repeated from the fifth on */
    float slope, shift;
} hone_book_levels;

/* The odd numbers. */
extern const hone_book_levels hone_odd_levels3, hone_odd_levels8;

typedef struct hone_book_group {
    const hone_book_index *index;
    const hone_book_levels *levels;
    size_t size;
    float x[HONE_BOOK_GROUP], w[HONE_BOOK_GROUP];
    float rival[HONE_BOOK_GROUP]; /* the weights that entries compete under */
    /* For each level, w x value and w value^2. */
    float xq[HONE_BOOK_GROUP][HONE_BOOK_LEVELS], qq[HONE_BOOK_GROUP][HONE_BOOK_LEVELS];
} hone_book_group;

/* The entry of each vector, whether it was the nearest point (bit k), and sums of w x value and w value^2. */
typedef struct hone_book_codes {
    uint16_t index[HONE_BOOK_VECTORS];
    unsigned hits;
    float xq, qq;
} hone_book_codes;

typedef struct hone_book_kernels {
    hone_cpu_level level;
    /* Codes the group with each of n <= HONE_BOOK_TRIALS scales: levels nearest to x * inverses[t]; where they are no
     * entry, the one that is best under scales[t]. */
    void (*code)(const hone_book_group *g, size_t n, const float *inverses, const float *scales, hone_book_codes *out);
} hone_book_kernels;

extern const hone_book_kernels hone_books_ref;
#if defined(__x86_64__)
extern const hone_book_kernels hone_books_avx2;
#endif

/* hone_book_group_init() fills in all that follows from x and w, but the weights that entries compete under. */
void hone_book_group_init(const hone_book_index *index, const hone_book_levels *levels, size_t size,
                          hone_book_group *g);

#endif
