/* SPDX-License-Identifier: MIT */
/*
 * An output file that is either complete under its final name or not there at all.
 *
 * Bytes go to "TARGET.hone-partial" at known offsets; hone_writer_commit() flushes them to the disk and renames.
 * hone_writer_abort() removes the partial file.
 */
#ifndef HONE_WRITER_H
#define HONE_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hone/status.h"

typedef struct hone_writer {
    char *path, *partial_path;
    int fd;
} hone_writer;

/*
 * hone_writer_open() reserves nbytes for the output at path.
 * ARG: path exists and overwrite is false, or names something that is no regular file. IO: no space, no permission, or another
 * run is writing it. NOMEM. On failure *out is empty.
 */
hone_status hone_writer_open(const char *path, uint64_t nbytes, bool overwrite, hone_writer *out, hone_error *err);

/* hone_writer_check_target() makes the checks of hone_writer_open() that need no file: exists, directory, kind. */
hone_status hone_writer_check_target(const char *path, bool overwrite, hone_error *err);

/* hone_writer_write() writes nbytes at offset. Thread-safe. IO. */
hone_status hone_writer_write(const hone_writer *w, uint64_t offset, const void *src, size_t nbytes, hone_error *err);

/* hone_writer_commit() fsyncs, renames to the final name and fsyncs the directory. Closes w in every case; on failure the
 * partial file is removed. */
hone_status hone_writer_commit(hone_writer *w, hone_error *err);

/* hone_writer_abort() closes and removes the partial file. A closed or empty writer is a no-op. */
void hone_writer_abort(hone_writer *w);

/* hone_write_file() writes a whole small file atomically. */
hone_status hone_write_file(const char *path, const void *data, size_t nbytes, bool overwrite, hone_error *err);

#endif
