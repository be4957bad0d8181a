/* SPDX-License-Identifier: MIT */
/* Reading files: positions are explicit, nothing is mapped, short reads are errors. */
#ifndef HONE_FILE_H
#define HONE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hone/status.h"

typedef struct hone_file {
    char *path;
    int fd;
    uint64_t nbytes; /* size when opened */
    uint64_t device, inode;
    int64_t mtime_ns; /* last change of its contents */
} hone_file;

/*
 * hone_file_open() opens a regular file for reading. ARG: it does not exist or is no regular file. IO, NOMEM.
 * On failure *out is empty, which hone_file_close() accepts.
 */
hone_status hone_file_open(const char *path, hone_file *out, hone_error *err);

void hone_file_close(hone_file *file);

/* hone_file_read() reads exactly nbytes at offset. DATA: the file ends earlier. IO. Thread-safe. */
hone_status hone_file_read(const hone_file *file, uint64_t offset, void *dst, size_t nbytes, hone_error *err);

/*
 * hone_file_check_unchanged() compares size and time of last change with those found when it was opened. DATA: another
 * process wrote to the file meanwhile, and what was read may be a mixture. IO.
 */
hone_status hone_file_check_unchanged(const hone_file *file, hone_error *err);

/* hone_file_identity() folds what tells a file's contents from others, as it was when opened, into id. */
uint64_t hone_file_identity(const hone_file *file, uint64_t id);

/* hone_fd_read() reads back exactly nbytes at offset of an output that is open as fd, hone_fd_write() writes them; path
 * is for the error. IO. Thread-safe. */
hone_status hone_fd_read(int fd, const char *path, uint64_t offset, void *dst, size_t nbytes, hone_error *err);
hone_status hone_fd_write(int fd, const char *path, uint64_t offset, const void *src, size_t nbytes, hone_error *err);

/* hone_file_slurp() reads a whole file of at most max_nbytes into *out (NUL-terminated, hone_release). LIMIT: larger.
 */
hone_status hone_file_slurp(const char *path, uint64_t max_nbytes, char **out, size_t *len, hone_error *err);

/* hone_file_exists() tells whether path names anything; hone_file_is_directory() whether that is a directory. */
bool hone_file_exists(const char *path);
bool hone_file_is_directory(const char *path);

/* hone_path_join() returns "dir/name" (hone_release), or NULL when out of memory. */
char *hone_path_join(const char *dir, const char *name);

/* hone_path_dir() returns the directory part of a path, "." if there is none (hone_release). */
char *hone_path_dir(const char *path);

#endif
