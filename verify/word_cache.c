/* SPDX-License-Identifier: MIT */
#include "verify/word_cache.h"

#include <string.h>
#include <xxhash.h>

#include "base/mem.h"

enum { MIN_SLOTS = 64, MAX_SLOTS = 1 << 17 };

struct cached_word {
    uint64_t hash;
    size_t key_at, ids_at;
    uint32_t key_len; /* 0: free */
    uint32_t n_ids;
};

bool hone_word_cache_init(hone_word_cache *cache, size_t text_nbytes)
{
    *cache = (hone_word_cache){.n_slots = MIN_SLOTS};
    while (cache->n_slots < MAX_SLOTS && cache->n_slots < text_nbytes / 4)
        cache->n_slots *= 2;
    cache->slots = hone_calloc(cache->n_slots, sizeof *cache->slots);
    return cache->slots != NULL;
}

static struct cached_word *find_slot(const hone_word_cache *cache, const char *word, size_t len, uint64_t hash)
{
    for (size_t i = (size_t)hash;; i++) {
        struct cached_word *slot = &cache->slots[i & (cache->n_slots - 1)];
        if (slot->key_len == 0 ||
            (slot->hash == hash && slot->key_len == len && memcmp(cache->keys.data + slot->key_at, word, len) == 0))
            return slot;
    }
}

const int32_t *hone_word_cache_find(const hone_word_cache *cache, const char *word, size_t len, size_t *n)
{
    const struct cached_word *slot = find_slot(cache, word, len, XXH3_64bits(word, len));
    if (slot->key_len == 0)
        return NULL;
    *n = slot->n_ids;
    return cache->ids.v + slot->ids_at;
}

bool hone_word_cache_put(hone_word_cache *cache, const char *word, size_t len, const int32_t *ids, size_t n)
{
    if (cache->n_words >= cache->n_slots / 2) {
        memset(cache->slots, 0, cache->n_slots * sizeof *cache->slots);
        cache->n_words = cache->keys.len = cache->ids.n = 0;
    }
    const uint64_t hash = XXH3_64bits(word, len);
    const size_t key_at = cache->keys.len, ids_at = cache->ids.n;
    /* One more than needed, so that a word without ids has a place too. */
    int32_t *v = hone_grow(cache->ids.v, &cache->ids.cap, ids_at + n + 1, sizeof *v);
    if (!v)
        return false;
    cache->ids.v = v;
    if (!hone_text_append(&cache->keys, word, len))
        return false;
    if (n)
        memcpy(v + ids_at, ids, n * sizeof *v);
    cache->ids.n += n;
    *find_slot(cache, word, len, hash) = (struct cached_word){
        .hash = hash, .key_at = key_at, .ids_at = ids_at, .key_len = (uint32_t)len, .n_ids = (uint32_t)n};
    cache->n_words++;
    return true;
}

void hone_word_cache_deinit(hone_word_cache *cache)
{
    hone_release(cache->slots);
    hone_release(cache->keys.data);
    hone_release(cache->ids.v);
    *cache = (hone_word_cache){0};
}
