/* SPDX-License-Identifier: MIT */
/*
 * Encoding super-blocks of 256, as llama.cpp's quantize_* do, in four steps:
 *
 *   search   a real scale (and minimum) for each sub-block
 *   share    those become small integers times one f16 each for the super-block
 *   recode   the weights are coded again, with the scales as they will be decoded
 *   pack
 */
#include "quantize/encode_kernels.h"

#include <math.h>
#include <string.h>

#include "base/half.h"
#include "formats/blocks.h"
#include "quantize/pack_k.h"
#include "quantize/rounding.h"

/* A search of four super-blocks at a time keeps more of a wide CPU busy than four of one. */
enum { BATCH = 4 };

/* w = d * scale * code - dmin * min: q2_k, q4_k, q5_k. */
struct affine_type {
    size_t nbytes;
    size_t sub_size;
    int scale_max;          /* sub-block scales and minimums are in [0, scale_max] */
    hone_minmax_grid plain; /* without importance; also tells the largest code */
    float sigma2_factor;    /* with importance: of the mean square */
    bool rms_weights;       /* without importance: weights rms + |x|, else |x| */
    void (*pack)(const hone_super_block *s, uint8_t *dst);
};

static const struct affine_type q2_k = {
    .nbytes = sizeof(hone_block_q2_k),
    .sub_size = 16,
    .scale_max = 15,
    .plain = {.nmax = 3, .offset = -0.5f, .step = 0.1f, .n_steps = 15, .absolute = true},
    .sigma2_factor = 1.0f,
    .pack = hone_pack_q2_k,
};
static const struct affine_type q4_k = {
    .nbytes = sizeof(hone_block_q4_k),
    .sub_size = 32,
    .scale_max = 63,
    .plain = {.nmax = 15, .offset = -1.0f, .step = 0.1f, .n_steps = 20},
    .sigma2_factor = 2.0f,
    .rms_weights = true,
    .pack = hone_pack_q4_k,
};
static const struct affine_type q5_k = {
    .nbytes = sizeof(hone_block_q5_k),
    .sub_size = 32,
    .scale_max = 63,
    .plain = {.nmax = 31, .offset = -0.5f, .step = 0.1f, .n_steps = 15},
    .sigma2_factor = 2.0f,
    .rms_weights = true,
    .pack = hone_pack_q5_k,
};

/* What the search finds for a batch of super-blocks. */
struct affine_search {
    float w[BATCH * HONE_QK_K];
    float scales[BATCH * HONE_SUB_BLOCKS_MAX], mins[BATCH * HONE_SUB_BLOCKS_MAX];
    uint8_t codes[BATCH * HONE_QK_K];
};

static void weigh_plain(const struct affine_type *t, const float *x, size_t n, float *w)
{
    for (size_t at = 0; at < n; at += t->sub_size) {
        const float rms = t->rms_weights ? sqrtf(hone_sum_squares(x + at, t->sub_size) / (float)t->sub_size) : 0.0f;
        for (size_t i = at; i < at + t->sub_size; i++)
            w[i] = rms + fabsf(x[i]);
    }
}

/* The largest sub-block scale gets the largest code. */
static uint16_t share_plain(const float *values, size_t n, int code_max, uint8_t *codes)
{
    float max = 0.0f;
    for (size_t j = 0; j < n; j++)
        max = values[j] > max ? values[j] : max;
    const float inverse = max > 0.0f ? (float)code_max / max : 0.0f;
    for (size_t j = 0; j < n; j++) {
        const uint8_t code = (uint8_t)hone_nearest(inverse * values[j]);
        codes[j] = code < code_max ? code : (uint8_t)code_max;
    }
    return hone_store_scale(max / (float)code_max);
}

static uint16_t share_weighted(const float *values, const float *sub_weights, size_t n, int code_max, uint8_t *codes)
{
    const float d = hone_search_positive(code_max, values, sub_weights, n, codes);
    for (size_t j = 0; j < n; j++)
        codes[j] = codes[j] < code_max ? codes[j] : (uint8_t)code_max;
    return hone_store_scale(d);
}

static void sum_weights(const hone_groups *g, float *sums)
{
    for (size_t j = 0; j < g->n; j++) {
        float sum = 0.0f;
        for (size_t i = 0; i < g->size; i++)
            sum += g->w[j * g->size + i];
        sums[j] = sum;
    }
}

