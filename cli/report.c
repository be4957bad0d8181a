/* SPDX-License-Identifier: MIT */
#include "cli/report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int hone_cli_exit_code(hone_status status)
{
    switch (status) {
    case HONE_OK:
        return HONE_EXIT_OK;
    case HONE_ERROR_MISMATCH:
        return HONE_EXIT_FAILED;
    case HONE_ERROR_IO:
    case HONE_ERROR_NOMEM:
        return HONE_EXIT_RESOURCE;
    case HONE_ERROR_FORMAT:
    case HONE_ERROR_UNSUPPORTED:
    case HONE_ERROR_DATA:
    case HONE_ERROR_LIMIT:
    case HONE_ERROR_ARG:
        break;
    }
    return HONE_EXIT_USAGE;
}

static bool ends_with(const char *s, const char *tail)
{
    const size_t n = strlen(s), m = strlen(tail);
    return n >= m && strcmp(s + n - m, tail) == 0;
}

/*
 * An error's item is a tensor or a key, and only its name tells which: configuration keys are snake case without a dot,
 * GGUF keys have a dot, and tensors end in .weight or .bias. Anything else is called a tensor.
 */
static const char *item_word(const char *item)
{
    static const char *const key_prefixes[] = {"general.", "tokenizer.", "split.", "hone.", "llama."};
    if (ends_with(item, ".weight") || ends_with(item, ".bias"))
        return "tensor";
    for (size_t i = 0; i < sizeof key_prefixes / sizeof key_prefixes[0]; i++)
        if (strncmp(item, key_prefixes[i], strlen(key_prefixes[i])) == 0)
            return "key";
    const bool snake_case = item[strspn(item, "abcdefghijklmnopqrstuvwxyz_")] == '\0';
    return snake_case && (strchr(item, '_') || strcmp(item, "architectures") == 0) ? "key" : "tensor";
}

int hone_cli_fail(hone_status status, const hone_error *err)
{
    if (status == HONE_OK)
        return HONE_EXIT_OK;
    (void)fputs("hone: ", stderr);
    if (err->file[0])
        (void)fprintf(stderr, "%s: ", err->file);
    if (err->item[0])
        (void)fprintf(stderr, "%s \"%s\": ", item_word(err->item), err->item);
    (void)fputs(err->reason[0] ? err->reason : hone_status_name(status), stderr);
    if (err->offset != HONE_NO_OFFSET)
        (void)fprintf(stderr, " (byte %" PRIu64 ")", err->offset);
    (void)fputc('\n', stderr);
    return hone_cli_exit_code(status);
}

int hone_cli_file_error(hone_status status, const char *file, const char *fmt, ...)
{
    hone_error err = HONE_CLI_NO_ERROR;
    (void)hone_cli_printable(file, strlen(file), SIZE_MAX, err.file, sizeof err.file);
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(err.reason, sizeof err.reason, fmt, args);
    va_end(args);
    return hone_cli_fail(status, &err);
}

int hone_cli_usage_error(const char *command, const char *fmt, ...)
{
    char text[512], safe[512];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    (void)hone_cli_printable(text, strlen(text), SIZE_MAX, safe, sizeof safe);
    (void)fprintf(stderr, "hone: %s%s%s (try hone %s%s--help)\n", command ? command : "", command ? ": " : "", safe,
                  command ? command : "", command ? " " : "");
    return HONE_EXIT_USAGE;
}

int hone_cli_close_stdout(int code)
{
    /* Closing, not only flushing: a network file system may report a full disk no earlier. */
    const int failed_before = ferror(stdout);
    errno = 0;
    if (fclose(stdout) == 0 && !failed_before)
        return code;
    (void)fprintf(stderr, "hone: cannot write to standard output%s%s\n", errno ? ": " : "",
                  errno ? strerror(errno) : "");
    return HONE_EXIT_RESOURCE;
}

_Noreturn void hone_cli_out_of_memory(void)
{
    (void)fputs("hone: out of memory\n", stderr);
    exit(HONE_EXIT_RESOURCE);
}

void *hone_cli_alloc(size_t nelems, size_t size)
{
    void *p = calloc(nelems ? nelems : 1, size);
    if (!p)
        hone_cli_out_of_memory();
    return p;
}

