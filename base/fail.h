/* SPDX-License-Identifier: MIT */
/*
 * Filling a hone_error, and passing a status up.
 *
 *     if (n > limit)
 *         return hone_fail(err, HONE_ERROR_LIMIT, offset, name, "%" PRIu64 " tensors, at most %d", n, MAX);
 *
 * A function that knows only the inner position reports that; its caller, who knows the file, adds
 * it with hone_fail_in_file().
 */
#ifndef HONE_FAIL_H
#define HONE_FAIL_H

#include "hone/status.h"

/* hone_fail() fills *err (if not NULL) and returns status. item may be NULL. Clears err->file. */
hone_status hone_fail(hone_error *err, hone_status status, uint64_t offset, const char *item, const char *fmt, ...)
    HONE_PRINTF(5, 6);

/* hone_fail_errno() is hone_fail() with HONE_ERROR_IO, os_errno and ": " + strerror(os_errno) after the text. */
hone_status hone_fail_errno(hone_error *err, int os_errno, uint64_t offset, const char *item, const char *fmt, ...)
    HONE_PRINTF(5, 6);

/* hone_fail_nomem() reports that an allocation of nbytes failed. */
hone_status hone_fail_nomem(hone_error *err, uint64_t nbytes);

/* hone_fail_in_file() names the file in *err unless one is named already; returns err->status (or status). */
hone_status hone_fail_in_file(hone_error *err, hone_status status, const char *file);

/* hone_fail_for() names the item in *err unless one is named already; returns status. */
hone_status hone_fail_for(hone_error *err, hone_status status, const char *item);

/* Return from the current function with the status of expr unless it is HONE_OK. */
#define HONE_TRY(expr)                                                                                                 \
    do {                                                                                                               \
        const hone_status try_ = (expr);                                                                               \
        if (try_ != HONE_OK)                                                                                           \
            return try_;                                                                                               \
    } while (0)

#endif