static void search_affine(const struct affine_type *t, const hone_search_kernels *k, const float *x,
                          const float *importance, bool fast, size_t nblocks, struct affine_search *found)
{
    hone_minmax_grid grid = t->plain;
    if (fast) {
        grid.n_steps = -1; /* the scale that spans the sub-block, and no trial after it */
        for (size_t i = 0; i < nblocks * HONE_QK_K; i++)
            found->w[i] = 1.0f;
    } else if (importance) {
        grid = (hone_minmax_grid){.nmax = t->plain.nmax, .offset = -0.9f, .step = 0.05f, .n_steps = 36};
        for (size_t at = 0; at < nblocks * HONE_QK_K; at += HONE_QK_K) {
            const float sigma2 = t->sigma2_factor * hone_sum_squares(x + at, HONE_QK_K) / (float)HONE_QK_K;
            k->weigh(importance + at, x + at, HONE_QK_K, sigma2, found->w + at);
        }
    } else {
        weigh_plain(t, x, nblocks * HONE_QK_K, found->w);
    }
    const hone_groups g = {.x = x, .w = found->w, .n = nblocks * HONE_QK_K / t->sub_size, .size = t->sub_size};
    k->minmax(&grid, &g, found->codes, found->scales, found->mins);
}

/* From the real scales of one super-block of the batch to its bytes. */
static void finish_affine(const struct affine_type *t, const hone_search_kernels *k, const float *x, bool weighted,
                          size_t block, struct affine_search *found, uint8_t *out)
{
    const size_t n = HONE_QK_K / t->sub_size;
    float *scales = found->scales + block * n, *mins = found->mins + block * n;
    hone_super_block s = {.codes = found->codes + block * HONE_QK_K};
    const hone_groups g = {.x = x, .w = found->w + block * HONE_QK_K, .n = n, .size = t->sub_size};
    if (weighted) {
        float sub_weights[HONE_SUB_BLOCKS_MAX];
        sum_weights(&g, sub_weights);
        s.d = share_weighted(scales, sub_weights, n, t->scale_max, s.scales);
        s.dmin = share_weighted(mins, sub_weights, n, t->scale_max, s.mins);
    } else {
        s.d = share_plain(scales, n, t->scale_max, s.scales);
        s.dmin = share_plain(mins, n, t->scale_max, s.mins);
    }
    for (size_t j = 0; j < n; j++) {
        scales[j] = hone_f16_to_f32(s.d) * (float)s.scales[j];
        mins[j] = hone_f16_to_f32(s.dmin) * (float)s.mins[j];
    }
    k->recode((hone_recode_range){0, t->plain.nmax}, &g, scales, mins, s.codes);
    t->pack(&s, out);
}

static void encode_affine(const struct affine_type *t, const hone_search_kernels *k, const float *src, size_t ncols,
                          const float *importance, bool fast, void *dst)
{
    uint8_t *out = dst;
    struct affine_search found;
    for (size_t i = 0; i < ncols; i += BATCH * HONE_QK_K) {
        const size_t left = (ncols - i) / HONE_QK_K, nblocks = left < BATCH ? left : BATCH;
        search_affine(t, k, src + i, importance ? importance + i : NULL, fast, nblocks, &found);
        for (size_t b = 0; b < nblocks; b++, out += t->nbytes)
            finish_affine(t, k, src + i + b * HONE_QK_K, importance != NULL, b, &found, out);
    }
}

void hone_encode_q2_k(const hone_search_kernels *k, const float *src, size_t ncols, const float *importance, void *dst)
{
    encode_affine(&q2_k, k, src, ncols, importance, false, dst);
}

void hone_encode_fast_q2_k(const hone_search_kernels *k, const float *src, size_t ncols, void *dst)
{
    encode_affine(&q2_k, k, src, ncols, NULL, true, dst);
}

void hone_encode_q4_k(const hone_search_kernels *k, const float *src, size_t ncols, const float *importance, void *dst)
{
    encode_affine(&q4_k, k, src, ncols, importance, false, dst);
}

void hone_encode_fast_q4_k(const hone_search_kernels *k, const float *src, size_t ncols, void *dst)
{
    encode_affine(&q4_k, k, src, ncols, NULL, true, dst);
}

