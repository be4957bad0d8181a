/* SPDX-License-Identifier: MIT */
/* How long passes will take, from the size of the model and the speed of this machine. */
#ifndef HONE_COST_H
#define HONE_COST_H

#include "quantize/layer_pass.h"

/* hone_product_rate() measures for a tenth of a second how many multiplications and additions all threads do in one. */
double hone_product_rate(const hone_context *ctx);

/* Multiplications and additions: hone_pass_work() of all chunks through all layers, hone_moments_work() of the second
 * moments of one input. */
double hone_pass_work(const hone_layer_pass *pass);
double hone_moments_work(const hone_layer_pass *pass, size_t input);

#endif
