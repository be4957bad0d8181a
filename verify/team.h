/* SPDX-License-Identifier: MIT */
/* How many threads a loop deserves. */
#ifndef HONE_TEAM_H
#define HONE_TEAM_H

#include <stddef.h>

#include "base/run_context.h"

/*
 * hone_team() returns the threads for a loop of n_items that takes about `nanoseconds` on one: at most one for each
 * item, and for each 200 microseconds. Starting and joining a team takes microseconds, and on a machine busy with other
 * things milliseconds, which many small loops would add up to seconds.
 */
static inline int hone_team(const hone_context *ctx, size_t n_items, double nanoseconds)
{
    const double useful = 1 + nanoseconds / 200e3;
    int n = ctx->n_threads;
    if (n_items < (size_t)n)
        n = n_items ? (int)n_items : 1;
    return useful < (double)n ? (int)useful : n;
}

#endif
