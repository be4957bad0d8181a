/* SPDX-License-Identifier: MIT */
/*
 * The journal of a run: which chunks of the output are done, in a file "OUTPUT.hone-journal" beside the partial file.
 *
 *   "HONEJRNL" | u64 identity of plan and sources | u64 n_chunks | u64 xxh3 of chunk 0 | of chunk 1 | ...
 *
 * A chunk is recorded, in whatever order, by the thread that has just written it, so a killed run leaves at most one
 * per thread to be done again. 0 stands for a chunk that is not done. The checksums make a resumed run independent of
 * the order in which the kernel wrote pages back before a power cut: a chunk counts as done when its bytes hash to what
 * the journal says.
 */
#ifndef HONE_JOURNAL_H
#define HONE_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hone/status.h"

typedef struct hone_journal {
    char *path; /* NULL: closed */
    int fd;
    uint64_t n_entries; /* that an earlier run left, those of chunks not done included */
} hone_journal;

/*
 * hone_journal_open() takes up the journal of the output at path, or starts one: always when resume is false, and when
 * there is none or one that was hardly begun. ARG: it belongs to another plan or other sources. IO, NOMEM. On failure
 * *out is closed.
 */
hone_status hone_journal_open(const char *path, bool resume, uint64_t identity, uint64_t n_chunks, hone_journal *out,
                              hone_error *err);

/* hone_journal_chunk() reads what an earlier run left: the checksum of a chunk, 0 if it was not done. */
hone_status hone_journal_chunk(const hone_journal *journal, uint64_t chunk, uint64_t *checksum, hone_error *err);

/* hone_journal_commit() records a chunk whose bytes are written. From any thread. */
hone_status hone_journal_commit(const hone_journal *journal, uint64_t chunk, uint64_t checksum, hone_error *err);

/* hone_journal_forget() drops all records: the bytes of the chunks are in doubt. */
void hone_journal_forget(hone_journal *journal);

/* hone_journal_close() closes the journal, and removes its file or leaves it. A closed journal is a no-op. */
void hone_journal_close(hone_journal *journal, bool remove);

#endif
