/* SPDX-License-Identifier: MIT */
/* Error feedback: the factors, and what coding with them promises. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/fail.h"
#include "base/mem.h"
#include "base/run_context.h"
#include "formats/blocks.h"
#include "formats/decode.h"
#include "quantize/asymmetric.h"
#include "quantize/encode.h"
#include "quantize/gptq.h"
#include "tests/support/fills.h"
#include "tests/support/seeded_weights.h"

Suite *hone_suite_gptq(void);

enum { MAX_COLS = 768, N_ROWS = 21, TIMEOUT = 120 };

static const hone_dtype types[] = {HONE_Q2_K,    HONE_Q3_K,  HONE_Q4_K,  HONE_Q5_K,    HONE_Q6_K,   HONE_Q4_0,
                                   HONE_Q4_1,    HONE_Q5_0,  HONE_Q5_1,  HONE_Q8_0,    HONE_IQ4_NL, HONE_IQ4_XS,
                                   HONE_MXFP4,   HONE_NVFP4, HONE_IQ3_S, HONE_IQ3_XXS, HONE_IQ2_S,  HONE_IQ2_XS,
                                   HONE_IQ2_XXS, HONE_IQ1_S, HONE_IQ1_M};
enum { N_TYPES = sizeof types / sizeof types[0] };

static hone_context *ctx;
static double h[MAX_COLS][MAX_COLS];
static float w[N_ROWS * MAX_COLS];
static size_t ncols;

/* Inputs that depend on each other as a model's do: a few directions carry most of it. Column 5 is always zero. */
static void make_moments(size_t n)
{
    enum { N_TOKENS = 300, N_DIRECTIONS = 12 };
    static float x[N_TOKENS][MAX_COLS], directions[N_DIRECTIONS * MAX_COLS], own[N_TOKENS * MAX_COLS];
    ncols = n;
    hone_seeded_weights(7, N_DIRECTIONS * n, directions);
    hone_seeded_weights(8, N_TOKENS * n, own);
    for (size_t t = 0; t < N_TOKENS; t++)
        for (size_t c = 0; c < n; c++) {
            x[t][c] = own[t * n + c];
            for (size_t d = 0; d < N_DIRECTIONS; d++)
                x[t][c] += (float)(hone_seeded_bits(9, t * N_DIRECTIONS + d) % 7) * directions[d * n + c];
            x[t][5] = 0.0f;
        }
    memset(h, 0, sizeof h);
    for (size_t t = 0; t < N_TOKENS; t++)
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++)
                h[i][j] += (double)x[t][i] * (double)x[t][j] / N_TOKENS;
}

static hone_status read_row(void *user, size_t i, float *dst, hone_error *err)
{
    (void)user;
    (void)err;
    for (size_t j = i; j < ncols; j++)
        dst[j - i] = (float)h[i][j];
    return HONE_OK;
}

static void set_up(void)
{
    ck_assert_int_eq(hone_context_new(&(hone_context_options){.n_threads = 2}, &ctx, NULL), HONE_OK);
    hone_seeded_weights(3, N_ROWS * MAX_COLS, w);
}

static void tear_down(void)
{
    hone_mem_fail_after(-1);
    hone_context_free(ctx);
}

static hone_feedback make(bool ordered)
{
    hone_feedback f;
    hone_error err = {0};
    hone_status (*init)(const hone_context *, size_t, double, hone_gram_row_fn, void *, hone_feedback *, hone_error *) =
        ordered ? hone_feedback_init_ordered : hone_feedback_init;
    ck_assert_msg(init(ctx, ncols, 0, read_row, NULL, &f, &err) == HONE_OK, "%s", err.reason);
    return f;
}

static hone_feedback make_feedback(void)
{
    return make(false);
}

static double mean_diagonal(void)
{
    double sum = 0;
    for (size_t i = 0; i < ncols; i++)
        sum += h[i][i];
    return sum / (double)ncols;
}

