/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <complex.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/run_context.h"
#include "tests/support/seeded_weights.h"
#include "verify/forward_ops.h"
#include "verify/matmul.h"

Suite *hone_suite_forward_ops(void);

/* Seconds; a machine busy with other work needs many times what an idle one does. */
enum { TIMEOUT = 60 };

static void fill(float *x, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)((double)(hone_seeded_bits(seed, i) >> 11) * 0x1p-52 - 1.0);
}

START_TEST(rmsnorm_of_three_and_four)
{
    /* mean square 12.5 - 3 eps away from it, so that eps shows */
    const float x[2] = {3, 4}, weight[2] = {2, 0.5f};
    float y[2];
    hone_rmsnorm(x, weight, 2, 3.5, y);
    ck_assert_float_eq_tol(y[0], 1.5f, 1e-6f); /* 3 / sqrt(16) * 2 */
    ck_assert_float_eq_tol(y[1], 0.5f, 1e-6f);
}
END_TEST

START_TEST(rmsnorm_of_large_values_does_not_overflow)
{
    const float x[2] = {1e30f, -1e30f}, weight[2] = {1, 1};
    float y[2];
    hone_rmsnorm(x, weight, 2, 1e-6, y);
    ck_assert_float_eq_tol(y[0], 1, 1e-6f);
    ck_assert_float_eq_tol(y[1], -1, 1e-6f);
}
END_TEST

START_TEST(layernorm_of_one_to_three)
{
    /* mean 2, variance 2/3; eps 10/3 makes the divisor 2 */
    const float x[3] = {1, 2, 3}, weight[3] = {4, 8, -2}, bias[3] = {0.5f, 1, 0};
    float y[3];
    hone_layernorm(x, weight, bias, 3, 10.0 / 3, y);
    ck_assert_float_eq_tol(y[0], -1.5f, 1e-6f);
    ck_assert_float_eq_tol(y[1], 1.0f, 1e-6f);
    ck_assert_float_eq_tol(y[2], -1.0f, 1e-6f);
}
END_TEST

/* The variance is that of the differences from the mean: that of the squares would be lost in rounding. */
START_TEST(layernorm_far_from_zero)
{
    float x[4] = {16777214, 16777216, 16777214, 16777216};
    const float weight[4] = {1, 1, 1, 1}, bias[4] = {0};
    hone_layernorm(x, weight, bias, 4, 1e-12, x);
    for (size_t i = 0; i < 4; i++)
        ck_assert_float_eq_tol(x[i], i % 2 ? 1.0f : -1.0f, 1e-6f);
}
END_TEST

/* Against the definitions in f64, over all that is not 0 or z itself. */
START_TEST(gelu_and_its_approximation)
{
    enum { N = 2001 };
    float exact[N], approximate[N];
    double apart = 0;
    for (int i = 0; i < N; i++)
        exact[i] = approximate[i] = (float)(i - N / 2) * 0.01f;
    hone_gelu(exact, N);
    hone_gelu_tanh(approximate, N);
    for (int i = 0; i < N; i++) {
        const double z = (double)((float)(i - N / 2) * 0.01f), root = sqrt(2 / acos(-1.0));
        const double u = root * (z + 0.044715 * z * z * z);
        ck_assert_double_eq_tol((double)exact[i], z / 2 * erfc(-z / sqrt(2.0)), 1e-6);
        ck_assert_double_eq_tol((double)approximate[i], z / (1 + exp(-2 * u)), 1e-6);
        apart = fmax(apart, fabs((double)exact[i] - (double)approximate[i]));
    }
    ck_assert_double_gt(apart, 1e-4); /* they are two functions */
    ck_assert_double_lt(apart, 5e-4);
    float far[2] = {300, -300};
    hone_gelu_tanh(far, 2);
    ck_assert_float_eq(far[0], 300);
    ck_assert_float_eq_tol(far[1], 0, 1e-30f);
}
END_TEST

START_TEST(silu_gate_at_its_limits)
{
    float gate[4] = {0, 1, 200, -200};
    const float up[4] = {5, 2, 3, 7};
    hone_silu_gate(gate, up, 4);
    ck_assert_float_eq(gate[0], 0);
    ck_assert_float_eq_tol(gate[1], 1.4621172f, 1e-6f); /* 2 / (1 + 1/e) */
    ck_assert_float_eq(gate[2], 600);
    ck_assert_float_eq_tol(gate[3], 0, 1e-30f);
}
END_TEST

/* Lengths around the blocks of 16 that the kernels take; each in a buffer that ends where the row does. */
static const size_t row_lengths[] = {1, 2, 15, 16, 17, 31, 32, 33, 100, 1000};
enum { N_LENGTHS = sizeof row_lengths / sizeof *row_lengths };

