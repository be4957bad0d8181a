/* SPDX-License-Identifier: MIT */
/* Directories of safetensors: the header, the shards, naming, resuming, checksums. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cursor.h"
#include "base/file.h"
#include "base/mem.h"
#include "formats/safetensors_writer.h"
#include "tests/support/add_tcase.h"
#include "tests/support/plan_fixture.h"
#include "tests/support/tiny_checkpoint.h"

Suite *hone_suite_safetensors_out(void);

static void set_up(void)
{
    set_up_plan("out");
}

static hone_status plan_as(const char *path, const char *type, uint64_t shard_nbytes)
{
    return plan_source(path, &(hone_convert_options){.to = "safetensors", .type = type, .shard_nbytes = shard_nbytes});
}

static void plan_tiny(const char *type, uint64_t shard_nbytes)
{
    hone_tiny_checkpoint(&dir, &(hone_tiny_options){0});
    ck_assert_int_eq(plan_as(dir.path, type, shard_nbytes), HONE_OK);
}

static const char *in_out(const char *name)
{
    static char path[1024];
    (void)snprintf(path, sizeof path, "%s/%s", out, name);
    return path;
}

static char *slurp(const char *name, size_t *len)
{
    char *text;
    ck_assert_int_eq(hone_file_slurp(in_out(name), 1 << 26, &text, len, &err), HONE_OK);
    return text;
}

/* Every tensor of the source is in the output, with its type, shape and bytes. */
static void expect_same_tensors(void)
{
    hone_checkpoint *written = must_open(out);
    ck_assert_uint_eq(hone_checkpoint_n_tensors(written), hone_checkpoint_n_tensors(ckpt));
    for (size_t i = 0; i < hone_checkpoint_n_tensors(ckpt); i++) {
        const hone_tensor *a = hone_checkpoint_tensor(ckpt, i), *b = hone_checkpoint_find(written, a->name);
        ck_assert_ptr_nonnull(b);
        ck_assert_int_eq(a->dtype, b->dtype);
        ck_assert_uint_eq(a->n_dims, b->n_dims);
        ck_assert_mem_eq(a->shape, b->shape, a->n_dims * sizeof a->shape[0]);
        char *x = malloc(a->nbytes + 1), *y = malloc(a->nbytes + 1);
        ck_assert_int_eq(hone_checkpoint_read(ckpt, a, 0, a->nbytes, x, &err), HONE_OK);
        ck_assert_int_eq(hone_checkpoint_read(written, b, 0, a->nbytes, y, &err), HONE_OK);
        ck_assert_mem_eq(x, y, a->nbytes);
        free(x);
        free(y);
    }
    hone_checkpoint_close(written);
}

static hone_status check_output(size_t *n)
{
    hone_checkpoint *written;
    hone_status status = hone_checkpoint_open(out, &(hone_open_options){.parts = true}, &written, &err);
    if (status == HONE_OK)
        status = hone_checkpoint_check(ctx, written, n, &err);
    hone_checkpoint_close(written);
    return status;
}

/* --- the header -------------------------------------------------------------------------------------------------- */

static hone_tensor describe(const char *name, hone_dtype dtype, uint64_t nelems)
{
    uint64_t nbytes;
    ck_assert_int_eq(hone_dtype_row_nbytes(dtype, nelems, &nbytes), HONE_OK);
    return (hone_tensor){
        .name = name, .dtype = dtype, .n_dims = 1, .shape = {nelems}, .nelems = nelems, .nbytes = nbytes};
}

