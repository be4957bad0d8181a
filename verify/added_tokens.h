/* SPDX-License-Identifier: MIT */
/* Tokens that are found in the text before anything else looks at it: leftmost first, then longest. */
#ifndef HONE_ADDED_TOKENS_H
#define HONE_ADDED_TOKENS_H

#include <stdbool.h>

#include "base/arena.h"
#include "hone/checkpoint.h"
#include "verify/text_buffer.h"

typedef struct hone_added_token {
    hone_string text;
    int32_t id;
    bool special;        /* found only when the caller asks for special tokens */
    bool lstrip, rstrip; /* swallows white space before, after */
    bool single_word;    /* not next to a letter, digit or underscore */
} hone_added_token;

/* All-zero finds nothing. Tokens are sorted by text; tokens[first[c] .. first[c + 1]) begin with byte c. */
typedef struct hone_matcher {
    hone_added_token *tokens;
    size_t n;
    uint32_t first[257];
} hone_matcher;

/* hone_matcher_init() sorts n tokens (kept, owned by the caller's arena) and drops empty texts. Of equal texts the
 * lower id wins. */
void hone_matcher_init(hone_matcher *matcher, hone_added_token *tokens, size_t n);

/* hone_matcher_longest() returns the longest token at p, of which left bytes remain, or NULL. */
const hone_added_token *hone_matcher_longest(const hone_matcher *matcher, const char *p, size_t left);

/* A text being cut. */
typedef struct hone_cutting {
    const hone_matcher *matcher;
    const char *text;
    size_t len;
    bool parse_special;
    size_t done;                     /* all before is handed out */
    size_t scan;                     /* where to look next */
    const hone_added_token *pending; /* found, not handed out yet */
    hone_span pending_span;
} hone_cutting;

/* hone_cutting_next() hands out the next stretch: a token with its span, or *token NULL and plain text. False at the
 * end. */
bool hone_cutting_next(hone_cutting *c, hone_span *span, const hone_added_token **token);

#endif