START_TEST(probabilities_are_exponentials_over_their_sum)
{
    const size_t n = row_lengths[_i];
    float *row = malloc(n * sizeof *row), *scores = malloc(n * sizeof *scores);
    ck_assert(row && scores);
    fill(scores, n, 11);
    float max = -1000;
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        scores[i] *= i % 7 == 3 ? 200.0f : 5.0f;
        max = fmaxf(max, scores[i]);
    }
    for (size_t i = 0; i < n; i++)
        sum += exp((double)(scores[i] - max));
    memcpy(row, scores, n * sizeof *row);
    hone_forward_ref.softmax(row, n);
    for (size_t i = 0; i < n; i++) {
        const double p = exp((double)(scores[i] - max)) / sum;
        ck_assert_double_eq_tol((double)row[i], p, 4e-7 * p + 1e-37);
    }
    free(row);
    free(scores);
}
END_TEST

START_TEST(silu_follows_its_definition)
{
    enum { N = 4001 };
    float gate[N], up[N];
    for (int i = 0; i < N; i++) {
        gate[i] = (float)(i - N / 2) * 0.04f;
        up[i] = 2;
    }
    hone_silu_gate(gate, up, N);
    for (int i = 0; i < N; i++) {
        const double z = (double)((float)(i - N / 2) * 0.04f), y = 2 * z / (1 + exp(-z));
        ck_assert_double_eq_tol((double)gate[i], y, 4e-7 * fabs(y) + 1e-35);
    }
}
END_TEST

/* Whatever is not a number stays so: a broken model must not look whole. */
START_TEST(exponentials_keep_nan)
{
    float gate[3] = {1, NAN, 2}, row[3] = {1, 2, NAN}, z[2] = {NAN, 1};
    const float up[3] = {1, 1, 1};
    hone_silu_gate(gate, up, 3);
    hone_gelu_tanh(z, 2);
    hone_forward_ref.softmax(row, 3);
    ck_assert(isfinite(gate[0]) && isnan(gate[1]) && isfinite(gate[2]) && isnan(z[0]) && isfinite(z[1]));
    ck_assert(isnan(row[0]) && isnan(row[1]) && isnan(row[2]));
}
END_TEST

/* Of every level this machine has. */
START_TEST(row_kernels_compute_the_bits_of_portable_c)
{
    enum { MOST = 1000 };
    const size_t n = row_lengths[_i];
    float x[MOST], up[MOST], wanted[3][MOST], got[3][MOST];
    fill(x, n, 12);
    fill(up, n, 13);
    for (size_t i = 0; i < n; i++)
        x[i] *= i % 5 == 2 ? 150.0f : 6.0f;
    for (int level = 0; level <= (int)hone_cpu_best(); level++) {
        const hone_forward_kernels *k = hone_forward_kernels_for((hone_cpu_level)level);
        for (int i = 0; i < 3; i++)
            memcpy(got[i], x, n * sizeof *x);
        k->softmax(got[0], n);
        k->silu_gate(got[1], up, n);
        k->gelu_tanh(got[2], n);
        for (int i = 0; i < 3; i++) {
            if (level == 0)
                memcpy(wanted[i], got[i], n * sizeof *x);
            ck_assert_mem_eq(got[i], wanted[i], n * sizeof *x);
        }
    }
}
END_TEST

START_TEST(rope_turns_pairs_as_complex_numbers)
{
    enum { N = 8 };
    const double inv_freq[N / 2] = {1, 0.3, 0.01, 0.0007};
    float cosines[N / 2], sines[N / 2], x[N], halves[N], neighbours[N];
    fill(x, N, 3);
    memcpy(halves, x, sizeof x);
    memcpy(neighbours, x, sizeof x);
    const size_t position = 100000;
    hone_rope_angles(position, inv_freq, N, cosines, sines);
    hone_rope(halves, cosines, sines, N, false);
    hone_rope(neighbours, cosines, sines, N, true);
    for (size_t i = 0; i < N / 2; i++) {
        const double complex turn = cexp(I * inv_freq[i] * (double)position);
        const double complex a = ((double)x[i] + I * (double)x[i + N / 2]) * turn;
        ck_assert_double_eq_tol((double)halves[i], creal(a), 2e-7);
        ck_assert_double_eq_tol((double)halves[i + N / 2], cimag(a), 2e-7);
        const double complex b = ((double)x[2 * i] + I * (double)x[2 * i + 1]) * turn;
        ck_assert_double_eq_tol((double)neighbours[2 * i], creal(b), 2e-7);
        ck_assert_double_eq_tol((double)neighbours[2 * i + 1], cimag(b), 2e-7);
    }
}
END_TEST

