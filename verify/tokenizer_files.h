/* SPDX-License-Identifier: MIT */
/*
 * Tokenizers of a Hugging Face directory:
 *
 *   tokenizer.json                  everything
 *   tokenizer.model                 SentencePiece
 *   vocab.json and merges.txt       GPT-2's vocabulary {"text": id}, and a merge a line, best first
 *   vocab.txt                       BERT's vocabulary, a token a line
 *
 * The last two kinds are loaded as the tokenizer.json that transformers makes of them.
 */
#ifndef HONE_TOKENIZER_FILES_H
#define HONE_TOKENIZER_FILES_H

#include "formats/tokenizer_config.h"
#include "verify/tokenizer_impl.h"

/* More lines than this are refused: the largest vocabularies have half as many. */
enum { HONE_MAX_VOCAB_LINES = 1 << 20 };

/* hone_tokenizer_from_directory() loads the first kind there is in the directory of a checkpoint. ARG: none. */
hone_status hone_tokenizer_from_directory(const hone_checkpoint *ckpt, hone_tokenizer *tok, hone_error *err);

/* hone_merges_check() looks at merges.txt alone. DATA, with the offset of the character or line: not UTF-8, or not two
 * tokens. */
hone_status hone_merges_check(const char *text, size_t len, hone_error *err);

/* From the texts of vocab.json and merges.txt. config is completed for the vocabulary. */
hone_status hone_tokenizer_from_merges(hone_tokenizer_config *config, const char *vocab, size_t vocab_len,
                                       const char *merges, size_t merges_len, hone_tokenizer *tok, hone_error *err);

/* From the text of vocab.txt. DATA, with the offset: not UTF-8, a NUL, no unknown token. LIMIT: too many lines. */
hone_status hone_tokenizer_from_vocab_txt(hone_tokenizer_config *config, const char *text, size_t len,
                                          hone_tokenizer *tok, hone_error *err);

#endif
