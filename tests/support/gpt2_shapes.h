/* SPDX-License-Identifier: MIT */
/* The forms that a GPT-2 checkpoint comes in, by name. */
#ifndef HONE_GPT2_SHAPES_H
#define HONE_GPT2_SHAPES_H

#include "tests/support/toy_gpt2.h"

/* hone_gpt2_reshape() changes the description, before hone_toy_gpt2_fill(); an unknown shape aborts. */
void hone_gpt2_reshape(hone_toy_gpt2 *toy, const char *shape);

#endif
