/* SPDX-License-Identifier: MIT */
/* The speed of this machine, for estimates. */
#ifndef HONE_PRODUCT_RATE_H
#define HONE_PRODUCT_RATE_H

#include "hone/context.h"

/* hone_product_rate() measures for a tenth of a second how many multiplications and additions of matrix products all
 * threads do in one. */
double hone_product_rate(const hone_context *ctx);

#endif
