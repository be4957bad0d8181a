/* SPDX-License-Identifier: MIT */
#include "quantize/best.h"

#include <math.h>
#include <string.h>

#include "base/half.h"
#include "formats/blocks.h"
#include "formats/decode.h"

const hone_best_kernels *hone_best_kernels_for(hone_cpu_level cpu)
{
#if defined(__x86_64__)
    if (cpu == HONE_CPU_AVX512)
        return &hone_best_avx512;
    if (cpu == HONE_CPU_AVX2)
        return &hone_best_avx2;
#elif defined(__aarch64__)
    if (cpu == HONE_CPU_NEON)
        return &hone_best_neon;
#endif
    (void)cpu;
    return &hone_best_ref;
}

float hone_best_factor(float largest)
{
    int exponent;
    if (!(largest > 0.0f) || (largest > 0x1p-40f && largest < 0x1p40f))
        return 1.0f;
    (void)frexpf(largest, &exponent);
    return ldexpf(1.0f, exponent < -126 ? 126 : -exponent);
}

/* The margin is wider than what rounding can do to the sums. Written so that a reference that overflowed loses. */
static bool beats(float error, float before)
{
    return error < INFINITY && !(error >= before * (1.0f - 0x1p-16f));
}

void hone_best_keep(const hone_best_kernels *k, hone_dtype dtype, const float *x, const float *importance, float factor,
                    const uint8_t *candidate, uint8_t *kept)
{
    const hone_decode_fn decode = hone_decoder(dtype, k->level);
    const hone_dtype_info *info = hone_dtype_describe(dtype);
    const size_t n = info->block_nelems;
    float new[HONE_QK_K], old[HONE_QK_K]; /* the largest block */
    decode(candidate, new, n);
    decode(kept, old, n);
    float error = k->error(x, new, importance, n, factor), before = k->error(x, old, importance, n, factor);
    if (importance && error == 0.0f && before == 0.0f) { /* nothing here has importance */
        error = k->error(x, new, NULL, n, factor);
        before = k->error(x, old, NULL, n, factor);
    }
    if (beats(error, before))
        memcpy(kept, candidate, info->block_nbytes);
}

void hone_best_compare(const hone_best_kernels *k, const hone_packing *p, const hone_tile *t, const float *w,
                       hone_tile_blocks *old, hone_tile_blocks *new, bool better[HONE_TILE])
{
    bool equal[HONE_TILE], any = false;
    k->packed_error(p, t, w, old);
    k->pack(p, t, w, new);
    for (int g = 0; g < HONE_TILE; g++) {
        better[g] = beats(new->error.of[g], old->error.of[g]);
        equal[g] = w && new->error.of[g] == 0.0f && old->error.of[g] == 0.0f; /* nothing there has importance */
        any = any || equal[g];
    }
    if (!any)
        return;
    k->packed_error(p, t, NULL, old);
    k->pack(p, t, NULL, new);
    for (int g = 0; g < HONE_TILE; g++)
        better[g] = equal[g] ? beats(new->error.of[g], old->error.of[g]) : better[g];
}

uint16_t hone_best_half(float d, float factor, float *rounded)
{
    const double real = (double)d / (double)factor;
    const float limited = real > 65504.0 ? 65504.0f : real < -65504.0 ? -65504.0f : (float)real;
    const uint16_t half = hone_f32_to_f16(limited);
    *rounded = hone_f16_to_f32(half) * factor;
    return half;
}

void hone_best_weigh(const hone_best_kernels *k, const float *importance, size_t n, float *factor, float *plus)
{
    const float most = importance ? k->largest(importance, n) : 1.0f;
    *plus = most > 0.0f ? most * 0x1p-30f : 1.0f;
    *factor = hone_best_factor(most);
}
