/* SPDX-License-Identifier: MIT */
/* Zip files damaged at every place that their reader looks at. */
#include <check.h>
#include <string.h>

#include "tests/support/source_fixture.h"
#include "tests/support/row_count.h"
#include "tests/support/torch_archive.h"

Suite *hone_suite_zip(void);

enum { DATA = HONE_ERROR_DATA, UNSUPPORTED = HONE_ERROR_UNSUPPORTED };

/* --- damaged archives --- */

/* What an offset counts from. */
enum place { LOCAL, CONTENT, RECORD, END, END64, LOCATOR, FILE_END };

static size_t position(const zip_builder *z, enum place place, int entry)
{
    switch (place) {
    case LOCAL:
        return z->entries[entry].local_at;
    case CONTENT:
        return z->entries[entry].data_at;
    case RECORD:
        return z->entries[entry].record_at;
    case END:
        return z->end_at;
    case LOCATOR:
        return z->end_at - 20;
    case END64:
        return z->end_at - 20 - 56;
    default:
        return z->file.n;
    }
}

/* nbytes of value are written at offset within a place; the error is expected at the start of another. */
static const struct {
    const char *claim;
    unsigned flags;
    enum place place;
    int entry;
    unsigned offset, nbytes;
    uint64_t value;
    int status;
    enum place at;
    int at_entry;
    const char *item;
} damages[] = {
    {"a local header without magic", 0, LOCAL, DATA0, 0, 4, 0, DATA, LOCAL, DATA0, "m/data/0"},
    {"a local name that differs", 0, LOCAL, DATA0, 37, 1, '1', DATA, LOCAL, DATA0, "m/data/0"},
    {"a local name of another length", 0, LOCAL, DATA0, 26, 2, 7, DATA, LOCAL, DATA0, "m/data/0"},
    {"a local method that differs", 0, LOCAL, DATA0, 8, 2, 8, DATA, LOCAL, DATA0, "m/data/0"},
    {"a local encryption flag", 0, LOCAL, DATA0, 6, 2, 1, DATA, LOCAL, DATA0, "m/data/0"},
    {"a local CRC that differs", 0, LOCAL, DATA0, 14, 4, 1, DATA, LOCAL, DATA0, "m/data/0"},
    {"a local size that differs", 0, LOCAL, DATA0, 22, 4, 60, DATA, LOCAL, DATA0, "m/data/0"},
    {"a local compressed size that differs", 0, LOCAL, DATA0, 18, 4, 60, DATA, LOCAL, DATA0, "m/data/0"},
    {"a local extra field into the directory", 0, LOCAL, VERSION, 28, 2, 60, DATA, LOCAL, VERSION, "m/version"},
    {"local sizes missing from the ZIP64 field", ZIP_WIDE, LOCAL, DATA0, 40, 2, 8, DATA, LOCAL, DATA0, "m/data/0"},
    {"an encrypted entry", 0, RECORD, DATA0, 8, 2, 1, UNSUPPORTED, RECORD, DATA0, "m/data/0"},
    {"a strongly encrypted entry", 0, RECORD, DATA0, 8, 2, 0x40, UNSUPPORTED, RECORD, DATA0, "m/data/0"},
    {"masked headers", 0, RECORD, DATA0, 8, 2, 0x2000, UNSUPPORTED, RECORD, DATA0, "m/data/0"},
    {"a patch", 0, RECORD, DATA0, 8, 2, 0x20, UNSUPPORTED, RECORD, DATA0, "m/data/0"},
    {"method LZMA", 0, RECORD, DATA0, 10, 2, 14, UNSUPPORTED, RECORD, DATA0, "m/data/0"},
    {"a stored entry of two sizes", 0, RECORD, DATA0, 24, 4, 60, DATA, RECORD, DATA0, "m/data/0"},
    {"a record without magic", 0, RECORD, DATA0, 0, 4, 0, DATA, RECORD, DATA0, ""},
    {"a record whose name runs out", 0, RECORD, VERSION, 28, 2, 60, DATA, RECORD, VERSION, ""},
    {"a record without a name", 0, RECORD, VERSION, 28, 4, 9u << 16, DATA, RECORD, VERSION, ""},
    {"a name with a NUL", 0, RECORD, DATA0, 50, 1, 0, DATA, RECORD, DATA0, ""},
    {"a second entry of one name", 0, RECORD, DATA1, 53, 1, '0', DATA, LOCAL, DATA1, "m/data/0"},
    {"an entry of another disk", 0, RECORD, DATA0, 34, 2, 1, UNSUPPORTED, RECORD, DATA0, "m/data/0"},
    {"a local header outside", 0, RECORD, DATA0, 42, 4, 0x7fffffff, DATA, RECORD, DATA0, "m/data/0"},
    {"a local header inside the directory", 0, RECORD, DATA0, 42, 4, 1, DATA, FILE_END, -1, "m/data/0"},
    {"data into the directory", 0, RECORD, VERSION, 20, 8, 0x0000003c0000003cull, DATA, LOCAL, VERSION, "m/version"},
    {"ZIP64 sizes without their field", 0, RECORD, DATA0, 20, 4, 0xffffffff, DATA, RECORD, DATA0, "m/data/0"},
    {"ZIP64 sizes cut short", ZIP_WIDE, RECORD, DATA0, 56, 2, 8, DATA, RECORD, DATA0, "m/data/0"},
    {"several disks", 0, END, 0, 4, 2, 1, UNSUPPORTED, END, 0, ""},
    {"entries on other disks", 0, END, 0, 8, 2, 4, UNSUPPORTED, END, 0, ""},
    {"one entry fewer", 0, END, 0, 8, 4, 4u << 16 | 4, DATA, RECORD, VERSION, ""},
    {"one entry more", 0, END, 0, 8, 4, 6u << 16 | 6, DATA, END, 0, ""},
    {"60000 entries", 0, END, 0, 8, 4, 60000u << 16 | 60000, DATA, END, 0, ""},
    {"a directory elsewhere", 0, END, 0, 16, 4, 3, DATA, END, 0, ""},
    {"a directory of another size", 0, END, 0, 12, 4, 3, DATA, END, 0, ""},
    {"a comment that is not there", 0, END, 0, 20, 2, 1, DATA, FILE_END, 0, ""},
    {"a ZIP64 end elsewhere", ZIP_WIDE, LOCATOR, 0, 8, 8, UINT64_MAX, DATA, LOCATOR, 0, ""},
    {"a ZIP64 end without magic", ZIP_WIDE, END64, 0, 0, 4, 0, DATA, END64, 0, ""},
    {"a ZIP64 end of another size", ZIP_WIDE, END64, 0, 4, 8, 45, DATA, END64, 0, ""},
    {"ZIP64: several disks", ZIP_WIDE, LOCATOR, 0, 16, 4, 2, UNSUPPORTED, LOCATOR, 0, ""},
    {"ZIP64: entries elsewhere", ZIP_WIDE, END64, 0, 24, 8, 1, UNSUPPORTED, END64, 0, ""},
    {"ZIP64: 2^60 entries", ZIP_WIDE, END64, 0, 31, 9, 0x1000000000000010ull, UNSUPPORTED, END64, 0, ""},
    {"ZIP64: a directory elsewhere", ZIP_WIDE, END64, 0, 48, 8, 1ull << 60, DATA, END64, 0, ""},
    {"ends that contradict each other", ZIP_WIDE, END, 0, 12, 4, 3, DATA, END64, 0, ""},
    {"a stored pickle with another CRC", 0, CONTENT, PKL, 4, 1, 'x', DATA, CONTENT, PKL, "m/data.pkl"},
    {"deflated data of another kind", ZIP_DEFLATED, CONTENT, PKL, 0, 1, 0xff, DATA, CONTENT, PKL, "m/data.pkl"},
    {"a deflated storage that is damaged", ZIP_DEFLATED, CONTENT, DATA0, 0, 1, 0xff, DATA, CONTENT, DATA0, "m/data/0"},
    {"a byte order of noise", 0, CONTENT, ORDER, 0, 1, 'x', DATA, CONTENT, ORDER, "m/byteorder"},
    {"a version of noise", 0, CONTENT, VERSION, 0, 1, 'x', DATA, CONTENT, VERSION, "m/version"},
};

