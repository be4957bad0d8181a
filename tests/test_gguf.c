/* SPDX-License-Identifier: MIT */
/* The GGUF reader on built files, and the header builder against the reader. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "formats/gguf_writer.h"
#include "tests/support/byte_builder.h"
#include "tests/support/opening.h"
#include "tests/support/test_dir.h"

Suite *hone_suite_gguf(void);

enum { DATA = HONE_ERROR_DATA, UNSUPPORTED = HONE_ERROR_UNSUPPORTED, LIMIT = HONE_ERROR_LIMIT };

/* "GGUF", version 3, so many tensors and entries. Filler that satisfies the reader's first look at the counts goes
 * last. */
#define HEAD(n_tensors, n_kv) "raw=GGUF u32=3 u64=" #n_tensors " u64=" #n_kv " "
#define FILL " zero=200"
/* Two f32 numbers called NAME; type and offset are left to the case. */
#define TENSOR(name) "str=" name " u32=1 u64=2 "
#define GOOD_TENSOR(name, offset) TENSOR(name) "u32=0 u64=" #offset " "

static const struct {
    const char *claim, *script;
    int status;
    const char *item;
} malformed[] = {
    {"an empty file", "^", DATA, ""},
    {"a magic cut short", "^ raw=GGU", DATA, ""},
    {"another magic", "^ raw=GGML u32=3 u64=0 u64=0", HONE_ERROR_FORMAT, ""},
    {"only a magic", "^ raw=GGUF", DATA, ""},
    {"version 0", "raw=GGUF ^ u32=0 u64=0 u64=0", UNSUPPORTED, ""},
    {"version 1", "raw=GGUF ^ u32=1 u32=0 u32=0", UNSUPPORTED, ""},
    {"version 4", "raw=GGUF ^ u32=4 u64=0 u64=0", UNSUPPORTED, ""},
    {"big-endian version 3", "raw=GGUF ^ u32=0x03000000 u64=0 u64=0", UNSUPPORTED, ""},
    {"counts cut short", "raw=GGUF u32=3 ^ u64=0 u32=0", DATA, ""},
    {"2^60 tensors", "raw=GGUF u32=3 ^ u64=0x1000000000000000 u64=0" FILL, DATA, ""},
    {"-1 tensors", "raw=GGUF u32=3 ^ u64=-1 u64=0" FILL, DATA, ""},
    {"2^60 entries", "raw=GGUF u32=3 u64=0 ^ u64=0x1000000000000000" FILL, DATA, ""},
    {"-1 entries", "raw=GGUF u32=3 u64=0 ^ u64=-1" FILL, DATA, ""},
    {"more tensors than the entries leave room for", "raw=GGUF u32=3 ^ u64=3 u64=1 str=k u32=8 u64=60 zero=80", DATA,
     ""},
    {"a key past the end", HEAD(0, 1) "^ u64=500 raw=abcdefgh", DATA, ""},
    {"a key of 2^64 - 1 bytes", HEAD(0, 1) "^ u64=-1 raw=abcdefgh", DATA, ""},
    {"a key of no bytes", HEAD(0, 1) "^ str= u32=4 u32=1" FILL, DATA, ""},
    {"a key of 65536 bytes", HEAD(0, 1) "^ u64=65536 zero=70000", DATA, ""},
    {"a key with a NUL", HEAD(0, 1) "^ str=a\\x00b u32=4 u32=1", DATA, ""},
    {"a key that is not UTF-8", HEAD(0, 1) "^ str=a\\xff u32=4 u32=1", DATA, ""},
    {"value type 13", HEAD(0, 1) "str=key ^ u32=13" FILL, DATA, "key"},
    {"value type -1", HEAD(0, 1) "str=key ^ i32=-1" FILL, DATA, "key"},
    {"a key and nothing more", HEAD(0, 1) "str=longkey ^", DATA, "longkey"},
    {"a u64 cut short", HEAD(0, 1) "str=key u32=10 ^ u32=1", DATA, "key"},
    {"a string past the end", HEAD(0, 1) "str=key u32=8 ^ u64=5 raw=abcd", DATA, "key"},
    {"a string of 2^64 - 1 bytes", HEAD(0, 1) "str=key u32=8 ^ u64=-1 raw=abcd", DATA, "key"},
    {"a bool of 2", HEAD(0, 1) "str=key u32=7 ^ u8=2", DATA, "key"},
    {"an array of arrays", HEAD(0, 1) "str=key u32=9 ^ u32=9 u64=1 u32=4 u64=0", UNSUPPORTED, "key"},
    {"an array of type 14", HEAD(0, 1) "str=key u32=9 ^ u32=14 u64=1" FILL, DATA, "key"},
    {"an array header cut short", HEAD(0, 1) "str=key u32=9 ^ u32=4 u32=1", DATA, "key"},
    {"an array past the end", HEAD(0, 1) "str=key u32=9 u32=4 u64=3 ^ u32=1 u32=2", DATA, "key"},
    {"an array of 2^62 u64", HEAD(0, 1) "str=key u32=9 u32=10 u64=0x4000000000000000 ^ zero=64", DATA, "key"},
    {"an array of 2^61 strings", HEAD(0, 1) "str=key u32=9 u32=8 u64=0x2000000000000000 ^ zero=64", DATA, "key"},
    {"a string of an array past the end", HEAD(0, 1) "str=key u32=9 u32=8 u64=2 str=ab ^ u64=9 raw=abcd", DATA, "key"},
    {"a bool of an array of 7", HEAD(0, 1) "str=key u32=9 u32=7 u64=3 u8=1 u8=0 ^ u8=7", DATA, "key"},
    {"a key twice", HEAD(0, 2) "str=key u32=4 u32=1 ^ str=key u32=8 str=x", DATA, "key"},
    {"alignment 0", HEAD(0, 1) "str=general.alignment ^ u32=4 u32=0", DATA, "general.alignment"},
    {"alignment 48", HEAD(0, 1) "str=general.alignment ^ u32=4 u32=48", DATA, "general.alignment"},
    {"an alignment of type u64", HEAD(0, 1) "str=general.alignment ^ u32=10 u64=32", DATA, "general.alignment"},
    {"a tensor name past the end", HEAD(1, 0) "^ u64=100 zero=60", DATA, ""},
    {"a tensor without a name", HEAD(1, 0) "^ str= u32=1 u64=2 u32=0 u64=0" FILL, DATA, ""},
    {"five axes", HEAD(1, 0) "str=w ^ u32=5 u64=1 u64=1 u64=1 u64=1 u64=1 u32=0 u64=0" FILL, DATA, "w"},
    {"2^32 - 1 axes", HEAD(1, 0) "str=w ^ u32=0xffffffff" FILL, DATA, "w"},
    {"axes cut short", HEAD(1, 0) "str=w u32=4 ^ u64=1 u64=1 u32=7", DATA, "w"},
    {"a product beyond 64 bits", HEAD(1, 0) "str=w ^ u32=2 u64=0x100000000 u64=0x100000000 u32=0 u64=0" FILL, DATA,
     "w"},
    {"a byte size beyond 64 bits", HEAD(1, 0) "str=w ^ u32=1 u64=0x4000000000000000 u32=0 u64=0" FILL, DATA, "w"},
    {"a negative axis", HEAD(1, 0) "str=w ^ u32=1 u64=-2 u32=0 u64=0" FILL, DATA, "w"},
    {"a row of half a q8_0 block", HEAD(1, 0) "str=w ^ u32=2 u64=16 u64=2 u32=8 u64=0" FILL, DATA, "w"},
    {"a row of half a q4_k block", HEAD(1, 0) "str=w ^ u32=2 u64=128 u64=2 u32=12 u64=0" FILL, DATA, "w"},
    {"a removed type", HEAD(1, 0) TENSOR("w") "^ u32=4 u64=0" FILL, UNSUPPORTED, "w"},
    {"another removed type", HEAD(1, 0) TENSOR("w") "^ u32=33 u64=0" FILL, UNSUPPORTED, "w"},
    {"the first type after the last", HEAD(1, 0) TENSOR("w") "^ u32=43 u64=0" FILL, UNSUPPORTED, "w"},
    {"a type of a fork", HEAD(1, 0) TENSOR("w") "^ u32=137 u64=0" FILL, UNSUPPORTED, "w"},
    {"a type that two forks use", HEAD(1, 0) TENSOR("w") "^ u32=142 u64=0" FILL, UNSUPPORTED, "w"},
    {"a type of a fork, rows interleaved", HEAD(1, 0) TENSOR("w") "^ u32=202 u64=0" FILL, UNSUPPORTED, "w"},
    {"a row of half an iq3_s block", HEAD(1, 0) "str=w ^ u32=2 u64=128 u64=2 u32=21 u64=0" FILL, DATA, "w"},
    {"a row of half a q1_0 block", HEAD(1, 0) "str=w ^ u32=2 u64=64 u64=2 u32=41 u64=0" FILL, DATA, "w"},
    {"a type nobody knows", HEAD(1, 0) TENSOR("w") "^ u32=9999 u64=0" FILL, UNSUPPORTED, "w"},
    {"type -1", HEAD(1, 0) TENSOR("w") "^ i32=-1 u64=0" FILL, UNSUPPORTED, "w"},
    {"an offset cut short", HEAD(1, 0) TENSOR("wwwwwwwwww") "u32=0 ^ u32=0", DATA, "wwwwwwwwww"},
    {"an offset not aligned", HEAD(1, 0) TENSOR("w") "u32=0 ^ u64=8 pad=32" FILL, DATA, "w"},
    {"an offset not aligned to 64", HEAD(1, 1) "str=general.alignment u32=4 u32=64 " TENSOR("w") "u32=0 ^ u64=32" FILL,
     DATA, "w"},
    {"a hole at the start", HEAD(1, 0) TENSOR("w") "u32=0 ^ u64=32" FILL, DATA, "w"},
    {"a hole in the middle", HEAD(2, 0) GOOD_TENSOR("a", 0) TENSOR("b") "u32=0 ^ u64=64" FILL, DATA, "b"},
    {"an overlap", HEAD(2, 0) GOOD_TENSOR("a", 0) TENSOR("b") "u32=0 ^ u64=0" FILL, DATA, "b"},
    {"an offset near 2^64", HEAD(1, 0) TENSOR("w") "u32=0 ^ u64=0xffffffffffffffe0" FILL, DATA, "w"},
    {"data past the end", HEAD(1, 0) GOOD_TENSOR("w", 0) "pad=32 ^ u32=0", DATA, "w"},
    {"data of 2^50 bytes", HEAD(1, 0) "str=w u32=1 u64=0x1000000000000 u32=0 ^ u64=0" FILL, DATA, "w"},
    {"a tensor name twice", HEAD(2, 0) GOOD_TENSOR("w", 0) "^ " GOOD_TENSOR("w", 32) FILL, DATA, "w"},
    {"a third tensor that is not there", HEAD(3, 0) GOOD_TENSOR("a", 0) GOOD_TENSOR("b", 32) "^ u32=0 u16=0", DATA, ""},
};