static double m_at(const hone_feedback *f, size_t i, size_t j)
{
    size_t width;
    const size_t p = j / HONE_FEEDBACK_PANEL, end = j - p * HONE_FEEDBACK_PANEL;
    const float *panel = hone_feedback_panel(f, p, &width);
    if (end >= width)
        ck_abort_msg("column %zu of a panel %zu wide", end, width);
    return i > j ? 0.0 : (double)panel[i * HONE_FEEDBACK_PANEL + end];
}

START_TEST(factors_multiply_to_the_damped_moments)
{
    static const size_t sizes[] = {32, 64, 96, 256, 352, 768};
    make_moments(sizes[_i]);
    hone_feedback f = make_feedback();
    ck_assert_double_eq(f.damping, 0.01);
    const double mean = mean_diagonal();
    for (size_t i = 0; i < ncols; i += 7)
        for (size_t j = i; j < ncols; j += 5) {
            double sum = 0;
            for (size_t k = j; k < ncols; k++)
                sum += m_at(&f, i, k) * (double)f.diagonal[k] * m_at(&f, j, k);
            ck_assert_double_eq_tol(sum, h[i][j] + (i == j ? 0.01 * mean : 0), 1e-5 * mean);
        }
    for (size_t j = 0; j < ncols; j++)
        ck_assert_double_eq(m_at(&f, j, j), 1.0);
    hone_feedback_deinit(&f);
}
END_TEST

START_TEST(factors_are_those_of_ordered_columns)
{
    make_moments(352);
    hone_feedback f = make(true);
    const double mean = mean_diagonal();
    bool seen[MAX_COLS] = {false};
    for (size_t i = 0; i < ncols; i++) {
        ck_assert(f.order[i] < ncols && !seen[f.order[i]]);
        seen[f.order[i]] = true;
        ck_assert_float_eq(f.squares[i], (float)h[i][i]);
        ck_assert(i == 0 || f.squares[f.order[i - 1]] >= f.squares[f.order[i]]);
    }
    for (size_t i = 0; i < ncols; i += 7)
        for (size_t j = i; j < ncols; j += 5) {
            double sum = 0;
            for (size_t k = j; k < ncols; k++)
                sum += m_at(&f, i, k) * (double)f.diagonal[k] * m_at(&f, j, k);
            ck_assert_double_eq_tol(sum, h[f.order[i]][f.order[j]] + (i == j ? 0.01 * mean : 0), 1e-5 * mean);
        }
    hone_feedback_deinit(&f);
}
END_TEST

/* A shift is of columns as they come, whatever order H was factored in. */
START_TEST(order_does_not_change_what_is_aimed_at)
{
    make_moments(96);
    hone_feedback f[2] = {make(false), make(true)};
    for (int i = 0; i < 2; i++) {
        float *difference = hone_alloc(ncols * ncols, sizeof *difference);
        ck_assert_ptr_nonnull(difference);
        hone_seeded_weights(11, ncols * ncols, difference);
        ck_assert_int_eq(hone_feedback_aim(ctx, &f[i], difference, 0.5f, NULL), HONE_OK);
    }
    float largest = 0;
    for (size_t i = 0; i < ncols * ncols; i++)
        largest = fmaxf(largest, fabsf(f[0].shift[i]));
    ck_assert_float_gt(largest, 0.0f);
    for (size_t i = 0; i < ncols * ncols; i++)
        ck_assert_float_eq_tol(f[0].shift[i], f[1].shift[i], 1e-3f * largest);
    hone_feedback_deinit(&f[0]);
    hone_feedback_deinit(&f[1]);
}
END_TEST

