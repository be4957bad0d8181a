/* SPDX-License-Identifier: MIT */
/* Decoders of portable C against the formats' definitions, written out here a second time as plainly as possible. */
#include <check.h>
#include <float.h>
#include <math.h>
#include <string.h>
#include <zlib.h>

#include "base/cursor.h"
#include "base/half.h"
#include "formats/blocks.h"
#include "formats/decode.h"
#include "formats/value_tables.h"
#include "hone/context.h"
#include "hone/quantize.h"
#include "tests/support/seeded_weights.h"

Suite *hone_suite_decode(void);

static float decode1(hone_dtype dtype, const void *src)
{
    float out = -1.0f;
    hone_decoder(dtype, HONE_CPU_REF)(src, &out, 1);
    return out;
}

#define DECODES_TO(dtype, type, value, want)                                                                           \
    do {                                                                                                               \
        const type v_ = (value);                                                                                       \
        ck_assert_float_eq(decode1((dtype), &v_), (want));                                                             \
    } while (0)

START_TEST(halves_decode_by_ieee_754)
{
    for (unsigned h = 0; h < 65536; h++) {
        const uint16_t half = (uint16_t)h;
        const int exponent = h >> 10 & 31, mantissa = h & 1023;
        const float got = decode1(HONE_F16, &half);
        ck_assert_int_eq(!!signbit(got), h >> 15);
        if (exponent == 31 && mantissa != 0) {
            ck_assert_float_nan(got);
            continue;
        }
        const double magnitude = exponent == 31  ? (double)INFINITY
                                 : exponent == 0 ? ldexp(mantissa, -24)
                                                 : ldexp(1024 + mantissa, exponent - 25);
        ck_assert_double_eq(fabs((double)got), magnitude);
    }
}
END_TEST

START_TEST(bf16_is_the_upper_half_of_a_float)
{
    DECODES_TO(HONE_BF16, uint16_t, 0x3f80, 1.0f);
    DECODES_TO(HONE_BF16, uint16_t, 0xc049, -3.140625f);
    DECODES_TO(HONE_BF16, uint16_t, 0x0001, 0x1p-133f);
    DECODES_TO(HONE_BF16, uint16_t, 0x7f80, INFINITY);
}
END_TEST

START_TEST(e4m3_has_nan_but_no_infinity)
{
    for (unsigned b = 0; b < 256; b++) {
        const uint8_t byte = (uint8_t)b;
        const int exponent = b >> 3 & 15, mantissa = b & 7;
        const float got = decode1(HONE_F8_E4M3, &byte);
        if ((b & 127) == 127) {
            ck_assert_float_nan(got);
            continue;
        }
        const double magnitude = exponent == 0 ? ldexp(mantissa, -9) : ldexp(8 + mantissa, exponent - 10);
        ck_assert_double_eq((double)got, b & 128 ? -magnitude : magnitude);
    }
    DECODES_TO(HONE_F8_E4M3, uint8_t, 0x7e, 448.0f);
}
END_TEST

START_TEST(e5m2_has_nans_and_infinities)
{
    for (unsigned b = 0; b < 256; b++) {
        const uint8_t byte = (uint8_t)b;
        const int exponent = b >> 2 & 31, mantissa = b & 3;
        const float got = decode1(HONE_F8_E5M2, &byte);
        if (exponent == 31 && mantissa != 0) {
            ck_assert_float_nan(got);
            continue;
        }
        const double magnitude = exponent == 31  ? (double)INFINITY
                                 : exponent == 0 ? ldexp(mantissa, -16)
                                                 : ldexp(4 + mantissa, exponent - 17);
        ck_assert_double_eq((double)got, b & 128 ? -magnitude : magnitude);
    }
}
END_TEST

START_TEST(e8m0_is_a_power_of_two)
{
    for (unsigned e = 0; e < 255; e++) {
        const uint8_t byte = (uint8_t)e;
        ck_assert_double_eq((double)decode1(HONE_F8_E8M0, &byte), ldexp(1, (int)e - 127));
    }
    const uint8_t last = 255;
    ck_assert_float_nan(decode1(HONE_F8_E8M0, &last));
}
END_TEST

