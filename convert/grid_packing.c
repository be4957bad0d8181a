/* SPDX-License-Identifier: MIT */
#include "convert/grid_packing.h"

#include <string.h>

#include "base/cursor.h"
#include "base/half.h"

static size_t n_words(size_t n_codes, unsigned bits)
{
    return (n_codes * bits + 31) / 32;
}

static size_t scale_nbytes(const hone_grid_codes *c)
{
    return hone_dtype_describe(c->w->grid.stored)->block_nbytes;
}

bool hone_grid_by_column(const hone_grid *grid)
{
    return grid->rule == HONE_GRID_GPTQ || grid->rule == HONE_GRID_AWQ;
}

/* --- packing --------------------------------------------------------------------------------------------------------
 */

/* Adds a code of so many bits to a stream of zeros. Words are little-endian, so a stream of words is one of bytes. */
static void put_bits(uint8_t *stream, size_t at, unsigned bits, unsigned code)
{
    stream[at / 8] |= (uint8_t)(code << at % 8);
    if (at % 8 + bits > 8)
        stream[at / 8 + 1] |= (uint8_t)(code >> (8 - at % 8));
}

static void store_float(hone_dtype dtype, float v, uint8_t *dst)
{
    if (dtype == HONE_F32)
        hone_store_u32(dst, hone_f32_bits(v));
    else
        hone_store_u16(dst, dtype == HONE_F16 ? hone_f32_to_f16(v) : hone_f32_to_bf16(v));
}

/* nrows streams of `in` codes, each in words of its own. */
static void pack_rows(const hone_grid_codes *c, uint8_t *dst)
{
    const size_t in = (size_t)c->w->in, row_nbytes = n_words(in, c->w->grid.bits) * 4;
    const unsigned bits = c->w->grid.bits;
    for (size_t r = 0; r < c->nrows; r++)
        for (size_t i = 0; i < in; i++)
            put_bits(dst + r * row_nbytes, i * bits, bits, c->codes[r * in + i]);
}

/* Word k of a row's stream goes to dst[k][row]. */
static void pack_columns(const hone_grid_codes *c, uint8_t *dst)
{
    const size_t in = (size_t)c->w->in, nrows = c->nrows;
    const unsigned bits = c->w->grid.bits, unit_codes = bits == 3 ? 32 : 32 / bits, unit_words = unit_codes * bits / 32;
    for (size_t r = 0; r < nrows; r++)
        for (size_t i = 0; i < in; i += unit_codes) {
            uint8_t words[12] = {0};
            for (unsigned j = 0; j < unit_codes; j++)
                put_bits(words, j * bits, bits, c->codes[r * in + i + j]);
            for (unsigned k = 0; k < unit_words; k++)
                memcpy(dst + ((i / unit_codes * unit_words + k) * nrows + r) * 4, words + 4 * k, 4);
        }
}

/* Eight neighbouring outputs share a word; output 8k + j sits in nibble place[j]. */
static const unsigned awq_place[8] = {0, 4, 1, 5, 2, 6, 3, 7};

static void pack_awq(const hone_grid_codes *c, uint8_t *dst)
{
    const size_t in = (size_t)c->w->in, n = c->nrows / 8;
    for (size_t i = 0; i < in; i++)
        for (size_t k = 0; k < n; k++) {
            uint32_t word = 0;
            for (unsigned j = 0; j < 8; j++)
                word |= (uint32_t)c->codes[(8 * k + j) * in + i] << 4 * awq_place[j];
            hone_store_u32(dst + (i * n + k) * 4, word);
        }
}

static void pack_scales(const hone_grid_codes *c, const float *values, bool columns_of, uint8_t *dst)
{
    const size_t size = scale_nbytes(c), nrows = c->nrows, groups = c->groups;
    for (size_t r = 0; r < nrows; r++)
        for (size_t g = 0; g < groups; g++)
            store_float(c->w->grid.stored, values[r * groups + g],
                        dst + (columns_of ? g * nrows + r : r * groups + g) * size);
}