/* ---- attention ---- */

enum { SEQUENCE = 23, HEAD = 5, STRIDE = 7 };

static const size_t windows[] = {0, 1, 2, 6, 22, 23, 24, 1000};

/* Every block of queries, under every window, against the definition. */
START_TEST(attention_is_a_weighted_mean_of_what_is_seen)
{
    const size_t window = windows[_i];
    float q[SEQUENCE * STRIDE], k[SEQUENCE * STRIDE], v[SEQUENCE * STRIDE], out[SEQUENCE * STRIDE];
    float scores[SEQUENCE * SEQUENCE];
    fill(q, SEQUENCE * STRIDE, 1);
    fill(k, SEQUENCE * STRIDE, 2);
    fill(v, SEQUENCE * STRIDE, 3);
    const double scale = 3.0;
    for (size_t first = 0; first < SEQUENCE; first += 4) {
        const size_t n = SEQUENCE - first < 4 ? SEQUENCE - first : 4;
        const hone_attention a = {.query = q + first * STRIDE,
                                  .keys = k,
                                  .values = v,
                                  .out = out + first * STRIDE,
                                  .scores = scores,
                                  .first = first,
                                  .n_queries = n,
                                  .head_dim = HEAD,
                                  .window = window,
                                  .query_stride = STRIDE,
                                  .out_stride = STRIDE,
                                  .key_stride = STRIDE,
                                  .scale = scale,
                                  .kernels = &hone_forward_ref};
        hone_attend(&a);
    }
    for (size_t t = 0; t < SEQUENCE; t++) {
        double total = 0, mean[HEAD] = {0};
        for (size_t s = 0; s <= t; s++) {
            double dot = 0;
            for (size_t i = 0; i < HEAD; i++)
                dot += (double)q[t * STRIDE + i] * (double)k[s * STRIDE + i];
            const double weight = window == 0 || t - s < window ? exp(scale * dot) : 0;
            total += weight;
            for (size_t i = 0; i < HEAD; i++)
                mean[i] += weight * (double)v[s * STRIDE + i];
        }
        for (size_t i = 0; i < HEAD; i++)
            ck_assert_double_eq_tol((double)out[t * STRIDE + i], mean[i] / total, 3e-6);
    }
}
END_TEST

START_TEST(attention_survives_huge_scores)
{
    const float q[2] = {1e4f, 1e4f}, k[2] = {1e4f, -1e4f}, v[2] = {3, 5};
    float out[2], scores[4];
    const hone_attention a = {.query = q,
                              .keys = k,
                              .values = v,
                              .out = out,
                              .scores = scores,
                              .n_queries = 2,
                              .head_dim = 1,
                              .query_stride = 1,
                              .out_stride = 1,
                              .key_stride = 1,
                              .scale = 1,
                              .kernels = &hone_forward_ref};
    hone_attend(&a);
    ck_assert_float_eq(out[0], 3);
    ck_assert_float_eq(out[1], 3);
}
END_TEST

/* ---- products ---- */

/* One shape per way a product is cut: a few rows, several panels, rows that fill a panel alone. */
static const struct {
    size_t n, nrows, ncols;
    hone_dtype dtype;
} products[] = {
    {1, 1, 1, HONE_F32},       {5, 3, 7, HONE_F32},     {3, 1500, 32, HONE_F32},
    {2, 3, 1 << 19, HONE_F32}, {4, 1100, 64, HONE_F16}, {4, 600, 33, HONE_BF16},
    {2, 5, 300000, HONE_BF16}, {3, 37, 96, HONE_Q8_0},  {3, 1030, 64, HONE_Q4_0},
};

/* Any bytes will do for codes; the scales, first in both blocks, must be finite and small. */
static unsigned char *make_rows(hone_dtype dtype, size_t nrows, size_t ncols, size_t *row_nbytes)
{
    uint64_t nbytes;
    ck_assert_int_eq(hone_dtype_row_nbytes(dtype, ncols, &nbytes), HONE_OK);
    *row_nbytes = nbytes;
    unsigned char *data = malloc(nrows * nbytes);
    ck_assert_ptr_nonnull(data);
    const hone_dtype_info *info = hone_dtype_describe(dtype);
    for (size_t i = 0; i < nrows * nbytes / info->block_nbytes; i++) {
        unsigned char *block = data + i * info->block_nbytes;
        const float x = (float)((double)(hone_seeded_bits(5, i) >> 11) * 0x1p-53 - 0.5);
        for (size_t j = 0; j < info->block_nbytes; j++)
            block[j] = (unsigned char)hone_seeded_bits(6, i * info->block_nbytes + j);
        const uint16_t half = dtype == HONE_BF16 ? hone_f32_to_bf16(x) : hone_f32_to_f16(x / 32);
        if (dtype == HONE_F32)
            memcpy(block, &x, sizeof x);
        else
            memcpy(block, &half, sizeof half);
    }
    return data;
}

