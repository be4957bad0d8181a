/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <string.h>

#include "convert/plan_impl.h"

static const hone_family *const families[] = {
    &hone_family_gpt2,
    &hone_family_llama,
};

const hone_family *hone_family_find(const char *model_class)
{
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
        for (const char *const *c = families[i]->classes; *c; c++)
            if (strcmp(*c, model_class) == 0)
                return families[i];
    return NULL;
}
