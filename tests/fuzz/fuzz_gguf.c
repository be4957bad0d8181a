/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/fuzz_target.h"

#include <stdlib.h>
#include <string.h>

/* The magic is put back, so that no input is spent on being another format. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes)
{
    if (nbytes < 8)
        return 0;
    uint8_t *copy = malloc(nbytes);
    if (!copy)
        return 0;
    memcpy(copy, data, nbytes);
    memcpy(copy, "GGUF\3\0\0\0", 8);
    hone_fuzz_open(copy, nbytes);
    free(copy);
    return 0;
}