static const char *write_script(const char *script, size_t *mark)
{
    hone_bytes b = {0};
    hone_bytes_script(&b, script);
    const char *path = hone_temp_file(&dir, "x.gguf", b.data, b.n);
    if (mark)
        *mark = b.mark;
    hone_bytes_free(&b);
    return path;
}

START_TEST(rejects_malformed_file)
{
    size_t mark;
    const char *path = write_script(malformed[_i].script, &mark);
    expect_error(path, malformed[_i].claim, (hone_status)malformed[_i].status, mark, malformed[_i].item);
}
END_TEST

static hone_checkpoint *open_good(const char *script)
{
    return must_open(write_script(script, NULL));
}

START_TEST(names_the_types_it_cannot_read)
{
    static const struct {
        const char *script, *name;
    } cases[] = {
        {HEAD(1, 0) TENSOR("w") "u32=5 u64=0" FILL, "q4_3"},
        {HEAD(1, 0) TENSOR("w") "u32=38 u64=0" FILL, "iq4_nl_8_8"},
        {HEAD(1, 0) TENSOR("w") "u32=133 u64=0" FILL, "q6_0"},
        {HEAD(1, 0) TENSOR("w") "u32=137 u64=0" FILL, "iq2_k"},
        {HEAD(1, 0) TENSOR("w") "u32=158 u64=0" FILL, "iq1_kt"},
        {HEAD(1, 0) TENSOR("w") "u32=170 u64=0" FILL, "fork"},
        {HEAD(1, 0) TENSOR("w") "u32=230 u64=0" FILL, "ik_llama.cpp"},
        {HEAD(1, 0) TENSOR("w") "u32=9999 u64=0" FILL, "9999"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hone_checkpoint *ckpt;
        hone_error err;
        const char *path = write_script(cases[i].script, NULL);
        ck_assert_int_eq(hone_checkpoint_open(path, NULL, &ckpt, &err), HONE_ERROR_UNSUPPORTED);
        ck_assert_ptr_nonnull(strstr(err.reason, cases[i].name));
    }
}
END_TEST

/* Every type of ggml.h: id, and the bytes that 256 elements take. */
START_TEST(sizes_every_tensor_type)
{
    static const struct {
        unsigned id;
        const char *name;
        unsigned nbytes;
    } types[] = {
        {0, "f32", 1024},   {1, "f16", 512},     {2, "q4_0", 144},   {3, "q4_1", 160},    {6, "q5_0", 176},
        {7, "q5_1", 192},   {8, "q8_0", 272},    {9, "q8_1", 288},   {10, "q2_k", 84},    {11, "q3_k", 110},
        {12, "q4_k", 144},  {13, "q5_k", 176},   {14, "q6_k", 210},  {15, "q8_k", 292},   {16, "iq2_xxs", 66},
        {17, "iq2_xs", 74}, {18, "iq3_xxs", 98}, {19, "iq1_s", 50},  {20, "iq4_nl", 144}, {21, "iq3_s", 110},
        {22, "iq2_s", 82},  {23, "iq4_xs", 136}, {24, "i8", 256},    {25, "i16", 512},    {26, "i32", 1024},
        {27, "i64", 2048},  {28, "f64", 2048},   {29, "iq1_m", 56},  {30, "bf16", 512},   {34, "tq1_0", 54},
        {35, "tq2_0", 66},  {39, "mxfp4", 136},  {40, "nvfp4", 144}, {41, "q1_0", 36},    {42, "q2_0", 72},
    };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        char script[160];
        (void)snprintf(script, sizeof script, HEAD(1, 0) "str=w u32=1 u64=256 u32=%u u64=0 pad=32 zero=%u", types[i].id,
                       types[i].nbytes);
        hone_checkpoint *ckpt = open_good(script);
        const hone_tensor *t = hone_checkpoint_find(ckpt, "w");
        ck_assert_uint_eq(t->nbytes, types[i].nbytes);
        ck_assert_str_eq(hone_dtype_describe(t->dtype)->name, types[i].name);
        hone_checkpoint_close(ckpt);
    }
}
END_TEST

