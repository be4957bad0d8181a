/* SPDX-License-Identifier: MIT */
/*
 * Looking up points in a code book (formats/code_books.h).
 *
 * A point has a level for each of its elements: eight levels in books of four elements, three in books of eight. Points
 * in the book are entries; for all others there is a list of near entries, of which the best is found by weight. The
 * lists are ggml's (iq2xs_init_impl, iq3xs_init_impl): entries at the least distances, nearest first, then by index.
 */
#ifndef HONE_BOOK_INDEX_H
#define HONE_BOOK_INDEX_H

#include <stdint.h>

typedef enum hone_book {
    HONE_BOOK_IQ3_S = 0,
    HONE_BOOK_IQ3_XXS,
    HONE_BOOK_IQ2_S,
    HONE_BOOK_IQ2_XS,
    HONE_BOOK_IQ2_XXS,
    HONE_BOOK_IQ1,
    HONE_N_BOOKS
} hone_book;

/*
 * The key of a point is the number with its levels as digits to base n_levels, the first element lowest. near[key] is
 * the index of an entry, or -1 - o where the key's list is at lists + o: a count, then that many of entry | index
 * << 16.
 */
typedef struct hone_book_index {
    const uint16_t *entries;
    unsigned n_entries, dim, n_levels, bits; /* bits: of a level in an entry */
    const int32_t *near;
    const uint32_t *lists;
} hone_book_index;

/* hone_book_index_of() returns the index of a book, built at its first use: some milliseconds. Any thread may call it.
 */
const hone_book_index *hone_book_index_of(hone_book book);

#endif
