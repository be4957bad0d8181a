/* SPDX-License-Identifier: MIT */
/* How much there is to compute in a pass: multiplications and additions. */
#ifndef HONE_COST_H
#define HONE_COST_H

#include "quantize/layer_pass.h"
#include "quantize/product_rate.h"

/* hone_pass_work() is for all chunks through all layers, hone_moments_work() for the second moments of one input. */
double hone_pass_work(const hone_layer_pass *pass);
double hone_moments_work(const hone_layer_pass *pass, size_t input);

#endif
