/* SPDX-License-Identifier: MIT */
#include "base/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arith.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/mem.h"

static const char PARTIAL_SUFFIX[] = ".hone-partial";

enum { MAX_TRANSFER = 1 << 30 };

hone_status hone_writer_check_target(const char *path, bool overwrite, hone_error *err)
{
    struct stat st;
    if (stat(path, &st) == 0) {
        if (!S_ISREG(st.st_mode)) {
            (void)hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "output is not a regular file");
            return hone_fail_in_file(err, HONE_ERROR_ARG, path);
        }
        if (!overwrite) {
            (void)hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "output exists (use --force to overwrite)");
            return hone_fail_in_file(err, HONE_ERROR_ARG, path);
        }
    } else if (errno != ENOENT) {
        return hone_fail_in_file(err, hone_fail_errno(err, errno, HONE_NO_OFFSET, NULL, "cannot create"), path);
    }
    char *dir = hone_path_dir(path);
    if (!dir)
        return hone_fail_nomem(err, strlen(path));
    hone_status status = HONE_OK;
    if (!hone_file_is_directory(dir)) {
        (void)hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "output directory does not exist");
        status = hone_fail_in_file(err, HONE_ERROR_ARG, path);
    } else if (access(dir, W_OK | X_OK) != 0) {
        (void)hone_fail_errno(err, errno, HONE_NO_OFFSET, NULL, "cannot create");
        status = hone_fail_in_file(err, HONE_ERROR_IO, path);
    }
    hone_release(dir);
    return status;
}

static hone_status fail_io(const hone_writer *w, uint64_t offset, const char *what, hone_error *err)
{
    return hone_fail_in_file(err, hone_fail_errno(err, errno, offset, NULL, "%s", what), w->path);
}

/* Give the open partial file its size; keep the bytes of one that has it already. */
static hone_status size_partial(hone_writer *w, uint64_t total_nbytes, bool restart, hone_error *err)
{
    struct stat st;
    if (fstat(w->fd, &st) != 0)
        return fail_io(w, HONE_NO_OFFSET, "cannot stat", err);
    if (!restart && st.st_size > 0) {
        w->resumed = (uint64_t)st.st_size == total_nbytes;
        if (w->resumed)
            return HONE_OK;
        (void)hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL,
                        "a partial file of another command is in the way (--restart discards it)");
        (void)hone_fail_in_file(err, HONE_ERROR_ARG, w->partial_path);
        (void)close(w->fd);
        w->fd = -1; /* it may be hours of work: leave it */
        return HONE_ERROR_ARG;
    }
    if (ftruncate(w->fd, 0) != 0 || ftruncate(w->fd, (off_t)total_nbytes) != 0)
        return fail_io(w, HONE_NO_OFFSET, "cannot resize", err);
    /* Claim the space now: a full disk should be found before hours of work. Not every file system can. */
    const int e = total_nbytes ? posix_fallocate(w->fd, 0, (off_t)total_nbytes) : 0;
    if (e != ENOSPC && e != EFBIG && e != EDQUOT)
        return HONE_OK;
    errno = e;
    return fail_io(w, HONE_NO_OFFSET, "cannot reserve space", err);
}

