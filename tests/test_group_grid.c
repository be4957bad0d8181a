/* SPDX-License-Identifier: MIT */
/* Group-affine grids: what the search promises, at every level of this CPU. */
#include <check.h>
#include <math.h>
#include <string.h>

#include "base/half.h"
#include "quantize/group_grid.h"
#include "tests/support/fills.h"
#include "tests/support/seeded_weights.h"

Suite *hone_suite_group_grid(void);

enum { MAX_N = 300 };

static const size_t group_sizes[] = {32, 128, 16, 300, 47};
enum { N_SIZES = sizeof group_sizes / sizeof group_sizes[0] };

/* Every grid that a target can ask for. */
static const hone_grid grids[] = {
    {.rule = HONE_GRID_COMPRESSED, .bits = 2, .stored = HONE_BF16},
    {.rule = HONE_GRID_COMPRESSED, .bits = 3, .stored = HONE_F16},
    {.rule = HONE_GRID_COMPRESSED, .bits = 4, .stored = HONE_F32},
    {.rule = HONE_GRID_COMPRESSED, .bits = 8, .stored = HONE_F16},
    {.rule = HONE_GRID_COMPRESSED, .bits = 4, .symmetric = true, .stored = HONE_BF16},
    {.rule = HONE_GRID_COMPRESSED, .bits = 6, .symmetric = true, .stored = HONE_F16},
    {.rule = HONE_GRID_GPTQ, .bits = 2, .stored = HONE_F16},
    {.rule = HONE_GRID_GPTQ, .bits = 4, .stored = HONE_F16},
    {.rule = HONE_GRID_GPTQ, .bits = 3, .symmetric = true, .stored = HONE_F16},
    {.rule = HONE_GRID_GPTQ, .bits = 8, .symmetric = true, .stored = HONE_F16},
    {.rule = HONE_GRID_AWQ, .bits = 4, .stored = HONE_F16},
    {.rule = HONE_GRID_MLX, .bits = 2, .stored = HONE_F16},
    {.rule = HONE_GRID_MLX, .bits = 4, .stored = HONE_BF16},
    {.rule = HONE_GRID_MLX, .bits = 8, .stored = HONE_F32},
};
enum { N_GRIDS = sizeof grids / sizeof grids[0] };

struct encoded {
    uint8_t codes[MAX_N];
    float scale, zero;
};

static struct encoded encode(hone_grid grid, const hone_best_kernels *search, const float *x, size_t n, const float *w)
{
    struct encoded e = {{0}, 0, 0};
    grid.search = search;
    hone_grid_encode(&grid, x, n, w, e.codes, &e.scale, &e.zero);
    return e;
}

/* The weighted squared error as decoded, which may be NaN where a rule's scale overflows. */
static double error_of(const hone_grid *grid, const struct encoded *e, const float *x, size_t n, const float *w)
{
    float y[MAX_N];
    double sum = 0;
    hone_grid_decode(grid, e->codes, n, e->scale, e->zero, y);
    for (size_t i = 0; i < n; i++) {
        const double miss = (double)x[i] - (double)y[i];
        sum += (w ? (double)w[i] : 1.0) * miss * miss;
    }
    return sum;
}

static const hone_best_kernels *best_kernels(void)
{
    return hone_best_kernels_for(hone_cpu_best());
}

START_TEST(search_is_never_worse_than_the_rule)
{
    float x[MAX_N], importance[MAX_N];
    hone_fills[_i].fill(x, MAX_N);
    hone_seeded_importance(HONE_FILL_SEED, MAX_N, importance);
    for (size_t g = 0; g < N_GRIDS; g++)
        for (size_t k = 0; k < N_SIZES; k++)
            for (int weighted = 0; weighted < 2; weighted++) {
                const float *w = weighted ? importance : NULL;
                const struct encoded rule = encode(grids[g], NULL, x, group_sizes[k], w);
                const struct encoded best = encode(grids[g], best_kernels(), x, group_sizes[k], w);
                const double before = error_of(&grids[g], &rule, x, group_sizes[k], w);
                const double after = error_of(&grids[g], &best, x, group_sizes[k], w);
                ck_assert_msg(after <= before || isnan(before), "grid %zu, %s, %zu elements%s: %.17g, rule %.17g", g,
                              hone_fills[_i].name, group_sizes[k], weighted ? ", weighted" : "", after, before);
                ck_assert_msg(isfinite(best.scale) && isfinite(best.zero), "grid %zu, %s", g, hone_fills[_i].name);
            }
}
END_TEST

START_TEST(every_level_finds_the_same)
{
    float x[MAX_N], importance[MAX_N];
    hone_fills[_i].fill(x, MAX_N);
    hone_seeded_importance(HONE_FILL_SEED, MAX_N, importance);
    for (int level = HONE_CPU_REF + 1; level < HONE_CPU_N_LEVELS; level++) {
        hone_cpu_level chosen;
        if (hone_cpu_choose(hone_cpu_name((hone_cpu_level)level), &chosen, NULL) != HONE_OK)
            continue;
        for (size_t g = 0; g < N_GRIDS; g++)
            for (size_t k = 0; k < 2 * N_SIZES; k++) {
                const float *w = k % 2 ? importance : NULL;
                const struct encoded want = encode(grids[g], &hone_best_ref, x, group_sizes[k / 2], w);
                const struct encoded got = encode(grids[g], hone_best_kernels_for(chosen), x, group_sizes[k / 2], w);
                ck_assert_msg(memcmp(&want, &got, sizeof want) == 0, "%s, grid %zu, %s, %zu elements",
                              hone_cpu_name(chosen), g, hone_fills[_i].name, group_sizes[k / 2]);
            }
    }
}
END_TEST