START_TEST(reads_scalars_of_every_type)
{
    hone_checkpoint *ckpt = open_good(
        HEAD(0, 12) "str=u8 u32=0 u8=200 str=i8 u32=1 u8=200 str=u16 u32=2 u16=60000 str=i16 u32=3 u16=60000 "
                    "str=u32 u32=4 u32=0xfffffffe str=i32 u32=5 i32=-2 str=f32 u32=6 f32=-0.5 str=bool u32=7 u8=1 "
                    "str=str u32=8 str=h\\xc3\\xa9 str=u64 u32=10 u64=-1 str=i64 u32=11 u64=-1 "
                    "str=f64 u32=12 u64=0x3ff8000000000000");
    ck_assert_uint_eq(hone_checkpoint_find_metadata(ckpt, "u8")->v.u, 200);
    ck_assert_int_eq(hone_checkpoint_find_metadata(ckpt, "i8")->v.i, -56);
    ck_assert_uint_eq(hone_checkpoint_find_metadata(ckpt, "u16")->v.u, 60000);
    ck_assert_int_eq(hone_checkpoint_find_metadata(ckpt, "i16")->v.i, -5536);
    ck_assert_uint_eq(hone_checkpoint_find_metadata(ckpt, "u32")->v.u, 0xfffffffe);
    ck_assert_int_eq(hone_checkpoint_find_metadata(ckpt, "i32")->v.i, -2);
    ck_assert(hone_checkpoint_find_metadata(ckpt, "f32")->v.f == -0.5);
    ck_assert_uint_eq(hone_checkpoint_find_metadata(ckpt, "bool")->v.u, 1);
    ck_assert_str_eq(hone_checkpoint_find_metadata(ckpt, "str")->v.string.data, "hé");
    ck_assert_uint_eq(hone_checkpoint_find_metadata(ckpt, "u64")->v.u, UINT64_MAX);
    ck_assert_int_eq(hone_checkpoint_find_metadata(ckpt, "i64")->v.i, -1);
    ck_assert(hone_checkpoint_find_metadata(ckpt, "f64")->v.f == 1.5);
    ck_assert_ptr_null(hone_checkpoint_architecture(ckpt));
    hone_checkpoint_close(ckpt);
}
END_TEST

