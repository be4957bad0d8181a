/* SPDX-License-Identifier: MIT */
/* Encoders: the bytes of llama.cpp, the rounding rules, and what hone_quantize_rows() promises. */
#include <check.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/half.h"
#include "formats/blocks.h"
#include "formats/decode.h"
#include "hone/context.h"
#include "hone/quantize.h"
#include "quantize/encode.h"
#include "quantize/rounding.h"
#include "quantize/table_encoders.h"
#include "tests/support/seeded_weights.h"

Suite *hone_suite_encode(void);

enum { NROWS = 8, NCOLS = 2048, NELEMS = NROWS * NCOLS };

static hone_context *new_context(int n_threads, const char *cpu)
{
    const hone_context_options opts = {.n_threads = n_threads, .cpu = cpu};
    hone_context *ctx;
    ck_assert_int_eq(hone_context_new(&opts, &ctx, NULL), HONE_OK);
    return ctx;
}

static void *alloc(size_t nbytes)
{
    void *p = malloc(nbytes);
    ck_assert_ptr_nonnull(p);
    return p;
}

static float *seeded_rows(size_t n)
{
    float *x = alloc(n * sizeof *x);
    hone_seeded_weights(1, n, x);
    return x;
}

static size_t row_nbytes(hone_dtype dtype, size_t nelems)
{
    uint64_t nbytes;
    ck_assert_int_eq(hone_dtype_row_nbytes(dtype, nelems, &nbytes), HONE_OK);
    return (size_t)nbytes;
}

/*
 * CRC-32 of the bytes that libggml-base of llama-cpp-python 0.3.36 makes of the seeded weights, without and with the
 * seeded importance. Made by tests/oracle/check_blocks.py --golden.
 */
static const struct {
    hone_dtype dtype;
    uint32_t plain, weighted;
} golden[] = {
    {HONE_F32, 0xb2878f21, 0xb2878f21},    {HONE_F16, 0x4b8c1e46, 0x4b8c1e46},     {HONE_BF16, 0x93418c41, 0x93418c41},
    {HONE_Q4_0, 0x59fc0f26, 0x8254feb8},   {HONE_Q4_1, 0xe258832d, 0x794758b1},    {HONE_Q5_0, 0x32acf08b, 0x26215b61},
    {HONE_Q5_1, 0x942e90f5, 0xb520b74f},   {HONE_Q8_0, 0xdc3af882, 0xdc3af882},    {HONE_Q2_K, 0xb833ca06, 0x10c740cb},
    {HONE_Q3_K, 0x159cf1fe, 0x4d697f26},   {HONE_Q4_K, 0x9b52c0af, 0xb2f9d1fa},    {HONE_Q5_K, 0x8ce05f0d, 0x3369f93d},
    {HONE_Q6_K, 0xb42f81cd, 0x341dd6bd},   {HONE_Q1_0, 0xd0b3d6ee, 0xd0b3d6ee},    {HONE_Q2_0, 0xf17861bc, 0xf17861bc},
    {HONE_IQ4_NL, 0x6a88ae43, 0x6dc20fd0}, {HONE_IQ4_XS, 0xfef635cc, 0x7fcbfc12},  {HONE_MXFP4, 0x2b51f941, 0x2b51f941},
    {HONE_NVFP4, 0x5ff8b440, 0x5ff8b440},  {HONE_TQ1_0, 0x35795d7a, 0x35795d7a},   {HONE_TQ2_0, 0xf130bbb3, 0xf130bbb3},
    {HONE_IQ3_S, 0xcba84760, 0x489b93e0},  {HONE_IQ3_XXS, 0xd6926c40, 0x45404084}, {HONE_IQ2_S, 0x902edede, 0x3a7098fd},
    {HONE_IQ2_XS, 0xca4c2b83, 0x1b799749}, {HONE_IQ2_XXS, 0x400421ba, 0x3d4fe05b}, {HONE_IQ1_S, 0xaf94a7e4, 0x504f82ae},
    {HONE_IQ1_M, 0x00a4b5cc, 0x68dac148},
};
enum { N_GOLDEN = sizeof golden / sizeof golden[0] };

static uint32_t crc_of(const hone_context *ctx, hone_dtype dtype, const float *x, const float *importance)
{
    const size_t nbytes = NROWS * row_nbytes(dtype, NCOLS);
    uint8_t *bytes = alloc(nbytes);
    ck_assert_int_eq(hone_quantize_rows(ctx, dtype, HONE_SEARCH_REFERENCE, x, NROWS, NCOLS, importance, bytes, NULL),
                     HONE_OK);
    const uint32_t crc = (uint32_t)crc32(0, bytes, (uInt)nbytes);
    free(bytes);
    return crc;
}

