/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "hone/verify.h"

Suite *hone_suite_gate(void);

static hone_divergence sample(void)
{
    return (hone_divergence){.reference = {.ppl = 10, .ppl_stderr = 0.5},
                             .candidate = {.ppl = 11, .ppl_stderr = 0.75},
                             .candidate_nbytes = 123456789,
                             .candidate_bpw = 4.5,
                             .kld_mean = 0.01,
                             .kld_stderr = 0.002,
                             .kld_median = 0.02,
                             .kld_p99 = 0.03,
                             .kld_max = 0.04,
                             .top1 = 0.9,
                             .top1_stderr = 0.01,
                             .ppl_ratio = 1.1,
                             .ppl_ratio_stderr = 0.05};
}

static const struct {
    const char *expr;
    double value, error; /* error below 0: none */
    bool pass;
} good[] = {
    {"kld.mean<0.02", 0.01, 0.002, true},
    {"kld.mean<0.01", 0.01, 0.002, false},
    {"kld.mean<=0.01", 0.01, 0.002, true},
    {"kld.median > 1e-2", 0.02, -1, true},
    {"kld.p99>.03", 0.03, -1, false},
    {"kld.p99>=.03", 0.03, -1, true},
    {"kld.max<1", 0.04, -1, true},
    {"  top1.agreement \t>=   0.95 ", 0.9, 0.01, false},
    {"ppl_ratio.value<1.2", 1.1, 0.05, true},
    {"ppl_ratio.value>-1.", 1.1, 0.05, true},
    {"reference.ppl<=+1.0E+1", 10, 0.5, true},
    {"candidate.ppl<11", 11, 0.75, false},
    {"candidate.bpw<=4.5", 4.5, -1, true},
    {"candidate.bytes<123456790", 123456789, -1, true},
    {"candidate.bytes<123456789", 123456789, -1, false},
};

START_TEST(gate_reads_its_metric)
{
    const hone_divergence d = sample();
    hone_gate_result r;
    hone_error err = {0};
    ck_assert_msg(hone_gate_check(good[_i].expr, &d, &r, &err) == HONE_OK, "%s: %s", good[_i].expr, err.reason);
    ck_assert_str_eq(r.expr, good[_i].expr);
    ck_assert_double_eq(r.value, good[_i].value);
    if (good[_i].error < 0)
        ck_assert_double_nan(r.value_stderr);
    else
        ck_assert_double_eq(r.value_stderr, good[_i].error);
    ck_assert_int_eq(r.pass, good[_i].pass);
}
END_TEST

static const struct {
    const char *expr;
    uint64_t offset;
} bad[] = {
    {"", 0},
    {"   ", 3},
    {"<1", 0},
    {"kld.mea<1", 0},
    {" kld.mean2<1", 1},
    {"KLD.mean<1", 0},
    {"kld.mean", 8},
    {"kld.mean 1", 9},
    {"kld.mean=1", 8},
    {"kld.mean==1", 8},
    {"kld.mean!=1", 0},
    {"kld.mean<", 9},
    {"kld.mean< =1", 10},
    {"kld.mean<=<1", 10},
    {"kld.mean<one", 9},
    {"kld.mean<nan", 9},
    {"kld.mean<inf", 9},
    {"kld.mean<0x1", 10},
    {"kld.mean<1e", 9},
    {"kld.mean<.", 9},
    {"kld.mean<-", 9},
    {"kld.mean<1e999", 9},
    {"kld.mean<1 2", 11},
    {"kld.mean<1,5", 10},
    {"kld.mean<1%", 10},
    {"1<kld.mean", 0},
};

START_TEST(rejects_malformed_gate)
{
    const hone_divergence d = sample();
    hone_gate_result r;
    hone_error err = {0};
    ck_assert_msg(hone_gate_check(bad[_i].expr, &d, &r, &err) == HONE_ERROR_ARG, "%s", bad[_i].expr);
    ck_assert_msg(err.offset == bad[_i].offset, "%s: offset %d", bad[_i].expr, (int)err.offset);
    ck_assert(!r.pass);
}
END_TEST

START_TEST(rejects_gate_that_is_too_long)
{
    const hone_divergence d = sample();
    hone_gate_result r;
    hone_error err = {0};
    char expr[160] = "kld.mean<1";
    memset(expr + 10, ' ', 117); /* 127 characters in all: the most */
    ck_assert_int_eq(hone_gate_check(expr, &d, &r, &err), HONE_OK);
    expr[127] = ' ';
    ck_assert_int_eq(hone_gate_check(expr, &d, &r, &err), HONE_ERROR_ARG);
    ck_assert_uint_eq(err.offset, 127);
}
END_TEST

START_TEST(nan_never_passes)
{
    static const char *const exprs[] = {"kld.mean<1", "kld.mean<=1", "kld.mean>1", "kld.mean>=1"};
    hone_divergence d = sample();
    d.kld_mean = (double)NAN;
    for (size_t i = 0; i < 4; i++) {
        hone_gate_result r;
        hone_error err = {0};
        ck_assert_int_eq(hone_gate_check(exprs[i], &d, &r, &err), HONE_OK);
        ck_assert(!r.pass);
        ck_assert_double_nan(r.value);
    }
}
END_TEST

START_TEST(infinity_fails_an_upper_limit)
{
    hone_divergence d = sample();
    d.kld_max = (double)INFINITY;
    hone_gate_result r;
    hone_error err = {0};
    ck_assert_int_eq(hone_gate_check("kld.max<1e308", &d, &r, &err), HONE_OK);
    ck_assert(!r.pass);
}
END_TEST

/* A library may live in a program whose locale writes 0,02. */
START_TEST(numbers_have_a_point_in_every_locale)
{
    if (!setlocale(LC_ALL, "de_DE.UTF-8") && !setlocale(LC_ALL, "fr_FR.UTF-8")) {
        (void)printf("SKIP: no locale with a decimal comma\n");
        return;
    }
    const hone_divergence d = sample();
    hone_gate_result r;
    hone_error err = {0};
    ck_assert_int_eq(hone_gate_check("kld.mean<0.02", &d, &r, &err), HONE_OK);
    ck_assert(r.pass);
}
END_TEST

Suite *hone_suite_gate(void)
{
    Suite *suite = suite_create("gate");
    TCase *core = tcase_create("core");
    tcase_add_loop_test(core, gate_reads_its_metric, 0, (int)(sizeof good / sizeof good[0]));
    tcase_add_test(core, nan_never_passes);
    tcase_add_test(core, infinity_fails_an_upper_limit);
    tcase_add_test(core, numbers_have_a_point_in_every_locale);
    suite_add_tcase(suite, core);
    TCase *malformed = tcase_create("malformed");
    tcase_add_loop_test(malformed, rejects_malformed_gate, 0, (int)(sizeof bad / sizeof bad[0]));
    tcase_add_test(malformed, rejects_gate_that_is_too_long);
    suite_add_tcase(suite, malformed);
    return suite;
}
