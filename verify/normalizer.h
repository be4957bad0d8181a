/* SPDX-License-Identifier: MIT */
/* What tokenizers do to a text before they split it: the normalizers of tokenizer.json, and SentencePiece's. */
#ifndef HONE_NORMALIZER_H
#define HONE_NORMALIZER_H

#include "base/arena.h"
#include "verify/added_tokens.h"
#include "verify/text_buffer.h"
#include "verify/token_regex.h"

typedef enum hone_normalizer_kind {
    HONE_NORMALIZE_NFC,
    HONE_NORMALIZE_NFD,
    HONE_NORMALIZE_NFKC,
    HONE_NORMALIZE_NFKD,
    HONE_NORMALIZE_LOWERCASE,
    HONE_NORMALIZE_PREPEND,          /* content before a text that is not empty */
    HONE_NORMALIZE_REPLACE,          /* matches of regex by content */
    HONE_NORMALIZE_CLEAN,            /* control characters vanish, white space becomes spaces */
    HONE_NORMALIZE_SPACE_IDEOGRAPHS, /* a space on either side of each */
    HONE_NORMALIZE_STRIP_ACCENTS,    /* marks that take no room vanish; they stand alone after NFD */
    HONE_NORMALIZE_SENTENCEPIECE
} hone_normalizer_kind;

/* SentencePiece's normalization. charsmap: u32 size of a double-array trie, the trie, NUL-terminated replacements. */
typedef struct hone_spm_normalization {
    bool add_dummy_prefix, remove_extra_whitespaces, escape_whitespaces;
    const uint8_t *charsmap; /* borrowed; NULL: none */
    size_t charsmap_nbytes;
    const hone_matcher *kept; /* texts that are copied as they are */
} hone_spm_normalization;

typedef struct hone_normalizer_step {
    hone_normalizer_kind kind;
    hone_string content;
    hone_regex *regex;
    hone_spm_normalization spm;
} hone_normalizer_step;

enum { HONE_MAX_NORMALIZERS = 16 };

/* All-zero leaves texts as they are. */
typedef struct hone_normalizer {
    hone_normalizer_step steps[HONE_MAX_NORMALIZERS];
    size_t n;
} hone_normalizer;

void hone_normalizer_deinit(hone_normalizer *normalizer);

/* hone_charsmap_check() tells whether a charsmap is in order: DATA when its sizes contradict each other. */
hone_status hone_charsmap_check(const uint8_t *charsmap, size_t nbytes, hone_error *err);

/* hone_spm_normalize() appends the normalized text to out. False when out of memory. */
bool hone_spm_normalize(const hone_spm_normalization *spm, const char *text, size_t len, hone_text *out);

/* Scratch of one thread. */
typedef struct hone_normalizing {
    hone_text a, b;
    int32_t *points;
    size_t cap_points;
    hone_regex_match *match; /* borrowed */
} hone_normalizing;

/* hone_normalize() gives the normalized text, which lies in text itself or in the scratch. LIMIT: over 2 GiB. NOMEM. */
hone_status hone_normalize(const hone_normalizer *normalizer, hone_normalizing *scratch, const char *text, size_t len,
                           const char **out, size_t *out_len, hone_error *err);

void hone_normalizing_deinit(hone_normalizing *scratch);

#endif
