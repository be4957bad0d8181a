/* SPDX-License-Identifier: MIT */
/* PyTorch checkpoints: what the pickle inside an archive may say, and how the archive and the old form may be damaged.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "formats/pickle.h"
#include "tests/support/source_fixture.h"
#include "tests/support/row_count.h"
#include "tests/support/torch_archive.h"

Suite *hone_suite_pytorch(void);

enum { DATA = HONE_ERROR_DATA, UNSUPPORTED = HONE_ERROR_UNSUPPORTED, LIMIT = HONE_ERROR_LIMIT };

static const struct {
    const char *claim, *script;
    int status;
    const char *item;
} pickles[] = {
    /* the machine */
    {"an empty pickle", "^", DATA, ""},
    {"no STOP", P2 "raw=} ^", DATA, ""},
    {"an opcode cut short", P2 "^ raw=X u16=1", DATA, ""},
    {"a string past the end", P2 "^ raw=X u32=100 raw=ab", DATA, ""},
    {"a string of 2^64 - 1 bytes", P2 "^ raw=\\x8d u64=-1 raw=.", DATA, ""},
    {"a frame past the end", P2 "^ raw=\\x95 u64=100 raw=}.", DATA, ""},
    {"what is no opcode", P2 "^ raw=\\xff", DATA, ""},
    {"an opcode of protocol 0", P2 "^ raw=I1\\x0a.", UNSUPPORTED, "INT"},
    {"INST, which runs code", P2 "raw=( ^ raw=ios\\x0asystem\\x0a.", UNSUPPORTED, "INST"},
    {"OBJ, which runs code", P2 "raw=( ^ raw=o.", UNSUPPORTED, "OBJ"},
    {"EXT1, which runs code", P2 "^ raw=\\x82\\x01.", UNSUPPORTED, "EXT1"},
    {"NEWOBJ_EX, which runs code", P2 "^ raw=\\x92.", UNSUPPORTED, "NEWOBJ_EX"},
    {"protocol 6", "^ raw=\\x80\\x06}.", UNSUPPORTED, ""},
    {"STOP without a value", P2 "^ raw=.", DATA, ""},
    {"STOP with two values", P2 "raw=NN ^ raw=.", DATA, ""},
    {"STOP inside a mark", P2 "raw=(N ^ raw=.", DATA, ""},
    {"POP of nothing", P2 "^ raw=0", DATA, ""},
    {"DUP of nothing", P2 "^ raw=2", DATA, ""},
    {"a tuple without a mark", P2 "raw=N ^ raw=t.", DATA, ""},
    {"a tuple of three, of two", P2 "raw=NN ^ raw=\\x87.", DATA, ""},
    {"a value from below the mark", P2 "raw=N( ^ raw=\\x85.", DATA, ""},
    {"a memo entry never made", P2 "^ raw=h\\x05.", DATA, ""},
    {"a memo entry beyond the table", P2 "raw=Nq\\x01 ^ raw=j u32=-1 raw=.", DATA, ""},
    {"a memo of 2^32 entries", P2 "raw=N ^ raw=r u32=-1 raw=.", LIMIT, ""},
    {"a memo of nothing", P2 "^ raw=q\\x00.", DATA, ""},
    {"an item for a number", P2 "raw=K\\x01N ^ raw=a.", DATA, ""},
    {"a pair for a list", P2 "raw=]NN ^ raw=s.", DATA, ""},
    {"a key without a value", P2 "raw=}(N ^ raw=u.", DATA, ""},
    {"a dict with an odd number of items", P2 "raw=(NNN ^ raw=d.", DATA, ""},
    {"attributes for a number", P2 "raw=K\\x01N ^ raw=b.", DATA, ""},
    {"bytes after the pickle", W(GOOD) "^ raw=x", DATA, ""},
    /* names */
    {"a function", P2 "^ " GLOBAL("posix", "system") "raw=.", UNSUPPORTED, "posix.system"},
    {"a class of torch", P2 "^ " GLOBAL("torch.nn", "Linear") "raw=.", UNSUPPORTED, "torch.nn.Linear"},
    {"a function by its strings", "raw=\\x80\\x04 raw=\\x8c s8=os raw=\\x8c s8=system ^ raw=\\x93.", UNSUPPORTED,
     "os.system"},
    {"a name of two numbers", P2 "raw=NN ^ raw=\\x93.", DATA, ""},
    {"a name of 300 bytes", P2 "^ raw=c zero=300 raw=\\x0ax\\x0a.", LIMIT, ""},
    {"a name without an end", P2 "^ raw=ctorch", DATA, ""},
    {"a quantized tensor", P2 "^ " GLOBAL("torch._utils", "_rebuild_qtensor") "raw=.", UNSUPPORTED,
     "torch._utils._rebuild_qtensor"},
    {"a sparse tensor", P2 "^ " GLOBAL("torch._utils", "_rebuild_sparse_tensor") "raw=.", UNSUPPORTED,
     "torch._utils._rebuild_sparse_tensor"},
    {"a call of a number", P2 "raw=N) ^ raw=R.", DATA, ""},
    {"a call with a list", P2 GLOBAL("collections", "OrderedDict") "raw=] ^ raw=R.", DATA, ""},
    {"a call of a type", P2 GLOBAL("torch", "FloatStorage") "raw=) ^ raw=R.", DATA, "torch.FloatStorage"},
    {"a dict of no pairs", P2 GLOBAL("collections", "OrderedDict") "raw=](K\\x01e\\x85 ^ raw=R.", DATA,
     "collections.OrderedDict"},
    /* storages */
    {"a persistent id that is a string", P2 STR("0") "^ raw=Q.", DATA, ""},
    {"a persistent id of another kind", P2 "raw=( " STR("module") "raw=NNNNt ^ raw=Q.", DATA, ""},
    {"a storage without a type", P2 "raw=( " STR("storage") STR("x") STR("0") STR("cpu") INT(16) "raw=t ^ raw=Q.", DATA,
     ""},
    {"a storage of -1 elements",
     P2 "raw=( " STR("storage") GLOBAL("torch", "FloatStorage") STR("0") STR("cpu") "raw=J i32=-1 raw=t ^ raw=Q.", DATA,
     ""},
    {"a storage that is not there",
     W(GLOBAL("torch._utils", "_rebuild_tensor_v2") "raw=(( " STR("storage") GLOBAL("torch", "FloatStorage") STR("7")
           STR("cpu") INT(16) "raw=t ^ raw=Q " INT(0) TUPLE1(1) TUPLE1(1) HOOKS "raw=tR "),
     DATA, "w"},
    {"a storage outside the folder",
     W(GLOBAL("torch._utils", "_rebuild_tensor_v2") "raw=(( " STR("storage") GLOBAL("torch", "FloatStorage")
           STR("../version") STR("cpu") INT(16) "raw=t ^ raw=Q " INT(0) TUPLE1(1) TUPLE1(1) HOOKS "raw=tR "),
     DATA, "w"},
    {"a storage larger than its entry",
     W(GLOBAL("torch._utils", "_rebuild_tensor_v2") "raw=(( " STR("storage") GLOBAL("torch", "FloatStorage") STR("0")
           STR("cpu") INT(17) "raw=t ^ raw=Q " INT(0) TUPLE1(1) TUPLE1(1) HOOKS "raw=tR "),
     DATA, "w"},
    {"a storage of double complex numbers",
     W(VIEW(STORAGE("ComplexDoubleStorage", "0", 4), 0, TUPLE1(1), TUPLE1(1)) "^ raw=R "), UNSUPPORTED, "w"},
    /* tensors */
    {"a tensor of two arguments", P2 GLOBAL("torch._utils", "_rebuild_tensor_v2") "raw=NN\\x86 ^ raw=R.", DATA,
     "torch._utils._rebuild_tensor_v2"},
    {"a tensor without a storage",
     P2 GLOBAL("torch._utils", "_rebuild_tensor_v2") "raw=(N " INT(0) TUPLE1(1) TUPLE1(1) HOOKS "raw=t ^ raw=R.", DATA,
     "torch._utils._rebuild_tensor_v2"},
    {"a negative axis",
     P2 GLOBAL("torch._utils", "_rebuild_tensor_v2") "raw=( " F32_16 INT(0) "raw=J i32=-2 raw=\\x85 " TUPLE1(1) HOOKS
     "raw=t ^ raw=R.",
     DATA, "torch._utils._rebuild_tensor_v2"},
    {"a negative stride",
     P2 GLOBAL("torch._utils", "_rebuild_tensor_v2") "raw=( " F32_16 INT(0) TUPLE1(1) "raw=J i32=-2 raw=\\x85 " HOOKS
                                                                                      "raw=t ^ raw=R.",
     DATA, "torch._utils._rebuild_tensor_v2"},
    {"a fractional offset",
     P2 GLOBAL("torch._utils", "_rebuild_tensor_v2") "raw=( " F32_16 "raw=G u64=0 " TUPLE1(1) TUPLE1(1) HOOKS
     "raw=t ^ raw=R.",
     DATA, "torch._utils._rebuild_tensor_v2"},
    {"more axes than strides", P2 VIEW(F32_16, 0, TUPLE2(2, 3), TUPLE1(1)) "^ raw=R.", DATA,
     "torch._utils._rebuild_tensor_v2"},
    {"nine axes", P2 VIEW(F32_16, 0, "raw=(NNNNNNNNNt ", TUPLE1(1)) "^ raw=R.", UNSUPPORTED, ""},
    {"a conjugated view",
     P2 GLOBAL("torch._utils", "_rebuild_tensor_v2") "raw=( " F32_16 INT(0) TUPLE1(1) TUPLE1(1) HOOKS
     "raw=} " STR("conj") "raw=\\x88st ^ raw=R.",
     UNSUPPORTED, ""},
    {"an untyped storage without a type",
     P2 GLOBAL("torch._utils", "_rebuild_tensor_v2") "raw=( raw=( " STR("storage") GLOBAL("torch", "UntypedStorage")
         STR("1") STR("cpu") INT(8) "raw=tQ " INT(0) TUPLE1(1) TUPLE1(1) HOOKS "raw=t ^ raw=R.",
     DATA, "torch._utils._rebuild_tensor_v2"},
    {"a parameter of no tensor", P2 GLOBAL("torch._utils", "_rebuild_parameter") "raw=NNN\\x87 ^ raw=R.", DATA,
     "torch._utils._rebuild_parameter"},
    {"rows past the storage", W(VIEW(F32_16, 0, TUPLE2(4, 5), TUPLE2(5, 1)) "^ raw=R "), DATA, "w"},
    {"an offset past the storage", W(VIEW(F32_16, 16, TUPLE1(1), TUPLE1(1)) "^ raw=R "), DATA, "w"},
    {"a stride past the storage", W(VIEW(F32_16, 0, TUPLE1(2), TUPLE1(16)) "^ raw=R "), DATA, "w"},
    {"a stride of 2^63 - 1",
     W(VIEW(F32_16, 0, TUPLE1(3), "raw=\\x8a\\x08\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x7f\\x85 ") "^ raw=R "), DATA,
     "w"},
    {"an offset of 2^63 - 1",
     W(GLOBAL("torch._utils", "_rebuild_tensor_v2") "raw=( " F32_16
                                                    "raw=\\x8a\\x08\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x7f " TUPLE1(1)
                                                        TUPLE1(1) HOOKS "raw=t ^ raw=R "),
     DATA, "w"},
    {"2^62 times 2^62 elements",
     W(VIEW(F32_16, 0,
            "raw=\\x8a\\x08\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x40\\x8a\\x08\\x00\\x00\\x00\\x00\\x00\\x00"
            "\\x00\\x40\\x86 ",
            TUPLE2(0, 0)) "^ raw=R "),
     DATA, "w"},
    {"2^40 elements of a few",
     W(VIEW(F32_16, 0, "raw=\\x8a\\x06\\x00\\x00\\x00\\x00\\x00\\x01\\x85 ", TUPLE1(0)) "^ raw=R "), LIMIT, "w"},
    /* names of tensors */
    {"an empty name", DICT("raw=U s8= " VIEW(F32_16, 0, TUPLE1(1), TUPLE1(1)) "^ raw=R "), DATA, ""},
    {"a name that is no UTF-8", DICT(STR("\\xff") VIEW(F32_16, 0, TUPLE1(1), TUPLE1(1)) "^ raw=R "), DATA, "\xff"},
    {"a name with a NUL", DICT(STR("a\\x00b") VIEW(F32_16, 0, TUPLE1(1), TUPLE1(1)) "^ raw=R "), DATA, "a"},
    {"a key that is a tuple", DICT("raw=NN\\x86 " VIEW(F32_16, 0, TUPLE1(1), TUPLE1(1)) "^ raw=R "), UNSUPPORTED, ""},
    {"a list that holds itself", P2 "^ raw=]q\\x00h\\x00 raw=a.", LIMIT, ""},
};