void hone_encode_q5_k(const hone_search_kernels *k, const float *src, size_t ncols, const float *importance, void *dst)
{
    encode_affine(&q5_k, k, src, ncols, importance, false, dst);
}

void hone_encode_fast_q5_k(const hone_search_kernels *k, const float *src, size_t ncols, void *dst)
{
    encode_affine(&q5_k, k, src, ncols, NULL, true, dst);
}

/* w = d * scale * code: q3_k and q6_k, sixteen sub-blocks of 16. */
enum { SIGNED_SIZE = 16 };

/* The sub-block scale of largest magnitude, with its sign; the first of equals. */
static float largest_scale(const float scales[HONE_SUB_BLOCKS_MAX])
{
    enum { APART = 4 }; /* maxima that do not wait for each other */
    float most[APART] = {0.0f};
    for (int j = 0; j < HONE_SUB_BLOCKS_MAX; j += APART)
        for (int k = 0; k < APART; k++)
            most[k] = fabsf(scales[j + k]) > most[k] ? fabsf(scales[j + k]) : most[k];
    for (int k = 1; k < APART; k++)
        most[0] = most[k] > most[0] ? most[k] : most[0];
    for (int j = 0; j < HONE_SUB_BLOCKS_MAX; j++)
        if (fabsf(scales[j]) == most[0])
            return scales[j];
    return 0.0f; /* all are NaN */
}

static void recode_signed(const hone_search_kernels *k, const float *x, hone_recode_range range,
                          const int sub_scales[HONE_SUB_BLOCKS_MAX], hone_super_block *s)
{
    float scales[HONE_SUB_BLOCKS_MAX];
    for (int j = 0; j < HONE_SUB_BLOCKS_MAX; j++)
        scales[j] = hone_f16_to_f32(s->d) * (float)sub_scales[j];
    const hone_groups g = {.x = x, .n = HONE_SUB_BLOCKS_MAX, .size = SIGNED_SIZE};
    k->recode(range, &g, scales, NULL, s->codes);
}

/* Without importance: what is found for one super-block. */
static void share_q3_k_plain(const float scales[HONE_SUB_BLOCKS_MAX], hone_super_block *s)
{
    const float largest = largest_scale(scales);
    s->d = 0;
    memset(s->scales, 0, sizeof s->scales);
    if (largest == 0.0f)
        return;
    const float inverse = -32.0f / largest;
    for (int j = 0; j < HONE_SUB_BLOCKS_MAX; j++)
        s->scales[j] = (uint8_t)(hone_clamp_int((int8_t)hone_nearest(inverse * scales[j]), -32, 31) + 32);
    s->d = hone_store_scale(1.0f / inverse);
}

/* More super-blocks than elsewhere: the few sub-blocks that need a search are found among many. */
enum { Q3_K_BATCH = 16 };

/* What the search finds for a batch of super-blocks. */
struct q3_k_search {
    float scales[Q3_K_BATCH * HONE_SUB_BLOCKS_MAX], d[Q3_K_BATCH];
    uint8_t sub_codes[Q3_K_BATCH * HONE_SUB_BLOCKS_MAX], codes[Q3_K_BATCH * HONE_QK_K];
};

static void search_q3_k_weighted(const hone_search_kernels *k, const float *x, const float *importance, size_t nblocks,
                                 struct q3_k_search *found)
{
    float w[Q3_K_BATCH * HONE_QK_K], sub_weights[Q3_K_BATCH * HONE_SUB_BLOCKS_MAX];
    const hone_groups g = {.x = x, .w = w, .n = nblocks * HONE_SUB_BLOCKS_MAX, .size = SIGNED_SIZE};
    for (size_t at = 0; at < nblocks * HONE_QK_K; at += HONE_QK_K) {
        const float sigma2 = 2.0f * hone_sum_squares(x + at, HONE_QK_K) / (float)HONE_QK_K;
        k->weigh(importance + at, x + at, HONE_QK_K, sigma2, w + at);
    }
    sum_weights(&g, sub_weights);
    k->sym(4, &g, found->codes, found->scales);
    const hone_groups shared = {.x = found->scales, .w = sub_weights, .n = nblocks, .size = HONE_SUB_BLOCKS_MAX};
    k->sym(32, &shared, found->sub_codes, found->d);
}

/* Sub-blocks that keep the codes of the search, since their shared scale is 0. They are rare: those without importance
 * are searched again for them. */
