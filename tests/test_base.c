/* SPDX-License-Identifier: MIT */
/* Small parts of base/: arithmetic, cursor, half floats, memory, arena, parallel loops, CPU levels, errors. */
#include <check.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "base/arena.h"
#include "base/arith.h"
#include "base/cpu.h"
#include "base/cursor.h"
#include "base/fail.h"
#include "base/half.h"
#include "base/mem.h"
#include "base/transpose.h"
#include "base/parallel.h"
#include "hone/context.h"

Suite *hone_suite_base(void);

START_TEST(products_that_overflow_are_refused)
{
    size_t out;
    uint64_t wide;
    ck_assert(!hone_mul_size(SIZE_MAX, 2, &out));
    ck_assert(hone_mul_size(3, 4, &out));
    ck_assert_uint_eq(out, 12);
    ck_assert(!hone_mul_u64(UINT64_C(1) << 33, UINT64_C(1) << 31, &wide));
    ck_assert(!hone_add_u64(UINT64_MAX, 1, &wide));
}
END_TEST

START_TEST(a_cursor_stays_bad_after_its_end)
{
    const uint8_t bytes[] = {1, 2, 3, 4, 5};
    hone_cursor c = hone_cursor_init(bytes, sizeof bytes);
    ck_assert_uint_eq(hone_cursor_u32(&c), 0x04030201);
    ck_assert_uint_eq(hone_cursor_offset(&c), 4);
    ck_assert_uint_eq(hone_cursor_u16(&c), 0);
    ck_assert(c.bad);
    ck_assert_uint_eq(hone_cursor_u8(&c), 0); /* a byte is left, but the record is broken */
    ck_assert_ptr_null(hone_cursor_take(&c, UINT64_MAX));
}
END_TEST

START_TEST(every_f16_survives_the_round_trip)
{
    for (uint32_t h = 0; h < 0x10000; h++) {
        const float f = hone_f16_to_f32((uint16_t)h);
        if (isnan(f)) {
            ck_assert_uint_eq(hone_f32_to_f16(f) & 0x7e00u, 0x7e00u);
            continue;
        }
        ck_assert_uint_eq(hone_f32_to_f16(f), h);
    }
}
END_TEST

/* Against the definition: the nearer of the two neighbours, the even one on a tie. */
START_TEST(f16_rounds_to_nearest_even)
{
    for (uint32_t h = 0; h < 0x7bff; h++) {
        const float low = hone_f16_to_f32((uint16_t)h), high = hone_f16_to_f32((uint16_t)(h + 1));
        const float middle = low + (high - low) / 2; /* exact: one more bit of mantissa */
        const uint16_t even = (uint16_t)(h & 1 ? h + 1 : h);
        ck_assert_uint_eq(hone_f32_to_f16(middle), even);
        ck_assert_uint_eq(hone_f32_to_f16(nextafterf(middle, 0)), h);
        ck_assert_uint_eq(hone_f32_to_f16(nextafterf(middle, high)), h + 1);
        ck_assert_uint_eq(hone_f32_to_f16(-middle), even | 0x8000u);
    }
    ck_assert_uint_eq(hone_f32_to_f16(65519.996f), 0x7bff);
    ck_assert_uint_eq(hone_f32_to_f16(65520.0f), 0x7c00);
    ck_assert_uint_eq(hone_f32_to_f16(INFINITY), 0x7c00);
}
END_TEST

START_TEST(bf16_rounds_to_nearest_even)
{
    ck_assert_uint_eq(hone_f32_to_bf16(hone_f32_from_bits(0x3f808000)), 0x3f80); /* tie to even */
    ck_assert_uint_eq(hone_f32_to_bf16(hone_f32_from_bits(0x3f818000)), 0x3f82);
    ck_assert_uint_eq(hone_f32_to_bf16(hone_f32_from_bits(0x3f808001)), 0x3f81);
    ck_assert_uint_eq(hone_f32_to_bf16(hone_f32_from_bits(0x7f7fffff)), 0x7f80); /* rounds up to infinity */
    ck_assert_uint_eq(hone_f32_to_bf16(hone_f32_from_bits(0x7f800001)), 0x7fc0); /* NaN stays NaN */
}
END_TEST

