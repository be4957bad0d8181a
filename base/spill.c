/* SPDX-License-Identifier: MIT */
#include "base/spill.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arith.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/mem.h"

static hone_status fail_io(const hone_spill *spill, int os_errno, const char *what, hone_error *err)
{
    return hone_fail_in_file(err, hone_fail_errno(err, os_errno, HONE_NO_OFFSET, NULL, "%s", what), spill->dir);
}

/* The name goes at once: whatever becomes of the process, nothing stays. */
static hone_status open_file(hone_spill *spill, uint64_t nbytes, hone_error *err)
{
    char *path = hone_path_join(spill->dir, ".hone-spill-XXXXXX");
    if (!path)
        return hone_fail_nomem(err, strlen(spill->dir));
    spill->fd = mkostemp(path, O_CLOEXEC);
    const int why = errno;
    if (spill->fd >= 0)
        (void)unlink(path);
    hone_release(path);
    if (spill->fd < 0)
        return fail_io(spill, why, "cannot make a temporary file", err);
    if (nbytes > INT64_MAX)
        return hone_fail_nomem(err, nbytes);
    const int failed = posix_fallocate(spill->fd, 0, (off_t)nbytes);
    /* EOPNOTSUPP, EINVAL: the file system cannot tell before. */
    if (failed && failed != EOPNOTSUPP && failed != EINVAL)
        return fail_io(spill, failed, "no room for a temporary file", err);
    return HONE_OK;
}

hone_status hone_spill_init(size_t n_records, size_t record_nbytes, uint64_t max_nbytes, const char *beside,
                            hone_spill *out, hone_error *err)
{
    *out = HONE_NO_SPILL;
    size_t nbytes;
    if (!hone_mul_size(n_records, record_nbytes, &nbytes))
        return hone_fail_nomem(err, UINT64_MAX);
    hone_spill spill = {.n_records = n_records, .record_nbytes = record_nbytes, .fd = -1};
    hone_status status = HONE_OK;
    if (nbytes <= max_nbytes) {
        spill.memory = hone_alloc(nbytes, 1);
        if (!spill.memory)
            status = hone_fail_nomem(err, nbytes);
    } else {
        spill.dir = hone_path_dir(beside);
        status = spill.dir ? open_file(&spill, nbytes, err) : hone_fail_nomem(err, strlen(beside));
    }
    if (status != HONE_OK) {
        hone_spill_deinit(&spill);
        return status;
    }
    *out = spill;
    return HONE_OK;
}

void hone_spill_deinit(hone_spill *spill)
{
    if (spill->fd >= 0)
        (void)close(spill->fd);
    hone_release(spill->memory);
    hone_release(spill->dir);
    *spill = HONE_NO_SPILL;
}

hone_status hone_spill_put(hone_spill *spill, size_t i, const void *record, hone_error *err)
{
    const size_t n = spill->record_nbytes;
    if (!spill->memory)
        return hone_fd_write(spill->fd, spill->dir, (uint64_t)i * n, record, n, err);
    memcpy(spill->memory + i * n, record, n);
    return HONE_OK;
}

hone_status hone_spill_get(const hone_spill *spill, size_t i, void *record, hone_error *err)
{
    const size_t n = spill->record_nbytes;
    if (!spill->memory)
        return hone_fd_read(spill->fd, spill->dir, (uint64_t)i * n, record, n, err);
    memcpy(record, spill->memory + i * n, n);
    return HONE_OK;
}