START_TEST(the_header_says_what_the_format_says)
{
    hone_tensor tensors[] = {describe("b", HONE_F32, 3), describe("a", HONE_BOOL, 2)};
    const hone_safetensors_pair pairs[] = {{"format", "pt"}};
    hone_safetensors_layout layout;
    ck_assert_int_eq(hone_safetensors_lay_out(tensors, 2, pairs, 1, &layout, &err), HONE_OK);
    static const char expected[] =
        "{\"__metadata__\":{\"format\":\"pt\",\"hone.tensor_xxh3\":\"00000000000000000000000000000000\","
        "\"hone.header_xxh3\":\"0000000000000000\"},\"b\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]},"
        "\"a\":{\"dtype\":\"BOOL\",\"shape\":[2],\"data_offsets\":[12,14]}}";
    ck_assert_uint_eq(layout.nbytes % 8, 0);
    ck_assert_uint_eq(hone_load_u64(layout.bytes), layout.nbytes - 8);
    ck_assert_mem_eq(layout.bytes + 8, expected, sizeof expected - 1);
    for (size_t i = 8 + sizeof expected - 1; i < layout.nbytes; i++)
        ck_assert_int_eq(layout.bytes[i], ' ');
    ck_assert_uint_eq(tensors[0].offset, layout.nbytes);
    ck_assert_uint_eq(tensors[1].offset, layout.nbytes + 12);
    ck_assert_uint_eq(layout.file_nbytes, layout.nbytes + 14);

    const uint64_t sums[] = {0x0123456789abcdef, 0xfedcba9876543210};
    hone_safetensors_put_sums(layout.bytes, layout.nbytes, layout.tensor_sums_at, layout.header_sum_at, sums, 2);
    ck_assert_mem_eq(layout.bytes + layout.tensor_sums_at, "0123456789abcdeffedcba9876543210\"", 33);
    hone_safetensors_layout_deinit(&layout);
}
END_TEST

START_TEST(wide_types_come_first_then_names_count)
{
    const hone_tensor order[] = {describe("z", HONE_I64, 1), describe("a", HONE_F64, 1),  describe("b", HONE_F64, 1),
                                 describe("q", HONE_F32, 1), describe("p", HONE_BF16, 1), describe("o", HONE_F16, 1),
                                 describe("n", HONE_U8, 1),  describe("m", HONE_BOOL, 1)};
    for (size_t i = 0; i + 1 < sizeof order / sizeof order[0]; i++)
        ck_assert_int_lt(hone_safetensors_compare(&order[i], &order[i + 1]), 0);
}
END_TEST

/* What cannot be written: status and item. */
static const struct {
    const char *first, *second;
    hone_dtype dtype;
    const char *key;
    hone_status status;
    const char *item;
} unwritable[] = {
    {"a", "a", HONE_F32, "k", HONE_ERROR_ARG, "a"},
    {"a", "", HONE_F32, "k", HONE_ERROR_ARG, ""},
    {"a", "__metadata__", HONE_F32, "k", HONE_ERROR_ARG, "__metadata__"},
    {"a", "\xff\xfe", HONE_F32, "k", HONE_ERROR_ARG, NULL},
    {"a", "b", HONE_Q8_0, "k", HONE_ERROR_UNSUPPORTED, "b"},
    {"a", "b", HONE_F32, "format", HONE_ERROR_ARG, "format"},
};

START_TEST(what_the_format_cannot_hold_is_refused)
{
    hone_tensor tensors[] = {describe(unwritable[_i].first, HONE_F32, 1),
                             describe(unwritable[_i].second, unwritable[_i].dtype, 32)};
    const hone_safetensors_pair pairs[] = {{"format", "pt"}, {unwritable[_i].key, "v"}};
    hone_safetensors_layout layout;
    ck_assert_int_eq(hone_safetensors_lay_out(tensors, 2, pairs, 2, &layout, &err), unwritable[_i].status);
    if (unwritable[_i].item)
        ck_assert_str_eq(err.item, unwritable[_i].item);
    ck_assert_uint_eq(err.offset, HONE_NO_OFFSET);
    ck_assert_ptr_null(layout.bytes);
}
END_TEST

/* --- directories ------------------------------------------------------------------------------------------------- */

START_TEST(a_directory_holds_what_the_source_holds)
{
    plan_tiny(NULL, 0);
    must_run();
    ck_assert(hone_file_exists(in_out("config.json")));
    ck_assert(hone_file_exists(in_out("model.safetensors")));
    ck_assert(!hone_file_exists(in_out("model.safetensors.index.json")));
    expect_same_tensors();
    size_t n;
    ck_assert_int_eq(check_output(&n), HONE_OK);
    ck_assert_uint_eq(n, hone_checkpoint_n_tensors(ckpt));
}
END_TEST