/* At least this much lower, in percent of RMSE, for bell-shaped weights in groups of 128. */
static const struct {
    hone_grid grid;
    double gain;
} gains[] = {
    {{.rule = HONE_GRID_COMPRESSED, .bits = 4, .stored = HONE_BF16}, 5.0},
    {{.rule = HONE_GRID_COMPRESSED, .bits = 4, .symmetric = true, .stored = HONE_BF16}, 8.0},
    {{.rule = HONE_GRID_GPTQ, .bits = 3, .stored = HONE_F16}, 13.0},
    {{.rule = HONE_GRID_GPTQ, .bits = 8, .symmetric = true, .stored = HONE_F16}, 2.0},
    {{.rule = HONE_GRID_AWQ, .bits = 4, .stored = HONE_F16}, 5.0},
    {{.rule = HONE_GRID_MLX, .bits = 4, .stored = HONE_BF16}, 8.0},
};
enum { N_GAINS = sizeof gains / sizeof gains[0] };

START_TEST(search_lowers_the_error_as_claimed)
{
    enum { N = 128 };
    double before = 0, after = 0;
    for (uint64_t row = 0; row < 200; row++) {
        float x[N];
        for (size_t i = 0; i < N; i++) {
            double sum = 0;
            for (uint64_t k = 0; k < 16; k++)
                sum += (double)(hone_seeded_bits(row, 16 * i + k) >> 11) * 0x1p-53 - 0.5;
            x[i] = (float)(0.02 * sum);
        }
        const struct encoded rule = encode(gains[_i].grid, NULL, x, N, NULL);
        const struct encoded best = encode(gains[_i].grid, best_kernels(), x, N, NULL);
        before += error_of(&gains[_i].grid, &rule, x, N, NULL);
        after += error_of(&gains[_i].grid, &best, x, N, NULL);
    }
    const double gain = 100.0 * (1.0 - sqrt(after / before));
    ck_assert_msg(gain >= gains[_i].gain, "%d: %.2f %%", _i, gain);
}
END_TEST

START_TEST(zeros_stay_zeros)
{
    enum { N = 64 };
    const float x[N] = {0};
    for (size_t g = 0; g < N_GRIDS; g++) {
        const struct encoded e = encode(grids[g], best_kernels(), x, N, NULL);
        ck_assert_double_eq(error_of(&grids[g], &e, x, N, NULL), 0.0);
    }
}
END_TEST

/* Where the rule's f16 scale runs into the largest finite one, or down to a subnormal. */
START_TEST(scales_at_the_ends_of_f16_are_finite)
{
    enum { N = 64 };
    for (int e = -60; e <= 120; e += 4) {
        float x[N];
        for (size_t i = 0; i < N; i++)
            x[i] = ldexpf((float)(i % 13) - 6.0f, e);
        for (size_t g = 0; g < N_GRIDS; g++) {
            const struct encoded best = encode(grids[g], best_kernels(), x, N, NULL);
            ck_assert_msg(isfinite(best.scale) && isfinite(best.zero) && best.scale != 0.0f, "grid %zu, 2^%d", g, e);
        }
    }
}
END_TEST

/* The rule gives most codes to the range of one large weight; weighted by importance the others get them. */
START_TEST(an_unimportant_outlier_gives_way)
{
    enum { N = 128 };
    float x[N], importance[N];
    for (size_t i = 0; i < N; i++) {
        x[i] = (float)((double)(hone_seeded_bits(11, i) >> 11) * 0x1p-53 - 0.5);
        importance[i] = 1.0f;
    }
    x[5] = 10.0f;
    importance[5] = 0.0f;
    for (size_t g = 0; g < N_GRIDS; g++) {
        const struct encoded rule = encode(grids[g], NULL, x, N, importance);
        const struct encoded best = encode(grids[g], best_kernels(), x, N, importance);
        const double after = error_of(&grids[g], &best, x, N, importance);
        const double before = error_of(&grids[g], &rule, x, N, importance);
        ck_assert_msg(after < 0.5 * before, "grid %zu: %g, rule %g", g, after, before);
    }
}
END_TEST

Suite *hone_suite_group_grid(void)
{
    Suite *suite = suite_create("group_grid");
    TCase *core = tcase_create("core");
    tcase_set_timeout(core, 120);
    tcase_add_loop_test(core, search_is_never_worse_than_the_rule, 0, HONE_N_FILLS);
    tcase_add_loop_test(core, every_level_finds_the_same, 0, HONE_N_FILLS);
    tcase_add_loop_test(core, search_lowers_the_error_as_claimed, 0, N_GAINS);
    tcase_add_test(core, zeros_stay_zeros);
    tcase_add_test(core, scales_at_the_ends_of_f16_are_finite);
    tcase_add_test(core, an_unimportant_outlier_gives_way);
    suite_add_tcase(suite, core);
    return suite;
}
