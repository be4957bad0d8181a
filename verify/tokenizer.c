/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "formats/sources.h"
#include "verify/tokenizer_files.h"
#include "verify/tokenizer_impl.h"

/* ---- building, shared by the loaders ---- */

hone_status hone_tokenizer_alloc_vocab(hone_tokenizer *tok, size_t n_vocab, hone_error *err)
{
    if (n_vocab == 0 || n_vocab > INT32_MAX / 4)
        return hone_fail(err, HONE_ERROR_LIMIT, HONE_NO_OFFSET, NULL, "a vocabulary of %zu tokens", n_vocab);
    tok->n_vocab = n_vocab;
    tok->texts = hone_arena_alloc(&tok->arena, n_vocab, sizeof *tok->texts);
    tok->pieces = hone_arena_alloc(&tok->arena, n_vocab, sizeof *tok->pieces);
    if (!tok->texts || !tok->pieces)
        return hone_fail_nomem(err, n_vocab * sizeof *tok->texts);
    for (size_t id = 0; id < n_vocab; id++)
        tok->texts[id] = tok->pieces[id] = (hone_string){.data = "", .len = 0};
    return HONE_OK;
}

hone_status hone_tokenizer_set_piece(hone_tokenizer *tok, int32_t id, hone_string text, bool unescape, hone_error *err)
{
    char *p = hone_arena_copy(&tok->arena, text.data, text.len);
    if (!p)
        return hone_fail_nomem(err, text.len);
    size_t n = 0;
    for (size_t i = 0; i < text.len;) {
        const bool space = unescape && text.len - i >= 3 && memcmp(text.data + i, HONE_SPACE_SYMBOL, 3) == 0;
        p[n++] = space ? ' ' : text.data[i];
        i += space ? 3 : 1;
    }
    p[n] = '\0';
    tok->pieces[id] = (hone_string){.data = p, .len = n};
    return HONE_OK;
}

hone_status hone_tokenizer_index(hone_tokenizer *tok, hone_error *err)
{
    HONE_TRY(hone_vocab_map_init(&tok->map, &tok->arena, tok->texts, tok->n_vocab, err));
    for (int byte = 0; byte < 256; byte++) {
        char name[8];
        const int len = snprintf(name, sizeof name, "<0x%02X>", (unsigned)byte);
        const int32_t id = hone_vocab_map_find(&tok->map, name, (size_t)len);
        tok->byte_ids[byte] = id;
        const char c = (char)byte;
        if (id >= 0 && (tok->model == HONE_TOKENS_SPM || tok->bpe.byte_fallback))
            HONE_TRY(hone_tokenizer_set_piece(tok, id, (hone_string){.data = &c, .len = 1}, false, err));
    }
    return HONE_OK;
}

hone_status hone_tokenizer_index_neighbours(hone_tokenizer *tok, hone_error *err)
{
    for (size_t id = 0; id < tok->n_vocab; id++) {
        const hone_string text = tok->texts[id];
        uint32_t before = 0;
        for (size_t i = 0; i < text.len;) {
            const size_t n = hone_utf8_nbytes(text.data + i, text.len - i);
            const uint32_t c = hone_utf8_decode(text.data + i, n);
            if (i > 0 && !hone_pair_table_put(&tok->neighbours, before, c, 0, 0))
                return hone_fail_nomem(err, tok->neighbours.cap * sizeof(hone_pair));
            before = c;
            i += n;
        }
    }
    tok->can_cut = true;
    return HONE_OK;
}

/* ---- loading ---- */

hone_status hone_tokenizer_load(const hone_checkpoint *ckpt, hone_tokenizer **out, hone_error *err)
{
    *out = NULL;
    hone_tokenizer *tok = hone_calloc(1, sizeof *tok);
    if (!tok)
        return hone_fail_nomem(err, sizeof *tok);
    tok->bpe.unk = tok->spm.unk = -1;
    hone_status status;
    if (strcmp(hone_checkpoint_format(ckpt), "gguf") == 0)
        status = hone_fail_in_file(err, hone_tokenizer_from_gguf(ckpt, tok, err), ckpt->path);
    else
        status = hone_tokenizer_from_directory(ckpt, tok, err);
    if (status == HONE_OK)
        *out = tok;
    else
        hone_tokenizer_free(tok);
    return status;
}

void hone_tokenizer_free(hone_tokenizer *tok)
{
    if (!tok)
        return;
    hone_normalizer_deinit(&tok->normalizer);
    hone_pretokenizer_deinit(&tok->pretokenizer);
    hone_pair_table_deinit(&tok->bpe.merges);
    hone_pair_table_deinit(&tok->neighbours);
    hone_arena_deinit(&tok->arena);
    hone_release(tok);
}

