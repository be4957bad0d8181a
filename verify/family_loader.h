/* SPDX-License-Identifier: MIT */
/*
 * Loading the weights of a family by their roles, whichever naming the checkpoint uses.
 *
 * A family says what shape a role has in the model; the loader finds its name, turns a matrix that Hugging Face stores
 * transposed, and reports what is missing or misshapen by the name in the file.
 */
#ifndef HONE_FAMILY_LOADER_H
#define HONE_FAMILY_LOADER_H

#include "verify/model_impl.h"

/* A linear layer; bias (nrows) or NULL. */
typedef struct hone_linear {
    hone_weight weight;
    float *bias;
} hone_linear;

typedef struct hone_family_loader {
    const hone_context *ctx;
    const hone_checkpoint *ckpt;
    const hone_family *family;
    hone_naming naming;
} hone_family_loader;

/* layer counts for roles within one. Failures are those of hone_weight_load() and hone_vector_load(). */
bool hone_family_holds(const hone_family_loader *l, size_t role, size_t layer);
hone_status hone_family_matrix(const hone_family_loader *l, size_t role, size_t layer, size_t nrows, size_t ncols,
                               hone_weight *out, hone_error *err);
hone_status hone_family_stack(const hone_family_loader *l, size_t role, size_t layer, size_t n, size_t nrows,
                              size_t ncols, hone_weight *out, hone_error *err);
hone_status hone_family_vector(const hone_family_loader *l, size_t role, size_t layer, size_t nelems, float **out,
                               hone_error *err);

/*
 * hone_family_ends() loads the embedding (n_vocab, n_embd) and model->output, which may be one matrix, from the
 * family's two roles. As transformers 5 does it: when the configuration ties them, either may be the one that is
 * stored; when both are stored and differ, the file is believed and not the configuration, and that is noted.
 */
hone_status hone_family_ends(const hone_family_loader *l, bool tied, hone_model *model, hone_weight *embedding,
                             hone_error *err);

void hone_linear_deinit(hone_linear *linear);

#endif