START_TEST(rejects_malformed_pickle)
{
    zip_builder z = {0};
    const uint64_t at = torch_archive_build(&z, pickles[_i].script, 0);
    expect_error(torch_archive_write(&z, &dir), pickles[_i].claim, (hone_status)pickles[_i].status, at,
                 pickles[_i].item);
    hone_zip_builder_free(&z);
}
END_TEST

/* Of a deflated pickle no position can be told but its own. */
START_TEST(errors_in_a_deflated_pickle_are_at_its_start)
{
    zip_builder z = {0};
    const uint64_t at =
        torch_archive_build(&z, W(VIEW(F32_16, 0, TUPLE2(4, 5), TUPLE2(5, 1)) "^ raw=R "), ZIP_DEFLATED);
    expect_error(torch_archive_write(&z, &dir), "rows past the storage", HONE_ERROR_DATA, at, "w");
    hone_zip_builder_free(&z);
}
END_TEST

/* --- bounds of time and memory --- */

/* Of this process: how busy the machine is with others does not count. */
static double seconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void put_repeated(hone_bytes *b, const char *text, size_t nbytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        hone_bytes_put(b, text, nbytes);
}

static void expect_limit(const hone_bytes *pickle)
{
    zip_builder z = {0};
    hone_zip_put(&z, "m/data.pkl", pickle->data, pickle->n, 0);
    hone_zip_built(&z, 0);
    const char *path = torch_archive_write(&z, &dir);
    hone_zip_builder_free(&z);
    const double start = seconds();
    ck_assert_int_eq(hone_checkpoint_open(path, NULL, &ckpt, &err), HONE_ERROR_LIMIT);
    ck_assert_msg(seconds() - start < 10, "%g s", seconds() - start); /* two without sanitizers */
}

