/* SPDX-License-Identifier: MIT */
/*
 * SentencePiece BPE. Two neighbours join when their text together is a piece; the best score goes first. Pieces marked
 * unused may take part but not remain: where one is left at the end it is split as it was made.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "verify/tokenizer_impl.h"

typedef struct {
    float score;
    uint32_t id;
} scored;

static int compare_scores(const void *a, const void *b)
{
    const scored *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

/* Equal scores get equal ranks: then the leftmost pair goes first, whatever its piece. */
static void rank_scores(hone_spm *spm, scored *order, size_t n)
{
    if (n > 1)
        qsort(order, n, sizeof *order, compare_scores);
    uint32_t rank = 0;
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && order[i].score != order[i - 1].score)
            rank++;
        spm->ranks[order[i].id] = rank;
    }
}

static hone_status read_types(hone_tokenizer *tok, const int32_t *types, const float *scores, scored *order, size_t *n,
                              hone_error *err)
{
    hone_spm *spm = &tok->spm;
    for (size_t id = 0; id < tok->n_vocab; id++) {
        spm->ranks[id] = HONE_NO_RANK;
        if (isnan(scores[id]))
            return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, NULL, "the score of token %zu is NaN", id);
        const int32_t type = types ? types[id] : HONE_PIECE_NORMAL;
        const hone_string text = tok->texts[id];
        if (text.len == 0 ||
            !(type == HONE_PIECE_NORMAL || type == HONE_PIECE_USER_DEFINED || type == HONE_PIECE_UNUSED))
            continue;
        if (type == HONE_PIECE_UNUSED && !spm->unused) {
            spm->unused = hone_arena_alloc(&tok->arena, tok->n_vocab, sizeof *spm->unused);
            if (!spm->unused)
                return hone_fail_nomem(err, tok->n_vocab);
            memset(spm->unused, 0, tok->n_vocab * sizeof *spm->unused);
        }
        if (type == HONE_PIECE_UNUSED)
            spm->unused[id] = true;
        if (text.len > spm->max_piece_nbytes)
            spm->max_piece_nbytes = text.len;
        order[(*n)++] = (scored){.score = scores[id], .id = (uint32_t)id};
    }
    return HONE_OK;
}

/* A character of its own, or a piece that joining can give. */
static bool can_be_symbol(const hone_tokenizer *tok, const char *p, size_t len)
{
    if (hone_utf8_nbytes(p, len) == len)
        return true;
    const int32_t id = hone_vocab_map_find(&tok->map, p, len);
    return id >= 0 && tok->spm.ranks[id] != HONE_NO_RANK;
}

/*
 * Forget the unused pieces that no two symbols give. Converters fill vocabularies up with unused "[PAD7]" pieces; with
 * none left, texts can be cut into parts and these remembered.
 */
static void prune_unused(hone_tokenizer *tok)
{
    hone_spm *spm = &tok->spm;
    bool any = false;
    for (size_t id = 0; id < tok->n_vocab && spm->unused; id++) {
        const hone_string text = tok->texts[id];
        bool made = false;
        for (size_t left = 1; left < text.len && spm->unused[id] && !made; left++)
            made = can_be_symbol(tok, text.data, left) && can_be_symbol(tok, text.data + left, text.len - left);
        if (spm->unused[id] && !made) {
            spm->unused[id] = false;
            spm->ranks[id] = HONE_NO_RANK;
        }
        any |= spm->unused[id];
    }
    if (!any)
        spm->unused = NULL;
}

hone_status hone_spm_init(hone_tokenizer *tok, const int32_t *types, const float *scores, hone_error *err)
{
    tok->spm.ranks = hone_arena_alloc(&tok->arena, tok->n_vocab, sizeof *tok->spm.ranks);
    scored *order = hone_alloc(tok->n_vocab, sizeof *order);
    hone_status status;
    size_t n = 0;
    if (tok->spm.ranks && order)
        status = read_types(tok, types, scores, order, &n, err);
    else
        status = hone_fail_nomem(err, tok->n_vocab * sizeof *order);
    if (status == HONE_OK)
        rank_scores(&tok->spm, order, n);
    hone_release(order);
    if (status == HONE_OK)
        prune_unused(tok);
    return status;
}

