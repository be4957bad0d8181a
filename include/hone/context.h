/* SPDX-License-Identifier: MIT */
/*
 * The context carries what every long-running call needs: threads, memory budget, the kernels
 * chosen for this CPU, and where progress goes. It holds no other state; calls may share one
 * context as long as they do not run at the same time.
 */
#ifndef HONE_CONTEXT_H
#define HONE_CONTEXT_H

#include <stddef.h>
#include <stdint.h>

#include "hone/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hone_context hone_context;

/*
 * A progress event: `done` of `total` units of `phase` ("quantize", "verify", ...). Called from one
 * thread at a time, not necessarily the caller's.
 */
typedef void (*hone_progress_fn)(void *user, const char *phase, uint64_t done, uint64_t total);

/*
 * A note: something the user should know that is not an error, one line without a newline, such as
 * a tensor that fell back to another type. Called from one thread at a time.
 */
typedef void (*hone_note_fn)(void *user, const char *text);

/* All zero is a good default. */
typedef struct hone_context_options {
    int n_threads;          /* 0: one per available core */
    uint64_t memory_nbytes; /* working-memory budget; 0: 512 MiB */
    const char *cpu;        /* "ref", "avx2", ...; NULL: $HONE_CPU, else the best this CPU has */
    hone_progress_fn progress;
    hone_note_fn note;
    void *user; /* passed to progress and note */
} hone_context_options;

/*
 * hone_context_new() makes a context. opts may be NULL.
 * ARG: opts->cpu (or $HONE_CPU) names no known level, or one that this CPU lacks. NOMEM.
 * On success release *out with hone_context_free(); on failure *out is NULL.
 */
HONE_API hone_status hone_context_new(const hone_context_options *opts, hone_context **out,
                                      hone_error *err) HONE_CHECK_RESULT;

/* hone_context_free() releases a context; NULL is a no-op. */
HONE_API void hone_context_free(hone_context *ctx);

/* hone_context_cpu() returns the kernel level in use, such as "avx2". Static. */
HONE_API const char *hone_context_cpu(const hone_context *ctx);

/* hone_context_n_threads() returns the number of threads in use, at least 1. */
HONE_API int hone_context_n_threads(const hone_context *ctx);

#ifdef __cplusplus
}
#endif

#endif
