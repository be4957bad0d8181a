/* SPDX-License-Identifier: MIT */
/* Bit allocation against trying everything. */
#include <check.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "quantize/allocate.h"
#include "tests/support/seeded_weights.h"

Suite *hone_suite_allocate(void);

enum { MAX_ITEMS = 400, MAX_N = 12, N_CASES = 60 };

static hone_alternative alternatives[MAX_ITEMS][MAX_N];
static hone_allocation_item items[MAX_ITEMS];
static size_t picked[MAX_ITEMS];
static hone_error err;

static uint64_t draw(uint64_t seed, uint64_t i)
{
    return hone_seeded_bits(seed, i);
}

/* Types as they are: the more bytes the less cost, roughly; some are no use at all, some are equal. */
static void make_items(uint64_t seed, size_t n, size_t n_alternatives, uint64_t granularity)
{
    for (size_t i = 0; i < n; i++) {
        const uint64_t size = 1 + draw(seed, 1000 + i) % 9;
        for (size_t j = 0; j < n_alternatives; j++) {
            const uint64_t nbytes = (size * (2 + j) + draw(seed, i * MAX_N + j) % 3) * granularity;
            const double noise = 0.5 + (double)(draw(seed + 1, i * MAX_N + j) % 1000) / 1000;
            alternatives[i][j] = (hone_alternative){nbytes, noise * (double)size / (double)(1 << (2 * j))};
        }
        items[i] = (hone_allocation_item){alternatives[i], n_alternatives};
    }
}

static void add_up(size_t n, const size_t *picks, uint64_t *nbytes, double *cost)
{
    *nbytes = 0;
    *cost = 0;
    for (size_t i = 0; i < n; i++) {
        *nbytes += alternatives[i][picks[i]].nbytes;
        *cost += alternatives[i][picks[i]].cost;
    }
}

/* The least cost within nbytes, and the fewest bytes within cost, by trying everything. */
static void try_everything(size_t n, size_t n_alternatives, uint64_t nbytes, double cost, double *best_cost,
                           uint64_t *best_nbytes)
{
    size_t picks[MAX_ITEMS] = {0};
    *best_cost = 1e300;
    *best_nbytes = UINT64_MAX;
    for (;;) {
        uint64_t b;
        double c;
        add_up(n, picks, &b, &c);
        if (b <= nbytes && c < *best_cost)
            *best_cost = c;
        if (c <= cost && b < *best_nbytes)
            *best_nbytes = b;
        size_t i = 0;
        while (i < n && ++picks[i] == n_alternatives)
            picks[i++] = 0;
        if (i == n)
            return;
    }
}

static void check_totals(size_t n, const hone_allocation *a)
{
    uint64_t nbytes;
    double cost;
    add_up(n, picked, &nbytes, &cost);
    ck_assert_uint_eq(nbytes, a->nbytes);
    ck_assert_double_eq_tol(cost, a->cost, 1e-12 * cost);
}

START_TEST(is_as_good_as_trying_everything)
{
    enum { N = 6, N_ALTERNATIVES = 4 };
    make_items(100 + (uint64_t)_i, N, N_ALTERNATIVES, _i % 2 ? 1 : 4096);
    uint64_t least = 0, most = 0;
    for (size_t i = 0; i < N; i++) {
        least += alternatives[i][0].nbytes;
        most += alternatives[i][N_ALTERNATIVES - 1].nbytes;
    }
    const uint64_t limit = least + (most - least) * (uint64_t)(_i % 11) / 10 + (uint64_t)(_i % 3) * (_i % 2 ? 1 : 4096);
    const double cost_limit = 0.05 * (1 + _i % 13);
    double best_cost;
    uint64_t best_nbytes;
    try_everything(N, N_ALTERNATIVES, limit, cost_limit, &best_cost, &best_nbytes);
    hone_allocation a;
    ck_assert_int_eq(hone_allocate(items, N, limit, picked, &a, &err), best_cost < 1e300 ? HONE_OK : HONE_ERROR_ARG);
    if (best_cost < 1e300) {
        check_totals(N, &a);
        ck_assert(a.exact);
        ck_assert_uint_le(a.nbytes, limit);
        ck_assert_double_eq_tol(a.cost, best_cost, 1e-12);
        ck_assert_double_eq(a.bound, a.cost);
    }
    const bool possible = best_nbytes < UINT64_MAX;
    ck_assert_int_eq(hone_allocate_smallest(items, N, cost_limit, picked, &a, &err),
                     possible ? HONE_OK : HONE_ERROR_ARG);
    if (possible) {
        check_totals(N, &a);
        ck_assert(a.exact);
        ck_assert_double_le(a.cost, cost_limit);
        ck_assert_uint_eq(a.nbytes, best_nbytes);
    }
}
END_TEST

/* A model of 400 tensors and 12 types each: solved to the end, or to a proven distance. */
START_TEST(stays_near_its_bound_on_a_large_model)
{
    make_items(7, MAX_ITEMS, MAX_N, 4096);
    uint64_t least = 0;
    for (size_t i = 0; i < MAX_ITEMS; i++)
        least += alternatives[i][0].nbytes;
    hone_allocation a;
    ck_assert_int_eq(hone_allocate(items, MAX_ITEMS, 2 * least + 1000, picked, &a, &err), HONE_OK);
    check_totals(MAX_ITEMS, &a);
    ck_assert_uint_le(a.nbytes, 2 * least + 1000);
    ck_assert_double_le(a.bound, a.cost);
    ck_assert_double_ge(a.bound, 0.999 * a.cost);
}
END_TEST

START_TEST(refuses_what_cannot_be)
{
    make_items(3, 3, 4, 32);
    uint64_t least = 0;
    for (size_t i = 0; i < 3; i++) {
        uint64_t smallest = UINT64_MAX;
        for (size_t j = 0; j < 4; j++)
            smallest = alternatives[i][j].nbytes < smallest ? alternatives[i][j].nbytes : smallest;
        least += smallest;
    }
    hone_allocation a;
    ck_assert_int_eq(hone_allocate(items, 3, least, picked, &a, &err), HONE_OK);
    ck_assert_uint_eq(a.nbytes, least);
    ck_assert_int_eq(hone_allocate(items, 3, least - 1, picked, &a, &err), HONE_ERROR_ARG);
    ck_assert_ptr_nonnull(strstr(err.reason, "smallest choice"));
    ck_assert_int_eq(hone_allocate_smallest(items, 3, 0, picked, &a, &err), HONE_ERROR_ARG);
}
END_TEST

START_TEST(survives_every_failed_allocation)
{
    make_items(4, 20, 6, 32);
    hone_allocation a;
    hone_status status = HONE_ERROR_NOMEM;
    for (long n = 0; status == HONE_ERROR_NOMEM && n < 200; n++) {
        hone_mem_fail_after(n);
        status = hone_allocate(items, 20, 20000, picked, &a, &err);
        hone_mem_fail_after(-1);
    }
    ck_assert_int_eq(status, HONE_OK);
}
END_TEST

Suite *hone_suite_allocate(void)
{
    Suite *s = suite_create("allocate");
    TCase *t = tcase_create("core");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, is_as_good_as_trying_everything, 0, N_CASES);
    tcase_add_test(t, stays_near_its_bound_on_a_large_model);
    tcase_add_test(t, refuses_what_cannot_be);
    tcase_add_test(t, survives_every_failed_allocation);
    suite_add_tcase(s, t);
    return s;
}
