/* SPDX-License-Identifier: MIT */
/* NumPy arrays, alone and in archives. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/source_fixture.h"
#include "tests/support/row_count.h"
#include "tests/support/zip_builder.h"

Suite *hone_suite_npz(void);

/* A version 1.0 array of this header and data_nbytes bytes 0, 1, 2, ...; a ^ in the header is left out and marked. */
static void put_array(hone_bytes *b, const char *header, size_t data_nbytes)
{
    const size_t before = strcspn(header, "^");
    const char *after = header + before + (header[before] == '^');
    const uint8_t prefix[] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (uint8_t)(before + strlen(after)), 0};
    hone_bytes_put(b, prefix, sizeof prefix);
    hone_bytes_put(b, header, before);
    b->mark = b->n;
    hone_bytes_put(b, after, strlen(after));
    for (size_t i = 0; i < data_nbytes; i++) {
        const uint8_t byte = (uint8_t)i;
        hone_bytes_put(b, &byte, 1);
    }
}

#define HEADER(descr, order, shape) "{'descr': " descr ", 'fortran_order': " order ", 'shape': " shape ", }\n"
#define F4(shape) HEADER("'<f4'", "False", shape)
enum { DATA = HONE_ERROR_DATA, UNSUPPORTED = HONE_ERROR_UNSUPPORTED, LIMIT = HONE_ERROR_LIMIT };

static const struct {
    const char *claim, *header;
    size_t data_nbytes;
    int status;
} headers[] = {
    {"an empty header", "^", 0, DATA},
    {"a header that is a list", "^[]", 0, DATA},
    {"a header cut short", "{'descr': '<f4'^", 0, DATA},
    {"a key that is a number", "{^1: 2}", 0, DATA},
    {"a key of another name", "{^'order': False}", 0, DATA},
    {"a key twice", "{'descr': '<f4', ^'descr': '<f4'}", 0, DATA},
    {"a key without a value", "{'descr' ^'<f4'}", 0, DATA},
    {"a key without an end", "{^'descr: 5}", 0, DATA},
    {"a key with an escape", "{^'de\\\\scr': 5}", 0, DATA},
    {"no shape", "{'descr': '<f4', 'fortran_order': False}^", 4, DATA},
    {"no descr", "{'fortran_order': False, 'shape': (1,)}^", 4, DATA},
    {"no order", "{'descr': '<f4', 'shape': (1,)}^", 4, DATA},
    {"text behind the header", HEADER("'<f4'", "False", "(1,)") " ^x", 4, DATA},
    {"no comma between keys", "{'descr': '<f4' ^'fortran_order': False}", 0, DATA},
    {"a descr that is a number", HEADER("^4", "False", "(1,)"), 4, DATA},
    {"records", HEADER("^[('a', '<f4')]", "False", "(1,)"), 4, UNSUPPORTED},
    {"complex numbers", HEADER("^'<c16'", "False", "(1,)"), 16, UNSUPPORTED},
    {"text", HEADER("^'<U3'", "False", "(1,)"), 12, UNSUPPORTED},
    {"objects", HEADER("^'|O'", "False", "(1,)"), 8, UNSUPPORTED},
    {"an empty descr", HEADER("^''", "False", "(1,)"), 8, UNSUPPORTED},
    {"dates", HEADER("^'<M8[ns]'", "False", "(1,)"), 8, UNSUPPORTED},
    {"floats of 16 bytes", HEADER("^'<f16'", "False", "(1,)"), 16, UNSUPPORTED},
    {"an order that is a number", HEADER("'<f4'", "^0", "(1,)"), 4, DATA},
    {"a shape that is a number", F4("^3"), 12, DATA},
    {"a shape in brackets only", F4("(3^)"), 12, DATA},
    {"a shape that is a list", F4("^[3]"), 12, DATA},
    {"a negative axis", F4("(^-1,)"), 4, DATA},
    {"a fractional axis", F4("(1^.5,)"), 4, DATA},
    {"an axis beyond 64 bits", F4("(1844674407370955161^6,)"), 4, DATA},
    {"nine axes", F4("(1, 1, 1, 1, 1, 1, 1, 1, ^1)"), 4, UNSUPPORTED},
    {"two commas", F4("(1, ^, 2)"), 4, DATA},
    {"a product beyond 64 bits", F4("(4294967296, 4294967296)") "^", 0, DATA},
    {"bytes beyond 64 bits", F4("(4611686018427387904,)") "^", 0, DATA},
    {"too few elements", F4("(2, 2)") "^", 15, DATA},
    {"too many elements", F4("(2, 2)") "^", 17, DATA},
    {"2^40 elements that are not there", F4("(1099511627776,)") "^", 4, DATA},
};

