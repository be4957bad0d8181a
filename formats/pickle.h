/* SPDX-License-Identifier: MIT */
/*
 * An unpickler of data only.
 *
 * A pickle is a program for a small stack machine that builds Python objects. This one builds plain values; what a
 * global, a call or a persistent id stands for is asked of a dialect, which knows a short list of names and makes
 * values of them itself. Nothing is imported and nothing is run. Protocols 0 to 5, but for the text opcodes of protocol
 * 0. Source: Lib/pickletools.py of CPython.
 */
#ifndef HONE_PICKLE_H
#define HONE_PICKLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "hone/status.h"

/* A pickle longer than this is refused by its readers; the values it makes take at most four times as much memory. */
enum { HONE_MAX_PICKLE_NBYTES = 64 << 20, HONE_MAX_PICKLE_MEMORY = 256 << 20 };

typedef enum hone_pickle_type {
    HONE_PICKLE_NONE,
    HONE_PICKLE_BOOL,   /* u.i: 0 or 1 */
    HONE_PICKLE_INT,    /* u.i */
    HONE_PICKLE_BIG,    /* u.text: an integer beyond 64 bits, two's complement, little-endian */
    HONE_PICKLE_FLOAT,  /* u.f */
    HONE_PICKLE_STRING, /* u.text */
    HONE_PICKLE_BYTES,  /* u.text */
    HONE_PICKLE_TUPLE,  /* u.items */
    HONE_PICKLE_LIST,   /* u.items; may hold itself */
    HONE_PICKLE_DICT,   /* u.items: key, value, key, value, ... */
    HONE_PICKLE_SET,    /* u.items */
    HONE_PICKLE_GLOBAL, /* u.object: the dialect's */
    HONE_PICKLE_OBJECT, /* u.object: the dialect's, told apart by tag */
    HONE_PICKLE_OPAQUE  /* something harmless that carries no tensor */
} hone_pickle_type;

typedef struct hone_pickle_value {
    uint8_t type; /* hone_pickle_type */
    uint8_t tag;  /* of an OBJECT: the dialect's */
    uint32_t at;  /* position in the pickle of the opcode that made it */
    union {
        int64_t i;
        double f;
        struct {
            const char *data; /* in the pickle's bytes; not NUL-terminated */
            uint32_t len;
        } text;
        struct hone_pickle_items {
            struct hone_pickle_value **at;
            uint32_t n, cap;
        } items;
        const void *object;
    } u;
} hone_pickle_value;

/* The result. Values live in the arena; strings among them lie in the bytes that were unpickled. */
typedef struct hone_pickle {
    hone_arena arena;
    size_t used; /* bytes of the arena */
    const hone_pickle_value *root;
    size_t nbytes;   /* length of the pickle, its STOP included */
    uint32_t at;     /* of the opcode being executed: where the dialect's errors are */
    bool over_limit; /* an allocation was refused for the sake of HONE_MAX_PICKLE_MEMORY */
    bool ran_out;    /* the failure is that the bytes end before the pickle does */
    void *dialect;   /* for the dialect's own use */
    hone_error *err; /* where the dialect reports */
} hone_pickle;

/* The dialect's functions fill *out (type, tag and u; the rest is set already) or fail through hone_pickle_fail(). */
typedef struct hone_pickle_dialect {
    hone_status (*find_global)(hone_pickle *p, const char *module, const char *name, hone_pickle_value *out);
    /* args is a TUPLE. */
    hone_status (*call)(hone_pickle *p, const hone_pickle_value *global, const hone_pickle_value *args,
                        hone_pickle_value *out);
    hone_status (*load_persistent)(hone_pickle *p, const hone_pickle_value *id, hone_pickle_value *out);
} hone_pickle_dialect;

/*
 * hone_unpickle() executes the pickle at the start of bytes.
 *
 * On HONE_OK release *out with hone_pickle_deinit(), and bytes not before it. On failure *out holds nothing but
 * ran_out, and err->offset counts from the pickle's start. DATA: truncated or contradictory. UNSUPPORTED: an opcode or
 * a global that is not on the list; err->item names it. LIMIT: more opcodes, memory or memo entries than a checkpoint
 * needs. NOMEM.
 */
hone_status hone_unpickle(const void *bytes, size_t nbytes, const hone_pickle_dialect *dialect, hone_pickle *out,
                          hone_error *err);

/* hone_pickle_deinit() releases the values; an empty one is a no-op. */
void hone_pickle_deinit(hone_pickle *p);

/* hone_pickle_alloc() allocates from the pickle's arena, within its memory limit. NULL: hone_pickle_fail_memory() says
 * why. */
void *hone_pickle_alloc(hone_pickle *p, size_t nelems, size_t size);
hone_status hone_pickle_fail_memory(hone_pickle *p);

/* hone_pickle_fail() reports a failure of the opcode being executed. item may be NULL. */
hone_status hone_pickle_fail(hone_pickle *p, hone_status status, const char *item, const char *reason);

/* hone_pickle_text_is() compares a STRING (or BYTES) with a C string. */
bool hone_pickle_text_is(const hone_pickle_value *value, const char *text);

#endif