/* Errors as they come, of inputs divided by what columns were multiplied by, cost the same in any order. */
START_TEST(losses_do_not_depend_on_the_order)
{
    make_moments(256);
    float *scale = malloc(ncols * sizeof *scale), *scratch = malloc(HONE_FEEDBACK_ROWS * ncols * sizeof *scratch);
    for (size_t i = 0; i < ncols; i++)
        scale[i] = 0.5f + (float)(i % 7);
    double sum[2][2] = {{0}};
    for (int ordered = 0; ordered < 2; ordered++) {
        hone_feedback f = make(ordered), scaled = {0};
        ck_assert_int_eq(hone_feedback_scale(&f, scale, &scaled, NULL), HONE_OK);
        for (int which = 0; which < 2; which++) {
            float loss[HONE_FEEDBACK_ROWS];
            hone_feedback_row_losses(which ? &scaled : &f, w, scratch, loss);
            for (size_t r = 0; r < HONE_FEEDBACK_ROWS; r++)
                sum[ordered][which] += (double)loss[r];
        }
        hone_feedback_deinit(&scaled);
        hone_feedback_deinit(&f);
    }
    for (int which = 0; which < 2; which++)
        ck_assert_msg(fabs(sum[1][which] / sum[0][which] - 1) < 1e-3, "%g, in order %g", sum[0][which], sum[1][which]);
    ck_assert(fabs(sum[0][1] / sum[0][0] - 1) > 0.1);
    free(scale);
    free(scratch);
}
END_TEST

START_TEST(damping_rises_until_the_factors_exist)
{
    make_moments(96);
    const double mean = mean_diagonal();
    h[10][20] = 3 * mean; /* no second moments of anything: their determinant is negative */
    hone_feedback f = make_feedback();
    ck_assert_double_gt(f.damping, 0.05);
    hone_feedback_deinit(&f);
}
END_TEST

START_TEST(inputs_never_seen_leave_plain_rounding)
{
    make_moments(96);
    memset(h, 0, sizeof h);
    hone_feedback f = make_feedback();
    for (size_t i = 0; i < ncols; i++)
        for (size_t j = i; j < ncols; j++)
            ck_assert_double_eq(m_at(&f, i, j), i == j ? 1.0 : 0.0);
    hone_feedback_deinit(&f);
}
END_TEST

START_TEST(refuses_what_is_no_moment)
{
    static const double bad[] = {NAN, INFINITY, -1.0};
    make_moments(96);
    h[40][40] = bad[_i];
    hone_feedback f;
    hone_error err = {0};
    ck_assert_int_eq(hone_feedback_init(ctx, ncols, 0, read_row, NULL, &f, &err), HONE_ERROR_DATA);
    ck_assert_str_eq(err.reason, "no second moment at row 40, column 40");
    ck_assert_ptr_null(f.panels);
}
END_TEST

START_TEST(every_failing_allocation_of_the_factors_is_reported)
{
    hone_status (*const init[])(const hone_context *, size_t, double, hone_gram_row_fn, void *, hone_feedback *,
                                hone_error *) = {hone_feedback_init, hone_feedback_init_ordered};
    make_moments(96);
    hone_feedback f;
    long n = 0;
    hone_status status = HONE_ERROR_NOMEM;
    for (; status == HONE_ERROR_NOMEM && n < 100; n++) {
        hone_mem_fail_after(n);
        status = init[_i](ctx, ncols, 0, read_row, NULL, &f, NULL);
    }
    ck_assert_int_eq(status, HONE_OK);
    ck_assert_int_gt(n, 4);
    hone_feedback_deinit(&f);
}
END_TEST

static size_t row_nbytes(hone_dtype dtype)
{
    uint64_t nbytes;
    ck_assert_int_eq(hone_dtype_row_nbytes(dtype, ncols, &nbytes), HONE_OK);
    return (size_t)nbytes;
}