START_TEST(a_pickle_of_too_many_values_is_refused)
{
    hone_bytes b = {0};
    hone_bytes_put(&b, "\x80\x02]", 3);
    put_repeated(&b, "]a", 2, 6 << 20);
    hone_bytes_put(&b, ".", 1);
    expect_limit(&b);
    ck_assert_ptr_nonnull(strstr(err.reason, "bytes of values"));
    hone_bytes_free(&b);
}
END_TEST

START_TEST(a_pickle_of_too_many_opcodes_is_refused)
{
    hone_bytes b = {0};
    hone_bytes_put(&b, "\x80\x02N", 3);
    put_repeated(&b, "20", 2, 9 << 20);
    hone_bytes_put(&b, ".", 1);
    expect_limit(&b);
    ck_assert_ptr_nonnull(strstr(err.reason, "opcodes"));
    hone_bytes_free(&b);
}
END_TEST

START_TEST(a_pickle_of_too_high_a_stack_is_refused)
{
    hone_bytes b = {0};
    hone_bytes_put(&b, "\x80\x02N", 3);
    put_repeated(&b, "2", 1, 5 << 20);
    expect_limit(&b);
    ck_assert_ptr_nonnull(strstr(err.reason, "stack"));
    ck_assert_uint_eq(err.offset, 30 + strlen("m/data.pkl") + 3 + (4 << 20) - 1);
    hone_bytes_free(&b);
}
END_TEST

