/* SPDX-License-Identifier: MIT */
/* What two forms of the mixture of experts that comes with the tests are given in the same places. */
#include <check.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "quantize/input_pairs.h"
#include "tests/support/context_fixture.h"

Suite *hone_suite_input_pairs(void);

enum { N_EXPERTS = 4, N_USED = 2, D = 256, N_CTX = 24, N_CHUNKS = 2, N_TOKENS = N_CTX * N_CHUNKS };

#define MODEL "tests/models/tiny-mixtral"

static hone_checkpoint *ckpt;
static char *text;
static hone_layer_pass coded, original;
static hone_error err;

static void open_pass(hone_layer_pass *pass, size_t n_text)
{
    const hone_calibration_text read = {text, n_text, N_CTX, N_CHUNKS};
    ck_assert_int_eq(hone_layer_pass_open(ctx, ckpt, &read, HONE_ENDS_NONE, pass, &err), HONE_OK);
    ck_assert_int_eq(hone_layer_pass_begin(pass, 1 << 20, "unused", &err), HONE_OK);
    pass->run.observer = NULL;
    ck_assert_int_eq(hone_layer_pass_see(pass, true, &err), HONE_OK); /* to the first layer */
    ck_assert_int_eq(hone_layer_pass_hold(pass, &err), HONE_OK);
}

static void set_up(void)
{
    size_t n_text;
    renew_context(2, 0);
    ck_assert_int_eq(hone_checkpoint_open(MODEL, NULL, &ckpt, &err), HONE_OK);
    ck_assert_int_eq(hone_file_slurp(MODEL "/heldout.txt", 1 << 20, &text, &n_text, &err), HONE_OK);
    open_pass(&coded, n_text);
    open_pass(&original, n_text);
}

static void tear_down(void)
{
    hone_layer_pass_close(&coded);
    hone_layer_pass_close(&original);
    hone_checkpoint_close(ckpt);
    hone_release(text);
    drop_context();
}

/* A matrix of the first layer in the coded model. */
static hone_weight *coded_matrix(const char *what)
{
    size_t stage;
    hone_weight *w;
    for (size_t i = 0; (w = hone_model_matrix(coded.model, i, &stage)); i++)
        if (stage == 1 && strstr(w->name, what))
            return w;
    ck_abort_msg("%s", what);
    return NULL;
}

/* The input of the first expert, in the first layer. */
static size_t input_of(const char *gguf_name)
{
    size_t i = 0;
    while (i < coded.set.n && strcmp(coded.set.inputs[i].names[0], gguf_name) != 0)
        i++;
    ck_assert_uint_lt(i, coded.set.n);
    return i;
}

static void see_all(hone_input_pairs *pairs, size_t first, size_t n)
{
    ck_assert_int_eq(hone_input_pairs_begin(&coded, &original, first, n, pairs, &err), HONE_OK);
    for (size_t i = 0; i < N_CHUNKS; i++)
        ck_assert_int_eq(hone_input_pairs_see(pairs, i, &err), HONE_OK);
}

static const char *const stacks[] = {"blk.0.ffn_gate_exps.weight", "blk.0.ffn_down_exps.weight"};

static bool is_zero(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (x[i] != 0.0f)
            return false;
    return true;
}

/* Two models that differ in their router alone: the coded one says which tokens an expert gets, and of these both are
 * given the same, though the original would send them elsewhere. */
