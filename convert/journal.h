/* SPDX-License-Identifier: MIT */
/*
 * The journal of a run: which chunks of the output are done, kept in the tail of the partial file.
 *
 *   tail:  "HONEJRNL" | u64 identity of plan and sources | u64 n_chunks | u64 n_done | u64 xxh3 of chunk 0, 1, ...
 *
 * Chunks are committed in order, so a count says it all. Their checksums make a resumed run independent of the order in
 * which the kernel wrote pages back before a power cut: a chunk counts as done when its bytes hash to what the journal
 * says.
 */
#ifndef HONE_JOURNAL_H
#define HONE_JOURNAL_H

#include <stddef.h>
#include <stdint.h>

#include "base/writer.h"

typedef struct hone_journal {
    const hone_writer *writer;
    uint64_t offset; /* of the tail */
    uint64_t n_done;
} hone_journal;

/* hone_journal_nbytes() returns the size of the tail for n_chunks chunks. */
uint64_t hone_journal_nbytes(uint64_t n_chunks);

/*
 * hone_journal_open() starts a journal in a fresh partial file, or takes up the one of a resumed file.
 * ARG: the partial file belongs to another plan or other sources.
 */
hone_status hone_journal_open(const hone_writer *writer, uint64_t identity, uint64_t n_chunks, hone_journal *out,
                              hone_error *err);

/* hone_journal_chunk() reads the checksum of a chunk that is done. */
hone_status hone_journal_chunk(const hone_journal *journal, uint64_t chunk, uint64_t *checksum, hone_error *err);

/* hone_journal_commit() records chunk n_done, whose bytes are written, and counts it. */
hone_status hone_journal_commit(hone_journal *journal, uint64_t checksum, hone_error *err);

#endif
