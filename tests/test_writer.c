/* SPDX-License-Identifier: MIT */
/* Outputs and inputs on disk: the atomic writer, the journal, files that change while they are read. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/writer.h"
#include "base/journal.h"
#include "convert/output_guard.h"
#include "tests/support/temp_dir.h"

Suite *hone_suite_writer(void);

static hone_temp_dir dir;
static hone_error err;
static char out[512], partial[600], journal_path[600];

static void set_up(void)
{
    hone_temp_dir_init(&dir);
    (void)snprintf(out, sizeof out, "%s", hone_temp_path(&dir, "out"));
    (void)snprintf(partial, sizeof partial, "%s.hone-partial", out);
    (void)snprintf(journal_path, sizeof journal_path, "%s.hone-journal", out);
    memset(&err, 0, sizeof err);
}

static void tear_down(void)
{
    hone_temp_dir_deinit(&dir);
}

static uint64_t size_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : UINT64_MAX;
}

static void expect_contents(const char *path, const char *expected)
{
    char *text;
    size_t len;
    ck_assert_int_eq(hone_file_slurp(path, 1000, &text, &len, &err), HONE_OK);
    ck_assert_str_eq(text, expected);
    hone_release(text);
}

static hone_writer open_writer(uint64_t nbytes, hone_writer_options opts)
{
    hone_writer w;
    const hone_status status = hone_writer_open(out, nbytes, opts, &w, &err);
    ck_assert_msg(status == HONE_OK, "%s", err.reason);
    return w;
}

START_TEST(an_output_appears_when_it_is_committed)
{
    hone_writer w = open_writer(6, (hone_writer_options){0});
    ck_assert(!w.resumed);
    ck_assert_uint_eq(size_of(partial), 0); /* until its owner has written down whose it is */
    ck_assert_int_eq(hone_writer_reserve(&w, &err), HONE_OK);
    ck_assert_uint_eq(size_of(partial), 6);
    ck_assert_int_eq(hone_writer_write(&w, 3, "def", 3, &err), HONE_OK);
    ck_assert_int_eq(hone_writer_write(&w, 0, "abc", 3, &err), HONE_OK);
    ck_assert_int_eq(hone_writer_sync(&w, &err), HONE_OK);
    ck_assert(!hone_file_exists(out));
    ck_assert_int_eq(hone_writer_commit(&w, &err), HONE_OK);
    ck_assert(!hone_file_exists(partial));
    expect_contents(out, "abcdef");
}
END_TEST

START_TEST(a_suspended_output_is_resumed_with_its_bytes)
{
    hone_writer w = open_writer(4, (hone_writer_options){0});
    ck_assert_int_eq(hone_writer_reserve(&w, &err), HONE_OK);
    ck_assert_int_eq(hone_writer_write(&w, 0, "half", 4, &err), HONE_OK);
    hone_writer_suspend(&w);
    w = open_writer(4, (hone_writer_options){0});
    ck_assert(w.resumed);
    char bytes[4];
    ck_assert_int_eq(hone_writer_reserve(&w, &err), HONE_OK);
    ck_assert_int_eq(hone_writer_read(&w, 0, bytes, 4, &err), HONE_OK);
    ck_assert_mem_eq(bytes, "half", 4);
    hone_writer_suspend(&w);
    ck_assert_int_eq(hone_writer_open(out, 5, (hone_writer_options){0}, &w, &err), HONE_ERROR_ARG);
    ck_assert_ptr_nonnull(strstr(err.reason, "--restart"));
    expect_contents(partial, "half");
    w = open_writer(5, (hone_writer_options){.restart = true});
    ck_assert(!w.resumed);
    hone_writer_abort(&w);
    ck_assert(!hone_file_exists(partial));
}
END_TEST

START_TEST(a_file_that_appeared_meanwhile_is_not_replaced)
{
    hone_writer w = open_writer(3, (hone_writer_options){0});
    ck_assert_int_eq(hone_writer_reserve(&w, &err), HONE_OK);
    ck_assert_int_eq(hone_writer_write(&w, 0, "new", 3, &err), HONE_OK);
    (void)hone_temp_text(&dir, "out", "precious");
    ck_assert_int_eq(hone_writer_commit(&w, &err), HONE_ERROR_ARG);
    expect_contents(out, "precious");
    expect_contents(partial, "new");
    w = open_writer(3, (hone_writer_options){.overwrite = true});
    ck_assert_int_eq(hone_writer_commit(&w, &err), HONE_OK);
    expect_contents(out, "new");
}
END_TEST

