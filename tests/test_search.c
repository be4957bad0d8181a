/* SPDX-License-Identifier: MIT */
/* What the searches for scales promise about errors. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "formats/decode.h"
#include "quantize/encode.h"
#include "tests/support/fills.h"
#include "tests/support/seeded_weights.h"

Suite *hone_suite_search(void);

enum { NCOLS = 1280, MAX_NBYTES = NCOLS * 4 };

static const hone_dtype all_quantized[] = {HONE_Q4_0,  HONE_Q4_1,   HONE_Q5_0,    HONE_Q5_1,  HONE_Q8_0,   HONE_Q2_K,
                                           HONE_Q3_K,  HONE_Q4_K,   HONE_Q5_K,    HONE_Q6_K,  HONE_IQ4_NL, HONE_IQ4_XS,
                                           HONE_MXFP4, HONE_NVFP4,  HONE_TQ1_0,   HONE_TQ2_0, HONE_IQ3_S,  HONE_IQ3_XXS,
                                           HONE_IQ2_S, HONE_IQ2_XS, HONE_IQ2_XXS, HONE_IQ1_S, HONE_IQ1_M};
enum { N_QUANTIZED = sizeof all_quantized / sizeof all_quantized[0], N_WITH_FAST = 10 /* the first of them */ };

/* The weighted squared error of a row as decoded. NaN where an infinite scale met a zero. */
static double error_of(hone_dtype dtype, hone_search search, const float *x, const float *importance)
{
    static uint8_t row[MAX_NBYTES];
    static float y[NCOLS];
    hone_encoder(dtype, search, hone_cpu_best())(x, NCOLS, importance, row);
    hone_decoder(dtype, HONE_CPU_REF)(row, y, NCOLS);
    double sum = 0;
    for (size_t i = 0; i < NCOLS; i++) {
        const double diff = (double)x[i] - (double)y[i];
        sum += (importance ? (double)importance[i] : 1.0) * diff * diff;
    }
    return sum;
}

START_TEST(best_is_never_worse_than_reference)
{
    static float x[NCOLS], importance[NCOLS];
    hone_fills[_i].fill(x, NCOLS);
    hone_seeded_importance(HONE_FILL_SEED, NCOLS, importance);
    for (size_t t = 0; t < N_QUANTIZED; t++)
        for (int weighted = 0; weighted < 2; weighted++) {
            const float *w = weighted ? importance : NULL;
            const double reference = error_of(all_quantized[t], HONE_SEARCH_REFERENCE, x, w);
            const double best = error_of(all_quantized[t], HONE_SEARCH_BEST, x, w);
            /* Compared so that an error that overflowed into NaN is worse than any other. */
            ck_assert_msg(best <= reference || isnan(reference), "%s, %s%s: %.17g, reference %.17g",
                          hone_dtype_describe(all_quantized[t])->name, hone_fills[_i].name,
                          weighted ? ", weighted" : "", best, reference);
        }
}
END_TEST

START_TEST(every_search_gives_finite_weights_for_ordinary_ones)
{
    static float x[NCOLS];
    hone_seeded_weights(7, NCOLS, x);
    for (size_t t = 0; t < N_QUANTIZED; t++) {
        double square = 0;
        for (size_t i = 0; i < NCOLS; i++)
            square += (double)x[i] * (double)x[i];
        for (int search = 0; search < HONE_N_SEARCHES; search++) {
            const double error = error_of(all_quantized[t], (hone_search)search, x, NULL);
            const double bits = hone_dtype_describe(all_quantized[t])->block_nbytes * 8.0 /
                                hone_dtype_describe(all_quantized[t])->block_nelems;
            /* Two bits fewer than the type has: loose, but no wrong code passes. */
            ck_assert_msg(error < square * exp2(-2.0 * (bits - 2.0)), "%s %s: %g of %g",
                          hone_dtype_describe(all_quantized[t])->name, hone_search_name((hone_search)search), error,
                          square);
        }
    }
}
END_TEST