/* Zeros of a group along the rows: a stream of words, words strided by word_stride words, groups by group_stride. */
static void pack_zeros(const hone_grid_codes *c, unsigned subtract, size_t word_stride, size_t group_stride,
                       uint8_t *dst)
{
    const unsigned bits = c->w->grid.bits, mask = (1u << bits) - 1;
    for (size_t g = 0; g < c->groups; g++)
        for (size_t r = 0; r < c->nrows; r++) {
            const unsigned zero = ((unsigned)c->zeros[r * c->groups + g] - subtract) & mask;
            for (unsigned b = 0; b < bits; b++) {
                const size_t at = r * bits + b;
                const size_t word = at / 32 * word_stride + g * group_stride;
                dst[word * 4 + at % 32 / 8] |= (uint8_t)((zero >> b & 1u) << at % 8);
            }
        }
}

static void pack_awq_zeros(const hone_grid_codes *c, uint8_t *dst)
{
    const size_t n = c->nrows / 8, groups = c->groups;
    for (size_t g = 0; g < groups; g++)
        for (size_t k = 0; k < n; k++) {
            uint32_t word = 0;
            for (unsigned j = 0; j < 8; j++)
                word |= (uint32_t)c->zeros[(8 * k + j) * groups + g] << 4 * awq_place[j];
            hone_store_u32(dst + (g * n + k) * 4, word);
        }
}

void hone_grid_pack(const hone_grid_codes *c, const hone_piece pieces[HONE_N_PARTS], unsigned n_pieces, uint8_t *dst)
{
    uint8_t *scales = dst + pieces[HONE_PART_SCALES].at, *zeros = dst + pieces[n_pieces - 1].at;
    const size_t nrows = c->nrows, groups = c->groups;
    pack_scales(c, c->scales, hone_grid_by_column(&c->w->grid), scales);
    switch (c->w->grid.rule) {
    case HONE_GRID_COMPRESSED:
        pack_rows(c, dst);
        if (n_pieces > HONE_PART_ZEROS)
            pack_zeros(c, 0, groups, 1, zeros);
        break;
    case HONE_GRID_GPTQ: /* version 1: zero - 1 modulo 2^bits */
        pack_columns(c, dst);
        pack_zeros(c, 1, 1, n_words(nrows, c->w->grid.bits), zeros);
        break;
    case HONE_GRID_AWQ:
        pack_awq(c, dst);
        pack_awq_zeros(c, zeros);
        break;
    case HONE_GRID_MLX:
        pack_rows(c, dst);
        pack_scales(c, c->zeros, false, zeros);
        break;
    }
}

/* --- the same backwards ---------------------------------------------------------------------------------------------
 */

static unsigned get_bits(const uint8_t *stream, size_t at, unsigned bits)
{
    unsigned code = stream[at / 8] >> at % 8;
    if (at % 8 + bits > 8)
        code |= (unsigned)stream[at / 8 + 1] << (8 - at % 8);
    return code & ((1u << bits) - 1);
}

static float load_float(hone_dtype dtype, const uint8_t *src)
{
    if (dtype == HONE_F32)
        return hone_f32_from_bits(hone_load_u32(src));
    return dtype == HONE_F16 ? hone_f16_to_f32(hone_load_u16(src)) : hone_bf16_to_f32(hone_load_u16(src));
}

static void unpack_rows(const hone_grid_codes *c, const uint8_t *src)
{
    const size_t in = (size_t)c->w->in, row_nbytes = n_words(in, c->w->grid.bits) * 4;
    const unsigned bits = c->w->grid.bits;
    for (size_t r = 0; r < c->nrows; r++)
        for (size_t i = 0; i < in; i++)
            c->codes[r * in + i] = (uint8_t)get_bits(src + r * row_nbytes, i * bits, bits);
}

