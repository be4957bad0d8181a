/* SPDX-License-Identifier: MIT */
#include "base/parallel.h"

#include <omp.h>
#include <pthread.h>
#include <stdbool.h>

#include "base/fail.h"
#include "base/mem.h"

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

/*
 * An ordered loop in progress. Index i works in slot i % n_slots, from when it is handed out until it is committed. A
 * thread that finds nothing to do sleeps: one that spins takes time from those with work where cores are scarce, and
 * OpenMP's own `ordered` spins.
 */
struct ordered {
    pthread_mutex_t mutex; /* held to read or write what follows; not during bodies and commits */
    pthread_cond_t changed;
    size_t n, n_slots;
    size_t next, next_commit; /* to hand out, to commit */
    bool committing;          /* a thread is, or is about to go on */
    bool *done;               /* by slot: the body has succeeded, and waits for its commit */
    size_t failed;            /* the lowest index that failed; SIZE_MAX: none */
    hone_status status;
    hone_error *err;
    hone_loop_fn body, commit;
    void *user;
};

static void ordered_fail(struct ordered *o, size_t i, hone_status status, const hone_error *err)
{
    if (i >= o->failed)
        return;
    o->failed = i;
    o->status = status;
    if (o->err)
        *o->err = *err;
}

/* Commits what is done and in turn. Called and left with the mutex held, which is released meanwhile. */
static void ordered_commit(struct ordered *o)
{
    if (o->committing)
        return;
    o->committing = true;
    while (o->next_commit < o->n && o->next_commit < o->failed && o->done[o->next_commit % o->n_slots]) {
        const size_t i = o->next_commit;
        hone_error local = {0};
        (void)pthread_mutex_unlock(&o->mutex);
        const hone_status status = o->commit(o->user, i, (int)(i % o->n_slots), &local);
        (void)pthread_mutex_lock(&o->mutex);
        if (status != HONE_OK)
            ordered_fail(o, i, status, &local);
        o->done[i % o->n_slots] = false;
        o->next_commit = i + 1;
        (void)pthread_cond_broadcast(&o->changed);
    }
    o->committing = false;
}

static void ordered_work(struct ordered *o)
{
    (void)pthread_mutex_lock(&o->mutex);
    while (o->next < o->n && o->failed == SIZE_MAX) {
        if (o->next >= o->next_commit + o->n_slots) {
            (void)pthread_cond_wait(&o->changed, &o->mutex);
            continue;
        }
        const size_t i = o->next++;
        hone_error local = {0};
        (void)pthread_mutex_unlock(&o->mutex);
        const hone_status status = o->body(o->user, i, (int)(i % o->n_slots), &local);
        (void)pthread_mutex_lock(&o->mutex);
        if (status == HONE_OK)
            o->done[i % o->n_slots] = true;
        else
            ordered_fail(o, i, status, &local);
        ordered_commit(o);
    }
    (void)pthread_cond_broadcast(&o->changed); /* those that wait may have nothing left to wait for */
    (void)pthread_mutex_unlock(&o->mutex);
}

hone_status hone_parallel_ordered(size_t n, int n_threads, int n_slots, hone_loop_fn body, hone_loop_fn commit,
                                  void *user, hone_error *err)
{
    struct ordered o = {.mutex = PTHREAD_MUTEX_INITIALIZER,
                        .changed = PTHREAD_COND_INITIALIZER,
                        .n = n,
                        .n_slots = (size_t)n_slots,
                        .failed = SIZE_MAX,
                        .status = HONE_OK,
                        .err = err,
                        .body = body,
                        .commit = commit,
                        .user = user};
    o.done = hone_calloc(o.n_slots, sizeof *o.done);
    if (!o.done)
        return hone_fail_nomem(err, o.n_slots * sizeof *o.done);
#pragma omp parallel num_threads(n_threads)
    ordered_work(&o);
    hone_release(o.done);
    (void)pthread_cond_destroy(&o.changed);
    (void)pthread_mutex_destroy(&o.mutex);
    return o.status;
}

int hone_parallel_n_cores(void)
{
    return omp_get_num_procs();
}
