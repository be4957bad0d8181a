/* SPDX-License-Identifier: MIT */
/* The best search for blocks of 32: fit the scale (and base), round it to f16, code anew, compare with the reference.
 * Sixteen blocks go together through all of that, one in each lane.
 */
#include "quantize/best.h"

#include <stdbool.h>
#include <string.h>

#include "base/cursor.h"
#include "formats/blocks.h"

struct block_type {
    hone_dtype dtype;
    size_t nbytes;
    hone_packing packing;
    hone_affine_grid affine;
    hone_symmetric_grid symmetric, weighted; /* n_ratios is 0 in types with a base */
};

/* Of n blocks, which are |d d|m m|qh * 4|qs * 16| without what the type has not. */
static void read_blocks(const struct block_type *t, const hone_best_kernels *k, const hone_tile_floats *factor,
                        const uint8_t *src, size_t n, hone_tile_blocks *b)
{
    const bool affine = t->symmetric.n_ratios == 0, fifth = t->packing.hi - t->packing.lo > 15;
    uint16_t d[HONE_TILE] = {0}, m[HONE_TILE] = {0};
    memset(b, 0, sizeof *b);
    for (size_t g = 0; g < n; g++, src += t->nbytes) {
        const uint8_t *qs = src + t->nbytes - HONE_QK / 2;
        d[g] = hone_load_u16(src);
        m[g] = affine ? hone_load_u16(src + 2) : 0;
        b->fifths[g] = fifth ? hone_load_u32(qs - 4) : 0;
        for (size_t i = 0; i < HONE_QK / 8; i++)
            b->nibbles[i][g] = hone_load_u32(qs + 4 * i);
    }
    k->from_halves(d, factor, &b->scale);
    k->from_halves(m, factor, &b->min);
}

static void write_block(const struct block_type *t, const hone_tile_blocks *b, size_t g, uint16_t d, uint16_t m,
                        uint8_t *dst)
{
    uint8_t *qs = dst + t->nbytes - HONE_QK / 2;
    hone_store_u16(dst, d);
    if (t->symmetric.n_ratios == 0)
        hone_store_u16(dst + 2, m);
    if (t->packing.hi - t->packing.lo > 15)
        hone_store_u32(qs - 4, b->fifths[g]);
    for (size_t i = 0; i < HONE_QK / 8; i++)
        hone_store_u32(qs + 4 * i, b->nibbles[i][g]);
}

static void encode_tile(const struct block_type *t, const hone_best_kernels *k, const float *x, size_t n,
                        const float *importance, uint8_t *out)
{
    hone_tile tile;
    float weights[HONE_TILE * HONE_QK];
    hone_tile_floats factor, scale, min = {{0}};
    k->load_groups(x, importance, n, HONE_QK, &tile, &factor, weights);
    if (t->symmetric.n_ratios == 0)
        k->affine_fit(&t->affine, &tile, &scale, &min);
    else if (importance || t->packing.kind != HONE_CODES_WHOLE)
        k->symmetric_fit(importance ? &t->weighted : &t->symmetric, &tile, &scale);
    else
        k->equal_fit(&t->symmetric, &tile, &scale);
    hone_tile_blocks old, new;
    uint16_t d[HONE_TILE], m[HONE_TILE];
    k->to_halves(&scale, &factor, d, &new.scale);
    k->to_halves(&min, &factor, m, &new.min);
    read_blocks(t, k, &factor, out, n, &old);
    bool better[HONE_TILE];
    hone_best_compare(k, &t->packing, &tile, importance ? weights : NULL, &old, &new, better);
    for (size_t g = 0; g < n; g++)
        if (better[g])
            write_block(t, &new, g, d[g], m[g], out + g * t->nbytes);
}

static void encode(const struct block_type *t, const hone_best_kernels *k, const float *src, size_t ncols,
                   const float *importance, void *dst)
{
    uint8_t *out = dst;
    const size_t nblocks = ncols / HONE_QK;
    hone_encoder(t->dtype, HONE_SEARCH_REFERENCE, k->level)(src, ncols, importance, dst);
    for (size_t i = 0; i < nblocks; i += HONE_TILE) {
        const size_t n = nblocks - i < HONE_TILE ? nblocks - i : HONE_TILE, at = i * HONE_QK;
        encode_tile(t, k, src + at, n, importance ? importance + at : NULL, out + i * t->nbytes);
    }
}

/* Denser lists gain up to 0.1 % without importance, 0.5 % with. */
static const float ratios_q4[] = {6.0f, 6.4f, 6.8f, 7.2f, 7.6f, 8.0f, 8.4f, 8.8f};
static const float ratios_q5[] = {13.0f, 13.5f, 14.0f, 14.5f, 15.0f, 15.4f, 15.7f, 16.0f, 16.5f, 17.0f};
static const float weighted_q4[] = {3.5f, 4.0f,  4.5f, 4.75f, 5.0f,  5.25f, 5.5f,  5.75f, 6.0f,  6.25f,
                                    6.5f, 6.75f, 7.0f, 7.25f, 7.5f,  7.75f, 8.0f,  8.25f, 8.5f,  8.75f,
                                    9.0f, 9.25f, 9.5f, 9.75f, 10.0f, 10.4f, 10.8f, 11.3f, 12.0f, 13.0f};