START_TEST(shards_keep_to_their_size)
{
    enum { LIMIT = 40000 };
    plan_tiny(NULL, LIMIT);
    must_run();
    ck_assert(!hone_file_exists(in_out("model.safetensors")));
    expect_same_tensors();
    hone_checkpoint *written = must_open(out);
    const size_t n_files = hone_checkpoint_n_files(written);
    ck_assert_uint_gt(n_files, 2);
    uint64_t nbytes[64] = {0};
    for (size_t i = 0; i < hone_checkpoint_n_tensors(written); i++)
        nbytes[hone_checkpoint_tensor(written, i)->file] += hone_checkpoint_tensor(written, i)->nbytes;
    for (size_t i = 0; i < n_files; i++)
        ck_assert_uint_le(nbytes[i], LIMIT);
    hone_checkpoint_close(written);
}
END_TEST

START_TEST(a_tensor_beyond_the_size_has_a_shard_to_itself)
{
    plan_tiny(NULL, 1);
    must_run();
    hone_checkpoint *written = must_open(out);
    ck_assert_uint_eq(hone_checkpoint_n_files(written), hone_checkpoint_n_tensors(written));
    hone_checkpoint_close(written);
}
END_TEST

/* A file with a scalar, an empty tensor, whole numbers, truth values, a NaN and infinities. */
static void write_oddities(const char *path)
{
    hone_tensor t[] = {describe("int", HONE_I64, 2),     describe("scalar", HONE_F32, 1),
                       describe("special", HONE_F32, 3), describe("empty", HONE_F16, 0),
                       describe("half", HONE_F16, 2),    describe("truth", HONE_BOOL, 3)};
    enum { N = sizeof t / sizeof t[0] };
    t[1].n_dims = 0;
    t[3].n_dims = 2;
    t[3].shape[0] = 5;
    t[3].shape[1] = 0;
    hone_safetensors_layout layout;
    ck_assert_int_eq(hone_safetensors_lay_out(t, N, NULL, 0, &layout, &err), HONE_OK);
    const float special[] = {NAN, INFINITY, -INFINITY};
    unsigned char data[16 + 4 + 12 + 4 + 3] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20};
    memcpy(data + 20, special, sizeof special);
    memcpy(data + 32, "\x00\x3c\x00\xfc\x01\x00\x01", 7);
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(layout.bytes, 1, layout.nbytes, f), layout.nbytes);
    ck_assert_uint_eq(fwrite(data, 1, sizeof data, f), sizeof data);
    ck_assert_int_eq(fclose(f), 0);
    hone_safetensors_layout_deinit(&layout);
}

START_TEST(oddities_survive)
{
    write_oddities(hone_temp_path(&dir, "odd.safetensors"));
    ck_assert_int_eq(plan_as(hone_temp_path(&dir, "odd.safetensors"), NULL, _i ? 12 : 0), HONE_OK);
    must_run();
    expect_same_tensors();
    size_t n;
    ck_assert_int_eq(check_output(&n), HONE_OK);
    ck_assert_uint_eq(n, 6);
}
END_TEST

START_TEST(a_cast_keeps_whole_numbers_and_what_is_not_finite)
{
    write_oddities(hone_temp_path(&dir, "odd.safetensors"));
    ck_assert_int_eq(plan_as(hone_temp_path(&dir, "odd.safetensors"), "f16", 0), HONE_OK);
    must_run();
    hone_checkpoint *written = must_open(out);
    ck_assert_int_eq(hone_checkpoint_find(written, "int")->dtype, HONE_I64);
    ck_assert_int_eq(hone_checkpoint_find(written, "truth")->dtype, HONE_BOOL);
    const hone_tensor *t = hone_checkpoint_find(written, "special");
    ck_assert_int_eq(t->dtype, HONE_F16);
    unsigned char halves[6];
    ck_assert_int_eq(hone_checkpoint_read(written, t, 0, 6, halves, &err), HONE_OK);
    ck_assert_mem_eq(halves + 2, "\x00\x7c\x00\xfc", 4);
    hone_checkpoint_close(written);
}
END_TEST

