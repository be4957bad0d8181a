/* SPDX-License-Identifier: MIT */
/* Every kernel of every level of this CPU against the portable C, byte for byte. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/half.h"
#include "formats/decode.h"
#include "quantize/encode.h"
#include "tests/support/fills.h"
#include "tests/support/seeded_weights.h"

Suite *hone_suite_kernels(void);

enum { MAX_ELEMS = 17 * 256, SEED = HONE_FILL_SEED };

static bool has_level(int level)
{
    hone_cpu_level chosen;
    return hone_cpu_choose(hone_cpu_name((hone_cpu_level)level), &chosen, NULL) == HONE_OK;
}

static size_t row_nbytes(hone_dtype dtype, size_t nelems)
{
    uint64_t nbytes;
    ck_assert_int_eq(hone_dtype_row_nbytes(dtype, nelems, &nbytes), HONE_OK);
    return (size_t)nbytes;
}

/* A copy with nothing readable after it, as far as a sanitizer can tell, starting at an odd address. */
static uint8_t *at_odd_address(const void *src, size_t nbytes, void **block)
{
    *block = malloc(nbytes + 1);
    ck_assert_ptr_nonnull(*block);
    uint8_t *p = (uint8_t *)*block + 1;
    if (src)
        memcpy(p, src, nbytes);
    else
        memset(p, 0xa5, nbytes);
    return p;
}

static void compare_bytes(const uint8_t *got, const uint8_t *want, size_t nbytes, const char *what)
{
    for (size_t i = 0; i < nbytes; i++)
        if (want[i] != got[i]) /* no assertion of every byte: Check records each */
            ck_abort_msg("%s: byte %zu is %02x, not %02x", what, i, got[i], want[i]);
}

/* Every kernel there is, once: a level may have that of a lower one. */
static void compare_encoders(hone_dtype dtype, hone_search search, const char *fill, const float *x, size_t n,
                             const float *importance)
{
    hone_encode_fn last = hone_encoder(dtype, search, HONE_CPU_REF);
    const size_t nbytes = row_nbytes(dtype, n);
    void *blocks[2] = {NULL, NULL};
    uint8_t *want = NULL, *got = at_odd_address(NULL, nbytes, &blocks[0]);
    for (int level = HONE_CPU_REF + 1; level < HONE_CPU_N_LEVELS; level++) {
        char what[128];
        const hone_encode_fn fast = hone_encoder(dtype, search, (hone_cpu_level)level);
        if (!has_level(level) || fast == last)
            continue;
        if (!want) {
            want = at_odd_address(NULL, nbytes, &blocks[1]);
            last(x, n, importance, want);
        }
        memset(got, 0xa5, nbytes);
        fast(x, n, importance, got);
        (void)snprintf(what, sizeof what, "%s %s %s, %s, %zu elements%s", hone_dtype_describe(dtype)->name,
                       hone_search_name(search), hone_cpu_name((hone_cpu_level)level), fill, n,
                       importance ? ", weighted" : "");
        compare_bytes(got, want, nbytes, what);
        last = fast;
    }
    free(blocks[0]);
    free(blocks[1]);
}

START_TEST(encoders_agree_with_portable_c)
{
    const int f = _i;
    float *x = malloc(MAX_ELEMS * sizeof *x), *importance = malloc(MAX_ELEMS * sizeof *importance);
    ck_assert(x && importance);
    hone_seeded_importance(SEED, MAX_ELEMS, importance);
    /* The smallest, batches of eight and sixteen blocks of 32 and their neighbours. */
    static const size_t nblocks[] = {1, 2, 7, 8, 9, 16, 17};
    for (int d = 1; d < HONE_N_DTYPES; d++) {
        if (!hone_encoder((hone_dtype)d, HONE_SEARCH_REFERENCE, HONE_CPU_REF))
            continue;
        for (size_t k = 0; k < sizeof nblocks / sizeof nblocks[0]; k++) {
            const size_t n = nblocks[k] * hone_dtype_describe((hone_dtype)d)->block_nelems;
            hone_fills[f].fill(x, n);
            for (int search = 0; search < HONE_N_SEARCHES; search++) {
                compare_encoders((hone_dtype)d, (hone_search)search, hone_fills[f].name, x, n, NULL);
                compare_encoders((hone_dtype)d, (hone_search)search, hone_fills[f].name, x, n, importance);
            }
        }
    }
    free(x);
    free(importance);
}
END_TEST

