/* SPDX-License-Identifier: MIT */
#include "tests/support/temp_dir.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void fail(const char *what)
{
    perror(what);
    abort();
}

void hone_temp_dir_init(hone_temp_dir *dir)
{
    const char *base = getenv("TMPDIR");
    (void)snprintf(dir->path, sizeof dir->path, "%s/hone-test-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(dir->path))
        fail("mkdtemp");
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void hone_temp_dir_deinit(hone_temp_dir *dir)
{
    if (nftw(dir->path, remove_entry, 8, FTW_DEPTH | FTW_PHYS) != 0)
        fail(dir->path);
}

const char *hone_temp_path(hone_temp_dir *dir, const char *name)
{
    (void)snprintf(dir->last, sizeof dir->last, "%s/%s", dir->path, name);
    return dir->last;
}

const char *hone_temp_file(hone_temp_dir *dir, const char *name, const void *data, size_t nbytes)
{
    const char *path = hone_temp_path(dir, name);
    FILE *f = fopen(path, "wb");
    if (!f)
        fail(path);
    if ((nbytes > 0 && fwrite(data, 1, nbytes, f) != nbytes) || fclose(f) != 0)
        fail(path);
    return path;
}

const char *hone_temp_text(hone_temp_dir *dir, const char *name, const char *text)
{
    return hone_temp_file(dir, name, text, strlen(text));
}

uint64_t hone_temp_key_offset(hone_temp_dir *dir, const char *name, const char *after, const char *key)
{
    char text[4096] = "", quoted[128];
    FILE *f = fopen(hone_temp_path(dir, name), "rb");
    if (!f || fread(text, 1, sizeof text - 1, f) == 0 || fclose(f) != 0)
        fail(name);
    (void)snprintf(quoted, sizeof quoted, "\"%s\"", key);
    const char *from = strstr(text, after);
    if (!from)
        fail(after);
    const char *at = strstr(from, quoted);
    if (!at)
        return (uint64_t)(strchr(from, '{') - text);
    at += strlen(quoted);
    return (uint64_t)(at + strspn(at, ": ") - text);
}

const char *hone_test_model(const char *name)
{
    static char path[1024];
    const char *root = getenv("HONE_MODELS");
    (void)snprintf(path, sizeof path, "%s/%s", root && *root ? root : "../shared/models", name);
    if (access(path, R_OK) == 0)
        return path;
    (void)printf("SKIP: no %s\n", path);
    return NULL;
}