START_TEST(a_pickle_of_too_many_marks_is_refused)
{
    hone_bytes b = {0};
    hone_bytes_put(&b, "\x80\x02N", 3);
    put_repeated(&b, "(", 1, 5 << 20);
    expect_limit(&b);
    ck_assert_ptr_nonnull(strstr(err.reason, "marks"));
    hone_bytes_free(&b);
}
END_TEST

/* Twenty-seven lists, each holding the one before it twice: 2^27 paths. */
START_TEST(containers_that_share_their_parts_are_not_walked_for_ever)
{
    hone_bytes b = {0};
    hone_bytes_put(&b, "\x80\x02]", 3);
    put_repeated(&b, "2\x86", 2, 27);
    hone_bytes_put(&b, ".", 1);
    expect_limit(&b);
    hone_bytes_free(&b);
}
END_TEST

/* --- valid oddities --- */

static void open_pickle(const char *script, unsigned flags)
{
    zip_builder z = {0};
    (void)torch_archive_build(&z, script, flags);
    open_source(torch_archive_write(&z, &dir));
    hone_zip_builder_free(&z);
}

static void expect_f32(const char *name, unsigned n_dims, uint64_t rows, uint64_t cols, const float *values)
{
    const hone_tensor *t = hone_checkpoint_find(ckpt, name);
    ck_assert_msg(t != NULL, "%s", name);
    ck_assert_int_eq(t->dtype, HONE_F32);
    ck_assert_uint_eq(t->n_dims, n_dims);
    if (n_dims > 0)
        ck_assert_uint_eq(t->shape[0], rows);
    if (n_dims > 1)
        ck_assert_uint_eq(t->shape[1], cols);
    float got[32];
    ck_assert_uint_le(t->nbytes, sizeof got);
    ck_assert_int_eq(hone_checkpoint_read(ckpt, t, 0, (size_t)t->nbytes, got, &err), HONE_OK);
    for (uint64_t i = 0; i < t->nelems; i++)
        ck_assert_msg(got[i] == values[i], "%s[%u]: %g", name, (unsigned)i, (double)got[i]);
}

