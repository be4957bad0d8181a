/* SPDX-License-Identifier: MIT */
/* Weights that are changed while they are read, and models that compute the same all the while. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "convert/turned_gram.h"
#include "hone/hone.h"
#include "tests/support/add_tcase.h"
#include "tests/support/changed_model.h"
#include "tests/support/row_count.h"
#include "tests/support/seeded_weights.h"
#include "verify/role_transform.h"

Suite *hone_suite_transform(void);

/* ---- rotations ---- */

static const size_t blocks[] = {1, 2, 8, 64, 12, 20, 24, 80, 768};

/* R of a rotation (n, n), column by column. */
static double *matrix_of(const hone_rotation *rotation, size_t n)
{
    double *m = calloc(n * n, sizeof *m), *x = calloc(n, sizeof *x);
    ck_assert(m && x);
    for (size_t j = 0; j < n; j++) {
        memset(x, 0, n * sizeof *x);
        x[j] = 1;
        hone_rotate(rotation, x);
        for (size_t i = 0; i < n; i++)
            m[i * n + j] = x[i];
    }
    free(x);
    return m;
}

static unsigned parity(size_t bits)
{
    unsigned odd = 0;
    for (; bits; bits &= bits - 1)
        odd ^= 1;
    return odd;
}

START_TEST(rotation_is_orthogonal_and_flat)
{
    const size_t n = blocks[_i];
    float *signs = malloc(n * sizeof *signs);
    hone_rotation_signs(7, n, signs);
    const hone_rotation rotation = {.n = n, .block = n, .signs = signs};
    double *m = matrix_of(&rotation, n);
    for (size_t i = 0; i < n * n; i++)
        ck_assert_double_eq_tol(fabs(m[i]), 1 / sqrt((double)n), 1e-12);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            double dot = 0;
            for (size_t k = 0; k < n; k++)
                dot += m[i * n + k] * m[j * n + k];
            ck_assert_double_eq_tol(dot, i == j, 1e-12);
        }
    for (size_t i = 0; (n & (n - 1)) == 0 && i < n; i++) /* Sylvester's, by its closed form */
        for (size_t j = 0; j < n; j++)
            ck_assert((m[i * n + j] < 0) == ((parity(i & j) ^ (signs[j] < 0)) != 0));
    free(signs);
    free(m);
}
END_TEST

