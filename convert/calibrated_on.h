/* SPDX-License-Identifier: MIT */
/* The texts that an output depends on, for whoever measures it to know. */
#ifndef HONE_CALIBRATED_ON_H
#define HONE_CALIBRATED_ON_H

#include "convert/plan_impl.h"
#include "formats/text_marks.h"

/* hone_calibrated_on() collects what the plan's source, importance matrix, calibration file and budget were made from.
 * DATA: a file's list of texts is malformed. NOMEM. *out is the caller's, on failure too. */
hone_status hone_calibrated_on(const hone_plan *plan, const hone_budget *budget, hone_text_marks *out, hone_error *err);

#endif
