/* SPDX-License-Identifier: MIT */
/* A tokenizer from tokenizer.json, the format of the tokenizers package. */
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "formats/json.h"
#include "verify/tokenizer_stages.h"

/* Longest matches are searched for at every character of a word; BERT's words have up to 100. */
enum { MAX_WORD_NCHARS = 1000 };

typedef struct {
    json_t *model, *vocab;
    const json_t *merges, *added, *post_processor;
    hone_tokenizer *tok;
    bool escapes_spaces;
    hone_json_source source; /* what values were parsed from, as far as that is known */
    hone_error *err;
} loading;

/* object's member at fault, or the object when it has no such member or key is NULL. */
static uint64_t place(const loading *l, const json_t *object, const char *key)
{
    return key ? hone_json_offset_of_member(&l->source, object, key) : hone_json_offset_of(&l->source, object);
}

static hone_status bad(const loading *l, const json_t *object, const char *key, const char *item, const char *what)
{
    return hone_fail(l->err, HONE_ERROR_DATA, place(l, object, key), item, "%s", what);
}

static hone_string string_of(const json_t *value)
{
    return (hone_string){.data = json_string_value(value), .len = json_string_length(value)};
}

static hone_status check_affix(const loading *l, const char *key)
{
    const json_t *value = json_object_get(l->model, key);
    if (!value || json_is_null(value) || (json_is_string(value) && json_string_length(value) == 0))
        return HONE_OK;
    return hone_fail(l->err, HONE_ERROR_UNSUPPORTED, place(l, l->model, key), "model", "%s", key);
}

static hone_status load_bpe_options(loading *l)
{
    HONE_TRY(check_affix(l, "continuing_subword_prefix"));
    HONE_TRY(check_affix(l, "end_of_word_suffix"));
    const json_t *dropout = json_object_get(l->model, "dropout");
    if (dropout && !json_is_null(dropout) && !(json_is_number(dropout) && json_number_value(dropout) == 0.0))
        return hone_fail(l->err, HONE_ERROR_UNSUPPORTED, place(l, l->model, "dropout"), "model", "dropout");
    hone_bpe *bpe = &l->tok->bpe;
    bpe->byte_fallback = json_is_true(json_object_get(l->model, "byte_fallback"));
    bpe->fuse_unk = json_is_true(json_object_get(l->model, "fuse_unk"));
    bpe->ignore_merges = json_is_true(json_object_get(l->model, "ignore_merges"));
    l->merges = json_object_get(l->model, "merges");
    return json_is_array(l->merges) ? HONE_OK : bad(l, l->model, "merges", "model", "merges are no array");
}

static hone_status load_wordpiece_options(loading *l)
{
    hone_wordpiece *wordpiece = &l->tok->wordpiece;
    const json_t *prefix = json_object_get(l->model, "continuing_subword_prefix");
    const json_t *max = json_object_get(l->model, "max_input_chars_per_word");
    const hone_string text = json_is_string(prefix) ? string_of(prefix) : (hone_string){.data = "##", .len = 2};
    wordpiece->max_word_nchars = 100;
    if (max && (!json_is_integer(max) || json_integer_value(max) < 0))
        return bad(l, l->model, "max_input_chars_per_word", "model", "max_input_chars_per_word is no natural number");
    if (max && json_integer_value(max) > MAX_WORD_NCHARS)
        return hone_fail(l->err, HONE_ERROR_LIMIT, hone_json_offset_of(&l->source, max), "model",
                         "words of more than %d characters", MAX_WORD_NCHARS);
    if (max)
        wordpiece->max_word_nchars = (size_t)json_integer_value(max);
    wordpiece->prefix = (hone_string){.data = hone_arena_copy(&l->tok->arena, text.data, text.len), .len = text.len};
    return wordpiece->prefix.data ? HONE_OK : hone_fail_nomem(l->err, text.len);
}

