/* SPDX-License-Identifier: MIT */
/*
 * Coding a group of weights with entries of a code book.
 *
 * A group is 16 or 32 neighbouring weights with one scale, made positive, that is 2 to 8 vectors of the book. Level l
 * stands for the odd number 2 l + 1. Sums run over the elements of a group in order, in f32, as in ggml.
 */
#ifndef HONE_BOOK_SEARCH_H
#define HONE_BOOK_SEARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quantize/book_index.h"

enum { HONE_BOOK_GROUP = 32, HONE_BOOK_VECTORS = 8, HONE_BOOK_LEVELS = 8, HONE_BOOK_TRIALS = 32 };

typedef struct hone_book_group {
    const hone_book_index *index;
    size_t size;
    float x[HONE_BOOK_GROUP]; /* below 0 where a sign was bent */
    float w[HONE_BOOK_GROUP];
    float root[HONE_BOOK_GROUP]; /* sqrtf(w): entries compete under this, by ggml's choice */
    /* For each level, w x q and w q^2. */
    float xq[HONE_BOOK_GROUP][HONE_BOOK_LEVELS], qq[HONE_BOOK_GROUP][HONE_BOOK_LEVELS];
} hone_book_group;

/* The entry of each vector, whether it was the nearest point (bit k), and sums of w x q and w q^2. */
typedef struct hone_book_codes {
    uint16_t index[HONE_BOOK_VECTORS];
    unsigned hits;
    float xq, qq;
} hone_book_codes;

typedef struct hone_book_kernels {
    /* Codes the group with each of n <= HONE_BOOK_TRIALS scales: levels nearest to x * inverses[t]; where they are no
     * entry, the one that is best under scales[t]. */
    void (*code)(const hone_book_group *g, size_t n, const float *inverses, const float *scales, hone_book_codes *out);
} hone_book_kernels;

extern const hone_book_kernels hone_books_ref;

/* hone_book_group_init() fills in what follows from x and w. */
void hone_book_group_init(const hone_book_index *index, size_t size, hone_book_group *g);

#endif
