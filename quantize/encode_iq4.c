/* SPDX-License-Identifier: MIT */
/*
 * Encoding iq4_nl and iq4_xs: a scale is found by trying the ends of the table, and some numbers around them, for the
 * extreme element, and for each trial the scale that fits its codes best.
 */
#include "quantize/encode_kernels.h"

#include <math.h>
#include <string.h>

#include "base/cursor.h"
#include "formats/blocks.h"
#include "formats/value_tables.h"
#include "quantize/rounding.h"

enum { GROUP = HONE_QK, BATCH = 32, SUBBLOCKS = HONE_QK_K / GROUP, N_TRIALS = 7 };

static const float TINY = 1e-15f;

/* The entry nearest to v, the higher of two equally near; 15 for NaN, as in ggml's bisection. */
static int nearest_entry(float v)
{
    int code = 0;
    while (code < 15 && !(v < 0.5f * (float)(hone_iq4_values[code] + hone_iq4_values[code + 1])))
        code++;
    return code;
}

/* What a trial adds up over a group: weighted products with, and squares of, the entries chosen. */
struct sums {
    float xq, qq;
};

static struct sums try_inverse(const float *x, const float *w, float inverse)
{
    struct sums s = {0.0f, 0.0f};
    for (int j = 0; j < GROUP; j++) {
        const float q = (float)hone_iq4_values[nearest_entry(inverse * x[j])];
        s.xq += w[j] * q * x[j];
        s.qq += w[j] * q * q;
    }
    return s;
}

static float search_group(const float *x, const float *w)
{
    float extreme = 0.0f;
    for (int j = 0; j < GROUP; j++)
        if (fabsf(x[j]) > fabsf(extreme))
            extreme = x[j];
    if (fabsf(extreme) < TINY)
        return 0.0f;
    struct sums s = try_inverse(x, w, 1.0f / (-extreme / (float)hone_iq4_values[0]));
    float scale = s.qq > 0.0f ? s.xq / s.qq : 0.0f;
    float best = scale * s.xq;
    for (int k = -N_TRIALS; k <= N_TRIALS; k++) {
        s = try_inverse(x, w, (float)(k + hone_iq4_values[0]) / extreme);
        if (s.qq > 0.0f && s.xq * s.xq > best * s.qq) {
            scale = s.xq / s.qq;
            best = scale * s.xq;
        }
    }
    return scale;
}

void hone_iq4_scales(const hone_groups *g, float *scales)
{
    for (size_t i = 0; i < g->n; i++)
        scales[i] = search_group(g->x + i * GROUP, g->w + i * GROUP);
}

void hone_iq4_codes(const hone_groups *g, const float *inverses, uint8_t *codes)
{
    for (size_t i = 0; i < g->n * GROUP; i++)
        codes[i] = (uint8_t)nearest_entry(inverses[i / GROUP] * g->x[i]);
}

/* Without importance, large weights count for more: w = x^2. */
static void weigh_groups(const hone_search_kernels *k, const float *x, size_t n, size_t sigma_nelems,
                         const float *importance, float *w)
{
    if (!importance) {
        for (size_t i = 0; i < n; i++)
            w[i] = x[i] * x[i];
        return;
    }
    for (size_t i = 0; i < n; i += sigma_nelems) {
        const float sigma2 = hone_sum_squares(x + i, sigma_nelems) * (2.0f / (float)sigma_nelems);
        k->weigh(importance + i, x + i, sigma_nelems, sigma2, w + i);
    }
}

static void pack_nibbles(const uint8_t codes[GROUP], uint8_t qs[GROUP / 2])
{
    for (int j = 0; j < GROUP / 2; j++)
        qs[j] = (uint8_t)(codes[j] | codes[j + GROUP / 2] << 4);
}

static float inverse(float d)
{
    return d != 0.0f ? 1.0f / d : 0.0f;
}

void hone_encode_iq4_nl(const hone_search_kernels *k, const float *src, size_t ncols, const float *importance,
                        void *dst)
{
    uint8_t *out = dst;
    float w[BATCH * GROUP], scales[BATCH], inverses[BATCH];
    uint8_t codes[BATCH * GROUP];
    for (size_t at = 0; at < ncols; at += (size_t)BATCH * GROUP) {
        const size_t left = (ncols - at) / GROUP, n = left < BATCH ? left : BATCH;
        const hone_groups g = {.x = src + at, .w = w, .n = n, .size = GROUP};
        weigh_groups(k, g.x, n * GROUP, GROUP, importance ? importance + at : NULL, w);
        k->iq4_scales(&g, scales);
        for (size_t i = 0; i < n; i++)
            inverses[i] = inverse(scales[i]);
        k->iq4_codes(&g, inverses, codes);
        for (size_t i = 0; i < n; i++, out += sizeof(hone_block_iq4_nl)) {
            hone_block_iq4_nl b = {.d = hone_store_scale(scales[i])};
            pack_nibbles(codes + i * GROUP, b.qs);
            memcpy(out, &b, sizeof b);
        }
    }
}

/* A NaN has no magnitude to compare: it is never the largest. */
static float largest_scale(const float *scales, size_t n)
{
    float largest = 0.0f;
    for (size_t i = 0; i < n; i++)
        if (fabsf(scales[i]) > fabsf(largest))
            largest = scales[i];
    return largest;
}

/* The eight groups of a super-block: its scale, the six-bit scales, and the inverses that codes are taken with. */
static void scale_superblock(const float *scales, hone_block_iq4_xs *b, float *inverses)
{
    const float d = -largest_scale(scales, SUBBLOCKS) / 32.0f;
    const float id = inverse(d);
    *b = (hone_block_iq4_xs){.d = hone_store_scale(d)};
    for (int s = 0; s < SUBBLOCKS; s++) {
        const int l = hone_clamp_int(hone_nearest(id * scales[s]), -32, 31);
        inverses[s] = inverse(d * (float)l);
        b->scales_l[s / 2] = (uint8_t)(b->scales_l[s / 2] | ((l + 32) & 15) << s % 2 * 4);
        b->scales_h = (uint16_t)(b->scales_h | (l + 32) >> 4 << 2 * s);
    }
}

void hone_encode_iq4_xs(const hone_search_kernels *k, const float *src, size_t ncols, const float *importance,
                        void *dst)
{
    uint8_t *out = dst;
    float w[BATCH * GROUP], scales[BATCH], inverses[BATCH];
    uint8_t codes[BATCH * GROUP];
    hone_block_iq4_xs blocks[BATCH / SUBBLOCKS];
    for (size_t at = 0; at < ncols; at += (size_t)BATCH * GROUP) {
        const size_t left = (ncols - at) / GROUP, n = left < BATCH ? left : BATCH;
        const hone_groups g = {.x = src + at, .w = w, .n = n, .size = GROUP};
        weigh_groups(k, g.x, n * GROUP, HONE_QK_K, importance ? importance + at : NULL, w);
        k->iq4_scales(&g, scales);
        for (size_t b = 0; b < n / SUBBLOCKS; b++)
            scale_superblock(scales + b * SUBBLOCKS, &blocks[b], inverses + b * SUBBLOCKS);
        k->iq4_codes(&g, inverses, codes);
        for (size_t i = 0; i < n; i++)
            pack_nibbles(codes + i * GROUP, blocks[i / SUBBLOCKS].qs + i % SUBBLOCKS * (GROUP / 2));
        memcpy(out, blocks, n / SUBBLOCKS * sizeof blocks[0]);
        out += n / SUBBLOCKS * sizeof blocks[0];
    }
}