#define LIST(...) ((const float[]){__VA_ARGS__})

START_TEST(reads_views)
{
    open_pickle(DICT(STR("rows") VIEW(F32_16, 2, TUPLE2(2, 3), TUPLE2(3, 1)) "raw=R " STR("transposed")
                         VIEW(F32_16, 0, TUPLE2(3, 2), TUPLE2(1, 4)) "raw=R " STR("column")
                             VIEW(F32_16, 3, TUPLE1(4), TUPLE1(4)) "raw=R " STR("expanded")
                                 VIEW(F32_16, 5, TUPLE2(2, 2), TUPLE2(0, 1)) "raw=R " STR("scalar")
                                     VIEW(F32_16, 15, "raw=) ", "raw=) ") "raw=R " STR("empty")
                                         VIEW(F32_16, 0, TUPLE2(0, 4), TUPLE2(4, 1)) "raw=R "),
                (unsigned)_i);
    ck_assert_uint_eq(hone_checkpoint_n_tensors(ckpt), 6);
    expect_f32("rows", 2, 2, 3, LIST(2, 3, 4, 5, 6, 7));
    expect_f32("transposed", 2, 3, 2, LIST(0, 4, 1, 5, 2, 6));
    expect_f32("column", 1, 4, 0, LIST(3, 7, 11, 15));
    expect_f32("expanded", 2, 2, 2, LIST(5, 6, 5, 6));
    expect_f32("scalar", 0, 0, 0, LIST(15));
    expect_f32("empty", 2, 0, 4, LIST(0));
}
END_TEST

