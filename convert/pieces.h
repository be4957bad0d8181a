/* SPDX-License-Identifier: MIT */
/* Where a chunk of rows lies in an output: in one run, or in many short ones. */
#ifndef HONE_PIECES_H
#define HONE_PIECES_H

#include "base/writer.h"

/* n_runs runs of run_nbytes, the first at offset in the file, each stride behind the one before; packed in memory from
 * at on. */
typedef struct hone_piece {
    uint64_t offset, stride;
    size_t n_runs, run_nbytes, at;
} hone_piece;

/* hone_pieces_nbytes() returns what pieces take in memory. */
size_t hone_pieces_nbytes(const hone_piece *pieces, unsigned n);

/* hone_pieces_write() writes them, hone_pieces_read() reads them back. IO. */
hone_status hone_pieces_write(const hone_writer *writer, const hone_piece *pieces, unsigned n, const void *bytes,
                              hone_error *err);
hone_status hone_pieces_read(const hone_writer *writer, const hone_piece *pieces, unsigned n, void *bytes,
                             hone_error *err);

#endif
