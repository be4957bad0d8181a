/* SPDX-License-Identifier: MIT */
/*
 * The best search for mxfp4 and nvfp4: there are few scales that a group can have, so all that may be good are tried,
 * the reference search's and its neighbours.
 */
#include "quantize/best.h"

#include <stdbool.h>
#include <string.h>

#include "base/cursor.h"
#include "formats/blocks.h"
#include "formats/value_tables.h"

struct fp4_type {
    hone_dtype dtype;
    size_t nbytes, group_size, n_groups; /* of a block */
    int below, above;                    /* how far from the reference's scale to look */
    int most;                            /* the largest scale */
    /*
     * Without importance, errors are weighted by 1 / (1 + softening x^2 / mean x^2). A group whose largest magnitude is
     * cut off can have less squared error at twice the scale, all other elements being coarser; on models that trade
     * does not pay where it is close: large weights tend to meet small activations. See bench/RESULTS.md.
     */
    float softening;
    float (*value)(uint8_t scale);
};

enum { MAX_TRIALS = 16 };

/* A group's scale in a row of blocks, each of which holds scales, then each group's nibbles. */
static size_t scale_offset(const struct fp4_type *t, size_t group)
{
    return group / t->n_groups * t->nbytes + group % t->n_groups;
}

static size_t nibbles_offset(const struct fp4_type *t, size_t group)
{
    return group / t->n_groups * t->nbytes + t->n_groups + group % t->n_groups * (t->group_size / 2);
}

/* Groups as they lie there; those missing have a scale of 0. */
static void read_groups(const struct fp4_type *t, const uint8_t *src, size_t n, uint8_t scales[HONE_TILE],
                        hone_tile_blocks *b)
{
    memset(b, 0, sizeof *b);
    for (size_t g = 0; g < HONE_TILE; g++) {
        scales[g] = g < n ? src[scale_offset(t, g)] : 0;
        for (size_t i = 0; i < t->group_size / 8 && g < n; i++)
            b->nibbles[i][g] = hone_load_u32(src + nibbles_offset(t, g) + 4 * i);
    }
}

static void write_group(const struct fp4_type *t, const hone_tile_blocks *b, size_t g, uint8_t scale, uint8_t *dst)
{
    dst[scale_offset(t, g)] = scale;
    for (size_t i = 0; i < t->group_size / 8; i++)
        hone_store_u32(dst + nibbles_offset(t, g) + 4 * i, b->nibbles[i][g]);
}

/* From the reference's scales to the best ones. */
static void find_scales(const struct fp4_type *t, const hone_best_kernels *k, const hone_tile *tile,
                        const hone_tile_floats *factor, uint8_t scales[HONE_TILE], hone_tile_floats *found)
{
    uint8_t trials[MAX_TRIALS][HONE_TILE];
    hone_tile_floats values[MAX_TRIALS], choice;
    const int n_trials = t->below + 1 + t->above;
    for (int i = 0; i < n_trials; i++)
        for (size_t g = 0; g < HONE_TILE; g++) {
            const int moved = scales[g] + i - t->below;
            trials[i][g] = (uint8_t)(moved < 0 ? 0 : moved > t->most ? t->most : moved);
            values[i].of[g] = t->value(trials[i][g]) * factor->of[g];
        }
    k->e2m1_choice(tile, values, n_trials, &choice);
    for (size_t g = 0; g < HONE_TILE; g++) {
        const int i = (int)choice.of[g];
        scales[g] = trials[i][g];
        found->of[g] = values[i].of[g];
    }
}

/* n groups, of whole blocks. */
static void encode_tile(const struct fp4_type *t, const hone_best_kernels *k, const float *x, size_t n,
                        const float *importance, uint8_t *out)
{
    static const hone_packing packing = {.kind = HONE_CODES_E2M1};
    hone_tile tile;
    float weights[HONE_TILE * HONE_TILE_SIZE_MAX];
    hone_tile_floats factor;
    hone_tile_blocks old, new = {.min = {{0}}};
    uint8_t scales[HONE_TILE];
    k->load_groups(x, importance, n, t->group_size, &tile, &factor, weights);
    if (!importance && t->softening > 0.0f)
        k->soften(&tile, t->softening);
    read_groups(t, out, n, scales, &old);
    for (size_t g = 0; g < HONE_TILE; g++)
        old.scale.of[g] = t->value(scales[g]) * factor.of[g];
    find_scales(t, k, &tile, &factor, scales, &new.scale);
    bool better[HONE_TILE];
    hone_best_compare(k, &packing, &tile, importance ? weights : NULL, &old, &new, better);
    for (size_t g = 0; g < n; g++)
        if (better[g])
            write_group(t, &new, g, scales[g], out);
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

static const struct fp4_type mxfp4 = {
    .dtype = HONE_MXFP4,
    .nbytes = sizeof(hone_block_mxfp4),
    .group_size = HONE_QK,
    .n_groups = 1,
    .below = 1,
    .above = 1,
    .most = 252, /* twelve times a larger one's half is infinite */
    .softening = 0.1f,
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
