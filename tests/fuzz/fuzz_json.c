/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/fuzz_target.h"

#include <stdlib.h>

#include "formats/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes)
{
    json_t *root;
    hone_error err;
    const hone_status status = hone_json_parse((const char *)data, nbytes, 0, &root, &err);
    if ((status == HONE_OK) != (root != NULL) || (status == HONE_ERROR_DATA && err.offset > nbytes))
        abort();
    json_decref(root);
    return 0;
}
