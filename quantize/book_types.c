/* SPDX-License-Identifier: MIT */
#include "quantize/book_types.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "base/cursor.h"

/* Decoded magnitudes in units of d (2 scale + 1); rounding is at the midpoints. */
static const hone_book_levels iq3_s_levels[] = {{{1, 3, 5, 7, 9, 11, 13, 15}, 0.5f, 1.0f}};
static const hone_book_levels iq3_xxs_levels[] = {{{1, 3, 5, 7, 9, 11, 13, 15.5f}, 0.5f, 1.0f}};
static const hone_book_levels iq2_levels[] = {
    {{1, 3.125f, 5.375f, 0, 1, 3.125f, 5.375f, 0}, 1.0f / 2.1875f, 2.0625f - 0.5f * 2.1875f}};
static const hone_book_levels iq1_levels[] = {
    {{-0.875f, 0.125f, 1.125f, 0, -0.875f, 0.125f, 1.125f, 0}, 1.0f, -0.875f},
    {{-1.125f, -0.125f, 0.875f, 0, -1.125f, -0.125f, 0.875f, 0}, 1.0f, -1.125f}};

/* ---- what the scales of a block are, and which shifts its units have ---- */

static void open_nibbles(const uint8_t *scales, size_t n, hone_book_block *b)
{
    for (size_t i = 0; i < n; i++) {
        b->scales[2 * i] = scales[i] & 15;
        b->scales[2 * i + 1] = scales[i] >> 4;
    }
}

/* Words of signs have a scale on top. */
static void open_words(const uint8_t *words, size_t stride, hone_book_block *b)
{
    for (size_t i = 0; i < HONE_QK_K / 32; i++)
        b->scales[i] = words[stride * i + 3] >> 4;
}

static void open_iq3_s(const uint8_t *src, hone_book_block *b)
{
    b->d = hone_load_u16(src);
    open_nibbles(src + offsetof(hone_block_iq3_s, scales), HONE_QK_K / 64, b);
}

static void open_iq3_xxs(const uint8_t *src, hone_book_block *b)
{
    b->d = hone_load_u16(src);
    open_words(src + offsetof(hone_block_iq3_xxs, gas), 4, b);
}

static void open_iq2_s(const uint8_t *src, hone_book_block *b)
{
    b->d = hone_load_u16(src);
    open_nibbles(src + offsetof(hone_block_iq2_s, scales), HONE_QK_K / 32, b);
}

static void open_iq2_xs(const uint8_t *src, hone_book_block *b)
{
    b->d = hone_load_u16(src);
    open_nibbles(src + offsetof(hone_block_iq2_xs, scales), HONE_QK_K / 32, b);
}

static void open_iq2_xxs(const uint8_t *src, hone_book_block *b)
{
    b->d = hone_load_u16(src);
    open_words(src + offsetof(hone_block_iq2_xxs, qs) + 4, 8, b);
}

static void open_iq1_s(const uint8_t *src, hone_book_block *b)
{
    b->d = hone_load_u16(src);
    for (size_t i = 0; i < HONE_QK_K / 32; i++) {
        const unsigned word = hone_load_u16(src + offsetof(hone_block_iq1_s, qh) + 2 * i);
        b->scales[i] = word >> 12 & 7;
        memset(b->signs + 4 * i, (int)(word >> 15), 4);
    }
}

static void open_iq1_m(const uint8_t *src, hone_book_block *b)
{
    const uint8_t *qh = src + offsetof(hone_block_iq1_m, qh);
    for (size_t i = 0; i < HONE_QK_K / 64; i++) {
        const unsigned word = hone_load_u16(src + offsetof(hone_block_iq1_m, scales) + 2 * i);
        b->d = (uint16_t)(b->d | word >> 12 << 4 * i);
        for (size_t j = 0; j < 4; j++)
            b->scales[4 * i + j] = word >> 3 * j & 7;
    }
    for (size_t i = 0; i < HONE_QK_K / 8; i++)
        b->signs[i] = qh[i / 2] >> (4 * (i % 2) + 3) & 1;
}

/* ---- the types ---- */