START_TEST(rejects_malformed_header)
{
    hone_bytes b = {0};
    put_array(&b, headers[_i].header, headers[_i].data_nbytes);
    const char *path = hone_temp_file(&dir, "x.npy", b.data, b.n);
    expect_error(path, headers[_i].claim, (hone_status)headers[_i].status, b.mark, "x");
    hone_bytes_free(&b);
}
END_TEST

/* The same in an archive: at the same place of the entry, or, where that is deflated, at its start. */
START_TEST(rejects_malformed_header_in_an_archive)
{
    for (unsigned deflated = 0; deflated < 2; deflated++) {
        hone_bytes b = {0};
        zip_builder z = {0};
        put_array(&b, headers[_i].header, headers[_i].data_nbytes);
        hone_zip_put(&z, "x.npy", b.data, b.n, deflated * ZIP_DEFLATED);
        hone_zip_built(&z, 0);
        const char *path = hone_temp_file(&dir, "y.npz", z.file.data, z.file.n);
        expect_error(path, headers[_i].claim, (hone_status)headers[_i].status,
                     z.entries[0].data_at + (deflated ? 0 : b.mark), "x");
        hone_zip_builder_free(&z);
        hone_bytes_free(&b);
    }
}
END_TEST

static const struct {
    const char *claim, *script;
    hone_status status;
} preambles[] = {
    {"a version cut short", "raw=\\x93NUMPY\\x01 ^", HONE_ERROR_DATA},
    {"a length cut short", "raw=\\x93NUMPY\\x01\\x00 u8=9 ^", HONE_ERROR_DATA},
    {"a length of four bytes cut short", "raw=\\x93NUMPY\\x02\\x00 u16=9 ^", HONE_ERROR_DATA},
    {"version 0", "raw=\\x93NUMPY ^ u16=0 u16=2 raw={} zero=9", HONE_ERROR_UNSUPPORTED},
    {"version 4", "raw=\\x93NUMPY ^ u16=4 u32=2 raw={} zero=9", HONE_ERROR_UNSUPPORTED},
    {"version 1.1", "raw=\\x93NUMPY ^ u16=0x101 u16=2 raw={} zero=9", HONE_ERROR_UNSUPPORTED},
    {"a header past the end", "raw=\\x93NUMPY\\x01\\x00 ^ u16=100 raw={}", HONE_ERROR_DATA},
    {"a header of 2^32 - 1 bytes", "raw=\\x93NUMPY\\x02\\x00 ^ u32=-1 raw={}", HONE_ERROR_DATA},
    {"a header of a megabyte", "raw=\\x93NUMPY\\x03\\x00 ^ u32=1048576 zero=1048576", HONE_ERROR_LIMIT},
};

START_TEST(rejects_malformed_preamble)
{
    hone_bytes b = {0};
    hone_bytes_script(&b, preambles[_i].script);
    const char *path = hone_temp_file(&dir, "x.npy", b.data, b.n);
    expect_error(path, preambles[_i].claim, preambles[_i].status, b.mark, "x");
    hone_bytes_free(&b);
}
END_TEST

START_TEST(rejects_an_entry_that_is_no_array)
{
    zip_builder z = {0};
    hone_zip_put(&z, "x.npy", "hello, world", 12, 0);
    hone_zip_built(&z, 0);
    expect_error(hone_temp_file(&dir, "x.npz", z.file.data, z.file.n), "text", HONE_ERROR_FORMAT, z.entries[0].data_at,
                 "x");
    hone_zip_builder_free(&z);
}
END_TEST