/* Multiples of a half, most of them a little off: wishes for codes that are near a tie. */
static void fill_near_halves(uint64_t seed, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const uint64_t bits = hone_seeded_bits(seed, i);
        const float off = bits % 3 == 0 ? 0.0f : ((float)(bits >> 40) - 0x1p23f) * 0x1p-43f;
        x[i] = (float)((int)(bits >> 4 & 15) - 8) * 0.5f + off;
    }
}

/* Most groups of 16 settle at once, few wishes are close enough to a tie to be told by rounding alone, and few groups
 * take all the sweeps of q3_k. Here are enough for all that. */
START_TEST(q3_k_agrees_on_many_rows)
{
    enum { N_ROWS = 2000, N_COLS = 2048 };
    static float x[N_COLS];
    for (uint64_t row = 0; row < N_ROWS; row++) {
        if (_i == 0)
            hone_seeded_weights(SEED + row, N_COLS, x);
        else
            fill_near_halves(SEED + row, x, N_COLS);
        compare_encoders(HONE_Q3_K, HONE_SEARCH_REFERENCE, _i ? "near halves" : "weights", x, N_COLS, NULL);
    }
}
END_TEST

/* A group that would still move in a sixth sweep. */
START_TEST(q3_k_sweeps_five_times)
{
    static const float group[16] = {-14, 30, 59, -49, -8, -21, -28, -17, -2, -42, 53, -64, -1, 26, 13, -58};
    float x[256];
    for (int i = 0; i < 256; i++)
        x[i] = group[i % 16];
    compare_encoders(HONE_Q3_K, HONE_SEARCH_REFERENCE, "sweeps", x, 256, NULL);
}
END_TEST

static bool same_float(float a, float b)
{
    return hone_f32_bits(a) == hone_f32_bits(b) || (a != a && b != b);
}

static void compare_decoders(hone_dtype dtype, hone_cpu_level level, const uint8_t *data, size_t n)
{
    void *block;
    const uint8_t *src = at_odd_address(data, row_nbytes(dtype, n), &block);
    float *want = malloc(n * sizeof *want), *got = malloc(n * sizeof *got);
    ck_assert(want && got);
    hone_decoder(dtype, HONE_CPU_REF)(src, want, n);
    hone_decoder(dtype, level)(src, got, n);
    for (size_t i = 0; i < n; i++)
        if (!same_float(want[i], got[i]))
            ck_abort_msg("%s %s, %zu elements: element %zu is %a, not %a", hone_dtype_describe(dtype)->name,
                         hone_cpu_name(level), n, i, (double)got[i], (double)want[i]);
    free(want);
    free(got);
    free(block);
}

START_TEST(decoders_agree_with_portable_c)
{
    enum { NBYTES = MAX_ELEMS * 8 };
    uint8_t *data = malloc(NBYTES);
    ck_assert_ptr_nonnull(data);
    for (size_t i = 0; i < NBYTES; i++)
        data[i] = (uint8_t)(hone_seeded_bits(SEED + 3, i) >> 32);
    for (int level = HONE_CPU_REF + 1; level < HONE_CPU_N_LEVELS; level++) {
        if (!has_level(level))
            continue;
        for (int d = 1; d < HONE_N_DTYPES; d++) {
            const size_t block = hone_dtype_describe((hone_dtype)d)->block_nelems;
            if (d >= HONE_F4 && d <= HONE_C64) /* listed and copied only */
                continue;
            ck_assert_ptr_nonnull((void *)(uintptr_t)hone_decoder((hone_dtype)d, HONE_CPU_REF));
            for (size_t nblocks = 1; nblocks < 20 && nblocks * block <= MAX_ELEMS; nblocks++)
                compare_decoders((hone_dtype)d, (hone_cpu_level)level, data, nblocks * block);
            compare_decoders((hone_dtype)d, (hone_cpu_level)level, data, MAX_ELEMS);
        }
    }
    free(data);
}
END_TEST