START_TEST(f16_refuses_what_it_cannot_hold)
{
    hone_tiny_checkpoint(&dir, &(hone_tiny_options){.poke = "lm_head.weight", .poke_at = 7, .poke_value = 1e6f});
    ck_assert_int_eq(plan_as(dir.path, "f16", 0), HONE_ERROR_DATA);
    ck_assert_str_eq(err.item, "lm_head.weight");
    ck_assert_ptr_nonnull(strstr(err.reason, "element 7 "));
}
END_TEST

/* --- naming and resuming ----------------------------------------------------------------------------------------- */

START_TEST(nothing_in_the_way_is_lost)
{
    plan_tiny(NULL, 40000);
    ck_assert_int_eq(mkdir(out, 0777), 0);
    (void)hone_temp_text(&dir, "out/model.safetensors", "precious");
    ck_assert_int_eq(hone_plan_run(ctx, plan, out, &(hone_run_options){.overwrite = true}, &err), HONE_ERROR_ARG);
    ck_assert_ptr_nonnull(strstr(err.reason, "model.safetensors is in the way"));
    ck_assert_int_eq(unlink(in_out("model.safetensors")), 0);
    (void)hone_temp_text(&dir, "out/config.json", "{}");
    ck_assert_int_eq(hone_plan_run(ctx, plan, out, NULL, &err), HONE_ERROR_ARG);
    ck_assert_ptr_nonnull(strstr(err.file, "config.json"));
    ck_assert(!hone_file_exists(in_out("model.safetensors.index.json")));
    ck_assert_int_eq(hone_plan_run(ctx, plan, out, &(hone_run_options){.overwrite = true}, &err), HONE_OK);
    ck_assert_int_eq(hone_plan_run(ctx, plan, out, NULL, &err), HONE_ERROR_ARG);
    ck_assert_ptr_nonnull(strstr(err.reason, "output exists"));
    expect_same_tensors();
}
END_TEST

START_TEST(the_source_itself_is_no_target)
{
    plan_tiny("f16", 0);
    ck_assert_int_eq(hone_plan_run(ctx, plan, dir.path, &(hone_run_options){.overwrite = true}, &err), HONE_ERROR_ARG);
    ck_assert_ptr_nonnull(strstr(err.reason, "input"));
}
END_TEST

START_TEST(a_file_is_no_directory)
{
    plan_tiny(NULL, 0);
    (void)hone_temp_text(&dir, "out", "x");
    ck_assert_int_eq(hone_plan_run(ctx, plan, out, &(hone_run_options){.overwrite = true}, &err), HONE_ERROR_ARG);
    ck_assert_str_eq(err.reason, "output is not a directory");
}
END_TEST

/* Runs the plan in a process of its own that ends at the n-th event of progress, counted from 0; negative: never. */
static int run_until(long n)
{
    return run_apart(2, n + 1);
}

enum { MAX_FILES = 8 };
static const char *const file_names[MAX_FILES] = {
    "model-00001-of-00004.safetensors", "model-00002-of-00004.safetensors", "model-00003-of-00004.safetensors",
    "model-00004-of-00004.safetensors", "model.safetensors.index.json",     "config.json"};

static char *wanted[MAX_FILES];
static size_t wanted_len[MAX_FILES];

/* What an undisturbed run writes; the directory is gone afterwards. */
static void remember_undisturbed(void)
{
    ck_assert_int_eq(run_until(-1), 0);
    for (size_t i = 0; i < MAX_FILES && file_names[i]; i++) {
        wanted[i] = slurp(file_names[i], &wanted_len[i]);
        ck_assert_int_eq(unlink(in_out(file_names[i])), 0);
    }
    ck_assert_int_eq(rmdir(out), 0);
}

