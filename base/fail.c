/* SPDX-License-Identifier: MIT */
#include "base/fail.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Copy with truncation; the tail is what identifies a long path or tensor name, so keep that. */
static void copy_tail(char *dst, size_t cap, const char *src)
{
    const size_t len = strlen(src);
    if (len < cap) {
        memcpy(dst, src, len + 1);
        return;
    }
    memcpy(dst, "...", 3);
    memcpy(dst + 3, src + len - (cap - 4), cap - 3);
}

/* Names come from files: keep control characters out of the one line an error is. */
static void blank_control_bytes(char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            *s = '?';
}

static void fill(hone_error *err, hone_status status, int os_errno, uint64_t offset, const char *item)
{
    err->status = status;
    err->os_errno = os_errno;
    err->offset = offset;
    err->file[0] = '\0';
    err->item[0] = '\0';
    if (item) {
        copy_tail(err->item, sizeof err->item, item);
        blank_control_bytes(err->item);
    }
}

hone_status hone_fail(hone_error *err, hone_status status, uint64_t offset, const char *item, const char *fmt, ...)
{
    if (!err)
        return status;
    fill(err, status, 0, offset, item);
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(err->reason, sizeof err->reason, fmt, args);
    va_end(args);
    blank_control_bytes(err->reason);
    return status;
}

hone_status hone_fail_errno(hone_error *err, int os_errno, uint64_t offset, const char *item, const char *fmt, ...)
{
    if (!err)
        return HONE_ERROR_IO;
    fill(err, HONE_ERROR_IO, os_errno, offset, item);
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(err->reason, sizeof err->reason, fmt, args);
    va_end(args);
    const size_t len = strlen(err->reason);
    (void)snprintf(err->reason + len, sizeof err->reason - len, ": %s", strerror(os_errno));
    blank_control_bytes(err->reason);
    return HONE_ERROR_IO;
}

hone_status hone_fail_nomem(hone_error *err, uint64_t nbytes)
{
    return hone_fail(err, HONE_ERROR_NOMEM, HONE_NO_OFFSET, NULL, "out of memory allocating %llu bytes",
                     (unsigned long long)nbytes);
}

hone_status hone_fail_in_file(hone_error *err, hone_status status, const char *file)
{
    if (status != HONE_OK && err && err->file[0] == '\0' && file) {
        copy_tail(err->file, sizeof err->file, file);
        blank_control_bytes(err->file);
    }
    return status;
}

hone_status hone_fail_for(hone_error *err, hone_status status, const char *item)
{
    if (status != HONE_OK && err && err->item[0] == '\0' && item) {
        copy_tail(err->item, sizeof err->item, item);
        blank_control_bytes(err->item);
    }
    return status;
}

const char *hone_status_name(hone_status status)
{
    static const char *const names[] = {
        [HONE_OK] = "ok",
        [HONE_ERROR_FORMAT] = "format",
        [HONE_ERROR_UNSUPPORTED] = "unsupported",
        [HONE_ERROR_DATA] = "data",
        [HONE_ERROR_LIMIT] = "limit",
        [HONE_ERROR_IO] = "io",
        [HONE_ERROR_NOMEM] = "memory",
        [HONE_ERROR_ARG] = "argument",
        [HONE_ERROR_MISMATCH] = "mismatch",
    };
    const size_t i = (size_t)status;
    return i < sizeof names / sizeof names[0] ? names[i] : "unknown";
}

const char *hone_version(void)
{
    return HONE_VERSION;
}
