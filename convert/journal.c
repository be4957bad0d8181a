/* SPDX-License-Identifier: MIT */
#include "convert/journal.h"

#include <string.h>

#include "base/cursor.h"
#include "base/fail.h"

enum { MAGIC_NBYTES = 8, HEAD_NBYTES = 32, DONE_AT = 24 };

static const char MAGIC[MAGIC_NBYTES + 1] = "HONEJRNL";

uint64_t hone_journal_nbytes(uint64_t n_chunks)
{
    return HEAD_NBYTES + 8 * n_chunks;
}

static hone_status write_head(const hone_journal *journal, uint64_t identity, uint64_t n_chunks, hone_error *err)
{
    uint8_t head[HEAD_NBYTES];
    memcpy(head, MAGIC, MAGIC_NBYTES);
    hone_store_u64(head + 8, identity);
    hone_store_u64(head + 16, n_chunks);
    hone_store_u64(head + DONE_AT, 0);
    return hone_writer_write(journal->writer, journal->offset, head, sizeof head, err);
}

hone_status hone_journal_open(const hone_writer *writer, uint64_t identity, uint64_t n_chunks, hone_journal *out,
                              hone_error *err)
{
    *out = (hone_journal){.writer = writer, .offset = writer->nbytes};
    if (!writer->resumed)
        return write_head(out, identity, n_chunks, err);
    uint8_t head[HEAD_NBYTES];
    HONE_TRY(hone_writer_read(writer, out->offset, head, sizeof head, err));
    const uint64_t n_done = hone_load_u64(head + DONE_AT);
    if (memcmp(head, MAGIC, MAGIC_NBYTES) != 0 && n_done == 0)
        return write_head(out, identity, n_chunks, err); /* killed before the journal was begun */
    if (memcmp(head, MAGIC, MAGIC_NBYTES) != 0 || hone_load_u64(head + 8) != identity ||
        hone_load_u64(head + 16) != n_chunks || n_done > n_chunks) {
        (void)hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL,
                        "a partial file of another command or a changed source is in the way (--restart discards it)");
        return hone_fail_in_file(err, HONE_ERROR_ARG, writer->partial_path);
    }
    out->n_done = n_done;
    return HONE_OK;
}

hone_status hone_journal_chunk(const hone_journal *journal, uint64_t chunk, uint64_t *checksum, hone_error *err)
{
    uint8_t bytes[8];
    HONE_TRY(hone_writer_read(journal->writer, journal->offset + HEAD_NBYTES + 8 * chunk, bytes, sizeof bytes, err));
    *checksum = hone_load_u64(bytes);
    return HONE_OK;
}

hone_status hone_journal_commit(hone_journal *journal, uint64_t checksum, hone_error *err)
{
    uint8_t bytes[8];
    hone_store_u64(bytes, checksum);
    HONE_TRY(hone_writer_write(journal->writer, journal->offset + HEAD_NBYTES + 8 * journal->n_done, bytes,
                               sizeof bytes, err));
    hone_store_u64(bytes, journal->n_done + 1);
    HONE_TRY(hone_writer_write(journal->writer, journal->offset + DONE_AT, bytes, sizeof bytes, err));
    journal->n_done++;
    return HONE_OK;
}