START_TEST(rejects_damaged_archive)
{
    zip_builder z = {0};
    (void)torch_archive_build(&z, W(GOOD), damages[_i].flags);
    uint8_t *p = z.file.data + position(&z, damages[_i].place, damages[_i].entry) + damages[_i].offset;
    for (unsigned i = 0; i < damages[_i].nbytes && i < 8; i++)
        p[i] = (uint8_t)(damages[_i].value >> 8 * i);
    const char *path = torch_archive_write(&z, &dir);
    const size_t at =
        damages[_i].at == FILE_END && damages[_i].at_entry < 0 ? 1 : position(&z, damages[_i].at, damages[_i].at_entry);
    expect_error(path, damages[_i].claim, (hone_status)damages[_i].status, at, damages[_i].item);
    hone_zip_builder_free(&z);
}
END_TEST

START_TEST(the_archive_that_is_damaged_is_good)
{
    static const unsigned flags[] = {
        0, ZIP_DEFLATED, ZIP_WIDE, ZIP_DEFERRED, ZIP_NO_CRC, ZIP_WIDE | ZIP_DEFLATED, ZIP_DEFERRED | ZIP_DEFLATED};
    zip_builder z = {0};
    (void)torch_archive_build(&z, W(GOOD), flags[_i]);
    /* A deflated entry without CRC is nothing that torch writes. */
    open_source(torch_archive_write(&z, &dir));
    ck_assert_str_eq(hone_checkpoint_format(ckpt), "pytorch");
    float values[6];
    read_source_bytes("w", values, sizeof values);
    for (int i = 0; i < 6; i++)
        ck_assert(values[i] == (float)i);
    hone_zip_builder_free(&z);
}
END_TEST

