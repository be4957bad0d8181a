/* SPDX-License-Identifier: MIT */
/* Watching a forward pass: what its linear layers are given. */
#ifndef HONE_OBSERVER_H
#define HONE_OBSERVER_H

#include "verify/weights.h"

/* What an expert of a mixture is given. */
typedef struct hone_expert_rows {
    size_t expert, n_experts; /* which of how many */
    const float *x;           /* (n, ncols), n may be 0 */
    const float *shares;      /* (n) the weight by which what it makes of a row is mixed with that of other experts */
    size_t n;
} hone_expert_rows;

/*
 * see() is told what some weights are about to be multiplied with: x (n, ncols), the same for all n_weights of them.
 * Called between the loops of a pass, on the thread that runs it; every layer is seen once for each tile of tokens.
 */
typedef struct hone_observer {
    void (*see)(void *user, const hone_weight *const *weights, size_t n_weights, const float *x, size_t n);
    void *user;
    /* The same of the tokens of an expert, whose matrix is one of those stacked in each weight. Returns whether the
     * rest of what the expert computes is not wanted. May be NULL: they are not told of. */
    bool (*see_expert)(void *user, const hone_weight *const *weights, size_t n_weights, const hone_expert_rows *rows);
    const hone_weight
        *last; /* what follows the weights of which this is the first need not be computed; NULL: all is */
    /* (tokens, n_experts) the weights by which a layer's router mixes, 0: the token is not given to the expert. They
     * are written here, or, if routed, stand for what the router says. NULL: neither. */
    float *routing;
    bool routed;
} hone_observer;

/* hone_observe() tells an observer; NULL is nobody. Returns whether the rest of the layer is not wanted. */
static inline bool hone_observe(const hone_observer *observer, const hone_weight *const *weights, size_t n_weights,
                                const float *x, size_t n)
{
    if (!observer)
        return false;
    observer->see(observer->user, weights, n_weights, x, n);
    return observer->last == weights[0];
}

static inline bool hone_observe_expert(const hone_observer *observer, const hone_weight *const *weights,
                                       size_t n_weights, const hone_expert_rows *rows)
{
    return observer && observer->see_expert && observer->see_expert(observer->user, weights, n_weights, rows);
}

#endif
