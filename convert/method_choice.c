/* SPDX-License-Identifier: MIT */
#include "convert/method_choice.h"

#include "base/fail.h"
#include "convert/moments.h"
#include "convert/type_errors.h"

/* Less than a thousandth is no gain: the rows that were looked at are not all. */
static const double LEAST_GAIN = 0.001;

static hone_status measure(const hone_context *ctx, const hone_plan *plan, const hone_planned_tensor *t,
                           const hone_feedback *f, double *error, hone_error *err)
{
    hone_type_errors e = {.types = &t->dtype, .n = 1, .probe = 1};
    HONE_TRY(hone_type_errors_measure(ctx, plan, t, f, &e, err));
    *error = e.error[0];
    return HONE_OK;
}

hone_status hone_method_choose(const hone_context *ctx, hone_plan *plan, hone_error *err)
{
    hone_feedback f = {0};
    const hone_tensor *current = NULL;
    hone_status status = HONE_OK;
    for (size_t i = 0; i < plan->n_tensors && status == HONE_OK; i++) {
        hone_planned_tensor *t = &plan->tensors[i];
        if (!t->moments || t->weight)
            continue;
        hone_planned_tensor plain = *t;
        plain.moments = NULL;
        double error = 0, plain_error = 0;
        status = hone_moments_prepare(ctx, plan, t, &current, &f, err);
        if (status == HONE_OK)
            status = measure(ctx, plan, t, &f, &error, err);
        if (status == HONE_OK)
            status = measure(ctx, plan, &plain, &f, &plain_error, err);
        if (!(error < plain_error * (1 - LEAST_GAIN)))
            t->moments = NULL;
        hone_context_progress(ctx, "choose", i + 1, plan->n_tensors);
    }
    hone_feedback_deinit(&f);
    return status;
}

json_t *hone_method_recipe(const hone_plan *plan)
{
    json_t *gptq = json_array(), *plain = json_array();
    for (size_t i = 0; i < plan->n_tensors; i++) {
        const hone_planned_tensor *t = &plan->tensors[i];
        if (t->gram)
            (void)json_array_append_new(t->moments ? gptq : plain, json_string(t->name));
    }
    return json_pack("{s:o, s:o}", "gptq", gptq, "plain", plain);
}
