/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/fuzz_target.h"

#include <stdlib.h>
#include <unistd.h>

#include "formats/imatrix.h"

/* What could be opened can be read, and is what it was said to be. */
static void walk(const hone_imatrix *m)
{
    enum { PIECE = 64 };
    float values[PIECE];
    hone_error err;
    for (size_t i = 0; i < hone_imatrix_n_entries(m); i++) {
        const hone_imatrix_entry *e = hone_imatrix_entry_at(m, i);
        if (hone_imatrix_find(m, e->name) != e || e->n_values == 0 || e->n_mats == 0 || e->n_values % e->n_mats != 0)
            abort();
        const uint64_t last = e->n_values < PIECE ? 0 : e->n_values - PIECE;
        const size_t n = e->n_values < PIECE ? (size_t)e->n_values : PIECE;
        if (hone_imatrix_read(m, e, 0, n, values, &err) != HONE_OK ||
            hone_imatrix_read(m, e, last, n, values, &err) != HONE_OK)
            abort();
        for (size_t j = 0; j < n; j++)
            if (!(values[j] >= 0.0f))
                abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes)
{
    char path[64];
    const int fd = hone_fuzz_file(data, nbytes, path);
    hone_imatrix *m;
    hone_error err;
    const hone_status status = hone_imatrix_open(path, &m, &err);
    if ((status == HONE_OK) != (m != NULL))
        abort();
    if (m)
        walk(m);
    hone_imatrix_close(m);
    (void)close(fd);
    return 0;
}
