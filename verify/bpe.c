/* SPDX-License-Identifier: MIT */
#include "base/fail.h"
#include "base/mem.h"
#include "verify/tokenizer_impl.h"

bool hone_byte_level_decode(const char *src, size_t len, char *dst, size_t *n)
{
    size_t count = 0;
    for (size_t i = 0; i < len;) {
        const size_t char_nbytes = hone_utf8_nbytes(src + i, len - i);
        const int byte = hone_printable_to_byte(hone_utf8_decode(src + i, char_nbytes));
        if (byte < 0)
            return false;
        dst[count++] = (char)byte;
        i += char_nbytes;
    }
    *n = count;
    return true;
}

hone_status hone_bpe_set_merge(hone_tokenizer *tok, hone_string a, hone_string b, uint32_t rank, hone_error *err)
{
    hone_text text = {0};
    hone_status status = HONE_OK;
    size_t left_nbytes = a.len;
    size_t n = a.len + b.len;
    if (!hone_text_append(&text, a.data, a.len) || !hone_text_append(&text, b.data, b.len)) {
        status = hone_fail_nomem(err, n);
    } else {
        /* Stand-ins are longer than their bytes, so decoding in place is safe. */
        const bool ok = !tok->bpe.byte_level || (hone_byte_level_decode(text.data, a.len, text.data, &left_nbytes) &&
                                                 hone_byte_level_decode(b.data, b.len, text.data + left_nbytes, &n));
        if (ok && tok->bpe.byte_level)
            n += left_nbytes;
        const int32_t left = ok ? hone_vocab_map_find(&tok->map, text.data, left_nbytes) : -1;
        const int32_t right = ok ? hone_vocab_map_find(&tok->map, text.data + left_nbytes, n - left_nbytes) : -1;
        const int32_t joined = ok ? hone_vocab_map_find(&tok->map, text.data, n) : -1;
        if (left < 0 || right < 0 || joined < 0)
            status = hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, "merges",
                               "merge %u (\"%.*s\" \"%.*s\") is not of tokens, or does not make one", rank,
                               (int)(a.len < 60 ? a.len : 60), a.data, (int)(b.len < 60 ? b.len : 60), b.data);
        else if (!hone_pair_table_put(&tok->bpe.merges, (uint32_t)left, (uint32_t)right, rank, joined))
            status = hone_fail_nomem(err, tok->bpe.merges.cap * sizeof(hone_pair));
    }
    hone_release(text.data);
    return status;
}

static bool join_pair(void *user, const hone_symbol *left, const hone_symbol *right, uint32_t *rank, int32_t *id)
{
    const hone_pair_table *merges = user;
    const hone_pair *pair = hone_pair_table_find(merges, (uint32_t)left->id, (uint32_t)right->id);
    if (!pair)
        return false;
    *rank = pair->rank;
    *id = pair->id;
    return true;
}

static bool has_all_bytes(const hone_tokenizer *tok, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (tok->byte_ids[(unsigned char)p[i]] < 0)
            return false;
    return true;
}

/* Unknown characters not yet turned into a symbol. */
typedef struct {
    size_t start, len;
} unknown_run;

static bool flush_unknown(hone_encoding *e, unknown_run *run)
{
    const bool ok = run->len == 0 || hone_merger_push(&e->merger, run->start, run->len, e->tok->bpe.unk);
    run->len = 0;
    return ok;
}

/* One character as symbols: its token, its bytes, or (part of) an unknown token; the order of events is that of
 * tokenizers. */
static bool push_character(hone_encoding *e, const char *word, size_t at, size_t n, unknown_run *run)
{
    const hone_tokenizer *tok = e->tok;
    const int32_t id = hone_vocab_map_find(&tok->map, word + at, n);
    if (id >= 0)
        return flush_unknown(e, run) && hone_merger_push(&e->merger, at, n, id);
    if (tok->bpe.byte_fallback && has_all_bytes(tok, word + at, n)) {
        bool ok = true;
        for (size_t i = 0; i < n && ok; i++)
            ok = hone_merger_push(&e->merger, at + i, 1, tok->byte_ids[(unsigned char)word[at + i]]);
        return ok;
    }
    if (tok->bpe.unk < 0)
        return true;
    if (!tok->bpe.fuse_unk && !flush_unknown(e, run))
        return false;
    if (run->len == 0)
        run->start = at;
    run->len += n;
    return true;
}

hone_status hone_bpe_encode(hone_encoding *e, const char *word, size_t len, hone_error *err)
{
    hone_merger *m = &e->merger;
    hone_merger_clear(m);
    unknown_run run = {0};
    bool ok = true;
    for (size_t at = 0; at < len && ok;) {
        const size_t n = e->tok->bpe.byte_level ? 1 : hone_utf8_nbytes(word + at, len - at);
        ok = push_character(e, word, at, n, &run);
        at += n;
    }
    ok = ok && flush_unknown(e, &run);
    /* The table is only read; the callback's user pointer is not const. */
    hone_pair_table merges = e->tok->bpe.merges;
    ok = ok && hone_merger_run(m, join_pair, &merges);
    for (int32_t i = m->n ? 0 : -1; i >= 0 && ok; i = m->symbols[i].next)
        ok = hone_ids_append(&e->word_ids, m->symbols[i].id);
    return ok ? HONE_OK : hone_fail_nomem(err, len);
}
