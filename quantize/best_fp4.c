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

struct fp4_type {
    hone_dtype dtype;
    size_t nbytes, group_size, n_groups; /* of a block */
    hone_scale_range equal, weighted;    /* where to look: around the reference's scale */
    /*
     * Without importance, errors are weighted by 1 / (1 + softening x^2 / mean x^2). A group whose largest magnitude is
     * cut off can have less squared error at twice the scale, all other elements being coarser; on models that trade
     * does not pay where it is close: large weights tend to meet small activations. See bench/RESULTS.md.
     */
    float softening;
};

/* n groups from blocks that hold scales, then each group's nibbles; those missing have a scale of 0. */
static void read_groups(const struct fp4_type *t, const uint8_t *src, size_t n, uint32_t scales[HONE_TILE],
                        hone_tile_blocks *b)
{
    const size_t half = t->group_size / 2;
    memset(b, 0, sizeof *b);
    memset(scales, 0, HONE_TILE * sizeof *scales);
    for (size_t g = 0; g < n; src += t->nbytes)
        for (size_t s = 0; s < t->n_groups; s++, g++) {
            scales[g] = src[s];
            for (size_t i = 0; i < half / 4; i++)
                b->nibbles[i][g] = hone_load_u32(src + t->n_groups + s * half + 4 * i);
        }
}

static void write_groups(const struct fp4_type *t, const hone_tile_blocks *b, const uint32_t *scales,
                         const bool *chosen, size_t n, uint8_t *dst)
{
    const size_t half = t->group_size / 2;
    for (size_t g = 0; g < n; dst += t->nbytes)
        for (size_t s = 0; s < t->n_groups; s++, g++) {
            if (!chosen[g])
                continue;
            dst[s] = (uint8_t)scales[g];
            for (size_t i = 0; i < half / 4; i++)
                hone_store_u32(dst + t->n_groups + s * half + 4 * i, b->nibbles[i][g]);
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
    uint32_t scales[HONE_TILE];
    k->load_groups(x, importance, n, t->group_size, &tile, &factor, weights);
    if (!importance && t->softening > 0.0f)
        k->soften(&tile, t->softening);
    read_groups(t, out, n, scales, &old);
    k->small_scales(t->equal.kind, scales, &factor, &old.scale);
    k->e2m1_search(importance ? &t->weighted : &t->equal, &tile, &factor, scales, &new.scale);
    bool better[HONE_TILE];
    hone_best_compare(k, &packing, &tile, importance ? weights : NULL, &old, &new, better);
    write_groups(t, &new, scales, better, n, out);
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

/* From 253 on, twelve times a scale may be infinite. Cutting off the largest magnitude pays if it has little
 * importance.
 */
static const struct fp4_type mxfp4 = {
    .dtype = HONE_MXFP4,
    .nbytes = sizeof(hone_block_mxfp4),
    .group_size = HONE_QK,
    .n_groups = 1,
    .equal = {.kind = HONE_SCALES_E8M0, .below = 0, .above = 1, .most = 252},
    .weighted = {.kind = HONE_SCALES_E8M0, .below = 1, .above = 1, .most = 252},
    .softening = 0.1f,
};
static const struct fp4_type nvfp4 = {
    .dtype = HONE_NVFP4,
    .nbytes = sizeof(hone_block_nvfp4),
    .group_size = 16,
    .n_groups = HONE_QK_NVFP4 / 16,
    .equal = {.kind = HONE_SCALES_UE4M3, .below = 4, .above = 7, .most = 0x7e},
    .weighted = {.kind = HONE_SCALES_UE4M3, .below = 4, .above = 7, .most = 0x7e},
};

void hone_best_mxfp4(const hone_best_kernels *k, const float *src, size_t ncols, const float *importance, void *dst)
{
    encode(&mxfp4, k, src, ncols, importance, dst);
}

void hone_best_nvfp4(const hone_best_kernels *k, const float *src, size_t ncols, const float *importance, void *dst)
{
    encode(&nvfp4, k, src, ncols, importance, dst);
}
