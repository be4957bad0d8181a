/* SPDX-License-Identifier: MIT */
/*
 * The best search for mxfp4 and nvfp4: there are few scales that a group can have, so all that may be good are tried,
 * the reference search's and its neighbours.
 */
#include "quantize/best.h"

#include <math.h>
#include <string.h>

#include "formats/blocks.h"
#include "formats/value_tables.h"
#include "quantize/table_encoders.h"

struct fp4_type {
    hone_dtype dtype;
    size_t nbytes, group_size, n_groups; /* of a block */
    int below, above;                    /* how far from the reference's scale to look */
    int most;                            /* the largest scale */
    uint8_t (*reference)(float largest);
    float (*value)(uint8_t scale);
};

static void find_scales(const struct fp4_type *t, const hone_best_kernels *k, const float *x, const hone_tile *tile,
                        const float *factor, size_t n, uint8_t scales[HONE_TILE])
{
    int reference[HONE_TILE] = {0};
    float least[HONE_TILE];
    for (size_t g = 0; g < n; g++) {
        reference[g] = t->reference(k->largest(x + g * t->group_size, t->group_size));
        scales[g] = (uint8_t)reference[g];
        least[g] = INFINITY;
    }
    for (int step = -t->below; step <= t->above; step++) {
        hone_tile_floats scale = {{0}}, error;
        uint8_t trial[HONE_TILE];
        for (size_t g = 0; g < n; g++) {
            const int s = reference[g] + step;
            trial[g] = (uint8_t)(s < 0 ? 0 : s > t->most ? t->most : s);
            scale.of[g] = t->value(trial[g]) * factor[g];
        }
        k->symmetric_error((hone_code_set){.kind = HONE_CODES_E2M1}, tile, &scale, &error);
        for (size_t g = 0; g < n; g++)
            if (error.of[g] < least[g]) {
                least[g] = error.of[g];
                scales[g] = trial[g];
            }
    }
}

/* n groups, of whole blocks. */
static void encode_tile(const struct fp4_type *t, const hone_best_kernels *k, const float *x, size_t n,
                        const float *importance, uint8_t *out)
{
    float factor[HONE_TILE], w_factor[HONE_TILE], w_plus[HONE_TILE], scale[HONE_TILE];
    uint8_t scales[HONE_TILE], codes[HONE_TILE * HONE_TILE_SIZE_MAX];
    hone_tile tile;
    const size_t size = t->group_size;
    for (size_t g = 0; g < HONE_TILE; g++) {
        const size_t at = g < n ? g * size : 0;
        factor[g] = hone_best_factor(k->largest(x + at, size));
        hone_best_weigh(k, importance ? importance + at : NULL, size, &w_factor[g], &w_plus[g]);
    }
    k->load(x, importance, n, size, factor, w_factor, w_plus, &tile);
    find_scales(t, k, x, &tile, factor, n, scales);
    for (size_t g = 0; g < n; g++)
        scale[g] = t->value(scales[g]);
    k->table_codes(HONE_CODES_E2M1, x, n, size, scale, codes);
    for (size_t g = 0; g < n; g += t->n_groups) { /* both types: scales, then each group's nibbles */
        uint8_t block[sizeof(hone_block_nvfp4)];
        memcpy(block, scales + g, t->n_groups);
        const uint8_t *l = codes + g * size;
        for (size_t i = 0; i < t->n_groups; i++, l += size)
            for (size_t j = 0; j < size / 2; j++)
                block[t->n_groups + i * size / 2 + j] = (uint8_t)(l[j] | l[j + size / 2] << 4);
        const size_t at = g * size;
        const float largest = k->largest(x + at, t->n_groups * size);
        hone_best_keep(k, t->dtype, x + at, importance ? importance + at : NULL, hone_best_factor(largest), block,
                       out + g / t->n_groups * t->nbytes);
    }
}

static void encode(const struct fp4_type *t, const hone_best_kernels *k, const float *src, size_t ncols,
                   const float *importance, void *dst)
{
    uint8_t *out = dst;
    const size_t n_groups = ncols / t->group_size;
    hone_encoder(t->dtype, HONE_SEARCH_REFERENCE, k->level)(src, ncols, importance, dst);
    for (size_t i = 0; i < n_groups; i += HONE_TILE) {
        const size_t n = n_groups - i < HONE_TILE ? n_groups - i : HONE_TILE, at = i * t->group_size;
        encode_tile(t, k, src + at, n, importance ? importance + at : NULL, out + i / t->n_groups * t->nbytes);
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
    .reference = hone_mxfp4_scale,
    .value = hone_e8m0_half,
};
static const struct fp4_type nvfp4 = {
    .dtype = HONE_NVFP4,
    .nbytes = sizeof(hone_block_nvfp4),
    .group_size = 16,
    .n_groups = HONE_QK_NVFP4 / 16,
    .below = 6,
    .above = 8,
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
