/* SPDX-License-Identifier: MIT */
#include "convert/vocab_import.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"

/* llama.cpp's converter gives unused and added tokens scores below every real one. */
static const float SCORE_UNUSED = -10000.0f, SCORE_ADDED = -1000.0f;

hone_status hone_vocab_import_init(hone_vocab_import *v, uint32_t n, hone_error *err)
{
    *v = (hone_vocab_import){.n = n, .bos = -1, .eos = -1, .unk = -1, .pad = -1, .add_space_prefix = -1};
    v->tokens = hone_arena_alloc(&v->arena, n, sizeof *v->tokens);
    v->scores = hone_arena_alloc(&v->arena, n, sizeof *v->scores);
    v->types = hone_arena_alloc(&v->arena, n, sizeof *v->types);
    if (!v->tokens || !v->scores || !v->types)
        return hone_fail_nomem(err, n * sizeof *v->tokens);
    for (uint32_t i = 0; i < n; i++) {
        char text[32];
        const int len = snprintf(text, sizeof text, "[PAD%u]", i);
        HONE_TRY(hone_vocab_import_set(v, i, text, (size_t)len, SCORE_UNUSED, HONE_PIECE_UNUSED, err));
    }
    return HONE_OK;
}

hone_status hone_vocab_import_set(hone_vocab_import *v, uint64_t id, const char *text, size_t len, float score,
                                  hone_piece_type type, hone_error *err)
{
    if (id >= v->n)
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, text,
                         "token id %llu is beyond the model's vocabulary of %u", (unsigned long long)id, v->n);
    v->tokens[id].data = hone_arena_copy(&v->arena, text, len);
    v->tokens[id].len = len;
    v->scores[id] = score;
    v->types[id] = (int32_t)type;
    return v->tokens[id].data ? HONE_OK : hone_fail_nomem(err, len);
}

int32_t hone_vocab_import_find(const hone_vocab_import *v, const char *text)
{
    const size_t len = strlen(text);
    for (uint32_t i = 0; i < v->n; i++)
        if (v->tokens[i].len == len && memcmp(v->tokens[i].data, text, len) == 0)
            return (int32_t)i;
    return -1;
}

/* ---- tokenizer.json ---- */

static bool is_byte_token(const char *text)
{
    return strlen(text) == 6 && strncmp(text, "<0x", 3) == 0 && text[5] == '>' &&
           strspn(text + 3, "0123456789ABCDEFabcdef") == 2;
}

static hone_status import_vocab(hone_vocab_import *v, json_t *vocab, bool byte_fallback, hone_error *err)
{
    if (!json_is_object(vocab))
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, "model.vocab", "is not an object");
    const char *text;
    json_t *id;
    json_object_foreach(vocab, text, id)
    {
        if (!json_is_integer(id) || json_integer_value(id) < 0)
            return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, text, "token id is no natural number");
        const bool byte = byte_fallback && is_byte_token(text);
        HONE_TRY(hone_vocab_import_set(v, (uint64_t)json_integer_value(id), text, strlen(text), SCORE_UNUSED,
                                       byte ? HONE_PIECE_BYTE : HONE_PIECE_NORMAL, err));
    }
    return HONE_OK;
}

static hone_status malformed_merge(size_t i, hone_error *err)
{
    return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, "model.merges", "entry %zu is not a pair", i);
}

/* A merge is "a b", or since 2024 ["a", "b"]. */
static hone_status import_merges(hone_vocab_import *v, const json_t *model, hone_error *err)
{
    const json_t *merges = json_object_get(model, "merges");
    if (!json_is_array(merges))
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, "model.merges", "is not an array");
    v->n_merges = json_array_size(merges);
    v->merges = hone_arena_alloc(&v->arena, v->n_merges, sizeof *v->merges);
    if (!v->merges)
        return hone_fail_nomem(err, v->n_merges * sizeof *v->merges);
    for (size_t i = 0; i < v->n_merges; i++) {
        const json_t *merge = json_array_get(merges, i);
        const char *left = json_string_value(json_is_array(merge) ? json_array_get(merge, 0) : merge);
        const char *right = json_is_array(merge) ? json_string_value(json_array_get(merge, 1)) : "";
        if (!left || !right || (!json_is_array(merge) && !strchr(left, ' ')))
            return malformed_merge(i, err);
        const size_t left_len = strlen(left), right_len = strlen(right);
        const size_t len = left_len + (right_len ? 1 + right_len : 0);
        char *text = hone_arena_alloc(&v->arena, len + 1, 1);
        if (!text)
            return hone_fail_nomem(err, len);
        memcpy(text, left, left_len);
        if (right_len) {
            text[left_len] = ' ';
            memcpy(text + left_len + 1, right, right_len);
        }
        text[len] = '\0';
        v->merges[i] = (hone_string){text, len};
    }
    return HONE_OK;
}