static const hone_book_type iq3_s = {
    .dtype = HONE_IQ3_S,
    .nbytes = sizeof(hone_block_iq3_s),
    .book = HONE_BOOK_IQ3_S,
    .group = 32,
    .unit = 32,
    .n_levels = 1,
    .levels = iq3_s_levels,
    .most = 15,
    .first = 9.0f,
    .last = 18.0f,
    .pack = hone_pack_iq3_s,
    .open = open_iq3_s,
};
static const hone_book_type iq3_xxs = {
    .dtype = HONE_IQ3_XXS,
    .nbytes = sizeof(hone_block_iq3_xxs),
    .book = HONE_BOOK_IQ3_XXS,
    .group = 32,
    .unit = 32,
    .n_levels = 1,
    .levels = iq3_xxs_levels,
    .even_signs = true,
    .most = 15,
    .first = 8.0f,
    .last = 18.0f,
    .pack = hone_pack_iq3_xxs,
    .open = open_iq3_xxs,
};
static const hone_book_type iq2_s = {
    .dtype = HONE_IQ2_S,
    .nbytes = sizeof(hone_block_iq2_s),
    .book = HONE_BOOK_IQ2_S,
    .group = 16,
    .unit = 16,
    .n_levels = 1,
    .levels = iq2_levels,
    .most = 15,
    .first = 2.5f,
    .last = 8.0f,
    .pack = hone_pack_iq2_s,
    .open = open_iq2_s,
};
static const hone_book_type iq2_xs = {
    .dtype = HONE_IQ2_XS,
    .nbytes = sizeof(hone_block_iq2_xs),
    .book = HONE_BOOK_IQ2_XS,
    .group = 16,
    .unit = 16,
    .n_levels = 1,
    .levels = iq2_levels,
    .even_signs = true,
    .most = 15,
    .first = 2.5f,
    .last = 8.0f,
    .pack = hone_pack_iq2_xs,
    .open = open_iq2_xs,
};
static const hone_book_type iq2_xxs = {
    .dtype = HONE_IQ2_XXS,
    .nbytes = sizeof(hone_block_iq2_xxs),
    .book = HONE_BOOK_IQ2_XXS,
    .group = 32,
    .unit = 32,
    .n_levels = 1,
    .levels = iq2_levels,
    .even_signs = true,
    .most = 15,
    .first = 2.5f,
    .last = 9.0f,
    .pack = hone_pack_iq2_xxs,
    .open = open_iq2_xxs,
};
static const hone_book_type iq1_s = {
    .dtype = HONE_IQ1_S,
    .nbytes = sizeof(hone_block_iq1_s),
    .book = HONE_BOOK_IQ1,
    .group = 32,
    .unit = 32,
    .n_levels = 2,
    .levels = iq1_levels,
    .bare = true,
    .size_counts = true,
    .most = 7,
    .first = 0.8f,
    .last = 3.0f,
    .pack = hone_pack_iq1_s,
    .open = open_iq1_s,
};
static const hone_book_type iq1_m = {
    .dtype = HONE_IQ1_M,
    .nbytes = sizeof(hone_block_iq1_m),
    .book = HONE_BOOK_IQ1,
    .group = 16,
    .unit = 8,
    .n_levels = 2,
    .levels = iq1_levels,
    .bare = true,
    .size_counts = true,
    .most = 7,
    .first = 0.8f,
    .last = 2.5f,
    .pack = hone_pack_iq1_m,
    .open = open_iq1_m,
};

const hone_book_type *hone_book_type_of(hone_dtype dtype)
{
    static const hone_book_type *const types[HONE_N_DTYPES] = {
        [HONE_IQ3_S] = &iq3_s,     [HONE_IQ3_XXS] = &iq3_xxs, [HONE_IQ2_S] = &iq2_s, [HONE_IQ2_XS] = &iq2_xs,
        [HONE_IQ2_XXS] = &iq2_xxs, [HONE_IQ1_S] = &iq1_s,     [HONE_IQ1_M] = &iq1_m,
    };
    return (unsigned)dtype < HONE_N_DTYPES ? types[dtype] : NULL;
}

uint8_t hone_book_take_signs(bool even, const float *w, float *x)
{
    unsigned signs = 0, parity = 0;
    size_t least = 0;
    for (size_t i = 0; i < 8; i++) {
        const bool minus = x[i] < 0.0f;
        signs |= (unsigned)minus << i;
        parity ^= minus;
        x[i] = fabsf(x[i]);
        least = w[i] * x[i] < w[least] * x[least] ? i : least;
    }
    if (even && parity) {
        x[least] = -x[least];
        signs ^= 1u << least;
    }
    return (uint8_t)signs;
}
