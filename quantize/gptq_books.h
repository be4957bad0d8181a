/* SPDX-License-Identifier: MIT */
/*
 * Coding with error feedback where codes are entries of a book.
 *
 * A block keeps the scales that a search chose. Its columns are coded eight at a time, by the entries, and signs,
 * nearest to what they are to make up for; what each of the eight leaves is then fed to all behind it.
 */
#ifndef HONE_GPTQ_BOOKS_H
#define HONE_GPTQ_BOOKS_H

#include "quantize/book_types.h"
#include "quantize/feedback_kernels.h"

/* Columns of a block with their feedback; rows are HONE_QK_K columns apart, but those of M. */
typedef struct hone_book_walk {
    const hone_book_type *type;
    const hone_book_kernels *kernels;
    const hone_feedback_kernels *feedback;
    const float *m; /* of M, from the block's first row and column on */
    size_t m_stride;
    const float *diagonal;              /* (HONE_QK_K) of D */
    const float *w[HONE_FEEDBACK_ROWS]; /* (HONE_QK_K) the weights */
    float *x;                           /* in: with the feedback of all columns before the block; out: of all */
    float *e;                           /* out: w less what its code stands for */
    uint8_t *blocks;                    /* (HONE_FEEDBACK_ROWS, type->nbytes) in: scales; out: coded */
    float loss[HONE_FEEDBACK_ROWS];     /* what the columns add to a row's error is added */
} hone_book_walk;

/* hone_book_walk_block() codes a block of each of HONE_FEEDBACK_ROWS rows. The same bytes at every level. */
void hone_book_walk_block(hone_book_walk *walk);

#endif