static hone_status import_added_tokens(hone_vocab_import *v, const json_t *root, hone_error *err)
{
    const json_t *added = json_object_get(root, "added_tokens");
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *token = json_array_get(added, i), *id = json_object_get(token, "id");
        const char *text = json_string_value(json_object_get(token, "content"));
        if (!text || !json_is_integer(id) || json_integer_value(id) < 0)
            return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, "added_tokens", "entry %zu lacks id or content", i);
        const bool special = json_is_true(json_object_get(token, "special"));
        HONE_TRY(hone_vocab_import_set(v, (uint64_t)json_integer_value(id), text, strlen(text), SCORE_ADDED,
                                       special ? HONE_PIECE_CONTROL : HONE_PIECE_USER_DEFINED, err));
    }
    return HONE_OK;
}

struct ranked {
    const char *text;
    size_t len;
    uint32_t id;
};

static int compare_ranked(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    const int c = memcmp(x->text, y->text, x->len < y->len ? x->len : y->len);
    return c ? c : (x->len > y->len) - (x->len < y->len);
}

/*
 * "llama" tokenizers have no merge list: pairs merge in order of the score of the token they form. Minus the rank of
 * the first merge that forms a token orders them as the list does.
 */
static hone_status score_by_merge_rank(hone_vocab_import *v, hone_error *err)
{
    struct ranked *sorted = hone_arena_alloc(&v->arena, v->n, sizeof *sorted);
    if (!sorted)
        return hone_fail_nomem(err, v->n * sizeof *sorted);
    for (uint32_t i = 0; i < v->n; i++)
        sorted[i] = (struct ranked){v->tokens[i].data, v->tokens[i].len, i};
    qsort(sorted, v->n, sizeof *sorted, compare_ranked);
    for (uint32_t i = 0; i < v->n; i++) /* what no merge forms comes after what one does */
        if (v->types[i] == HONE_PIECE_NORMAL)
            v->scores[i] = -(float)v->n_merges - 1;
    for (size_t rank = v->n_merges; rank-- > 0;) { /* backwards, so that the first merge has the last word */
        char joined[1024];
        const hone_string merge = v->merges[rank];
        const char *space = memchr(merge.data, ' ', merge.len);
        if (!space || merge.len > sizeof joined)
            return malformed_merge(rank, err);
        const size_t left = (size_t)(space - merge.data), right = merge.len - left - 1;
        memcpy(joined, merge.data, left);
        memcpy(joined + left, space + 1, right);
        const struct ranked key = {joined, left + right, 0};
        const struct ranked *hit = bsearch(&key, sorted, v->n, sizeof *sorted, compare_ranked);
        if (!hit)
            return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, "model.merges",
                             "entry %zu forms no token of the vocabulary", rank);
        v->scores[hit->id] = 0.0f - (float)rank;
    }
    return HONE_OK;
}

/* Which special tokens TemplateProcessing puts around a single text. */
static void read_template(hone_vocab_import *v, const json_t *post)
{
    const char *type = json_string_value(json_object_get(post, "type"));
    if (type && strcmp(type, "Sequence") == 0) {
        const json_t *steps = json_object_get(post, "processors");
        for (size_t i = 0; i < json_array_size(steps); i++) {
            const json_t *step = json_array_get(steps, i);
            if (json_object_get(step, "single"))
                post = step;
        }
    }
    const json_t *single = json_object_get(post, "single");
    bool before = true;
    for (size_t i = 0; i < json_array_size(single); i++) {
        const json_t *special = json_object_get(json_array_get(single, i), "SpecialToken");
        const char *text = json_string_value(json_object_get(special, "id"));
        if (!text) {
            before = false;
            continue;
        }
        const int32_t id = hone_vocab_import_find(v, text);
        if (before) {
            v->add_bos = true;
            v->bos = id;
        } else {
            v->add_eos = true;
            v->eos = id;
        }
    }
}