START_TEST(reads_every_range_of_a_transposed_tensor)
{
    open_pickle(W(VIEW(F32_16, 1, TUPLE2(5, 3), TUPLE2(1, 5)) "raw=R "), 0);
    const hone_tensor *t = hone_checkpoint_find(ckpt, "w");
    uint8_t whole[60], part[60];
    ck_assert_int_eq(hone_checkpoint_read(ckpt, t, 0, sizeof whole, whole, &err), HONE_OK);
    for (size_t begin = 0; begin <= sizeof whole; begin++)
        for (size_t n = 0; n <= sizeof whole - begin; n++) {
            ck_assert_int_eq(hone_checkpoint_read(ckpt, t, begin, n, part, &err), HONE_OK);
            ck_assert_int_eq(memcmp(part, whole + begin, n), 0);
        }
}
END_TEST

START_TEST(reads_tied_tensors_and_parameters)
{
    open_pickle(DICT(STR("a") GOOD "raw=q\\x05 " STR("b") "raw=h\\x05 " STR("p")
                         GLOBAL("torch._utils", "_rebuild_parameter") "raw=h\\x05\\x88 " GLOBAL(
                             "collections", "OrderedDict") "raw=)R\\x87R "),
                0);
    for (const char *name = "abp"; *name; name++)
        expect_f32((const char[]){*name, 0}, 2, 2, 3, LIST(0, 1, 2, 3, 4, 5));
    ck_assert_uint_eq(hone_checkpoint_find(ckpt, "a")->offset, hone_checkpoint_find(ckpt, "p")->offset);
}
END_TEST

START_TEST(takes_off_wrappers_and_prefixes)
{
    static const struct {
        const char *script, *name;
    } cases[] = {
        {DICT(STR("state_dict") "raw=}( " STR("w") GOOD "raw=u "), "w"},
        {DICT(STR("model") "raw=}( " STR("state_dict") "raw=}( " STR("w") GOOD "raw=uu " STR("epoch") INT(3)), "w"},
        {DICT(STR("module") "raw=}( " STR("a") GOOD "raw=u " STR("optimizer") "raw=}( " STR("m") GOOD "raw=u "), "a"},
        {DICT(STR("model") "raw=}( " STR("a") GOOD "raw=u " STR("ema") GOOD), "model.a"},
        {DICT(STR("module.a.weight") GOOD), "a.weight"},
        {DICT(STR("module.a") GOOD STR("b") GOOD), "module.a"},
        {DICT(STR("layers") "raw=]( raw=} " STR("w") GOOD "raw=se "), "layers.0.w"},
        {DICT(INT(7) GOOD), "7"},
        {P2 GOOD "raw=. ", "tensor"},
        {P2 GLOBAL("collections", "OrderedDict") "raw=]( " STR("k") GOOD "raw=\\x86e\\x85R. ", "k"},
        {P2 GLOBAL("collections", "OrderedDict") "raw=)R( " STR("k") GOOD "raw=u raw=}b. ", "k"},
    };
    open_pickle(cases[_i].script, 0);
    ck_assert_ptr_nonnull(hone_checkpoint_find(ckpt, cases[_i].name));
}
END_TEST

