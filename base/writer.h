/* SPDX-License-Identifier: MIT */
/*
 * An output file that is either complete under its final name or not there at all.
 *
 * Bytes go to "TARGET.hone-partial" at known offsets; hone_writer_sync() flushes them to the disk and
 * hone_writer_commit() renames. hone_writer_abort() removes the partial file; hone_writer_suspend() leaves it for a
 * later run to resume. The partial file is locked (flock) as long as the writer is open.
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
    uint64_t nbytes; /* of the finished output */
    bool resumed;    /* the partial file was there, of the right size */
    bool overwrite;  /* the final name may exist when it comes to renaming */
} hone_writer;

/* What hone_writer_open() does about files that are there already. All false: refuse to overwrite; resume. */
typedef struct hone_writer_options {
    bool overwrite; /* the final name may exist */
    bool restart;   /* discard a partial file */
} hone_writer_options;

/*
 * hone_writer_open() claims the name of an output of nbytes: it makes and locks the partial file.
 *
 * A partial file of just that size is kept, and out->resumed set; its owner decides what its bytes are worth. Otherwise
 * it is empty until hone_writer_reserve(), so that its owner can write down first whose it is.
 * ARG: path exists and may not be overwritten, or names something that is no regular file; a partial file of another
 * size is in the way. IO: too little disk, no permission, or another run is writing it. NOMEM. On failure *out is
 * empty.
 */
hone_status hone_writer_open(const char *path, uint64_t nbytes, hone_writer_options opts, hone_writer *out,
                             hone_error *err);

/* hone_writer_reserve() gives the partial file its size and claims its blocks, where the file system can. IO: no space,
 * a limit or a quota is in the way; a partial file that is not resumed is empty again. */
hone_status hone_writer_reserve(const hone_writer *w, hone_error *err);

/* hone_writer_check_target() makes the checks of hone_writer_open() that need no file: exists, directory, kind. */
hone_status hone_writer_check_target(const char *path, bool overwrite, hone_error *err);

/* hone_writer_partial_path() returns path + ".hone-partial" (hone_release), or NULL when out of memory. */
char *hone_writer_partial_path(const char *path);

/* hone_writer_write() writes nbytes at offset. Thread-safe. IO. */
hone_status hone_writer_write(const hone_writer *w, uint64_t offset, const void *src, size_t nbytes, hone_error *err);

/* hone_writer_read() reads back exactly nbytes at offset. IO. */
hone_status hone_writer_read(const hone_writer *w, uint64_t offset, void *dst, size_t nbytes, hone_error *err);

/* hone_writer_sync() waits until what was written is on the disk. IO: it may not be, whatever reading it back says: the
 * kernel can drop pages that it failed to write. */
hone_status hone_writer_sync(const hone_writer *w, hone_error *err);

/* hone_writer_commit() renames to the final name and fsyncs the directory. Call hone_writer_sync() before. Closes w in
 * every case; when renaming fails the partial file stays. ARG: another run made a file of that name meanwhile. IO. */
hone_status hone_writer_commit(hone_writer *w, hone_error *err);

/* hone_writer_abort() closes and removes the partial file. A closed or empty writer is a no-op. */
void hone_writer_abort(hone_writer *w);

/* hone_writer_suspend() closes w and leaves the partial file. A closed or empty writer is a no-op. */
void hone_writer_suspend(hone_writer *w);

/* hone_write_file() writes a whole small file atomically. */
hone_status hone_write_file(const char *path, const void *data, size_t nbytes, bool overwrite, hone_error *err);

#endif