static void keep_q3_k_codes(const hone_search_kernels *k, const float *x, const hone_super_block *s)
{
    const bool d_is_zero = hone_f16_to_f32(s->d) == 0.0f;
    for (size_t j = 0; j < HONE_SUB_BLOCKS_MAX; j++) {
        float unused;
        const hone_groups g = {.x = x + j * SIGNED_SIZE, .n = 1, .size = SIGNED_SIZE};
        if (d_is_zero || s->scales[j] == 32)
            k->descent(4, &g, s->codes + j * SIGNED_SIZE, &unused);
    }
}

/* From what was found for one super-block of the batch to its bytes. */
static void finish_q3_k(const hone_search_kernels *k, const float *x, bool weighted, size_t block,
                        struct q3_k_search *found, uint8_t *out)
{
    hone_super_block s = {.codes = found->codes + block * HONE_QK_K};
    if (weighted) {
        memcpy(s.scales, found->sub_codes + block * HONE_SUB_BLOCKS_MAX, HONE_SUB_BLOCKS_MAX);
        s.d = hone_store_scale(found->d[block]);
    } else {
        share_q3_k_plain(found->scales + block * HONE_SUB_BLOCKS_MAX, &s);
        keep_q3_k_codes(k, x, &s);
    }
    int sub_scales[HONE_SUB_BLOCKS_MAX];
    for (int j = 0; j < HONE_SUB_BLOCKS_MAX; j++)
        sub_scales[j] = s.scales[j] - 32;
    recode_signed(k, x, (hone_recode_range){-4, 3}, sub_scales, &s);
    hone_pack_q3_k(&s, out);
}

void hone_encode_q3_k(const hone_search_kernels *k, const float *src, size_t ncols, const float *importance, void *dst)
{
    uint8_t *out = dst;
    struct q3_k_search found;
    for (size_t i = 0; i < ncols; i += Q3_K_BATCH * HONE_QK_K) {
        const size_t left = (ncols - i) / HONE_QK_K, nblocks = left < Q3_K_BATCH ? left : Q3_K_BATCH;
        const hone_groups g = {.x = src + i, .n = nblocks * HONE_SUB_BLOCKS_MAX, .size = SIGNED_SIZE};
        if (importance)
            search_q3_k_weighted(k, src + i, importance + i, nblocks, &found);
        else
            k->descent(4, &g, NULL, found.scales);
        for (size_t b = 0; b < nblocks; b++, out += sizeof(hone_block_q3_k))
            finish_q3_k(k, src + i + b * HONE_QK_K, importance != NULL, b, &found, out);
    }
}

void hone_encode_q6_k(const hone_search_kernels *k, const float *src, size_t ncols, const float *importance, void *dst)
{
    uint8_t *out = dst;
    for (size_t i = 0; i < ncols; i += HONE_QK_K, out += sizeof(hone_block_q6_k)) {
        const float *x = src + i;
        uint8_t codes[HONE_QK_K];
        hone_super_block s = {.codes = codes};
        float squares[HONE_QK_K], scales[HONE_SUB_BLOCKS_MAX];
        for (int j = 0; j < HONE_QK_K; j++)
            squares[j] = x[j] * x[j];
        const hone_groups g = {
            .x = x, .w = importance ? importance + i : squares, .n = HONE_SUB_BLOCKS_MAX, .size = SIGNED_SIZE};
        k->sym(32, &g, s.codes, scales);
        const float largest = largest_scale(scales);
        if (fabsf(largest) < 1e-15f) { /* so small that its inverse would soon leave f32; decodes to zeros */
            memset(out, 0, sizeof(hone_block_q6_k));
            continue;
        }
        const float inverse = -128.0f / largest;
        s.d = hone_store_scale(1.0f / inverse);
        int sub_scales[HONE_SUB_BLOCKS_MAX];
        for (int j = 0; j < HONE_SUB_BLOCKS_MAX; j++) {
            const int scale = hone_nearest(inverse * scales[j]);
            sub_scales[j] = (int8_t)(scale < 127 ? scale : 127);
            s.scales[j] = (uint8_t)sub_scales[j];
        }
        recode_signed(k, x, (hone_recode_range){-32, 31}, sub_scales, &s);
        hone_pack_q6_k(&s, out);
    }
}
