/* SPDX-License-Identifier: MIT */
#include "base/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

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

hone_status hone_writer_open(const char *path, uint64_t nbytes, bool overwrite, hone_writer *out, hone_error *err)
{
    *out = (hone_writer){.fd = -1};
    HONE_TRY(hone_writer_check_target(path, overwrite, err));

    hone_writer w = {.fd = -1};
    hone_status status = HONE_OK;
    const size_t len = strlen(path);
    w.path = hone_strdup(path);
    w.partial_path = hone_alloc(len + sizeof PARTIAL_SUFFIX, 1);
    if (!w.path || !w.partial_path) {
        status = hone_fail_nomem(err, len);
        goto out;
    }
    memcpy(w.partial_path, path, len);
    memcpy(w.partial_path + len, PARTIAL_SUFFIX, sizeof PARTIAL_SUFFIX);

    w.fd = open(w.partial_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (w.fd < 0) {
        status = fail_io(&w, HONE_NO_OFFSET, "cannot create", err);
        goto out;
    }
    /* The lock, not the file's presence, tells a run in progress from one that was killed. */
    if (flock(w.fd, LOCK_EX | LOCK_NB) != 0) {
        (void)hone_fail(err, HONE_ERROR_IO, HONE_NO_OFFSET, NULL, "another run is writing this output");
        status = hone_fail_in_file(err, HONE_ERROR_IO, path);
        (void)close(w.fd);
        w.fd = -1; /* the partial file is theirs: leave it */
        goto out;
    }
    if (ftruncate(w.fd, 0) != 0 || ftruncate(w.fd, (off_t)nbytes) != 0) {
        status = fail_io(&w, HONE_NO_OFFSET, "cannot resize", err);
        goto out;
    }
    /* Claim the space now: a full disk should be found before hours of work. Not every file system can. */
    const int e = nbytes ? posix_fallocate(w.fd, 0, (off_t)nbytes) : 0;
    if (e == ENOSPC || e == EFBIG || e == EDQUOT) {
        errno = e;
        status = fail_io(&w, HONE_NO_OFFSET, "cannot reserve space", err);
        goto out;
    }
    *out = w;
    return HONE_OK;
out:
    hone_writer_abort(&w);
    return status;
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

static hone_status sync_directory_of(const hone_writer *w, hone_error *err)
{
    char *dir = hone_path_dir(w->path);
    if (!dir)
        return hone_fail_nomem(err, strlen(w->path));
    const int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    hone_release(dir);
    if (fd < 0)
        return fail_io(w, HONE_NO_OFFSET, "cannot open the output directory", err);
    /* EINVAL: this file system has no directory fsync, so there is nothing to wait for. */
    const bool failed = fsync(fd) != 0 && errno != EINVAL;
    const hone_status status = failed ? fail_io(w, HONE_NO_OFFSET, "cannot sync the output directory", err) : HONE_OK;
    (void)close(fd);
    return status;
}

hone_status hone_writer_commit(hone_writer *w, hone_error *err)
{
    hone_status status = HONE_OK;
    if (fsync(w->fd) != 0) {
        status = fail_io(w, HONE_NO_OFFSET, "cannot sync", err);
        goto out;
    }
    if (rename(w->partial_path, w->path) != 0) {
        status = fail_io(w, HONE_NO_OFFSET, "cannot rename", err);
        goto out;
    }
    status = sync_directory_of(w, err);
    (void)close(w->fd);
    w->fd = -1;
out:
    hone_writer_abort(w);
    return status;
}

void hone_writer_abort(hone_writer *w)
{
    if (!w)
        return;
    if (w->partial_path && w->fd >= 0) {
        (void)unlink(w->partial_path);
        (void)close(w->fd);
    }
    hone_release(w->path);
    hone_release(w->partial_path);
    *w = (hone_writer){.fd = -1};
}

hone_status hone_write_file(const char *path, const void *data, size_t nbytes, bool overwrite, hone_error *err)
{
    hone_writer w;
    HONE_TRY(hone_writer_open(path, nbytes, overwrite, &w, err));
    const hone_status status = hone_writer_write(&w, 0, data, nbytes, err);
    if (status != HONE_OK) {
        hone_writer_abort(&w);
        return status;
    }
    return hone_writer_commit(&w, err);
}
