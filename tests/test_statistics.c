/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "tests/support/seeded_weights.h"
#include "verify/statistics.h"

Suite *hone_suite_statistics(void);

START_TEST(mean_and_error_of_four_values)
{
    const double x[4] = {1, 2, 3, 6};
    const hone_mean m = hone_mean_of(x, 4);
    ck_assert_double_eq_tol(m.mean, 3, 1e-15);
    ck_assert_double_eq_tol(m.error, sqrt(14.0 / 3 / 4), 1e-15); /* squares 4 + 1 + 0 + 9 over n - 1, over n */
}
END_TEST

START_TEST(error_of_fewer_than_two_is_nan)
{
    const double x = 5;
    ck_assert_double_eq(hone_mean_of(&x, 1).mean, 5);
    ck_assert_double_nan(hone_mean_of(&x, 1).error);
    ck_assert_double_nan(hone_mean_of(&x, 0).mean);
    ck_assert_double_nan(hone_mean_of_share(1, 1).error);
    ck_assert_double_nan(hone_mean_of_share(0, 0).mean);
}
END_TEST

START_TEST(pairing_removes_what_both_sides_share)
{
    double a[100], b[100];
    for (size_t i = 0; i < 100; i++) {
        b[i] = (double)(hone_seeded_bits(1, i) >> 40);
        a[i] = b[i] + (i % 2 ? 1 : 3);
    }
    const hone_mean m = hone_mean_of_difference(a, b, 100);
    ck_assert_double_eq_tol(m.mean, 2, 1e-12);
    ck_assert_double_eq_tol(m.error, sqrt(100.0 / 99 / 100), 1e-12);
    ck_assert_double_gt(hone_mean_of(a, 100).error, 1e5);
}
END_TEST

START_TEST(share_agrees_with_the_mean_of_ones_and_zeros)
{
    const double x[5] = {1, 0, 1, 1, 0};
    const hone_mean a = hone_mean_of(x, 5), b = hone_mean_of_share(3, 5);
    ck_assert_double_eq_tol(a.mean, b.mean, 1e-15);
    ck_assert_double_eq_tol(a.error, b.error, 1e-15);
}
END_TEST

START_TEST(quantiles_lie_between_sorted_values)
{
    double x[5] = {10, 0, 40, 20, 30};
    ck_assert_uint_eq(hone_sort(x, 5), 0);
    ck_assert_double_eq(hone_quantile(x, 5, 0), 0);
    ck_assert_double_eq(hone_quantile(x, 5, 0.5), 20);
    ck_assert_double_eq_tol(hone_quantile(x, 5, 0.9), 36, 1e-12);
    ck_assert_double_eq(hone_quantile(x, 5, 1), 40);
    ck_assert_double_eq(hone_quantile(x, 4, 0.5), 15);
    ck_assert_double_eq(hone_quantile(x, 1, 0.99), 0);
    ck_assert_double_nan(hone_quantile(x, 0, 0.5));
}
END_TEST

START_TEST(quantile_next_to_infinity_is_finite)
{
    const double x[3] = {1, 2, (double)INFINITY};
    ck_assert_double_eq(hone_quantile(x, 3, 0.5), 2);
    ck_assert_double_infinite(hone_quantile(x, 3, 0.75));
}
END_TEST

START_TEST(nans_sort_last_and_are_counted)
{
    double x[6] = {3, HONE_NAN, -1, HONE_NAN, (double)INFINITY, 0};
    ck_assert_uint_eq(hone_sort(x, 6), 2);
    ck_assert_double_eq(x[0], -1);
    ck_assert_double_eq(x[1], 0);
    ck_assert_double_eq(x[2], 3);
    ck_assert_double_infinite(x[3]);
    ck_assert_double_nan(x[4]);
}
END_TEST

START_TEST(log_sum_exp_of_known_values)
{
    const float flat[4] = {2, 2, 2, 2}, large[2] = {1000, 1000}, low[2] = {-1000, -INFINITY};
    ck_assert_double_eq_tol(hone_log_sum_exp(flat, 4), 2 + log(4), 1e-15);
    ck_assert_double_eq_tol(hone_log_sum_exp(large, 2), 1000 + log(2), 1e-12);
    ck_assert_double_eq(hone_log_sum_exp(low, 2), -1000);
}
END_TEST

