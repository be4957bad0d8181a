/* SPDX-License-Identifier: MIT */
/* PyTorch checkpoints in the form before 1.6. */
#include <check.h>
#include <string.h>

#include "tests/support/source_fixture.h"
#include "tests/support/row_count.h"
#include "tests/support/torch_archive.h"

Suite *hone_suite_pytorch_legacy(void);

/* --- the form before 1.6 --- */

#define MAGIC "raw=\\x80\\x02\\x8a\\x0a\\x6c\\xfc\\x9c\\x46\\xf9\\x20\\x6a\\xa8\\x50\\x19. "
#define PROTOCOL P2 "raw=M u16=1001 raw=. "
#define FACTS P2 "raw=}. "
#define LEGACY_STORAGE(type, key, n)                                                                                   \
    "raw=( " STR("storage") GLOBAL("torch", type) STR(key) STR("cpu") INT(n) "raw=Nt raw=Q "
#define OLD(key, n, shape, strides)                                                                                    \
    GLOBAL("torch._utils", "_rebuild_tensor_v2")                                                                       \
    "raw=( " LEGACY_STORAGE("ByteStorage", key, n) INT(0) shape strides HOOKS "raw=tR "
#define OLD_DICT DICT(STR("a") OLD("x", 4, TUPLE1(4), TUPLE1(1)) STR("b") OLD("y", 2, TUPLE1(2), TUPLE1(1)))
#define KEYS(keys) P2 "raw=]( " keys "raw=e. "
#define HEAD MAGIC PROTOCOL FACTS OLD_DICT
#define BOTH KEYS(STR("x") STR("y"))

static const struct {
    const char *claim, *script;
    hone_status status;
    const char *item;
} legacies[] = {
    {"a pickle of something else", "^ " P2 "raw=}.", HONE_ERROR_FORMAT, ""},
    {"another magic number", "^ raw=\\x80\\x02\\x8a\\x0a\\x6c\\xfc\\x9c\\x46\\xf9\\x20\\x6a\\xa8\\x50\\x18.",
     HONE_ERROR_FORMAT, ""},
    {"a magic number cut short", "raw=\\x80\\x02 ^ raw=\\x8a\\x0a\\x6c\\xfc", HONE_ERROR_DATA, ""},
    {"nothing after the magic number", MAGIC "^", HONE_ERROR_DATA, ""},
    {"protocol 1002", MAGIC "^ " P2 "raw=M u16=1002 raw=.", HONE_ERROR_UNSUPPORTED, ""},
    {"a protocol that is a string", MAGIC "^ " P2 STR("1001") "raw=.", HONE_ERROR_UNSUPPORTED, ""},
    {"facts cut short", MAGIC PROTOCOL P2 "raw=} ^", HONE_ERROR_DATA, ""},
    {"an object that is a function", MAGIC PROTOCOL FACTS P2 "^ " GLOBAL("os", "system") "raw=.",
     HONE_ERROR_UNSUPPORTED, "os.system"},
    {"no list of storages", HEAD "^", HONE_ERROR_DATA, ""},
    {"a dict of storages", HEAD "^ " P2 "raw=}.", HONE_ERROR_DATA, ""},
    {"a storage that no tensor uses", HEAD P2 "raw=]( ^ " STR("z") "raw=e.", HONE_ERROR_DATA, ""},
    {"a storage listed twice", HEAD P2 "raw=]( " STR("x") "^ " STR("x") "raw=e. u64=4 zero=4", HONE_ERROR_DATA, ""},
    {"a storage key that is a number", HEAD P2 "raw=]( ^ " INT(1) "raw=e.", HONE_ERROR_DATA, ""},
    {"a storage key of 300 bytes", HEAD P2 "raw=]( ^ raw=X u32=300 zero=300 raw=e.", HONE_ERROR_DATA, ""},
    {"no storages", HEAD BOTH "^", HONE_ERROR_DATA, "x"},
    {"a count cut short", HEAD BOTH "^ u32=4", HONE_ERROR_DATA, "x"},
    {"another count", HEAD BOTH "^ u64=5 zero=5", HONE_ERROR_DATA, "x"},
    {"a storage cut short", HEAD BOTH "^ u64=4 zero=3", HONE_ERROR_DATA, "x"},
    {"no second storage", HEAD BOTH "u64=4 zero=4 ^", HONE_ERROR_DATA, "y"},
    {"bytes after the last storage", HEAD BOTH "u64=4 zero=4 u64=2 zero=2 ^ zero=1", HONE_ERROR_DATA, ""},
    {"two sizes of one storage",
     MAGIC PROTOCOL FACTS DICT(STR("a") GLOBAL("torch._utils", "_rebuild_tensor_v2") "raw=( raw=( " STR("storage")
                                   GLOBAL("torch", "ByteStorage") STR("x") STR("cpu") INT(4) "raw=Nt ^ raw=Q " INT(0)
                                       TUPLE1(4) TUPLE1(1) HOOKS "raw=tR " STR("b") OLD("x", 2, TUPLE1(2), TUPLE1(1))),
     HONE_ERROR_DATA, "x"},
    {"a part beyond its storage",
     MAGIC PROTOCOL FACTS P2 "raw=( " STR("storage") GLOBAL("torch", "ByteStorage") STR("x") STR("cpu")
         INT(4) "raw=( " STR("v") INT(2) INT(3) "raw=tt ^ raw=Q.",
     HONE_ERROR_DATA, ""},
    {"a storage of quantized numbers",
     MAGIC PROTOCOL FACTS DICT(STR("a") GLOBAL("torch._utils", "_rebuild_tensor_v2") "raw=( " LEGACY_STORAGE(
         "QInt8Storage", "x", 4) INT(0) TUPLE1(4) TUPLE1(1) HOOKS "raw=tR ") KEYS(STR("x")) "^ u64=4 zero=4",
     HONE_ERROR_UNSUPPORTED, "x"},
    {"a tensor beyond its storage",
     MAGIC PROTOCOL FACTS DICT(STR("a") GLOBAL("torch._utils", "_rebuild_tensor_v2") "raw=( " LEGACY_STORAGE(
         "ByteStorage", "x", 4) INT(1) TUPLE1(4) TUPLE1(1) HOOKS "raw=t ^ raw=R ") KEYS(STR("x")) "u64=4 zero=4",
     HONE_ERROR_DATA, "a"},
};

