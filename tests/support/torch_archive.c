/* SPDX-License-Identifier: MIT */
#include "tests/support/torch_archive.h"

uint64_t torch_archive_build(zip_builder *z, const char *script, unsigned flags)
{
    hone_bytes b = {0};
    hone_bytes_script(&b, script);
    float values[16];
    for (int i = 0; i < 16; i++)
        values[i] = (float)i;
    hone_zip_put(z, "m/data.pkl", b.data ? b.data : (const void *)"", b.n, flags);
    hone_zip_put(z, "m/byteorder", "little", 6, 0);
    hone_zip_put(z, "m/data/0", values, sizeof values, flags);
    hone_zip_put(z, "m/data/1", "\0\1\2\3\4\5\6\7", 8, flags);
    hone_zip_put(z, "m/version", "3\n", 2, flags & ZIP_DEFERRED);
    hone_zip_built(z, flags);
    const uint64_t at = z->entries[0].data_at + (flags & ZIP_DEFLATED ? 0 : b.mark);
    hone_bytes_free(&b);
    return at;
}

const char *torch_archive_write(const zip_builder *z, hone_temp_dir *dir)
{
    return hone_temp_file(dir, "x.pt", z->file.data, z->file.n);
}