START_TEST(largest_block_is_found)
{
    static const size_t cases[][2] = {{1, 1},   {7, 1},     {64, 64},     {96, 96},    {80, 80},     {576, 192},
                                      {24, 24}, {320, 320}, {4096, 4096}, {1152, 384}, {3072, 3072}, {5120, 5120}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        ck_assert_uint_eq(hone_rotation_block(cases[i][0]), cases[i][1]);
}
END_TEST

/* ---- a matrix, against sums of doubles ---- */

enum { NROWS = 24, NCOLS = 28 }; /* of the toy's down_proj */
static const char NAME[] = "model.layers.1.mlp.down_proj.weight";

struct parts {
    float row_scale[NROWS], column_scale[NCOLS], row_signs[16], column_signs[24];
    hone_rotation row_rotation, column_rotation;
};

/* Neither rotation covers all; the rows' is of two blocks. */
static void fill_parts(struct parts *p)
{
    hone_seeded_weights(3, NROWS, p->row_scale);
    hone_seeded_weights(4, NCOLS, p->column_scale);
    hone_rotation_signs(5, 16, p->row_signs);
    hone_rotation_signs(6, 24, p->column_signs);
    p->row_rotation = (hone_rotation){.first = 5, .n = 16, .block = 8, .signs = p->row_signs};
    p->column_rotation = (hone_rotation){.first = 3, .n = 24, .block = 12, .signs = p->column_signs};
}

/* w (NROWS, NCOLS) changed as the header says. */
static void change(const hone_transform *t, double *w)
{
    for (size_t i = 0; i < NROWS; i++) {
        for (size_t j = 0; j < NCOLS; j++)
            w[i * NCOLS + j] *=
                (t->row_scale ? (double)t->row_scale[i] : 1) * (t->column_scale ? (double)t->column_scale[j] : 1);
        if (t->column_rotation)
            hone_rotate(t->column_rotation, w + i * NCOLS);
    }
    for (size_t j = 0; j < NCOLS && t->row_rotation; j++) {
        double column[NROWS];
        for (size_t i = 0; i < NROWS; i++)
            column[i] = w[i * NCOLS + j];
        hone_rotate(t->row_rotation, column);
        for (size_t i = 0; i < NROWS; i++)
            w[i * NCOLS + j] = column[i];
    }
}

static void expect_close(const float *got, const double *expected, size_t n)
{
    double most = 0;
    for (size_t i = 0; i < n; i++)
        most = fmax(most, fabs(expected[i]));
    ck_assert_double_gt(most, 0);
    for (size_t i = 0; i < n; i++)
        ck_assert_double_le(fabs((double)got[i] - expected[i]), 4e-7 * most);
}

START_TEST(changed_matrix_equals_its_formula)
{
    struct parts p;
    fill_parts(&p);
    const hone_transform all = {.row_scale = p.row_scale,
                                .column_scale = p.column_scale,
                                .row_rotation = &p.row_rotation,
                                .column_rotation = &p.column_rotation};
    hone_transform t = {0};
    if (_i & 1)
        t.row_scale = all.row_scale;
    if (_i & 2)
        t.column_scale = all.column_scale;
    if (_i & 4)
        t.row_rotation = all.row_rotation;
    if (_i & 8)
        t.column_rotation = all.column_rotation;
    open_toy(TOY_HF);
    float stored[NROWS * NCOLS], got[NROWS * NCOLS];
    double expected[NROWS * NCOLS];
    read_source_bytes(NAME, stored, sizeof stored);
    for (size_t i = 0; i < NROWS * NCOLS; i++)
        expected[i] = (double)stored[i];
    ck_assert_int_eq(hone_transform_tensor(ckpt, NAME, &t, &err), HONE_OK);
    change(&t, expected);
    read_source_bytes(NAME, got, sizeof got);
    expect_close(got, expected, NROWS * NCOLS);
    /* and once more upon that */
    ck_assert_int_eq(hone_transform_tensor(ckpt, NAME, &all, &err), HONE_OK);
    change(&all, expected);
    read_source_bytes(NAME, got, sizeof got);
    expect_close(got, expected, NROWS * NCOLS);
}
END_TEST

START_TEST(any_range_reads_as_the_whole)
{
    struct parts p;
    fill_parts(&p);
    const hone_transform t = {
        .column_scale = p.column_scale, .row_rotation = &p.row_rotation, .column_rotation = &p.column_rotation};
    open_toy(TOY_HF);
    ck_assert_int_eq(hone_transform_tensor(ckpt, NAME, &t, &err), HONE_OK);
    float whole[NROWS * NCOLS], part[NROWS * NCOLS];
    read_source_bytes(NAME, whole, sizeof whole);
    const hone_tensor *tensor = hone_checkpoint_find(ckpt, NAME);
    ck_assert_int_eq(tensor->dtype, HONE_F32);
    for (size_t first = 0; first < NROWS * NCOLS; first += 13)
        for (size_t n = 1; first + n <= NROWS * NCOLS; n += 31) {
            ck_assert_int_eq(hone_checkpoint_read(ckpt, tensor, first * 4, n * 4, part, &err), HONE_OK);
            ck_assert_mem_eq(part, whole + first, n * 4);
        }
}
END_TEST

START_TEST(vector_has_a_row_for_each_element)
{
    static const char name[] = "model.layers.0.input_layernorm.weight";
    float scale[24], before[24], after[24];
    hone_seeded_weights(9, 24, scale);
    open_toy(TOY_HF);
    read_source_bytes(name, before, sizeof before);
    const hone_transform t = {.row_scale = scale}, to_ones = {.ones = true};
    ck_assert_int_eq(hone_transform_tensor(ckpt, name, &t, &err), HONE_OK);
    read_source_bytes(name, after, sizeof after);
    for (size_t i = 0; i < 24; i++)
        ck_assert_float_eq(after[i], before[i] * scale[i]);
    ck_assert_int_eq(hone_transform_tensor(ckpt, name, &to_ones, &err), HONE_OK);
    read_source_bytes(name, after, sizeof after);
    for (size_t i = 0; i < 24; i++)
        ck_assert_float_eq(after[i], 1);
}
END_TEST

/* ---- what a changed matrix is given ---- */

static void read_matrix(float *w)
{
    read_source_bytes(NAME, w, NROWS * NCOLS * sizeof *w);
}

/* W x, or WT x when turned. */
static void multiply(const float *w, bool turned, const double *x, double *y)
{
    for (size_t i = 0; i < (turned ? NCOLS : NROWS); i++) {
        y[i] = 0;
        for (size_t j = 0; j < (turned ? NROWS : NCOLS); j++)
            y[i] += (double)w[turned ? j * NCOLS + i : i * NCOLS + j] * x[j];
    }
}

/* Scales without zeros, and rotations, of the columns or when turned of the rows; twice. */
static void change_inputs(bool turned, bool rotated)
{
    struct parts p;
    fill_parts(&p);
    for (int i = 0; i < 2; i++) {
        for (size_t j = 0; j < NROWS; j++)
            p.row_scale[j] = 0.5f + (float)((j + (size_t)i) % 5);
        for (size_t j = 0; j < NCOLS; j++)
            p.column_scale[j] = 0.25f + (float)((j + (size_t)i) % 7);
        hone_transform t = {.column_scale = p.column_scale, .column_rotation = rotated ? &p.column_rotation : NULL};
        if (turned)
            t = (hone_transform){.row_scale = p.row_scale, .row_rotation = rotated ? &p.row_rotation : NULL};
        ck_assert_int_eq(hone_transform_tensor(ckpt, NAME, &t, &err), HONE_OK);
    }
}

START_TEST(input_turns_with_the_matrix)
{
    const bool turned = _i == 1;
    float w[NROWS * NCOLS];
    double x[NCOLS], expected[NCOLS], y[NCOLS];
    open_toy(TOY_HF);
    read_matrix(w);
    for (size_t i = 0; i < NCOLS; i++)
        x[i] = sin(1.0 + (double)i);
    multiply(w, turned, x, expected);
    ck_assert_int_eq(hone_transform_of_input(hone_checkpoint_find(ckpt, NAME), turned), HONE_INPUT_SAME);
    change_inputs(turned, true);
    const hone_tensor *tensor = hone_checkpoint_find(ckpt, NAME);
    ck_assert_int_eq(hone_transform_of_input(tensor, turned), HONE_INPUT_ROTATED);
    ck_assert_int_eq(hone_transform_of_input(tensor, !turned), HONE_INPUT_SAME);
    hone_transform_input(tensor, turned, x);
    read_matrix(w);
    multiply(w, turned, x, y);
    for (size_t i = 0; i < (turned ? NCOLS : NROWS); i++)
        ck_assert_double_eq_tol(y[i], expected[i], 1e-5);
}
END_TEST

enum { N_INPUTS = 3 };

/* Rows of the moments of some inputs (N_INPUTS, NCOLS). */
static hone_status read_moments(void *user, size_t i, float *dst, hone_error *told)
{
    (void)told;
    const double(*x)[NCOLS] = user;
    for (size_t j = i; j < NCOLS; j++) {
        double sum = 0;
        for (size_t k = 0; k < N_INPUTS; k++)
            sum += x[k][i] * x[k][j];
        dst[j - i] = (float)sum;
    }
    return HONE_OK;
}

START_TEST(moments_turn_with_the_matrix)
{
    double x[N_INPUTS][NCOLS];
    for (size_t i = 0; i < N_INPUTS * NCOLS; i++)
        x[i / NCOLS][i % NCOLS] = cos(2.0 * (double)i);
    open_toy(TOY_HF);
    change_inputs(false, _i == 1);
    const hone_tensor *tensor = hone_checkpoint_find(ckpt, NAME);
    hone_turned_gram gram;
    ck_assert_int_eq(hone_turned_gram_init(ctx, tensor, false, NCOLS, read_moments, x, &gram, &err), HONE_OK);
    ck_assert_uint_eq(hone_turned_gram_nbytes(tensor, false, NCOLS), _i == 1 ? NCOLS * NCOLS * sizeof(float) : 0);
    float got[NCOLS][NCOLS], expected[NCOLS];
    for (size_t i = 0; i < NCOLS; i++)
        ck_assert_int_eq(hone_turned_gram_row(&gram, i, got[i], &err), HONE_OK);
    hone_turned_gram_deinit(&gram);
    for (size_t k = 0; k < N_INPUTS; k++)
        hone_transform_input(tensor, false, x[k]);
    for (size_t i = 0; i < NCOLS; i++) {
        ck_assert_int_eq(read_moments(x, i, expected, &err), HONE_OK);
        for (size_t j = i; j < NCOLS; j++)
            ck_assert_double_eq_tol((double)got[i][j - i], (double)expected[j - i], 2e-5);
    }
}
END_TEST

static const struct {
    size_t first, n, block;
} impossible[] = {{0, 32, 8}, {20, 8, 8}, {0, 24, 7}, {0, 24, 16}, {25, 0, 1}, {0, 24, 0}, {SIZE_MAX, 8, 8}};

START_TEST(refuses_a_rotation_that_does_not_fit)
{
    float signs[32];
    hone_rotation_signs(1, 32, signs);
    const hone_rotation r = {impossible[_i].first, impossible[_i].n, impossible[_i].block, signs};
    const hone_transform t = {.row_rotation = &r};
    open_toy(TOY_HF);
    ck_assert_int_eq(hone_transform_tensor(ckpt, NAME, &t, &err), HONE_ERROR_ARG);
    ck_assert_str_eq(err.item, NAME);
    ck_assert_ptr_null(hone_checkpoint_find(ckpt, NAME)->view);
}
END_TEST

START_TEST(refuses_a_tensor_that_is_not_there)
{
    const hone_transform t = {0};
    open_toy(TOY_HF);
    ck_assert_int_eq(hone_transform_tensor(ckpt, "nothing", &t, &err), HONE_ERROR_DATA);
}
END_TEST

/* ---- roles: scales that cancel ---- */

static void scale_linear(const hone_transformer *tr, size_t i, size_t layer, const float *rows, const float *columns)
{
    const hone_transform t = {.row_scale = rows, .column_scale = columns};
    ck_assert_int_eq(hone_transform_linear(tr, &tr->family->linears[i], layer, &t, &err), HONE_OK);
}

/* Index of the layer's linears in the order of the families' tables. */
enum { LLAMA_Q, LLAMA_K, LLAMA_V, LLAMA_O, LLAMA_GATE, LLAMA_UP, LLAMA_DOWN };
enum { GPT2_QKV, GPT2_O, GPT2_UP };

/* s (n) of powers of two, which cancel without rounding, and what cancels them. */
static void make_scales(uint64_t seed, size_t n, float *s, float *inverse)
{
    for (size_t i = 0; i < n; i++) {
        const int exponent = (int)(hone_seeded_bits(seed, i) % 5) - 2;
        s[i] = ldexpf(1, exponent);
        inverse[i] = ldexpf(1, -exponent);
    }
}

static void scale_llama_layer(const hone_transformer *tr, size_t layer)
{
    float s[32], inverse[32], shared[32];
    const size_t d = tr->shape.head_dim, n_q = tr->shape.n_heads * d, n_kv = tr->shape.n_kv_heads * d;
    /* Both of a rotary pair alike, in every head alike. */
    float pair[32], pair_inverse[32];
    make_scales(20 + layer, d / 2, pair, pair_inverse);
    for (size_t i = 0; i < n_q; i++) {
        s[i] = pair[i % d % (d / 2)];
        inverse[i] = pair_inverse[i % d % (d / 2)];
    }
    scale_linear(tr, LLAMA_Q, layer, s, NULL);
    scale_linear(tr, LLAMA_K, layer, inverse, NULL);
    make_scales(30 + layer, n_kv, s, inverse);
    for (size_t i = 0; i < n_q; i++)
        shared[i] = inverse[i / d / (n_q / n_kv) * d + i % d];
    scale_linear(tr, LLAMA_V, layer, s, NULL);
    scale_linear(tr, LLAMA_O, layer, NULL, shared);
    make_scales(40 + layer, 28, s, inverse);
    scale_linear(tr, LLAMA_UP, layer, s, NULL);
    scale_linear(tr, LLAMA_DOWN, layer, NULL, inverse);
}

static void scale_norm(const hone_transformer *tr, size_t role, size_t layer, const float *s)
{
    const hone_transform t = {.row_scale = s};
    ck_assert_int_eq(hone_transform_role(tr, role, layer, &t, &err), HONE_OK);
    const char *tail = tr->family->roles[role + 1].hf; /* a norm's bias follows it, if it has one */
    if (strcmp(tail + strlen(tail) - 5, ".bias") == 0)
        ck_assert_int_eq(hone_transform_role(tr, role + 1, layer, &t, &err), HONE_OK);
}

START_TEST(scales_that_cancel_change_nothing)
{
    open_toy((toy_kind)_i);
    hone_transformer tr;
    ck_assert_int_eq(hone_transformer_init(ckpt, &tr, &err), HONE_OK);
    float *before = logits_of_source();
    for (size_t layer = 0; layer < tr.shape.n_layers; layer++) {
        float s[32], inverse[32];
        make_scales(50 + layer, tr.shape.n_embd, s, inverse);
        const bool fused = tr.family->fused_values;
        for (size_t i = 0; i < (fused ? 1 : 3); i++)
            scale_linear(&tr, i, layer, NULL, s);
        scale_norm(&tr, tr.family->linears[0].norm, layer, inverse);
        make_scales(60 + layer, tr.shape.n_embd, s, inverse);
        scale_linear(&tr, fused ? GPT2_UP : LLAMA_UP, layer, NULL, s);
        if (!fused) {
            scale_linear(&tr, LLAMA_GATE, layer, NULL, s);
            scale_llama_layer(&tr, layer);
        }
        scale_norm(&tr, tr.family->linears[fused ? GPT2_UP : LLAMA_UP].norm, layer, inverse);
    }
    expect_same_logits(before);
    free(before);
}
END_TEST

/* ---- rotated models ---- */

static const char *const rotations[] = {"all", "heads", "heads:1", "residual", "residual+heads:0"};

START_TEST(rotated_model_computes_the_same)
{
    const toy_kind kind = (toy_kind)(_i % N_TOY_KINDS);
    const char *what = rotations[_i / N_TOY_KINDS];
    open_toy(kind);
    float *before = logits_of_source();
    const bool can = toy_is_rotatable(kind) || strncmp(what, "residual", 8) != 0;
    ck_assert_int_eq(hone_checkpoint_rotate(ctx, ckpt, what, &err), can ? HONE_OK : HONE_ERROR_UNSUPPORTED);
    if (can) {
        const char *all = toy_is_rotatable(kind) ? "residual+heads" : "heads";
        ck_assert_str_eq(hone_checkpoint_rotation(ckpt), strcmp(what, "all") == 0 ? all : what);
        expect_close_logits(before);
    }
    free(before);
}
END_TEST

START_TEST(rotation_leaves_norms_of_one)
{
    open_toy(TOY_HF);
    float before[24], norm[24];
    read_source_bytes("model.layers.1.post_attention_layernorm.weight", before, sizeof before);
    ck_assert_int_eq(hone_checkpoint_rotate(ctx, ckpt, "residual", &err), HONE_OK);
    for (const char *const *name =
             (const char *const[]){"model.layers.0.input_layernorm.weight",
                                   "model.layers.1.post_attention_layernorm.weight", "model.norm.weight", NULL};
         *name; name++) {
        read_source_bytes(*name, norm, sizeof norm);
        for (size_t i = 0; i < 24; i++)
            ck_assert_float_eq(norm[i], 1);
    }
    ck_assert_float_ne(before[3], 1);
}
END_TEST

static const char *const bad_words[] = {"",         "head",     "residual+", "residual,heads", "heads:",  "heads:2",
                                        "heads:-1", "heads:0,", "heads:0x",  "heads+residual", "none+all"};

START_TEST(refuses_other_words)
{
    open_toy(TOY_HF);
    ck_assert_int_eq(hone_checkpoint_rotate(ctx, ckpt, bad_words[_i], &err), HONE_ERROR_ARG);
    ck_assert_str_eq(hone_checkpoint_rotation(ckpt), "none");
}
END_TEST

START_TEST(refuses_to_rotate_twice)
{
    open_toy(TOY_HF);
    ck_assert_int_eq(hone_checkpoint_rotate(ctx, ckpt, "heads", &err), HONE_OK);
    ck_assert_int_eq(hone_checkpoint_rotate(ctx, ckpt, "residual", &err), HONE_ERROR_ARG);
}
END_TEST

START_TEST(says_what_is_not_rotated)
{
    open_toy(TOY_HF_TIED);
    ck_assert_int_eq(hone_checkpoint_rotate(ctx, ckpt, "all", &err), HONE_OK);
    ck_assert_str_eq(hone_checkpoint_rotation(ckpt), "heads");
    ck_assert_ptr_nonnull(strstr(notes, "embedding and output are one matrix"));
}
END_TEST

static hone_status rotate_and_read(void *user)
{
    (void)user;
    hone_error told;
    hone_checkpoint *own = NULL;
    float *data = NULL;
    hone_status status = hone_checkpoint_open(toy_path, NULL, &own, &told);
    if (status == HONE_OK)
        status = hone_checkpoint_rotate(ctx, own, "all", &told);
    const hone_tensor *t = status == HONE_OK ? hone_checkpoint_find(own, NAME) : NULL;
    if (t) {
        data = malloc((size_t)t->nbytes);
        status = hone_checkpoint_read(own, t, 0, (size_t)t->nbytes, data, &told);
    }
    hone_checkpoint_close(own);
    free(data);
    return status;
}

START_TEST(survives_every_failing_allocation)
{
    open_toy(TOY_HF);
    fail_each_allocation(rotate_and_read, NULL, 40);
}
END_TEST

Suite *hone_suite_transform(void)
{
    Suite *suite = suite_create("transform");
    TCase *tc = add_tcase(suite, "rotations", set_up_toy, tear_down_toy);
    tcase_add_loop_test(tc, rotation_is_orthogonal_and_flat, 0, COUNT(blocks));
    tcase_add_test(tc, largest_block_is_found);
    tc = add_tcase(suite, "tensors", set_up_toy, tear_down_toy);
    tcase_add_loop_test(tc, changed_matrix_equals_its_formula, 0, 16);
    tcase_add_test(tc, any_range_reads_as_the_whole);
    tcase_add_test(tc, vector_has_a_row_for_each_element);
    tcase_add_loop_test(tc, input_turns_with_the_matrix, 0, 2);
    tcase_add_loop_test(tc, moments_turn_with_the_matrix, 0, 2);
    tcase_add_loop_test(tc, refuses_a_rotation_that_does_not_fit, 0, COUNT(impossible));
    tcase_add_test(tc, refuses_a_tensor_that_is_not_there);
    tc = add_tcase(suite, "models", set_up_toy, tear_down_toy);
    tcase_add_loop_test(tc, scales_that_cancel_change_nothing, 0, N_TOY_KINDS);
    tcase_add_loop_test(tc, rotated_model_computes_the_same, 0, N_TOY_KINDS * COUNT(rotations));
    tcase_add_test(tc, rotation_leaves_norms_of_one);
    tcase_add_loop_test(tc, refuses_other_words, 0, COUNT(bad_words));
    tcase_add_test(tc, refuses_to_rotate_twice);
    tcase_add_test(tc, says_what_is_not_rotated);
    tcase_add_test(tc, survives_every_failing_allocation);
    return suite;
}
