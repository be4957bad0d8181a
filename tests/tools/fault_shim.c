/* SPDX-License-Identifier: MIT */
/*
 * A library for LD_PRELOAD that makes one call of the program under test go wrong.
 *
 *   FAULT_CALL   open, fstat, pread, pwrite, fsync, ftruncate, fallocate, flock, rename, or malloc (all allocators)
 *   FAULT_N      which of them, counted from 1 over all threads
 *   FAULT_ERRNO  the error it reports (malloc: ENOMEM), without having done anything; or
 *   FAULT_KILL   "before" or "after": the process gets SIGKILL there
 *   FAULT_SHORT  1: pread and pwrite transfer half of what was asked instead
 *   FAULT_LOG    a file that is created when it happens
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static struct {
    const char *call, *log;
    long n;
    int error, kill_before, kill_after, shorten;
} fault;
static atomic_long count;
static atomic_int ready;

__attribute__((constructor)) static void read_environment(void)
{
    const char *n = getenv("FAULT_N"), *error = getenv("FAULT_ERRNO"), *kill = getenv("FAULT_KILL");
    fault.call = getenv("FAULT_CALL");
    fault.log = getenv("FAULT_LOG");
    fault.n = n ? atol(n) : 0;
    fault.error = error ? atoi(error) : EIO;
    fault.kill_before = kill && strcmp(kill, "before") == 0;
    fault.kill_after = kill && strcmp(kill, "after") == 0;
    fault.shorten = getenv("FAULT_SHORT") != NULL;
    atomic_store(&ready, fault.call != NULL);
}

/* Whether this call is the one. */
static int hit(const char *call)
{
    if (!atomic_load(&ready) || strcmp(call, fault.call) != 0 || atomic_fetch_add(&count, 1) + 1 != fault.n)
        return 0;
    if (fault.log) {
        const long fd = syscall(SYS_openat, AT_FDCWD, fault.log, O_WRONLY | O_CREAT, 0666);
        if (fd >= 0)
            (void)syscall(SYS_close, fd);
    }
    if (fault.kill_before)
        (void)raise(SIGKILL);
    return 1;
}

/* After the call went through: for FAULT_KILL=after. */
static void done(int was_hit)
{
    if (was_hit && fault.kill_after)
        (void)raise(SIGKILL);
}

static int fails(int was_hit)
{
    if (!was_hit || fault.kill_after || fault.shorten)
        return 0;
    errno = fault.error;
    return 1;
}

#define NEXT(name) ((__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name))

int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    const mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    const int h = hit("open");
    if (fails(h))
        return -1;
    const int fd = NEXT(open)(path, flags, mode);
    done(h);
    return fd;
}

int open64(const char *path, int flags, ...) __attribute__((alias("open")));

int fstat(int fd, struct stat *st)
{
    const int h = hit("fstat");
    if (fails(h))
        return -1;
    const int result = NEXT(fstat)(fd, st);
    done(h);
    return result;
}

int fstat64(int fd, struct stat64 *st)
{
    const int h = hit("fstat");
    if (fails(h))
        return -1;
    const int result = NEXT(fstat64)(fd, st);
    done(h);
    return result;
}

ssize_t pread64(int fd, void *dst, size_t n, off64_t at)
{
    const int h = hit("pread");
    if (fails(h))
        return -1;
    const ssize_t result = NEXT(pread64)(fd, dst, h && fault.shorten && n > 1 ? n / 2 : n, at);
    done(h);
    return result;
}

ssize_t pread(int fd, void *dst, size_t n, off_t at)
{
    return pread64(fd, dst, n, at);
}

ssize_t pwrite64(int fd, const void *src, size_t n, off64_t at)
{
    const int h = hit("pwrite");
    if (fails(h))
        return -1;
    const ssize_t result = NEXT(pwrite64)(fd, src, h && fault.shorten && n > 1 ? n / 2 : n, at);
    done(h);
    return result;
}