START_TEST(log_sum_exp_of_no_distribution_is_nan)
{
    const float nan[3] = {0, NAN, 1}, infinite[2] = {INFINITY, 0}, nothing[2] = {-INFINITY, -INFINITY};
    ck_assert_double_nan(hone_log_sum_exp(nan, 3));
    ck_assert_double_nan(hone_log_sum_exp(infinite, 2));
    ck_assert_double_nan(hone_log_sum_exp(nothing, 2));
}
END_TEST

static double divergence(const float *p, const float *q, size_t n)
{
    return hone_kl_divergence(p, hone_log_sum_exp(p, n), q, hone_log_sum_exp(q, n), n);
}

START_TEST(divergence_of_two_coins)
{
    /* p = (3/4, 1/4), q = (1/4, 3/4): 3/4 ln 3 + 1/4 ln 1/3 */
    const float p[2] = {logf(3), 0}, q[2] = {5, 5 + logf(3)};
    ck_assert_double_eq_tol(divergence(p, q, 2), 0.5 * log(3), 1e-7);
}
END_TEST

START_TEST(divergence_from_itself_is_exactly_zero)
{
    float p[1000];
    hone_seeded_weights(3, 1000, p);
    ck_assert_double_eq(divergence(p, p, 1000), 0);
}
END_TEST

START_TEST(divergence_is_never_negative)
{
    float p[300], q[300];
    hone_seeded_weights(3, 300, p);
    for (size_t i = 0; i < 300; i++)
        q[i] = p[i] + 1000; /* the same distribution, rounded otherwise */
    const double d = divergence(p, q, 300);
    ck_assert_double_ge(d, 0);
    ck_assert_double_lt(d, 1e-8);
}
END_TEST

START_TEST(small_divergence_matches_its_series)
{
    /* For q = p + e on one of two equal tokens, KL = e^2 / 8 + O(e^4). */
    const float p[2] = {0, 0}, q[2] = {0x1p-10f, 0};
    ck_assert_double_eq_tol(divergence(p, q, 2), 0x1p-20 / 8, 0x1p-45);
}
END_TEST

START_TEST(impossible_tokens)
{
    const float half[2] = {0, 0}, sure[2] = {0, -INFINITY}, nan[2] = {0, NAN};
    ck_assert_double_eq_tol(divergence(sure, half, 2), log(2), 1e-15);
    ck_assert_double_infinite(divergence(half, sure, 2));
    ck_assert_double_nan(divergence(half, nan, 2));
    ck_assert_double_nan(divergence(nan, half, 2));
}
END_TEST

START_TEST(argmax_is_the_first_of_equals)
{
    const float x[5] = {-3, 2, 1, 2, -INFINITY};
    ck_assert_uint_eq(hone_argmax(x, 5), 1);
    ck_assert_uint_eq(hone_argmax(x, 1), 0);
}
END_TEST

Suite *hone_suite_statistics(void)
{
    Suite *suite = suite_create("statistics");
    TCase *core = tcase_create("core");
    tcase_add_test(core, mean_and_error_of_four_values);
    tcase_add_test(core, error_of_fewer_than_two_is_nan);
    tcase_add_test(core, pairing_removes_what_both_sides_share);
    tcase_add_test(core, share_agrees_with_the_mean_of_ones_and_zeros);
    tcase_add_test(core, quantiles_lie_between_sorted_values);
    tcase_add_test(core, quantile_next_to_infinity_is_finite);
    tcase_add_test(core, nans_sort_last_and_are_counted);
    tcase_add_test(core, log_sum_exp_of_known_values);
    tcase_add_test(core, log_sum_exp_of_no_distribution_is_nan);
    tcase_add_test(core, divergence_of_two_coins);
    tcase_add_test(core, divergence_from_itself_is_exactly_zero);
    tcase_add_test(core, divergence_is_never_negative);
    tcase_add_test(core, small_divergence_matches_its_series);
    tcase_add_test(core, impossible_tokens);
    tcase_add_test(core, argmax_is_the_first_of_equals);
    suite_add_tcase(suite, core);
    return suite;
}