const char *hone_cli_size(uint64_t nbytes, char buf[HONE_CLI_SIZE_LEN])
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB"};
    if (nbytes < 1024) {
        (void)snprintf(buf, HONE_CLI_SIZE_LEN, "%" PRIu64 " B", nbytes);
        return buf;
    }
    double n = (double)nbytes / 1024;
    size_t unit = 0;
    while (n >= 1023.95 && unit + 1 < sizeof units / sizeof units[0]) {
        n /= 1024;
        unit++;
    }
    (void)snprintf(buf, HONE_CLI_SIZE_LEN, n < 9.995 ? "%.2f %s" : "%.1f %s", n, units[unit]);
    return buf;
}

const char *hone_cli_count(uint64_t n, char buf[HONE_CLI_SIZE_LEN])
{
    static const struct {
        double unit;
        const char *name;
    } units[] = {{1e12, "T"}, {1e9, "B"}, {1e6, "M"}, {1e3, "K"}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if ((double)n >= units[i].unit) {
            (void)snprintf(buf, HONE_CLI_SIZE_LEN, "%.3g %s", (double)n / units[i].unit, units[i].name);
            return buf;
        }
    }
    (void)snprintf(buf, HONE_CLI_SIZE_LEN, "%" PRIu64, n);
    return buf;
}

size_t hone_cli_utf8_next(const char *s, size_t len)
{
    const unsigned char *p = (const unsigned char *)s;
    if (len == 0)
        return 0;
    if (p[0] < 0x80)
        return 1;
    /* The second byte's range also shuts out overlong forms, surrogates and what lies past U+10FFFF. */
    const size_t n = p[0] >= 0xC2 && p[0] <= 0xDF   ? 2
                     : (p[0] & 0xF0) == 0xE0        ? 3
                     : p[0] >= 0xF0 && p[0] <= 0xF4 ? 4
                                                    : 0;
    if (n == 0 || n > len)
        return 0;
    const unsigned low = p[0] == 0xE0 ? 0xA0 : p[0] == 0xF0 ? 0x90 : 0x80;
    const unsigned high = p[0] == 0xED ? 0x9F : p[0] == 0xF4 ? 0x8F : 0xBF;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    return n;
}

/* C0 and C1 control characters: a terminal would obey them. */
static bool is_control(const char *s, size_t n)
{
    const unsigned char *p = (const unsigned char *)s;
    return (n == 1 && (p[0] < 0x20 || p[0] == 0x7F)) || (n == 2 && p[0] == 0xC2 && p[1] < 0xA0);
}

const char *hone_cli_printable(const char *s, size_t len, size_t max_columns, char *buf, size_t cap)
{
    static const char ellipsis[] = "\xE2\x80\xA6", replacement[] = "\xEF\xBF\xBD";
    size_t used = 0, columns = 0, cut = 0;
    for (size_t i = 0; i < len; columns++) {
        size_t n = hone_cli_utf8_next(s + i, len - i);
        const char *piece = n == 0 ? replacement : is_control(s + i, n) ? "?" : s + i;
        const size_t piece_len = n == 0 ? sizeof replacement - 1 : piece == s + i ? n : 1;
        if (columns + 1 <= max_columns && used + sizeof ellipsis <= cap)
            cut = used; /* where an ellipsis would still fit */
        if (columns == max_columns || used + piece_len >= cap) {
            used = cut;
            memcpy(buf + used, ellipsis, sizeof ellipsis - 1);
            used += sizeof ellipsis - 1;
            break;
        }
        memcpy(buf + used, piece, piece_len);
        used += piece_len;
        i += n ? n : 1;
    }
    buf[used] = '\0';
    return buf;
}

double hone_cli_seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

const char *hone_cli_duration(double seconds, char buf[HONE_CLI_SIZE_LEN])
{
    if (seconds < 100)
        (void)snprintf(buf, HONE_CLI_SIZE_LEN, "%.*f s", seconds < 10, seconds);
    else if (seconds < 6000)
        (void)snprintf(buf, HONE_CLI_SIZE_LEN, "%.0f min", seconds / 60);
    else
        (void)snprintf(buf, HONE_CLI_SIZE_LEN, "%.1f h", seconds / 3600);
    return buf;
}
