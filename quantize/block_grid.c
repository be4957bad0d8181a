/* SPDX-License-Identifier: MIT */
#include "quantize/block_grid.h"

#include <stddef.h>
#include <string.h>

#include "base/half.h"
#include "formats/k_scales.h"
#include "formats/value_tables.h"
#include "quantize/pack_blocks.h"
#include "quantize/pack_k.h"

static void pack(hone_super_block s, const uint8_t *codes, void (*fn)(const hone_super_block *, uint8_t *),
                 uint8_t *dst)
{
    uint8_t own[HONE_QK_K];
    memcpy(own, codes, sizeof own);
    s.codes = own;
    fn(&s, dst);
}

/* ---- super-blocks with minimums ---- */

static void open_lines(const hone_super_block *s, size_t n, float *scale, float *base)
{
    const float d = hone_f16_to_f32(s->d), dmin = hone_f16_to_f32(s->dmin);
    for (size_t j = 0; j < n; j++) {
        scale[j] = d * (float)s->scales[j];
        base[j] = -(dmin * (float)s->mins[j]);
    }
}

static hone_super_block parts_q2_k(const uint8_t *block)
{
    hone_block_q2_k b;
    memcpy(&b, block, sizeof b);
    hone_super_block s = {.d = b.d, .dmin = b.dmin};
    for (int j = 0; j < 16; j++) {
        s.scales[j] = b.scales[j] & 15;
        s.mins[j] = b.scales[j] >> 4;
    }
    return s;
}

static void open_q2_k(const uint8_t *block, float *scale, float *base)
{
    const hone_super_block s = parts_q2_k(block);
    open_lines(&s, 16, scale, base);
}

static void recode_q2_k(const uint8_t *codes, uint8_t *block)
{
    pack(parts_q2_k(block), codes, hone_pack_q2_k, block);
}

/* q4_k and q5_k begin alike. */
static hone_super_block parts_q4_k(const uint8_t *block)
{
    hone_block_q4_k b;
    memcpy(&b, block, offsetof(hone_block_q4_k, qs));
    hone_super_block s = {.d = b.d, .dmin = b.dmin};
    hone_k4_scales_unpack(b.scales, s.scales, s.mins);
    return s;
}

static void open_q4_k(const uint8_t *block, float *scale, float *base)
{
    const hone_super_block s = parts_q4_k(block);
    open_lines(&s, 8, scale, base);
}

static void recode_q4_k(const uint8_t *codes, uint8_t *block)
{
    pack(parts_q4_k(block), codes, hone_pack_q4_k, block);
}

static void recode_q5_k(const uint8_t *codes, uint8_t *block)
{
    pack(parts_q4_k(block), codes, hone_pack_q5_k, block);
}

/* ---- super-blocks without ---- */

static hone_super_block parts_q3_k(const uint8_t *block)
{
    hone_block_q3_k b;
    memcpy(&b, block, sizeof b);
    hone_super_block s = {.d = b.d};
    hone_q3_k_scales_unpack(b.scales, s.scales);
    return s;
}

static void open_q3_k(const uint8_t *block, float *scale, float *base)
{
    const hone_super_block s = parts_q3_k(block);
    for (int j = 0; j < 16; j++) {
        scale[j] = hone_f16_to_f32(s.d) * (float)(s.scales[j] - 32);
        base[j] = 0.0f;
    }
}

static void recode_q3_k(const uint8_t *codes, uint8_t *block)
{
    pack(parts_q3_k(block), codes, hone_pack_q3_k, block);
}

static hone_super_block parts_q6_k(const uint8_t *block)
{
    hone_block_q6_k b;
    memcpy(&b, block, sizeof b);
    hone_super_block s = {.d = b.d};
    memcpy(s.scales, b.scales, sizeof b.scales);
    return s;
}

static void open_q6_k(const uint8_t *block, float *scale, float *base)
{
    const hone_super_block s = parts_q6_k(block);
    for (int j = 0; j < 16; j++) {
        scale[j] = hone_f16_to_f32(s.d) * (float)(int8_t)s.scales[j];
        base[j] = 0.0f;
    }
}

static void recode_q6_k(const uint8_t *codes, uint8_t *block)
{
    pack(parts_q6_k(block), codes, hone_pack_q6_k, block);
}

/* ---- blocks of 32 ---- */

static float half_at(const uint8_t *block, size_t at)
{
    uint16_t half;
    memcpy(&half, block + at, sizeof half);
    return hone_f16_to_f32(half);
}

static void open_scale(const uint8_t *block, float *scale, float *base)
{
    *scale = half_at(block, 0);
    *base = 0.0f;
}

static void open_line(const uint8_t *block, float *scale, float *base)
{
    *scale = half_at(block, 0);
    *base = half_at(block, 2);
}

/* iq4_nl is laid out as q4_0. */
static void recode_q4_0(const uint8_t *codes, uint8_t *block)
{
    hone_pack_q4_0(half_at(block, 0), 0.0f, codes, block);
}

static void recode_q4_1(const uint8_t *codes, uint8_t *block)
{
    hone_pack_q4_1(half_at(block, 0), half_at(block, 2), codes, block);
}

static void recode_q5_0(const uint8_t *codes, uint8_t *block)
{
    hone_pack_q5_0(half_at(block, 0), 0.0f, codes, block);
}