START_TEST(wider_types_round_to_nearest)
{
    DECODES_TO(HONE_F64, double, 1.0 + 0x1p-24, 1.0f);
    DECODES_TO(HONE_F64, double, 1.0 + 0x1.8p-24, 1.0f + 0x1p-23f);
    DECODES_TO(HONE_F64, double, 1e300, INFINITY);
    DECODES_TO(HONE_F64, double, 0x1p-149, 0x1p-149f);
    DECODES_TO(HONE_F32, float, -0x1p-149f, -0x1p-149f);
    DECODES_TO(HONE_I64, int64_t, -(INT64_C(1) << 60) - 1, -0x1p60f);
    DECODES_TO(HONE_I64, int64_t, INT64_MIN, -0x1p63f);
    DECODES_TO(HONE_U64, uint64_t, UINT64_MAX, 0x1p64f);
    DECODES_TO(HONE_I32, int32_t, 16777217, 16777216.0f);
    DECODES_TO(HONE_U32, uint32_t, UINT32_MAX, 0x1p32f);
}
END_TEST

START_TEST(small_integers_keep_sign_and_value)
{
    DECODES_TO(HONE_I16, int16_t, -32768, -32768.0f);
    DECODES_TO(HONE_U16, uint16_t, 65535, 65535.0f);
    DECODES_TO(HONE_I8, int8_t, -128, -128.0f);
    DECODES_TO(HONE_U8, uint8_t, 255, 255.0f);
    DECODES_TO(HONE_BOOL, uint8_t, 1, 1.0f);
    DECODES_TO(HONE_BOOL, uint8_t, 2, 1.0f);
    DECODES_TO(HONE_BOOL, uint8_t, 0, 0.0f);
}
END_TEST

/* Decodes one block and compares with want[]. */
static void check_block(hone_dtype dtype, const void *block, const float *want)
{
    float got[HONE_QK_K];
    const size_t n = hone_dtype_describe(dtype)->block_nelems;
    hone_decoder(dtype, HONE_CPU_REF)(block, got, n);
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(got[i] == want[i], "%s element %zu: %a, not %a", hone_dtype_describe(dtype)->name, i,
                      (double)got[i], (double)want[i]);
}

static const uint16_t half_025 = 0x3400, half_3 = 0x4200, half_minus_2 = 0xc000;

static int bits(const uint8_t *bytes, int byte, int shift, int width)
{
    return bytes[byte] >> shift & ((1 << width) - 1);
}

static void random_bytes(void *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)p)[i] = (uint8_t)(hone_seeded_bits(7, i) >> 40);
}

START_TEST(blocks_of_32_decode_as_drawn)
{
    hone_block_q4_0 q4_0;
    hone_block_q4_1 q4_1;
    hone_block_q5_0 q5_0;
    hone_block_q5_1 q5_1;
    hone_block_q8_0 q8_0;
    random_bytes(&q4_0, sizeof q4_0);
    random_bytes(&q4_1, sizeof q4_1);
    random_bytes(&q5_0, sizeof q5_0);
    random_bytes(&q5_1, sizeof q5_1);
    random_bytes(&q8_0, sizeof q8_0);
    q4_0.d = q4_1.d = q5_0.d = q5_1.d = q8_0.d = half_025;
    q4_1.m = q5_1.m = half_minus_2;
    float want[5][32];
    for (int e = 0; e < 32; e++) {
        const int byte = e % 16, shift = e < 16 ? 0 : 4;
        want[0][e] = 0.25f * (float)(bits(q4_0.qs, byte, shift, 4) - 8);
        want[1][e] = 0.25f * (float)bits(q4_1.qs, byte, shift, 4) - 2.0f;
        want[2][e] = 0.25f * (float)(bits(q5_0.qs, byte, shift, 4) + 16 * bits(q5_0.qh, e / 8, e % 8, 1) - 16);
        want[3][e] = 0.25f * (float)(bits(q5_1.qs, byte, shift, 4) + 16 * bits(q5_1.qh, e / 8, e % 8, 1)) - 2.0f;
        want[4][e] = 0.25f * (float)q8_0.qs[e];
    }
    check_block(HONE_Q4_0, &q4_0, want[0]);
    check_block(HONE_Q4_1, &q4_1, want[1]);
    check_block(HONE_Q5_0, &q5_0, want[2]);
    check_block(HONE_Q5_1, &q5_1, want[3]);
    check_block(HONE_Q8_0, &q8_0, want[4]);
}
END_TEST