/* 300 MiB of zeros in 300 KiB: more than a small file may inflate to. */
START_TEST(rejects_a_bomb)
{
    enum { NBYTES = 300 << 20 };
    uint8_t *zeros = calloc(NBYTES, 1);
    ck_assert_ptr_nonnull(zeros);
    static const char header[] = F4("(78643200,)");
    const uint8_t prefix[] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, sizeof header - 1, 0};
    memcpy(zeros, prefix, sizeof prefix);
    memcpy(zeros + sizeof prefix, header, sizeof header - 1);
    zip_builder z = {0};
    hone_zip_put(&z, "x.npy", zeros, NBYTES, ZIP_DEFLATED);
    free(zeros);
    hone_zip_built(&z, 0);
    expect_error(hone_temp_file(&dir, "x.npz", z.file.data, z.file.n), "a bomb", HONE_ERROR_LIMIT,
                 z.entries[0].record_at, "x.npy");
    hone_zip_builder_free(&z);
}
END_TEST

static void open_array(const char *header, size_t data_nbytes)
{
    hone_bytes b = {0};
    put_array(&b, header, data_nbytes);
    open_source(hone_temp_file(&dir, "x.npy", b.data, b.n));
    hone_bytes_free(&b);
}

static void expect_bytes(const char *name, const char *bytes, size_t nbytes)
{
    uint8_t got[64];
    ck_assert_uint_le(nbytes, sizeof got);
    read_source_bytes(name, got, nbytes);
    ck_assert_mem_eq(got, bytes, nbytes);
}

START_TEST(reads_rows_and_columns)
{
    open_array(HEADER("'|u1'", "False", "(2, 3)"), 6);
    ck_assert_str_eq(hone_checkpoint_format(ckpt), "npy");
    expect_bytes("x", "\0\1\2\3\4\5", 6);
    open_array(HEADER("'|u1'", "True", "(2, 3)"), 6);
    expect_bytes("x", "\0\2\4\1\3\5", 6);
    open_array(HEADER("'>c8'", "False", "(1,)"), 8);
    expect_bytes("x", "\3\2\1\0\7\6\5\4", 8);
    open_array(HEADER("'>i2'", "True", "(2, 2)"), 8);
    expect_bytes("x", "\1\0\5\4\3\2\7\6", 8);
}
END_TEST

START_TEST(knows_every_type)
{
    static const struct {
        const char *header;
        hone_dtype dtype;
        size_t nbytes;
    } rows[] = {
        {HEADER("'<f8'", "False", "(1,)"), HONE_F64, 8}, {HEADER("'<f4'", "False", "(1,)"), HONE_F32, 4},
        {HEADER("'<f2'", "False", "(1,)"), HONE_F16, 2}, {HEADER("'<i8'", "False", "(1,)"), HONE_I64, 8},
        {HEADER("'<i4'", "False", "(1,)"), HONE_I32, 4}, {HEADER("'=i2'", "False", "(1,)"), HONE_I16, 2},
        {HEADER("'|i1'", "False", "(1,)"), HONE_I8, 1},  {HEADER("'<u8'", "False", "(1,)"), HONE_U64, 8},
        {HEADER("'<u4'", "False", "(1,)"), HONE_U32, 4}, {HEADER("'<u2'", "False", "(1,)"), HONE_U16, 2},
        {HEADER("'u1'", "False", "(1,)"), HONE_U8, 1},   {HEADER("'|b1'", "False", "(1,)"), HONE_BOOL, 1},
    };
    open_array(rows[_i].header, rows[_i].nbytes);
    ck_assert_int_eq(hone_checkpoint_find(ckpt, "x")->dtype, rows[_i].dtype);
}
END_TEST

START_TEST(accepts_what_writers_have_written)
{
    static const struct {
        const char *header;
        size_t nbytes;
        unsigned n_dims;
    } cases[] = {
        {HEADER("'<f4'", "False", "()"), 4, 0},
        {HEADER("'<f4'", "True", "(0, 3)"), 0, 2},
        {HEADER("'<f4'", "False", "(2L, 3L)"), 24, 2},
        {"{\"shape\":(2,),\"fortran_order\":False,\"descr\":\"<f4\"}     \n", 8, 1},
        {"  {'shape' : ( 1 , 2 , ) ,\n'fortran_order' : True , 'descr' : '<f4'}", 8, 2},
        {HEADER("'<f4'", "False", "(1, 1, 1, 1, 1, 1, 1, 1)"), 4, 8},
    };
    open_array(cases[_i].header, cases[_i].nbytes);
    ck_assert_uint_eq(hone_checkpoint_find(ckpt, "x")->n_dims, cases[_i].n_dims);
}
END_TEST

