/* SPDX-License-Identifier: MIT */
/* The best search for blocks of 32: fit the scale (and base), round it to f16, code anew, compare with the reference.
 */
#include "quantize/best.h"

#include "base/half.h"
#include "quantize/pack_blocks.h"

struct block_type {
    hone_dtype dtype;
    size_t nbytes;
    int lo, hi; /* codes that are whole numbers */
    hone_affine_grid affine;
    hone_symmetric_grid symmetric, weighted;
    void (*pack)(float d, float m, const uint8_t codes[HONE_QK], uint8_t *dst);
};

static void encode_tile(const struct block_type *t, const hone_best_kernels *k, const float *x, size_t n,
                        const float *importance, uint8_t *out)
{
    float factor[HONE_TILE], w_factor[HONE_TILE], w_plus[HONE_TILE];
    hone_tile tile;
    hone_tile_floats scale, min = {{0}};
    for (size_t g = 0; g < HONE_TILE; g++) {
        const size_t at = g < n ? g * HONE_QK : 0;
        factor[g] = hone_best_factor(k->largest(x + at, HONE_QK));
        hone_best_weigh(k, importance ? importance + at : NULL, HONE_QK, &w_factor[g], &w_plus[g]);
    }
    k->load(x, importance, n, HONE_QK, factor, w_factor, w_plus, &tile);
    if (t->symmetric.n_ratios)
        k->symmetric_fit(importance ? &t->weighted : &t->symmetric, &tile, &scale);
    else
        k->affine_fit(&t->affine, &tile, &scale, &min);
    for (size_t g = 0; g < n; g++) { /* to what is stored, as decoded */
        float unused;
        scale.of[g] = hone_f16_to_f32(hone_best_half(scale.of[g], factor[g], &unused));
        min.of[g] = hone_f16_to_f32(hone_best_half(min.of[g], factor[g], &unused));
    }
    uint8_t codes[HONE_TILE * HONE_QK];
    if (t->symmetric.codes.kind != HONE_CODES_WHOLE)
        k->table_codes(t->symmetric.codes.kind, x, n, HONE_QK, scale.of, codes);
    else
        k->codes(t->lo, t->hi, x, n, HONE_QK, scale.of, min.of, codes);
    for (size_t g = 0; g < n; g++) {
        uint8_t block[sizeof(hone_block_q5_1)];
        t->pack(scale.of[g], min.of[g], codes + g * HONE_QK, block);
        hone_best_keep(k, t->dtype, x + g * HONE_QK, importance ? importance + g * HONE_QK : NULL, factor[g], block,
                       out + g * t->nbytes);
    }
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
static const float ratios_q5[] = {12.0f, 13.0f, 13.5f, 14.0f, 14.5f, 15.0f, 15.5f, 16.0f, 16.5f, 17.0f};
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
    .lo = -8,
    .hi = 7,
    .symmetric = {.codes.nmax = 8, .n_ratios = sizeof ratios_q4 / sizeof(float), .ratios = ratios_q4, .n_rounds = 2},
    .weighted = {.codes.nmax = 8, .n_ratios = sizeof weighted_q4 / sizeof(float), .ratios = weighted_q4, .n_rounds = 2},
    .pack = hone_pack_q4_0,
};
static const struct block_type q5_0 = {
    .dtype = HONE_Q5_0,
    .nbytes = sizeof(hone_block_q5_0),
    .lo = -16,
    .hi = 15,
    .symmetric = {.codes.nmax = 16, .n_ratios = sizeof ratios_q5 / sizeof(float), .ratios = ratios_q5, .n_rounds = 2},
    .weighted = {.codes.nmax = 16,
                 .n_ratios = sizeof weighted_q5 / sizeof(float),
                 .ratios = weighted_q5,
                 .n_rounds = 2},
    .pack = hone_pack_q5_0,
};
static const struct block_type iq4_nl = {
    .dtype = HONE_IQ4_NL,
    .nbytes = sizeof(hone_block_iq4_nl),
    .symmetric = {.codes.kind = HONE_CODES_IQ4,
                  .n_ratios = sizeof ratios_iq4 / sizeof(float),
                  .ratios = ratios_iq4,
                  .n_rounds = 2},
    .weighted = {.codes.kind = HONE_CODES_IQ4,
                 .n_ratios = sizeof weighted_iq4 / sizeof(float),
                 .ratios = weighted_iq4,
                 .n_rounds = 2},
    .pack = hone_pack_q4_0,
};
static const struct block_type q4_1 = {
    .dtype = HONE_Q4_1,
    .nbytes = sizeof(hone_block_q4_1),
    .lo = 0,
    .hi = 15,
    .affine = {.nmax = 15, .n_pulls = N_PULLS, .pulls = pulls, .n_rounds = 2, .n_polish = 1, .positive = true},
    .pack = hone_pack_q4_1,
};
static const struct block_type q5_1 = {
    .dtype = HONE_Q5_1,
    .nbytes = sizeof(hone_block_q5_1),
    .lo = 0,
    .hi = 31,
    .affine = {.nmax = 31, .n_pulls = N_PULLS, .pulls = pulls, .n_rounds = 2, .n_polish = 1, .positive = true},
    .pack = hone_pack_q5_1,
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