/* All rows at once, or cut in two. */
static uint8_t *encode(const hone_feedback *f, hone_dtype dtype, hone_cpu_level level, size_t cut)
{
    const size_t nbytes = row_nbytes(dtype);
    uint8_t *out = malloc(N_ROWS * nbytes);
    float *scratch = malloc(hone_gptq_scratch_nfloats(ncols) * sizeof *scratch);
    ck_assert(out && scratch);
    size_t n_plain;
    const hone_gptq_coder coder = hone_gptq_blocks(dtype, HONE_SEARCH_BEST, level);
    hone_gptq_encode(f, &coder, w, cut, out, scratch, &n_plain);
    hone_gptq_encode(f, &coder, w + cut * ncols, N_ROWS - cut, out + cut * nbytes, scratch, &n_plain);
    free(scratch);
    return out;
}

/* e H eT of a row x that decodes to y. */
static double loss_of(const float *y, const float *x)
{
    const double damping = 0.01 * mean_diagonal();
    double sum = 0;
    for (size_t i = 0; i < ncols; i++) {
        const double e = (double)x[i] - (double)y[i];
        sum += damping * e * e;
        for (size_t j = 0; j < ncols; j++)
            sum += e * h[i][j] * ((double)x[j] - (double)y[j]);
    }
    return sum;
}

START_TEST(no_row_is_worse_and_most_are_better)
{
    const hone_dtype dtype = types[_i];
    make_moments(hone_dtype_describe(dtype)->block_nelems == HONE_QK_K ? 512 : 320);
    hone_feedback f = make_feedback();
    const size_t nbytes = row_nbytes(dtype);
    uint8_t *coded = encode(&f, dtype, hone_cpu_best(), N_ROWS), *plain = malloc(nbytes);
    double sum = 0, plain_sum = 0;
    for (size_t r = 0; r < N_ROWS; r++) {
        const float *x = w + r * ncols;
        hone_encoder(dtype, HONE_SEARCH_BEST, hone_cpu_best())(x, ncols, NULL, plain);
        const hone_decode_fn decode = hone_decoder(dtype, HONE_CPU_REF);
        float y[MAX_COLS];
        decode(coded + r * nbytes, y, ncols);
        const double loss = loss_of(y, x);
        decode(plain, y, ncols);
        const double plain_loss = loss_of(y, x);
        ck_assert_double_le(loss, plain_loss * (1 + 1e-4));
        sum += loss;
        plain_sum += plain_loss;
    }
    ck_assert_msg(sum < 0.7 * plain_sum, "%s: %g, without feedback %g", hone_dtype_describe(dtype)->name, sum,
                  plain_sum);
    free(plain);
    free(coded);
    hone_feedback_deinit(&f);
}
END_TEST

static const struct {
    hone_grid grid;
    size_t group;
    bool searched;
} grids[] = {
    {{HONE_GRID_COMPRESSED, 4, true, HONE_BF16, NULL}, 64, true},
    {{HONE_GRID_COMPRESSED, 3, false, HONE_F16, NULL}, 16, false},
    {{HONE_GRID_GPTQ, 4, false, HONE_F16, NULL}, 128, true},
    {{HONE_GRID_GPTQ, 8, true, HONE_F16, NULL}, 32, false},
    {{HONE_GRID_AWQ, 4, false, HONE_F16, NULL}, 128, false},
    {{HONE_GRID_MLX, 2, false, HONE_F16, NULL}, 64, true},
    {{HONE_GRID_MLX, 6, false, HONE_F32, NULL}, 32, false},
    {{HONE_GRID_COMPRESSED, 4, true, HONE_BF16, NULL}, 384, true}, /* a whole row */
    {{HONE_GRID_COMPRESSED, 8, false, HONE_F16, NULL}, 96, false}, /* no part of a panel */
};
enum { N_GRIDS = sizeof grids / sizeof grids[0] };

/* Rows on a grid. */
struct on_grid {
    uint8_t codes[N_ROWS * MAX_COLS];
    float scales[N_ROWS * MAX_COLS], zeros[N_ROWS * MAX_COLS];
};