START_TEST(reads_archives_stored_and_deflated)
{
    static const unsigned flags[] = {0, ZIP_DEFLATED, ZIP_WIDE, ZIP_WIDE | ZIP_DEFLATED};
    hone_bytes a = {0}, b = {0};
    zip_builder z = {0};
    put_array(&a, HEADER("'|u1'", "True", "(2, 3)"), 6);
    put_array(&b, HEADER("'|u1'", "False", "(4,)"), 4);
    hone_zip_put(&z, "layer/a.npy", a.data, a.n, flags[_i]);
    hone_zip_put(&z, "notes.txt", "hello", 5, 0);
    hone_zip_put(&z, "\xc3\xa9.npy", b.data, b.n, flags[_i]);
    hone_zip_built(&z, flags[_i] & ZIP_WIDE);
    open_source(hone_temp_file(&dir, "x", z.file.data, z.file.n));
    ck_assert_str_eq(hone_checkpoint_format(ckpt), "npz");
    ck_assert_uint_eq(hone_checkpoint_n_tensors(ckpt), 2);
    expect_bytes("layer/a", "\0\2\4\1\3\5", 6);
    expect_bytes("\xc3\xa9", "\0\1\2\3", 4);
    hone_zip_builder_free(&z);
    hone_bytes_free(&a);
    hone_bytes_free(&b);
}
END_TEST

START_TEST(reads_longer_headers_of_versions_2_and_3)
{
    static const char *const versions[] = {"raw=\\x93NUMPY\\x02\\x00 u32=", "raw=\\x93NUMPY\\x03\\x00 u32="};
    static const char header[] = "{'descr':'|u1','fortran_order':False,'shape':(2,)}";
    char script[256];
    (void)snprintf(script, sizeof script, "%s%zu raw=%s raw=ab", versions[_i], strlen(header), header);
    hone_bytes b = {0};
    hone_bytes_script(&b, script);
    open_source(hone_temp_file(&dir, "x.npy", b.data, b.n));
    expect_bytes("x", "ab", 2);
    hone_bytes_free(&b);
}
END_TEST

START_TEST(every_failing_allocation_is_reported)
{
    hone_bytes b = {0};
    zip_builder z = {0};
    put_array(&b, HEADER("'<f4'", "True", "(2, 3)"), 24);
    hone_zip_put(&z, "a.npy", b.data, b.n, ZIP_DEFLATED);
    hone_zip_put(&z, "b.npy", b.data, b.n, 0);
    hone_zip_built(&z, 0);
    const char *path = hone_temp_file(&dir, "x.npz", z.file.data, z.file.n);
    hone_zip_builder_free(&z);
    hone_bytes_free(&b);
    fail_each_allocation_of_opening(path, 9);
}
END_TEST

Suite *hone_suite_npz(void)
{
    Suite *suite = suite_create("npz");
    TCase *core = tcase_create("core");
    tcase_add_checked_fixture(core, set_up_source, tear_down_source);
    tcase_add_test(core, reads_rows_and_columns);
    tcase_add_loop_test(core, knows_every_type, 0, 12);
    tcase_add_loop_test(core, accepts_what_writers_have_written, 0, 6);
    tcase_add_loop_test(core, reads_archives_stored_and_deflated, 0, 4);
    tcase_add_loop_test(core, reads_longer_headers_of_versions_2_and_3, 0, 2);
    tcase_add_test(core, every_failing_allocation_is_reported);
    suite_add_tcase(suite, core);
    TCase *bad = tcase_create("malformed");
    tcase_add_checked_fixture(bad, set_up_source, tear_down_source);
    tcase_set_timeout(bad, 60);
    tcase_add_loop_test(bad, rejects_malformed_header, 0, COUNT(headers));
    tcase_add_loop_test(bad, rejects_malformed_header_in_an_archive, 0, COUNT(headers));
    tcase_add_loop_test(bad, rejects_malformed_preamble, 0, COUNT(preambles));
    tcase_add_test(bad, rejects_an_entry_that_is_no_array);
    tcase_add_test(bad, rejects_a_bomb);
    suite_add_tcase(suite, bad);
    return suite;
}
