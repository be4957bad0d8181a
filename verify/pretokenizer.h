/* SPDX-License-Identifier: MIT */
/* Splitting a normalized text into words, which are tokenized one by one: the pre-tokenizers of tokenizer.json. */
#ifndef HONE_PRETOKENIZER_H
#define HONE_PRETOKENIZER_H

#include "verify/text_buffer.h"
#include "verify/token_regex.h"

/* GPT-2's pattern, which ByteLevel stands for. */
#define HONE_GPT2_PATTERN "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

typedef enum hone_pre_kind {
    HONE_PRE_SPLIT,
    HONE_PRE_PREFIX_SPACE, /* a space before a word that begins with none */
    HONE_PRE_METASPACE,    /* spaces become U+2581, which is also put before a word */
    HONE_PRE_TO_PRINTABLE, /* bytes become GPT-2's printable stand-ins, */
    HONE_PRE_TO_BYTES      /* and stand-ins bytes */
} hone_pre_kind;

/* What becomes of the matches of a split. */
typedef enum hone_split_behavior {
    HONE_SPLIT_REMOVED,
    HONE_SPLIT_ISOLATED,
    HONE_SPLIT_CONTIGUOUS,
    HONE_SPLIT_MERGED_WITH_PREVIOUS,
    HONE_SPLIT_MERGED_WITH_NEXT
} hone_split_behavior;

typedef enum hone_prepend_scheme { HONE_PREPEND_ALWAYS, HONE_PREPEND_FIRST, HONE_PREPEND_NEVER } hone_prepend_scheme;

typedef struct hone_pre_stage {
    hone_pre_kind kind;
    hone_regex *regex;
    hone_split_behavior behavior;
    bool invert; /* what lies between matches counts as the match */
    hone_prepend_scheme prepend;
} hone_pre_stage;

enum { HONE_MAX_PRE_STAGES = 24 };

/* All-zero leaves the text one word. */
typedef struct hone_pretokenizer {
    hone_pre_stage stages[HONE_MAX_PRE_STAGES];
    size_t n;
} hone_pretokenizer;

/* hone_pretokenizer_add() appends a stage; hone_pretokenizer_add_split() compiles a pattern for it. LIMIT: too many. */
hone_status hone_pretokenizer_add(hone_pretokenizer *pre, const hone_pre_stage *stage, hone_error *err);
hone_status hone_pretokenizer_add_split(hone_pretokenizer *pre, const char *pattern, size_t len, bool literal,
                                        hone_split_behavior behavior, bool invert, hone_error *err);
void hone_pretokenizer_deinit(hone_pretokenizer *pre);

/* The words of a text, and the scratch of one thread. */
typedef struct hone_pretokenizing {
    const char *text; /* words are spans of it */
    hone_spans words;
    hone_spans spare;
    hone_text a, b;
    hone_regex_match *match;
} hone_pretokenizing;

/* hone_pretokenize() fills words. at_start: the text begins where the whole input does. LIMIT, NOMEM. */
hone_status hone_pretokenize(const hone_pretokenizer *pre, hone_pretokenizing *p, const char *text, size_t len,
                             bool at_start, hone_error *err);

void hone_pretokenizing_deinit(hone_pretokenizing *p);

/* GPT-2's stand-ins: the code point that stands for a byte, and the byte of a code point or -1. */
uint32_t hone_byte_to_printable(unsigned char byte);
int hone_printable_to_byte(uint32_t c);

#endif
