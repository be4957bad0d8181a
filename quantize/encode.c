/* SPDX-License-Identifier: MIT */
/* Encoding to plain floats, and the choice of an encoder. */
#include "quantize/encode_kernels.h"

#include <string.h>

#include "base/cursor.h"
#include "base/half.h"
#include "quantize/best_kernels.h"
#include "quantize/book_encoders.h"
#include "quantize/table_encoders.h"

static void encode_f32(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    memcpy(dst, src, ncols * sizeof *src);
}

static void encode_f16(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    uint8_t *out = dst;
    for (size_t i = 0; i < ncols; i++)
        hone_store_u16(out + 2 * i, hone_f32_to_f16(src[i]));
}

static void encode_bf16(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    uint8_t *out = dst;
    for (size_t i = 0; i < ncols; i++)
        hone_store_u16(out + 2 * i, hone_f32_to_bf16(src[i]));
}

static void encode_q8_0(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance; /* every weight is within half a step: nothing to trade */
    hone_encode_q8_0(src, ncols, dst);
}

static void plain_q4_0(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    hone_encode_q4_0(&hone_search_ref, src, ncols, NULL, dst);
}

static void plain_q4_1(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    hone_encode_q4_1(&hone_search_ref, src, ncols, NULL, dst);
}

static void plain_q5_0(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    hone_encode_q5_0(&hone_search_ref, src, ncols, NULL, dst);
}

static void plain_q5_1(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    hone_encode_q5_1(&hone_search_ref, src, ncols, NULL, dst);
}

#define encode_mxfp4 hone_encode_mxfp4
#define encode_nvfp4 hone_encode_nvfp4
#define HONE_SEARCH_KERNELS hone_search_ref
#define HONE_ENCODERS hone_encoders_ref
#define HONE_FAST_ENCODERS hone_fast_encoders_ref
#include "quantize/encoders_impl.h"

/* Types with one encoder, whatever the level. */
static const hone_encode_fn portable_encoders[HONE_N_DTYPES] = {
    [HONE_F32] = encode_f32,          [HONE_Q1_0] = hone_encode_q1_0,   [HONE_Q2_0] = hone_encode_q2_0,
    [HONE_TQ1_0] = hone_encode_tq1_0, [HONE_TQ2_0] = hone_encode_tq2_0,
};

/* The encoders of each level, by search. Where a search has none, the reference search's will do. */
static const hone_encode_fn *const encoders[HONE_CPU_N_LEVELS][HONE_N_SEARCHES] = {
    [HONE_CPU_REF] = {[HONE_SEARCH_REFERENCE] = hone_encoders_ref,
                      [HONE_SEARCH_BEST] = hone_best_encoders_ref,
                      [HONE_SEARCH_FAST] = hone_fast_encoders_ref},
#if defined(__x86_64__)
    [HONE_CPU_AVX2] = {[HONE_SEARCH_REFERENCE] = hone_encoders_avx2,
                       [HONE_SEARCH_BEST] = hone_best_encoders_avx2,
                       [HONE_SEARCH_FAST] = hone_fast_encoders_avx2},
    [HONE_CPU_AVX512] = {[HONE_SEARCH_REFERENCE] = hone_encoders_avx512,
                         [HONE_SEARCH_BEST] = hone_best_encoders_avx512,
                         [HONE_SEARCH_FAST] = hone_fast_encoders_avx512},
#elif defined(__aarch64__)
    [HONE_CPU_NEON] = {[HONE_SEARCH_REFERENCE] = hone_encoders_neon,
                       [HONE_SEARCH_BEST] = hone_best_encoders_neon,
                       [HONE_SEARCH_FAST] = hone_fast_encoders_neon},
#endif
};

hone_encode_fn hone_encoder(hone_dtype dtype, hone_search search, hone_cpu_level cpu)
{
    if ((unsigned)dtype >= HONE_N_DTYPES || (unsigned)search >= HONE_N_SEARCHES || (unsigned)cpu >= HONE_CPU_N_LEVELS)
        return NULL;
    const hone_encode_fn *const *level = encoders[encoders[cpu][HONE_SEARCH_REFERENCE] ? cpu : HONE_CPU_REF];
    hone_encode_fn found = level[search][dtype];
    if (!found)
        found = level[HONE_SEARCH_REFERENCE][dtype];
    if (!found)
        found = portable_encoders[dtype];
    return found ? found : hone_book_encoder(dtype, search, cpu);
}

bool hone_encoder_weighs(hone_dtype dtype, hone_search search)
{
    if (search == HONE_SEARCH_FAST && !hone_book_encoder(dtype, search, HONE_CPU_REF))
        return false;
    switch (dtype) {
    case HONE_Q4_0:
    case HONE_Q4_1:
    case HONE_Q5_0:
    case HONE_Q5_1:
    case HONE_Q2_K:
    case HONE_Q3_K:
    case HONE_Q4_K:
    case HONE_Q5_K:
    case HONE_Q6_K:
    case HONE_IQ4_NL:
    case HONE_IQ4_XS:
    case HONE_IQ3_S:
    case HONE_IQ3_XXS:
    case HONE_IQ2_S:
    case HONE_IQ2_XS:
    case HONE_IQ2_XXS:
    case HONE_IQ1_S:
    case HONE_IQ1_M:
        return true;
    case HONE_MXFP4:
    case HONE_NVFP4:
        return search == HONE_SEARCH_BEST;
    default:
        return false;
    }
}
