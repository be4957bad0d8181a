/* SPDX-License-Identifier: MIT */
/* Types with code books: looking points up, and what their encoders promise besides bytes equal to ggml's. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/blocks.h"
#include "formats/decode.h"
#include "quantize/book_index.h"
#include "quantize/encode.h"
#include "quantize/mix.h"
#include "tests/support/seeded_weights.h"

Suite *hone_suite_code_books(void);

/* n_distances: how many different distances a list spans. */
static const struct {
    hone_book book;
    unsigned n_keys;
    int n_distances;
} books[] = {
    {HONE_BOOK_IQ3_S, 4096, 3},  {HONE_BOOK_IQ3_XXS, 4096, 2}, {HONE_BOOK_IQ2_S, 6561, 1},
    {HONE_BOOK_IQ2_XS, 6561, 2}, {HONE_BOOK_IQ2_XXS, 6561, 2}, {HONE_BOOK_IQ1, 6561, 3},
};
enum { N_BOOKS = sizeof books / sizeof books[0] };

static int distance(const hone_book_index *b, unsigned key, unsigned entry)
{
    int sum = 0;
    for (unsigned i = 0; i < b->dim; i++, key /= b->n_levels, entry >>= b->bits) {
        const int d = (int)(key % b->n_levels) - (int)(entry & ((1u << b->bits) - 1));
        sum += d * d;
    }
    return sum;
}

START_TEST(entries_are_their_own_nearest)
{
    const hone_book_index *b = hone_book_index_of(books[_i].book);
    for (unsigned e = 0; e < b->n_entries; e++) {
        unsigned key = 0;
        for (unsigned i = b->dim; i-- > 0;)
            key = key * b->n_levels + (b->entries[e] >> i * b->bits & ((1u << b->bits) - 1));
        ck_assert_uint_lt(key, books[_i].n_keys);
        ck_assert_int_eq(b->near[key], (int)e);
    }
}
END_TEST

/* A list holds all entries nearer than any it leaves out, in order, and spans as many distances as it should. */
START_TEST(lists_hold_the_nearest_entries_in_order)
{
    const hone_book_index *b = hone_book_index_of(books[_i].book);
    for (unsigned key = 0; key < books[_i].n_keys; key += 1 + key % 5) {
        if (b->near[key] >= 0)
            continue;
        const uint32_t *list = b->lists + (-1 - b->near[key]), n = list[0];
        int last = 0, n_distances = 0;
        for (uint32_t i = 1; i <= n; i++) {
            const unsigned e = list[i] >> 16;
            ck_assert_uint_eq(list[i] & 0xffff, b->entries[e]);
            const int d = distance(b, key, b->entries[e]);
            ck_assert(d > last || (d == last && e > list[i - 1] >> 16));
            n_distances += d > last;
            last = d;
        }
        ck_assert_int_eq(n_distances, books[_i].n_distances);
        uint32_t within = 0;
        for (unsigned e = 0; e < b->n_entries; e++)
            within += distance(b, key, b->entries[e]) <= last;
        ck_assert_uint_eq(within, n);
    }
}
END_TEST

static double error_of(hone_dtype dtype, hone_search search, const float *x)
{
    uint8_t block[sizeof(hone_block_iq3_s)];
    float y[HONE_QK_K];
    hone_encoder(dtype, search, hone_cpu_best())(x, HONE_QK_K, NULL, block);
    hone_decoder(dtype, HONE_CPU_REF)(block, y, HONE_QK_K);
    double sum = 0;
    for (int i = 0; i < HONE_QK_K; i++)
        sum += ((double)y[i] - (double)x[i]) * ((double)y[i] - (double)x[i]);
    return sum;
}

/* As ggml misplaces what follows 32 zeros, so does the reference search of iq3_s; the best search must not. */
START_TEST(zeros_do_not_displace_what_follows_in_the_best_search)
{
    float x[HONE_QK_K];
    double square = 0;
    hone_seeded_weights(3, HONE_QK_K, x);
    memset(x + 32, 0, 32 * sizeof *x);
    for (int i = 0; i < HONE_QK_K; i++)
        square += (double)x[i] * (double)x[i];
    ck_assert_double_gt(error_of(HONE_IQ3_S, HONE_SEARCH_REFERENCE, x), 0.5 * square);
    ck_assert_double_lt(error_of(HONE_IQ3_S, HONE_SEARCH_BEST, x), 0.05 * square);
}
END_TEST

START_TEST(no_importance_is_equal_importance_where_ggml_wants_some)
{
    static const hone_dtype dtypes[] = {HONE_IQ2_XS, HONE_IQ2_XXS, HONE_IQ1_S};
    enum { NCOLS = 4 * HONE_QK_K };
    float x[NCOLS], ones[NCOLS];
    hone_seeded_weights(4, NCOLS, x);
    for (int i = 0; i < NCOLS; i++)
        ones[i] = 1.0f;
    for (size_t d = 0; d < sizeof dtypes / sizeof dtypes[0]; d++) {
        uint8_t without[4 * sizeof(hone_block_iq2_xs)] = {0}, with[sizeof without] = {0};
        const hone_encode_fn encode = hone_encoder(dtypes[d], HONE_SEARCH_REFERENCE, hone_cpu_best());
        encode(x, NCOLS, NULL, without);
        encode(x, NCOLS, ones, with);
        ck_assert_mem_eq(without, with, sizeof with);
    }
}
END_TEST