static hone_status load_model_options(loading *l)
{
    /* Files of early versions name no type. */
    const json_t *type = json_object_get(l->model, "type");
    const char *name = type ? json_string_value(type) : "BPE";
    l->vocab = json_object_get(l->model, "vocab");
    if (name && strcmp(name, "WordPiece") == 0)
        l->tok->model = HONE_TOKENS_WORDPIECE;
    else if (!name || strcmp(name, "BPE") != 0)
        return hone_fail(l->err, HONE_ERROR_UNSUPPORTED, place(l, l->model, "type"), "model", "tokenizer type \"%s\"",
                         name ? name : "?");
    HONE_TRY(l->tok->model == HONE_TOKENS_WORDPIECE ? load_wordpiece_options(l) : load_bpe_options(l));
    return json_is_object(l->vocab) ? HONE_OK : bad(l, l->model, "vocab", "model", "vocab is no object");
}

/* ---- vocabulary ---- */

/* The member key of object is an id; *max is the largest so far, of an object of that member. */
static hone_status raise_max_id(const loading *l, const json_t *object, const char *key, const char *item,
                                json_int_t *max)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return bad(l, object, key, item, "a token id that is no natural number");
    if (json_integer_value(value) > *max)
        *max = json_integer_value(value);
    return HONE_OK;
}

/* Where an id is written, in the vocabulary or among the added tokens. */
static uint64_t place_of_id(const loading *l, json_int_t id)
{
    for (void *it = json_object_iter(l->vocab); it; it = json_object_iter_next(l->vocab, it))
        if (json_integer_value(json_object_iter_value(it)) == id)
            return hone_json_offset_of(&l->source, json_object_iter_value(it));
    for (size_t i = 0; i < json_array_size(l->added); i++)
        if (json_integer_value(json_object_get(json_array_get(l->added, i), "id")) == id)
            return place(l, json_array_get(l->added, i), "id");
    return HONE_NO_OFFSET;
}

static hone_status size_vocab(loading *l)
{
    json_int_t max = -1;
    for (void *it = json_object_iter(l->vocab); it; it = json_object_iter_next(l->vocab, it))
        HONE_TRY(raise_max_id(l, l->vocab, json_object_iter_key(it), "model", &max));
    for (size_t i = 0; i < json_array_size(l->added); i++)
        HONE_TRY(raise_max_id(l, json_array_get(l->added, i), "id", "added_tokens", &max));
    /* Ids may have gaps, but a table must not be sized by one number of a small file. */
    const size_t n = json_object_size(l->vocab) + json_array_size(l->added);
    if (max >= (json_int_t)(4 * n + 65536))
        return hone_fail(l->err, HONE_ERROR_LIMIT, place_of_id(l, max), "model", "token id %lld among %zu tokens",
                         (long long)max, n);
    return hone_tokenizer_alloc_vocab(l->tok, (size_t)(max + 1), l->err);
}

static hone_status add_vocab_token(loading *l, int32_t id, hone_string text)
{
    hone_tokenizer *tok = l->tok;
    if (tok->pieces[id].len > 0)
        return hone_fail(l->err, HONE_ERROR_DATA, place(l, l->vocab, text.data), "model", "id %d for two tokens",
                         (int)id);
    char *copy = hone_arena_copy(&tok->arena, text.data, text.len);
    if (!copy)
        return hone_fail_nomem(l->err, text.len);
    tok->texts[id] = tok->pieces[id] = (hone_string){.data = copy, .len = text.len};
    if (tok->bpe.byte_level) {
        char *bytes = hone_arena_copy(&tok->arena, text.data, text.len);
        if (!bytes)
            return hone_fail_nomem(l->err, text.len);
        /* What is not made of stand-ins no word can be; it may still be an added token. */
        size_t n = 0;
        const bool ok = hone_byte_level_decode(text.data, text.len, bytes, &n);
        tok->texts[id] = (hone_string){.data = bytes, .len = ok ? n : 0};
        if (ok)
            tok->pieces[id] = tok->texts[id];
        return HONE_OK;
    }
    return hone_tokenizer_set_piece(tok, id, text, l->escapes_spaces, l->err);
}

