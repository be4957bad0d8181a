/* SPDX-License-Identifier: MIT */
#include "convert/budget_time.h"

#include "base/fail.h"
#include "convert/moments.h"
#include "verify/chunks.h"

static hone_status time_types(const hone_context *ctx, const hone_plan *plan, const hone_planned_tensor *t,
                              const hone_feedback *feedback, hone_type_errors *e, double *seconds, hone_error *err)
{
    const double started = hone_clock();
    e->sample_nelems = (size_t)ctx->n_threads * HONE_FEEDBACK_ROWS * (size_t)t->row_nelems;
    HONE_TRY(hone_type_errors_measure(ctx, plan, t, t->gram ? feedback : NULL, e, err));
    *seconds = hone_clock() - started;
    return HONE_OK;
}

hone_status hone_coding_times_add(hone_coding_times *times, const hone_context *ctx, const hone_plan *plan,
                                  const hone_planned_tensor *t, const hone_type_errors *e, hone_error *err)
{
    for (size_t i = 0; i < times->n; i++)
        if (times->times[i].row_nelems == t->row_nelems)
            return HONE_OK;
    if (times->n == HONE_N_CODING_TIMES)
        return HONE_OK;
    hone_coding_time *time = &times->times[times->n];
    *time = (hone_coding_time){.row_nelems = t->row_nelems};
    hone_feedback feedback = {0};
    const hone_tensor *current = NULL;
    const double started = hone_clock();
    hone_status status = hone_moments_prepare(ctx, plan, t, &current, &feedback, err);
    time->prepare = hone_clock() - started;
    hone_type_errors all = {.types = e->types, .n = e->n, .probe = e->n};
    hone_type_errors probe = {.types = &e->types[e->probe], .n = 1, .probe = 1, .plain = e->plain_probe};
    if (status == HONE_OK)
        status = time_types(ctx, plan, t, &feedback, &all, &time->types, err);
    if (status == HONE_OK)
        status = time_types(ctx, plan, t, &feedback, &probe, &time->probe, err);
    hone_feedback_deinit(&feedback);
    times->n += status == HONE_OK;
    return status;
}

static const hone_coding_time *nearest(const hone_coding_times *times, uint64_t row_nelems)
{
    const hone_coding_time *best = &times->times[0];
    for (size_t i = 1; i < times->n; i++) {
        const double a = (double)times->times[i].row_nelems, b = (double)best->row_nelems, x = (double)row_nelems;
        if ((a > x ? a - x : x - a) < (b > x ? b - x : x - b))
            best = &times->times[i];
    }
    return best;
}

double hone_coding_seconds(const hone_coding_times *times, const hone_context *ctx, const hone_planned_tensor *t,
                           const hone_type_errors *e, bool prepares)
{
    if (times->n == 0)
        return 0;
    const hone_coding_time *time = nearest(times, t->row_nelems);
    const double wider = (double)t->row_nelems / (double)time->row_nelems;
    const double rows = (double)HONE_FEEDBACK_ROWS * (double)ctx->n_threads; /* of as many tiles */
    const double sampled = (double)hone_type_errors_sampled(t, e) / (double)ctx->n_threads;
    return wider * ((sampled < 1 ? 1 : sampled) * time->types + (double)t->n_rows / rows * time->probe) +
           (prepares ? wider * wider * time->prepare : 0);
}
