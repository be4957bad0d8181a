/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "hone/checkpoint.h"
#include "tests/support/byte_builder.h"
#include "tests/support/opening.h"
#include "tests/support/row_count.h"
#include "tests/support/test_dir.h"

Suite *hone_suite_safetensors(void);

/* A file of this header and data_nbytes zeros. A ^ in the header is left out; its place becomes the mark. */
static const char *make_file(const char *header, size_t data_nbytes, hone_bytes *b)
{
    const size_t before = strcspn(header, "^");
    const char *after = header + before + (header[before] == '^');
    hone_bytes_u64(b, before + strlen(after));
    hone_bytes_put(b, header, before);
    b->mark = b->n;
    hone_bytes_put(b, after, strlen(after));
    hone_bytes_zero(b, data_nbytes);
    return hone_temp_file(&dir, "x.safetensors", b->data, b->n);
}

enum { DATA = HONE_ERROR_DATA, CARET = -1 };

#define F32_2(name, begin, end) "\"" name "\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[" #begin "," #end "]}"
#define ENTRY(dtype, shape, offsets)                                                                                   \
    "{^\"a\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

/* at: the error's offset counted from the data's start, or CARET: the mark. */
static const struct {
    const char *claim, *header;
    size_t data_nbytes;
    int status, at;
    const char *item;
} malformed[] = {
    {"not JSON", "{\"a\":}^", 0, DATA, CARET, ""},
    {"JSON cut short", "{\"a\"^", 0, DATA, CARET, ""},
    {"a name twice", "{" F32_2("a", 0, 8) ",\"a\"^:1}", 8, DATA, CARET, ""},
    {"zeros as padding", "{}\x01^", 0, DATA, CARET, ""},
    {"an entry that is an array", "{^\"a\":[]}", 0, DATA, CARET, "a"},
    {"an entry that is null", "{" F32_2("a", 0, 8) ",^\"b\":null}", 8, DATA, CARET, "b"},
    {"an empty name", "{^\"\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, DATA, CARET, ""},
    {"no dtype", "{^\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, DATA, CARET, "a"},
    {"a dtype that is a number", "{^\"a\":{\"dtype\":3,\"shape\":[2],\"data_offsets\":[0,8]}}", 8, DATA, CARET, "a"},
    {"an unknown dtype", ENTRY("F33", "[2]", "[0,8]"), 8, DATA, CARET, "a"},
    {"a lower-case dtype", ENTRY("f32", "[2]", "[0,8]"), 8, DATA, CARET, "a"},
    {"three elements of 4 bits", ENTRY("F4", "[3]", "[0,2]"), 2, DATA, CARET, "a"},
    {"six elements of 6 bits", ENTRY("F6_E2M3", "[2,3]", "[0,5]"), 5, DATA, CARET, "a"},
    {"a scalar of 4 bits", ENTRY("F4", "[]", "[0,1]"), 1, DATA, CARET, "a"},
    {"a dtype of GGUF", ENTRY("q4_0", "[32]", "[0,18]"), 18, DATA, CARET, "a"},
    {"no shape", "{^\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8, DATA, CARET, "a"},
    {"a shape that is a number", ENTRY("F32", "2", "[0,8]"), 8, DATA, CARET, "a"},
    {"nine axes", ENTRY("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4, DATA, CARET, "a"},
    {"a negative axis", ENTRY("F32", "[-2]", "[0,8]"), 8, DATA, CARET, "a"},
    {"two negative axes", ENTRY("F32", "[-2,-1]", "[0,8]"), 8, DATA, CARET, "a"},
    {"a fractional axis", ENTRY("F32", "[2.0]", "[0,8]"), 8, DATA, CARET, "a"},
    {"an axis that is a string", ENTRY("F32", "[\"2\"]", "[0,8]"), 8, DATA, CARET, "a"},
    {"a product beyond 64 bits", ENTRY("F32", "[4294967296,4294967296]", "[0,0]"), 0, DATA, CARET, "a"},
    {"a product of 0 modulo 2^64", ENTRY("U8", "[4294967296,4294967296,3]", "[0,0]"), 0, DATA, CARET, "a"},
    {"a byte size beyond 64 bits", ENTRY("F32", "[4611686018427387904]", "[0,0]"), 0, DATA, CARET, "a"},
    {"no data_offsets", "{^\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, DATA, CARET, "a"},
    {"one data offset", ENTRY("F32", "[2]", "[0]"), 8, DATA, CARET, "a"},
    {"three data offsets", ENTRY("F32", "[2]", "[0,8,8]"), 8, DATA, CARET, "a"},
    {"a negative data offset", ENTRY("F32", "[2]", "[-8,0]"), 8, DATA, CARET, "a"},
    {"fractional data offsets", ENTRY("F32", "[2]", "[0.0,8.0]"), 8, DATA, CARET, "a"},
    {"data offsets the wrong way round", ENTRY("F32", "[2]", "[8,0]"), 8, DATA, CARET, "a"},
    {"a range too short for the shape", ENTRY("F32", "[2]", "[0,4]"), 4, DATA, CARET, "a"},
    {"a range too long for the shape", ENTRY("F32", "[2]", "[0,16]"), 16, DATA, CARET, "a"},
    {"a key behind escapes and brackets",
     "{\"\\\"},{\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},^\"a\":1}", 0, DATA, CARET, "a"},
    {"metadata that is an array", "{" F32_2("a", 0, 8) ",^\"__metadata__\":[]}", 8, DATA, CARET, "__metadata__"},
    {"metadata with a number", "{^\"__metadata__\":{\"a\":\"b\",\"n\":1}}", 0, DATA, CARET, "__metadata__"},
    {"a hole at the start", "{" F32_2("a", 4, 12) "}", 12, DATA, 4, "a"},
    {"a hole in the middle", "{" F32_2("a", 0, 8) "," F32_2("b", 12, 20) "}", 20, DATA, 12, "b"},
    {"an overlap", "{" F32_2("a", 0, 8) "," F32_2("b", 4, 12) "}", 12, DATA, 4, "b"},
    {"two tensors on the same bytes", "{" F32_2("a", 0, 8) "," F32_2("b", 0, 8) "}", 8, DATA, 0, "b"},
    {"an empty tensor inside another",
     "{" F32_2("a", 0, 8) ",\"b\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[4,4]}}", 8, DATA, 4, "b"},
    {"data past the end of the file", "{" F32_2("a", 0, 8) "," F32_2("b", 8, 16) "}", 15, DATA, 8, "b"},
    {"no data at all", "{" F32_2("a", 0, 8) "}", 0, DATA, 0, "a"},
    {"an empty tensor beyond the end", "{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[1,1]}}", 0, DATA, 1,
     "a"},
    {"bytes after the last tensor", "{" F32_2("a", 0, 8) "}", 9, DATA, 8, ""},
    {"data without tensors", "{}", 1, DATA, 0, ""},
};

START_TEST(rejects_malformed_header)
{
    hone_bytes b = {0};
    const char *path = make_file(malformed[_i].header, malformed[_i].data_nbytes, &b);
    const uint64_t at =
        malformed[_i].at == CARET ? b.mark : b.n - malformed[_i].data_nbytes + (uint64_t)malformed[_i].at;
    hone_bytes_free(&b);
    expect_error(path, malformed[_i].claim, (hone_status)malformed[_i].status, at, malformed[_i].item);
}
END_TEST

/* Files that end, or lie, before there is a header to read. */
static const struct {
    const char *claim, *script;
    hone_status status;
} preambles[] = {
    {"an empty file", "^", HONE_ERROR_DATA},
    {"a length cut short", "raw=1234567 ^", HONE_ERROR_DATA},
    {"only a length", "^ u64=8", HONE_ERROR_DATA},
    {"a header past the end", "^ u64=5 raw={\x7d", HONE_ERROR_DATA},
    {"a length of 2^64 - 1", "^ u64=0xffffffffffffffff raw={}", HONE_ERROR_LIMIT},
    {"a length above the limit", "^ u64=100000001 raw={}", HONE_ERROR_LIMIT},
    {"a length of zero", "u64=0 ^", HONE_ERROR_FORMAT},
    {"a header that starts with a space", "u64=3 ^ raw=\\x20{}", HONE_ERROR_FORMAT},
    {"an array as header", "u64=2 ^ raw=[]", HONE_ERROR_FORMAT},
    {"NUL padding", "u64=3 raw={} u8=0 ^", HONE_ERROR_DATA},
};

START_TEST(rejects_malformed_preamble)
{
    hone_bytes b = {0};
    hone_bytes_script(&b, preambles[_i].script);
    const char *path = hone_temp_file(&dir, "x.safetensors", b.data, b.n);
    expect_error(path, preambles[_i].claim, preambles[_i].status, b.mark, "");
    hone_bytes_free(&b);
}
END_TEST

/* 30 MB of it would take a gigabyte to parse. */
START_TEST(rejects_a_header_of_millions_of_values)
{
    enum { N = 10 << 20 };
    hone_bytes b = {0};
    hone_bytes_u64(&b, 6 + 3 * (uint64_t)N + 4);
    hone_bytes_put(&b, "{\"a\":[", 6);
    for (size_t i = 0; i < N; i++)
        hone_bytes_put(&b, "[],", 3);
    hone_bytes_put(&b, "[]]}", 4);
    const char *path = hone_temp_file(&dir, "x.safetensors", b.data, b.n);
    hone_bytes_free(&b);
    hone_checkpoint *ckpt;
    hone_error err;
    ck_assert_int_eq(hone_checkpoint_open(path, NULL, &ckpt, &err), HONE_ERROR_LIMIT);
    ck_assert_uint_lt(err.offset, 8 << 20);
    ck_assert_str_eq(err.file, path);
    ck_assert_ptr_null(ckpt);
}
END_TEST

START_TEST(what_is_no_header_is_no_format)
{
    static const char *const scripts[] = {"", "raw=hello,world", "u64=2 raw=[]", "u64=100 raw={}"};
    hone_bytes b = {0};
    hone_bytes_script(&b, scripts[_i]);
    const char *path = hone_temp_file(&dir, "weights", b.data, b.n);
    hone_bytes_free(&b);
    expect_error(path, scripts[_i], HONE_ERROR_FORMAT, 0, "");
}
END_TEST

static hone_checkpoint *open_file(const char *header, size_t data_nbytes)
{
    hone_bytes b = {0};
    const char *path = make_file(header, data_nbytes, &b);
    hone_bytes_free(&b);
    return must_open(path);
}

START_TEST(accepts_a_file_without_tensors)
{
    hone_checkpoint *ckpt = open_file("{}", 0);
    ck_assert_str_eq(hone_checkpoint_format(ckpt), "safetensors");
    ck_assert_uint_eq(hone_checkpoint_n_tensors(ckpt), 0);
    ck_assert_ptr_null(hone_checkpoint_find(ckpt, "a"));
    ck_assert_ptr_null(hone_checkpoint_tensor(ckpt, 0));
    hone_checkpoint_close(ckpt);
}
END_TEST

START_TEST(accepts_scalars_and_empty_tensors)
{
    hone_checkpoint *ckpt = open_file("{\"e\":{\"dtype\":\"F32\",\"shape\":[3,0],\"data_offsets\":[4,4]},"
                                      "\"s\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},"
                                      "\"z\":{\"dtype\":\"I64\",\"shape\":[0],\"data_offsets\":[0,0]}}",
                                      4);
    const hone_tensor *scalar = hone_checkpoint_find(ckpt, "s"), *empty = hone_checkpoint_find(ckpt, "e");
    ck_assert_uint_eq(scalar->n_dims, 0);
    ck_assert_uint_eq(scalar->nelems, 1);
    ck_assert_uint_eq(scalar->nbytes, 4);
    ck_assert_uint_eq(empty->n_dims, 2);
    ck_assert_uint_eq(empty->nelems, 0);
    ck_assert_str_eq(hone_checkpoint_tensor(ckpt, 0)->name, "z");
    hone_checkpoint_close(ckpt);
}
END_TEST

START_TEST(lists_tensors_in_file_order_whatever_the_headers)
{
    hone_checkpoint *ckpt = open_file("{" F32_2("c", 16, 24) "," F32_2("a", 8, 16) "," F32_2("b", 0, 8) "}     ", 24);
    ck_assert_str_eq(hone_checkpoint_tensor(ckpt, 0)->name, "b");
    ck_assert_str_eq(hone_checkpoint_tensor(ckpt, 1)->name, "a");
    ck_assert_str_eq(hone_checkpoint_tensor(ckpt, 2)->name, "c");
    const uint64_t data_start = hone_checkpoint_nbytes(ckpt) - 24;
    ck_assert_uint_eq(hone_checkpoint_find(ckpt, "a")->offset, data_start + 8);
    hone_checkpoint_close(ckpt);
}
END_TEST

START_TEST(knows_every_dtype_of_the_table)
{
    static const struct {
        const char *name;
        hone_dtype dtype;
        unsigned nbytes; /* of 24 elements */
    } rows[] = {
        {"F64", HONE_F64, 192},
        {"F32", HONE_F32, 96},
        {"F16", HONE_F16, 48},
        {"BF16", HONE_BF16, 48},
        {"F8_E4M3", HONE_F8_E4M3, 24},
        {"F8_E5M2", HONE_F8_E5M2, 24},
        {"F8_E8M0", HONE_F8_E8M0, 24},
        {"I64", HONE_I64, 192},
        {"I32", HONE_I32, 96},
        {"I16", HONE_I16, 48},
        {"I8", HONE_I8, 24},
        {"U64", HONE_U64, 192},
        {"U32", HONE_U32, 96},
        {"U16", HONE_U16, 48},
        {"U8", HONE_U8, 24},
        {"BOOL", HONE_BOOL, 24},
        {"F4", HONE_F4, 12},
        {"F6_E2M3", HONE_F6_E2M3, 18},
        {"F6_E3M2", HONE_F6_E3M2, 18},
        {"F8_E4M3FNUZ", HONE_F8_E4M3FNUZ, 24},
        {"F8_E5M2FNUZ", HONE_F8_E5M2FNUZ, 24},
        {"C64", HONE_C64, 192},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char header[128];
        (void)snprintf(header, sizeof header, "{\"a\":{\"dtype\":\"%s\",\"shape\":[8,3],\"data_offsets\":[0,%u]}}",
                       rows[i].name, rows[i].nbytes);
        hone_checkpoint *ckpt = open_file(header, rows[i].nbytes);
        ck_assert_int_eq(hone_checkpoint_tensor(ckpt, 0)->dtype, rows[i].dtype);
        hone_checkpoint_close(ckpt);
    }
}
END_TEST

START_TEST(keeps_unicode_names_and_metadata)
{
    hone_checkpoint *ckpt = open_file("{\"__metadata__\":{\"format\":\"pt\",\"clé\":\"\\u00e9\"},"
                                      "\"\\u5c42.0\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
                                      1);
    ck_assert_ptr_nonnull(hone_checkpoint_find(ckpt, "层.0"));
    ck_assert_uint_eq(hone_checkpoint_n_metadata(ckpt), 2);
    const hone_metadata *format = hone_checkpoint_find_metadata(ckpt, "format");
    ck_assert_int_eq(format->type, HONE_VALUE_STRING);
    ck_assert_str_eq(format->v.string.data, "pt");
    ck_assert_uint_eq(hone_checkpoint_find_metadata(ckpt, "clé")->v.string.len, 2);
    ck_assert_ptr_null(hone_checkpoint_find_metadata(ckpt, "forma"));
    hone_checkpoint_close(ckpt);
}
END_TEST

START_TEST(metadata_cannot_name_the_architecture)
{
    hone_checkpoint *ckpt = open_file("{\"__metadata__\":{\"general.architecture\":\"llama\"}}", 0);
    ck_assert_ptr_null(hone_checkpoint_architecture(ckpt));
    hone_checkpoint_close(ckpt);
}
END_TEST

START_TEST(every_failing_allocation_is_reported)
{
    hone_bytes b = {0};
    const char *path =
        make_file("{\"__metadata__\":{\"format\":\"pt\"}," F32_2("a", 0, 8) "," F32_2("b", 8, 16) "}", 16, &b);
    hone_bytes_free(&b);
    fail_each_allocation_of_opening(path, 6);
}
END_TEST

Suite *hone_suite_safetensors(void)
{
    Suite *suite = suite_create("safetensors");
    TCase *core = tcase_create("core");
    tcase_add_checked_fixture(core, make_dir, remove_dir);
    tcase_add_test(core, accepts_a_file_without_tensors);
    tcase_add_test(core, accepts_scalars_and_empty_tensors);
    tcase_add_test(core, lists_tensors_in_file_order_whatever_the_headers);
    tcase_add_test(core, knows_every_dtype_of_the_table);
    tcase_add_test(core, keeps_unicode_names_and_metadata);
    tcase_add_test(core, metadata_cannot_name_the_architecture);
    tcase_add_test(core, every_failing_allocation_is_reported);
    suite_add_tcase(suite, core);
    TCase *bad = tcase_create("malformed");
    tcase_add_checked_fixture(bad, make_dir, remove_dir);
    tcase_add_loop_test(bad, rejects_malformed_header, 0, COUNT(malformed));
    tcase_add_loop_test(bad, rejects_malformed_preamble, 0, COUNT(preambles));
    tcase_add_test(bad, rejects_a_header_of_millions_of_values);
    tcase_add_loop_test(bad, what_is_no_header_is_no_format, 0, 4);
    suite_add_tcase(suite, bad);
    return suite;
}
