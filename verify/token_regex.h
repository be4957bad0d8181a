/* SPDX-License-Identifier: MIT */
/*
 * The regular expressions of tokenizers, on PCRE2.
 *
 * tokenizer.json is written for Oniguruma in its Ruby syntax. What that reads otherwise than PCRE2 is rewritten (\s,
 * \w, \h, line anchors) or refused (class intersections, nested classes), so that a pattern never quietly means
 * something else.
 */
#ifndef HONE_TOKEN_REGEX_H
#define HONE_TOKEN_REGEX_H

#include <stdbool.h>
#include <stddef.h>

#include "hone/status.h"

typedef struct hone_regex hone_regex;
typedef struct hone_regex_match hone_regex_match;

/*
 * hone_regex_new() compiles a pattern, or with literal set a plain string. UNSUPPORTED: syntax not handled; err names
 * the pattern. NOMEM. May be used by many threads, each with a hone_regex_match of its own.
 */
hone_status hone_regex_new(const char *pattern, size_t len, bool literal, hone_regex **out, hone_error *err);
void hone_regex_free(hone_regex *regex);

/* hone_regex_match_new() makes the scratch of one thread; NULL when out of memory. */
hone_regex_match *hone_regex_match_new(void);
void hone_regex_match_free(hone_regex_match *match);

/* Where in a text to look; starts with all zero. */
typedef struct hone_regex_at {
    size_t next;     /* search from here */
    size_t last_end; /* of the last match */
    bool any;        /* there was one */
} hone_regex_at;

/*
 * hone_regex_next() finds the next match in well-formed UTF-8: *found, and its [*start, *end). An empty match right
 * after the last match is passed over. LIMIT: the pattern backtracks beyond reason.
 */
hone_status hone_regex_next(const hone_regex *regex, hone_regex_match *match, const char *text, size_t len,
                            hone_regex_at *at, bool *found, size_t *start, size_t *end, hone_error *err);

#endif
