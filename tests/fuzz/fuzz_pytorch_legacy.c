/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/fuzz_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes)
{
    hone_fuzz_read(&hone_pytorch_legacy_reader, data, nbytes, NULL);
    return 0;
}
