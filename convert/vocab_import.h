/* SPDX-License-Identifier: MIT */
/* A vocabulary on its way from Hugging Face files to tokenizer.ggml keys. */
#ifndef HONE_VOCAB_IMPORT_H
#define HONE_VOCAB_IMPORT_H

#include <jansson.h>

#include "base/arena.h"
#include "convert/plan_impl.h"
#include "formats/sentencepiece.h"

typedef struct hone_vocab_import {
    hone_arena arena;
    uint32_t n; /* tokens of the output: the model's vocab_size */
    hone_string *tokens;
    float *scores;
    int32_t *types;          /* hone_piece_type */
    const char *model, *pre; /* tokenizer.ggml.model and .pre; static */
    hone_string *merges;     /* "a b"; NULL: none */
    size_t n_merges;
    bool scored;                /* scores are written */
    int32_t bos, eos, unk, pad; /* -1: none */
    bool add_bos, add_eos;
    int add_space_prefix; /* -1: not said */
} hone_vocab_import;

/* hone_vocab_import_init() makes n unused tokens "[PAD<i>]". */
hone_status hone_vocab_import_init(hone_vocab_import *v, uint32_t n, hone_error *err);

/* hone_vocab_import_set() fills in one token. DATA: the id is beyond the model's vocabulary. text is copied. */
hone_status hone_vocab_import_set(hone_vocab_import *v, uint64_t id, const char *text, size_t len, float score,
                                  hone_piece_type type, hone_error *err);

/* hone_vocab_import_find() returns the id of a token's text, or -1. Linear: for a handful of special tokens. */
int32_t hone_vocab_import_find(const hone_vocab_import *v, const char *text);

/* From tokenizer.json (its model is BPE; byte-level, or with byte fallback), and from tokenizer.model. */
hone_status hone_import_tokenizer_json(hone_vocab_import *v, const json_t *root, hone_error *err);
/* From vocab.json and merges.txt (GPT-2's own files; byte-level). merges is NUL-terminated. */
hone_status hone_import_vocab_and_merges(hone_vocab_import *v, json_t *vocab, const char *merges, hone_error *err);
hone_status hone_import_sentencepiece(hone_vocab_import *v, const hone_sentencepiece *sp, hone_error *err);

/*
 * hone_pre_tokenizer_name() returns the tokenizer.ggml.pre that stands for a tokenizer.json's pre_tokenizer.
 * UNSUPPORTED: none of those we know; a wrong name would tokenize wrongly in silence.
 */
hone_status hone_pre_tokenizer_name(const json_t *pre_tokenizer, const char **name, hone_error *err);

#endif