static hone_status open_partial(hone_writer *w, uint64_t total_nbytes, bool restart, hone_error *err)
{
    w->fd = open(w->partial_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (w->fd < 0)
        return fail_io(w, HONE_NO_OFFSET, "cannot create", err);
    /* The lock, not the file's presence, tells a run in progress from one that was killed. */
    if (flock(w->fd, LOCK_EX | LOCK_NB) != 0) {
        (void)hone_fail(err, HONE_ERROR_IO, HONE_NO_OFFSET, NULL, "another run is writing this output");
        (void)hone_fail_in_file(err, HONE_ERROR_IO, w->path);
        (void)close(w->fd);
        w->fd = -1; /* the partial file is theirs: leave it */
        return HONE_ERROR_IO;
    }
    /* The other run may have finished, and renamed the file away, between our open and our lock. */
    struct stat ours, named;
    if (fstat(w->fd, &ours) != 0 || stat(w->partial_path, &named) != 0 || ours.st_ino != named.st_ino) {
        (void)hone_fail(err, HONE_ERROR_IO, HONE_NO_OFFSET, NULL, "another run has just written this output");
        (void)hone_fail_in_file(err, HONE_ERROR_IO, w->path);
        (void)close(w->fd);
        w->fd = -1;
        return HONE_ERROR_IO;
    }
    return size_partial(w, total_nbytes, restart, err);
}

char *hone_writer_partial_path(const char *path)
{
    const size_t len = strlen(path);
    char *partial = hone_alloc(len + sizeof PARTIAL_SUFFIX, 1);
    if (!partial)
        return NULL;
    memcpy(partial, path, len);
    memcpy(partial + len, PARTIAL_SUFFIX, sizeof PARTIAL_SUFFIX);
    return partial;
}

hone_status hone_writer_open(const char *path, uint64_t nbytes, uint64_t tail_nbytes, hone_writer_options opts,
                             hone_writer *out, hone_error *err)
{
    *out = (hone_writer){.fd = -1};
    HONE_TRY(hone_writer_check_target(path, opts.overwrite, err));
    uint64_t total;
    if (!hone_add_u64(nbytes, tail_nbytes, &total) || total > INT64_MAX)
        return hone_fail(err, HONE_ERROR_LIMIT, HONE_NO_OFFSET, NULL, "output is too large");

    hone_writer w = {.fd = -1, .nbytes = nbytes};
    w.path = hone_strdup(path);
    w.partial_path = hone_writer_partial_path(path);
    hone_status status = w.path && w.partial_path ? HONE_OK : hone_fail_nomem(err, strlen(path));
    if (status == HONE_OK)
        status = open_partial(&w, total, opts.restart, err);
    if (status != HONE_OK) {
        hone_writer_abort(&w);
        return status;
    }
    *out = w;
    return HONE_OK;
}

hone_status hone_writer_read(const hone_writer *w, uint64_t offset, void *dst, size_t nbytes, hone_error *err)
{
    unsigned char *p = dst;
    while (nbytes > 0) {
        const ssize_t got = pread(w->fd, p, nbytes < MAX_TRANSFER ? nbytes : MAX_TRANSFER, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return fail_io(w, offset, "cannot read back", err);
        p += got;
        offset += (uint64_t)got;
        nbytes -= (size_t)got;
    }
    return HONE_OK;
}

hone_status hone_writer_write(const hone_writer *w, uint64_t offset, const void *src, size_t nbytes, hone_error *err)
{
    const unsigned char *p = src;
    while (nbytes > 0) {
        const size_t want = nbytes < MAX_TRANSFER ? nbytes : MAX_TRANSFER;
        const ssize_t put = pwrite(w->fd, p, want, (off_t)offset);
        if (put < 0) {
            if (errno == EINTR)
                continue;
            return fail_io(w, offset, "cannot write", err);
        }
        p += put;
        offset += (uint64_t)put;
        nbytes -= (size_t)put;
    }
    return HONE_OK;
}

static hone_status open_directory_of(const hone_writer *w, int *fd, hone_error *err)
{
    char *dir = hone_path_dir(w->path);
    if (!dir)
        return hone_fail_nomem(err, strlen(w->path));
    *fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    hone_release(dir);
    return *fd >= 0 ? HONE_OK : fail_io(w, HONE_NO_OFFSET, "cannot open the output directory", err);
}

hone_status hone_writer_commit(hone_writer *w, hone_error *err)
{
    int dir = -1; /* opened first: once the file has its name, only the disk itself may still fail */
    hone_status status = open_directory_of(w, &dir, err);
    if (status != HONE_OK)
        goto out;
    if (ftruncate(w->fd, (off_t)w->nbytes) != 0)
        status = fail_io(w, HONE_NO_OFFSET, "cannot resize", err);
    else if (fsync(w->fd) != 0)
        status = fail_io(w, HONE_NO_OFFSET, "cannot sync", err);
    else if (rename(w->partial_path, w->path) != 0)
        status = fail_io(w, HONE_NO_OFFSET, "cannot rename", err);
    /* EINVAL: this file system has no directory fsync, so there is nothing to wait for. */
    else if (fsync(dir) != 0 && errno != EINVAL)
        status = fail_io(w, HONE_NO_OFFSET, "cannot sync the output directory", err);
    (void)close(dir);
out:
    hone_writer_suspend(w);
    return status;
}

void hone_writer_suspend(hone_writer *w)
{
    if (!w)
        return;
    if (w->partial_path && w->fd >= 0)
        (void)close(w->fd);
    hone_release(w->path);
    hone_release(w->partial_path);
    *w = (hone_writer){.fd = -1};
}

void hone_writer_abort(hone_writer *w)
{
    if (w && w->partial_path && w->fd >= 0)
        (void)unlink(w->partial_path);
    hone_writer_suspend(w);
}

hone_status hone_write_file(const char *path, const void *data, size_t nbytes, bool overwrite, hone_error *err)
{
    hone_writer w;
    HONE_TRY(
        hone_writer_open(path, nbytes, 0, (hone_writer_options){.overwrite = overwrite, .restart = true}, &w, err));
    const hone_status status = hone_writer_write(&w, 0, data, nbytes, err);
    if (status != HONE_OK) {
        hone_writer_abort(&w);
        return status;
    }
    return hone_writer_commit(&w, err);
}