/* How much lower best's root mean square error is than reference's: at least this, in percent, for bell-shaped data. */
static const struct {
    hone_dtype dtype;
    double plain, weighted;
} gains[] = {
    {HONE_Q4_0, 4.0, 1.5},     {HONE_Q5_0, 4.0, 1.5},    {HONE_Q4_1, 8.0, 2.0},    {HONE_Q5_1, 8.0, 2.0},
    {HONE_Q2_K, 2.5, 2.5},     {HONE_Q3_K, 4.5, 1.9},    {HONE_Q4_K, 2.5, 2.5},    {HONE_Q5_K, 2.5, 2.5},
    {HONE_Q6_K, 7.0, 7.0},     {HONE_IQ4_NL, 3.0, 3.0},  {HONE_IQ4_XS, 3.0, 3.0},  {HONE_MXFP4, 2.0, 1.5},
    {HONE_NVFP4, 10.0, 10.0},  {HONE_TQ1_0, 25.0, 25.0}, {HONE_TQ2_0, 25.0, 25.0}, {HONE_IQ3_S, 18.0, 6.0},
    {HONE_IQ3_XXS, 12.0, 2.0}, {HONE_IQ2_S, 6.0, 3.0},   {HONE_IQ2_XS, 0.5, 4.0},  {HONE_IQ2_XXS, 0.1, 3.0},
    {HONE_IQ1_S, 0.0, 0.1},    {HONE_IQ1_M, 15.0, 0.1},
};
enum { N_GAINS = sizeof gains / sizeof gains[0] };

/* Gaussian, from sixteen uniform numbers; importance spreads over about a factor of a hundred. */
static float bell(uint64_t seed, size_t i)
{
    double sum = 0;
    for (uint64_t k = 0; k < 16; k++)
        sum += (double)(hone_seeded_bits(seed, 16 * i + k) >> 11) * 0x1p-53 - 0.5;
    return (float)(sum * 0.8660254);
}

START_TEST(best_lowers_the_error_as_claimed)
{
    static float x[NCOLS], importance[NCOLS];
    for (size_t i = 0; i < NCOLS; i++)
        importance[i] = expf(bell(99, i));
    for (int weighted = 0; weighted < 2; weighted++) {
        const float *w = weighted ? importance : NULL;
        double reference = 0, best = 0;
        for (uint64_t row = 0; row < 24; row++) {
            for (size_t i = 0; i < NCOLS; i++)
                x[i] = 0.02f * bell(row, i);
            reference += error_of(gains[_i].dtype, HONE_SEARCH_REFERENCE, x, w);
            best += error_of(gains[_i].dtype, HONE_SEARCH_BEST, x, w);
        }
        const double gain = 100.0 * (1.0 - sqrt(best / reference));
        ck_assert_msg(gain >= (weighted ? gains[_i].weighted : gains[_i].plain), "%s%s: %.2f %%",
                      hone_dtype_describe(gains[_i].dtype)->name, weighted ? ", weighted" : "", gain);
    }
}
END_TEST

START_TEST(best_keeps_weights_finite_where_the_reference_scale_overflows)
{
    static float x[NCOLS], y[NCOLS];
    static uint8_t row[MAX_NBYTES];
    for (size_t i = 0; i < NCOLS; i++)
        x[i] = ldexpf(bell(5, i), 24); /* scales of the types with codes up to 15 pass 65504 */
    size_t n_overflowed = 0;
    for (size_t t = 0; t < N_GAINS; t++) {
        n_overflowed += !isfinite(error_of(gains[t].dtype, HONE_SEARCH_REFERENCE, x, NULL));
        hone_encoder(gains[t].dtype, HONE_SEARCH_BEST, hone_cpu_best())(x, NCOLS, NULL, row);
        hone_decoder(gains[t].dtype, HONE_CPU_REF)(row, y, NCOLS);
        for (size_t i = 0; i < NCOLS; i++)
            ck_assert_msg(isfinite(y[i]), "%s: element %zu is %g", hone_dtype_describe(gains[t].dtype)->name, i,
                          (double)y[i]);
    }
    ck_assert_uint_gt(n_overflowed, 0);
}
END_TEST

