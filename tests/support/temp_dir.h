/* SPDX-License-Identifier: MIT */
/* A directory of a test's own, removed with everything in it. */
#ifndef HONE_TEMP_DIR_H
#define HONE_TEMP_DIR_H

#include <stddef.h>
#include <stdint.h>

/* Strings live as long as the hone_temp_dir. A failure aborts: no test can go on. */
typedef struct hone_temp_dir {
    char path[256];
    char last[512]; /* the path last returned by the functions below */
} hone_temp_dir;

void hone_temp_dir_init(hone_temp_dir *dir);
void hone_temp_dir_deinit(hone_temp_dir *dir);

/* hone_temp_path() returns "dir/name", until the next call with this dir. */
const char *hone_temp_path(hone_temp_dir *dir, const char *name);

/* hone_temp_file() writes a file and returns its path, like hone_temp_path(). */
const char *hone_temp_file(hone_temp_dir *dir, const char *name, const void *data, size_t nbytes);

/* hone_temp_text() is hone_temp_file() of a string. */
const char *hone_temp_text(hone_temp_dir *dir, const char *name, const char *text);

/*
 * hone_temp_key_offset() returns where the value of a key begins in a JSON file of the directory, looked for behind the
 * text `after` ("": from the start); without that key, where the next object begins. Reads 4 KiB.
 */
uint64_t hone_temp_key_offset(hone_temp_dir *dir, const char *name, const char *after, const char *key);

/*
 * hone_test_model() returns the path of a file or directory under $HONE_MODELS (default ../shared/models), or prints a
 * SKIP line and returns NULL when it is not there. Static, until the next call.
 */
const char *hone_test_model(const char *name);

#endif
