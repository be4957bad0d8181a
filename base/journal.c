/* SPDX-License-Identifier: MIT */
#include "base/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cursor.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/mem.h"

enum { MAGIC_NBYTES = 8, HEAD_NBYTES = 24, ENTRY_NBYTES = 8 };

static const char MAGIC[MAGIC_NBYTES + 1] = "HONEJRNL", SUFFIX[] = ".hone-journal";

static hone_status fail_io(const hone_journal *journal, const char *what, hone_error *err)
{
    return hone_fail_in_file(err, hone_fail_errno(err, errno, HONE_NO_OFFSET, NULL, "%s", what), journal->path);
}

static uint64_t entry_offset(uint64_t chunk)
{
    return HEAD_NBYTES + ENTRY_NBYTES * chunk;
}

static hone_status start(hone_journal *journal, uint64_t identity, uint64_t n_chunks, hone_error *err)
{
    uint8_t head[HEAD_NBYTES];
    memcpy(head, MAGIC, MAGIC_NBYTES);
    hone_store_u64(head + 8, identity);
    hone_store_u64(head + 16, n_chunks);
    if (ftruncate(journal->fd, 0) != 0)
        return fail_io(journal, "cannot resize", err);
    HONE_TRY(hone_fd_write(journal->fd, journal->path, 0, head, sizeof head, err));
    return fsync(journal->fd) == 0 ? HONE_OK : fail_io(journal, "cannot sync", err);
}

static hone_status take_up(hone_journal *journal, uint64_t nbytes, uint64_t identity, uint64_t n_chunks,
                           hone_error *err)
{
    uint8_t head[HEAD_NBYTES];
    HONE_TRY(hone_fd_read(journal->fd, journal->path, 0, head, sizeof head, err));
    const uint64_t n_entries = (nbytes - HEAD_NBYTES) / ENTRY_NBYTES; /* a record half written does not count */
    if (memcmp(head, MAGIC, MAGIC_NBYTES) != 0 || hone_load_u64(head + 8) != identity ||
        hone_load_u64(head + 16) != n_chunks || n_entries > n_chunks) {
        (void)hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL,
                        "a partial file of another command or a changed source is in the way (--restart discards it)");
        return hone_fail_in_file(err, HONE_ERROR_ARG, journal->path);
    }
    journal->n_entries = n_entries;
    return HONE_OK;
}

static hone_status open_file(hone_journal *journal, bool resume, uint64_t identity, uint64_t n_chunks, hone_error *err)
{
    journal->fd = open(journal->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
    if (journal->fd < 0)
        return fail_io(journal, "cannot create", err);
    struct stat st;
    if (fstat(journal->fd, &st) != 0)
        return fail_io(journal, "cannot stat", err);
    if (!S_ISREG(st.st_mode)) {
        (void)hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "is not a regular file");
        return hone_fail_in_file(err, HONE_ERROR_ARG, journal->path);
    }
    if (!resume || st.st_size < HEAD_NBYTES)
        return start(journal, identity, n_chunks, err);
    return take_up(journal, (uint64_t)st.st_size, identity, n_chunks, err);
}

hone_status hone_journal_open(const char *path, bool resume, uint64_t identity, uint64_t n_chunks, hone_journal *out,
                              hone_error *err)
{
    *out = (hone_journal){.fd = -1};
    const size_t len = strlen(path);
    hone_journal journal = {.path = hone_alloc(len + sizeof SUFFIX, 1), .fd = -1};
    if (!journal.path)
        return hone_fail_nomem(err, len);
    memcpy(journal.path, path, len);
    memcpy(journal.path + len, SUFFIX, sizeof SUFFIX);
    const hone_status status = open_file(&journal, resume, identity, n_chunks, err);
    if (status != HONE_OK) {
        hone_journal_close(&journal, false);
        return status;
    }
    *out = journal;
    return HONE_OK;
}

hone_status hone_journal_chunk(const hone_journal *journal, uint64_t chunk, uint64_t *checksum, hone_error *err)
{
    *checksum = 0;
    if (chunk >= journal->n_entries)
        return HONE_OK;
    uint8_t bytes[ENTRY_NBYTES];
    HONE_TRY(hone_fd_read(journal->fd, journal->path, entry_offset(chunk), bytes, sizeof bytes, err));
    *checksum = hone_load_u64(bytes);
    return HONE_OK;
}

hone_status hone_journal_commit(const hone_journal *journal, uint64_t chunk, uint64_t checksum, hone_error *err)
{
    uint8_t bytes[ENTRY_NBYTES];
    hone_store_u64(bytes, checksum);
    return hone_fd_write(journal->fd, journal->path, entry_offset(chunk), bytes, sizeof bytes, err);
}

void hone_journal_forget(hone_journal *journal)
{
    if (journal->path && ftruncate(journal->fd, HEAD_NBYTES) == 0)
        journal->n_entries = 0;
}

void hone_journal_close(hone_journal *journal, bool remove)
{
    if (!journal->path)
        return;
    if (remove)
        (void)unlink(journal->path);
    if (journal->fd >= 0)
        (void)close(journal->fd);
    hone_release(journal->path);
    *journal = (hone_journal){.fd = -1};
}
