/* SPDX-License-Identifier: MIT */
#include "quantize/book_index.h"

#include <assert.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>

#include "formats/code_books.h"

enum { N_KEYS3 = 4096, N_KEYS2 = 6561, MAX_DISTANCE = 4 * 7 * 7 };

/* Lists with their counts, as many words as the books make (a build that disagrees fails an assertion), and room for
 * eight to be read from any place. */
enum { ROOM = 7 };
static uint32_t lists_iq3_s[28317 + ROOM], lists_iq3_xxs[22825 + ROOM], lists_iq2_s[50253 + ROOM],
    lists_iq2_xs[187770 + ROOM], lists_iq2_xxs[119462 + ROOM], lists_iq1[332234 + ROOM];
static int32_t near_iq3_s[N_KEYS3], near_iq3_xxs[N_KEYS3], near_iq2_s[N_KEYS2], near_iq2_xs[N_KEYS2],
    near_iq2_xxs[N_KEYS2], near_iq1[N_KEYS2];

#define BOOK(name, dim_, n_levels_, bits_, n_distances_)                                                               \
    {                                                                                                                  \
        .index = {hone_##name##_book, sizeof hone_##name##_book / 2, (dim_), (n_levels_), (bits_), near_##name,        \
                  lists_##name},                                                                                       \
        .near = near_##name, .lists = lists_##name, .n_words = sizeof lists_##name / sizeof(uint32_t) - ROOM,          \
        .n_keys = sizeof near_##name / sizeof(int32_t), .n_distances = (n_distances_), .once = PTHREAD_ONCE_INIT       \
    }

static struct book {
    const hone_book_index index;
    int32_t *near;
    uint32_t *lists;
    size_t n_words, n_keys;
    int n_distances; /* a list reaches as far as the n-th least distance there is */
    pthread_once_t once;
} books[HONE_N_BOOKS] = {
    [HONE_BOOK_IQ3_S] = BOOK(iq3_s, 4, 8, 3, 3),     [HONE_BOOK_IQ3_XXS] = BOOK(iq3_xxs, 4, 8, 3, 2),
    [HONE_BOOK_IQ2_S] = BOOK(iq2_s, 8, 3, 2, 1),     [HONE_BOOK_IQ2_XS] = BOOK(iq2_xs, 8, 3, 2, 2),
    [HONE_BOOK_IQ2_XXS] = BOOK(iq2_xxs, 8, 3, 2, 2), [HONE_BOOK_IQ1] = BOOK(iq1, 8, 3, 2, 3),
};

/* Squared distances of the halves of all entries there could be from the halves of a point. */
struct half_distances {
    uint8_t of[2][256];
};

static void measure_halves(const hone_book_index *b, unsigned key, struct half_distances *out)
{
    const unsigned half = b->dim / 2, mask = (1u << b->bits) - 1;
    for (unsigned h = 0; h < 2; h++) {
        unsigned levels[4];
        for (unsigned i = 0; i < half; i++, key /= b->n_levels)
            levels[i] = key % b->n_levels;
        for (unsigned part = 0; part < 1u << half * b->bits; part++) {
            unsigned sum = 0;
            for (unsigned i = 0; i < half; i++) {
                const int d = (int)(part >> i * b->bits & mask) - (int)levels[i];
                sum += (unsigned)(d * d);
            }
            out->of[h][part] = (uint8_t)sum;
        }
    }
}

/* Fills the list of a point not in the book (counts: entries at each distance). Returns its words. */
static size_t list_near(const struct book *b, const uint8_t *distances, const unsigned counts[MAX_DISTANCE + 1],
                        uint32_t *list)
{
    unsigned at[MAX_DISTANCE + 1], n = 0, furthest = 0;
    for (int left = b->n_distances; left > 0 && furthest <= MAX_DISTANCE; furthest++) {
        at[furthest] = n;
        n += counts[furthest];
        left -= counts[furthest] != 0;
    }
    list[0] = n;
    for (unsigned i = 0; i < b->index.n_entries; i++)
        if (distances[i] < furthest)
            list[1 + at[distances[i]]++] = b->index.entries[i] | (uint32_t)i << 16;
    return n + 1;
}

static void build(struct book *b)
{
    const unsigned half_bits = b->index.dim / 2 * b->index.bits, mask = (1u << half_bits) - 1;
    uint8_t distances[2048];
    size_t n_words = 0;
    for (unsigned key = 0; key < b->n_keys; key++) {
        struct half_distances halves;
        unsigned counts[MAX_DISTANCE + 1] = {0}, entry = b->index.n_entries;
        measure_halves(&b->index, key, &halves);
        for (unsigned i = 0; i < b->index.n_entries; i++) {
            const unsigned e = b->index.entries[i];
            distances[i] = (uint8_t)(halves.of[0][e & mask] + halves.of[1][e >> half_bits]);
            counts[distances[i]]++;
            entry = distances[i] == 0 ? i : entry;
        }
        if (entry < b->index.n_entries) {
            b->near[key] = (int32_t)entry;
        } else {
            b->near[key] = -1 - (int32_t)n_words;
            n_words += list_near(b, distances, counts, b->lists + n_words);
        }
    }
    assert(n_words == b->n_words);
    (void)n_words;
}

static void build_iq3_s(void)
{
    build(&books[HONE_BOOK_IQ3_S]);
}

static void build_iq3_xxs(void)
{
    build(&books[HONE_BOOK_IQ3_XXS]);
}

static void build_iq2_s(void)
{
    build(&books[HONE_BOOK_IQ2_S]);
}

static void build_iq2_xs(void)
{
    build(&books[HONE_BOOK_IQ2_XS]);
}

static void build_iq2_xxs(void)
{
    build(&books[HONE_BOOK_IQ2_XXS]);
}

static void build_iq1(void)
{
    build(&books[HONE_BOOK_IQ1]);
}

const hone_book_index *hone_book_index_of(hone_book book)
{
    static void (*const builders[HONE_N_BOOKS])(void) = {
        [HONE_BOOK_IQ3_S] = build_iq3_s,   [HONE_BOOK_IQ3_XXS] = build_iq3_xxs, [HONE_BOOK_IQ2_S] = build_iq2_s,
        [HONE_BOOK_IQ2_XS] = build_iq2_xs, [HONE_BOOK_IQ2_XXS] = build_iq2_xxs, [HONE_BOOK_IQ1] = build_iq1,
    };
    (void)pthread_once(&books[book].once, builders[book]);
    return &books[book].index;
}