START_TEST(bytes_are_those_of_llama_cpp)
{
    float *x = seeded_rows(NELEMS);
    float importance[NCOLS];
    hone_seeded_importance(2, NCOLS, importance);
    static const char *const levels[] = {"ref", NULL};
    for (int level = 0; level < 2; level++) {
        hone_context *ctx = new_context(1, levels[level]);
        for (int i = 0; i < N_GOLDEN; i++) {
            const char *name = hone_dtype_describe(golden[i].dtype)->name;
            const uint32_t plain = crc_of(ctx, golden[i].dtype, x, NULL);
            const uint32_t weighted = crc_of(ctx, golden[i].dtype, x, importance);
            ck_assert_msg(plain == golden[i].plain, "%s %s: %08x", name, hone_context_cpu(ctx), plain);
            ck_assert_msg(weighted == golden[i].weighted, "%s %s weighted: %08x", name, hone_context_cpu(ctx),
                          weighted);
        }
        hone_context_free(ctx);
    }
    free(x);
}
END_TEST

static void encode(hone_dtype dtype, const float *x, size_t n, void *dst)
{
    hone_encoder(dtype, HONE_SEARCH_REFERENCE, HONE_CPU_REF)(x, n, NULL, dst);
}

START_TEST(f16_rounds_to_nearest_even)
{
    static const float x[] = {2049.0f, 2051.0f, 65519.0f, -65520.0f, 0x1p-25f, 0x1.8p-24f, 0x1.000002p-25f};
    static const uint16_t want[] = {0x6800, 0x6802, 0x7bff, 0xfc00, 0x0000, 0x0002, 0x0001};
    uint16_t got[7];
    encode(HONE_F16, x, 7, got);
    for (int i = 0; i < 7; i++)
        ck_assert_uint_eq(got[i], want[i]);
}
END_TEST

START_TEST(bf16_rounds_to_nearest_even)
{
    static const float x[] = {0x1.01p0f, 0x1.03p0f, 0x1.010002p0f, FLT_MAX, -0x1p-149f};
    static const uint16_t want[] = {0x3f80, 0x3f82, 0x3f81, 0x7f80, 0x8000};
    uint16_t got[5];
    encode(HONE_BF16, x, 5, got);
    for (int i = 0; i < 5; i++)
        ck_assert_uint_eq(got[i], want[i]);
}
END_TEST

START_TEST(q8_0_rounds_halves_away_from_zero)
{
    float x[HONE_QK] = {127.0f, 0.5f, -0.5f, 2.5f, -3.5f, 0x1.fffffep-2f, 126.5f}; /* d = 1 */
    static const int8_t want[HONE_QK] = {127, 1, -1, 3, -4, 0, 127};
    hone_block_q8_0 b;
    encode(HONE_Q8_0, x, HONE_QK, &b);
    ck_assert_uint_eq(b.d, 0x3c00);
    ck_assert_mem_eq(b.qs, want, sizeof want);
}
END_TEST

START_TEST(q4_0_gives_the_extreme_element_code_zero)
{
    float x[HONE_QK] = {1.0f, 4.0f, -2.0f};
    hone_block_q4_0 b;
    encode(HONE_Q4_0, x, HONE_QK, &b);
    ck_assert_uint_eq(b.d, 0xb800); /* 4 / -8 */
    ck_assert_uint_eq(b.qs[0] & 15, 6);
    ck_assert_uint_eq(b.qs[1] & 15, 0);
    ck_assert_uint_eq(b.qs[2] & 15, 12);
    ck_assert_uint_eq(b.qs[0] >> 4, 8);
    x[20] = -4.0f; /* of equal magnitude, the first decides; this one then saturates */
    encode(HONE_Q4_0, x, HONE_QK, &b);
    ck_assert_uint_eq(b.d, 0xb800);
    ck_assert_uint_eq(b.qs[4] >> 4, 15);
}
END_TEST

