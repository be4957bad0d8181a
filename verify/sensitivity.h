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

#endif