START_TEST(a_disk_too_small_is_noticed_before_the_start)
{
    hone_writer w;
    ck_assert_int_eq(hone_writer_open(out, UINT64_C(1) << 60, (hone_writer_options){0}, &w, &err), HONE_ERROR_IO);
    ck_assert_int_eq(err.os_errno, ENOSPC);
    ck_assert_ptr_nonnull(strstr(err.reason, "1152921504606846976 more bytes of disk"));
    ck_assert_str_eq(err.file, out);
    ck_assert(!hone_file_exists(partial));
}
END_TEST

START_TEST(a_partial_file_that_is_a_link_is_not_followed)
{
    const char *elsewhere = hone_temp_text(&dir, "elsewhere", "precious");
    ck_assert_int_eq(symlink(elsewhere, partial), 0);
    hone_writer w;
    ck_assert_int_eq(hone_writer_open(out, 3, (hone_writer_options){.restart = true}, &w, &err), HONE_ERROR_IO);
    expect_contents(hone_temp_path(&dir, "elsewhere"), "precious");
}
END_TEST

static hone_journal open_journal(bool resume, uint64_t identity, uint64_t n_chunks)
{
    hone_journal journal;
    const hone_status status = hone_journal_open(out, resume, identity, n_chunks, &journal, &err);
    ck_assert_msg(status == HONE_OK, "%s", err.reason);
    return journal;
}

/* A journal of 10 chunks, three of them done, and closed again. */
static void write_journal(void)
{
    hone_journal journal = open_journal(false, 7, 10);
    for (uint64_t i = 0; i < 3; i++)
        ck_assert_int_eq(hone_journal_commit(&journal, i, 100 + i, &err), HONE_OK);
    hone_journal_close(&journal, false);
}

START_TEST(a_journal_remembers_what_is_done)
{
    write_journal();
    hone_journal journal = open_journal(true, 7, 10);
    ck_assert_uint_eq(journal.n_entries, 3);
    for (uint64_t i = 0; i < 3; i++) {
        uint64_t checksum;
        ck_assert_int_eq(hone_journal_chunk(&journal, i, &checksum, &err), HONE_OK);
        ck_assert_uint_eq(checksum, 100 + i);
    }
    hone_journal_forget(&journal);
    hone_journal_close(&journal, false);
    journal = open_journal(true, 7, 10);
    ck_assert_uint_eq(journal.n_entries, 0);
    hone_journal_close(&journal, true);
    ck_assert(!hone_file_exists(journal_path));
}
END_TEST

START_TEST(chunks_are_recorded_in_any_order)
{
    hone_journal journal = open_journal(false, 7, 10);
    ck_assert_int_eq(hone_journal_commit(&journal, 5, 105, &err), HONE_OK);
    ck_assert_int_eq(hone_journal_commit(&journal, 2, 102, &err), HONE_OK);
    hone_journal_close(&journal, false);
    journal = open_journal(true, 7, 10);
    for (uint64_t i = 0; i < 10; i++) {
        uint64_t checksum;
        ck_assert_int_eq(hone_journal_chunk(&journal, i, &checksum, &err), HONE_OK);
        ck_assert_uint_eq(checksum, i == 5 || i == 2 ? 100 + i : 0);
    }
    hone_journal_close(&journal, true);
}
END_TEST

/* Cut at any byte, as a power cut may: whole records count, and what is shorter than the head is no journal yet. */
START_TEST(a_journal_cut_short_is_taken_for_what_it_has)
{
    enum { HEAD = 24 };
    for (off_t nbytes = HEAD + 24; nbytes >= 0; nbytes--) {
        write_journal();
        ck_assert_int_eq(truncate(journal_path, nbytes), 0);
        hone_journal journal = open_journal(true, 7, 10);
        ck_assert_uint_eq(journal.n_entries, nbytes < HEAD ? 0 : (uint64_t)(nbytes - HEAD) / 8);
        hone_journal_close(&journal, false);
    }
}
END_TEST

