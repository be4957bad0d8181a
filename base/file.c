/* SPDX-License-Identifier: MIT */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "base/fail.h"
#include "base/mem.h"

/* Linux transfers at most 0x7ffff000 bytes a call; stay below it. */
enum { MAX_TRANSFER = 1 << 30 };

static hone_status open_failed(hone_error *err, const char *path)
{
    const int e = errno;
    if (e == ENOENT || e == ENOTDIR) {
        (void)hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "no such file or directory");
        return hone_fail_in_file(err, HONE_ERROR_ARG, path);
    }
    return hone_fail_in_file(err, hone_fail_errno(err, e, HONE_NO_OFFSET, NULL, "cannot open"), path);
}

static int64_t mtime_ns(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

hone_status hone_file_open(const char *path, hone_file *out, hone_error *err)
{
    *out = (hone_file){.fd = -1};
    /* O_NONBLOCK: opening a FIFO must not wait for a writer; it has no effect on regular files. */
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return open_failed(err, path);
    struct stat st;
    if (fstat(fd, &st) != 0) {
        const int e = errno;
        (void)close(fd);
        return hone_fail_in_file(err, hone_fail_errno(err, e, HONE_NO_OFFSET, NULL, "cannot stat"), path);
    }
    if (!S_ISREG(st.st_mode)) {
        (void)close(fd);
        (void)hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL,
                        S_ISDIR(st.st_mode) ? "is a directory" : "is not a regular file");
        return hone_fail_in_file(err, HONE_ERROR_ARG, path);
    }
    out->path = hone_strdup(path);
    if (!out->path) {
        (void)close(fd);
        return hone_fail_nomem(err, strlen(path));
    }
    out->fd = fd;
    out->nbytes = (uint64_t)st.st_size;
    out->device = (uint64_t)st.st_dev;
    out->inode = (uint64_t)st.st_ino;
    out->mtime_ns = mtime_ns(&st);
    return HONE_OK;
}

void hone_file_close(hone_file *file)
{
    if (!file)
        return;
    if (file->path && file->fd >= 0)
        (void)close(file->fd);
    hone_release(file->path);
    *file = (hone_file){.fd = -1};
}

hone_status hone_file_read(const hone_file *file, uint64_t offset, void *dst, size_t nbytes, hone_error *err)
{
    unsigned char *p = dst;
    while (nbytes > 0) {
        const size_t want = nbytes < MAX_TRANSFER ? nbytes : MAX_TRANSFER;
        const ssize_t got = pread(file->fd, p, want, (off_t)offset);
        if (got < 0) {
            if (errno == EINTR)
                continue;
            return hone_fail_in_file(err, hone_fail_errno(err, errno, offset, NULL, "cannot read"), file->path);
        }
        if (got == 0) {
            (void)hone_fail(err, HONE_ERROR_DATA, offset, NULL, "file ends early, %zu bytes missing", nbytes);
            return hone_fail_in_file(err, HONE_ERROR_DATA, file->path);
        }
        p += got;
        offset += (uint64_t)got;
        nbytes -= (size_t)got;
    }
    return HONE_OK;
}

hone_status hone_file_check_unchanged(const hone_file *file, hone_error *err)
{
    struct stat st;
    if (fstat(file->fd, &st) != 0)
        return hone_fail_in_file(err, hone_fail_errno(err, errno, HONE_NO_OFFSET, NULL, "cannot stat"), file->path);
    if ((uint64_t)st.st_size == file->nbytes && mtime_ns(&st) == file->mtime_ns)
        return HONE_OK;
    (void)hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, NULL, "was changed while it was read");
    return hone_fail_in_file(err, HONE_ERROR_DATA, file->path);
}

hone_status hone_fd_read(int fd, const char *path, uint64_t offset, void *dst, size_t nbytes, hone_error *err)
{
    unsigned char *p = dst;
    while (nbytes > 0) {
        errno = EIO; /* for an end of file where there was none */
        const ssize_t got = pread(fd, p, nbytes < MAX_TRANSFER ? nbytes : MAX_TRANSFER, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return hone_fail_in_file(err, hone_fail_errno(err, errno, offset, NULL, "cannot read back"), path);
        p += got;
        offset += (uint64_t)got;
        nbytes -= (size_t)got;
    }
    return HONE_OK;
}

hone_status hone_fd_write(int fd, const char *path, uint64_t offset, const void *src, size_t nbytes, hone_error *err)
{
    const unsigned char *p = src;
    while (nbytes > 0) {
        errno = EIO; /* for a write of nothing */
        const ssize_t put = pwrite(fd, p, nbytes < MAX_TRANSFER ? nbytes : MAX_TRANSFER, (off_t)offset);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return hone_fail_in_file(err, hone_fail_errno(err, errno, offset, NULL, "cannot write"), path);
        p += put;
        offset += (uint64_t)put;
        nbytes -= (size_t)put;
    }
    return HONE_OK;
}

hone_status hone_file_slurp(const char *path, uint64_t max_nbytes, char **out, size_t *len, hone_error *err)
{
    *out = NULL;
    *len = 0;
    hone_file file;
    HONE_TRY(hone_file_open(path, &file, err));
    hone_status status = HONE_OK;
    char *buf = NULL;
    if (file.nbytes > max_nbytes) {
        (void)hone_fail(err, HONE_ERROR_LIMIT, HONE_NO_OFFSET, NULL, "%llu bytes, at most %llu are read",
                        (unsigned long long)file.nbytes, (unsigned long long)max_nbytes);
        status = hone_fail_in_file(err, HONE_ERROR_LIMIT, path);
        goto out;
    }
    buf = hone_alloc((size_t)file.nbytes + 1, 1);
    if (!buf) {
        status = hone_fail_nomem(err, file.nbytes);
        goto out;
    }
    status = hone_file_read(&file, 0, buf, (size_t)file.nbytes, err);
    if (status != HONE_OK)
        goto out;
    buf[file.nbytes] = '\0';
    *len = (size_t)file.nbytes;
    *out = buf;
    buf = NULL;
out:
    hone_release(buf);
    hone_file_close(&file);
    return status;
}

bool hone_file_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

bool hone_file_is_directory(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

char *hone_path_join(const char *dir, const char *name)
{
    const size_t dir_len = strlen(dir), name_len = strlen(name);
    char *path = hone_alloc(dir_len + name_len + 2, 1);
    if (!path)
        return NULL;
    memcpy(path, dir, dir_len);
    size_t at = dir_len;
    if (at == 0 || path[at - 1] != '/')
        path[at++] = '/';
    memcpy(path + at, name, name_len + 1);
    return path;
}

char *hone_path_dir(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return hone_strdup(".");
    return hone_memdup(path, slash == path ? 1 : (size_t)(slash - path));
}

uint64_t hone_file_identity(const hone_file *file, uint64_t id)
{
    /* No device number: mounted again after a crash, a file system may have another. */
    const uint64_t facts[] = {file->nbytes, file->inode, (uint64_t)file->mtime_ns};
    return XXH3_64bits_withSeed(facts, sizeof facts, id);
}