static hone_status load_vocab(loading *l)
{
    HONE_TRY(size_vocab(l));
    for (void *it = json_object_iter(l->vocab); it; it = json_object_iter_next(l->vocab, it)) {
        const char *key = json_object_iter_key(it);
        HONE_TRY(add_vocab_token(l, (int32_t)json_integer_value(json_object_iter_value(it)),
                                 (hone_string){.data = key, .len = strlen(key)}));
    }
    HONE_TRY(hone_tokenizer_index(l->tok, l->err));
    const bool wordpiece = l->tok->model == HONE_TOKENS_WORDPIECE;
    const json_t *unk = json_object_get(l->model, "unk_token");
    const char *text = json_is_string(unk) ? json_string_value(unk) : wordpiece ? "[UNK]" : NULL;
    if (!text)
        return HONE_OK;
    const json_t *id = json_object_get(l->vocab, text);
    if (!id)
        return bad(l, l->model, "unk_token", "model", "unk_token is not in the vocabulary");
    l->tok->bpe.unk = l->tok->wordpiece.unk = (int32_t)json_integer_value(id);
    return wordpiece ? hone_wordpiece_init(l->tok, l->err) : HONE_OK;
}

/* Adds the position of a value to an error that has none. */
static hone_status place_at(const loading *l, const json_t *value, hone_status status)
{
    if (status == HONE_ERROR_DATA && l->err && l->err->offset == HONE_NO_OFFSET)
        l->err->offset = hone_json_offset_of(&l->source, value);
    return status;
}

static hone_status load_merges(loading *l)
{
    for (size_t i = 0; i < json_array_size(l->merges); i++) {
        const json_t *merge = json_array_get(l->merges, i);
        hone_string a, b;
        if (json_is_string(merge)) {
            const hone_string both = string_of(merge);
            const char *space = memchr(both.data, ' ', both.len);
            if (!space || strchr(space + 1, ' '))
                return bad(l, merge, NULL, "merges", "a merge that is not of two tokens");
            a = (hone_string){.data = both.data, .len = (size_t)(space - both.data)};
            b = (hone_string){.data = space + 1, .len = both.len - a.len - 1};
        } else {
            if (json_array_size(merge) != 2 || !json_is_string(json_array_get(merge, 0)) ||
                !json_is_string(json_array_get(merge, 1)))
                return bad(l, merge, NULL, "merges", "a merge that is not of two tokens");
            a = string_of(json_array_get(merge, 0));
            b = string_of(json_array_get(merge, 1));
        }
        HONE_TRY(place_at(l, merge, hone_bpe_set_merge(l->tok, a, b, (uint32_t)i, l->err)));
    }
    return HONE_OK;
}

/* ---- added tokens ---- */

