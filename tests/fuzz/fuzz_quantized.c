/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/fuzz_target.h"

#include <string.h>

#include "formats/json.h"

/* A quantization config, a NUL, and a safetensors file. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes)
{
    const uint8_t *nul = nbytes > 0 ? memchr(data, '\0', nbytes) : NULL;
    json_t *quantization, *config;
    hone_error err;
    if (!nul || hone_json_parse((const char *)data, (size_t)(nul - data), 0, &quantization, &err) != HONE_OK)
        return 0;
    config = json_pack("{s:o}", "quantization_config", quantization);
    if (config)
        hone_fuzz_read(&hone_safetensors_reader, nul + 1, nbytes - (size_t)(nul + 1 - data), config);
    return 0;
}