static const struct {
    uint64_t identity, n_chunks;
} others[] = {{8, 10}, {7, 11}, {7, 2}};

START_TEST(a_journal_of_other_work_is_refused)
{
    write_journal();
    hone_journal journal;
    ck_assert_int_eq(hone_journal_open(out, true, others[_i].identity, others[_i].n_chunks, &journal, &err),
                     HONE_ERROR_ARG);
    ck_assert_str_eq(err.file, journal_path);
    ck_assert_uint_eq(size_of(journal_path), 24 + 24);
    journal = open_journal(false, others[_i].identity, others[_i].n_chunks); /* --restart */
    ck_assert_uint_eq(journal.n_entries, 0);
    hone_journal_close(&journal, true);
}
END_TEST

START_TEST(a_file_cut_short_while_it_is_read_is_an_error)
{
    hone_file file;
    char bytes[8];
    ck_assert_int_eq(hone_file_open(hone_temp_text(&dir, "in", "abcdefgh"), &file, &err), HONE_OK);
    ck_assert_int_eq(truncate(file.path, 5), 0);
    ck_assert_int_eq(hone_file_read(&file, 2, bytes, 6, &err), HONE_ERROR_DATA);
    ck_assert_uint_eq(err.offset, 5);
    ck_assert_str_eq(err.file, file.path);
    ck_assert_int_eq(hone_file_check_unchanged(&file, &err), HONE_ERROR_DATA);
    hone_file_close(&file);
}
END_TEST

START_TEST(a_file_written_to_while_it_is_read_is_noticed)
{
    hone_file file;
    ck_assert_int_eq(hone_file_open(hone_temp_text(&dir, "in", "abcdefgh"), &file, &err), HONE_OK);
    ck_assert_int_eq(hone_file_check_unchanged(&file, &err), HONE_OK);
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1, .tv_nsec = 1}}; /* of the same size */
    ck_assert_int_eq(utimensat(AT_FDCWD, file.path, times, 0), 0);
    ck_assert_int_eq(hone_file_check_unchanged(&file, &err), HONE_ERROR_DATA);
    ck_assert_str_eq(err.file, file.path);
    ck_assert_uint_eq(err.offset, HONE_NO_OFFSET);
    hone_file_close(&file);
}
END_TEST

START_TEST(more_memory_than_there_is_is_refused)
{
    ck_assert_int_eq(hone_check_memory(1 << 20, &err), HONE_OK);
    if (hone_memory_available() == UINT64_MAX) {
        (void)printf("SKIP: this system does not tell how much memory it has\n");
        return;
    }
    ck_assert_uint_gt(hone_memory_available(), 1 << 20);
    ck_assert_int_eq(hone_check_memory(UINT64_MAX, &err), HONE_ERROR_NOMEM);
    ck_assert_ptr_nonnull(strstr(err.reason, "--memory"));
}
END_TEST

Suite *hone_suite_writer(void)
{
    Suite *suite = suite_create("writer");
    TCase *core = tcase_create("core");
    tcase_add_checked_fixture(core, set_up, tear_down);
    tcase_add_test(core, an_output_appears_when_it_is_committed);
    tcase_add_test(core, a_suspended_output_is_resumed_with_its_bytes);
    tcase_add_test(core, a_file_that_appeared_meanwhile_is_not_replaced);
    tcase_add_test(core, a_disk_too_small_is_noticed_before_the_start);
    tcase_add_test(core, a_partial_file_that_is_a_link_is_not_followed);
    tcase_add_test(core, a_journal_remembers_what_is_done);
    tcase_add_test(core, chunks_are_recorded_in_any_order);
    tcase_add_test(core, a_journal_cut_short_is_taken_for_what_it_has);
    tcase_add_loop_test(core, a_journal_of_other_work_is_refused, 0, sizeof others / sizeof others[0]);
    tcase_add_test(core, a_file_cut_short_while_it_is_read_is_an_error);
    tcase_add_test(core, a_file_written_to_while_it_is_read_is_noticed);
    tcase_add_test(core, more_memory_than_there_is_is_refused);
    suite_add_tcase(suite, core);
    return suite;
}
