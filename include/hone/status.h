/* SPDX-License-Identifier: MIT */
/*
 * Status codes and the error object that every fallible call of hone fills.
 *
 * A call returns a hone_status and, where it takes one, describes the failure in a caller-owned
 * hone_error: which file, which tensor or key, at which byte, and why. The library never prints.
 */
#ifndef HONE_STATUS_H
#define HONE_STATUS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define HONE_CHECK_RESULT __attribute__((warn_unused_result))
#define HONE_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define HONE_API __attribute__((visibility("default")))
#else
#define HONE_CHECK_RESULT
#define HONE_PRINTF(fmt, args)
#define HONE_API
#endif

typedef enum hone_status {
    /* Done. */
    HONE_OK = 0,
    /* The bytes are not in the format they were opened as: wrong magic, not JSON, not a checkpoint. */
    HONE_ERROR_FORMAT,
    /* Valid, but not something this version handles: a newer version, an unknown architecture. */
    HONE_ERROR_UNSUPPORTED,
    /* The format is right and its contents are not: truncated, overlapping, NaN where none may be. */
    HONE_ERROR_DATA,
    /* A limit of ours (header size, nesting, count) would be exceeded. */
    HONE_ERROR_LIMIT,
    /* The operating system refused: read, write, space, permission. os_errno says why. */
    HONE_ERROR_IO,
    /* Memory ran out, or the memory budget is too small for the work. */
    HONE_ERROR_NOMEM,
    /* The caller asked for something impossible: unknown name, missing input, contradictory options. */
    HONE_ERROR_ARG,
    /* Not an error of the input: a comparison found a difference, or a gate failed. */
    HONE_ERROR_MISMATCH
} hone_status;

#define HONE_NO_OFFSET UINT64_MAX

/*
 * What went wrong. Plain data; copying it is allowed. Empty strings mean "does not apply".
 * offset is the byte position in file, or HONE_NO_OFFSET.
 */
typedef struct hone_error {
    hone_status status;
    int os_errno;
    uint64_t offset;
    char file[512];
    char item[256]; /* tensor name, or metadata key */
    char reason[384];
} hone_error;

/* hone_status_name() returns the lower-case word for a status, such as "unsupported". Static. */
HONE_API const char *hone_status_name(hone_status status);

/* hone_version() returns the library's version, "MAJOR.MINOR.PATCH". Static. */
HONE_API const char *hone_version(void);

#ifdef __cplusplus
}
#endif

#endif
