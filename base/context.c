/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>

#include "base/fail.h"
#include "base/mem.h"
#include "base/parallel.h"
#include "base/run_context.h"

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "hone reads little-endian formats with memcpy and is built for little-endian machines only"
#endif

static const uint64_t DEFAULT_MEMORY_NBYTES = 512ull << 20;
enum { MAX_THREADS = 1024 };

hone_status hone_context_new(const hone_context_options *opts, hone_context **out, hone_error *err)
{
    static const hone_context_options defaults;
    *out = NULL;
    if (!opts)
        opts = &defaults;
    if (opts->n_threads < 0 || opts->n_threads > MAX_THREADS)
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "%d threads; 1 to %d are possible", opts->n_threads,
                         MAX_THREADS);
    hone_cpu_level cpu;
    HONE_TRY(hone_cpu_choose(opts->cpu, &cpu, err));
    hone_context *ctx = hone_calloc(1, sizeof *ctx);
    if (!ctx)
        return hone_fail_nomem(err, sizeof *ctx);
    ctx->n_threads = opts->n_threads ? opts->n_threads : hone_parallel_n_cores();
    ctx->memory_nbytes = opts->memory_nbytes ? opts->memory_nbytes : DEFAULT_MEMORY_NBYTES;
    ctx->cpu = cpu;
    ctx->progress = opts->progress;
    ctx->note = opts->note;
    ctx->user = opts->user;
    *out = ctx;
    return HONE_OK;
}

void hone_context_free(hone_context *ctx)
{
    hone_release(ctx);
}

const char *hone_context_cpu(const hone_context *ctx)
{
    return hone_cpu_name(ctx->cpu);
}

int hone_context_n_threads(const hone_context *ctx)
{
    return ctx->n_threads;
}

void hone_context_progress(const hone_context *ctx, const char *phase, uint64_t done, uint64_t total)
{
    if (ctx->progress)
        ctx->progress(ctx->user, phase, done, total);
}

void hone_context_note(const hone_context *ctx, const char *fmt, ...)
{
    if (!ctx->note)
        return;
    char text[512];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    ctx->note(ctx->user, text);
}
