/* SPDX-License-Identifier: MIT */
/* hone.recipe in few bytes, for a file that is to be no larger than what llama-quantize makes with importance. */
#ifndef HONE_LEAN_RECIPE_H
#define HONE_LEAN_RECIPE_H

#include "convert/plan_impl.h"
#include "formats/text_marks.h"

/*
 * hone_lean_recipe() shortens the recipe, as hone_plan_recipe() made it, and adds texts (text_marks.h); arena. Left out
 * are what other keys say (the type, in general.file_type; what the source was), what is so by default, and what makes
 * of ingredients other than their names, which "method" joins: "gptq+fold+correct". NOMEM.
 */
hone_status hone_lean_recipe(hone_plan *plan, const char *recipe, const hone_text_marks *texts, const char **out,
                             hone_error *err);

#endif