/* Where the end is looked for last, a cut file has none; where the pickle, storages and all come first. */
START_TEST(rejects_an_archive_cut_anywhere)
{
    zip_builder z = {0};
    (void)torch_archive_build(&z, W(GOOD), 0);
    for (size_t n = 4; n < z.file.n; n += 37) {
        const char *path = hone_temp_file(&dir, "x.pt", z.file.data, n);
        expect_error(path, "cut", HONE_ERROR_DATA, n, "");
    }
    hone_zip_builder_free(&z);
}
END_TEST

static const struct {
    const char *claim;
    const char *names[3];
    hone_status status;
    enum place at;
    int entry;
    const char *item;
} archives[] = {
    {"nothing that is a checkpoint", {"a", "b", NULL}, HONE_ERROR_FORMAT, LOCAL, 0, ""},
    {"data.pkl without a folder", {"data.pkl", NULL, NULL}, HONE_ERROR_FORMAT, LOCAL, 0, ""},
    {"data.pkl two folders down", {"a/b/data.pkl", NULL, NULL}, HONE_ERROR_FORMAT, LOCAL, 0, ""},
    {"two checkpoints", {"a/data.pkl", "b/data.pkl", NULL}, HONE_ERROR_DATA, RECORD, 1, "b/data.pkl"},
    {"two entries of one name", {"a/data.pkl", "x", "x"}, HONE_ERROR_DATA, RECORD, 2, "x"},
};

START_TEST(rejects_archive_of_other_entries)
{
    zip_builder z = {0};
    for (int i = 0; i < 3 && archives[_i].names[i]; i++)
        hone_zip_put(&z, archives[_i].names[i], "\x80\x02}.", 4, 0);
    hone_zip_built(&z, 0);
    expect_error(torch_archive_write(&z, &dir), archives[_i].claim, archives[_i].status,
                 position(&z, archives[_i].at, archives[_i].entry), archives[_i].item);
    hone_zip_builder_free(&z);
}
END_TEST

START_TEST(rejects_an_archive_without_entries)
{
    zip_builder z = {0};
    hone_zip_built(&z, 0);
    expect_error(torch_archive_write(&z, &dir), "no entries", HONE_ERROR_FORMAT, 0, "");
    hone_zip_builder_free(&z);
}
END_TEST

START_TEST(rejects_versions_above_10)
{
    zip_builder z = {0};
    hone_zip_put(&z, "m/data.pkl", "\x80\x02}.", 4, 0);
    hone_zip_put(&z, "m/version", "11\n", 3, 0);
    hone_zip_built(&z, 0);
    expect_error(torch_archive_write(&z, &dir), "version 11", HONE_ERROR_UNSUPPORTED, z.entries[1].data_at,
                 "m/version");
    hone_zip_builder_free(&z);
}
END_TEST

/* 64 KiB of archive that would inflate to 64 MiB and more. */
START_TEST(rejects_a_bomb_of_a_record)
{
    static char zeros[1 << 20];
    zip_builder z = {0};
    hone_zip_put(&z, "m/data.pkl", "\x80\x02}.", 4, 0);
    hone_zip_put(&z, "m/version", zeros, sizeof zeros, ZIP_DEFLATED);
    hone_zip_built(&z, 0);
    expect_error(torch_archive_write(&z, &dir), "a version of a megabyte", HONE_ERROR_LIMIT, z.entries[1].record_at,
                 "m/version");
    hone_zip_builder_free(&z);
}
END_TEST

START_TEST(a_comment_behind_the_end_is_accepted)
{
    zip_builder z = {0};
    (void)torch_archive_build(&z, W(GOOD), 0);
    z.file.data[z.end_at + 20] = 5;
    hone_bytes_put(&z.file, "hello", 5);
    open_source(torch_archive_write(&z, &dir));
    hone_zip_builder_free(&z);
}
END_TEST

Suite *hone_suite_zip(void)
{
    Suite *suite = suite_create("zip");
    TCase *core = tcase_create("core");
    tcase_add_checked_fixture(core, set_up_source, tear_down_source);
    tcase_add_loop_test(core, the_archive_that_is_damaged_is_good, 0, 7);
    tcase_add_test(core, a_comment_behind_the_end_is_accepted);
    suite_add_tcase(suite, core);
    TCase *bad = tcase_create("malformed");
    tcase_add_checked_fixture(bad, set_up_source, tear_down_source);
    tcase_add_loop_test(bad, rejects_damaged_archive, 0, COUNT(damages));
    tcase_add_test(bad, rejects_an_archive_cut_anywhere);
    tcase_add_loop_test(bad, rejects_archive_of_other_entries, 0, COUNT(archives));
    tcase_add_test(bad, rejects_an_archive_without_entries);
    tcase_add_test(bad, rejects_versions_above_10);
    tcase_add_test(bad, rejects_a_bomb_of_a_record);
    suite_add_tcase(suite, bad);
    return suite;
}
