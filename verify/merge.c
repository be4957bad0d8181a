/* SPDX-License-Identifier: MIT */
#include "verify/merge.h"

#include "base/mem.h"

void hone_merger_clear(hone_merger *m)
{
    m->n = 0;
    m->n_heap = 0;
}

bool hone_merger_push(hone_merger *m, size_t start, size_t len, int32_t id)
{
    hone_symbol *p = m->n < INT32_MAX ? hone_grow(m->symbols, &m->cap, m->n + 1, sizeof *p) : NULL;
    if (!p)
        return false;
    m->symbols = p;
    const int32_t i = (int32_t)m->n++;
    p[i] = (hone_symbol){.start = (uint32_t)start,
                         .len = (uint32_t)len,
                         .prev = i - 1,
                         .next = -1,
                         .id = id,
                         .rank = HONE_NO_RANK,
                         .joined = -1};
    if (i > 0)
        p[i - 1].next = i;
    return true;
}

static void sift_down(uint64_t *heap, size_t n, size_t i)
{
    const uint64_t entry = heap[i];
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && heap[child + 1] < heap[child])
            child++;
        if (entry <= heap[child])
            break;
        heap[i] = heap[child];
    }
    heap[i] = entry;
}

static void heap_push(hone_merger *m, uint64_t entry)
{
    size_t i = m->n_heap++;
    for (; i > 0 && entry < m->heap[(i - 1) / 2]; i = (i - 1) / 2)
        m->heap[i] = m->heap[(i - 1) / 2];
    m->heap[i] = entry;
}

static uint64_t heap_pop(hone_merger *m)
{
    const uint64_t least = m->heap[0];
    m->heap[0] = m->heap[--m->n_heap];
    if (m->n_heap > 1)
        sift_down(m->heap, m->n_heap, 0);
    return least;
}

/* Ask anew what symbol i joins to; true when it does. */
static bool update(hone_merger *m, int32_t i, hone_join_fn join, void *user)
{
    hone_symbol *s = &m->symbols[i];
    s->rank = HONE_NO_RANK;
    if (s->next < 0)
        return false;
    uint32_t rank;
    int32_t id;
    if (!join(user, s, &m->symbols[s->next], &rank, &id) || rank == HONE_NO_RANK)
        return false;
    s->rank = rank;
    s->joined = id;
    return true;
}

static void update_and_push(hone_merger *m, int32_t i, hone_join_fn join, void *user)
{
    if (update(m, i, join, user))
        heap_push(m, (uint64_t)m->symbols[i].rank << 32 | (uint32_t)i);
}

bool hone_merger_run(hone_merger *m, hone_join_fn join, void *user)
{
    if (m->n < 2)
        return true;
    /* Starts with at most n - 1 entries; each of at most n - 1 joins takes one and adds at most two. */
    uint64_t *heap = hone_grow(m->heap, &m->cap_heap, 2 * m->n, sizeof *heap);
    if (!heap)
        return false;
    m->heap = heap;
    for (size_t i = 0; i + 1 < m->n; i++)
        if (update(m, (int32_t)i, join, user))
            m->heap[m->n_heap++] = (uint64_t)m->symbols[i].rank << 32 | i;
    for (size_t i = m->n_heap / 2; i-- > 0;)
        sift_down(m->heap, m->n_heap, i);
    while (m->n_heap > 0) {
        const uint64_t entry = heap_pop(m);
        const int32_t i = (int32_t)(uint32_t)entry;
        hone_symbol *s = &m->symbols[i];
        /* A symbol's rank changes whenever it or its neighbour grows, so an entry of another rank is outdated. */
        if (s->rank != entry >> 32)
            continue;
        hone_symbol *gone = &m->symbols[s->next];
        s->len += gone->len;
        s->id = s->joined;
        s->next = gone->next;
        if (s->next >= 0)
            m->symbols[s->next].prev = i;
        gone->rank = HONE_NO_RANK;
        update_and_push(m, i, join, user);
        if (s->prev >= 0)
            update_and_push(m, s->prev, join, user);
    }
    return true;
}

void hone_merger_deinit(hone_merger *m)
{
    hone_release(m->symbols);
    hone_release(m->heap);
    *m = (hone_merger){0};
}
