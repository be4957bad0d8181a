/* SPDX-License-Identifier: MIT */
#include "verify/vocab_map.h"

#include <inttypes.h>
#include <string.h>
#include <xxhash.h>

#include "base/fail.h"
#include "base/mem.h"

#define FREE_SLOT UINT32_MAX

/* The slot that holds key, or the free one where it belongs. */
static size_t find_slot(const hone_vocab_map *map, const char *key, size_t len)
{
    size_t i = (size_t)XXH3_64bits(key, len) & map->mask;
    for (;; i = (i + 1) & map->mask) {
        const uint32_t id = map->slots[i];
        if (id == FREE_SLOT || (map->keys[id].len == len && memcmp(map->keys[id].data, key, len) == 0))
            return i;
    }
}

hone_status hone_vocab_map_init(hone_vocab_map *map, hone_arena *arena, const hone_string *keys, size_t n,
                                hone_error *err)
{
    /* At most half full. */
    size_t n_slots = 16;
    while (n_slots / 2 < n)
        n_slots *= 2;
    *map = (hone_vocab_map){.keys = keys, .mask = n_slots - 1};
    map->slots = hone_arena_alloc(arena, n_slots, sizeof *map->slots);
    if (!map->slots)
        return hone_fail_nomem(err, n_slots * sizeof *map->slots);
    memset(map->slots, 0xff, n_slots * sizeof *map->slots);
    for (size_t id = 0; id < n; id++) {
        if (keys[id].len == 0)
            continue;
        const size_t slot = find_slot(map, keys[id].data, keys[id].len);
        if (map->slots[slot] != FREE_SLOT)
            return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, NULL,
                             "tokens %" PRIu32 " and %zu have the same text", map->slots[slot], id);
        map->slots[slot] = (uint32_t)id;
    }
    return HONE_OK;
}

int32_t hone_vocab_map_find(const hone_vocab_map *map, const char *key, size_t len)
{
    if (!map->slots || len == 0)
        return -1;
    const uint32_t id = map->slots[find_slot(map, key, len)];
    return id == FREE_SLOT ? -1 : (int32_t)id;
}

/* Fibonacci hashing; the high bits are the well-mixed ones. */
static size_t pair_slot(const hone_pair_table *table, uint64_t key)
{
    const uint64_t hash = key * UINT64_C(0x9e3779b97f4a7c15);
    size_t i = (size_t)(hash ^ hash >> 32) & (table->cap - 1);
    while (table->slots[i].id >= 0 && table->slots[i].key != key)
        i = (i + 1) & (table->cap - 1);
    return i;
}

static bool grow_pairs(hone_pair_table *table)
{
    hone_pair_table bigger = {.n = table->n, .cap = table->cap ? table->cap * 2 : 256};
    bigger.slots = hone_alloc(bigger.cap, sizeof *bigger.slots);
    if (!bigger.slots)
        return false;
    for (size_t i = 0; i < bigger.cap; i++)
        bigger.slots[i].id = -1;
    for (size_t i = 0; i < table->cap; i++)
        if (table->slots[i].id >= 0)
            bigger.slots[pair_slot(&bigger, table->slots[i].key)] = table->slots[i];
    hone_pair_table_deinit(table);
    *table = bigger;
    return true;
}

bool hone_pair_table_put(hone_pair_table *table, uint32_t a, uint32_t b, uint32_t rank, int32_t id)
{
    if (table->n + 1 > table->cap / 2 && !grow_pairs(table))
        return false;
    const uint64_t key = (uint64_t)a << 32 | b;
    hone_pair *slot = &table->slots[pair_slot(table, key)];
    table->n += slot->id < 0;
    *slot = (hone_pair){.key = key, .rank = rank, .id = id};
    return true;
}

const hone_pair *hone_pair_table_find(const hone_pair_table *table, uint32_t a, uint32_t b)
{
    if (table->n == 0)
        return NULL;
    const hone_pair *slot = &table->slots[pair_slot(table, (uint64_t)a << 32 | b)];
    return slot->id < 0 ? NULL : slot;
}

void hone_pair_table_deinit(hone_pair_table *table)
{
    hone_release(table->slots);
    *table = (hone_pair_table){0};
}