/* All rows at once, or cut in two. */
static void encode_groups(const hone_feedback *f, const hone_grid *grid, size_t group, size_t cut, struct on_grid *out)
{
    const size_t groups = ncols / group;
    const hone_gptq_coder coder = hone_gptq_groups(grid, group);
    float *scratch = malloc(hone_gptq_scratch_nfloats(ncols) * sizeof *scratch);
    ck_assert_ptr_nonnull(scratch);
    memset(out, 0, sizeof *out);
    size_t n_plain;
    hone_gptq_encode_groups(f, &coder, w, cut, out->codes, out->scales, out->zeros, scratch, &n_plain);
    hone_gptq_encode_groups(f, &coder, w + cut * ncols, N_ROWS - cut, out->codes + cut * ncols,
                            out->scales + cut * groups, out->zeros + cut * groups, scratch, &n_plain);
    free(scratch);
}

static hone_grid grid_at(int i, hone_cpu_level level)
{
    hone_grid grid = grids[i].grid;
    grid.search = grids[i].searched ? hone_best_kernels_for(level) : NULL;
    return grid;
}

/* In both orders. */
START_TEST(groups_are_better_for_feedback_too)
{
    make_moments(384);
    const hone_grid grid = grid_at(_i / 2, hone_cpu_best());
    const size_t group = grids[_i / 2].group, groups = ncols / group;
    ck_assert(hone_gptq_can_group(group, ncols));
    hone_feedback f = make(_i % 2);
    static struct on_grid coded;
    encode_groups(&f, &grid, group, N_ROWS, &coded);
    double sum = 0, plain_sum = 0;
    for (size_t r = 0; r < N_ROWS; r++) {
        const float *x = w + r * ncols;
        float y[MAX_COLS], plain[MAX_COLS];
        for (size_t g = 0; g < groups; g++) {
            uint8_t own[MAX_COLS];
            float scale, zero;
            const size_t i = r * groups + g;
            hone_grid_decode(&grid, coded.codes + i * group, group, coded.scales[i], coded.zeros[i], y + g * group);
            hone_grid_encode(&grid, x + g * group, group, NULL, own, &scale, &zero);
            hone_grid_decode(&grid, own, group, scale, zero, plain + g * group);
        }
        const double loss = loss_of(y, x), plain_loss = loss_of(plain, x);
        ck_assert_double_le(loss, plain_loss * (1 + 1e-4));
        sum += loss;
        plain_sum += plain_loss;
    }
    ck_assert_msg(sum < 0.75 * plain_sum, "%g, without feedback %g", sum, plain_sum);
    hone_feedback_deinit(&f);
}
END_TEST

START_TEST(columns_in_order_are_better_on_the_whole)
{
    make_moments(384);
    double sum[2] = {0, 0};
    const hone_grid grid = grid_at(0, hone_cpu_best());
    for (int ordered = 0; ordered < 2; ordered++) {
        hone_feedback f = make(ordered);
        static struct on_grid coded;
        encode_groups(&f, &grid, 64, N_ROWS, &coded);
        for (size_t r = 0; r < N_ROWS; r++) {
            float y[MAX_COLS];
            for (size_t i = r * 6; i < (r + 1) * 6; i++)
                hone_grid_decode(&grid, coded.codes + i * 64, 64, coded.scales[i], coded.zeros[i], y + i % 6 * 64);
            sum[ordered] += loss_of(y, w + r * ncols);
        }
        hone_feedback_deinit(&f);
    }
    ck_assert_msg(sum[1] < 0.97 * sum[0], "%g, as they come %g", sum[1], sum[0]);
}
END_TEST

START_TEST(groups_that_do_not_fit_are_told)
{
    ck_assert(!hone_gptq_can_group(128, 320));
    ck_assert(!hone_gptq_can_group(24, 24));
    ck_assert(hone_gptq_can_group(512, 512));
}
END_TEST

