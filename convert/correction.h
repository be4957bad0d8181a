/* SPDX-License-Identifier: MIT */
/* What a correction says to the plan made with it. */
#ifndef HONE_CORRECTION_H
#define HONE_CORRECTION_H

#include <jansson.h>

#include "convert/plan_impl.h"
#include "hone/correct.h"

/* hone_correction_assign() gives the plan's vectors what is to be added to them. correction NULL: nothing. */
void hone_correction_assign(const hone_correction *correction, hone_plan *plan);

/* hone_correction_recipe() describes what was done, with a checksum; new, NULL when out of memory. */
json_t *hone_correction_recipe(const hone_correction *correction);

#endif