static bool get_flag(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

/* The text of an added token as it looks in normalized text. */
static hone_status normalize_content(loading *l, hone_string *text)
{
    hone_normalizing scratch = {.match = hone_regex_match_new()};
    hone_status status = HONE_OK;
    const char *out = NULL;
    size_t len = 0;
    if (!scratch.match)
        status = hone_fail_nomem(l->err, sizeof scratch);
    if (status == HONE_OK)
        status = hone_normalize(&l->tok->normalizer, &scratch, text->data, text->len, &out, &len, l->err);
    if (status == HONE_OK) {
        text->data = hone_arena_copy(&l->tok->arena, out, len);
        text->len = len;
        if (!text->data)
            status = hone_fail_nomem(l->err, len);
    }
    hone_regex_match_free(scratch.match);
    hone_normalizing_deinit(&scratch);
    return status;
}

static hone_status load_added_token(loading *l, const json_t *object, hone_added_token *raw, size_t *n_raw,
                                    hone_added_token *normalized, size_t *n_normalized)
{
    const json_t *content = json_object_get(object, "content");
    if (!json_is_string(content))
        return bad(l, object, "content", "added_tokens", "content is not a string");
    const hone_string text = string_of(content);
    /* The model's id counts, where it knows the token. */
    const json_t *known = json_object_get(l->vocab, json_string_value(content));
    const int32_t id = (int32_t)json_integer_value(known ? known : json_object_get(object, "id"));
    HONE_TRY(hone_tokenizer_set_piece(l->tok, id, text, false, l->err));
    hone_added_token token = {.text = l->tok->pieces[id],
                              .id = id,
                              .special = get_flag(object, "special"),
                              .lstrip = get_flag(object, "lstrip"),
                              .rstrip = get_flag(object, "rstrip"),
                              .single_word = get_flag(object, "single_word")};
    if (get_flag(object, "normalized")) {
        HONE_TRY(normalize_content(l, &token.text));
        normalized[(*n_normalized)++] = token;
    } else {
        raw[(*n_raw)++] = token;
    }
    return HONE_OK;
}

static hone_status load_added_tokens(loading *l)
{
    const size_t n = json_array_size(l->added);
    hone_added_token *raw = hone_arena_alloc(&l->tok->arena, n, sizeof *raw);
    hone_added_token *normalized = hone_arena_alloc(&l->tok->arena, n, sizeof *normalized);
    if (!raw || !normalized)
        return hone_fail_nomem(l->err, n * sizeof *raw);
    size_t n_raw = 0, n_normalized = 0;
    for (size_t i = 0; i < n; i++)
        HONE_TRY(load_added_token(l, json_array_get(l->added, i), raw, &n_raw, normalized, &n_normalized));
    hone_matcher_init(&l->tok->added, raw, n_raw);
    hone_matcher_init(&l->tok->added_normalized, normalized, n_normalized);
    return HONE_OK;
}

/* ---- post-processor: what is put around a text ---- */

/* around: the object or array that names the id, for errors where it is missing. */
static hone_status add_template_id(const loading *l, const json_t *around, const json_t *id, int32_t *list, size_t *n)
{
    if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= (json_int_t)l->tok->n_vocab)
        return bad(l, id && !json_is_null(id) && !json_is_boolean(id) ? id : around, NULL, "post_processor",
                   "a token id outside the vocabulary");
    if (*n == HONE_MAX_TEMPLATE)
        return hone_fail(l->err, HONE_ERROR_LIMIT, hone_json_offset_of(&l->source, around), "post_processor",
                         "more than %d special tokens", HONE_MAX_TEMPLATE);
    list[(*n)++] = (int32_t)json_integer_value(id);
    return HONE_OK;
}

static hone_status load_template(const loading *l, const json_t *object)
{
    hone_tokenizer *tok = l->tok;
    const json_t *single = json_object_get(object, "single");
    const json_t *special_tokens = json_object_get(object, "special_tokens");
    bool after = false;
    if (!json_is_array(single))
        return bad(l, object, "single", "post_processor", "no template for a single text");
    for (size_t i = 0; i < json_array_size(single); i++) {
        const json_t *part = json_array_get(single, i);
        if (json_object_get(part, "Sequence")) {
            if (after)
                return hone_fail(l->err, HONE_ERROR_UNSUPPORTED, hone_json_offset_of(&l->source, part),
                                 "post_processor", "the text twice");
            after = true;
            continue;
        }
        const char *name = json_string_value(json_object_get(json_object_get(part, "SpecialToken"), "id"));
        const json_t *ids = name ? json_object_get(json_object_get(special_tokens, name), "ids") : NULL;
        if (!json_is_array(ids))
            return bad(l, part, NULL, "post_processor", "a special token that is not described");
        for (size_t k = 0; k < json_array_size(ids); k++)
            HONE_TRY(add_template_id(l, ids, json_array_get(ids, k), after ? tok->after : tok->before,
                                     after ? &tok->n_after : &tok->n_before));
    }
    return after ? HONE_OK : bad(l, single, NULL, "post_processor", "a template without the text");
}

/* "sep": ["</s>", 2], "cls": ["<s>", 0] */
static hone_status load_cls_sep(const loading *l, const json_t *object)
{
    hone_tokenizer *tok = l->tok;
    HONE_TRY(
        add_template_id(l, object, json_array_get(json_object_get(object, "cls"), 1), tok->before, &tok->n_before));
    return add_template_id(l, object, json_array_get(json_object_get(object, "sep"), 1), tok->after, &tok->n_after);
}

