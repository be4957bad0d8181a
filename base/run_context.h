/* SPDX-License-Identifier: MIT */
/* The inside of a hone_context, and the progress and note events sent through it. */
#ifndef HONE_RUN_CONTEXT_H
#define HONE_RUN_CONTEXT_H

#include "base/cpu.h"
#include "hone/context.h"

struct hone_context {
    int n_threads;
    uint64_t memory_nbytes;
    hone_cpu_level cpu;
    hone_progress_fn progress; /* NULL: nobody listens */
    hone_note_fn note;
    void *user;
};

void hone_context_progress(const hone_context *ctx, const char *phase, uint64_t done, uint64_t total);

void hone_context_note(const hone_context *ctx, const char *fmt, ...) HONE_PRINTF(2, 3);

#endif
