/* SPDX-License-Identifier: MIT */
/* Decoding plain element types, and the choice of a decoder. */
#include "formats/decode_kernels.h"

#include <string.h>

#include "base/cursor.h"
#include "base/half.h"

static void decode_f64(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i++)
        dst[i] = (float)hone_load_f64(p + 8 * i);
}

static void decode_f32(const void *src, float *dst, size_t nelems)
{
    memcpy(dst, src, nelems * sizeof *dst);
}

static void decode_f16(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i++)
        dst[i] = hone_f16_to_f32(hone_load_u16(p + 2 * i));
}

static void decode_bf16(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i++)
        dst[i] = hone_bf16_to_f32(hone_load_u16(p + 2 * i));
}

/* s eeee mmm, bias 7. There is no infinity: only s 1111 111 is special, a NaN. */
static float f8_e4m3_to_f32(uint8_t byte)
{
    const uint32_t sign = (uint32_t)(byte & 0x80u) << 24;
    const uint32_t rest = byte & 0x7fu;
    if (rest == 0x7f)
        return hone_f32_from_bits(sign | 0x7fc00000u);
    if (rest >= 0x08) /* normal: move the exponent from bias 7 to bias 127 */
        return hone_f32_from_bits(sign | ((rest << 20) + (120u << 23)));
    return hone_f32_from_bits(sign | hone_f32_bits((float)rest * 0x1p-9f));
}

static void decode_f8_e4m3(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i++)
        dst[i] = f8_e4m3_to_f32(p[i]);
}

/* s eeeee mm: the upper byte of an f16. */
static void decode_f8_e5m2(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i++)
        dst[i] = hone_f16_to_f32((uint16_t)(p[i] << 8));
}

/* A bare exponent: 2^(e - 127). 2^-127 is subnormal in f32; 255 is NaN. */
static float f8_e8m0_to_f32(uint8_t e)
{
    if (e == 255)
        return hone_f32_from_bits(0x7fc00000u);
    return hone_f32_from_bits(e == 0 ? 0x00400000u : (uint32_t)e << 23);
}

static void decode_f8_e8m0(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i++)
        dst[i] = f8_e8m0_to_f32(p[i]);
}

static void decode_i64(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i++)
        dst[i] = (float)(int64_t)hone_load_u64(p + 8 * i);
}

static void decode_u64(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i++)
        dst[i] = (float)hone_load_u64(p + 8 * i);
}

static void decode_i32(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i++)
        dst[i] = (float)(int32_t)hone_load_u32(p + 4 * i);
}

static void decode_u32(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i++)
        dst[i] = (float)hone_load_u32(p + 4 * i);
}

static void decode_i16(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i++)
        dst[i] = (float)(int16_t)hone_load_u16(p + 2 * i);
}

static void decode_u16(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i++)
        dst[i] = (float)hone_load_u16(p + 2 * i);
}

static void decode_i8(const void *src, float *dst, size_t nelems)
{
    const int8_t *p = src;
    for (size_t i = 0; i < nelems; i++)
        dst[i] = (float)p[i];
}

static void decode_u8(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i++)
        dst[i] = (float)p[i];
}

static void decode_bool(const void *src, float *dst, size_t nelems)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < nelems; i++)
        dst[i] = p[i] != 0 ? 1.0f : 0.0f;
}

static const hone_decode_fn decoders_ref[HONE_N_DTYPES] = {
    [HONE_F64] = decode_f64,
    [HONE_F32] = decode_f32,
    [HONE_F16] = decode_f16,
    [HONE_BF16] = decode_bf16,
    [HONE_F8_E4M3] = decode_f8_e4m3,
    [HONE_F8_E5M2] = decode_f8_e5m2,
    [HONE_F8_E8M0] = decode_f8_e8m0,
    [HONE_I64] = decode_i64,
    [HONE_I32] = decode_i32,
    [HONE_I16] = decode_i16,
    [HONE_I8] = decode_i8,
    [HONE_U64] = decode_u64,
    [HONE_U32] = decode_u32,
    [HONE_U16] = decode_u16,
    [HONE_U8] = decode_u8,
    [HONE_BOOL] = decode_bool,
    [HONE_Q4_0] = hone_decode_q4_0,
    [HONE_Q4_1] = hone_decode_q4_1,
    [HONE_Q5_0] = hone_decode_q5_0,
    [HONE_Q5_1] = hone_decode_q5_1,
    [HONE_Q8_0] = hone_decode_q8_0,
    [HONE_Q2_K] = hone_decode_q2_k,
    [HONE_Q3_K] = hone_decode_q3_k,
    [HONE_Q4_K] = hone_decode_q4_k,
    [HONE_Q5_K] = hone_decode_q5_k,
    [HONE_Q6_K] = hone_decode_q6_k,
    [HONE_Q1_0] = hone_decode_q1_0,
    [HONE_Q2_0] = hone_decode_q2_0,
    [HONE_Q8_1] = hone_decode_q8_1,
    [HONE_Q8_K] = hone_decode_q8_k,
    [HONE_IQ4_NL] = hone_decode_iq4_nl,
    [HONE_IQ4_XS] = hone_decode_iq4_xs,
    [HONE_MXFP4] = hone_decode_mxfp4,
    [HONE_NVFP4] = hone_decode_nvfp4,
    [HONE_TQ1_0] = hone_decode_tq1_0,
    [HONE_TQ2_0] = hone_decode_tq2_0,
    [HONE_IQ3_S] = hone_decode_iq3_s,
    [HONE_IQ3_XXS] = hone_decode_iq3_xxs,
    [HONE_IQ2_S] = hone_decode_iq2_s,
    [HONE_IQ2_XS] = hone_decode_iq2_xs,
    [HONE_IQ2_XXS] = hone_decode_iq2_xxs,
    [HONE_IQ1_S] = hone_decode_iq1_s,
    [HONE_IQ1_M] = hone_decode_iq1_m,
};

hone_decode_fn hone_decoder(hone_dtype dtype, hone_cpu_level cpu)
{
    if ((unsigned)dtype >= HONE_N_DTYPES)
        return NULL;
#if defined(__x86_64__)
    if ((cpu == HONE_CPU_AVX2 || cpu == HONE_CPU_AVX512) && hone_decoders_avx2[dtype])
        return hone_decoders_avx2[dtype];
#else
    (void)cpu;
#endif
    return decoders_ref[dtype];
}
