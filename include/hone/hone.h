/* SPDX-License-Identifier: MIT */
/* All of hone's public interface. */
#ifndef HONE_HONE_H
#define HONE_HONE_H

#include "hone/budget.h"
#include "hone/calibrate.h"
#include "hone/checkpoint.h"
#include "hone/context.h"
#include "hone/convert.h"
#include "hone/quantize.h"
#include "hone/rotate.h"
#include "hone/status.h"
#include "hone/tensor.h"
#include "hone/verify.h"

#endif
