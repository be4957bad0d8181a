/* SPDX-License-Identifier: MIT */
#include "base/arena.h"

#include <stdalign.h>
#include <string.h>

#include "base/arith.h"
#include "base/mem.h"

struct arena_block {
    struct arena_block *older;
    size_t used, cap;
    alignas(64) unsigned char bytes[];
};

enum { BLOCK_NBYTES = 64 * 1024 - 128, GRAIN = 16 };

void *hone_arena_alloc(hone_arena *arena, size_t nelems, size_t size)
{
    size_t nbytes;
    if (!hone_mul_size(nelems, size, &nbytes) || nbytes > SIZE_MAX / 2)
        return NULL;
    nbytes = (nbytes + GRAIN - 1) / GRAIN * GRAIN;
    struct arena_block *block = arena->newest;
    if (!block || block->cap - block->used < nbytes) {
        const size_t cap = nbytes > BLOCK_NBYTES ? nbytes : BLOCK_NBYTES;
        block = hone_alloc(1, sizeof *block + cap);
        if (!block)
            return NULL;
        block->older = arena->newest;
        block->used = 0;
        block->cap = cap;
        arena->newest = block;
    }
    void *p = block->bytes + block->used;
    block->used += nbytes;
    return p;
}

char *hone_arena_copy(hone_arena *arena, const void *src, size_t len)
{
    char *p = hone_arena_alloc(arena, len + 1, 1);
    if (!p)
        return NULL;
    if (len)
        memcpy(p, src, len);
    p[len] = '\0';
    return p;
}

void hone_arena_deinit(hone_arena *arena)
{
    struct arena_block *block = arena->newest;
    while (block) {
        struct arena_block *older = block->older;
        hone_release(block);
        block = older;
    }
    arena->newest = NULL;
}
