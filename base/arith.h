/* SPDX-License-Identifier: MIT */
/* Checked arithmetic on sizes. Each returns false, leaving *out unset, when the result does not fit. */
#ifndef HONE_ARITH_H
#define HONE_ARITH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool hone_mul_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool hone_mul_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool hone_add_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

/* Round up to a multiple of a power of two. The caller knows that it fits. */
static inline uint64_t hone_align_up(uint64_t n, uint64_t alignment)
{
    return (n + alignment - 1) & ~(alignment - 1);
}

#endif
