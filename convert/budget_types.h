/* SPDX-License-Identifier: MIT */
/* What a budget says to the plan made under it. */
#ifndef HONE_BUDGET_TYPES_H
#define HONE_BUDGET_TYPES_H

#include <jansson.h>

#include "hone/budget.h"

/* hone_budget_type() returns the type settled for a tensor of the output; INVALID: it had no choice. */
hone_dtype hone_budget_type(const hone_budget *budget, const char *name);

/* hone_budget_main_type() returns the type that most weights have. */
hone_dtype hone_budget_main_type(const hone_budget *budget);

/* hone_budget_texts() returns the marks of the text that tensors were measured on. Borrowed. */
const struct hone_text_marks *hone_budget_texts(const hone_budget *budget);

/* hone_budget_recipe() describes what was asked for; new, NULL when out of memory. */
json_t *hone_budget_recipe(const hone_budget *budget);

#endif
