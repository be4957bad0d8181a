/* SPDX-License-Identifier: MIT */
/* Toy models whose weights are changed after opening, and what they compute before and after. */
#ifndef HONE_CHANGED_MODEL_H
#define HONE_CHANGED_MODEL_H

#include <stdbool.h>

#include "tests/support/context_fixture.h"
#include "tests/support/source_fixture.h"

/* All but the tied one and the GPT-2 have attention and MLP biases. */
typedef enum toy_kind { TOY_HF, TOY_GGUF, TOY_HF_TIED, TOY_GPT2_HF, TOY_GPT2_GGUF, N_TOY_KINDS } toy_kind;

extern char toy_path[512]; /* of what is open */

void set_up_toy(void);
void tear_down_toy(void);

/* open_toy() writes a toy model and opens it as ckpt. */
void open_toy(toy_kind kind);

/* toy_is_rotatable() tells whether its residual stream may be rotated. */
bool toy_is_rotatable(toy_kind kind);

/* logits_of_source() runs ckpt on tokens that are always the same; free() the result. */
float *logits_of_source(void);

/* Both run ckpt again. expect_same_logits() wants what differs by roundings of f32 sums; expect_close_logits() also
 * lets the weights be rounded. */
void expect_same_logits(const float *before);
void expect_close_logits(const float *before);

#endif
