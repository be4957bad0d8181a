/* SPDX-License-Identifier: MIT */
/* Growing byte strings, spans and id lists, and the few facts about UTF-8 and Unicode that tokenizers need. */
#ifndef HONE_TEXT_BUFFER_H
#define HONE_TEXT_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All-zero is empty; release data with hone_release(). */
typedef struct hone_text {
    char *data;
    size_t len, cap;
} hone_text;

typedef struct hone_span {
    uint32_t start, len; /* bytes */
} hone_span;

typedef struct hone_spans {
    hone_span *v;
    size_t n, cap;
} hone_spans;

typedef struct hone_ids {
    int32_t *v;
    size_t n, cap;
} hone_ids;

/* Each appends, and returns false when out of memory. A span past 4 GiB is refused the same way. */
bool hone_text_append(hone_text *text, const void *src, size_t nbytes);
bool hone_spans_append(hone_spans *spans, size_t start, size_t len);
bool hone_ids_append(hone_ids *ids, int32_t id);

/* hone_utf8_check() returns the position of the first ill-formed sequence, or nbytes. */
size_t hone_utf8_check(const char *text, size_t nbytes);

/* hone_utf8_nbytes() returns the length of the character at p, which is well-formed; never more than left. */
size_t hone_utf8_nbytes(const char *p, size_t left);

/* hone_utf8_decode() returns the code point of a well-formed character of n bytes. */
uint32_t hone_utf8_decode(const char *p, size_t n);

/* hone_utf8_encode() writes a code point to dst (4 bytes at least) and returns its length. */
size_t hone_utf8_encode(uint32_t c, char *dst);

/* hone_is_space() tells Unicode's White_Space; hone_is_word() what regular expressions call \w. */
bool hone_is_space(uint32_t c);
bool hone_is_word(uint32_t c);

#endif
