/* SPDX-License-Identifier: MIT */
/*
 * Heap memory. All of the library's allocations go through here, so a test can make the n-th fail.
 */
#ifndef HONE_MEM_H
#define HONE_MEM_H

#include <stddef.h>
#include <stdint.h>

/* hone_alloc() returns nelems * size uninitialised bytes, 64-byte aligned; NULL when out of memory or on overflow.
 * A zero-byte request returns a unique pointer. Release with hone_release(). */
void *hone_alloc(size_t nelems, size_t size);

/* hone_calloc() is hone_alloc() with all bytes zero. */
void *hone_calloc(size_t nelems, size_t size);

/* hone_grow() resizes an array to hold at least need elements, doubling its capacity: *cap is the capacity in
 * elements. Returns the new array, or NULL with the old one untouched. For arrays made by it alone. */
void *hone_grow(void *array, size_t *cap, size_t need, size_t size);

/* hone_release() frees memory from any of the above; NULL is a no-op. */
void hone_release(void *p);

/* hone_strdup() copies a string. */
char *hone_strdup(const char *s);

/* hone_memdup() copies len bytes and appends a NUL. */
char *hone_memdup(const void *src, size_t len);

/* hone_memory_available() returns the bytes that can be had without swapping, as far as the system tells: the least of
 * MemAvailable and the control group's limit; UINT64_MAX if it tells nothing. */
uint64_t hone_memory_available(void);

/* Tests only: let the n-th allocation from now fail (0: the next); negative: never. */
void hone_mem_fail_after(long n);

#endif