static const float weighted_q5[] = {8.0f,  8.6f,  9.2f,  9.8f,  10.2f, 10.6f, 11.0f, 11.4f, 11.8f, 12.2f, 12.6f, 13.0f,
                                    13.4f, 13.8f, 14.2f, 14.6f, 15.0f, 15.4f, 15.8f, 16.2f, 16.6f, 17.0f, 17.4f, 17.8f,
                                    18.2f, 18.6f, 19.0f, 19.4f, 20.0f, 20.8f, 21.6f, 22.4f, 23.4f, 24.5f};
static const float ratios_iq4[] = {84, 90, 96, 102, 108, 114, 120, 126, 132};
static const float weighted_iq4[] = {70, 76, 82, 88, 94, 100, 106, 112, 118, 124, 130, 136, 142, 148, 154, 160};
static const float pulls[] = {-0.6f, 0.0f, 0.6f, 1.2f, 1.8f};
enum { N_PULLS = sizeof pulls / sizeof pulls[0] };

static const struct block_type q4_0 = {
    .dtype = HONE_Q4_0,
    .nbytes = sizeof(hone_block_q4_0),
    .packing = {.lo = -8, .hi = 7},
    .symmetric = {.codes.nmax = 8, .n_ratios = sizeof ratios_q4 / sizeof(float), .ratios = ratios_q4, .n_rounds = 1},
    .weighted = {.codes.nmax = 8, .n_ratios = sizeof weighted_q4 / sizeof(float), .ratios = weighted_q4, .n_rounds = 2},
};
static const struct block_type q5_0 = {
    .dtype = HONE_Q5_0,
    .nbytes = sizeof(hone_block_q5_0),
    .packing = {.lo = -16, .hi = 15},
    .symmetric = {.codes.nmax = 16, .n_ratios = sizeof ratios_q5 / sizeof(float), .ratios = ratios_q5, .n_rounds = 1},
    .weighted = {.codes.nmax = 16,
                 .n_ratios = sizeof weighted_q5 / sizeof(float),
                 .ratios = weighted_q5,
                 .n_rounds = 2},
};
static const struct block_type iq4_nl = {
    .dtype = HONE_IQ4_NL,
    .nbytes = sizeof(hone_block_iq4_nl),
    .packing = {.kind = HONE_CODES_IQ4},
    .symmetric = {.codes.kind = HONE_CODES_IQ4,
                  .n_ratios = sizeof ratios_iq4 / sizeof(float),
                  .ratios = ratios_iq4,
                  .n_rounds = 2},
    .weighted = {.codes.kind = HONE_CODES_IQ4,
                 .n_ratios = sizeof weighted_iq4 / sizeof(float),
                 .ratios = weighted_iq4,
                 .n_rounds = 2},
};
static const struct block_type q4_1 = {
    .dtype = HONE_Q4_1,
    .nbytes = sizeof(hone_block_q4_1),
    .packing = {.lo = 0, .hi = 15},
    .affine = {.nmax = 15, .n_pulls = N_PULLS, .pulls = pulls, .n_rounds = 2, .n_polish = 1, .positive = true},
};
static const struct block_type q5_1 = {
    .dtype = HONE_Q5_1,
    .nbytes = sizeof(hone_block_q5_1),
    .packing = {.lo = 0, .hi = 31},
    .affine = {.nmax = 31, .n_pulls = N_PULLS, .pulls = pulls, .n_rounds = 2, .n_polish = 1, .positive = true},
};

void hone_best_q4_0(const hone_best_kernels *k, const float *src, size_t ncols, const float *importance, void *dst)
{
    encode(&q4_0, k, src, ncols, importance, dst);
}

void hone_best_iq4_nl(const hone_best_kernels *k, const float *src, size_t ncols, const float *importance, void *dst)
{
    encode(&iq4_nl, k, src, ncols, importance, dst);
}

void hone_best_q4_1(const hone_best_kernels *k, const float *src, size_t ncols, const float *importance, void *dst)
{
    encode(&q4_1, k, src, ncols, importance, dst);
}

void hone_best_q5_0(const hone_best_kernels *k, const float *src, size_t ncols, const float *importance, void *dst)
{
    encode(&q5_0, k, src, ncols, importance, dst);
}

void hone_best_q5_1(const hone_best_kernels *k, const float *src, size_t ncols, const float *importance, void *dst)
{
    encode(&q5_1, k, src, ncols, importance, dst);
}