hone_status hone_import_tokenizer_json(hone_vocab_import *v, const json_t *root, hone_error *err)
{
    const json_t *model = json_object_get(root, "model");
    const char *type = json_string_value(json_object_get(model, "type"));
    const bool byte_fallback = json_is_true(json_object_get(model, "byte_fallback"));
    if (!type || strcmp(type, "BPE") != 0)
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, "model.type", "\"%s\" is not supported",
                         type ? type : "");
    HONE_TRY(import_vocab(v, json_object_get(model, "vocab"), byte_fallback, err));
    HONE_TRY(import_merges(v, model, err));
    HONE_TRY(import_added_tokens(v, root, err));
    read_template(v, json_object_get(root, "post_processor"));
    if (!byte_fallback) {
        v->model = "gpt2";
        return hone_pre_tokenizer_name(json_object_get(root, "pre_tokenizer"), &v->pre, err);
    }
    v->model = "llama";
    v->pre = "default";
    v->scored = true;
    HONE_TRY(score_by_merge_rank(v, err));
    v->merges = NULL;
    v->n_merges = 0;
    const char *unk = json_string_value(json_object_get(model, "unk_token"));
    if (unk) {
        v->unk = hone_vocab_import_find(v, unk);
        if (v->unk >= 0)
            v->types[v->unk] = HONE_PIECE_UNKNOWN;
    }
    return HONE_OK;
}

/* ---- vocab.json and merges.txt ---- */

/* One merge a line; the first line may name a version. */
hone_status hone_import_vocab_and_merges(hone_vocab_import *v, json_t *vocab, const char *merges, hone_error *err)
{
    static const char END[] = "<|endoftext|>";
    HONE_TRY(import_vocab(v, vocab, false, err));
    size_t n_lines = 1;
    for (const char *p = merges; *p; p++)
        n_lines += *p == '\n';
    v->merges = hone_arena_alloc(&v->arena, n_lines, sizeof *v->merges);
    if (!v->merges)
        return hone_fail_nomem(err, n_lines * sizeof *v->merges);
    const char *line = merges;
    for (size_t i = 0; *line; i++) {
        size_t len = strcspn(line, "\n");
        const char *following = line + len + (line[len] == '\n');
        if (len && line[len - 1] == '\r')
            len--;
        if (len && !(i == 0 && strncmp(line, "#version", 8) == 0)) {
            if (!memchr(line, ' ', len))
                return hone_fail(err, HONE_ERROR_DATA, (uint64_t)(line - merges), "merges.txt", "line %zu is no pair",
                                 i + 1);
            const char *copy = hone_arena_copy(&v->arena, line, len);
            if (!copy)
                return hone_fail_nomem(err, len);
            v->merges[v->n_merges++] = (hone_string){copy, len};
        }
        line = following;
    }
    v->model = "gpt2";
    v->pre = "gpt-2";
    v->bos = v->eos = v->unk = hone_vocab_import_find(v, END);
    if (v->bos >= 0)
        v->types[v->bos] = HONE_PIECE_CONTROL;
    return HONE_OK;
}

/* ---- tokenizer.model ---- */

hone_status hone_import_sentencepiece(hone_vocab_import *v, const hone_sentencepiece *sp, hone_error *err)
{
    if (sp->model_type != HONE_SENTENCEPIECE_BPE)
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, "trainer_spec.model_type",
                         "%d is not supported (only BPE)", (int)sp->model_type);
    for (size_t i = 0; i < sp->n_pieces; i++) {
        const hone_piece *p = &sp->pieces[i];
        HONE_TRY(hone_vocab_import_set(v, i, p->text.data, p->text.len, p->score, p->type, err));
    }
    v->model = "llama";
    v->pre = "default";
    v->scored = true;
    v->bos = sp->bos_id;
    v->eos = sp->eos_id;
    v->unk = sp->unk_id;
    v->pad = sp->pad_id;
    v->add_bos = true; /* LlamaTokenizer's default; tokenizer_config.json may say otherwise */
    v->add_space_prefix = sp->add_dummy_prefix;
    return HONE_OK;
}
