/* SPDX-License-Identifier: MIT */
/*
 * The inside of a tokenizer, shared by its loaders and its stages.
 *
 * Text becomes ids in this order, whatever file the tokenizer came from:
 *
 *   text -> cut at added tokens -> normalize -> cut at added tokens whose text is normalized too
 *        -> pre-tokenize into words -> merge each word's symbols (BPE by pairs, or SentencePiece by scores), or take
 *           its longest tokens (WordPiece) -> ids
 *
 * Words of a byte-level tokenizer are raw bytes here: the printable stand-ins of GPT-2 are undone when the vocabulary
 * is loaded.
 */
#ifndef HONE_TOKENIZER_IMPL_H
#define HONE_TOKENIZER_IMPL_H

#include "base/arena.h"
#include "formats/json.h"
#include "formats/sentencepiece.h"
#include "hone/verify.h"
#include "verify/added_tokens.h"
#include "verify/merge.h"
#include "verify/normalizer.h"
#include "verify/pretokenizer.h"
#include "verify/text_buffer.h"
#include "verify/vocab_map.h"
#include "verify/word_cache.h"

/* U+2581, which stands for a space in SentencePiece vocabularies. */
#define HONE_SPACE_SYMBOL "\xe2\x96\x81"

enum {
    HONE_MAX_TEXT_NBYTES = 1 << 30,
    HONE_MAX_TEMPLATE = 8,              /* special tokens before or after a text */
    HONE_MAX_TOKENIZER_FILE = 256 << 20 /* tokenizer.json */
};

/* Byte-pair encoding: pairs of ids with a rank each. */
typedef struct hone_bpe {
    hone_pair_table merges;
    bool byte_level;    /* symbols are bytes, not characters */
    bool byte_fallback; /* characters outside the vocabulary become "<0xNN>" tokens */
    bool fuse_unk;
    bool ignore_merges; /* a word that is a token is that token */
    int32_t unk;        /* -1: characters outside the vocabulary vanish */
} hone_bpe;

/* SentencePiece BPE: any two neighbours whose text is a piece may join, best score first. */
typedef struct hone_spm {
    uint32_t *ranks; /* per id, 0 = best score; HONE_NO_RANK: cannot be made by joining */
    bool *unused;    /* per id: is split again where it was made; NULL when no piece is unused */
    hone_matcher user_defined;
    bool byte_fallback;
    int32_t unk;
    size_t max_piece_nbytes;
} hone_spm;

/* WordPiece: the longest token that a word begins with, then the longest that continues it, and so on. */
typedef struct hone_wordpiece {
    hone_string prefix;      /* of the tokens that continue a word: "##" */
    size_t max_word_nchars;  /* a longer word is unknown */
    size_t max_token_nbytes; /* the longest text */
    int32_t unk;
} hone_wordpiece;

typedef enum hone_token_model { HONE_TOKENS_BPE, HONE_TOKENS_SPM, HONE_TOKENS_WORDPIECE } hone_token_model;

struct hone_tokenizer {
    hone_arena arena; /* owns strings, tables without a note, matchers */
    size_t n_vocab;
    hone_string *texts;    /* id -> bytes the model matches; empty: never matched */
    hone_string *pieces;   /* id -> bytes it stands for in text */
    hone_vocab_map map;    /* of texts */
    int32_t byte_ids[256]; /* "<0xNN>", or -1 */
    hone_matcher added, added_normalized;
    hone_normalizer normalizer;
    hone_pretokenizer pretokenizer;
    hone_token_model model;
    hone_bpe bpe;
    hone_spm spm;
    hone_wordpiece wordpiece;
    /* Pairs of characters that are neighbours within some token; a word can be cut between any others. Unused unless
     * can_cut. */
    bool can_cut;
    hone_pair_table neighbours;
    int32_t before[HONE_MAX_TEMPLATE], after[HONE_MAX_TEMPLATE];
    size_t n_before, n_after;
};

