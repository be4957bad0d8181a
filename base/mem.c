/* SPDX-License-Identifier: MIT */
#include "base/mem.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

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