/* ---- encoding ---- */

/* SentencePiece gives one unknown token for a run of unknown characters. */
static bool append_ids(hone_encoding *e, const int32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const bool unknown = e->tok->model == HONE_TOKENS_SPM && ids[i] == e->tok->spm.unk;
        if (!(unknown && e->after_unk) && !hone_ids_append(&e->out, ids[i]))
            return false;
        e->after_unk = unknown;
    }
    return true;
}

static hone_status encode_with_model(hone_encoding *e, const char *word, size_t len, hone_error *err)
{
    switch (e->tok->model) {
    case HONE_TOKENS_SPM:
        return hone_spm_encode(e, word, len, err);
    case HONE_TOKENS_WORDPIECE:
        return hone_wordpiece_encode(e, word, len, err);
    case HONE_TOKENS_BPE:
        break;
    }
    return hone_bpe_encode(e, word, len, err);
}

static hone_status encode_part(hone_encoding *e, const char *word, size_t len, hone_error *err)
{
    /* How an unused piece is split depends on the whole text, so such vocabularies do without the cache. */
    const bool cached = len <= HONE_CACHED_WORD_NBYTES && !e->splits;
    size_t n;
    const int32_t *ids = cached ? hone_word_cache_find(&e->cache, word, len, &n) : NULL;
    if (!ids) {
        e->word_ids.n = 0;
        HONE_TRY(encode_with_model(e, word, len, err));
        if (cached && !hone_word_cache_put(&e->cache, word, len, e->word_ids.v, e->word_ids.n))
            return hone_fail_nomem(err, len);
        ids = e->word_ids.v;
        n = e->word_ids.n;
    }
    return append_ids(e, ids, n) ? HONE_OK : hone_fail_nomem(err, n * sizeof *ids);
}

/* Unknown characters side by side may become one token. SentencePiece sees to that afterwards. */
static bool may_fuse(const hone_tokenizer *tok, const char *before, size_t before_nbytes, const char *c, size_t nbytes)
{
    return tok->model == HONE_TOKENS_BPE && hone_vocab_map_find(&tok->map, before, before_nbytes) < 0 &&
           hone_vocab_map_find(&tok->map, c, nbytes) < 0;
}

/* Cut a word between characters that are neighbours in no token: nothing joins across, so the ids are the same. */
static hone_status encode_in_parts(hone_encoding *e, const char *word, size_t len, hone_error *err)
{
    size_t start = 0, before_nbytes = 0;
    uint32_t before = 0;
    for (size_t at = 0; at < len;) {
        const size_t n = hone_utf8_nbytes(word + at, len - at);
        const uint32_t c = hone_utf8_decode(word + at, n);
        if (at > start && !hone_pair_table_find(&e->tok->neighbours, before, c) &&
            !may_fuse(e->tok, word + at - before_nbytes, before_nbytes, word + at, n)) {
            HONE_TRY(encode_part(e, word + start, at - start, err));
            start = at;
        }
        before = c;
        before_nbytes = n;
        at += n;
    }
    return start < len ? encode_part(e, word + start, len - start, err) : HONE_OK;
}

static hone_status encode_word(hone_encoding *e, const char *word, size_t len, hone_error *err)
{
    if (len == 0)
        return HONE_OK;
    if (e->tok->model == HONE_TOKENS_BPE && e->tok->bpe.ignore_merges) {
        const int32_t id = hone_vocab_map_find(&e->tok->map, word, len);
        if (id >= 0)
            return append_ids(e, &id, 1) ? HONE_OK : hone_fail_nomem(err, sizeof id);
    }
    return e->tok->can_cut ? encode_in_parts(e, word, len, err) : encode_part(e, word, len, err);
}

static hone_status encode_plain(hone_encoding *e, const char *text, size_t len, bool at_start, hone_error *err)
{
    e->after_unk = false;
    hone_pretokenizing *p = &e->pretokenizing;
    HONE_TRY(hone_pretokenize(&e->tok->pretokenizer, p, text, len, at_start, err));
    for (size_t i = 0; i < p->words.n; i++)
        HONE_TRY(encode_word(e, p->text + p->words.v[i].start, p->words.v[i].len, err));
    return HONE_OK;
}