START_TEST(knows_every_storage_type)
{
    static const struct {
        const char *type;
        hone_dtype dtype;
        unsigned nbytes;
    } rows[] = {{"DoubleStorage", HONE_F64, 8},    {"FloatStorage", HONE_F32, 4},       {"HalfStorage", HONE_F16, 2},
                {"BFloat16Storage", HONE_BF16, 2}, {"LongStorage", HONE_I64, 8},        {"IntStorage", HONE_I32, 4},
                {"ShortStorage", HONE_I16, 2},     {"CharStorage", HONE_I8, 1},         {"ByteStorage", HONE_U8, 1},
                {"BoolStorage", HONE_BOOL, 1},     {"ComplexFloatStorage", HONE_C64, 8}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char script[1024];
        (void)snprintf(
            script, sizeof script,
            W(GLOBAL("torch._utils", "_rebuild_tensor_v2") "raw=(( " STR("storage") "raw=ctorch\\x0a%s\\x0a " STR("1")
                  STR("cpu") "raw=K u8=%u raw=tQ " INT(0) TUPLE1(1) TUPLE1(1) HOOKS "raw=tR "),
            rows[i].type, 8 / rows[i].nbytes);
        open_pickle(script, 0);
        ck_assert_int_eq(hone_checkpoint_find(ckpt, "w")->dtype, rows[i].dtype);
    }
}
END_TEST

/* torch.uint16 and the 8-bit floats have no storage class of their own. */
START_TEST(knows_the_types_of_untyped_storages)
{
    static const struct {
        const char *type;
        hone_dtype dtype;
    } rows[] = {{"float8_e4m3fn", HONE_F8_E4M3},
                {"float8_e5m2", HONE_F8_E5M2},
                {"float8_e8m0fnu", HONE_F8_E8M0},
                {"uint16", HONE_U16},
                {"uint32", HONE_U32},
                {"uint64", HONE_U64},
                {"bfloat16", HONE_BF16}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char script[1024];
        (void)snprintf(script, sizeof script,
                       W(GLOBAL("torch._utils", "_rebuild_tensor_v3") "raw=(( " STR("storage")
                             GLOBAL("torch.storage", "UntypedStorage") STR("1") STR("cpu") INT(8) "raw=tQ " INT(0)
                                 TUPLE1(1) TUPLE1(1) HOOKS "raw=ctorch\\x0a%s\\x0a raw=tR "),
                       rows[i].type);
        open_pickle(script, 0);
        ck_assert_int_eq(hone_checkpoint_find(ckpt, "w")->dtype, rows[i].dtype);
    }
}
END_TEST

START_TEST(reads_big_endian_archives)
{
    hone_bytes b = {0};
    hone_bytes_script(&b, W(VIEW(STORAGE("FloatStorage", "0", 2), 0, TUPLE1(2), TUPLE1(1)) "raw=R "));
    zip_builder z = {0};
    hone_zip_put(&z, "any name/data.pkl", b.data, b.n, 0);
    hone_zip_put(&z, "any name/data/0", "\x3f\x80\0\0\xc0\x40\0\0", 8, ZIP_DEFLATED * (unsigned)_i);
    hone_zip_put(&z, "any name/byteorder", "big", 3, 0);
    hone_zip_built(&z, 0);
    open_source(torch_archive_write(&z, &dir));
    expect_f32("w", 1, 2, 0, LIST(1, -3));
    hone_zip_builder_free(&z);
    hone_bytes_free(&b);
}
END_TEST

START_TEST(accepts_names_in_unicode_and_other_objects)
{
    open_pickle(DICT(STR("\xe5\xb1\x82.0") GOOD STR("f") "raw=G u64=0 " STR("n") "raw=N " STR("dev")
                         GLOBAL("torch", "device") STR("cpu") "raw=\\x85R " STR("size") GLOBAL("torch", "Size")
                             TUPLE2(2, 3) "raw=\\x85R "),
                0);
    ck_assert_uint_eq(hone_checkpoint_n_tensors(ckpt), 1);
    ck_assert_ptr_nonnull(hone_checkpoint_find(ckpt, "\xe5\xb1\x82.0"));
}
END_TEST

