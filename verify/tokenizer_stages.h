/* SPDX-License-Identifier: MIT */
/* The normalizer and pre_tokenizer objects of tokenizer.json. */
#ifndef HONE_TOKENIZER_STAGES_H
#define HONE_TOKENIZER_STAGES_H

#include <jansson.h>

#include "verify/tokenizer_impl.h"

/* hone_stages_from_json() fills tok->normalizer and tok->pretokenizer, and sets tok->bpe.byte_level. Either object may
 * be NULL or null. source is where positions in errors come from. *escapes_spaces tells whether spaces become U+2581.
 * UNSUPPORTED: a type not handled. DATA, NOMEM. */
hone_status hone_stages_from_json(const json_t *normalizer, const json_t *pre_tokenizer, const hone_json_source *source,
                                  hone_tokenizer *tok, bool *escapes_spaces, hone_error *err);

#endif
