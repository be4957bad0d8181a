/* SPDX-License-Identifier: MIT */
/*
 * hone_transform_tensor() by the roles that tensors have in a model: rows are outputs and columns inputs, however the
 * checkpoint stores them.
 */
#ifndef HONE_ROLE_TRANSFORM_H
#define HONE_ROLE_TRANSFORM_H

#include "verify/model_impl.h"
#include "verify/transform.h"

/* A checkpoint whose weights are being changed. */
typedef struct hone_transformer {
    hone_checkpoint *ckpt; /* borrowed */
    const hone_family *family;
    hone_naming naming;
    hone_family_shape shape;
} hone_transformer;

/* hone_transformer_init() reads the checkpoint's configuration. UNSUPPORTED: no family runs it. */
hone_status hone_transformer_init(hone_checkpoint *ckpt, hone_transformer *out, hone_error *err);

/* hone_transformer_holds() tells whether the checkpoint stores a role. layer counts for roles within one. */
bool hone_transformer_holds(const hone_transformer *tr, size_t role, size_t layer);

/*
 * hone_transform_role() changes the tensor of a role. Rows that a GGUF file stores in pairs take their scales with
 * them; they cannot be rotated (ARG). A vector, such as a norm's weight, has a row for each element. Else as
 * hone_transform_tensor().
 */
hone_status hone_transform_role(const hone_transformer *tr, size_t role, size_t layer, const hone_transform *transform,
                                hone_error *err);

/* hone_transform_linear() changes the matrix of a linear layer, and what happens to its rows happens to its bias, if it
 * has one. */
hone_status hone_transform_linear(const hone_transformer *tr, const hone_linear_roles *linear, size_t layer,
                                  const hone_transform *transform, hone_error *err);

#endif
