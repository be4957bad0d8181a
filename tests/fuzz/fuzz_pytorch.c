/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/fuzz_target.h"

#include "tests/support/zip_builder.h"

/* The first byte says how the archive is written, the rest is its data.pkl. Three storages are there. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes)
{
    static const uint8_t storage[64] = {1, 2, 3, 0x3f, 0x80};
    if (nbytes < 1)
        return 0;
    const unsigned how = data[0] % 16;
    zip_builder z = {0};
    hone_zip_put(&z, "a/data.pkl", data + 1, nbytes - 1, how & (ZIP_DEFLATED | ZIP_WIDE | ZIP_NO_CRC));
    if (how & ZIP_DEFERRED)
        hone_zip_put(&z, "a/byteorder", "big", 3, 0);
    hone_zip_put(&z, "a/data/0", storage, 64, how & ZIP_DEFLATED);
    hone_zip_put(&z, "a/data/1", storage, 16, how & ZIP_DEFERRED);
    hone_zip_put(&z, "a/data/2", storage, 0, 0);
    hone_zip_built(&z, how & ZIP_WIDE);
    hone_fuzz_read(&hone_zip_reader, z.file.data, z.file.n, NULL);
    hone_zip_builder_free(&z);
    return 0;
}
