/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/fuzz_target.h"

#include <stdlib.h>

#include "formats/torch_objects.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes)
{
    hone_pickle pickle;
    hone_error err;
    const hone_status status = hone_unpickle(data, nbytes, &hone_torch_dialect, &pickle, &err);
    if (status == HONE_OK && (!pickle.root || pickle.nbytes > nbytes))
        abort();
    if (status != HONE_OK && (pickle.root || (err.offset != HONE_NO_OFFSET && err.offset > nbytes)))
        abort();
    hone_pickle_deinit(&pickle);
    return 0;
}
