/* SPDX-License-Identifier: MIT */
/*
 * The best search for tq1_0 and tq2_0. The reference's scale is the largest magnitude, which is right for weights that
 * are ternary already; others want a smaller one.
 */
#include "quantize/best.h"

#include "base/half.h"
#include "formats/blocks.h"
#include "quantize/table_encoders.h"

struct ternary_type {
    hone_dtype dtype;
    size_t nbytes;
    void (*pack)(float d, const uint8_t *codes, uint8_t *dst);
};

struct scale {
    float d;
    double gain; /* what it takes off the sum of squares */
};

/* The scale that fits best the codes which `inverse` gives; best, if that is better. */
static struct scale try_inverse(const hone_best_kernels *k, const hone_run *run, float inverse, struct scale best)
{
    hone_run_sums sums;
    k->run_sums(run, 0.0f, inverse, -1, 1, &sums);
    if (!(sums.ll > 0.0f && sums.xl > 0.0f))
        return best;
    const double d = (double)sums.xl / (double)sums.ll, gain = d * (double)sums.xl;
    return gain > best.gain ? (struct scale){(float)d, gain} : best;
}

static float find_scale(const hone_best_kernels *k, const hone_run *run, float largest)
{
    /* Trials: the largest magnitude, in units of the scale. */
    static const float ratios[] = {0.8f, 1.0f, 1.25f, 1.6f, 2.0f, 2.5f, 3.2f, 4.0f, 5.0f, 6.5f, 9.0f, 14.0f};
    enum { N_RATIOS = sizeof ratios / sizeof ratios[0], N_ROUNDS = 3 };
    struct scale best = {0.0f, 0.0};
    for (int i = 0; i < N_RATIOS; i++)
        best = try_inverse(k, run, ratios[i] / largest, best);
    for (int r = 0; r < N_ROUNDS && best.d > 0.0f; r++)
        best = try_inverse(k, run, 1.0f / best.d, best);
    return best.d;
}

static void improve_block(const struct ternary_type *t, const hone_best_kernels *k, const float *x, const float *w,
                          uint8_t *out)
{
    const float largest = k->largest(x, HONE_QK_K);
    hone_run run = {.x = x, .w = w, .n = HONE_QK_K, .x_factor = hone_best_factor(largest)};
    hone_best_weigh(k, w, HONE_QK_K, &run.w_factor, &run.w_plus);
    float stored, d = find_scale(k, &run, largest * run.x_factor);
    d = hone_f16_to_f32(hone_best_half(d, run.x_factor, &stored));
    if (!(d > 0.0f))
        return;
    uint8_t codes[HONE_QK_K], block[sizeof(hone_block_tq2_0)];
    k->codes(-1, 1, x, 1, HONE_QK_K, &d, NULL, codes);
    t->pack(d, codes, block);
    hone_best_keep(k, t->dtype, x, w, run.x_factor, block, out);
}

static void encode(const struct ternary_type *t, const hone_best_kernels *k, const float *src, size_t ncols,
                   const float *importance, void *dst)
{
    uint8_t *out = dst;
    hone_encoder(t->dtype, HONE_SEARCH_REFERENCE, k->level)(src, ncols, importance, dst);
    for (size_t i = 0; i < ncols; i += HONE_QK_K, out += t->nbytes)
        improve_block(t, k, src + i, importance ? importance + i : NULL, out);
}

void hone_best_tq1_0(const hone_best_kernels *k, const float *src, size_t ncols, const float *importance, void *dst)
{
    static const struct ternary_type t = {HONE_TQ1_0, sizeof(hone_block_tq1_0), hone_pack_tq1_0};
    encode(&t, k, src, ncols, importance, dst);
}

void hone_best_tq2_0(const hone_best_kernels *k, const float *src, size_t ncols, const float *importance, void *dst)
{
    static const struct ternary_type t = {HONE_TQ2_0, sizeof(hone_block_tq2_0), hone_pack_tq2_0};
    encode(&t, k, src, ncols, importance, dst);
}