/* A block that ggml would give up on: sums of its squares are beyond f32. */
START_TEST(weights_beyond_all_sums_are_coded)
{
    float x[HONE_QK_K];
    uint8_t block[sizeof(hone_block_iq3_s)];
    for (int d = HONE_IQ3_S; d <= HONE_IQ1_M; d++) {
        hone_seeded_weights(5, HONE_QK_K, x);
        for (int i = 0; i < HONE_QK_K; i++)
            x[i] *= 1e30f;
        for (int search = 0; search < HONE_N_SEARCHES; search++)
            hone_encoder((hone_dtype)d, (hone_search)search, hone_cpu_best())(x, HONE_QK_K, NULL, block);
    }
}
END_TEST

/* A 32-layer model with grouped heads; what llama-quantize chooses for one tensor. */
static const struct {
    const char *mix;
    hone_role role;
    unsigned layer, n_experts;
    bool importance;
    hone_dtype dtype;
} choices[] = {
    {"iq3_xxs", HONE_ROLE_ATTN_Q, 0, 0, true, HONE_IQ2_S},
    {"iq3_xxs", HONE_ROLE_ATTN_V, 0, 0, true, HONE_Q4_K},
    {"iq3_xxs", HONE_ROLE_FFN_DOWN, 3, 0, false, HONE_Q4_K},
    {"iq3_xxs", HONE_ROLE_FFN_DOWN, 4, 0, false, HONE_Q3_K},
    {"iq3_xxs", HONE_ROLE_FFN_DOWN, 3, 0, true, HONE_IQ3_XXS},
    {"iq3_xxs", HONE_ROLE_ATTN_OUTPUT, 0, 0, true, HONE_IQ3_S},
    {"iq3_xs", HONE_ROLE_FFN_UP, 3, 0, true, HONE_IQ3_S},
    {"iq3_xs", HONE_ROLE_FFN_UP, 4, 0, true, HONE_IQ3_XXS},
    {"iq3_xs", HONE_ROLE_FFN_GATE, 28, 0, true, HONE_IQ3_S},
    {"iq3_m", HONE_ROLE_FFN_DOWN, 3, 0, true, HONE_Q4_K},
    {"iq3_m", HONE_ROLE_FFN_DOWN, 4, 0, true, HONE_IQ3_S},
    {"iq3_s", HONE_ROLE_ATTN_V, 0, 8, true, HONE_Q8_0},
    {"iq2_m", HONE_ROLE_TOKEN_EMBD, 0, 0, true, HONE_IQ3_S},
    {"iq2_s", HONE_ROLE_FFN_UP, 0, 0, true, HONE_IQ2_XS},
    {"iq2_xs", HONE_ROLE_FFN_DOWN, 3, 0, true, HONE_Q2_K},
    {"iq2_xxs", HONE_ROLE_OUTPUT, 0, 0, true, HONE_Q5_K},
    {"iq1_m", HONE_ROLE_ATTN_OUTPUT, 0, 0, true, HONE_IQ2_XXS},
    {"iq1_s", HONE_ROLE_ATTN_K, 0, 8, true, HONE_Q4_K},
};
enum { N_CHOICES = sizeof choices / sizeof choices[0] };

START_TEST(mixes_choose_as_llama_quantize)
{
    const hone_mix *mix = hone_mix_find(choices[_i].mix);
    ck_assert_ptr_nonnull(mix);
    const hone_mix_model model = {.n_layers = 32,
                                  .n_heads = 32,
                                  .n_kv_heads = 8,
                                  .n_experts = choices[_i].n_experts,
                                  .importance = choices[_i].importance};
    const hone_mix_tensor tensor = {.role = choices[_i].role, .layer = choices[_i].layer, .row_nelems = 4096};
    const hone_dtype chosen = hone_mix_choose(mix, &model, &tensor);
    ck_assert_msg(chosen == choices[_i].dtype, "%s, case %d: %s", mix->name, _i, hone_dtype_describe(chosen)->name);
}
END_TEST

START_TEST(rows_of_no_whole_blocks_become_iq4_nl)
{
    for (int d = HONE_IQ3_S; d <= HONE_IQ1_M; d++) {
        ck_assert_int_eq(hone_mix_fallback((hone_dtype)d, 512), d);
        ck_assert_int_eq(hone_mix_fallback((hone_dtype)d, 96), HONE_IQ4_NL);
    }
}
END_TEST

Suite *hone_suite_code_books(void)
{
    Suite *suite = suite_create("code_books");
    TCase *index = tcase_create("index");
    tcase_add_loop_test(index, entries_are_their_own_nearest, 0, N_BOOKS);
    tcase_add_loop_test(index, lists_hold_the_nearest_entries_in_order, 0, N_BOOKS);
    suite_add_tcase(suite, index);
    TCase *encode = tcase_create("encode");
    tcase_add_test(encode, zeros_do_not_displace_what_follows_in_the_best_search);
    tcase_add_test(encode, no_importance_is_equal_importance_where_ggml_wants_some);
    tcase_add_test(encode, weights_beyond_all_sums_are_coded);
    suite_add_tcase(suite, encode);
    TCase *mix = tcase_create("mix");
    tcase_add_loop_test(mix, mixes_choose_as_llama_quantize, 0, N_CHOICES);
    tcase_add_test(mix, rows_of_no_whole_blocks_become_iq4_nl);
    suite_add_tcase(suite, mix);
    return suite;
}