ssize_t pwrite(int fd, const void *src, size_t n, off_t at)
{
    return pwrite64(fd, src, n, at);
}

int fsync(int fd)
{
    const int h = hit("fsync");
    if (fails(h))
        return -1;
    const int result = NEXT(fsync)(fd);
    done(h);
    return result;
}

int ftruncate64(int fd, off64_t n)
{
    const int h = hit("ftruncate");
    if (fails(h))
        return -1;
    const int result = NEXT(ftruncate64)(fd, n);
    done(h);
    return result;
}

int ftruncate(int fd, off_t n)
{
    return ftruncate64(fd, n);
}

int fallocate64(int fd, int mode, off64_t at, off64_t n)
{
    const int h = hit("fallocate");
    if (fails(h))
        return -1;
    const int result = NEXT(fallocate64)(fd, mode, at, n);
    done(h);
    return result;
}

int fallocate(int fd, int mode, off_t at, off_t n)
{
    return fallocate64(fd, mode, at, n);
}

int flock(int fd, int how)
{
    const int h = hit("flock");
    if (fails(h))
        return -1;
    const int result = NEXT(flock)(fd, how);
    done(h);
    return result;
}

int rename(const char *from, const char *to)
{
    const int h = hit("rename");
    if (fails(h))
        return -1;
    const int result = NEXT(rename)(from, to);
    done(h);
    return result;
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    const int h = hit("rename");
    if (fails(h))
        return -1;
    const int result = NEXT(renameat2)(from_dir, from, to_dir, to, flags);
    done(h);
    return result;
}

/* ---- memory ---- */

/* dlsym() allocates: what it asks for before the real functions are known comes from here and is never freed. */
static _Alignas(16) char early[1 << 16];
static size_t early_used;

static int is_early(const void *p)
{
    return (const char *)p >= early && (const char *)p < early + sizeof early;
}

static void *early_alloc(size_t n)
{
    void *p = early + early_used;
    early_used += (n + 15) / 16 * 16;
    return early_used <= sizeof early ? p : NULL;
}

static struct {
    void *(*malloc)(size_t);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void *(*aligned_alloc)(size_t, size_t);
    int (*posix_memalign)(void **, size_t, size_t);
    void (*free)(void *);
} real;

static void find_allocators(void)
{
    static atomic_int begun;
    if (atomic_exchange(&begun, 1))
        return;
    real.calloc = NEXT(calloc);
    real.realloc = NEXT(realloc);
    real.aligned_alloc = NEXT(aligned_alloc);
    real.posix_memalign = NEXT(posix_memalign);
    real.free = NEXT(free);
    real.malloc = NEXT(malloc);
}

static int no_memory(void)
{
    if (!hit("malloc"))
        return 0;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t n)
{
    if (!real.malloc)
        find_allocators();
    if (!real.malloc)
        return early_alloc(n);
    return no_memory() ? NULL : real.malloc(n);
}

void *calloc(size_t n, size_t size)
{
    if (!real.malloc)
        find_allocators();
    if (!real.malloc)
        return early_alloc(n * size); /* static memory is zero */
    return no_memory() ? NULL : real.calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    if (is_early(p)) {
        void *q = malloc(n);
        if (q) {
            const size_t have = (size_t)(early + sizeof early - (char *)p);
            memcpy(q, p, n < have ? n : have);
        }
        return q;
    }
    if (!real.malloc)
        find_allocators();
    return no_memory() ? NULL : real.realloc(p, n);
}

void *aligned_alloc(size_t alignment, size_t n)
{
    if (!real.malloc)
        find_allocators();
    return no_memory() ? NULL : real.aligned_alloc(alignment, n);
}

int posix_memalign(void **out, size_t alignment, size_t n)
{
    if (!real.malloc)
        find_allocators();
    return no_memory() ? ENOMEM : real.posix_memalign(out, alignment, n);
}

void free(void *p)
{
    if (p && !is_early(p))
        real.free(p);
}
