/* SPDX-License-Identifier: MIT */
/* Which tensors are better for error feedback. */
#ifndef HONE_METHOD_CHOICE_H
#define HONE_METHOD_CHOICE_H

#include <jansson.h>

#include "convert/plan_impl.h"

/*
 * hone_method_choose() takes the feedback from tensors of blocks that plain coding leaves no more error of, in the
 * output of their layers, on some of their rows, and from those of which too few tokens are known. Groups on a grid
 * keep it: their rows are guarded one by one. IO, DATA, NOMEM.
 */
hone_status hone_method_choose(const hone_context *ctx, hone_plan *plan, hone_error *err);

/* hone_method_recipe() counts the tensors coded with feedback, and names those that are coded without for all that is
 * known of their inputs; new, NULL when out of memory. */
json_t *hone_method_recipe(const hone_plan *plan);

#endif
