/* SPDX-License-Identifier: MIT */
/*
 * What is known of a weight's input, in the form that error feedback wants.
 *
 * Let E = W - Q be what coding leaves of rows of W (n, ncols), and H the second moments of the input. The error of the
 * layer's output is tr(E H ET). With H = M D MT, M unit upper triangular and D diagonal, it is
 *
 *     sum over k of D[k] |(E M)[k]|^2,     (E M)[k] = E[k] + sum over i < k of E[i] M[i, k]
 *
 * so a column is coded best when it also makes up for what the columns before it left: that is GPTQ (Frantar et al.
 * 2022), in the form of QuIP (Chee et al. 2023), which needs no inverse of H.
 *
 * Columns are taken as they come, or in an order of their own: by the means of their squares, the largest first, so
 * that those that count most are made up for by the most. Then M and D are those of H with rows and columns so ordered,
 * and k-th means k-th in that order.
 *
 * M is kept in panels of HONE_FEEDBACK_PANEL columns: panel p holds rows [0, end of its columns), row by row, with the
 * diagonal's ones and the zeros below it.
 */
#ifndef HONE_FEEDBACK_H
#define HONE_FEEDBACK_H

#include "hone/context.h"
#include "quantize/feedback_kernels.h"

enum { HONE_FEEDBACK_PANEL = 256 };

typedef struct hone_feedback {
    const hone_feedback_kernels *kernels;
    size_t ncols;
    uint32_t *order; /* (ncols) the k-th column; NULL: as they come */
    float *panels;
    float *diagonal; /* (ncols) D */
    float *squares;  /* (ncols) the diagonal of H as it was read, by column */
    double damping;  /* what was added to the diagonal of H, in units of its mean */
    float *shift;    /* (ncols, ncols), or NULL: a row w is coded as w + w shift; see asymmetric.h */
} hone_feedback;

/* hone_feedback_nbytes() returns the memory that hone_feedback_init() needs at its peak; UINT64_MAX if that overflows.
 */
uint64_t hone_feedback_nbytes(size_t ncols);

/* Reads row i of the upper triangle of H, columns [i, ncols), to dst. */
typedef hone_status (*hone_gram_row_fn)(void *user, size_t i, float *dst, hone_error *err);

/*
 * hone_feedback_init() factors H, a mean over n_tokens. What is off its diagonal is first made smaller by the part that
 * so many tokens are likely to have made up (Chen et al. 2010, the oracle approximating shrinkage, of correlations);
 * n_tokens 0: none. Then the diagonal is raised by a hundredth of its mean, and by ten times as much as often as the
 * factors do not exist. Columns that were always zero get no feedback. DATA: a NaN, an infinity, or a
 * negative number on the diagonal. NOMEM. On failure *out is empty, which hone_feedback_deinit() accepts.
 */
hone_status hone_feedback_init(const hone_context *ctx, size_t ncols, double n_tokens, hone_gram_row_fn read_row,
                               void *user, hone_feedback *out, hone_error *err);
/* hone_feedback_init_ordered() is hone_feedback_init() for columns in the order of their mean squares. Not for
 * hone_feedback_solve(). H is read once more. */
hone_status hone_feedback_init_ordered(const hone_context *ctx, size_t ncols, double n_tokens,
                                       hone_gram_row_fn read_row, void *user, hone_feedback *out, hone_error *err);
void hone_feedback_deinit(hone_feedback *f);

/*
 * hone_feedback_scale() makes the feedback of a weight whose columns were multiplied by scale (ncols), all of it above
 * 0, so that its input is divided: H' = S^-1 H S^-1 with M' = S^-1 M S and D' = D S^-2. The damping is what H had. *out
 * is empty, or of an earlier call for the same f. NOMEM.
 */
hone_status hone_feedback_scale(const hone_feedback *f, const float *scale, hone_feedback *out, hone_error *err);

/* hone_feedback_panel() returns a panel: rows [0, end) of columns [p * HONE_FEEDBACK_PANEL, end), *width of them. */
const float *hone_feedback_panel(const hone_feedback *f, size_t p, size_t *width);

/* hone_feedback_solve() replaces b (ncols) by the x of H x = b, H as it was factored. */
void hone_feedback_solve(const hone_feedback *f, double *b);

/* hone_feedback_gather() puts the columns of a row (ncols) in the order of f. */
void hone_feedback_gather(const hone_feedback *f, const float *row, float *dst);

/* hone_feedback_losses() computes what errors e (HONE_FEEDBACK_ROWS, ncols) of rows, in the order of f, cost in the
 * layer's output. */
void hone_feedback_losses(const hone_feedback *f, const float *e, float loss[HONE_FEEDBACK_ROWS]);

/* hone_feedback_row_losses() is hone_feedback_losses() of errors as they come, with scratch for as many. */
void hone_feedback_row_losses(const hone_feedback *f, const float *e, float *scratch, float loss[HONE_FEEDBACK_ROWS]);

#endif