static void multiply(int n_threads, const hone_weight *w, const float *bias, const float *x, size_t n, float *y)
{
    const hone_context ctx = {.n_threads = n_threads, .cpu = HONE_CPU_REF};
    float *scratch = malloc((size_t)n_threads * hone_matmul_scratch_nfloats() * sizeof *scratch);
    ck_assert_ptr_nonnull(scratch);
    hone_matmul(&ctx, w, bias, x, n, y, scratch);
    free(scratch);
}

START_TEST(product_equals_decoded_rows_times_inputs)
{
    const size_t n = products[_i].n, nrows = products[_i].nrows, ncols = products[_i].ncols;
    hone_weight w = {.dtype = products[_i].dtype, .nrows = nrows, .ncols = ncols};
    w.data = make_rows(w.dtype, nrows, ncols, &w.row_nbytes);
    w.decode = hone_decoder(w.dtype, HONE_CPU_REF);
    ck_assert_ptr_nonnull((const void *)(uintptr_t)w.decode);
    float *x = malloc(n * ncols * sizeof *x), *bias = malloc(nrows * sizeof *bias), *row = malloc(ncols * sizeof *row);
    float *y = malloc(n * nrows * sizeof *y), *y3 = malloc(n * nrows * sizeof *y3);
    ck_assert(x && bias && row && y && y3);
    fill(x, n * ncols, 8);
    fill(bias, nrows, 9);
    hone_matmul_init();
    multiply(1, &w, bias, x, n, y);
    multiply(3, &w, bias, x, n, y3);
    ck_assert_mem_eq(y, y3, n * nrows * sizeof *y);
    for (size_t r = 0; r < nrows; r++) {
        hone_weight_decode(&w, r, 1, row);
        for (size_t t = 0; t < n; t++) {
            double sum = (double)bias[r], magnitude = 0;
            for (size_t c = 0; c < ncols; c++) {
                sum += (double)x[t * ncols + c] * (double)row[c];
                magnitude += fabs((double)x[t * ncols + c] * (double)row[c]);
            }
            /* Error of an f32 sum in blocked order: far below n ulps of the sum of magnitudes. */
            ck_assert_double_eq_tol((double)y[t * nrows + r], sum, 2e-6 * magnitude + 1e-6);
        }
    }
    multiply(2, &w, NULL, x, n, y3);
    ck_assert_float_eq_tol(y3[n * nrows - 1] + bias[nrows - 1], y[n * nrows - 1],
                           1e-5f * fabsf(y[n * nrows - 1]) + 1e-5f);
    free(w.data);
    free(x);
    free(bias);
    free(row);
    free(y);
    free(y3);
}
END_TEST

Suite *hone_suite_forward_ops(void)
{
    Suite *suite = suite_create("forward_ops");
    TCase *core = tcase_create("core");
    tcase_set_timeout(core, TIMEOUT);
    tcase_add_test(core, rmsnorm_of_three_and_four);
    tcase_add_test(core, rmsnorm_of_large_values_does_not_overflow);
    tcase_add_test(core, layernorm_of_one_to_three);
    tcase_add_test(core, layernorm_far_from_zero);
    tcase_add_test(core, gelu_and_its_approximation);
    tcase_add_test(core, silu_gate_at_its_limits);
    tcase_add_test(core, silu_follows_its_definition);
    tcase_add_test(core, exponentials_keep_nan);
    tcase_add_loop_test(core, probabilities_are_exponentials_over_their_sum, 0, N_LENGTHS);
    tcase_add_loop_test(core, row_kernels_compute_the_bits_of_portable_c, 0, N_LENGTHS);
    tcase_add_test(core, rope_turns_pairs_as_complex_numbers);
    tcase_add_loop_test(core, attention_is_a_weighted_mean_of_what_is_seen, 0,
                        (int)(sizeof windows / sizeof windows[0]));
    tcase_add_test(core, attention_survives_huge_scores);
    suite_add_tcase(suite, core);
    TCase *product = tcase_create("products");
    tcase_set_timeout(product, TIMEOUT);
    tcase_add_loop_test(product, product_equals_decoded_rows_times_inputs, 0,
                        (int)(sizeof products / sizeof products[0]));
    suite_add_tcase(suite, product);
    return suite;
}