/* The state of one call of hone_tokenizer_encode(). */
typedef struct hone_encoding {
    const hone_tokenizer *tok;
    bool parse_special;
    bool after_unk; /* SentencePiece: the last id of this stretch of text is the unknown token */
    hone_ids out, word_ids;
    hone_merger merger;
    hone_word_cache cache;
    hone_normalizing normalizing;
    hone_pretokenizing pretokenizing;
    uint32_t *splits; /* SentencePiece: per id, length of the left part it was last joined from */
    hone_spans stack;
    hone_text continued; /* WordPiece: the rest of a word behind the prefix */
} hone_encoding;

/* The loaders fill an empty tokenizer; on failure the caller frees what is there. */
hone_status hone_tokenizer_from_json(const char *text, size_t len, hone_tokenizer *tok, hone_error *err);
/* From the parsed tokenizer.json, of which source may know the text of all, of a part, or of nothing. */
hone_status hone_tokenizer_from_document(const json_t *root, const hone_json_source *source, hone_tokenizer *tok,
                                         hone_error *err);
hone_status hone_tokenizer_from_sentencepiece(const hone_checkpoint *ckpt, const char *path, hone_tokenizer *tok,
                                              hone_error *err);
hone_status hone_tokenizer_from_gguf(const hone_checkpoint *ckpt, hone_tokenizer *tok, hone_error *err);

/* hone_tokenizer_alloc_vocab() makes room for n_vocab texts and pieces, all empty. LIMIT, NOMEM. */
hone_status hone_tokenizer_alloc_vocab(hone_tokenizer *tok, size_t n_vocab, hone_error *err);

/* hone_tokenizer_set_piece() sets what a token stands for: text with U+2581 as spaces when unescape is set. NOMEM. */
hone_status hone_tokenizer_set_piece(hone_tokenizer *tok, int32_t id, hone_string text, bool unescape, hone_error *err);

/* hone_tokenizer_index() builds the map, the byte ids and the "<0xNN>" pieces from the texts. DATA: a text twice. */
hone_status hone_tokenizer_index(hone_tokenizer *tok, hone_error *err);

/* hone_tokenizer_index_neighbours() builds the neighbours table and sets can_cut. NOMEM. */
hone_status hone_tokenizer_index_neighbours(hone_tokenizer *tok, hone_error *err);

/*
 * hone_byte_level_decode() turns GPT-2's printable stand-ins back into bytes: dst holds len bytes at least.
 * False when src has another character; *n is the number of bytes.
 */
bool hone_byte_level_decode(const char *src, size_t len, char *dst, size_t *n);

/* hone_bpe_set_merge() adds the pair (a, b), whose joined text must be a token. DATA, NOMEM. */
hone_status hone_bpe_set_merge(hone_tokenizer *tok, hone_string a, hone_string b, uint32_t rank, hone_error *err);

/*
 * hone_bpe_encode(), hone_spm_encode() and hone_wordpiece_encode() append the ids of one word to e->word_ids. NOMEM,
 * DATA.
 */
hone_status hone_bpe_encode(hone_encoding *e, const char *word, size_t len, hone_error *err);
hone_status hone_wordpiece_encode(hone_encoding *e, const char *word, size_t len, hone_error *err);
hone_status hone_spm_encode(hone_encoding *e, const char *word, size_t len, hone_error *err);

/* hone_spm_init() ranks the pieces: types and scores hold n_vocab each; types may be NULL (all normal). DATA: a NaN
 * score. */
hone_status hone_spm_init(hone_tokenizer *tok, const int32_t *types, const float *scores, hone_error *err);

/* hone_wordpiece_init() completes tok->wordpiece and the pieces, once prefix and vocabulary are there. NOMEM. */
hone_status hone_wordpiece_init(hone_tokenizer *tok, hone_error *err);

#endif
