/* SPDX-License-Identifier: MIT */
/* How long it will take to code what is measured for a budget: from a few rows. */
#ifndef HONE_BUDGET_TIME_H
#define HONE_BUDGET_TIME_H

#include "convert/type_errors.h"

enum { HONE_N_CODING_TIMES = 4 };

/* Seconds for tensors of one row length. */
typedef struct hone_coding_time {
    uint64_t row_nelems;
    double prepare; /* the feedback of a gram */
    double types;   /* as many tiles as there are threads, in every type; */
    double probe;   /* in the probe's */
} hone_coding_time;

/* Those of the row lengths met first; others are taken for the nearest. */
typedef struct hone_coding_times {
    hone_coding_time times[HONE_N_CODING_TIMES];
    size_t n;
} hone_coding_times;

/* hone_coding_times_add() measures t, if none of its row length was: as hone_type_errors_measure(), with the types,
 * probe and plain_probe of e. */
hone_status hone_coding_times_add(hone_coding_times *times, const hone_context *ctx, const hone_plan *plan,
                                  const hone_planned_tensor *t, const hone_type_errors *e, hone_error *err);

/* hone_coding_seconds() estimates hone_type_errors_measure(); prepares: with the preparation of the feedback. */
double hone_coding_seconds(const hone_coding_times *times, const hone_context *ctx, const hone_planned_tensor *t,
                           const hone_type_errors *e, bool prepares);

#endif
