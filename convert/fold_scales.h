/* SPDX-License-Identifier: MIT */
/* What folding says to the plan made after it. */
#ifndef HONE_FOLD_SCALES_H
#define HONE_FOLD_SCALES_H

#include <jansson.h>

#include "convert/plan_impl.h"
#include "hone/fold.h"

/* hone_fold_assign() gives the plan's tensors the factors that their columns were multiplied by. fold NULL: none. */
void hone_fold_assign(const hone_fold *fold, hone_plan *plan);

/* hone_fold_recipe() describes what was done, a checksum of the factors included; new, NULL when out of memory. */
json_t *hone_fold_recipe(const hone_fold *fold);

#endif
