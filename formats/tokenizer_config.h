/* SPDX-License-Identifier: MIT */
/*
 * The settings beside a bare vocabulary (vocab.json, vocab.txt), read as transformers reads them:
 *
 *   tokenizer_config.json       names special tokens and options; with added_tokens_decoder, {"id": {"content": ...}},
 *                               it says all there is to know of added tokens. Without it also
 *   special_tokens_map.json     names special tokens, and
 *   added_tokens.json           {"text": id} adds tokens.
 *
 * Each may be missing.
 */
#ifndef HONE_TOKENIZER_CONFIG_H
#define HONE_TOKENIZER_CONFIG_H

#include <jansson.h>
#include <stdbool.h>

#include "formats/sources.h"

typedef struct hone_tokenizer_config {
    json_t *settings; /* an object, the two files that name special tokens in one */
    json_t *added;    /* an array of objects like those of tokenizer.json's added_tokens, by id */
} hone_tokenizer_config;

/* hone_tokenizer_config_read() reads the files. DATA, LIMIT, with the file named; NOMEM. */
hone_status hone_tokenizer_config_read(const hone_checkpoint *ckpt, hone_tokenizer_config *out, hone_error *err);

void hone_tokenizer_config_deinit(hone_tokenizer_config *config);

/*
 * hone_tokenizer_config_token() returns the text of a special token, such as "unk_token": a string or an object with
 * "content"; missing when the settings do not name it, NULL when they say null. Borrowed.
 */
const char *hone_tokenizer_config_token(const hone_tokenizer_config *config, const char *key, const char *missing);

/* hone_tokenizer_config_flag() returns a boolean setting; missing when it is none. */
bool hone_tokenizer_config_flag(const hone_tokenizer_config *config, const char *key, bool missing);

/*
 * A class of tokenizers of transformers: the names that tokenizer_config.json may give it, and the special tokens it
 * has where nothing else is said, by key. Both lists end with NULL.
 */
typedef struct hone_tokenizer_class {
    const char *const *names;
    const char *const (*special)[2]; /* {"unk_token", "[UNK]"}, ..., {NULL, NULL} */
} hone_tokenizer_class;

/* GPT2Tokenizer (vocab.json and merges.txt) and BertTokenizer (vocab.txt). */
extern const hone_tokenizer_class hone_gpt2_tokenizer_class, hone_bert_tokenizer_class;

/*
 * hone_tokenizer_config_resolve() completes config->added for a vocabulary {"text": id}: it appends the special tokens
 * that are not among them, and gives each the id of the vocabulary or the next free one. UNSUPPORTED: the settings name
 * another class. DATA: added_tokens.json or added_tokens_decoder gives a token another id than that. NOMEM.
 */
hone_status hone_tokenizer_config_resolve(hone_tokenizer_config *config, const hone_tokenizer_class *kind,
                                          const json_t *vocab, hone_error *err);

#endif
