/* SPDX-License-Identifier: MIT */
#include "base/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/mem.h"

static const char PARTIAL_SUFFIX[] = ".hone-partial";

/* Why something that is there cannot become an output, or NULL. The output is written out of order and renamed into
 * place: no pipe or device can take that, and a link would be replaced, not followed. */
static const char *unfit(const struct stat *st)
{
    switch (st->st_mode & S_IFMT) {
    case S_IFREG:
        return NULL;
    case S_IFDIR:
        return "output is a directory";
    case S_IFIFO:
        return "output is a pipe; outputs are written out of order, to a regular file";
    case S_IFSOCK:
        return "output is a socket; outputs are written out of order, to a regular file";
    case S_IFCHR:
    case S_IFBLK:
        return "output is a device; outputs are written out of order, to a regular file";
    case S_IFLNK:
        return "output is a symbolic link, which would be replaced; name the file it points to";
    }
    return "output is not a regular file";
}

static hone_status refuse(const char *path, const char *why, hone_error *err)
{
    (void)hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "%s", why);
    return hone_fail_in_file(err, HONE_ERROR_ARG, path);
}

hone_status hone_writer_check_target(const char *path, bool overwrite, hone_error *err)
{
    struct stat st;
    if (lstat(path, &st) == 0) {
        const char *why = unfit(&st);
        if (!why && !overwrite)
            why = "output exists (use --force to overwrite)";
        if (why)
            return refuse(path, why, err);
    } else if (errno != ENOENT) {
        return hone_fail_in_file(err, hone_fail_errno(err, errno, HONE_NO_OFFSET, NULL, "cannot create"), path);
    }
    char *dir = hone_path_dir(path);
    if (!dir)
        return hone_fail_nomem(err, strlen(path));
    hone_status status = HONE_OK;
    if (!hone_file_is_directory(dir)) {
        status = refuse(path, "output directory does not exist", err);
    } else if (access(dir, W_OK | X_OK) != 0) {
        (void)hone_fail_errno(err, errno, HONE_NO_OFFSET, NULL, "cannot create");
        status = hone_fail_in_file(err, HONE_ERROR_IO, path);
    }
    hone_release(dir);
    return status;
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

static hone_status fail_io(const hone_writer *w, uint64_t offset, const char *what, hone_error *err)
{
    return hone_fail_in_file(err, hone_fail_errno(err, errno, offset, NULL, "%s", what), w->path);
}

/* A full disk should be found before hours of work. What a partial file has already been given counts as free. */
static hone_status check_disk(const hone_writer *w, hone_error *err)
{
    char *dir = hone_path_dir(w->path);
    if (!dir)
        return hone_fail_nomem(err, strlen(w->path));
    struct statvfs fs;
    const int failed = statvfs(dir, &fs);
    hone_release(dir);
    if (failed || fs.f_blocks == 0) /* not every file system tells */
        return HONE_OK;
    struct stat st;
    const uint64_t have = lstat(w->partial_path, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
    const uint64_t need = w->nbytes > have ? w->nbytes - have : 0, unit = fs.f_frsize ? fs.f_frsize : 1;
    if (need / unit <= fs.f_bavail)
        return HONE_OK;
    (void)hone_fail_errno(err, ENOSPC, HONE_NO_OFFSET, NULL, "needs %llu more bytes of disk, %llu are free",
                          (unsigned long long)need, (unsigned long long)fs.f_bavail * unit);
    return hone_fail_in_file(err, HONE_ERROR_IO, w->path);
}

/* Leave a partial file that is not ours, and fail. */
static hone_status leave(hone_writer *w, hone_status status, const char *file, const char *why, hone_error *err)
{
    (void)hone_fail(err, status, HONE_NO_OFFSET, NULL, "%s", why);
    (void)hone_fail_in_file(err, status, file);
    (void)close(w->fd);
    w->fd = -1;
    return status;
}

static hone_status open_partial(hone_writer *w, bool restart, hone_error *err)
{
    w->fd = open(w->partial_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
    if (w->fd < 0)
        return fail_io(w, HONE_NO_OFFSET, "cannot create", err);
    /* The lock, not the file's presence, tells a run in progress from one that was killed. */
    if (flock(w->fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK)
            return leave(w, HONE_ERROR_IO, w->path, "another run is writing this output", err);
        if (errno != EOPNOTSUPP && errno != ENOLCK && errno != ENOSYS) /* a file system without locks */
            return fail_io(w, HONE_NO_OFFSET, "cannot lock", err);
    }
    /* The other run may have finished, and renamed the file away, between our open and our lock. */
    struct stat ours, named;
    if (fstat(w->fd, &ours) != 0)
        return fail_io(w, HONE_NO_OFFSET, "cannot stat", err);
    if (stat(w->partial_path, &named) != 0 || ours.st_ino != named.st_ino || ours.st_dev != named.st_dev)
        return leave(w, HONE_ERROR_IO, w->path, "another run has just written this output", err);
    if (!S_ISREG(ours.st_mode))
        return leave(w, HONE_ERROR_ARG, w->partial_path, "is not a regular file", err);
    w->resumed = !restart && ours.st_size > 0;
    if (w->resumed && (uint64_t)ours.st_size != w->nbytes) /* it may be hours of work: leave it */
        return leave(w, HONE_ERROR_ARG, w->partial_path,
                     "a partial file of another command is in the way (--restart discards it)", err);
    if (!w->resumed && ours.st_size > 0 && ftruncate(w->fd, 0) != 0)
        return fail_io(w, HONE_NO_OFFSET, "cannot resize", err);
    return HONE_OK;
}

hone_status hone_writer_open(const char *path, uint64_t nbytes, hone_writer_options opts, hone_writer *out,
                             hone_error *err)
{
    *out = (hone_writer){.fd = -1};
    HONE_TRY(hone_writer_check_target(path, opts.overwrite, err));
    if (nbytes > INT64_MAX)
        return hone_fail(err, HONE_ERROR_LIMIT, HONE_NO_OFFSET, NULL, "output is too large");

    hone_writer w = {.fd = -1, .nbytes = nbytes, .overwrite = opts.overwrite};
    w.path = hone_strdup(path);
    w.partial_path = hone_writer_partial_path(path);
    hone_status status = w.path && w.partial_path ? HONE_OK : hone_fail_nomem(err, strlen(path));
    if (status == HONE_OK)
        status = check_disk(&w, err);
    if (status == HONE_OK)
        status = open_partial(&w, opts.restart, err);
    if (status != HONE_OK) {
        hone_writer_suspend(&w);
        return status;
    }
    *out = w;
    return HONE_OK;
}

hone_status hone_writer_reserve(const hone_writer *w, hone_error *err)
{
    int failed = w->resumed ? 0 : ftruncate(w->fd, (off_t)w->nbytes);
    const char *what = "cannot resize";
    /* fallocate() and not posix_fallocate(): where blocks cannot be claimed, that one writes to each of them. */
    if (!failed && w->nbytes > 0) {
        what = "cannot reserve space";
        do
            failed = fallocate(w->fd, 0, 0, (off_t)w->nbytes);
        while (failed && errno == EINTR);
        if (failed && errno != ENOSPC && errno != EFBIG && errno != EDQUOT && errno != EIO)
            failed = 0;
    }
    if (!failed)
        return HONE_OK;
    const hone_status status = fail_io(w, HONE_NO_OFFSET, what, err);
    if (!w->resumed && ftruncate(w->fd, 0) != 0)
        return status; /* nothing else can be done about it */
    return status;
}

hone_status hone_writer_read(const hone_writer *w, uint64_t offset, void *dst, size_t nbytes, hone_error *err)
{
    return hone_fd_read(w->fd, w->path, offset, dst, nbytes, err);
}

hone_status hone_writer_write(const hone_writer *w, uint64_t offset, const void *src, size_t nbytes, hone_error *err)
{
    return hone_fd_write(w->fd, w->path, offset, src, nbytes, err);
}

hone_status hone_writer_sync(const hone_writer *w, hone_error *err)
{
    return fsync(w->fd) == 0 ? HONE_OK : fail_io(w, HONE_NO_OFFSET, "cannot sync", err);
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

/* Another run may have finished since our first check: the file system refuses in one step, where it can. */
static int rename_partial(const hone_writer *w)
{
    if (w->overwrite)
        return rename(w->partial_path, w->path);
    if (renameat2(AT_FDCWD, w->partial_path, AT_FDCWD, w->path, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -1;
    struct stat st;
    if (lstat(w->path, &st) == 0) {
        errno = EEXIST;
        return -1;
    }
    return rename(w->partial_path, w->path);
}

hone_status hone_writer_commit(hone_writer *w, hone_error *err)
{
    int dir = -1; /* opened first: once the file has its name, only the disk itself may still fail */
    hone_status status = open_directory_of(w, &dir, err);
    if (status != HONE_OK)
        goto out;
    if (rename_partial(w) != 0)
        status = errno == EEXIST ? refuse(w->path, "output exists (use --force to overwrite)", err)
                                 : fail_io(w, HONE_NO_OFFSET, "cannot rename", err);
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
    HONE_TRY(hone_writer_open(path, nbytes, (hone_writer_options){.overwrite = overwrite, .restart = true}, &w, err));
    hone_status status = hone_writer_reserve(&w, err);
    if (status == HONE_OK)
        status = hone_writer_write(&w, 0, data, nbytes, err);
    if (status == HONE_OK)
        status = hone_writer_sync(&w, err);
    if (status != HONE_OK) {
        hone_writer_abort(&w);
        return status;
    }
    return hone_writer_commit(&w, err);
}