/* Where the logarithm of a number below a power of two rounds up to the power's. */
START_TEST(mxfp4_scale_is_that_of_log2f)
{
    static const struct {
        float amax;
        int exponent;
    } cases[] = {
        {1.0f, 0},
        {0x1.fffffep0f, 0},
        {0x1.fffffep-1f, -1},
        {0x1.fffffep1f, 1},
        {0x1.fffffep3f, 4},
        {0x1.fffffep4f, 5},
        {0x1.fffffap7f, 7},
        {0x1.fffffcp7f, 8},
        {6.0f, 2},
        {0x1.fffff4p8f, 8},
        {0x1.fffff6p8f, 9},
        {0x1.ffffa8p99f, 100},
        {0x1.ffffa6p99f, 99},
        {0x1.fffffcp-8f, -7},
        {0x1p-125f, -125},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ck_assert_msg(hone_mxfp4_scale(cases[i].amax) == (uint8_t)(cases[i].exponent + 125), "%a: %d",
                      (double)cases[i].amax, hone_mxfp4_scale(cases[i].amax) - 125);
        ck_assert_int_eq((int)floorf(log2f(cases[i].amax)), cases[i].exponent);
    }
    ck_assert_uint_eq(hone_mxfp4_scale(0.0f), 0);
}
END_TEST

START_TEST(nvfp4_scale_is_e4m3_rounded_half_up)
{
    static const struct {
        float scale;
        uint8_t byte;
    } cases[] = {
        {0.0f, 0x00},      {-1.0f, 0x00},   {0x1p-11f, 0x00}, {0x1p-10f, 0x01}, {0x1p-9f, 0x01}, {0x1.cp-7f, 0x07},
        {0x1.fp-7f, 0x07}, {0x1p-6f, 0x08}, {1.0f, 0x38},     {1.0625f, 0x39},  {1.0624f, 0x38}, {1.9375f, 0x40},
        {255.0f, 0x7e},    {240.0f, 0x77},  {256.0f, 0x7e},   {448.0f, 0x7e},   {1e30f, 0x7e},   {NAN, 0x00},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        ck_assert_msg(hone_ue4m3_scale(cases[i].scale) == cases[i].byte, "%a: %02x", (double)cases[i].scale,
                      hone_ue4m3_scale(cases[i].scale));
}
END_TEST

START_TEST(roundings_are_defined_for_every_float)
{
    ck_assert_int_eq(hone_nearest(2.5f), 2);
    ck_assert_int_eq(hone_nearest(-3.5f), -4);
    ck_assert_int_eq(hone_nearest(NAN), 0);
    ck_assert_int_eq(hone_nearest(INFINITY), -(1 << 22));
    ck_assert_int_eq(hone_truncate(15.9f), 15);
    ck_assert_int_eq(hone_truncate(INFINITY), 0);
    ck_assert_int_eq(hone_truncate(NAN), 0);
    ck_assert_int_eq(hone_nearest_away(-126.5f), -127);
    ck_assert_int_eq(hone_nearest_away(-INFINITY), 0);
    ck_assert_int_eq(hone_nearest_away(NAN), 0);
    ck_assert_uint_eq(hone_store_scale(-NAN), hone_store_scale(NAN));
}
END_TEST

/* Sum of squared errors of decoded against x, each weighted by w if given. */
static double error_of(hone_dtype dtype, const float *x, const float *importance)
{
    const size_t nbytes = row_nbytes(dtype, NCOLS);
    uint8_t *bytes = alloc(nbytes);
    float *decoded = alloc(NCOLS * sizeof *decoded);
    double sum = 0;
    float weights[NCOLS];
    hone_seeded_importance(2, NCOLS, weights);
    for (size_t r = 0; r < NROWS; r++) {
        const float *row = x + r * NCOLS;
        hone_encoder(dtype, HONE_SEARCH_REFERENCE, HONE_CPU_REF)(row, NCOLS, importance, bytes);
        hone_decoder(dtype, HONE_CPU_REF)(bytes, decoded, NCOLS);
        for (size_t i = 0; i < NCOLS; i++) {
            const double diff = (double)decoded[i] - (double)row[i];
            sum += (double)weights[i] * diff * diff;
        }
    }
    free(bytes);
    free(decoded);
    return sum;
}

START_TEST(more_bits_mean_less_error)
{
    static const hone_dtype order[] = {HONE_Q2_K, HONE_Q3_K, HONE_Q4_K, HONE_Q5_K,
                                       HONE_Q6_K, HONE_Q8_0, HONE_F16,  HONE_F32};
    float *x = seeded_rows(NELEMS);
    double last = DBL_MAX;
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        const double error = error_of(order[i], x, NULL);
        ck_assert_msg(error < last, "%s: %g after %g", hone_dtype_describe(order[i])->name, error, last);
        last = error;
    }
    free(x);
}
END_TEST

