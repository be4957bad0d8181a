/* SPDX-License-Identifier: MIT */
#include "convert/calibrated_on.h"

#include "base/fail.h"
#include "convert/budget_types.h"
#include "formats/imatrix.h"
#include "formats/sources.h"
#include "quantize/sequential.h"

/* A mark for every 2 MiB of the source: so they take no more of a small file than the importance matrix's metadata does
 * in one by llama.cpp. Four, or three, where little room is theirs: half of a text is noticed more often than not. */
static size_t most_marks(const hone_plan *plan)
{
    enum { SHIFT = 21, LEAST = 4, MOST = 256, LEAN = 4 };
    if (plan->lean)
        return LEAN - (hone_checkpoint_transforms(plan->src) != NULL); /* which take room, too */
    const uint64_t n = hone_checkpoint_nbytes(plan->src) >> SHIFT;
    return n < LEAST ? LEAST : n > MOST ? MOST : (size_t)n;
}

hone_status hone_calibrated_on(const hone_plan *plan, const hone_budget *budget, hone_text_marks *out, hone_error *err)
{
    const hone_checkpoint *const files[] = {plan->src, plan->imatrix ? hone_imatrix_gguf(plan->imatrix) : NULL,
                                            plan->calibration};
    *out = (hone_text_marks){0};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        if (files[i])
            HONE_TRY(hone_text_marks_take(out, files[i], err));
    if (plan->sequential)
        HONE_TRY(hone_text_marks_join(out, hone_sequential_texts(plan->sequential), err));
    if (budget)
        HONE_TRY(hone_text_marks_join(out, hone_budget_texts(budget), err));
    hone_text_marks_thin(out, most_marks(plan));
    return HONE_OK;
}
