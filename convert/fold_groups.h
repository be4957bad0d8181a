/* SPDX-License-Identifier: MIT */
/* Which tensors of a plan can hand factors to each other. */
#ifndef HONE_FOLD_GROUPS_H
#define HONE_FOLD_GROUPS_H

#include "convert/plan_impl.h"

enum { HONE_FOLD_READERS = 3 };

/*
 * One writer, whose outputs are the inputs of all of its readers and of nothing else. Column c of a reader is fed by
 * output (c / (repeats * width)) * width + c % width: repeats > 1 where query heads share a value head.
 */
typedef struct hone_fold_link {
    const hone_planned_tensor *writer, *bias;              /* a norm or a matrix; bias NULL: it has none */
    const hone_planned_tensor *readers[HONE_FOLD_READERS]; /* matrices, or stacks of them; a router is last */
    size_t n_readers;
    uint64_t first_row, n; /* the outputs concerned: rows of a matrix, elements of a norm */
    uint64_t width, repeats;
} hone_fold_link;

typedef struct hone_fold_links {
    hone_fold_link *links;
    size_t n, cap;
} hone_fold_links;

/* hone_fold_links_find() lists them. UNSUPPORTED: an architecture that is not known well enough. NOMEM. Release
 * out->links in any case. */
hone_status hone_fold_links_find(const hone_context *ctx, const hone_plan *plan, hone_fold_links *out, hone_error *err);

/* hone_fold_output_of() returns the output that feeds column c of the readers. */
static inline uint64_t hone_fold_output_of(const hone_fold_link *link, uint64_t c)
{
    return c / (link->repeats * link->width) * link->width + c % link->width;
}

#endif
