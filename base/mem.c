/* SPDX-License-Identifier: MIT */
#include "base/mem.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arith.h"

/* One cache line, and the widest vector of any kernel. */
enum { ALIGNMENT = 64 };

static atomic_long fail_countdown = -1;

void hone_mem_fail_after(long n)
{
    atomic_store(&fail_countdown, n);
}

static int should_fail(void)
{
    if (atomic_load_explicit(&fail_countdown, memory_order_relaxed) < 0)
        return 0;
    return atomic_fetch_sub(&fail_countdown, 1) == 0;
}

void *hone_alloc(size_t nelems, size_t size)
{
    size_t nbytes;
    if (!hone_mul_size(nelems, size, &nbytes) || nbytes > SIZE_MAX - ALIGNMENT || should_fail())
        return NULL;
    const size_t padded = (nbytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return aligned_alloc(ALIGNMENT, padded ? padded : ALIGNMENT);
}

void *hone_calloc(size_t nelems, size_t size)
{
    void *p = hone_alloc(nelems, size);
    if (p)
        memset(p, 0, nelems * size);
    return p;
}

void *hone_grow(void *array, size_t *cap, size_t need, size_t size)
{
    if (need <= *cap && array)
        return array;
    size_t new_cap = *cap < 8 ? 8 : *cap;
    while (new_cap < need) {
        if (new_cap > SIZE_MAX / 2)
            return NULL;
        new_cap *= 2;
    }
    void *p = hone_alloc(new_cap, size);
    if (!p)
        return NULL;
    if (array)
        memcpy(p, array, *cap * size);
    hone_release(array);
    *cap = new_cap;
    return p;
}

void hone_release(void *p)
{
    free(p);
}

char *hone_memdup(const void *src, size_t len)
{
    char *p = hone_alloc(len + 1, 1);
    if (!p)
        return NULL;
    if (len)
        memcpy(p, src, len);
    p[len] = '\0';
    return p;
}

char *hone_strdup(const char *s)
{
    return hone_memdup(s, strlen(s));
}

/* The number behind prefix in a small text file of the kernel's, or UINT64_MAX. */
static uint64_t read_number(const char *path, const char *prefix)
{
    char text[4096];
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return UINT64_MAX;
    const ssize_t n = read(fd, text, sizeof text - 1);
    (void)close(fd);
    text[n > 0 ? n : 0] = '\0';
    const char *at = strstr(text, prefix);
    if (!at)
        return UINT64_MAX;
    char *end;
    at += strlen(prefix);
    const unsigned long long value = strtoull(at, &end, 10);
    return end == at ? UINT64_MAX : value; /* "max" is no number */
}

uint64_t hone_memory_available(void)
{
    const uint64_t kib = read_number("/proc/meminfo", "MemAvailable:");
    const uint64_t available = kib > UINT64_MAX / 1024 ? UINT64_MAX : kib * 1024;
    const uint64_t limit = read_number("/sys/fs/cgroup/memory.max", "");
    return limit < available ? limit : available;
}
