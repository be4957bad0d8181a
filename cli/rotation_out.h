/* SPDX-License-Identifier: MIT */
/* A rotation chosen for a job, and what is told of it. */
#ifndef HONE_CLI_ROTATION_OUT_H
#define HONE_CLI_ROTATION_OUT_H

#include <jansson.h>

#include "cli/plan_out.h"
#include "cli/session.h"
#include "hone/rotate.h"

/* hone_cli_settle_rotation() puts a choice in the place of the job's "auto"; else *choice stays as it is. Release it
 * with hone_rotation_choice_deinit(), after the job. */
hone_status hone_cli_settle_rotation(const hone_cli_session *s, hone_cli_job *job, hone_rotation_choice *choice,
                                     hone_error *err);

/* hone_cli_print_rotation() prints what the choice was between. */
void hone_cli_print_rotation(const hone_rotation_choice *choice);

/* hone_cli_rotation_json() describes a rotation, and how it was chosen, if it was. */
json_t *hone_cli_rotation_json(const char *what, const hone_rotation_choice *choice);

#endif