START_TEST(rejects_malformed_old_file)
{
    hone_bytes b = {0};
    hone_bytes_script(&b, legacies[_i].script);
    const char *path = hone_temp_file(&dir, "x.pt", b.data, b.n);
    expect_error(path, legacies[_i].claim, legacies[_i].status, b.mark, legacies[_i].item);
    hone_bytes_free(&b);
}
END_TEST

static void open_old(const char *script)
{
    hone_bytes b = {0};
    hone_bytes_script(&b, script);
    open_source(hone_temp_file(&dir, "x.pt", b.data, b.n));
    hone_bytes_free(&b);
}

START_TEST(reads_old_files)
{
    open_old(HEAD KEYS(STR("y") STR("x")) "u64=2 raw=yz u64=4 raw=abcd");
    uint8_t bytes[4];
    read_source_bytes("a", bytes, 4);
    ck_assert_mem_eq(bytes, "abcd", 4);
    read_source_bytes("b", bytes, 2);
    ck_assert_mem_eq(bytes, "yz", 2);
}
END_TEST

START_TEST(reads_parts_of_old_storages)
{
    open_old(MAGIC PROTOCOL FACTS DICT(
        STR("a") GLOBAL("torch._utils", "_rebuild_tensor_v2") "raw=( raw=( " STR("storage")
            GLOBAL("torch", "ByteStorage") STR("x") STR("cpu") INT(6) "raw=( " STR("v") INT(2)
                INT(3) "raw=tt raw=Q " INT(1) TUPLE1(2) TUPLE1(1) HOOKS "raw=tR ") KEYS(STR("x")) "u64=6 raw=abcdef");
    uint8_t bytes[2];
    read_source_bytes("a", bytes, 2);
    ck_assert_mem_eq(bytes, "de", 2);
}
END_TEST

Suite *hone_suite_pytorch_legacy(void)
{
    Suite *suite = suite_create("pytorch_legacy");
    TCase *core = tcase_create("core");
    tcase_add_checked_fixture(core, set_up_source, tear_down_source);
    tcase_add_test(core, reads_old_files);
    tcase_add_test(core, reads_parts_of_old_storages);
    suite_add_tcase(suite, core);
    TCase *bad = tcase_create("malformed");
    tcase_add_checked_fixture(bad, set_up_source, tear_down_source);
    tcase_add_loop_test(bad, rejects_malformed_old_file, 0, COUNT(legacies));
    suite_add_tcase(suite, bad);
    return suite;
}