static void expect_undisturbed(void)
{
    for (size_t i = 0; i < MAX_FILES && file_names[i]; i++) {
        size_t len;
        char *text = slurp(file_names[i], &len);
        ck_assert_uint_eq(len, wanted_len[i]);
        ck_assert_mem_eq(text, wanted[i], len);
        hone_release(text);
        ck_assert_int_eq(unlink(in_out(file_names[i])), 0);
    }
    ck_assert_int_eq(rmdir(out), 0); /* nothing else is left */
}

static void forget(void)
{
    for (size_t i = 0; i < MAX_FILES; i++)
        hone_release(wanted[i]);
    memset(wanted, 0, sizeof wanted);
}

START_TEST(a_killed_run_resumes_to_the_same_bytes)
{
    plan_tiny(NULL, 80000);
    remember_undisturbed();
    long n = 0;
    int code = 9;
    for (; code == 9; n++) {
        code = run_until(n);
        ck_assert_int_ne(code, 2);
        if (code == 9) {
            for (size_t i = 0; i < 5; i++)
                ck_assert(!hone_file_exists(in_out(file_names[i])));
            if (n % 2 == 1) /* killed twice */
                (void)run_until(n / 2);
            ck_assert_int_eq(run_until(-1), 0);
        }
        expect_undisturbed();
    }
    ck_assert_int_gt(n, 10);
    forget();
}
END_TEST

static void name_by_hand(const char *name)
{
    char partial[1200];
    (void)snprintf(partial, sizeof partial, "%s.hone-partial", in_out(name));
    ck_assert_int_eq(rename(partial, in_out(name)), 0);
}

START_TEST(a_run_killed_while_naming_resumes)
{
    plan_tiny(NULL, 80000);
    remember_undisturbed();
    ck_assert_int_eq(run_until((long)hone_plan_describe(plan).n_tensors - 1), 9); /* every tensor is one chunk */
    name_by_hand(file_names[0]);
    name_by_hand(file_names[1]);
    ck_assert_int_eq(run_until(-1), 0);
    expect_undisturbed();
    forget();
}
END_TEST

START_TEST(a_damaged_partial_is_redone)
{
    plan_tiny(NULL, 80000);
    remember_undisturbed();
    ck_assert_int_eq(run_until((long)hone_plan_describe(plan).n_tensors - 1), 9);
    FILE *f = fopen(in_out("model-00002-of-00004.safetensors.hone-partial"), "r+b");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fseek(f, -5, SEEK_END), 0);
    ck_assert_int_eq(fputc('?', f), '?');
    ck_assert_int_eq(fclose(f), 0);
    ck_assert_int_eq(run_until(-1), 0);
    expect_undisturbed();
    forget();
}
END_TEST

START_TEST(another_plan_leaves_the_partial_files_alone)
{
    plan_tiny(NULL, 80000);
    ck_assert_int_eq(run_until(3), 9);
    ck_assert_int_eq(plan_as(dir.path, "bf16", 80000), HONE_OK);
    ck_assert_int_eq(hone_plan_run(ctx, plan, out, NULL, &err), HONE_ERROR_ARG);
    ck_assert_ptr_nonnull(strstr(err.reason, "--restart"));
    ck_assert(hone_file_exists(in_out("model.safetensors.index.json.hone-partial")));
    ck_assert(hone_file_exists(in_out("model-00001-of-00004.safetensors.hone-partial")));
}
END_TEST

/* --- checksums --------------------------------------------------------------------------------------------------- */

START_TEST(a_flipped_bit_is_found)
{
    plan_tiny(NULL, 0);
    must_run();
    size_t len, n;
    char *text = slurp("model.safetensors", &len);
    const size_t data = (size_t)hone_load_u64(text) + 8;
    for (size_t at = data + 11; at < len; at += 9973) {
        text[at] ^= 0x10;
        (void)hone_temp_file(&dir, "out/model.safetensors", text, len);
        ck_assert_int_eq(check_output(&n), HONE_ERROR_MISMATCH);
        ck_assert_uint_le(err.offset, at);
        text[at] ^= 0x10;
    }
    /* A name in the header: the file stays well-formed. */
    char *name = memmem(text, data, "lm_head", 7);
    ck_assert_ptr_nonnull(name);
    name[0] = 'L';
    (void)hone_temp_file(&dir, "out/model.safetensors", text, len);
    ck_assert_int_eq(check_output(&n), HONE_ERROR_MISMATCH);
    ck_assert_str_eq(err.item, "hone.header_xxh3");
    hone_release(text);
}
END_TEST

