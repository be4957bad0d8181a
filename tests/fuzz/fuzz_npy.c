/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/fuzz_target.h"

#include <stdlib.h>
#include <string.h>

/* The magic is put back, so that no input is spent on another one. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes)
{
    if (nbytes < 6)
        return 0;
    uint8_t *copy = malloc(nbytes);
    if (!copy)
        return 0;
    memcpy(copy, data, nbytes);
    memcpy(copy, "\x93NUMPY", 6);
    hone_fuzz_read(&hone_npy_reader, copy, nbytes, NULL);
    free(copy);
    return 0;
}
