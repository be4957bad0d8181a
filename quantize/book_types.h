/* SPDX-License-Identifier: MIT */
/* The types with code books, as searches see them that count with what is decoded. */
#ifndef HONE_BOOK_TYPES_H
#define HONE_BOOK_TYPES_H

#include "hone/tensor.h"
#include "quantize/book_search.h"
#include "quantize/pack_books.h"

/* A weight stands for d (2 scale + 1) times the value of its level, and its sign. */
typedef struct hone_book_type {
    hone_dtype dtype;
    size_t nbytes;
    hone_book book;
    size_t group;    /* elements with one scale */
    size_t unit;     /* elements coded with the same levels */
    size_t n_levels; /* to choose from for each unit */
    const hone_book_levels *levels;
    bool bare;         /* signs are in the levels */
    bool even_signs;   /* of eight, an even number are minus */
    bool size_counts;  /* large weights count for more: see weigh() */
    int most;          /* scales are d times 1, 3, ... 2 most + 1 */
    float first, last; /* trials: the largest magnitude over the scale */
    void (*pack)(const hone_book_block *b, uint8_t *dst);
    /* Takes d, scales and the shifts of iq1 from a block; *b is all zeros before. */
    void (*open)(const uint8_t *src, hone_book_block *b);
} hone_book_type;

/* hone_book_type_of() returns a type, or NULL when it has no code book. */
const hone_book_type *hone_book_type_of(hone_dtype dtype);

/* hone_book_take_signs() leaves the magnitudes of eight and returns their signs, a bit set for minus. Where their
 * number must be even, the weight that matters least bends to it. */
uint8_t hone_book_take_signs(bool even, const float *w, float *x);

#endif