START_TEST(importance_lowers_the_error_it_weights)
{
    static const hone_dtype searched[] = {HONE_Q4_0,    HONE_Q4_1,  HONE_Q5_0,   HONE_Q5_1,    HONE_Q2_K,   HONE_Q3_K,
                                          HONE_Q4_K,    HONE_Q5_K,  HONE_Q6_K,   HONE_IQ4_NL,  HONE_IQ4_XS, HONE_IQ3_S,
                                          HONE_IQ3_XXS, HONE_IQ2_S, HONE_IQ2_XS, HONE_IQ2_XXS, HONE_IQ1_S,  HONE_IQ1_M};
    float *x = seeded_rows(NELEMS);
    float importance[NCOLS];
    hone_seeded_importance(2, NCOLS, importance);
    for (size_t i = 0; i < sizeof searched / sizeof searched[0]; i++) {
        const double plain = error_of(searched[i], x, NULL), weighted = error_of(searched[i], x, importance);
        ck_assert_msg(weighted < plain, "%s: %g, without importance %g", hone_dtype_describe(searched[i])->name,
                      weighted, plain);
    }
    free(x);
}
END_TEST

START_TEST(zeros_decode_to_zeros)
{
    const float x[HONE_QK_K] = {0};
    uint8_t bytes[HONE_QK_K * 4];
    float decoded[HONE_QK_K];
    for (int d = 1; d < HONE_N_DTYPES; d++) {
        const hone_encode_fn fn = hone_encoder((hone_dtype)d, HONE_SEARCH_REFERENCE, HONE_CPU_REF);
        if (!fn)
            continue;
        memset(bytes, 0xff, sizeof bytes);
        fn(x, HONE_QK_K, NULL, bytes);
        hone_decoder((hone_dtype)d, HONE_CPU_REF)(bytes, decoded, HONE_QK_K);
        for (int i = 0; i < HONE_QK_K; i++)
            ck_assert_msg(decoded[i] == 0.0f, "%s", hone_dtype_describe((hone_dtype)d)->name);
    }
}
END_TEST

START_TEST(bytes_do_not_depend_on_threads)
{
    enum { ROWS = 70, COLS = 1024 }; /* three chunks, the last one smaller */
    float *x = seeded_rows(ROWS * COLS);
    const size_t nbytes = ROWS * row_nbytes(HONE_Q4_K, COLS);
    uint8_t *one = alloc(nbytes), *many = alloc(nbytes);
    hone_context *ctx1 = new_context(1, NULL), *ctx4 = new_context(4, NULL);
    ck_assert_int_eq(hone_quantize_rows(ctx1, HONE_Q4_K, HONE_SEARCH_REFERENCE, x, ROWS, COLS, NULL, one, NULL),
                     HONE_OK);
    ck_assert_int_eq(hone_quantize_rows(ctx4, HONE_Q4_K, HONE_SEARCH_REFERENCE, x, ROWS, COLS, NULL, many, NULL),
                     HONE_OK);
    ck_assert_mem_eq(one, many, nbytes);
    /* The last row alone gives the last row. */
    const size_t row = row_nbytes(HONE_Q4_K, COLS);
    encode(HONE_Q4_K, x + (ROWS - 1) * COLS, COLS, many);
    ck_assert_mem_eq(one + (ROWS - 1) * row, many, row);
    hone_context_free(ctx1);
    hone_context_free(ctx4);
    free(one);
    free(many);
    free(x);
}
END_TEST

START_TEST(names_the_first_weight_that_is_not_finite)
{
    enum { ROWS = 70, COLS = 1024 };
    float *x = seeded_rows(ROWS * COLS);
    uint8_t *bytes = alloc(ROWS * row_nbytes(HONE_F32, COLS));
    hone_context *ctx = new_context(4, NULL);
    x[69 * COLS + 3] = NAN;
    x[41 * COLS + 1023] = -INFINITY;
    x[42 * COLS] = NAN;
    static const hone_dtype dtypes[] = {HONE_F32, HONE_F16, HONE_Q8_0, HONE_Q6_K};
    for (int i = 0; i < 4; i++) {
        hone_error err;
        ck_assert_int_eq(hone_quantize_rows(ctx, dtypes[i], HONE_SEARCH_REFERENCE, x, ROWS, COLS, NULL, bytes, &err),
                         HONE_ERROR_DATA);
        ck_assert_uint_eq(err.offset, 41 * COLS + 1023);
    }
    hone_context_free(ctx);
    free(bytes);
    free(x);
}
END_TEST