START_TEST(arrays_keep_their_contents_as_they_grow)
{
    size_t cap = 0;
    int *array = NULL;
    for (int i = 0; i < 1000; i++) {
        array = hone_grow(array, &cap, (size_t)i + 1, sizeof *array);
        ck_assert_ptr_nonnull(array);
        array[i] = i;
    }
    for (int i = 0; i < 1000; i++)
        ck_assert_int_eq(array[i], i);
    hone_release(array);
    ck_assert_ptr_null(hone_alloc(SIZE_MAX / 2, 4));
}
END_TEST

START_TEST(the_nth_allocation_fails_on_demand)
{
    hone_mem_fail_after(1);
    void *first = hone_alloc(1, 1), *second = hone_alloc(1, 1);
    hone_mem_fail_after(-1);
    ck_assert_ptr_nonnull(first);
    ck_assert_ptr_null(second);
    hone_release(first);
}
END_TEST

START_TEST(an_arena_serves_small_and_large_requests)
{
    hone_arena arena = {0};
    char *small = hone_arena_copy(&arena, "abc", 3);
    char *large = hone_arena_alloc(&arena, 1 << 20, 1);
    char *after = hone_arena_copy(&arena, "def", 3);
    memset(large, 1, 1 << 20);
    ck_assert_str_eq(small, "abc");
    ck_assert_str_eq(after, "def");
    ck_assert_ptr_null(hone_arena_alloc(&arena, SIZE_MAX / 2, 4));
    hone_arena_deinit(&arena);
    hone_arena_deinit(&arena);
}
END_TEST

static hone_status fail_on_multiples_of_seven(void *user, size_t i, int thread, hone_error *err)
{
    (void)user;
    (void)thread;
    return i && i % 7 == 0 ? hone_fail(err, HONE_ERROR_DATA, i, NULL, "item %zu", i) : HONE_OK;
}

START_TEST(the_lowest_failure_is_reported_whatever_the_threads)
{
    for (int n_threads = 1; n_threads <= 4; n_threads++) {
        hone_error err = {0};
        ck_assert_int_eq(hone_parallel_for(500, n_threads, fail_on_multiples_of_seven, NULL, &err), HONE_ERROR_DATA);
        ck_assert_uint_eq(err.offset, 7);
        ck_assert_str_eq(err.reason, "item 7");
    }
}
END_TEST

enum { ORDERED_THREADS = 3, ORDERED_SLOTS = 7 };

struct ordered {
    size_t committed;
    atomic_size_t bodies;
    size_t in_slot[ORDERED_SLOTS]; /* the index whose body ran there last */
};

static hone_status count_body(void *user, size_t i, int thread, hone_error *err)
{
    struct ordered *o = user;
    (void)err;
    o->in_slot[thread] = i;
    atomic_fetch_add(&o->bodies, 1);
    return HONE_OK;
}

static hone_status commit_in_order(void *user, size_t i, int thread, hone_error *err)
{
    struct ordered *o = user;
    if (i != o->committed)
        return hone_fail(err, HONE_ERROR_DATA, i, NULL, "out of order");
    if (o->in_slot[thread] != i)
        return hone_fail(err, HONE_ERROR_DATA, i, NULL, "the slot was given away");
    o->committed++;
    return i == 900 ? hone_fail(err, HONE_ERROR_IO, i, NULL, "stop") : HONE_OK;
}

START_TEST(commits_come_in_order_and_stop_at_a_failure)
{
    struct ordered o = {0};
    hone_error err = {0};
    ck_assert_int_eq(hone_parallel_ordered(2000, ORDERED_THREADS, ORDERED_SLOTS, count_body, commit_in_order, &o, &err),
                     HONE_ERROR_IO);
    ck_assert_uint_eq(o.committed, 901);
    ck_assert_uint_le(atomic_load(&o.bodies), 901 + ORDERED_SLOTS);
}
END_TEST

static hone_status fail_at_700(void *user, size_t i, int thread, hone_error *err)
{
    if (i >= 700)
        return hone_fail(err, HONE_ERROR_DATA, i, NULL, "item %zu", i);
    return count_body(user, i, thread, err);
}