START_TEST(every_level_and_cut_gives_the_same_groups)
{
    make_moments(384);
    hone_feedback f = make(_i % 2);
    static struct on_grid want, got;
    const hone_grid portable = grid_at(_i / 2, HONE_CPU_REF);
    hone_feedback ref = f;
    ref.kernels = hone_feedback_kernels_for(HONE_CPU_REF);
    encode_groups(&ref, &portable, grids[_i / 2].group, N_ROWS, &want);
    for (int level = 0; level < HONE_CPU_N_LEVELS; level++) {
        hone_cpu_level chosen;
        if (hone_cpu_choose(hone_cpu_name((hone_cpu_level)level), &chosen, NULL) != HONE_OK)
            continue;
        hone_feedback own = f;
        own.kernels = hone_feedback_kernels_for(chosen);
        const hone_grid grid = grid_at(_i / 2, chosen);
        encode_groups(&own, &grid, grids[_i / 2].group, 13, &got);
        ck_assert_msg(memcmp(&want, &got, sizeof want) == 0, "%s", hone_cpu_name(chosen));
    }
    hone_feedback_deinit(&f);
}
END_TEST

START_TEST(every_level_and_cut_gives_the_same_bytes)
{
    const hone_dtype dtype = types[_i];
    make_moments(hone_dtype_describe(dtype)->block_nelems == HONE_QK_K ? 512 : 352);
    if (ncols % hone_dtype_describe(dtype)->block_nelems)
        make_moments(320);
    hone_feedback f = make_feedback();
    uint8_t *want = encode(&f, dtype, HONE_CPU_REF, N_ROWS);
    for (int level = 0; level < HONE_CPU_N_LEVELS; level++) {
        hone_cpu_level chosen;
        if (hone_cpu_choose(hone_cpu_name((hone_cpu_level)level), &chosen, NULL) != HONE_OK)
            continue;
        hone_feedback own = f;
        own.kernels = hone_feedback_kernels_for(chosen);
        uint8_t *got = encode(&own, dtype, chosen, 13);
        ck_assert_msg(memcmp(want, got, N_ROWS * row_nbytes(dtype)) == 0, "%s on %s", hone_dtype_describe(dtype)->name,
                      hone_cpu_name(chosen));
        free(got);
    }
    free(want);
    hone_feedback_deinit(&f);
}
END_TEST

START_TEST(factors_are_the_same_at_every_level)
{
    make_moments(768);
    hone_feedback want = make_feedback();
    hone_context *ref;
    ck_assert_int_eq(hone_context_new(&(hone_context_options){.n_threads = 1, .cpu = "ref"}, &ref, NULL), HONE_OK);
    hone_feedback got;
    ck_assert_int_eq(hone_feedback_init(ref, ncols, 0, read_row, NULL, &got, NULL), HONE_OK);
    ck_assert_mem_eq(want.diagonal, got.diagonal, ncols * sizeof *got.diagonal);
    for (size_t p = 0; p < 3; p++) {
        size_t width;
        const float *a = hone_feedback_panel(&want, p, &width), *b = hone_feedback_panel(&got, p, &width);
        ck_assert_mem_eq(a, b, (p + 1) * HONE_FEEDBACK_PANEL * HONE_FEEDBACK_PANEL * sizeof *a);
    }
    hone_feedback_deinit(&want);
    hone_feedback_deinit(&got);
    hone_context_free(ref);
}
END_TEST

START_TEST(weights_of_any_kind_are_coded)
{
    make_moments(256);
    hone_fills[_i].fill(w, N_ROWS * ncols);
    hone_feedback f = make_feedback();
    for (size_t t = 0; t < N_TYPES; t++)
        free(encode(&f, types[t], hone_cpu_best(), N_ROWS)); /* for the sanitizers */
    hone_feedback_deinit(&f);
}
END_TEST

