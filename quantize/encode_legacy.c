/* SPDX-License-Identifier: MIT */
/*
 * Encoding blocks of 32, as llama.cpp's quantize_* do.
 *
 * Without importance the scale is that of the extreme element: codes are taken with the f32 scale, the stored one is
 * its f16. With importance the scale is searched for, with weights drawn from the mean square of the whole row.
 */
#include "quantize/encode_kernels.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/cursor.h"
#include "formats/blocks.h"
#include "quantize/pack_blocks.h"
#include "quantize/rounding.h"

enum { BATCH = 16 };

/* What tells the four types with searches apart. */
struct block_type {
    size_t nbytes;
    int nmax;    /* codes: [0, 2 nmax - 1] around nmax if symmetric, else [0, nmax] */
    bool affine; /* w = d * q + m */
    void (*store)(float d, float m, const uint8_t codes[HONE_QK], uint8_t *dst);
};

static const struct block_type q4_0 = {sizeof(hone_block_q4_0), 8, false, hone_pack_q4_0};
static const struct block_type q4_1 = {sizeof(hone_block_q4_1), 15, true, hone_pack_q4_1};
static const struct block_type q5_0 = {sizeof(hone_block_q5_0), 16, false, hone_pack_q5_0};
static const struct block_type q5_1 = {sizeof(hone_block_q5_1), 31, true, hone_pack_q5_1};

/* The inverse of a scale; the codes of an all-zero block do not depend on it. */
static float inverse(float d)
{
    return d != 0.0f ? 1.0f / d : 0.0f;
}

/*
 * The extreme element, whatever its sign, gets the most negative code: code 0 stands for -nmax. Codes are
 * trunc(x / d + nmax + 0.5), which rounds halves up.
 */
static void encode_plain_symmetric(const struct block_type *t, const float *x, uint8_t *dst)
{
    float extreme = 0.0f;
    for (int j = 0; j < HONE_QK; j++)
        if (fabsf(x[j]) > fabsf(extreme))
            extreme = x[j];
    const float d = extreme / -(float)t->nmax;
    const float id = inverse(d);
    uint8_t codes[HONE_QK];
    for (int j = 0; j < HONE_QK; j++)
        codes[j] = (uint8_t)hone_clamp_int(hone_truncate(x[j] * id + ((float)t->nmax + 0.5f)), 0, 2 * t->nmax - 1);
    t->store(d, 0.0f, codes, dst);
}

static void encode_plain_affine(const struct block_type *t, const float *x, uint8_t *dst)
{
    float min = FLT_MAX, max = -FLT_MAX;
    for (int j = 0; j < HONE_QK; j++) {
        min = x[j] < min ? x[j] : min;
        max = x[j] > max ? x[j] : max;
    }
    const float d = (max - min) / (float)t->nmax;
    const float id = inverse(d);
    uint8_t codes[HONE_QK];
    for (int j = 0; j < HONE_QK; j++)
        codes[j] = (uint8_t)hone_clamp_int(hone_truncate((x[j] - min) * id + 0.5f), 0, t->nmax);
    t->store(d, min, codes, dst);
}

static void encode_weighted(const struct block_type *t, const hone_search_kernels *k, const float *src, size_t ncols,
                            const float *importance, uint8_t *dst)
{
    const hone_minmax_grid grid = {.nmax = t->nmax, .offset = -0.9f, .step = 0.05f, .n_steps = 36};
    const float sigma2 = hone_sum_squares(src, ncols) / (float)ncols;
    float w[BATCH * HONE_QK], scales[BATCH], mins[BATCH] = {0};
    uint8_t codes[BATCH * HONE_QK];
    const size_t nblocks = ncols / HONE_QK;
    for (size_t first = 0; first < nblocks; first += BATCH) {
        const size_t n = nblocks - first < BATCH ? nblocks - first : BATCH;
        const size_t at = first * HONE_QK;
        const hone_groups g = {.x = src + at, .w = w, .n = n, .size = HONE_QK};
        k->weigh(importance + at, src + at, n * HONE_QK, sigma2, w);
        if (t->affine)
            k->minmax(&grid, &g, codes, scales, mins);
        else
            k->sym(t->nmax, &g, codes, scales);
        for (size_t i = 0; i < n; i++)
            t->store(scales[i], -mins[i], codes + i * HONE_QK, dst + (first + i) * t->nbytes);
    }
}

static void encode(const struct block_type *t, const hone_search_kernels *k, const float *src, size_t ncols,
                   const float *importance, void *dst)
{
    uint8_t *out = dst;
    if (importance) {
        encode_weighted(t, k, src, ncols, importance, out);
        return;
    }
    for (size_t i = 0; i < ncols; i += HONE_QK, out += t->nbytes) {
        if (t->affine)
            encode_plain_affine(t, src + i, out);
        else
            encode_plain_symmetric(t, src + i, out);
    }
}

void hone_encode_q4_0(const hone_search_kernels *k, const float *src, size_t ncols, const float *importance, void *dst)
{
    encode(&q4_0, k, src, ncols, importance, dst);
}

void hone_encode_q4_1(const hone_search_kernels *k, const float *src, size_t ncols, const float *importance, void *dst)
{
    encode(&q4_1, k, src, ncols, importance, dst);
}

void hone_encode_q5_0(const hone_search_kernels *k, const float *src, size_t ncols, const float *importance, void *dst)
{
    encode(&q5_0, k, src, ncols, importance, dst);
}

void hone_encode_q5_1(const hone_search_kernels *k, const float *src, size_t ncols, const float *importance, void *dst)
{
    encode(&q5_1, k, src, ncols, importance, dst);
}

void hone_encode_q8_0(const float *src, size_t ncols, void *dst)
{
    uint8_t *out = dst;
    for (size_t i = 0; i < ncols; i += HONE_QK, out += sizeof(hone_block_q8_0)) {
        const float *x = src + i;
        float largest = 0.0f;
        for (int j = 0; j < HONE_QK; j++)
            largest = fabsf(x[j]) > largest ? fabsf(x[j]) : largest;
        const float d = largest / 127.0f;
        const float id = inverse(d);
        hone_block_q8_0 b = {.d = hone_store_scale(d)};
        for (int j = 0; j < HONE_QK; j++)
            b.qs[j] = (int8_t)hone_nearest_away(x[j] * id);
        memcpy(out, &b, sizeof b);
    }
}