START_TEST(refuses_importance_that_is_no_weight)
{
    float x[HONE_QK] = {1.0f}, importance[HONE_QK] = {0};
    uint8_t bytes[64];
    hone_context *ctx = new_context(1, NULL);
    static const float bad[] = {-1.0f, NAN, INFINITY};
    for (int i = 0; i < 3; i++) {
        importance[5] = bad[i];
        hone_error err;
        ck_assert_int_eq(
            hone_quantize_rows(ctx, HONE_Q4_0, HONE_SEARCH_REFERENCE, x, 1, HONE_QK, importance, bytes, &err),
            HONE_ERROR_DATA);
        ck_assert_uint_eq(err.offset, 5);
        ck_assert_str_eq(err.item, "importance");
    }
    hone_context_free(ctx);
}
END_TEST

START_TEST(refuses_impossible_requests)
{
    const float x[HONE_QK_K] = {0};
    uint8_t bytes[2048];
    hone_context *ctx = new_context(1, NULL);
    const struct {
        hone_dtype dtype;
        hone_search search;
        size_t nrows, ncols;
    } cases[] = {
        {HONE_Q4_K, HONE_SEARCH_REFERENCE, 1, 128},   {HONE_Q8_0, HONE_SEARCH_REFERENCE, 1, 33},
        {HONE_I8, HONE_SEARCH_REFERENCE, 1, 32},      {HONE_F64, HONE_SEARCH_REFERENCE, 1, 32},
        {HONE_INVALID, HONE_SEARCH_REFERENCE, 1, 32}, {(hone_dtype)999, HONE_SEARCH_REFERENCE, 1, 32},
        {HONE_Q8_0, HONE_N_SEARCHES, 1, 32},          {HONE_Q8_0, HONE_SEARCH_REFERENCE, SIZE_MAX / 32, 64},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        ck_assert_msg(hone_quantize_rows(ctx, cases[i].dtype, cases[i].search, x, cases[i].nrows, cases[i].ncols, NULL,
                                         bytes, NULL) == HONE_ERROR_ARG,
                      "case %zu", i);
    hone_context_free(ctx);
}
END_TEST

START_TEST(no_rows_write_nothing)
{
    uint8_t byte = 0xa5;
    const float x = 1.0f;
    hone_context *ctx = new_context(1, NULL);
    ck_assert_int_eq(hone_quantize_rows(ctx, HONE_Q8_0, HONE_SEARCH_REFERENCE, &x, 0, 32, NULL, &byte, NULL), HONE_OK);
    ck_assert_int_eq(hone_quantize_rows(ctx, HONE_Q8_0, HONE_SEARCH_REFERENCE, &x, 7, 0, NULL, &byte, NULL), HONE_OK);
    ck_assert_uint_eq(byte, 0xa5);
    hone_context_free(ctx);
}
END_TEST

Suite *hone_suite_encode(void)
{
    Suite *suite = suite_create("encode");
    TCase *bytes = tcase_create("bytes");
    tcase_set_timeout(bytes, 60);
    tcase_add_test(bytes, bytes_are_those_of_llama_cpp);
    tcase_add_test(bytes, f16_rounds_to_nearest_even);
    tcase_add_test(bytes, bf16_rounds_to_nearest_even);
    tcase_add_test(bytes, q8_0_rounds_halves_away_from_zero);
    tcase_add_test(bytes, q4_0_gives_the_extreme_element_code_zero);
    tcase_add_test(bytes, mxfp4_scale_is_that_of_log2f);
    tcase_add_test(bytes, nvfp4_scale_is_e4m3_rounded_half_up);
    tcase_add_test(bytes, roundings_are_defined_for_every_float);
    tcase_add_test(bytes, more_bits_mean_less_error);
    tcase_add_test(bytes, importance_lowers_the_error_it_weights);
    tcase_add_test(bytes, zeros_decode_to_zeros);
    suite_add_tcase(suite, bytes);
    TCase *rows = tcase_create("rows");
    tcase_add_test(rows, bytes_do_not_depend_on_threads);
    tcase_add_test(rows, names_the_first_weight_that_is_not_finite);
    tcase_add_test(rows, refuses_importance_that_is_no_weight);
    tcase_add_test(rows, refuses_impossible_requests);
    tcase_add_test(rows, no_rows_write_nothing);
    suite_add_tcase(suite, rows);
    return suite;
}
