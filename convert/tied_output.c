/* SPDX-License-Identifier: MIT */
/* Whether an output matrix that config.json ties to the embedding is the same matrix. */
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "convert/plan_impl.h"
#include "formats/sources.h"

enum { CHUNK_NBYTES = 1 << 18 };

/* Equal types, shapes and bytes; what lies at one place of a file is not read. */
static hone_status compare_matrices(const hone_checkpoint *src, const hone_tensor *a, const hone_tensor *b, bool *same,
                                    hone_error *err)
{
    *same =
        a->dtype == b->dtype && a->n_dims == b->n_dims && memcmp(a->shape, b->shape, a->n_dims * sizeof *a->shape) == 0;
    if (!*same || (!a->view && !b->view && a->file == b->file && a->offset == b->offset))
        return HONE_OK;
    unsigned char *bytes = hone_alloc(2, CHUNK_NBYTES);
    if (!bytes)
        return hone_fail_nomem(err, (uint64_t)2 * CHUNK_NBYTES);
    hone_status status = HONE_OK;
    const hone_tensor *const sides[2] = {a, b};
    for (uint64_t done = 0; done < a->nbytes && *same && status == HONE_OK; done += CHUNK_NBYTES) {
        const uint64_t left = a->nbytes - done;
        const size_t n = left < CHUNK_NBYTES ? (size_t)left : CHUNK_NBYTES;
        for (int i = 0; i < 2 && status == HONE_OK; i++)
            status = hone_fail_for(err, hone_checkpoint_read(src, sides[i], done, n, bytes + i * CHUNK_NBYTES, err),
                                   sides[i]->name);
        *same = status == HONE_OK && memcmp(bytes, bytes + CHUNK_NBYTES, n) == 0;
    }
    hone_release(bytes);
    return status;
}

hone_status hone_plan_check_tie(const hone_context *ctx, const hone_plan *plan, const char *embedding,
                                const char *output, bool *tied, hone_error *err)
{
    const hone_tensor *first = hone_checkpoint_find(plan->src, embedding);
    const hone_tensor *last = hone_checkpoint_find(plan->src, output);
    if (!*tied || !first || !last)
        return HONE_OK;
    HONE_TRY(compare_matrices(plan->src, first, last, tied, err));
    if (!*tied)
        hone_context_note(ctx, "config.json ties %s to %s, but both are stored and differ: both are written", output,
                          embedding);
    return HONE_OK;
}