START_TEST(tokens_are_those_of_the_coded_router)
{
    const size_t first = input_of(stacks[_i]);
    hone_input_pairs pairs;
    uint64_t before[N_EXPERTS], total = 0;
    see_all(&pairs, first, N_EXPERTS);
    for (size_t e = 0; e < N_EXPERTS; e++) {
        before[e] = coded.set.inputs[first + e].n_tokens;
        total += before[e];
    }
    hone_input_pairs_deinit(&pairs);
    ck_assert_uint_eq(total, N_USED * N_TOKENS);
    ck_assert(before[0] != before[1] || before[2] != before[3]);

    const hone_weight *router = coded_matrix("block_sparse_moe.gate");
    for (size_t e = 0; e < N_EXPERTS; e += 2) { /* neighbours change places */
        unsigned char row[D * sizeof(float)], *a = router->data + e * router->row_nbytes, *b = a + router->row_nbytes;
        memcpy(row, a, router->row_nbytes);
        memcpy(a, b, router->row_nbytes);
        memcpy(b, row, router->row_nbytes);
    }
    see_all(&pairs, first, N_EXPERTS);
    for (size_t e = 0; e < N_EXPERTS; e++) {
        ck_assert_uint_eq(coded.set.inputs[first + e].n_tokens, before[e ^ 1]);
        ck_assert(is_zero(pairs.differences[e], (size_t)D * D));
        ck_assert(!is_zero(hone_gram_row(coded.set.inputs[first + e].gram, D, 0), D));
    }
    hone_input_pairs_deinit(&pairs);
}
END_TEST

/* Experts that are summed up together or one after the other have the same sums, where the models' inputs differ. */
START_TEST(groups_do_not_change_sums)
{
    const size_t first = input_of(stacks[_i]);
    const hone_weight *o = coded_matrix("o_proj");
    memset(o->data, 0, o->nrows * o->row_nbytes / 2);
    hone_input_pairs all, one;
    see_all(&all, first, N_EXPERTS);
    float *grams[N_EXPERTS];
    const size_t n = hone_gram_nfloats(D);
    for (size_t e = 0; e < N_EXPERTS; e++) {
        hone_input_stats *in = &coded.set.inputs[first + e];
        grams[e] = in->gram;
        in->gram = NULL;
        ck_assert(!is_zero(all.differences[e], (size_t)D * D));
    }
    for (size_t e = 0; e < N_EXPERTS; e++) {
        see_all(&one, first + e, 1);
        ck_assert_mem_eq(coded.set.inputs[first + e].gram, grams[e], n * sizeof(float));
        ck_assert_mem_eq(one.differences[0], all.differences[e], (size_t)D * D * sizeof(float));
        hone_input_pairs_deinit(&one);
        hone_release(grams[e]);
    }
    hone_input_pairs_deinit(&all);
}
END_TEST

START_TEST(groups_fit_their_memory)
{
    const size_t first = input_of(stacks[0]);
    for (size_t n = 1; n <= N_EXPERTS; n++) {
        const uint64_t nbytes = hone_input_pairs_nbytes(&coded, first, n);
        ck_assert_uint_eq(hone_input_pairs_group(&coded, first, nbytes), n);
        ck_assert_uint_eq(hone_input_pairs_group(&coded, first, nbytes - 1), n > 1 ? n - 1 : 1);
    }
    ck_assert_uint_eq(hone_input_pairs_group(&coded, first + 1, UINT64_MAX), N_EXPERTS - 1);
    ck_assert_uint_eq(hone_input_pairs_group(&coded, input_of("blk.0.attn_q.weight"), UINT64_MAX), 1);
}
END_TEST

START_TEST(every_failing_allocation_is_reported)
{
    const size_t first = input_of(stacks[0]);
    hone_status status = HONE_ERROR_NOMEM;
    for (long n = 0; status == HONE_ERROR_NOMEM; n++) {
        hone_input_pairs pairs;
        ck_assert_int_lt(n, 100);
        hone_mem_fail_after(n);
        status = hone_input_pairs_begin(&coded, &original, first, N_EXPERTS, &pairs, &err);
        hone_mem_fail_after(-1);
        hone_input_pairs_deinit(&pairs);
    }
    ck_assert_int_eq(status, HONE_OK);
}
END_TEST

Suite *hone_suite_input_pairs(void)
{
    Suite *s = suite_create("input_pairs");
    TCase *tc = tcase_create("core");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_loop_test(tc, tokens_are_those_of_the_coded_router, 0, 2);
    tcase_add_loop_test(tc, groups_do_not_change_sums, 0, 2);
    tcase_add_test(tc, groups_fit_their_memory);
    tcase_add_test(tc, every_failing_allocation_is_reported);
    suite_add_tcase(s, tc);
    return s;
}