START_TEST(every_failing_allocation_is_reported)
{
    zip_builder z = {0};
    (void)torch_archive_build(&z, DICT(STR("a") GOOD STR("b") VIEW(F32_16, 0, TUPLE2(3, 2), TUPLE2(1, 4)) "raw=R "),
                              ZIP_DEFLATED * (unsigned)_i);
    const char *path = torch_archive_write(&z, &dir);
    hone_zip_builder_free(&z);
    fail_each_allocation_of_opening(path, 11);
}
END_TEST

/* --- shards --- */

static void write_shard(const char *name, const char *script)
{
    zip_builder z = {0};
    (void)torch_archive_build(&z, script, 0);
    (void)hone_temp_file(&dir, name, z.file.data, z.file.n);
    hone_zip_builder_free(&z);
}

START_TEST(reads_shards_by_their_index_as_they_are_named)
{
    (void)hone_temp_text(&dir, "config.json", "{}");
    write_shard("p-1.bin", DICT(STR("module.a") GOOD));
    write_shard("p-2.bin", DICT(STR("module.b") GOOD));
    (void)hone_temp_text(&dir, "pytorch_model.bin.index.json",
                         "{\"weight_map\": {\"module.a\": \"p-1.bin\", \"module.b\": \"p-2.bin\"}}");
    open_source(dir.path);
    expect_f32("module.a", 2, 2, 3, LIST(0, 1, 2, 3, 4, 5));
    expect_f32("module.b", 2, 2, 3, LIST(0, 1, 2, 3, 4, 5));
}
END_TEST

Suite *hone_suite_pytorch(void)
{
    Suite *suite = suite_create("pytorch");
    TCase *core = tcase_create("core");
    tcase_add_checked_fixture(core, set_up_source, tear_down_source);
    tcase_add_loop_test(core, reads_views, 0, 4);
    tcase_add_test(core, reads_every_range_of_a_transposed_tensor);
    tcase_add_test(core, reads_tied_tensors_and_parameters);
    tcase_add_loop_test(core, takes_off_wrappers_and_prefixes, 0, 11);
    tcase_add_test(core, knows_every_storage_type);
    tcase_add_test(core, knows_the_types_of_untyped_storages);
    tcase_add_loop_test(core, reads_big_endian_archives, 0, 2);
    tcase_add_test(core, accepts_names_in_unicode_and_other_objects);
    tcase_add_loop_test(core, every_failing_allocation_is_reported, 0, 2);
    tcase_add_test(core, reads_shards_by_their_index_as_they_are_named);
    suite_add_tcase(suite, core);
    TCase *bad = tcase_create("malformed");
    tcase_add_checked_fixture(bad, set_up_source, tear_down_source);
    tcase_add_loop_test(bad, rejects_malformed_pickle, 0, COUNT(pickles));
    tcase_add_test(bad, errors_in_a_deflated_pickle_are_at_its_start);
    suite_add_tcase(suite, bad);
    TCase *limits = tcase_create("limits");
    tcase_add_checked_fixture(limits, set_up_source, tear_down_source);
    tcase_set_timeout(limits, 60);
    tcase_add_test(limits, a_pickle_of_too_many_values_is_refused);
    tcase_add_test(limits, a_pickle_of_too_many_opcodes_is_refused);
    tcase_add_test(limits, a_pickle_of_too_high_a_stack_is_refused);
    tcase_add_test(limits, a_pickle_of_too_many_marks_is_refused);
    tcase_add_test(limits, containers_that_share_their_parts_are_not_walked_for_ever);
    suite_add_tcase(suite, limits);
    return suite;
}
