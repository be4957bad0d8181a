/* SPDX-License-Identifier: MIT */
/* A memory of words already split into ids, for one call of hone_tokenizer_encode(). */
#ifndef HONE_WORD_CACHE_H
#define HONE_WORD_CACHE_H

#include "verify/text_buffer.h"

/* Longer words are rarely seen twice. */
enum { HONE_CACHED_WORD_NBYTES = 64 };

typedef struct hone_word_cache {
    struct cached_word *slots;
    size_t n_slots, n_words; /* n_slots: a power of two */
    hone_text keys;
    hone_ids ids;
} hone_word_cache;

/* hone_word_cache_init() sizes the cache for a text. False when out of memory. */
bool hone_word_cache_init(hone_word_cache *cache, size_t text_nbytes);

/* hone_word_cache_find() returns the ids of a word and sets *n, or NULL. Valid until the next put. */
const int32_t *hone_word_cache_find(const hone_word_cache *cache, const char *word, size_t len, size_t *n);

/* hone_word_cache_put() remembers a word that is not there; it forgets all others when the cache is full. */
bool hone_word_cache_put(hone_word_cache *cache, const char *word, size_t len, const int32_t *ids, size_t n);

void hone_word_cache_deinit(hone_word_cache *cache);

#endif