START_TEST(reads_arrays)
{
    hone_checkpoint *ckpt = open_good(HEAD(0, 4) "str=i u32=9 u32=5 u64=2 i32=-7 i32=9 str=none u32=9 u32=10 u64=0 "
                                                 "str=s u32=9 u32=8 u64=3 str=a str= str=c\\x00d "
                                                 "str=general.architecture u32=8 str=llama");
    const hone_metadata *ints = hone_checkpoint_find_metadata(ckpt, "i");
    ck_assert_int_eq(ints->type, HONE_VALUE_ARRAY);
    ck_assert_int_eq(ints->v.array.elem_type, HONE_VALUE_I32);
    ck_assert_uint_eq(ints->v.array.count, 2);
    ck_assert_int_eq(memcmp(ints->v.array.items, (const int32_t[]){-7, 9}, 8), 0);
    ck_assert_uint_eq(hone_checkpoint_find_metadata(ckpt, "none")->v.array.count, 0);
    const hone_string *strings = hone_checkpoint_find_metadata(ckpt, "s")->v.array.strings;
    ck_assert_str_eq(strings[0].data, "a");
    ck_assert_uint_eq(strings[1].len, 0);
    ck_assert_uint_eq(strings[2].len, 3);
    ck_assert_int_eq(memcmp(strings[2].data, "c\0d", 4), 0);
    ck_assert_str_eq(hone_checkpoint_architecture(ckpt), "llama");
    hone_checkpoint_close(ckpt);
}
END_TEST

