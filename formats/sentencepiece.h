/* SPDX-License-Identifier: MIT */
/*
 * SentencePiece's tokenizer.model: a protobuf (ModelProto) holding the vocabulary, and how text is normalized before it
 * is split.
 *
 *   ModelProto       1 pieces* {1 piece, 2 score, 3 type}   2 trainer_spec   3 normalizer_spec
 *   TrainerSpec      3 model_type   35 byte_fallback   40 unk_id   41 bos_id   42 eos_id   43 pad_id
 *   NormalizerSpec   2 precompiled_charsmap   3 add_dummy_prefix   4 remove_extra_whitespaces   5 escape_whitespaces
 */
#ifndef HONE_SENTENCEPIECE_H
#define HONE_SENTENCEPIECE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "hone/checkpoint.h"

/* The numbers are SentencePiece's, and those of tokenizer.ggml.token_type. */
typedef enum hone_piece_type {
    HONE_PIECE_NORMAL = 1,
    HONE_PIECE_UNKNOWN = 2,
    HONE_PIECE_CONTROL = 3,
    HONE_PIECE_USER_DEFINED = 4,
    HONE_PIECE_UNUSED = 5,
    HONE_PIECE_BYTE = 6
} hone_piece_type;

typedef struct hone_piece {
    hone_string text; /* NUL-terminated; U+2581 stands for a space */
    float score;
    hone_piece_type type;
} hone_piece;

typedef enum hone_sentencepiece_model {
    HONE_SENTENCEPIECE_UNIGRAM = 1,
    HONE_SENTENCEPIECE_BPE = 2,
    HONE_SENTENCEPIECE_WORD = 3,
    HONE_SENTENCEPIECE_CHAR = 4
} hone_sentencepiece_model;

typedef struct hone_sentencepiece {
    hone_piece *pieces; /* index = token id */
    size_t n_pieces;
    hone_sentencepiece_model model_type;
    bool byte_fallback;
    int32_t unk_id, bos_id, eos_id, pad_id; /* -1: the model has none */
    bool add_dummy_prefix;
    bool remove_extra_whitespaces;
    bool escape_whitespaces;
    hone_string charsmap; /* precompiled normalization rules; empty: none */
    hone_arena arena;     /* owns all of the above */
    size_t cap_pieces;
} hone_sentencepiece;

/*
 * hone_sentencepiece_read() reads a tokenizer.model file (at most 64 MiB).
 *
 * On HONE_OK release *out with hone_sentencepiece_deinit(); on failure *out is empty.
 * ARG: no such file. FORMAT: not a protobuf of this kind (no pieces). DATA: truncated, or a field out of range;
 * err->offset is the position of the field. LIMIT, IO, NOMEM. Unknown fields are skipped, as protobuf asks.
 */
hone_status hone_sentencepiece_read(const char *path, hone_sentencepiece *out, hone_error *err);

/* hone_sentencepiece_parse() is like hone_sentencepiece_read(), but from memory; everything is copied. */
hone_status hone_sentencepiece_parse(const void *data, size_t nbytes, hone_sentencepiece *out, hone_error *err);

/* hone_sentencepiece_deinit() releases the tables and empties the struct. An empty one is a no-op. */
void hone_sentencepiece_deinit(hone_sentencepiece *sp);

#endif
