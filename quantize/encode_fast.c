/* SPDX-License-Identifier: MIT */
/*
 * The fast search: each group gets the scale that spans it, and nothing is tried twice. Importance is not looked at.
 *
 * Types whose reference search is like that already have nothing here.
 */
#include "quantize/encode_kernels.h"

#include <math.h>
#include <string.h>

#include "base/half.h"
#include "formats/blocks.h"
#include "quantize/pack_k.h"
#include "quantize/rounding.h"

enum { N_SUBS = HONE_SUB_BLOCKS_MAX, SUB_SIZE = 16 };

struct symmetric_type {
    size_t nbytes;
    int nmax;       /* codes are in [-nmax, nmax - 1] */
    int scale_min;  /* and scales in [scale_min, -scale_min - 1] */
    int scale_plus; /* what is added to a stored scale */
    void (*pack)(const hone_super_block *s, uint8_t *dst);
};

static float signed_extreme(const float *x, size_t n)
{
    float extreme = 0.0f;
    for (size_t i = 0; i < n; i++)
        extreme = fabsf(x[i]) > fabsf(extreme) ? x[i] : extreme;
    return extreme;
}

static void encode_symmetric(const struct symmetric_type *t, const hone_search_kernels *k, const float *src,
                             size_t ncols, void *dst)
{
    uint8_t *out = dst;
    for (size_t i = 0; i < ncols; i += HONE_QK_K, out += t->nbytes) {
        uint8_t codes[HONE_QK_K];
        float scales[N_SUBS];
        memset(codes, t->nmax, sizeof codes);
        for (size_t j = 0; j < N_SUBS; j++)
            scales[j] = signed_extreme(src + i + j * SUB_SIZE, SUB_SIZE) / -(float)t->nmax;
        const float d = signed_extreme(scales, N_SUBS) / (float)t->scale_min;
        const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
        hone_super_block s = {.d = hone_store_scale(d), .codes = codes};
        for (size_t j = 0; j < N_SUBS; j++) {
            const int scale = hone_clamp_int(hone_nearest(inverse * scales[j]), t->scale_min, -t->scale_min - 1);
            s.scales[j] = (uint8_t)(scale + t->scale_plus);
            scales[j] = hone_f16_to_f32(s.d) * (float)scale;
        }
        const hone_groups g = {.x = src + i, .n = N_SUBS, .size = SUB_SIZE};
        k->recode((hone_recode_range){-t->nmax, t->nmax - 1}, &g, scales, NULL, codes);
        t->pack(&s, out);
    }
}

void hone_encode_fast_q3_k(const hone_search_kernels *k, const float *src, size_t ncols, void *dst)
{
    static const struct symmetric_type q3_k = {sizeof(hone_block_q3_k), 4, -32, 32, hone_pack_q3_k};
    encode_symmetric(&q3_k, k, src, ncols, dst);
}

void hone_encode_fast_q6_k(const hone_search_kernels *k, const float *src, size_t ncols, void *dst)
{
    static const struct symmetric_type q6_k = {sizeof(hone_block_q6_k), 32, -128, 0, hone_pack_q6_k};
    encode_symmetric(&q6_k, k, src, ncols, dst);
}