static hone_status encode_normalized(hone_encoding *e, const char *text, size_t len, bool at_start, hone_error *err)
{
    hone_cutting cut = {
        .matcher = &e->tok->added_normalized, .text = text, .len = len, .parse_special = e->parse_special};
    hone_span span;
    const hone_added_token *token;
    while (hone_cutting_next(&cut, &span, &token)) {
        if (!token)
            HONE_TRY(encode_plain(e, text + span.start, span.len, at_start && span.start == 0, err));
        else if (!hone_ids_append(&e->out, token->id))
            return hone_fail_nomem(err, sizeof token->id);
    }
    return HONE_OK;
}

static hone_status encode_text(hone_encoding *e, const char *text, size_t len, hone_error *err)
{
    hone_cutting cut = {.matcher = &e->tok->added, .text = text, .len = len, .parse_special = e->parse_special};
    hone_span span;
    const hone_added_token *token;
    while (hone_cutting_next(&cut, &span, &token)) {
        const char *normalized;
        size_t n;
        if (token && !hone_ids_append(&e->out, token->id))
            return hone_fail_nomem(err, sizeof token->id);
        if (token)
            continue;
        HONE_TRY(
            hone_normalize(&e->tok->normalizer, &e->normalizing, text + span.start, span.len, &normalized, &n, err));
        HONE_TRY(encode_normalized(e, normalized, n, span.start == 0, err));
    }
    return HONE_OK;
}

static hone_status encode_with_special(hone_encoding *e, const char *text, size_t len, bool add_special,
                                       hone_error *err)
{
    const hone_tokenizer *tok = e->tok;
    for (size_t i = 0; add_special && i < tok->n_before; i++)
        if (!hone_ids_append(&e->out, tok->before[i]))
            return hone_fail_nomem(err, sizeof *tok->before);
    HONE_TRY(encode_text(e, text, len, err));
    for (size_t i = 0; add_special && i < tok->n_after; i++)
        if (!hone_ids_append(&e->out, tok->after[i]))
            return hone_fail_nomem(err, sizeof *tok->after);
    return HONE_OK;
}

static hone_status encoding_init(hone_encoding *e, size_t nbytes, hone_error *err)
{
    if (!hone_word_cache_init(&e->cache, nbytes) || !(e->pretokenizing.match = hone_regex_match_new()))
        return hone_fail_nomem(err, nbytes);
    e->normalizing.match = e->pretokenizing.match;
    if (e->tok->spm.unused && !(e->splits = hone_calloc(e->tok->n_vocab, sizeof *e->splits)))
        return hone_fail_nomem(err, e->tok->n_vocab * sizeof *e->splits);
    return HONE_OK;
}

static void encoding_deinit(hone_encoding *e)
{
    hone_release(e->out.v);
    hone_release(e->word_ids.v);
    hone_release(e->splits);
    hone_release(e->stack.v);
    hone_release(e->continued.data);
    hone_merger_deinit(&e->merger);
    hone_word_cache_deinit(&e->cache);
    hone_normalizing_deinit(&e->normalizing);
    hone_regex_match_free(e->pretokenizing.match);
    hone_pretokenizing_deinit(&e->pretokenizing);
}

hone_status hone_tokenizer_encode(const hone_tokenizer *tok, const char *text, size_t nbytes, bool add_special,
                                  bool parse_special, int32_t **ids, size_t *n, hone_error *err)
{
    *ids = NULL;
    *n = 0;
    if (nbytes > HONE_MAX_TEXT_NBYTES)
        return hone_fail(err, HONE_ERROR_LIMIT, HONE_NO_OFFSET, NULL, "a text of %zu bytes, at most %d", nbytes,
                         HONE_MAX_TEXT_NBYTES);
    const size_t bad = hone_utf8_check(text, nbytes);
    if (bad < nbytes)
        return hone_fail(err, HONE_ERROR_DATA, bad, NULL, "text is not UTF-8");
    hone_encoding e = {.tok = tok, .parse_special = parse_special};
    hone_status status = encoding_init(&e, nbytes, err);
    if (status == HONE_OK)
        status = encode_with_special(&e, text, nbytes, add_special, err);
    if (status == HONE_OK) {
        *ids = e.out.v;
        *n = e.out.n;
        e.out.v = NULL;
    }
    encoding_deinit(&e);
    return status;
}

void hone_tokens_free(int32_t *ids)
{
    hone_release(ids);
}

size_t hone_tokenizer_n_vocab(const hone_tokenizer *tok)
{
    return tok->n_vocab;
}

int32_t hone_tokenizer_bos(const hone_tokenizer *tok)
{
    return tok->n_before > 0 ? tok->before[0] : -1;
}

hone_string hone_tokenizer_piece(const hone_tokenizer *tok, int32_t id)
{
    if (id < 0 || (size_t)id >= tok->n_vocab)
        return (hone_string){.data = "", .len = 0};
    return tok->pieces[id];
}
