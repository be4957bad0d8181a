/* SPDX-License-Identifier: MIT */
/* The table of targets. */
#include "convert/target.h"

#include <strings.h>

#include "base/mem.h"

static const hone_target *const targets[] = {&hone_target_gguf, &hone_target_safetensors};

const hone_target *hone_target_find(const char *name)
{
    if (!name)
        return &hone_target_gguf;
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++)
        if (strcasecmp(targets[i]->name, name) == 0)
            return targets[i];
    return NULL;
}

hone_output_file *hone_plan_add_file(hone_plan *plan)
{
    hone_output_file *grown = hone_grow(plan->files, &plan->cap_files, plan->n_files + 1, sizeof *grown);
    if (!grown)
        return NULL;
    plan->files = grown;
    plan->files[plan->n_files] = (hone_output_file){0};
    return &plan->files[plan->n_files++];
}
