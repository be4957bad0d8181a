/* SPDX-License-Identifier: MIT */
/*
 * Codes of 1 to 8 bits packed least significant bit first, as every quantization tool but bitsandbytes packs them.
 *
 *   dense, 3 bits:   |22111000|54443332|77766655|      a code may straddle bytes and words
 *   by word, 3 bits: ten codes in a 32-bit word, its two upper bits unused
 */
#ifndef HONE_BIT_STREAM_H
#define HONE_BIT_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "base/cursor.h"

/* The n_bits (at most 8) that start at bit `at` of a little-endian stream. Reads no byte that holds none of them. */
static inline unsigned hone_bits_get(const void *stream, size_t at, unsigned n_bits)
{
    const uint8_t *p = (const uint8_t *)stream + at / 8;
    const unsigned shift = (unsigned)(at % 8);
    unsigned v = p[0];
    if (shift + n_bits > 8)
        v |= (unsigned)p[1] << 8;
    return v >> shift & ((1u << n_bits) - 1);
}

/* The first n codes of a dense stream, one byte each. */
static inline void hone_bits_unpack(const void *stream, size_t n, unsigned n_bits, uint8_t *codes)
{
    const uint8_t *p = stream;
    if (n_bits == 4) {
        for (size_t i = 0; i < n; i++)
            codes[i] = (uint8_t)(p[i / 2] >> 4 * (i % 2) & 15);
        return;
    }
    for (size_t i = 0; i < n; i++)
        codes[i] = (uint8_t)hone_bits_get(p, i * n_bits, n_bits);
}

/* The first n codes of a stream that puts 32 / n_bits of them into each 32-bit word and wastes the rest. */
static inline void hone_bits_unpack_words(const void *words, size_t n, unsigned n_bits, uint8_t *codes)
{
    const uint8_t *p = words;
    const size_t per_word = 32 / n_bits;
    for (size_t i = 0; i < n; i++)
        codes[i] = (uint8_t)(hone_load_u32(p + i / per_word * 4) >> i % per_word * n_bits & ((1u << n_bits) - 1));
}

#endif
