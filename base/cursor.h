/* SPDX-License-Identifier: MIT */
/*
 * A bounded reader of little-endian bytes with a sticky error.
 *
 * Reads past the end return zero and set `bad`; a parser reads a record straight through and tests
 * `bad` once, but always before a length it has read sizes a loop, an index or an allocation.
 */
#ifndef HONE_CURSOR_H
#define HONE_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct hone_cursor {
    const uint8_t *start, *p, *end;
    bool bad;
} hone_cursor;

static inline hone_cursor hone_cursor_init(const void *data, size_t nbytes)
{
    const uint8_t *p = data;
    return (hone_cursor){.start = p, .p = p, .end = p + nbytes, .bad = false};
}

static inline size_t hone_cursor_left(const hone_cursor *c)
{
    return (size_t)(c->end - c->p);
}

static inline uint64_t hone_cursor_offset(const hone_cursor *c)
{
    return (uint64_t)(c->p - c->start);
}

/* The next nbytes, or NULL (and bad) when fewer are left. */
static inline const uint8_t *hone_cursor_take(hone_cursor *c, uint64_t nbytes)
{
    if (c->bad || nbytes > hone_cursor_left(c)) {
        c->bad = true;
        return NULL;
    }
    const uint8_t *p = c->p;
    c->p += nbytes;
    return p;
}

/* memcpy'd loads; every machine we build for is little-endian (asserted in base/context.c). */
static inline uint16_t hone_load_u16(const void *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint32_t hone_load_u32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint64_t hone_load_u64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline float hone_load_f32(const void *p)
{
    float v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline double hone_load_f64(const void *p)
{
    double v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void hone_store_u16(void *p, uint16_t v)
{
    memcpy(p, &v, sizeof v);
}

static inline void hone_store_u32(void *p, uint32_t v)
{
    memcpy(p, &v, sizeof v);
}

static inline void hone_store_u64(void *p, uint64_t v)
{
    memcpy(p, &v, sizeof v);
}

static inline void hone_store_f32(void *p, float v)
{
    memcpy(p, &v, sizeof v);
}

static inline uint8_t hone_cursor_u8(hone_cursor *c)
{
    const uint8_t *p = hone_cursor_take(c, 1);
    return p ? *p : 0;
}

static inline uint16_t hone_cursor_u16(hone_cursor *c)
{
    const uint8_t *p = hone_cursor_take(c, 2);
    return p ? hone_load_u16(p) : 0;
}

static inline uint32_t hone_cursor_u32(hone_cursor *c)
{
    const uint8_t *p = hone_cursor_take(c, 4);
    return p ? hone_load_u32(p) : 0;
}

static inline uint64_t hone_cursor_u64(hone_cursor *c)
{
    const uint8_t *p = hone_cursor_take(c, 8);
    return p ? hone_load_u64(p) : 0;
}

#endif