START_TEST(bad_checksums_are_refused)
{
    static const struct {
        const char *from, *to, *item;
        hone_status status;
    } cases[] = {
        {"hone.tensor_xxh3", "gone.tensor_xxh3", "hone.tensor_xxh3", HONE_ERROR_UNSUPPORTED},
        {"hone.header_xxh3", "gone.header_xxh3", "hone.header_xxh3", HONE_ERROR_DATA},
        {"tensor_xxh3\":\"", "tensor_xxh3\":\"Z", "hone.tensor_xxh3", HONE_ERROR_DATA},
    };
    plan_tiny(NULL, 0);
    must_run();
    size_t len, n;
    char *text = slurp("model.safetensors", &len);
    char *at = memmem(text, len, cases[_i].from, strlen(cases[_i].from));
    ck_assert_ptr_nonnull(at);
    memcpy(at, cases[_i].to, strlen(cases[_i].to));
    (void)hone_temp_file(&dir, "out/model.safetensors", text, len);
    ck_assert_int_eq(check_output(&n), cases[_i].status);
    ck_assert_str_eq(err.item, cases[_i].item);
    ck_assert_uint_eq(err.offset, HONE_NO_OFFSET);
    hone_release(text);
}
END_TEST

START_TEST(every_allocation_may_fail)
{
    hone_tiny_checkpoint(&dir, &(hone_tiny_options){0});
    open_source(dir.path);
    const hone_convert_options convert = {.to = "safetensors", .type = "bf16", .shard_nbytes = 40000};
    plan_with_failing_allocations(&convert, in_out("model.safetensors.index.json"));
    size_t checked;
    ck_assert_int_eq(check_output(&checked), HONE_OK);
}
END_TEST

Suite *hone_suite_safetensors_out(void)
{
    Suite *suite = suite_create("safetensors_out");
    TCase *core = add_tcase(suite, "core", set_up, tear_down_plan);
    tcase_add_test(core, the_header_says_what_the_format_says);
    tcase_add_test(core, wide_types_come_first_then_names_count);
    tcase_add_test(core, a_directory_holds_what_the_source_holds);
    tcase_add_test(core, shards_keep_to_their_size);
    tcase_add_test(core, a_tensor_beyond_the_size_has_a_shard_to_itself);
    tcase_add_loop_test(core, oddities_survive, 0, 2);
    tcase_add_test(core, a_cast_keeps_whole_numbers_and_what_is_not_finite);
    TCase *malformed = add_tcase(suite, "malformed", set_up, tear_down_plan);
    tcase_add_loop_test(malformed, what_the_format_cannot_hold_is_refused, 0, sizeof unwritable / sizeof unwritable[0]);
    tcase_add_test(malformed, f16_refuses_what_it_cannot_hold);
    tcase_add_test(malformed, a_flipped_bit_is_found);
    tcase_add_loop_test(malformed, bad_checksums_are_refused, 0, 3);
    TCase *files = add_tcase(suite, "files", set_up, tear_down_plan);
    tcase_add_test(files, nothing_in_the_way_is_lost);
    tcase_add_test(files, the_source_itself_is_no_target);
    tcase_add_test(files, a_file_is_no_directory);
    tcase_add_test(files, a_killed_run_resumes_to_the_same_bytes);
    tcase_add_test(files, a_run_killed_while_naming_resumes);
    tcase_add_test(files, a_damaged_partial_is_redone);
    tcase_add_test(files, another_plan_leaves_the_partial_files_alone);
    TCase *nomem = add_tcase(suite, "nomem", set_up, tear_down_plan);
    tcase_add_test(nomem, every_allocation_may_fail);
    return suite;
}
