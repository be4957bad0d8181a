/* SPDX-License-Identifier: MIT */
/* BERT's WordPiece: a word falls into the longest tokens from its left end on, or as a whole into the unknown token. */
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "verify/tokenizer_impl.h"

static size_t count_characters(const char *word, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++)
        n += ((unsigned char)word[i] & 0xc0) != 0x80;
    return n;
}

/* The longest token that text begins with, or -1; *len becomes its length. */
static int32_t longest_token(const hone_tokenizer *tok, const char *text, size_t *len)
{
    size_t n = *len < tok->wordpiece.max_token_nbytes ? *len : tok->wordpiece.max_token_nbytes;
    for (; n > 0; n--) {
        /* Only whole characters are tried; a token longer than the rest of the text cannot match. */
        if (n < *len && ((unsigned char)text[n] & 0xc0) == 0x80)
            continue;
        const int32_t id = hone_vocab_map_find(&tok->map, text, n);
        if (id >= 0) {
            *len = n;
            return id;
        }
    }
    return -1;
}

hone_status hone_wordpiece_encode(hone_encoding *e, const char *word, size_t len, hone_error *err)
{
    const hone_wordpiece *model = &e->tok->wordpiece;
    hone_text *rest = &e->continued;
    bool known = count_characters(word, len) <= model->max_word_nchars, ok = true;
    const size_t first = e->word_ids.n;
    for (size_t at = 0; at < len && known && ok;) {
        /* What continues a word is looked up behind the prefix. */
        const size_t skipped = at > 0 ? model->prefix.len : 0;
        const char *text = word + at;
        size_t n = len - at;
        if (skipped > 0) {
            const size_t usable = n < model->max_token_nbytes ? n : model->max_token_nbytes;
            rest->len = 0;
            ok = hone_text_append(rest, model->prefix.data, skipped) && hone_text_append(rest, text, usable);
            text = rest->data;
            n = skipped + usable;
        }
        const int32_t id = ok ? longest_token(e->tok, text, &n) : -1;
        known = id >= 0 && n > skipped;
        ok = ok && (!known || hone_ids_append(&e->word_ids, id));
        at += n - skipped;
    }
    if (ok && !known) {
        e->word_ids.n = first;
        ok = hone_ids_append(&e->word_ids, model->unk);
    }
    return ok ? HONE_OK : hone_fail_nomem(err, len);
}

hone_status hone_wordpiece_init(hone_tokenizer *tok, hone_error *err)
{
    hone_wordpiece *model = &tok->wordpiece;
    for (size_t id = 0; id < tok->n_vocab; id++) {
        const hone_string text = tok->texts[id], prefix = model->prefix;
        if (text.len > model->max_token_nbytes)
            model->max_token_nbytes = text.len;
        const bool continues = text.len > prefix.len && memcmp(text.data, prefix.data, prefix.len) == 0;
        if (continues && prefix.len > 0)
            HONE_TRY(hone_tokenizer_set_piece(
                tok, (int32_t)id, (hone_string){.data = text.data + prefix.len, .len = text.len - prefix.len}, false,
                err));
    }
    return HONE_OK;
}
