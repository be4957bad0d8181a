/* SPDX-License-Identifier: MIT */
/* Hash tables of tokenizers: bytes -> id, and pair of numbers -> rank and id. */
#ifndef HONE_VOCAB_MAP_H
#define HONE_VOCAB_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "hone/checkpoint.h"

/* All-zero is an empty map. keys is borrowed: id -> bytes. */
typedef struct hone_vocab_map {
    const hone_string *keys;
    uint32_t *slots;
    size_t mask;
} hone_vocab_map;

/* hone_vocab_map_init() indexes n keys; empty ones are left out. The arena owns the slots. DATA: a key twice. */
hone_status hone_vocab_map_init(hone_vocab_map *map, hone_arena *arena, const hone_string *keys, size_t n,
                                hone_error *err);

/* hone_vocab_map_find() returns the id of a key, or -1. */
int32_t hone_vocab_map_find(const hone_vocab_map *map, const char *key, size_t len);

/* What a pair maps to. */
typedef struct hone_pair {
    uint64_t key;
    uint32_t rank;
    int32_t id;
} hone_pair;

/* All-zero is an empty table; hone_pair_table_deinit() releases it. */
typedef struct hone_pair_table {
    hone_pair *slots; /* id -1: free */
    size_t n, cap;    /* cap: a power of two */
} hone_pair_table;

/* hone_pair_table_put() sets the entry of (a, b), replacing an older one; id >= 0. False when out of memory. */
bool hone_pair_table_put(hone_pair_table *table, uint32_t a, uint32_t b, uint32_t rank, int32_t id);

/* hone_pair_table_find() returns the entry of (a, b), or NULL. */
const hone_pair *hone_pair_table_find(const hone_pair_table *table, uint32_t a, uint32_t b);

void hone_pair_table_deinit(hone_pair_table *table);

#endif
