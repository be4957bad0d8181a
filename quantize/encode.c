/* SPDX-License-Identifier: MIT */
/* Encoding to plain floats, and the choice of an encoder. */
#include "quantize/encode_kernels.h"

#include <string.h>

#include "base/cursor.h"
#include "base/half.h"
#include "quantize/best_kernels.h"
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

static void encode_q4_0(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_encode_q4_0(&hone_search_ref, src, ncols, importance, dst);
}

static void encode_q4_1(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_encode_q4_1(&hone_search_ref, src, ncols, importance, dst);
}

static void encode_q5_0(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_encode_q5_0(&hone_search_ref, src, ncols, importance, dst);
}

static void encode_q5_1(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_encode_q5_1(&hone_search_ref, src, ncols, importance, dst);
}

static void encode_q2_k(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_encode_q2_k(&hone_search_ref, src, ncols, importance, dst);
}

static void encode_q3_k(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_encode_q3_k(&hone_search_ref, src, ncols, importance, dst);
}

static void encode_q4_k(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_encode_q4_k(&hone_search_ref, src, ncols, importance, dst);
}

static void encode_q5_k(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_encode_q5_k(&hone_search_ref, src, ncols, importance, dst);
}

static void encode_q6_k(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_encode_q6_k(&hone_search_ref, src, ncols, importance, dst);
}

static const hone_encode_fn encoders_ref[HONE_N_DTYPES] = {
    [HONE_F32] = encode_f32,
    [HONE_F16] = encode_f16,
    [HONE_BF16] = encode_bf16,
    [HONE_Q4_0] = encode_q4_0,
    [HONE_Q4_1] = encode_q4_1,
    [HONE_Q5_0] = encode_q5_0,
    [HONE_Q5_1] = encode_q5_1,
    [HONE_Q8_0] = encode_q8_0,
    [HONE_Q2_K] = encode_q2_k,
    [HONE_Q3_K] = encode_q3_k,
    [HONE_Q4_K] = encode_q4_k,
    [HONE_Q5_K] = encode_q5_k,
    [HONE_Q6_K] = encode_q6_k,
    [HONE_IQ4_NL] = hone_encode_iq4_nl,
    [HONE_IQ4_XS] = hone_encode_iq4_xs,
    [HONE_MXFP4] = hone_encode_mxfp4,
    [HONE_NVFP4] = hone_encode_nvfp4,
    [HONE_Q1_0] = hone_encode_q1_0,
    [HONE_Q2_0] = hone_encode_q2_0,
    [HONE_TQ1_0] = hone_encode_tq1_0,
    [HONE_TQ2_0] = hone_encode_tq2_0,
};

static void fast_q4_0(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    encode_q4_0(src, ncols, NULL, dst);
}

static void fast_q4_1(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    encode_q4_1(src, ncols, NULL, dst);
}

static void fast_q5_0(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    encode_q5_0(src, ncols, NULL, dst);
}

static void fast_q5_1(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    encode_q5_1(src, ncols, NULL, dst);
}

static void fast_q2_k(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    hone_encode_fast_q2_k(&hone_search_ref, src, ncols, dst);
}

static void fast_q3_k(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    hone_encode_fast_q3_k(&hone_search_ref, src, ncols, dst);
}

static void fast_q4_k(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    hone_encode_fast_q4_k(&hone_search_ref, src, ncols, dst);
}

static void fast_q5_k(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    hone_encode_fast_q5_k(&hone_search_ref, src, ncols, dst);
}

static void fast_q6_k(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    hone_encode_fast_q6_k(&hone_search_ref, src, ncols, dst);
}

static const hone_encode_fn fast_encoders_ref[HONE_N_DTYPES] = {
    [HONE_Q4_0] = fast_q4_0, [HONE_Q4_1] = fast_q4_1, [HONE_Q5_0] = fast_q5_0,
    [HONE_Q5_1] = fast_q5_1, [HONE_Q2_K] = fast_q2_k, [HONE_Q3_K] = fast_q3_k,
    [HONE_Q4_K] = fast_q4_k, [HONE_Q5_K] = fast_q5_k, [HONE_Q6_K] = fast_q6_k,
};

/* NULL where a search has nothing of its own: the reference search's will do. */
static hone_encode_fn find(const hone_encode_fn *ref, const hone_encode_fn *avx2, const hone_encode_fn *avx512,
                           hone_dtype dtype, hone_cpu_level cpu)
{
    hone_encode_fn found = ref[dtype];
    if ((cpu == HONE_CPU_AVX2 || cpu == HONE_CPU_AVX512) && avx2 && avx2[dtype])
        found = avx2[dtype];
    if (cpu == HONE_CPU_AVX512 && avx512 && avx512[dtype])
        found = avx512[dtype];
    return found;
}

hone_encode_fn hone_encoder(hone_dtype dtype, hone_search search, hone_cpu_level cpu)
{
    if ((unsigned)dtype >= HONE_N_DTYPES || (unsigned)search >= HONE_N_SEARCHES)
        return NULL;
    hone_encode_fn own = NULL;
#if defined(__x86_64__)
    if (search == HONE_SEARCH_BEST)
        own = find(hone_best_encoders_ref, hone_best_encoders_avx2, hone_best_encoders_avx512, dtype, cpu);
    if (search == HONE_SEARCH_FAST)
        own = find(fast_encoders_ref, hone_fast_encoders_avx2, NULL, dtype, cpu);
    return own ? own : find(encoders_ref, hone_encoders_avx2, NULL, dtype, cpu);
#else
    if (search == HONE_SEARCH_BEST)
        own = find(hone_best_encoders_ref, NULL, NULL, dtype, cpu);
    if (search == HONE_SEARCH_FAST)
        own = find(fast_encoders_ref, NULL, NULL, dtype, cpu);
    return own ? own : find(encoders_ref, NULL, NULL, dtype, cpu);
#endif
}

bool hone_encoder_weighs(hone_dtype dtype, hone_search search)
{
    if (search == HONE_SEARCH_FAST)
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
        return true;
    case HONE_MXFP4:
    case HONE_NVFP4:
        return search == HONE_SEARCH_BEST;
    default:
        return false;
    }
}