static void unpack_columns(const hone_grid_codes *c, const uint8_t *src)
{
    const size_t in = (size_t)c->w->in, nrows = c->nrows;
    const unsigned bits = c->w->grid.bits, unit_codes = bits == 3 ? 32 : 32 / bits, unit_words = unit_codes * bits / 32;
    for (size_t r = 0; r < nrows; r++)
        for (size_t i = 0; i < in; i += unit_codes) {
            uint8_t words[12];
            for (unsigned k = 0; k < unit_words; k++)
                memcpy(words + 4 * k, src + ((i / unit_codes * unit_words + k) * nrows + r) * 4, 4);
            for (unsigned j = 0; j < unit_codes; j++)
                c->codes[r * in + i + j] = (uint8_t)get_bits(words, j * bits, bits);
        }
}

static void unpack_awq(const hone_grid_codes *c, const uint8_t *src)
{
    const size_t in = (size_t)c->w->in, n = c->nrows / 8;
    for (size_t i = 0; i < in; i++)
        for (size_t k = 0; k < n; k++) {
            const uint32_t word = hone_load_u32(src + (i * n + k) * 4);
            for (unsigned j = 0; j < 8; j++)
                c->codes[(8 * k + j) * in + i] = word >> 4 * awq_place[j] & 15u;
        }
}

static void unpack_scales(const hone_grid_codes *c, float *values, bool columns_of, const uint8_t *src)
{
    const size_t size = scale_nbytes(c), nrows = c->nrows, groups = c->groups;
    for (size_t r = 0; r < nrows; r++)
        for (size_t g = 0; g < groups; g++)
            values[r * groups + g] =
                load_float(c->w->grid.stored, src + (columns_of ? g * nrows + r : r * groups + g) * size);
}

static void unpack_zeros(const hone_grid_codes *c, unsigned add, size_t word_stride, size_t group_stride,
                         const uint8_t *src)
{
    const unsigned bits = c->w->grid.bits, mask = (1u << bits) - 1;
    for (size_t g = 0; g < c->groups; g++)
        for (size_t r = 0; r < c->nrows; r++) {
            unsigned zero = 0;
            for (unsigned b = 0; b < bits; b++) {
                const size_t at = r * bits + b;
                const size_t word = at / 32 * word_stride + g * group_stride;
                zero |= (unsigned)(src[word * 4 + at % 32 / 8] >> at % 8 & 1) << b;
            }
            c->zeros[r * c->groups + g] = (float)((zero + add) & mask);
        }
}

static void unpack_awq_zeros(const hone_grid_codes *c, const uint8_t *src)
{
    const size_t n = c->nrows / 8, groups = c->groups;
    for (size_t g = 0; g < groups; g++)
        for (size_t k = 0; k < n; k++) {
            const uint32_t word = hone_load_u32(src + (g * n + k) * 4);
            for (unsigned j = 0; j < 8; j++)
                c->zeros[(8 * k + j) * groups + g] = (float)(word >> 4 * awq_place[j] & 15u);
        }
}

/* The middle code, where no zeros are stored. */
static void fill_zeros(const hone_grid_codes *c)
{
    for (size_t i = 0; i < c->nrows * c->groups; i++)
        c->zeros[i] = (float)(1 << (c->w->grid.bits - 1));
}

void hone_grid_unpack(const hone_grid_codes *c, const hone_piece pieces[HONE_N_PARTS], unsigned n_pieces,
                      const uint8_t *src)
{
    const uint8_t *scales = src + pieces[HONE_PART_SCALES].at, *zeros = src + pieces[n_pieces - 1].at;
    unpack_scales(c, c->scales, hone_grid_by_column(&c->w->grid), scales);
    switch (c->w->grid.rule) {
    case HONE_GRID_COMPRESSED:
        unpack_rows(c, src);
        if (n_pieces > HONE_PART_ZEROS)
            unpack_zeros(c, 0, c->groups, 1, zeros);
        else
            fill_zeros(c);
        break;
    case HONE_GRID_GPTQ:
        unpack_columns(c, src);
        unpack_zeros(c, 1, 1, n_words(c->nrows, c->w->grid.bits), zeros);
        break;
    case HONE_GRID_AWQ:
        unpack_awq(c, src);
        unpack_awq_zeros(c, zeros);
        break;
    case HONE_GRID_MLX:
        unpack_rows(c, src);
        unpack_scales(c, c->zeros, false, zeros);
        break;
    }
}