static hone_status load_one_post_processor(const loading *l, const json_t *object)
{
    const char *type = json_string_value(json_object_get(object, "type"));
    if (type && strcmp(type, "ByteLevel") == 0)
        return HONE_OK;
    const bool is_template = type && strcmp(type, "TemplateProcessing") == 0;
    if (!is_template && !(type && (strcmp(type, "RobertaProcessing") == 0 || strcmp(type, "BertProcessing") == 0)))
        return hone_fail(l->err, HONE_ERROR_UNSUPPORTED, place(l, object, "type"), "post_processor", "type \"%s\"",
                         type ? type : "?");
    if (l->tok->n_before + l->tok->n_after > 0)
        return hone_fail(l->err, HONE_ERROR_UNSUPPORTED, hone_json_offset_of(&l->source, object), "post_processor",
                         "two templates");
    return is_template ? load_template(l, object) : load_cls_sep(l, object);
}

static hone_status load_post_processor(const loading *l)
{
    const json_t *object = l->post_processor;
    if (!object || json_is_null(object))
        return HONE_OK;
    const char *type = json_string_value(json_object_get(object, "type"));
    if (!type || strcmp(type, "Sequence") != 0)
        return load_one_post_processor(l, object);
    const json_t *parts = json_object_get(object, "processors");
    for (size_t i = 0; i < json_array_size(parts); i++)
        HONE_TRY(load_one_post_processor(l, json_array_get(parts, i)));
    return HONE_OK;
}

static bool is_byte_name(hone_string text)
{
    return text.len == 6 && memcmp(text.data, "<0x", 3) == 0;
}

/*
 * Whether words may be cut between characters that are neighbours in no token. Not where whole words are looked up,
 * where an unknown character can vanish from between two others, or where a merge takes a byte or unknown token, whose
 * name says nothing about the text it stands for.
 */
static bool may_cut(const hone_tokenizer *tok)
{
    const hone_bpe *bpe = &tok->bpe;
    if (tok->model != HONE_TOKENS_BPE || bpe->byte_level || bpe->ignore_merges)
        return false;
    for (int byte = 0; byte < 256 && bpe->unk < 0; byte++)
        if (!bpe->byte_fallback || tok->byte_ids[byte] < 0)
            return false;
    for (size_t i = 0; i < bpe->merges.cap; i++) {
        const hone_pair *pair = &bpe->merges.slots[i];
        if (pair->id < 0)
            continue;
        const int32_t left = (int32_t)(pair->key >> 32), right = (int32_t)(uint32_t)pair->key;
        if (left == bpe->unk || right == bpe->unk || is_byte_name(tok->texts[left]) || is_byte_name(tok->texts[right]))
            return false;
    }
    return true;
}

static hone_status load(loading *l, const json_t *root)
{
    l->model = json_object_get(root, "model");
    l->added = json_object_get(root, "added_tokens");
    l->post_processor = json_object_get(root, "post_processor");
    if (!json_is_object(l->model))
        return bad(l, l->source.root, "model", "model", "no tokenizer model");
    HONE_TRY(load_model_options(l));
    HONE_TRY(hone_stages_from_json(json_object_get(root, "normalizer"), json_object_get(root, "pre_tokenizer"),
                                   &l->source, l->tok, &l->escapes_spaces, l->err));
    HONE_TRY(load_vocab(l));
    HONE_TRY(load_merges(l));
    HONE_TRY(load_added_tokens(l));
    HONE_TRY(load_post_processor(l));
    return may_cut(l->tok) ? hone_tokenizer_index_neighbours(l->tok, l->err) : HONE_OK;
}

hone_status hone_tokenizer_from_document(const json_t *root, const hone_json_source *source, hone_tokenizer *tok,
                                         hone_error *err)
{
    loading l = {.tok = tok, .source = *source, .err = err};
    return load(&l, root);
}

hone_status hone_tokenizer_from_json(const char *text, size_t len, hone_tokenizer *tok, hone_error *err)
{
    json_t *root;
    HONE_TRY(hone_json_parse(text, len, 0, &root, err));
    const hone_json_source source = {.text = text, .len = len, .root = root};
    const hone_status status = hone_tokenizer_from_document(root, &source, tok, err);
    json_decref(root);
    return status;
}