START_TEST(what_lies_before_a_failed_body_is_committed)
{
    for (int n_threads = 1; n_threads <= ORDERED_THREADS; n_threads++) {
        struct ordered o = {0};
        hone_error err = {0};
        ck_assert_int_eq(hone_parallel_ordered(2000, n_threads, ORDERED_SLOTS, fail_at_700, commit_in_order, &o, &err),
                         HONE_ERROR_DATA);
        ck_assert_uint_eq(err.offset, 700);
        ck_assert_uint_eq(o.committed, 700);
    }
}
END_TEST

START_TEST(cpu_levels_go_by_name)
{
    hone_cpu_level level;
    hone_error err;
    ck_assert_int_eq(hone_cpu_choose("ref", &level, &err), HONE_OK);
    ck_assert_int_eq(level, HONE_CPU_REF);
    ck_assert_int_eq(hone_cpu_choose("pentium", &level, &err), HONE_ERROR_ARG);
    ck_assert_int_eq(hone_cpu_choose(hone_cpu_name(hone_cpu_best()), &level, &err), HONE_OK);
    ck_assert_int_eq(level, hone_cpu_best());
}
END_TEST

START_TEST(contexts_refuse_absurd_thread_counts)
{
    hone_context *ctx;
    hone_error err;
    const hone_context_options opts = {.n_threads = 100000};
    ck_assert_int_eq(hone_context_new(&opts, &ctx, &err), HONE_ERROR_ARG);
    ck_assert_ptr_null(ctx);
}
END_TEST

START_TEST(error_texts_stay_on_one_line)
{
    hone_error err;
    (void)hone_fail(&err, HONE_ERROR_DATA, 3, "a\nb", "bad \x1b[31m name %s", "x\ty");
    ck_assert_str_eq(err.item, "a?b");
    ck_assert_str_eq(err.reason, "bad ?[31m name x?y");
    char longer[600];
    memset(longer, 'n', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    (void)hone_fail_in_file(&err, HONE_ERROR_DATA, longer);
    ck_assert_uint_eq(strlen(err.file), sizeof err.file - 1);
    ck_assert(strncmp(err.file, "...n", 4) == 0);
    (void)hone_fail_in_file(&err, HONE_ERROR_DATA, "other"); /* the first name stands */
    ck_assert(strncmp(err.file, "...n", 4) == 0);
}
END_TEST

START_TEST(transposes_every_size_and_shape)
{
    static const size_t sizes[] = {1, 2, 3, 4, 8};
    static const size_t shapes[][2] = {{1, 1}, {1, 70}, {70, 1}, {31, 33}, {32, 64}, {65, 97}};
    static unsigned char src[65 * 97 * 8], dst[65 * 97 * 8];
    for (size_t i = 0; i < sizeof src; i++)
        src[i] = (unsigned char)(i * 2654435761u >> 13);
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
            const size_t size = sizes[s], nrows = shapes[i][0], ncols = shapes[i][1];
            hone_transpose(src, nrows, ncols, size, dst);
            for (size_t r = 0; r < nrows; r++)
                for (size_t c = 0; c < ncols; c++)
                    ck_assert_mem_eq(dst + (c * nrows + r) * size, src + (r * ncols + c) * size, size);
        }
}
END_TEST

Suite *hone_suite_base(void)
{
    Suite *suite = suite_create("base");
    TCase *core = tcase_create("core");
    tcase_add_test(core, transposes_every_size_and_shape);
    tcase_add_test(core, products_that_overflow_are_refused);
    tcase_add_test(core, a_cursor_stays_bad_after_its_end);
    tcase_add_test(core, every_f16_survives_the_round_trip);
    tcase_add_test(core, f16_rounds_to_nearest_even);
    tcase_add_test(core, bf16_rounds_to_nearest_even);
    tcase_add_test(core, arrays_keep_their_contents_as_they_grow);
    tcase_add_test(core, the_nth_allocation_fails_on_demand);
    tcase_add_test(core, an_arena_serves_small_and_large_requests);
    tcase_add_test(core, the_lowest_failure_is_reported_whatever_the_threads);
    tcase_add_test(core, commits_come_in_order_and_stop_at_a_failure);
    tcase_add_test(core, what_lies_before_a_failed_body_is_committed);
    tcase_add_test(core, cpu_levels_go_by_name);
    tcase_add_test(core, contexts_refuse_absurd_thread_counts);
    tcase_add_test(core, error_texts_stay_on_one_line);
    suite_add_tcase(suite, core);
    return suite;
}
