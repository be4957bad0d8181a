/* SPDX-License-Identifier: MIT */
/* Words for people: the error line, notes, exit codes, and text made safe for a terminal. */
#ifndef HONE_CLI_REPORT_H
#define HONE_CLI_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hone/status.h"

enum { HONE_EXIT_OK = 0, HONE_EXIT_FAILED = 1, HONE_EXIT_USAGE = 2, HONE_EXIT_RESOURCE = 3 };

/* An hone_error that says nothing yet. */
#define HONE_CLI_NO_ERROR ((hone_error){.offset = HONE_NO_OFFSET})

/* hone_cli_exit_code() maps a status to the program's exit code. */
int hone_cli_exit_code(hone_status status);

/* hone_cli_fail() prints the error line for a failed call to stderr and returns the exit code; HONE_OK prints nothing.
 */
int hone_cli_fail(hone_status status, const hone_error *err);

/* hone_cli_file_error() prints "hone: FILE: reason" and returns the exit code of status. */
int hone_cli_file_error(hone_status status, const char *file, const char *fmt, ...) HONE_PRINTF(3, 4);

/* hone_cli_usage_error() prints "hone: COMMAND: reason (try hone COMMAND --help)" and returns HONE_EXIT_USAGE. command
 * may be NULL. */
int hone_cli_usage_error(const char *command, const char *fmt, ...) HONE_PRINTF(2, 3);

/* hone_cli_close_stdout() flushes stdout; a full disk or a closed pipe turns code into HONE_EXIT_RESOURCE and says so.
 */
int hone_cli_close_stdout(int code);

/* hone_cli_alloc() is calloc() that ends the program when memory runs out. Release with free(). */
void *hone_cli_alloc(size_t nelems, size_t size);

/* hone_cli_out_of_memory() says so and ends the program. */
_Noreturn void hone_cli_out_of_memory(void);

enum { HONE_CLI_SIZE_LEN = 32 };
/* hone_cli_size() writes a size for people: "912 B", "15.2 MiB". Returns buf. */
const char *hone_cli_size(uint64_t nbytes, char buf[HONE_CLI_SIZE_LEN]);

/* hone_cli_count() writes a count for people: "912", "6.83 M". Returns buf. */
const char *hone_cli_count(uint64_t n, char buf[HONE_CLI_SIZE_LEN]);

/*
 * hone_cli_utf8_next() returns the length of the well-formed UTF-8 sequence at s (len bytes left), or 0 if there is
 * none.
 */
size_t hone_cli_utf8_next(const char *s, size_t len);

/*
 * hone_cli_printable() copies text so that a terminal shows it on one line: control characters become '?', malformed
 * UTF-8 becomes U+FFFD, and what is longer than max_columns is cut with an ellipsis. Returns buf, always terminated.
 */
const char *hone_cli_printable(const char *s, size_t len, size_t max_columns, char *buf, size_t cap);

/* hone_cli_duration() writes an estimate for people: "40 s", "12 min", "3.5 h". Returns buf. */
const char *hone_cli_duration(double seconds, char buf[HONE_CLI_SIZE_LEN]);

/* hone_cli_seconds() returns a monotonic clock. */
double hone_cli_seconds(void);

#endif
