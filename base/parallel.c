/* SPDX-License-Identifier: MIT */
#include "base/parallel.h"

#include <omp.h>
#include <stdbool.h>

#include "base/fail.h"

struct failure {
    size_t index; /* of the failed body with the lowest index; SIZE_MAX: none */
    hone_status status;
    hone_error *err;
};

/* Index order makes the reported error independent of timing: bodies are handed out in order, so every body
 * below a failed one has started, and is let finish. */
static void record(struct failure *f, size_t i, hone_status status, const hone_error *err)
{
#pragma omp critical
    if (i < f->index) {
        f->status = status;
        if (f->err)
            *f->err = *err;
#pragma omp atomic write
        f->index = i;
    }
}

static size_t failed_index(const struct failure *f)
{
    size_t i;
#pragma omp atomic read
    i = f->index;
    return i;
}

hone_status hone_parallel_for(size_t n, int n_threads, hone_loop_fn body, void *user, hone_error *err)
{
    struct failure failure = {.index = SIZE_MAX, .status = HONE_OK, .err = err};
#pragma omp parallel for schedule(dynamic, 1) num_threads(n_threads)
    for (size_t i = 0; i < n; i++) {
        if (failed_index(&failure) < i)
            continue;
        hone_error local = {0};
        const hone_status status = body(user, i, omp_get_thread_num(), &local);
        if (status != HONE_OK)
            record(&failure, i, status, &local);
    }
    return failure.status;
}

hone_status hone_parallel_ordered(size_t n, int n_threads, hone_loop_fn body, hone_loop_fn commit, void *user,
                                  hone_error *err)
{
    struct failure failure = {.index = SIZE_MAX, .status = HONE_OK, .err = err};
#pragma omp parallel for ordered schedule(dynamic, 1) num_threads(n_threads)
    for (size_t i = 0; i < n; i++) {
        hone_error local = {0};
        hone_status status = HONE_OK;
        const int thread = omp_get_thread_num();
        if (failed_index(&failure) > i) {
            status = body(user, i, thread, &local);
            if (status != HONE_OK)
                record(&failure, i, status, &local);
        }
#pragma omp ordered
        if (failed_index(&failure) > i) {
            status = commit(user, i, thread, &local);
            if (status != HONE_OK)
                record(&failure, i, status, &local);
        }
    }
    return failure.status;
}

int hone_parallel_n_cores(void)
{
    return omp_get_num_procs();
}
