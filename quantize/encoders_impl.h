/* SPDX-License-Identifier: MIT */
/*
 * The tables of encoders of one level: included once by each level's file, after it has defined
 *
 *   HONE_SEARCH_KERNELS                                         its searches
 *   HONE_ENCODERS, HONE_FAST_ENCODERS                           what the tables are called
 *   encode_f16, encode_bf16, encode_q8_0, encode_mxfp4, encode_nvfp4
 *   plain_q4_0, plain_q4_1, plain_q5_0, plain_q5_1              without importance: nothing is searched
 *
 * What makes a block of groups is written once, over the searches.
 */
#include "quantize/encode_kernels.h"

static void encode_q4_0(const float *src, size_t ncols, const float *importance, void *dst)
{
    if (importance)
        hone_encode_q4_0(&HONE_SEARCH_KERNELS, src, ncols, importance, dst);
    else
        plain_q4_0(src, ncols, NULL, dst);
}

static void encode_q4_1(const float *src, size_t ncols, const float *importance, void *dst)
{
    if (importance)
        hone_encode_q4_1(&HONE_SEARCH_KERNELS, src, ncols, importance, dst);
    else
        plain_q4_1(src, ncols, NULL, dst);
}

static void encode_q5_0(const float *src, size_t ncols, const float *importance, void *dst)
{
    if (importance)
        hone_encode_q5_0(&HONE_SEARCH_KERNELS, src, ncols, importance, dst);
    else
        plain_q5_0(src, ncols, NULL, dst);
}

static void encode_q5_1(const float *src, size_t ncols, const float *importance, void *dst)
{
    if (importance)
        hone_encode_q5_1(&HONE_SEARCH_KERNELS, src, ncols, importance, dst);
    else
        plain_q5_1(src, ncols, NULL, dst);
}

static void encode_q2_k(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_encode_q2_k(&HONE_SEARCH_KERNELS, src, ncols, importance, dst);
}

static void encode_q3_k(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_encode_q3_k(&HONE_SEARCH_KERNELS, src, ncols, importance, dst);
}

static void encode_q4_k(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_encode_q4_k(&HONE_SEARCH_KERNELS, src, ncols, importance, dst);
}

static void encode_q5_k(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_encode_q5_k(&HONE_SEARCH_KERNELS, src, ncols, importance, dst);
}

static void encode_q6_k(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_encode_q6_k(&HONE_SEARCH_KERNELS, src, ncols, importance, dst);
}

static void encode_iq4_nl(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_encode_iq4_nl(&HONE_SEARCH_KERNELS, src, ncols, importance, dst);
}

static void encode_iq4_xs(const float *src, size_t ncols, const float *importance, void *dst)
{
    hone_encode_iq4_xs(&HONE_SEARCH_KERNELS, src, ncols, importance, dst);
}

const hone_encode_fn HONE_ENCODERS[HONE_N_DTYPES] = {
    [HONE_F16] = encode_f16,       [HONE_BF16] = encode_bf16,     [HONE_Q4_0] = encode_q4_0,
    [HONE_Q4_1] = encode_q4_1,     [HONE_Q5_0] = encode_q5_0,     [HONE_Q5_1] = encode_q5_1,
    [HONE_Q8_0] = encode_q8_0,     [HONE_Q2_K] = encode_q2_k,     [HONE_Q3_K] = encode_q3_k,
    [HONE_Q4_K] = encode_q4_k,     [HONE_Q5_K] = encode_q5_k,     [HONE_Q6_K] = encode_q6_k,
    [HONE_IQ4_NL] = encode_iq4_nl, [HONE_IQ4_XS] = encode_iq4_xs, [HONE_MXFP4] = encode_mxfp4,
    [HONE_NVFP4] = encode_nvfp4,
};

static void fast_q2_k(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    hone_encode_fast_q2_k(&HONE_SEARCH_KERNELS, src, ncols, dst);
}

static void fast_q3_k(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    hone_encode_fast_q3_k(&HONE_SEARCH_KERNELS, src, ncols, dst);
}

static void fast_q4_k(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    hone_encode_fast_q4_k(&HONE_SEARCH_KERNELS, src, ncols, dst);
}

static void fast_q5_k(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    hone_encode_fast_q5_k(&HONE_SEARCH_KERNELS, src, ncols, dst);
}

static void fast_q6_k(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    hone_encode_fast_q6_k(&HONE_SEARCH_KERNELS, src, ncols, dst);
}

const hone_encode_fn HONE_FAST_ENCODERS[HONE_N_DTYPES] = {
    [HONE_Q4_0] = plain_q4_0, [HONE_Q4_1] = plain_q4_1, [HONE_Q5_0] = plain_q5_0,
    [HONE_Q5_1] = plain_q5_1, [HONE_Q2_K] = fast_q2_k,  [HONE_Q3_K] = fast_q3_k,
    [HONE_Q4_K] = fast_q4_k,  [HONE_Q5_K] = fast_q5_k,  [HONE_Q6_K] = fast_q6_k,
};
