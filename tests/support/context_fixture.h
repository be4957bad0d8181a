/* SPDX-License-Identifier: MIT */
/* The context of a test, and what it was told in notes. */
#ifndef HONE_CONTEXT_FIXTURE_H
#define HONE_CONTEXT_FIXTURE_H

#include "hone/context.h"

extern hone_context *ctx;
extern char notes[1024]; /* one behind the other */

/* renew_context() puts a new context in ctx's place, if there is one; memory_nbytes 0: hone's own choice. */
void renew_context(int n_threads, uint64_t memory_nbytes);
void drop_context(void);

#endif
