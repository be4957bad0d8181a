/* SPDX-License-Identifier: MIT */
/*
 * Bit allocation: one choice for each item, so that the choices together cost the least within a size, or are the
 * smallest within a cost. This is the multiple-choice knapsack problem.
 *
 * Solved exactly: partial assignments are extended item by item, and dropped when another is no larger and no dearer,
 * or when a bound shows that nothing good can come of them. The bound is Lagrange's: with sizes at a price, the items
 * can be chosen one by one, and no assignment that keeps the limit costs less than that, less the price of the limit.
 */
#ifndef HONE_ALLOCATE_H
#define HONE_ALLOCATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hone/status.h"

/* Sizes below 2^53, costs finite and not negative. */
typedef struct hone_alternative {
    uint64_t nbytes;
    double cost;
} hone_alternative;

/* At least one alternative, at most HONE_MAX_ALTERNATIVES. */
typedef struct hone_allocation_item {
    const hone_alternative *alternatives;
    size_t n;
} hone_allocation_item;

enum { HONE_MAX_ALTERNATIVES = 64 };

typedef struct hone_allocation {
    uint64_t nbytes;
    double cost;
    double bound; /* no assignment is better: in cost, or in bytes under hone_allocate_smallest() */
    bool exact;   /* this is the best; else it lies between the best and bound, for want of memory */
} hone_allocation;

/*
 * hone_allocate() finds the assignment of least cost whose bytes do not exceed nbytes; picked (n) gets the index of
 * each item's alternative. The same on every machine. ARG: the smallest assignment is larger than that, and err->offset
 * its size. NOMEM.
 */
hone_status hone_allocate(const hone_allocation_item *items, size_t n, uint64_t nbytes, size_t *picked,
                          hone_allocation *out, hone_error *err);

/* hone_allocate_smallest() finds the assignment of fewest bytes whose cost does not exceed cost. ARG: there is none. */
hone_status hone_allocate_smallest(const hone_allocation_item *items, size_t n, double cost, size_t *picked,
                                   hone_allocation *out, hone_error *err);

#endif
