/* SPDX-License-Identifier: MIT */
/* An arena: many small allocations with one lifetime, released together. */
#ifndef HONE_ARENA_H
#define HONE_ARENA_H

#include <stddef.h>

typedef struct hone_arena {
    struct arena_block *newest;
} hone_arena;

/* All-zero is an empty arena. */
void *hone_arena_alloc(hone_arena *arena, size_t nelems, size_t size);

/* hone_arena_copy() copies len bytes and appends a NUL. NULL when out of memory. */
char *hone_arena_copy(hone_arena *arena, const void *src, size_t len);

/* hone_arena_deinit() releases everything and leaves the arena empty. */
void hone_arena_deinit(hone_arena *arena);

#endif