static void recode_q5_1(const uint8_t *codes, uint8_t *block)
{
    hone_pack_q5_1(half_at(block, 0), half_at(block, 2), codes, block);
}

static void recode_q8_0(const uint8_t *codes, uint8_t *block)
{
    for (int j = 0; j < HONE_QK; j++)
        block[offsetof(hone_block_q8_0, qs) + j] = (uint8_t)(int8_t)(codes[j] - 127);
}

/* ---- tables ---- */

static void open_iq4_xs(const uint8_t *block, float *scale, float *base)
{
    hone_block_iq4_xs b;
    memcpy(&b, block, sizeof b);
    for (int s = 0; s < HONE_QK_K / HONE_QK; s++) {
        const int low = b.scales_l[s / 2] >> s % 2 * 4 & 15, high = b.scales_h >> 2 * s & 3;
        scale[s] = hone_f16_to_f32(b.d) * (float)((low | high << 4) - 32);
        base[s] = 0.0f;
    }
}

static void recode_iq4_xs(const uint8_t *codes, uint8_t *block)
{
    for (int s = 0; s < HONE_QK_K / HONE_QK; s++) {
        uint8_t group[sizeof(hone_block_q4_0)];
        hone_pack_q4_0(0.0f, 0.0f, codes + s * HONE_QK, group);
        memcpy(block + offsetof(hone_block_iq4_xs, qs) + s * (HONE_QK / 2), group + offsetof(hone_block_q4_0, qs),
               HONE_QK / 2);
    }
}

/* Twice the E2M1 floats in ascending order, and the codes they have. Zero has two: the one without a sign is used. */
static const int8_t e2m1_ascending[15] = {-12, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12};
static const uint8_t e2m1_codes[15] = {15, 14, 13, 12, 11, 10, 9, 0, 1, 2, 3, 4, 5, 6, 7};

static void open_mxfp4(const uint8_t *block, float *scale, float *base)
{
    *scale = hone_e8m0_half(block[0]);
    *base = 0.0f;
}

static void recode_mxfp4(const uint8_t *codes, uint8_t *block)
{
    uint8_t own[HONE_QK], group[sizeof(hone_block_q4_0)];
    for (int j = 0; j < HONE_QK; j++)
        own[j] = e2m1_codes[codes[j]];
    hone_pack_q4_0(0.0f, 0.0f, own, group);
    memcpy(block + offsetof(hone_block_mxfp4, qs), group + offsetof(hone_block_q4_0, qs), HONE_QK / 2);
}

static void open_nvfp4(const uint8_t *block, float *scale, float *base)
{
    for (int s = 0; s < HONE_QK_NVFP4 / 16; s++) {
        scale[s] = hone_ue4m3_half(block[s]);
        base[s] = 0.0f;
    }
}

static void recode_nvfp4(const uint8_t *codes, uint8_t *block)
{
    for (int s = 0; s < HONE_QK_NVFP4 / 16; s++)
        for (int j = 0; j < 8; j++) {
            const uint8_t *c = codes + 16 * s + j;
            block[offsetof(hone_block_nvfp4, qs) + 8 * s + j] = (uint8_t)(e2m1_codes[c[0]] | e2m1_codes[c[8]] << 4);
        }
}

/* clang-format off */
static const hone_block_grid grids[HONE_N_DTYPES] = {
    [HONE_Q2_K]   = {{0, 3, NULL}, 16, open_q2_k, recode_q2_k},
    [HONE_Q3_K]   = {{-4, 3, NULL}, 16, open_q3_k, recode_q3_k},
    [HONE_Q4_K]   = {{0, 15, NULL}, 32, open_q4_k, recode_q4_k},
    [HONE_Q5_K]   = {{0, 31, NULL}, 32, open_q4_k, recode_q5_k},
    [HONE_Q6_K]   = {{-32, 31, NULL}, 16, open_q6_k, recode_q6_k},
    [HONE_Q4_0]   = {{-8, 7, NULL}, 32, open_scale, recode_q4_0},
    [HONE_Q4_1]   = {{0, 15, NULL}, 32, open_line, recode_q4_1},
    [HONE_Q5_0]   = {{-16, 15, NULL}, 32, open_scale, recode_q5_0},
    [HONE_Q5_1]   = {{0, 31, NULL}, 32, open_line, recode_q5_1},
    [HONE_Q8_0]   = {{-127, 127, NULL}, 32, open_scale, recode_q8_0},
    [HONE_IQ4_NL] = {{0, 15, hone_iq4_values}, 32, open_scale, recode_q4_0},
    [HONE_IQ4_XS] = {{0, 15, hone_iq4_values}, 32, open_iq4_xs, recode_iq4_xs},
    [HONE_MXFP4]  = {{0, 14, e2m1_ascending}, 32, open_mxfp4, recode_mxfp4},
    [HONE_NVFP4]  = {{0, 14, e2m1_ascending}, 16, open_nvfp4, recode_nvfp4},
};
/* clang-format on */

const hone_block_grid *hone_block_grid_for(hone_dtype dtype)
{
    return (unsigned)dtype < HONE_N_DTYPES && grids[dtype].open ? &grids[dtype] : NULL;
}
