/* SPDX-License-Identifier: MIT */
#include "convert/calibrated_on.h"

#include "base/fail.h"
#include "convert/budget_types.h"
#include "formats/imatrix.h"
#include "quantize/sequential.h"

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
    return budget ? hone_text_marks_join(out, hone_budget_texts(budget), err) : HONE_OK;
}