/* Multiplied by H as it was factored, the shift is the difference again; one whose size is no multiple of a turn's. */
START_TEST(an_aim_solves_for_the_difference)
{
    enum { N = 352 };
    const float strength = 0.25f;
    make_moments(N);
    hone_feedback f = make_feedback();
    float *difference = hone_alloc((size_t)N * N, sizeof *difference), *wanted = malloc(N * N * sizeof *wanted);
    ck_assert(difference && wanted);
    hone_seeded_weights(11, (size_t)N * N, wanted);
    memcpy(difference, wanted, N * N * sizeof *wanted);
    ck_assert_uint_eq(hone_feedback_aim_nbytes(N), 2 * N * N * sizeof *wanted);
    ck_assert_int_eq(hone_feedback_aim(ctx, &f, difference, strength, NULL), HONE_OK);
    ck_assert_ptr_eq(f.shift, difference);
    const double damping = 0.01 * mean_diagonal();
    double largest = 0, error = 0;
    for (size_t r = 0; r < N; r += 13)
        for (size_t j = 0; j < N; j++) {
            double sum = damping * (double)f.shift[r * N + j];
            for (size_t k = 0; k < N; k++)
                sum += (double)f.shift[r * N + k] * h[k][j];
            const double expected = (double)(strength * wanted[r * N + j]);
            largest = fmax(largest, fabs(expected));
            error = fmax(error, fabs(sum - expected));
        }
    ck_assert_double_lt(error, 1e-3 * largest);
    free(wanted);
    hone_feedback_deinit(&f);
}
END_TEST

START_TEST(an_aim_without_memory_releases_the_difference)
{
    make_moments(96);
    hone_feedback f = make_feedback();
    hone_error err = {0};
    float *difference = hone_calloc((size_t)96 * 96, sizeof *difference);
    hone_mem_fail_after(0);
    ck_assert_int_eq(hone_feedback_aim(ctx, &f, difference, 1, &err), HONE_ERROR_NOMEM);
    hone_mem_fail_after(-1);
    ck_assert_ptr_null(f.shift);
    hone_feedback_deinit(&f);
}
END_TEST

Suite *hone_suite_gptq(void)
{
    Suite *s = suite_create("gptq");
    TCase *tc = tcase_create("core");
    tcase_set_timeout(tc, TIMEOUT);
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_loop_test(tc, factors_multiply_to_the_damped_moments, 0, 6);
    tcase_add_test(tc, factors_are_those_of_ordered_columns);
    tcase_add_test(tc, losses_do_not_depend_on_the_order);
    tcase_add_test(tc, order_does_not_change_what_is_aimed_at);
    tcase_add_test(tc, damping_rises_until_the_factors_exist);
    tcase_add_test(tc, inputs_never_seen_leave_plain_rounding);
    tcase_add_loop_test(tc, refuses_what_is_no_moment, 0, 3);
    tcase_add_loop_test(tc, every_failing_allocation_of_the_factors_is_reported, 0, 2);
    tcase_add_loop_test(tc, no_row_is_worse_and_most_are_better, 0, N_TYPES);
    tcase_add_loop_test(tc, groups_are_better_for_feedback_too, 0, 2 * N_GRIDS);
    tcase_add_test(tc, columns_in_order_are_better_on_the_whole);
    tcase_add_test(tc, groups_that_do_not_fit_are_told);
    tcase_add_loop_test(tc, every_level_and_cut_gives_the_same_bytes, 0, N_TYPES);
    tcase_add_loop_test(tc, every_level_and_cut_gives_the_same_groups, 0, 2 * N_GRIDS);
    tcase_add_test(tc, factors_are_the_same_at_every_level);
    tcase_add_loop_test(tc, weights_of_any_kind_are_coded, 0, HONE_N_FILLS);
    tcase_add_test(tc, an_aim_solves_for_the_difference);
    tcase_add_test(tc, an_aim_without_memory_releases_the_difference);
    suite_add_tcase(s, tc);
    return s;
}