START_TEST(halves_of_every_bit_pattern_agree)
{
    enum { N = 65536 };
    uint16_t *halves = malloc(N * sizeof *halves);
    ck_assert_ptr_nonnull(halves);
    for (unsigned i = 0; i < N; i++)
        halves[i] = (uint16_t)i;
    for (int level = HONE_CPU_REF + 1; level < HONE_CPU_N_LEVELS; level++) {
        if (!has_level(level))
            continue;
        compare_decoders(HONE_F16, (hone_cpu_level)level, (const uint8_t *)halves, N);
        compare_decoders(HONE_BF16, (hone_cpu_level)level, (const uint8_t *)halves, N);
    }
    free(halves);
}
END_TEST

/* Each half, the midpoint above it, and the floats on either side of that midpoint. */
START_TEST(narrowing_agrees_around_every_midpoint)
{
    enum { PER_HALF = 4, N = 0x7c00 * PER_HALF };
    float *x = malloc(N * sizeof *x);
    ck_assert_ptr_nonnull(x);
    for (unsigned h = 0; h < 0x7c00; h++) {
        const float low = hone_f16_to_f32((uint16_t)h);
        const float high = h == 0x7bff ? 65536.0f : hone_f16_to_f32((uint16_t)(h + 1));
        const float middle = low + (high - low) / 2;
        const float sign = h & 1 ? -1.0f : 1.0f;
        x[PER_HALF * h] = sign * low;
        x[PER_HALF * h + 1] = sign * nextafterf(middle, low);
        x[PER_HALF * h + 2] = sign * middle;
        x[PER_HALF * h + 3] = sign * nextafterf(middle, high);
    }
    compare_encoders(HONE_F16, HONE_SEARCH_REFERENCE, "midpoints", x, N, NULL);
    for (size_t i = 0; i < N; i++) /* the same, for the 16 low bits that bf16 drops */
        x[i] = hone_f32_from_bits((hone_f32_bits(x[i]) & 0xffff0000u) | (uint32_t[]){0, 0x7fff, 0x8000, 0x8001}[i % 4]);
    compare_encoders(HONE_BF16, HONE_SEARCH_REFERENCE, "midpoints", x, N, NULL);
    free(x);
}
END_TEST

/* Where a level fell back to portable C throughout, the comparisons above would be of it with itself. */
START_TEST(vector_levels_have_kernels_of_their_own)
{
    if (!has_level(HONE_CPU_AVX2)) {
        (void)printf("SKIP: this machine has no AVX2\n");
        return;
    }
    int n_encoders[HONE_N_SEARCHES] = {0}, n_decoders = 0;
    for (int d = 1; d < HONE_N_DTYPES; d++) {
        for (int search = 0; search < HONE_N_SEARCHES; search++)
            n_encoders[search] += hone_encoder((hone_dtype)d, (hone_search)search, HONE_CPU_AVX2) !=
                                  hone_encoder((hone_dtype)d, (hone_search)search, HONE_CPU_REF);
        n_decoders += hone_decoder((hone_dtype)d, HONE_CPU_AVX2) != hone_decoder((hone_dtype)d, HONE_CPU_REF);
    }
    for (int search = 0; search < HONE_N_SEARCHES; search++)
        ck_assert_int_ge(n_encoders[search], 5);
    ck_assert_int_ge(n_decoders, 5);
}
END_TEST

Suite *hone_suite_kernels(void)
{
    Suite *suite = suite_create("kernels");
    TCase *core = tcase_create("core");
    tcase_set_timeout(core, 120);
    tcase_add_loop_test(core, encoders_agree_with_portable_c, 0, HONE_N_FILLS);
    tcase_add_loop_test(core, q3_k_agrees_on_many_rows, 0, 2);
    tcase_add_test(core, q3_k_sweeps_five_times);
    tcase_add_test(core, vector_levels_have_kernels_of_their_own);
    tcase_add_test(core, decoders_agree_with_portable_c);
    tcase_add_test(core, halves_of_every_bit_pattern_agree);
    tcase_add_test(core, narrowing_agrees_around_every_midpoint);
    suite_add_tcase(suite, core);
    return suite;
}
