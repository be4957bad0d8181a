/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <string.h>

#include "convert/plan_impl.h"

static const hone_conversion *const conversions[] = {
    &hone_conversion_gpt2,
    &hone_conversion_llama,
};

const hone_conversion *hone_conversion_find(const char *model_class)
{
    for (size_t i = 0; i < sizeof conversions / sizeof conversions[0]; i++)
        for (const char *const *c = conversions[i]->classes; *c; c++)
            if (strcmp(*c, model_class) == 0)
                return conversions[i];
    return NULL;
}
