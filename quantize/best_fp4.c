/* SPDX-License-Identifier: MIT */
/*
 * The best search for mxfp4 and nvfp4: there are few scales that a group can have, so all that may be good are tried,
 * the reference search's and its neighbours.
 */
#include "quantize/best.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "formats/blocks.h"
#include "formats/value_tables.h"
#include "quantize/table_encoders.h"

struct fp4_type {
    hone_dtype dtype;
    size_t nbytes, group_size, n_groups; /* of a block */
    int below, above;                    /* how far from the reference's scale to look */
    int most;                            /* the largest scale */
    float softening;                     /* without importance: see soften() */
    uint8_t (*reference)(float largest);
    float (*value)(uint8_t scale);
};

/* A type and what its scales stand for. */
struct search {
    const struct fp4_type *t;
    const hone_best_kernels *k;
    float values[256];
};

static void find_scales(const struct search *s, const hone_tile *tile, const float *largest, const float *factor,
                        uint8_t scales[HONE_TILE])
{
    int reference[HONE_TILE], best[HONE_TILE];
    float least[HONE_TILE];
    for (size_t g = 0; g < HONE_TILE; g++) {
        best[g] = reference[g] = s->t->reference(largest[g]);
        least[g] = INFINITY;
    }
    for (int step = -s->t->below; step <= s->t->above; step++) {
        hone_tile_floats scale, error;
        int trial[HONE_TILE];
        for (size_t g = 0; g < HONE_TILE; g++) {
            const int moved = reference[g] + step;
            trial[g] = moved < 0 ? 0 : moved > s->t->most ? s->t->most : moved;
            scale.of[g] = s->values[trial[g]] * factor[g];
        }
        s->k->e2m1_error(tile, &scale, &error);
        for (size_t g = 0; g < HONE_TILE; g++) {
            const bool better = error.of[g] < least[g];
            least[g] = better ? error.of[g] : least[g];
            best[g] = better ? trial[g] : best[g];
        }
    }
    for (size_t g = 0; g < HONE_TILE; g++)
        scales[g] = (uint8_t)best[g];
}

/*
 * Weights of 1 / (1 + softening x^2 / mean x^2) in place of equal ones. A group whose largest magnitude is cut off can
 * have less squared error at twice the scale, all other elements being coarser; on models that trade does not pay where
 * it is close: large weights tend to meet small activations. See bench/RESULTS.md.
 */
static void soften(hone_tile *tile, float softening)
{
    hone_tile_floats per_square = {{0}};
    for (size_t i = 0; i < tile->size * HONE_TILE; i++)
        per_square.of[i % HONE_TILE] += tile->x[i] * tile->x[i];
    for (size_t g = 0; g < HONE_TILE; g++)
        per_square.of[g] = per_square.of[g] > 0.0f ? softening * (float)tile->size / per_square.of[g] : 0.0f;
    for (size_t i = 0; i < tile->size * HONE_TILE; i++)
        tile->w[i] = 1.0f / (1.0f + per_square.of[i % HONE_TILE] * (tile->x[i] * tile->x[i]));
}

/* Both types hold scales, then each group's nibbles: the first half low, the second high. */
static void pack_block(const struct fp4_type *t, const uint8_t *scales, const uint8_t *codes, uint8_t *block)
{
    const size_t half = t->group_size / 2;
    memcpy(block, scales, t->n_groups);
    block += t->n_groups;
    for (size_t i = 0; i < t->n_groups; i++, block += half, codes += 2 * half)
        for (size_t j = 0; j < half; j++)
            block[j] = (uint8_t)(codes[j] | codes[j + half] << 4);
}

/* n groups, of whole blocks. */
static void encode_tile(const struct search *s, const float *x, size_t n, const float *importance, uint8_t *out)
{
    float largest[HONE_TILE], factor[HONE_TILE], w_factor[HONE_TILE], w_plus[HONE_TILE], scale[HONE_TILE];
    uint8_t scales[HONE_TILE], codes[HONE_TILE * HONE_TILE_SIZE_MAX];
    hone_tile tile;
    const size_t size = s->t->group_size, block_size = s->t->n_groups * size;
    for (size_t g = 0; g < HONE_TILE; g++) {
        const size_t at = g < n ? g * size : 0;
        largest[g] = s->k->largest(x + at, size);
        factor[g] = hone_best_factor(largest[g]);
        hone_best_weigh(s->k, importance ? importance + at : NULL, size, &w_factor[g], &w_plus[g]);
    }
    s->k->load(x, importance, n, size, factor, w_factor, w_plus, &tile);
    if (!importance && s->t->softening > 0.0f)
        soften(&tile, s->t->softening);
    find_scales(s, &tile, largest, factor, scales);
    for (size_t g = 0; g < n; g++)
        scale[g] = s->values[scales[g]];
    s->k->table_codes(HONE_CODES_E2M1, x, n, size, scale, codes);
    for (size_t g = 0; g < n; g += s->t->n_groups) {
        uint8_t block[sizeof(hone_block_nvfp4)];
        const size_t at = g * size;
        pack_block(s->t, scales + g, codes + at, block);
        hone_best_keep(s->k, s->t->dtype, x + at, importance ? importance + at : NULL,
                       hone_best_factor(s->k->largest(x + at, block_size)), block,
                       out + g / s->t->n_groups * s->t->nbytes);
    }
}

static void encode(const struct fp4_type *t, const hone_best_kernels *k, const float *src, size_t ncols,
                   const float *importance, void *dst)
{
    uint8_t *out = dst;
    struct search s = {.t = t, .k = k};
    for (int i = 0; i <= t->most; i++)
        s.values[i] = t->value((uint8_t)i);
    const size_t n_groups = ncols / t->group_size;
    hone_encoder(t->dtype, HONE_SEARCH_REFERENCE, k->level)(src, ncols, importance, dst);
    for (size_t i = 0; i < n_groups; i += HONE_TILE) {
        const size_t n = n_groups - i < HONE_TILE ? n_groups - i : HONE_TILE, at = i * t->group_size;
        encode_tile(&s, src + at, n, importance ? importance + at : NULL, out + i / t->n_groups * t->nbytes);
    }
}

static uint8_t nvfp4_scale(float largest)
{
    return hone_ue4m3_scale(largest / 6.0f);
}

static const struct fp4_type mxfp4 = {
    .dtype = HONE_MXFP4,
    .nbytes = sizeof(hone_block_mxfp4),
    .group_size = HONE_QK,
    .n_groups = 1,
    .below = 1,
    .above = 1,
    .most = 254,
    .softening = 0.1f,
    .reference = hone_mxfp4_scale,
    .value = hone_e8m0_half,
};
static const struct fp4_type nvfp4 = {
    .dtype = HONE_NVFP4,
    .nbytes = sizeof(hone_block_nvfp4),
    .group_size = 16,
    .n_groups = HONE_QK_NVFP4 / 16,
    .below = 4,
    .above = 7,
    .most = 0x7e,
    .reference = nvfp4_scale,
    .value = hone_ue4m3_half,
};

void hone_best_mxfp4(const hone_best_kernels *k, const float *src, size_t ncols, const float *importance, void *dst)
{
    encode(&mxfp4, k, src, ncols, importance, dst);
}

void hone_best_nvfp4(const hone_best_kernels *k, const float *src, size_t ncols, const float *importance, void *dst)
{
    encode(&nvfp4, k, src, ncols, importance, dst);
}