START_TEST(q2_k_decodes_as_drawn)
{
    hone_block_q2_k b;
    random_bytes(&b, sizeof b);
    b.d = half_025;
    b.dmin = half_3;
    float want[256];
    for (int e = 0; e < 256; e++) {
        const int code = bits(b.qs, e / 128 * 32 + e % 32, e % 128 / 32 * 2, 2);
        want[e] = 0.25f * (float)(b.scales[e / 16] & 15) * (float)code - 3.0f * (float)(b.scales[e / 16] >> 4);
    }
    check_block(HONE_Q2_K, &b, want);
}
END_TEST

START_TEST(q3_k_decodes_as_drawn)
{
    hone_block_q3_k b;
    random_bytes(&b, sizeof b);
    b.d = half_025;
    float want[256];
    for (int e = 0; e < 256; e++) {
        const int s = e / 16;
        const int low = bits(b.qs, e / 128 * 32 + e % 32, e % 128 / 32 * 2, 2);
        const int code = low + 4 * bits(b.hmask, e % 32, e / 32, 1) - 4;
        const int scale = bits(b.scales, s % 8, s < 8 ? 0 : 4, 4) + 16 * bits(b.scales, 8 + s % 4, s / 4 * 2, 2) - 32;
        want[e] = 0.25f * (float)scale * (float)code;
    }
    check_block(HONE_Q3_K, &b, want);
}
END_TEST

/* The eight scales and minimums shared by q4_k and q5_k. */
static int k4_scale(const uint8_t *s, int j)
{
    return j < 4 ? bits(s, j, 0, 6) : bits(s, j + 4, 0, 4) + 16 * bits(s, j - 4, 6, 2);
}

static int k4_min(const uint8_t *s, int j)
{
    return j < 4 ? bits(s, j + 4, 0, 6) : bits(s, j + 4, 4, 4) + 16 * bits(s, j, 6, 2);
}

START_TEST(q4_k_decodes_as_drawn)
{
    hone_block_q4_k b;
    random_bytes(&b, sizeof b);
    b.d = half_025;
    b.dmin = half_3;
    float want[256];
    for (int e = 0; e < 256; e++) {
        const int s = e / 32, code = bits(b.qs, e / 64 * 32 + e % 32, s % 2 * 4, 4);
        want[e] = 0.25f * (float)k4_scale(b.scales, s) * (float)code - 3.0f * (float)k4_min(b.scales, s);
    }
    check_block(HONE_Q4_K, &b, want);
}
END_TEST

START_TEST(q5_k_decodes_as_drawn)
{
    hone_block_q5_k b;
    random_bytes(&b, sizeof b);
    b.d = half_025;
    b.dmin = half_3;
    float want[256];
    for (int e = 0; e < 256; e++) {
        const int s = e / 32, code = bits(b.qs, e / 64 * 32 + e % 32, s % 2 * 4, 4) + 16 * bits(b.qh, e % 32, s, 1);
        want[e] = 0.25f * (float)k4_scale(b.scales, s) * (float)code - 3.0f * (float)k4_min(b.scales, s);
    }
    check_block(HONE_Q5_K, &b, want);
}
END_TEST

START_TEST(q6_k_decodes_as_drawn)
{
    hone_block_q6_k b;
    random_bytes(&b, sizeof b);
    b.d = half_025;
    float want[256];
    for (int half = 0; half < 2; half++)
        for (int l = 0; l < 32; l++) {
            const uint8_t *ql = b.ql + 64 * half, *qh = b.qh + 32 * half;
            const int codes[4] = {
                bits(ql, l, 0, 4) + 16 * bits(qh, l, 0, 2),
                bits(ql, 32 + l, 0, 4) + 16 * bits(qh, l, 2, 2),
                bits(ql, l, 4, 4) + 16 * bits(qh, l, 4, 2),
                bits(ql, 32 + l, 4, 4) + 16 * bits(qh, l, 6, 2),
            };
            for (int quarter = 0; quarter < 4; quarter++) {
                const int e = 128 * half + 32 * quarter + l;
                want[e] = 0.25f * (float)b.scales[e / 16] * (float)(codes[quarter] - 32);
            }
        }
    check_block(HONE_Q6_K, &b, want);
}
END_TEST

