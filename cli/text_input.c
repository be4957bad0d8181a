/* SPDX-License-Identifier: MIT */
#include "cli/text_input.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/report.h"

struct text {
    char *data;
    size_t n, cap;
};

static hone_status fail(hone_error *err, hone_status status, const char *file, uint64_t offset, const char *reason)
{
    *err = HONE_CLI_NO_ERROR;
    err->status = status;
    err->offset = offset;
    (void)hone_cli_printable(file, strlen(file), SIZE_MAX, err->file, sizeof err->file);
    (void)snprintf(err->reason, sizeof err->reason, "%s", reason);
    return status;
}

static void reserve(struct text *t, size_t more)
{
    if (t->cap - t->n >= more)
        return;
    const size_t cap = 2 * t->cap + more;
    char *grown = realloc(t->data, cap);
    if (!grown)
        hone_cli_out_of_memory();
    t->data = grown;
    t->cap = cap;
}

static hone_status read_stream(FILE *f, const char *name, struct text *t, hone_error *err)
{
    enum { STEP = 1 << 16 };
    for (;;) {
        reserve(t, STEP);
        const size_t got = fread(t->data + t->n, 1, STEP, f);
        t->n += got;
        if (got < STEP)
            break;
    }
    return ferror(f) ? fail(err, HONE_ERROR_IO, name, HONE_NO_OFFSET, strerror(errno)) : HONE_OK;
}

static hone_status check_utf8(const struct text *t, size_t start, const char *name, hone_error *err)
{
    for (size_t i = start; i < t->n;) {
        const size_t n = hone_cli_utf8_next(t->data + i, t->n - i);
        if (n == 0)
            return fail(err, HONE_ERROR_DATA, name, i - start, "text is not UTF-8");
        i += n;
    }
    return HONE_OK;
}

static hone_status read_one(const char *path, struct text *t, hone_error *err)
{
    const bool is_stdin = strcmp(path, "-") == 0;
    const char *name = is_stdin ? "standard input" : path;
    FILE *f = is_stdin ? stdin : fopen(path, "rb");
    if (!f)
        return fail(err, errno == ENOENT || errno == ENOTDIR ? HONE_ERROR_ARG : HONE_ERROR_IO, name, HONE_NO_OFFSET,
                    strerror(errno));
    const size_t start = t->n;
    hone_status status = read_stream(f, name, t, err);
    if (!is_stdin)
        (void)fclose(f);
    if (status == HONE_OK && t->n == start)
        status = fail(err, HONE_ERROR_ARG, name, HONE_NO_OFFSET, "text is empty");
    return status == HONE_OK ? check_utf8(t, start, name, err) : status;
}

hone_status hone_cli_texts_read(const hone_cli_list *files, char **text, size_t *nbytes, size_t *each, hone_error *err)
{
    struct text t = {NULL, 0, 0};
    *text = NULL;
    *nbytes = 0;
    for (size_t i = 0; i < files->n; i++) {
        const size_t start = t.n;
        const hone_status status = read_one(files->items[i], &t, err);
        if (each)
            each[i] = t.n - start;
        if (status != HONE_OK) {
            free(t.data);
            return status;
        }
    }
    *text = t.data;
    *nbytes = t.n;
    return HONE_OK;
}

hone_status hone_cli_text_read(const hone_cli_list *files, char **text, size_t *nbytes, hone_error *err)
{
    return hone_cli_texts_read(files, text, nbytes, NULL, err);
}
