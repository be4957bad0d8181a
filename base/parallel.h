/* SPDX-License-Identifier: MIT */
/*
 * Parallel loops. The only file of hone that knows OpenMP is parallel.c.
 *
 * A loop runs body(user, i, thread) for i in [0, n) on at most n_threads threads; thread is in [0, n_threads)
 * and picks per-thread scratch. When a body fails, no new ones start, and the failure with the
 * lowest index is the loop's: the same input gives the same error whatever the thread count.
 */
#ifndef HONE_PARALLEL_H
#define HONE_PARALLEL_H

#include <stddef.h>

#include "hone/status.h"

typedef hone_status (*hone_loop_fn)(void *user, size_t i, int thread, hone_error *err);

hone_status hone_parallel_for(size_t n, int n_threads, hone_loop_fn body, void *user, hone_error *err);

/*
 * hone_parallel_ordered() is like hone_parallel_for(), but after body(i) calls commit(i) strictly in index order, one
 * at a time, on whichever thread is free. Only the commits are serial; bodies overlap with them.
 *
 * What is given as thread is a slot in [0, n_slots), the same for body(i) and commit(i), and nobody else's meanwhile:
 * scratch is per slot. With more slots than threads a thread does not wait for a slow neighbour. n_slots >= n_threads.
 * NOMEM.
 */
hone_status hone_parallel_ordered(size_t n, int n_threads, int n_slots, hone_loop_fn body, hone_loop_fn commit,
                                  void *user, hone_error *err);

/* hone_parallel_n_cores() returns the number of cores this process may use. */
int hone_parallel_n_cores(void);

#endif
