/* SPDX-License-Identifier: MIT */
/*
 * Sequential calibration of a plan: its tensors are coded in the order of a forward pass, and each goes back into the
 * model, read from the output, before the moments of the next input are computed.
 */
#ifndef HONE_SEQUENTIAL_RUN_H
#define HONE_SEQUENTIAL_RUN_H

#include <jansson.h>

#include "base/writer.h"
#include "convert/plan_impl.h"

/* hone_plan_open_sequential() sets plan->sequential and inputs. Fails as hone_sequential_open(). */
hone_status hone_plan_open_sequential(const hone_context *ctx, hone_plan *plan, const hone_calibration_text *text,
                                      hone_error *err);

/* hone_sequential_recipe() tells what text it was, for the recipe: a new object, or NULL when out of memory. */
json_t *hone_sequential_recipe(const hone_plan *plan);

/* hone_sequential_input_of() returns what plan->inputs has for a tensor, of a stack for its first expert, or NULL. */
const hone_tensor *hone_sequential_input_of(const hone_plan *plan, const hone_planned_tensor *t);

/* hone_sequential_order() fills order (n_tensors) with the plan's tensors in the order in which they are to be coded:
 * that of the plan, but for those that wait for an input. */
void hone_sequential_order(const hone_plan *plan, size_t *order);

/* hone_sequential_take() puts a tensor that is written into the model, if it is quantized. IO, NOMEM. */
hone_status hone_sequential_take(const hone_plan *plan, const hone_planned_tensor *t, const hone_writer *writer,
                                 hone_error *err);

#endif