typedef struct {
    hone_encoding *e;
    const char *word;
} joining;

static bool join_text(void *user, const hone_symbol *left, const hone_symbol *right, uint32_t *rank, int32_t *id)
{
    const joining *j = user;
    const hone_tokenizer *tok = j->e->tok;
    const size_t len = (size_t)left->len + right->len;
    if (len > tok->spm.max_piece_nbytes)
        return false;
    *id = hone_vocab_map_find(&tok->map, j->word + left->start, len);
    if (*id < 0 || tok->spm.ranks[*id] == HONE_NO_RANK)
        return false;
    *rank = tok->spm.ranks[*id];
    if (tok->spm.unused && tok->spm.unused[*id])
        j->e->splits[*id] = left->len;
    return true;
}

static bool append_unknown(hone_encoding *e, const char *p, size_t len)
{
    const hone_tokenizer *tok = e->tok;
    bool ok = true;
    if (!tok->spm.byte_fallback)
        return hone_ids_append(&e->word_ids, tok->spm.unk);
    for (size_t i = 0; i < len && ok; i++) {
        const int32_t id = tok->byte_ids[(unsigned char)p[i]];
        ok = hone_ids_append(&e->word_ids, id < 0 ? tok->spm.unk : id);
    }
    return ok;
}

/* Append the ids of one final symbol. Splits go to shorter parts, so this ends; the parts wait on a stack. */
static bool append_symbol(hone_encoding *e, const char *word, const hone_symbol *symbol)
{
    const hone_spm *spm = &e->tok->spm;
    hone_spans *stack = &e->stack;
    stack->n = 0;
    bool ok = hone_spans_append(stack, symbol->start, symbol->len);
    while (ok && stack->n > 0) {
        const hone_span part = stack->v[--stack->n];
        const int32_t id = hone_vocab_map_find(&e->tok->map, word + part.start, part.len);
        if (id < 0) {
            ok = append_unknown(e, word + part.start, part.len);
            continue;
        }
        const uint32_t left = spm->unused && spm->unused[id] ? e->splits[id] : 0;
        if (left == 0 || left >= part.len)
            ok = hone_ids_append(&e->word_ids, id);
        else
            ok = hone_spans_append(stack, part.start + left, part.len - left) &&
                 hone_spans_append(stack, part.start, left);
    }
    return ok;
}

hone_status hone_spm_encode(hone_encoding *e, const char *word, size_t len, hone_error *err)
{
    const hone_matcher *user_defined = &e->tok->spm.user_defined;
    hone_merger *m = &e->merger;
    joining j = {.e = e, .word = word};
    bool ok = true;
    for (size_t at = 0; at < len && ok;) {
        /* User-defined pieces are taken first and never join: the text falls into stretches between them. */
        const hone_added_token *whole = NULL;
        hone_merger_clear(m);
        while (at < len && ok && !(whole = hone_matcher_longest(user_defined, word + at, len - at))) {
            const size_t n = hone_utf8_nbytes(word + at, len - at);
            ok = hone_merger_push(m, at, n, -1);
            at += n;
        }
        ok = ok && hone_merger_run(m, join_text, &j);
        for (int32_t i = m->n ? 0 : -1; i >= 0 && ok; i = m->symbols[i].next)
            ok = append_symbol(e, word, &m->symbols[i]);
        if (whole) {
            ok = ok && hone_ids_append(&e->word_ids, whole->id);
            at += whole->text.len;
        }
    }
    return ok ? HONE_OK : hone_fail_nomem(err, len);
}
