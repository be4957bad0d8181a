/* SPDX-License-Identifier: MIT */
/*
 * How much a model's predictions move when one of its matrices is replaced: divergence from the model as it is, on a
 * text.
 */
#ifndef HONE_SENSITIVITY_H
#define HONE_SENSITIVITY_H

#include "hone/verify.h"

typedef struct hone_sensitivity hone_sensitivity;

/* A matrix in place of the one that the checkpoint calls name: same shape, rows in the model's order. */
typedef struct hone_replacement {
    const char *name;
    hone_dtype dtype;
    size_t nrows, ncols;
    unsigned char *rows; /* (nrows) of dtype */
} hone_replacement;

/*
 * hone_sensitivity_new() loads a model, tokenizes UTF-8 text, and runs it once. ckpt must outlive *out; text need not.
 * *out is NULL on failure. Fails as hone_model_load(), hone_perplexity().
 */
hone_status hone_sensitivity_new(const hone_context *ctx, const hone_checkpoint *ckpt, const char *text, size_t nbytes,
                                 const hone_eval_options *opts, hone_sensitivity **out, hone_error *err);
void hone_sensitivity_free(hone_sensitivity *s);

/* hone_sensitivity_covered() is hone_chunks_covered(). */
size_t hone_sensitivity_covered(const hone_sensitivity *s, size_t nbytes);

/* hone_sensitivity_stage() returns the stage of a pass that first reads the matrix of that name, SIZE_MAX if the model
 * has none: see hone_model_matrix(). */
size_t hone_sensitivity_stage(const hone_sensitivity *s, const char *name);

/*
 * hone_sensitivity_measure() runs the text with some matrices replaced, and puts them back. *kld: the mean over all
 * scored positions, in nats. Costs the stages from the first one with a replacement on; one that comes before that of
 * the call before costs a run to there, so go through a model in its order. ARG: no such matrix, or it has another
 * shape, or dtype has no decoder.
 */
hone_status hone_sensitivity_measure(hone_sensitivity *s, const hone_replacement *replacements, size_t n, double *kld,
                                     hone_error *err);

/*
 * hone_sensitivity_shift() is like hone_sensitivity_measure(), but ends `reach` layers behind the first that reads a
 * replaced matrix, or at the last. *shift: how far the residual stream has moved there, the mean over the scored
 * positions of a quarter of the chunks of |moved|^2 / |stream|^2. What divergence that comes to depends on the layer
 * and the matrix. ARG: also where no layer reads a replaced matrix.
 */
hone_status hone_sensitivity_shift(hone_sensitivity *s, const hone_replacement *replacements, size_t n, size_t reach,
                                   double *shift, hone_error *err);

/* hone_sensitivity_shorten() has all that follows run on the first half of the chunks. */
void hone_sensitivity_shorten(hone_sensitivity *s);

size_t hone_sensitivity_n_layers(const hone_sensitivity *s);

/* What a call takes whose first replacement is in a stage: multiplications; and the seconds that so many take,
 * from the first run of the model. */
double hone_sensitivity_measure_work(const hone_sensitivity *s, size_t stage);
double hone_sensitivity_shift_work(const hone_sensitivity *s, size_t stage, size_t reach);
double hone_sensitivity_seconds(const hone_sensitivity *s, double work);

#endif
