/* SPDX-License-Identifier: MIT */
/*
 * Joining neighbouring symbols, best rank first, leftmost first among equals, until nothing joins: O(n log n).
 *
 * The model says what two neighbours join to; the engine keeps the order.
 */
#ifndef HONE_MERGE_H
#define HONE_MERGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HONE_NO_RANK UINT32_MAX

/* A stretch of the word. After hone_merger_run() the symbols are those reached from 0 through next. */
typedef struct hone_symbol {
    uint32_t start, len; /* bytes of the word */
    int32_t prev, next;  /* -1: none */
    int32_t id;          /* its token, or -1 */
    uint32_t rank;       /* of joining it with next; HONE_NO_RANK: it does not join, or is gone */
    int32_t joined;      /* the token that gives, or -1 */
} hone_symbol;

/* All-zero is empty; reused from word to word. */
typedef struct hone_merger {
    hone_symbol *symbols;
    size_t n, cap;
    uint64_t *heap; /* rank << 32 | symbol, least first */
    size_t n_heap, cap_heap;
} hone_merger;

/* hone_join_fn sets *rank and *id and returns true when left and right, neighbours in this order, join. */
typedef bool (*hone_join_fn)(void *user, const hone_symbol *left, const hone_symbol *right, uint32_t *rank,
                             int32_t *id);

/* hone_merger_clear() forgets the last word; hone_merger_push() adds a symbol at its end (false: out of memory). */
void hone_merger_clear(hone_merger *m);
bool hone_merger_push(hone_merger *m, size_t start, size_t len, int32_t id);

/* hone_merger_run() joins. False when out of memory. */
bool hone_merger_run(hone_merger *m, hone_join_fn join, void *user);

void hone_merger_deinit(hone_merger *m);

#endif
