/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/fuzz_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes)
{
    hone_fuzz_open(data, nbytes);
    return 0;
}
