/* SPDX-License-Identifier: MIT */
#include "cli/rotation_out.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/json_out.h"
#include "cli/table.h"

hone_status hone_cli_settle_rotation(const hone_cli_session *s, hone_cli_job *job, hone_rotation_choice *choice,
                                     hone_error *err)
{
    if (!job->rotate || strcmp(job->rotate, "auto") != 0)
        return HONE_OK;
    const hone_open_options open = {.config = s->globals->config};
    hone_convert_options opts = job->convert;
    if (job->budget) /* its types are settled later, on the rotated model */
        opts.type = "q4_k_m";
    const hone_status status = hone_rotation_choose(s->ctx, job->src, &open, &opts, choice, err);
    if (status == HONE_OK)
        job->rotate = choice->what;
    return status;
}

static void print_error(hone_cli_table *t, const char *what, double error)
{
    hone_cli_table_cell(t, "%s", what);
    if (isnan(error))
        hone_cli_table_cell(t, "not allowed");
    else
        hone_cli_table_cell(t, "%.6f", error);
}

void hone_cli_print_rotation(const hone_rotation_choice *choice)
{
    char chosen[64];
    (void)snprintf(chosen, sizeof chosen, "chosen: %s", choice->what);
    hone_cli_table *t = hone_cli_table_new("<rotation|>output error");
    print_error(t, "none", choice->unrotated);
    print_error(t, "heads", choice->heads);
    print_error(t, "residual", choice->residual);
    print_error(t, chosen, choice->error);
    hone_cli_table_print(t);
}

json_t *hone_cli_rotation_json(const char *what, const hone_rotation_choice *choice)
{
    json_t *o = hone_cli_json_object();
    hone_cli_json_put(o, "what", hone_cli_json_text(what));
    if (!choice->what)
        return o;
    hone_cli_json_put(o, "error", hone_cli_json_real(choice->error));
    hone_cli_json_put(o, "error_unrotated", hone_cli_json_real(choice->unrotated));
    hone_cli_json_put(o, "error_residual", hone_cli_json_real(choice->residual));
    hone_cli_json_put(o, "error_heads", hone_cli_json_real(choice->heads));
    return o;
}