/*
 * CRC-32 of the floats that libggml-base of llama-cpp-python 0.3.36 makes of seeded bytes, with every NaN written as
 * 0x7fc00000. Made by tests/oracle/check_blocks.py --golden-decode.
 */
static const struct {
    hone_dtype dtype;
    uint32_t crc;
} golden[] = {
    {HONE_Q4_0, 0x28933986},    {HONE_Q4_1, 0xd4f37d16},   {HONE_Q5_0, 0xac6a9625},   {HONE_Q5_1, 0x5fa86ed5},
    {HONE_Q8_0, 0xf0a29adf},    {HONE_Q2_K, 0x232a7b53},   {HONE_Q3_K, 0x8ab1bd52},   {HONE_Q4_K, 0x3499540e},
    {HONE_Q5_K, 0x8d8c2067},    {HONE_Q6_K, 0x2ba12a51},   {HONE_Q1_0, 0x2222fbf5},   {HONE_Q2_0, 0x01e92de0},
    {HONE_Q8_K, 0xabd4497c},    {HONE_IQ4_NL, 0xca35ff75}, {HONE_IQ4_XS, 0x8fa82d6d}, {HONE_MXFP4, 0x991e81f5},
    {HONE_NVFP4, 0x1085cef9},   {HONE_TQ1_0, 0xc716e75d},  {HONE_TQ2_0, 0x6dc88bcd},  {HONE_IQ3_S, 0x94ffc860},
    {HONE_IQ3_XXS, 0x4b00ef37}, {HONE_IQ2_S, 0x8ca7737d},  {HONE_IQ2_XS, 0x4188fefe}, {HONE_IQ2_XXS, 0xc1bad63a},
    {HONE_IQ1_S, 0x3d8c9483},   {HONE_IQ1_M, 0xa3e62d83},
};
enum { GOLDEN_BLOCKS = 64 };

START_TEST(floats_are_those_of_ggml)
{
    static uint8_t data[GOLDEN_BLOCKS * 512];
    static float out[GOLDEN_BLOCKS * HONE_QK_K];
    const hone_dtype_info *info = hone_dtype_describe(golden[_i].dtype);
    const size_t n = (size_t)GOLDEN_BLOCKS * info->block_nelems;
    random_bytes(data, (size_t)GOLDEN_BLOCKS * info->block_nbytes);
    hone_decoder(golden[_i].dtype, HONE_CPU_REF)(data, out, n);
    for (size_t i = 0; i < n; i++)
        if (out[i] != out[i])
            out[i] = hone_f32_from_bits(0x7fc00000u);
    const uint32_t crc = (uint32_t)crc32(0, (const uint8_t *)out, (uInt)(n * sizeof *out));
    ck_assert_msg(crc == golden[_i].crc, "%s: %08x", info->name, crc);
}
END_TEST

/* The two types for activations, which ggml decodes nowhere or hides. */
START_TEST(activation_types_decode_as_drawn)
{
    hone_block_q8_1 q8_1;
    hone_block_q8_k q8_k;
    random_bytes(&q8_1, sizeof q8_1);
    random_bytes(&q8_k, sizeof q8_k);
    q8_1.d = half_025;
    hone_store_u32(q8_k.d, hone_f32_bits(-2.0f));
    float want[2][HONE_QK_K];
    for (int e = 0; e < 32; e++)
        want[0][e] = 0.25f * (float)q8_1.qs[e];
    for (int e = 0; e < 256; e++)
        want[1][e] = -2.0f * (float)q8_k.qs[e];
    check_block(HONE_Q8_1, &q8_1, want[0]);
    check_block(HONE_Q8_K, &q8_k, want[1]);
}
END_TEST

/* What ggml makes of scales that E4M3 has no number for. */
START_TEST(scales_of_fp4_types_decode_as_drawn)
{
    for (unsigned e = 0; e < 256; e++)
        ck_assert_double_eq((double)hone_e8m0_half((uint8_t)e), ldexp(1, (int)e - 128));
    for (unsigned b = 0; b < 128; b++) {
        const int exponent = (int)(b >> 3), mantissa = (int)(b & 7);
        const double want = exponent ? ldexp(8 + mantissa, exponent - 11) : ldexp(mantissa, -10);
        ck_assert_double_eq((double)hone_ue4m3_half((uint8_t)b), b == 0x7f ? 0 : want);
        ck_assert_double_eq((double)hone_ue4m3_half((uint8_t)(b | 128)), b == 0x7f ? 240.0 : want);
    }
}
END_TEST

