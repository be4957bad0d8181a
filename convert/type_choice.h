/* SPDX-License-Identifier: MIT */
/* Which type each tensor of a plan is stored as. */
#ifndef HONE_TYPE_CHOICE_H
#define HONE_TYPE_CHOICE_H

#include "convert/plan_impl.h"

typedef struct hone_type_choice hone_type_choice;

/* hone_type_choice_new() resolves the type name and compiles the patterns. ARG: unknown type, bad pattern. */
hone_status hone_type_choice_new(const hone_convert_options *opts, hone_type_choice **out, hone_error *err);
void hone_type_choice_free(hone_type_choice *choice);

/* hone_type_choose() sets t->dtype and t->why. Streams the tensor when f16 may not hold it. */
hone_status hone_type_choose(const hone_context *ctx, const hone_plan *plan, const hone_type_choice *choice,
                             hone_planned_tensor *t, hone_error *err);

/* hone_type_keeps() tells whether tensors are to keep the type they are stored as: no type was named. */
bool hone_type_keeps(const hone_type_choice *choice);

/* hone_type_choose_float() is hone_type_choose() for a file of plain floats: every tensor gets the type named. One that
 * keeps its type but is of blocks becomes F32. */
hone_status hone_type_choose_float(const hone_context *ctx, const hone_plan *plan, const hone_type_choice *choice,
                                   hone_planned_tensor *t, hone_error *err);

/* hone_type_file_type() returns general.file_type of a file under this choice. */
uint32_t hone_type_file_type(const hone_type_choice *choice);

#endif
