/* SPDX-License-Identifier: MIT */
#include "cli/json_out.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/report.h"

/* 15 digits: enough for every figure we give, and 0.1 stays 0.1. */
static const size_t DUMP_FLAGS = JSON_INDENT(2) | JSON_REAL_PRECISION(15);

static json_t *need(json_t *value)
{
    if (!value)
        hone_cli_out_of_memory();
    return value;
}

json_t *hone_cli_json_object(void)
{
    return need(json_object());
}

json_t *hone_cli_json_array(void)
{
    return need(json_array());
}

void hone_cli_json_put(json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new_nocheck(object, key, need(value)) != 0)
        hone_cli_out_of_memory();
}

void hone_cli_json_add(json_t *array, json_t *value)
{
    if (json_array_append_new(array, need(value)) != 0)
        hone_cli_out_of_memory();
}

json_t *hone_cli_json_string(hone_string s)
{
    static const char replacement[] = "\xEF\xBF\xBD";
    char *clean = hone_cli_alloc(s.len * (sizeof replacement - 1) + 1, 1);
    size_t used = 0;
    for (size_t i = 0; i < s.len;) {
        const size_t n = hone_cli_utf8_next(s.data + i, s.len - i);
        memcpy(clean + used, n ? s.data + i : replacement, n ? n : sizeof replacement - 1);
        used += n ? n : sizeof replacement - 1;
        i += n ? n : 1;
    }
    json_t *value = need(json_stringn_nocheck(clean, used));
    free(clean);
    return value;
}

json_t *hone_cli_json_text(const char *s)
{
    return hone_cli_json_string((hone_string){s, strlen(s)});
}

json_t *hone_cli_json_real(double x)
{
    return need(isfinite(x) ? json_real(x) : json_null());
}

json_t *hone_cli_json_uint(uint64_t n)
{
    if (n <= INT64_MAX)
        return need(json_integer((json_int_t)n));
    char digits[24];
    (void)snprintf(digits, sizeof digits, "%" PRIu64, n);
    return need(json_string(digits));
}

json_t *hone_cli_json_bool(bool b)
{
    return json_boolean(b);
}

json_t *hone_cli_json_shape(const uint64_t *shape, unsigned n_dims)
{
    json_t *array = hone_cli_json_array();
    for (unsigned i = 0; i < n_dims; i++)
        hone_cli_json_add(array, hone_cli_json_uint(shape[i]));
    return array;
}

static hone_status fail(hone_error *err, hone_status status, const char *path, const char *what, int os_errno)
{
    *err = HONE_CLI_NO_ERROR;
    err->status = status;
    err->os_errno = os_errno;
    (void)hone_cli_printable(path, strlen(path), SIZE_MAX, err->file, sizeof err->file);
    (void)snprintf(err->reason, sizeof err->reason, "%s%s%s", what, os_errno ? ": " : "",
                   os_errno ? strerror(os_errno) : "");
    return status;
}

/* A report replaces a report; anything else may be a model someone meant to keep. */
hone_status hone_cli_json_check_target(const hone_cli_globals *globals, hone_error *err)
{
    struct stat st;
    const char *path = globals->json;
    if (!path || globals->force || strcmp(path, "-") == 0 || stat(path, &st) != 0)
        return HONE_OK;
    if (S_ISDIR(st.st_mode))
        return fail(err, HONE_ERROR_ARG, path, "is a directory", 0);
    if (!S_ISREG(st.st_mode) || st.st_size == 0)
        return HONE_OK;
    FILE *f = fopen(path, "rb");
    if (!f)
        return fail(err, HONE_ERROR_IO, path, "cannot open", errno);
    const int first = fgetc(f);
    (void)fclose(f);
    if (first == '{')
        return HONE_OK;
    return fail(err, HONE_ERROR_ARG, path, "exists and is no JSON report (use --force to overwrite)", 0);
}

static hone_status write_text(FILE *f, const char *text)
{
    const bool written = fputs(text, f) >= 0 && fputc('\n', f) != EOF;
    return fclose(f) == 0 && written ? HONE_OK : HONE_ERROR_IO;
}

static hone_status write_file(const char *path, const char *text, hone_error *err)
{
    struct stat st;
    const bool direct = stat(path, &st) == 0 && !S_ISREG(st.st_mode); /* a pipe or a device */
    const size_t len = strlen(path);
    static const char suffix[] = ".hone-partial";
    char *partial = hone_cli_alloc(len + sizeof suffix, 1);
    memcpy(partial, path, len);
    if (!direct)
        memcpy(partial + len, suffix, sizeof suffix);
    FILE *f = fopen(partial, "wb");
    hone_status status = f ? write_text(f, text) : HONE_ERROR_IO;
    if (status == HONE_OK && !direct && rename(partial, path) != 0)
        status = HONE_ERROR_IO;
    if (status != HONE_OK)
        (void)fail(err, status, path, "cannot write", errno);
    if (status != HONE_OK && f && !direct)
        (void)unlink(partial);
    free(partial);
    return status;
}

hone_status hone_cli_json_write(const hone_cli_globals *globals, json_t *root, hone_error *err)
{
    hone_status status = HONE_OK;
    if (globals->json) {
        char *text = json_dumps(root, DUMP_FLAGS);
        if (!text)
            hone_cli_out_of_memory();
        if (strcmp(globals->json, "-") == 0)
            (void)puts(text); /* hone_cli_close_stdout() notices a failure */
        else
            status = write_file(globals->json, text, err);
        free(text);
    }
    json_decref(root);
    return status;
}
