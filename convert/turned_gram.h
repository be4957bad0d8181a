/* SPDX-License-Identifier: MIT */
/* Second moments of a matrix' input before the matrix was changed, made into those of the input it is given now. */
#ifndef HONE_TURNED_GRAM_H
#define HONE_TURNED_GRAM_H

#include "quantize/feedback.h"
#include "verify/transform.h"

typedef struct hone_turned_gram {
    hone_gram_row_fn read_row; /* of the input before */
    void *user;
    size_t ncols;
    float *scale;   /* (ncols) if inputs are scaled only */
    float *rotated; /* (ncols, ncols) if they are rotated */
} hone_turned_gram;

/*
 * hone_turned_gram_init() prepares for a changed matrix whose moments read_row() reads; turned: its inputs are the rows
 * as it is stored. Reads them if they are to be rotated. DATA, IO, NOMEM. On failure *out is empty.
 */
hone_status hone_turned_gram_init(const hone_context *ctx, const hone_tensor *matrix, bool turned, size_t ncols,
                                  hone_gram_row_fn read_row, void *user, hone_turned_gram *out, hone_error *err);
void hone_turned_gram_deinit(hone_turned_gram *g);

/* hone_turned_gram_row() is a hone_gram_row_fn; user is the hone_turned_gram. */
hone_status hone_turned_gram_row(void *user, size_t i, float *dst, hone_error *err);

/* hone_turned_gram_nbytes() returns the memory it takes. */
uint64_t hone_turned_gram_nbytes(const hone_tensor *matrix, bool turned, size_t ncols);

#endif