/* A sub-block without importance beside one with: its weights still come out near what they were. */
START_TEST(columns_without_importance_are_still_coded)
{
    static float x[NCOLS], y[NCOLS], importance[NCOLS];
    static uint8_t row[MAX_NBYTES];
    for (size_t i = 0; i < NCOLS; i++) {
        x[i] = bell(6, i);
        importance[i] = i / 32 % 2 ? 1.0f : 0.0f;
    }
    for (size_t t = 0; t < N_GAINS; t++) {
        hone_encoder(gains[t].dtype, HONE_SEARCH_BEST, hone_cpu_best())(x, NCOLS, importance, row);
        hone_decoder(gains[t].dtype, HONE_CPU_REF)(row, y, NCOLS);
        double error = 0, square = 0;
        for (size_t i = 0; i < NCOLS; i++) {
            error += importance[i] > 0.0f ? 0 : pow((double)x[i] - (double)y[i], 2);
            square += importance[i] > 0.0f ? 0 : (double)x[i] * (double)x[i];
        }
        /* Where the other columns would be worse than reference's, its block stays, in which these may be zeros. */
        const bool coarse = gains[t].dtype >= HONE_IQ2_S && gains[t].dtype <= HONE_IQ1_M;
        ck_assert_msg(error < (coarse ? 1.1 : 0.2) * square, "%s: %g of %g", hone_dtype_describe(gains[t].dtype)->name,
                      error, square);
    }
}
END_TEST

START_TEST(fast_ignores_importance)
{
    static float x[NCOLS], importance[NCOLS];
    static uint8_t with[MAX_NBYTES], without[MAX_NBYTES];
    hone_seeded_weights(3, NCOLS, x);
    hone_seeded_importance(3, NCOLS, importance);
    for (size_t t = 0; t < N_WITH_FAST; t++) {
        const hone_encode_fn encode = hone_encoder(all_quantized[t], HONE_SEARCH_FAST, hone_cpu_best());
        memset(with, 0, sizeof with);
        memset(without, 0, sizeof without);
        encode(x, NCOLS, importance, with);
        encode(x, NCOLS, NULL, without);
        ck_assert_msg(memcmp(with, without, sizeof with) == 0, "%s", hone_dtype_describe(all_quantized[t])->name);
    }
}
END_TEST

START_TEST(searches_have_names)
{
    for (int search = 0; search < HONE_N_SEARCHES; search++)
        ck_assert_int_eq(hone_search_from_name(hone_search_name((hone_search)search)), search);
    ck_assert_int_eq(hone_search_from_name("BEST"), HONE_SEARCH_BEST);
    ck_assert_int_eq(hone_search_from_name("better"), HONE_N_SEARCHES);
    ck_assert_str_eq(hone_search_name(HONE_N_SEARCHES), "");
}
END_TEST

Suite *hone_suite_search(void)
{
    Suite *suite = suite_create("search");
    TCase *core = tcase_create("core");
    tcase_set_timeout(core, 120);
    tcase_add_loop_test(core, best_is_never_worse_than_reference, 0, HONE_N_FILLS);
    tcase_add_loop_test(core, best_lowers_the_error_as_claimed, 0, N_GAINS);
    tcase_add_test(core, every_search_gives_finite_weights_for_ordinary_ones);
    tcase_add_test(core, best_keeps_weights_finite_where_the_reference_scale_overflows);
    tcase_add_test(core, columns_without_importance_are_still_coded);
    tcase_add_test(core, fast_ignores_importance);
    tcase_add_test(core, searches_have_names);
    suite_add_tcase(suite, core);
    return suite;
}