static hone_context *new_context(void)
{
    hone_context *ctx;
    ck_assert_int_eq(hone_context_new(NULL, &ctx, NULL), HONE_OK);
    return ctx;
}

START_TEST(dequantize_refuses_parts_of_a_block)
{
    hone_context *ctx = new_context();
    hone_error err;
    const uint8_t data[512] = {0};
    float out[256];
    ck_assert_int_eq(hone_dequantize_row(ctx, HONE_Q4_K, data, 255, out, &err), HONE_ERROR_ARG);
    ck_assert_int_eq(hone_dequantize_row(ctx, HONE_Q4_0, data, 16, out, &err), HONE_ERROR_ARG);
    ck_assert_int_eq(hone_dequantize_row(ctx, HONE_Q4_0, data, 32, out, &err), HONE_OK);
    hone_context_free(ctx);
}
END_TEST

START_TEST(dequantize_refuses_what_is_no_dtype)
{
    hone_context *ctx = new_context();
    const uint8_t data[8] = {0};
    float out[1];
    ck_assert_int_eq(hone_dequantize_row(ctx, HONE_INVALID, data, 1, out, NULL), HONE_ERROR_ARG);
    ck_assert_int_eq(hone_dequantize_row(ctx, HONE_N_DTYPES, data, 1, out, NULL), HONE_ERROR_ARG);
    ck_assert_int_eq(hone_dequantize_row(ctx, (hone_dtype)1000, data, 1, out, NULL), HONE_ERROR_ARG);
    hone_context_free(ctx);
}
END_TEST

/* But for those that are only listed and copied. */
START_TEST(every_dtype_has_a_decoder_at_every_level)
{
    for (int d = HONE_INVALID + 1; d < HONE_N_DTYPES; d++)
        for (int level = 0; level < HONE_CPU_N_LEVELS; level++)
            ck_assert_msg((hone_decoder((hone_dtype)d, (hone_cpu_level)level) != NULL) == (d < HONE_F4 || d > HONE_C64),
                          "%s", hone_dtype_describe((hone_dtype)d)->name);
}
END_TEST

Suite *hone_suite_decode(void)
{
    Suite *suite = suite_create("decode");
    TCase *plain = tcase_create("plain types");
    tcase_add_test(plain, halves_decode_by_ieee_754);
    tcase_add_test(plain, bf16_is_the_upper_half_of_a_float);
    tcase_add_test(plain, e4m3_has_nan_but_no_infinity);
    tcase_add_test(plain, e5m2_has_nans_and_infinities);
    tcase_add_test(plain, e8m0_is_a_power_of_two);
    tcase_add_test(plain, wider_types_round_to_nearest);
    tcase_add_test(plain, small_integers_keep_sign_and_value);
    suite_add_tcase(suite, plain);
    TCase *blocks = tcase_create("blocks");
    tcase_add_test(blocks, blocks_of_32_decode_as_drawn);
    tcase_add_test(blocks, q2_k_decodes_as_drawn);
    tcase_add_test(blocks, q3_k_decodes_as_drawn);
    tcase_add_test(blocks, q4_k_decodes_as_drawn);
    tcase_add_test(blocks, q5_k_decodes_as_drawn);
    tcase_add_test(blocks, q6_k_decodes_as_drawn);
    tcase_add_test(blocks, activation_types_decode_as_drawn);
    tcase_add_test(blocks, scales_of_fp4_types_decode_as_drawn);
    tcase_add_loop_test(blocks, floats_are_those_of_ggml, 0, (int)(sizeof golden / sizeof golden[0]));
    suite_add_tcase(suite, blocks);
    TCase *api = tcase_create("api");
    tcase_add_test(api, dequantize_refuses_parts_of_a_block);
    tcase_add_test(api, dequantize_refuses_what_is_no_dtype);
    tcase_add_test(api, every_dtype_has_a_decoder_at_every_level);
    suite_add_tcase(suite, api);
    return suite;
}
