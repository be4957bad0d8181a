/* SPDX-License-Identifier: MIT */
/*
 * Rotating a model: orthogonal matrices folded into the weights of an opened checkpoint, so that the model computes
 * what it did and its weights have no outliers.
 *
 * The matrices are block-diagonal: Hadamard's with random signs, of the largest order that divides (a power of two, or
 * 12 or 20 times one). Signs are the same in every run.
 *
 *   residual stream x (n_embd)          x -> R x: every matrix that reads it gets its norm's weight and R' on its
 *                                       columns, every one that writes it R on its rows; norms become 1. For models
 *                                       with RMS norms whose output matrix is not the embedding
 *   values of a head (head_dim)         v -> R v: rows of the value matrix and its bias, columns of the matrix that
 *                                       reads the heads' output; query heads follow the head whose values they read
 */
#ifndef HONE_ROTATE_H
#define HONE_ROTATE_H

#include "hone/checkpoint.h"
#include "hone/context.h"
#include "hone/convert.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * hone_checkpoint_rotate() rotates the weights that are read from ckpt from now on; they are F32. what: "none"; "all",
 * what the model allows, and ctx is noted what it does not; or "residual", "heads", or "residual+heads", where "heads"
 * may name layers: "heads:0,3". Not while others use ckpt.
 *
 * ARG: another word, a layer that is not there, or it is rotated already. UNSUPPORTED: no family runs the model, or it
 * does not allow what is named. DATA: a tensor is missing or misshapen. IO, NOMEM. After a failure ckpt is good for
 * nothing but closing.
 */
HONE_API hone_status hone_checkpoint_rotate(const hone_context *ctx, hone_checkpoint *ckpt, const char *what,
                                            hone_error *err) HONE_CHECK_RESULT;

/* hone_checkpoint_rotation() returns how a checkpoint is rotated, by hone_checkpoint_rotate() or by hone when it wrote
 * the file, in the words of the former; "none" if it is not. Borrowed. */
HONE_API const char *hone_checkpoint_rotation(const hone_checkpoint *ckpt);

/* What a rotation was chosen by: errors of the layers' outputs, relative to those outputs, summed over the matrices
 * that rotations concern. */
typedef struct hone_rotation_choice {
    char *what;              /* in the words of hone_checkpoint_rotate(); free by hone_rotation_choice_deinit() */
    double error, unrotated; /* of the choice, and without any */
    double residual, heads;  /* of the residual stream alone, of all heads alone; NaN: not allowed */
} hone_rotation_choice;

/*
 * hone_rotation_choose() measures what quantizing the model at path under opts leaves in the outputs of its layers with
 * and without rotation, and keeps what leaves less, by two percent at least: the residual stream as one, the heads of
 * each layer by themselves. Matrices are coded as opts says, some hundred rows of each; opts->calibration, made of the
 * model as it is, weighs. Nothing is written.
 *
 * ARG: opts names no calibration, is not for "gguf", or has a budget and no type. Else as hone_plan_new(). open may be
 * NULL.
 */
HONE_API hone_status hone_rotation_choose(const hone_context *ctx, const char *path, const hone_open_options *open,
                                          const hone_convert_options *opts, hone_rotation_choice *out,
                                          hone_error *err) HONE_CHECK_RESULT;
HONE_API void hone_rotation_choice_deinit(hone_rotation_choice *choice);

#ifdef __cplusplus
}
#endif

#endif
