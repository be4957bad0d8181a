/* SPDX-License-Identifier: MIT */
/* Watching a forward pass: what its linear layers are given. */
#ifndef HONE_OBSERVER_H
#define HONE_OBSERVER_H

#include "verify/weights.h"

/*
 * see() is told what some weights are about to be multiplied with: x (n, ncols), the same for all n_weights of them.
 * Called between the loops of a pass, on the thread that runs it; every layer is seen once for each tile of tokens.
 */
typedef struct hone_observer {
    void (*see)(void *user, const hone_weight *const *weights, size_t n_weights, const float *x, size_t n);
    void *user;
    /* The same of expert e of n_experts, which weights hold stacked; n may be 0. May be NULL: they are not told of. */
    void (*see_expert)(void *user, const hone_weight *const *weights, size_t n_weights, size_t e, size_t n_experts,
                       const float *x, size_t n);
} hone_observer;

/* hone_observe() tells an observer; NULL is nobody. */
static inline void hone_observe(const hone_observer *observer, const hone_weight *const *weights, size_t n_weights,
                                const float *x, size_t n)
{
    if (observer)
        observer->see(observer->user, weights, n_weights, x, n);
}

static inline void hone_observe_expert(const hone_observer *observer, const hone_weight *const *weights,
                                       size_t n_weights, size_t e, size_t n_experts, const float *x, size_t n)
{
    if (observer && observer->see_expert)
        observer->see_expert(observer->user, weights, n_weights, e, n_experts, x, n);
}

#endif