START_TEST(reverses_axes)
{
    hone_checkpoint *ckpt = open_good(HEAD(1, 0) "str=w u32=4 u64=32 u64=2 u64=3 u64=5 u32=8 u64=0 pad=32 zero=1020");
    const hone_tensor *t = hone_checkpoint_find(ckpt, "w");
    ck_assert_uint_eq(t->n_dims, 4);
    ck_assert_uint_eq(t->shape[0], 5);
    ck_assert_uint_eq(t->shape[3], 32);
    ck_assert_int_eq(t->dtype, HONE_Q8_0);
    ck_assert_uint_eq(t->nbytes, 1020);
    hone_checkpoint_close(ckpt);
}
END_TEST

START_TEST(accepts_oddities)
{
    static const struct {
        const char *claim, *script;
        size_t n_tensors;
        uint64_t last_offset;
    } cases[] = {
        {"version 2", "raw=GGUF u32=2 u64=0 u64=0", 0, 0},
        {"no padding after the last tensor", HEAD(1, 0) GOOD_TENSOR("w", 0) "pad=32 zero=8", 1, 64},
        {"bytes after the last tensor", HEAD(1, 0) GOOD_TENSOR("w", 0) "pad=32 zero=100", 1, 64},
        {"no axes", HEAD(1, 0) "str=w u32=0 u32=0 u64=0 pad=32 zero=4", 1, 64},
        {"an empty tensor", HEAD(2, 0) "str=e u32=2 u64=0 u64=7 u32=0 u64=0 " GOOD_TENSOR("w", 0) "pad=32 zero=8", 2,
         128},
        {"alignment 64",
         HEAD(2, 1) "str=general.alignment u32=4 u32=64 " GOOD_TENSOR("a", 0)
             GOOD_TENSOR("b", 64) "pad=64 zero=64 zero=8",
         2, 192},
        {"alignment 8",
         HEAD(2, 1) "str=general.alignment u32=4 u32=8 " GOOD_TENSOR("a", 0) GOOD_TENSOR("b", 8) "pad=8 zero=16", 2,
         136},
        {"a Unicode name", HEAD(1, 0) "str=\\xe5\\xb1\\x82 u32=1 u64=2 u32=0 u64=0 pad=32 zero=8", 1, 64},
        {"one part of one", HEAD(0, 1) "str=split.count u32=2 u16=1", 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hone_checkpoint *ckpt = open_good(cases[i].script);
        ck_assert_str_eq(hone_checkpoint_format(ckpt), "gguf");
        ck_assert_uint_eq(hone_checkpoint_n_tensors(ckpt), cases[i].n_tensors);
        const hone_tensor *last = hone_checkpoint_tensor(ckpt, cases[i].n_tensors - 1);
        ck_assert_msg((last ? last->offset : 0) == cases[i].last_offset, "%s: offset %d", cases[i].claim,
                      last ? (int)last->offset : 0);
        hone_checkpoint_close(ckpt);
    }
}
END_TEST

/* Longer than the reader's window, with records that lie across its edges. */
START_TEST(reads_headers_longer_than_its_window)
{
    enum { N = 200000 };
    hone_bytes b = {0};
    hone_bytes_script(&b, HEAD(0, 2) "str=tokens u32=9 u32=8");
    hone_bytes_u64(&b, N);
    for (unsigned i = 0; i < N; i++) {
        hone_bytes_u64(&b, 1 + i % 5);
        hone_bytes_put(&b, "abcde", 1 + i % 5);
    }
    hone_bytes_script(&b, "str=big u32=9 u32=0 u64=3000000 zero=2999999 u8=77");
    const char *path = hone_temp_file(&dir, "x.gguf", b.data, b.n);
    hone_bytes_free(&b);
    hone_checkpoint *ckpt = must_open(path);
    const hone_metadata *tokens = hone_checkpoint_find_metadata(ckpt, "tokens");
    for (unsigned i = 0; i < N; i++)
        if (tokens->v.array.strings[i].len != 1 + i % 5 ||
            memcmp(tokens->v.array.strings[i].data, "abcde", 1 + i % 5) != 0)
            ck_abort_msg("token %u", i);
    const uint8_t *big = hone_checkpoint_find_metadata(ckpt, "big")->v.array.items;
    ck_assert_uint_eq(big[2999999], 77);
    hone_checkpoint_close(ckpt);
}
END_TEST

START_TEST(every_failing_allocation_is_reported)
{
    const char *path =
        write_script(HEAD(2, 2) "str=s u32=9 u32=8 u64=2 str=a str=b str=k u32=8 str=v " GOOD_TENSOR("a", 0)
                         GOOD_TENSOR("b", 32) "pad=32 zero=64",
                     NULL);
    fail_each_allocation_of_opening(path, 9);
}
END_TEST

/* ---- the builder ---- */

static hone_gguf_header *build_example(void)
{
    static const hone_string tokens[] = {{"a", 1}, {"", 0}, {"c\0d", 3}};
    hone_gguf_header *h = hone_gguf_new();
    hone_gguf_put_str(h, "general.architecture", "llama");
    hone_gguf_put_u8(h, "u8", 255);
    hone_gguf_put_u16(h, "u16", 65535);
    hone_gguf_put_u32(h, "u32", UINT32_MAX);
    hone_gguf_put_i32(h, "i32", -3);
    hone_gguf_put_u64(h, "u64", UINT64_MAX);
    hone_gguf_put_f32(h, "f32", 1e-5f);
    hone_gguf_put_bool(h, "bool", true);
    hone_gguf_put_str_array(h, "tokens", tokens, 3);
    hone_gguf_put_i32_array(h, "types", (const int32_t[]){1, -1}, 2);
    hone_gguf_put_u32_array(h, "heads", (const uint32_t[]){8, 4}, 2);
    hone_gguf_put_f32_array(h, "scores", (const float[]){0.5f}, 1);
    hone_gguf_put_u8_array(h, "charsmap", (const uint8_t *)"xyz", 3);
    hone_gguf_put_bool_array(h, "flags", (const bool[]){true, false}, 2);
    hone_gguf_put_u64_array(h, "hone.tensor_xxh3", NULL, 3);
    hone_gguf_add_tensor(h, "a", HONE_F32, 2, (const uint64_t[]){3, 5});
    hone_gguf_add_tensor(h, "b", HONE_Q8_0, 2, (const uint64_t[]){2, 64});
    hone_gguf_add_tensor(h, "scalar", HONE_F16, 0, NULL);
    return h;
}

static hone_checkpoint *write_layout(const hone_gguf_layout *layout)
{
    hone_bytes b = {0};
    hone_bytes_put(&b, layout->bytes, layout->nbytes);
    hone_bytes_zero(&b, (size_t)(layout->file_nbytes - layout->data_start));
    const char *path = hone_temp_file(&dir, "built.gguf", b.data, b.n);
    hone_bytes_free(&b);
    return must_open(path);
}

START_TEST(reader_returns_what_the_builder_put)
{
    static const uint32_t alignments[] = {32, 64, 8};
    hone_gguf_header *h = build_example();
    hone_gguf_layout layout;
    ck_assert_int_eq(hone_gguf_finish(h, alignments[_i], &layout, NULL), HONE_OK);
    ck_assert_uint_eq(layout.data_start % alignments[_i], 0);
    ck_assert_uint_eq(layout.file_nbytes % alignments[_i], 0);
    hone_checkpoint *ckpt = write_layout(&layout);
    ck_assert_uint_eq(hone_checkpoint_n_metadata(ckpt), alignments[_i] == 32 ? 15 : 16);
    ck_assert_uint_eq(hone_checkpoint_n_tensors(ckpt), 3);
    for (size_t i = 0; i < 3; i++) {
        ck_assert_uint_eq(hone_checkpoint_tensor(ckpt, i)->offset, layout.offsets[i]);
        ck_assert_uint_eq(hone_checkpoint_tensor(ckpt, i)->nbytes, layout.sizes[i]);
    }
    ck_assert_uint_eq(layout.sizes[1], 2 * 2 * 34);
    ck_assert_uint_eq(hone_checkpoint_find(ckpt, "b")->shape[1], 64);
    ck_assert_uint_eq(hone_checkpoint_find(ckpt, "scalar")->nelems, 1);
    ck_assert_int_eq(hone_checkpoint_find_metadata(ckpt, "i32")->v.i, -3);
    ck_assert_uint_eq(hone_checkpoint_find_metadata(ckpt, "u64")->v.u, UINT64_MAX);
    ck_assert(hone_checkpoint_find_metadata(ckpt, "f32")->v.f == (double)1e-5f);
    ck_assert_uint_eq(hone_checkpoint_find_metadata(ckpt, "tokens")->v.array.strings[2].len, 3);
    ck_assert_int_eq(memcmp(hone_checkpoint_find_metadata(ckpt, "charsmap")->v.array.items, "xyz", 3), 0);
    hone_checkpoint_close(ckpt);
    hone_gguf_layout_deinit(&layout);
    hone_gguf_free(h);
}
END_TEST

START_TEST(copied_metadata_gives_the_same_bytes)
{
    hone_gguf_header *h = build_example(), *copy = hone_gguf_new();
    hone_gguf_layout first, second;
    ck_assert_int_eq(hone_gguf_finish(h, 32, &first, NULL), HONE_OK);
    hone_checkpoint *ckpt = write_layout(&first);
    for (size_t i = 0; i < hone_checkpoint_n_metadata(ckpt); i++)
        hone_gguf_put_metadata(copy, hone_checkpoint_metadata(ckpt, i));
    for (size_t i = 0; i < 3; i++) {
        const hone_tensor *t = hone_checkpoint_tensor(ckpt, i);
        hone_gguf_add_tensor(copy, t->name, t->dtype, t->n_dims, t->shape);
    }
    ck_assert_int_eq(hone_gguf_finish(copy, 32, &second, NULL), HONE_OK);
    ck_assert_uint_eq(first.nbytes, second.nbytes);
    ck_assert_int_eq(memcmp(first.bytes, second.bytes, first.nbytes), 0);
    hone_checkpoint_close(ckpt);
    hone_gguf_layout_deinit(&first);
    hone_gguf_layout_deinit(&second);
    hone_gguf_free(h);
    hone_gguf_free(copy);
}
END_TEST

START_TEST(payload_offset_is_where_the_array_lies)
{
    hone_gguf_header *h = build_example();
    hone_gguf_layout layout;
    ck_assert_int_eq(hone_gguf_finish(h, 32, &layout, NULL), HONE_OK);
    ck_assert_uint_eq(hone_gguf_payload_offset(h, "absent"), HONE_NO_OFFSET);
    ck_assert_uint_eq(hone_gguf_payload_offset(h, "tokens"), HONE_NO_OFFSET);
    const uint64_t at = hone_gguf_payload_offset(h, "hone.tensor_xxh3");
    memset(layout.bytes + at, 0x11, 24);
    hone_checkpoint *ckpt = write_layout(&layout);
    const uint64_t *sums = hone_checkpoint_find_metadata(ckpt, "hone.tensor_xxh3")->v.array.items;
    ck_assert_uint_eq(sums[0], 0x1111111111111111);
    ck_assert_uint_eq(sums[2], 0x1111111111111111);
    hone_checkpoint_close(ckpt);
    hone_gguf_layout_deinit(&layout);
    hone_gguf_free(h);
}
END_TEST

static void put_key_twice(hone_gguf_header *h)
{
    hone_gguf_put_u32(h, "key", 1);
    hone_gguf_put_str(h, "key", "x");
}

static void put_empty_key(hone_gguf_header *h)
{
    hone_gguf_put_u32(h, "", 1);
}

static void put_alignment(hone_gguf_header *h)
{
    hone_gguf_put_u32(h, "general.alignment", 64);
}

static void add_tensor_twice(hone_gguf_header *h)
{
    hone_gguf_add_tensor(h, "w", HONE_F32, 1, (const uint64_t[]){1});
    hone_gguf_add_tensor(h, "w", HONE_F16, 1, (const uint64_t[]){1});
}

static void add_long_name(hone_gguf_header *h)
{
    hone_gguf_add_tensor(h, "0123456789012345678901234567890123456789012345678901234567890123", HONE_F32, 1,
                         (const uint64_t[]){1});
}

static void add_half_block(hone_gguf_header *h)
{
    hone_gguf_add_tensor(h, "w", HONE_Q4_K, 2, (const uint64_t[]){4, 128});
    hone_gguf_put_str(h, "after", "x");
}

static void add_u16(hone_gguf_header *h)
{
    hone_gguf_add_tensor(h, "w", HONE_U16, 1, (const uint64_t[]){1});
}

static void add_five_axes(hone_gguf_header *h)
{
    hone_gguf_add_tensor(h, "w", HONE_F32, 5, (const uint64_t[]){1, 1, 1, 1, 1});
}

static void add_too_much(hone_gguf_header *h)
{
    hone_gguf_add_tensor(h, "w", HONE_F32, 1, (const uint64_t[]){1ull << 59});
    hone_gguf_add_tensor(h, "x", HONE_F32, 1, (const uint64_t[]){1ull << 59});
}

START_TEST(builder_reports_its_first_error)
{
    static const struct {
        void (*build)(hone_gguf_header *h);
        hone_status status;
        const char *item;
    } cases[] = {
        {put_key_twice, HONE_ERROR_ARG, "key"},
        {put_empty_key, HONE_ERROR_ARG, ""},
        {put_alignment, HONE_ERROR_ARG, "general.alignment"},
        {add_tensor_twice, HONE_ERROR_ARG, "w"},
        {add_long_name, HONE_ERROR_ARG, "0123456789012345678901234567890123456789012345678901234567890123"},
        {add_half_block, HONE_ERROR_ARG, "w"},
        {add_u16, HONE_ERROR_UNSUPPORTED, "w"},
        {add_five_axes, HONE_ERROR_UNSUPPORTED, "w"},
        {add_too_much, HONE_ERROR_LIMIT, "x"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hone_gguf_header *h = hone_gguf_new();
        hone_gguf_layout layout;
        hone_error err;
        cases[i].build(h);
        ck_assert_int_eq(hone_gguf_finish(h, 32, &layout, &err), cases[i].status);
        ck_assert_str_eq(err.item, cases[i].item);
        ck_assert_ptr_null(layout.bytes);
        ck_assert_ptr_null(layout.offsets);
        hone_gguf_free(h);
    }
}
END_TEST

static hone_status build_once(void *user)
{
    (void)user;
    hone_gguf_header *h = build_example();
    hone_gguf_layout layout;
    const hone_status status = hone_gguf_finish(h, 32, &layout, NULL);
    hone_gguf_layout_deinit(&layout);
    hone_gguf_free(h);
    return status;
}

START_TEST(builder_survives_every_failing_allocation)
{
    fail_each_allocation(build_once, NULL, 6);
}
END_TEST

Suite *hone_suite_gguf(void)
{
    Suite *suite = suite_create("gguf");
    TCase *core = tcase_create("core");
    tcase_add_checked_fixture(core, make_dir, remove_dir);
    tcase_add_test(core, names_the_types_it_cannot_read);
    tcase_add_test(core, sizes_every_tensor_type);
    tcase_add_test(core, reads_scalars_of_every_type);
    tcase_add_test(core, reads_arrays);
    tcase_add_test(core, reverses_axes);
    tcase_add_test(core, accepts_oddities);
    tcase_add_test(core, reads_headers_longer_than_its_window);
    tcase_add_test(core, every_failing_allocation_is_reported);
    suite_add_tcase(suite, core);
    TCase *bad = tcase_create("malformed");
    tcase_add_checked_fixture(bad, make_dir, remove_dir);
    tcase_add_loop_test(bad, rejects_malformed_file, 0, (int)(sizeof malformed / sizeof malformed[0]));
    suite_add_tcase(suite, bad);
    TCase *builder = tcase_create("builder");
    tcase_add_checked_fixture(builder, make_dir, remove_dir);
    tcase_add_loop_test(builder, reader_returns_what_the_builder_put, 0, 3);
    tcase_add_test(builder, copied_metadata_gives_the_same_bytes);
    tcase_add_test(builder, payload_offset_is_where_the_array_lies);
    tcase_add_test(builder, builder_reports_its_first_error);
    tcase_add_test(builder, builder_survives_every_failing_allocation);
    suite_add_tcase(suite, builder);
    return suite;
}
