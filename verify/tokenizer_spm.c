/* SPDX-License-Identifier: MIT */
/* A tokenizer from tokenizer.model, as LlamaTokenizer of transformers uses it. */
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "formats/json.h"
#include "formats/sources.h"
#include "verify/tokenizer_impl.h"

enum { MAX_CONFIG_NBYTES = 16 << 20, MAX_ADDED = 1 << 20 };

/* tokenizer_config.json, of which a directory may have none. */
typedef struct {
    json_t *json;
    json_t *added; /* added_tokens_decoder: {"32000": {"content": ...}}, or NULL */
    bool add_bos, add_eos;
} config;

static hone_status read_config(const hone_checkpoint *ckpt, config *c, hone_error *err)
{
    *c = (config){.add_bos = true};
    char *text;
    size_t len;
    HONE_TRY(hone_checkpoint_sidecar(ckpt, "tokenizer_config.json", MAX_CONFIG_NBYTES, &text, &len, err));
    if (!text)
        return HONE_OK;
    const hone_status status = hone_json_parse(text, len, 0, &c->json, err);
    hone_release(text);
    if (status != HONE_OK)
        return hone_fail_in_file(err, status, "tokenizer_config.json");
    const json_t *add_bos = json_object_get(c->json, "add_bos_token");
    c->add_bos = !json_is_boolean(add_bos) || json_is_true(add_bos);
    c->add_eos = json_is_true(json_object_get(c->json, "add_eos_token"));
    c->added = json_object_get(c->json, "added_tokens_decoder");
    return HONE_OK;
}

/* The id of an entry of added_tokens_decoder, or -1. */
static long added_id(const char *key)
{
    char *end;
    const long id = strtol(key, &end, 10);
    return *key && *end == '\0' && id >= 0 && id < INT32_MAX ? id : -1;
}

static hone_status size_vocab(hone_tokenizer *tok, const hone_sentencepiece *sp, const config *c, hone_error *err)
{
    size_t n = sp->n_pieces;
    const size_t limit = sp->n_pieces + json_object_size(c->added) + 65536;
    for (void *it = json_object_iter(c->added); it; it = json_object_iter_next(c->added, it)) {
        const long id = added_id(json_object_iter_key(it));
        if (id < 0 || (size_t)id >= limit || !json_is_string(json_object_get(json_object_iter_value(it), "content")))
            return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, "added_tokens_decoder", "entry \"%s\"",
                             json_object_iter_key(it));
        if ((size_t)id >= n)
            n = (size_t)id + 1;
    }
    return hone_tokenizer_alloc_vocab(tok, n, err);
}

static hone_status copy_pieces(hone_tokenizer *tok, const hone_sentencepiece *sp, hone_error *err)
{
    for (size_t id = 0; id < sp->n_pieces; id++) {
        const hone_string text = sp->pieces[id].text;
        const char *copy = hone_arena_copy(&tok->arena, text.data, text.len);
        if (!copy)
            return hone_fail_nomem(err, text.len);
        tok->texts[id] = (hone_string){.data = copy, .len = text.len};
        HONE_TRY(hone_tokenizer_set_piece(tok, (int32_t)id, text, sp->pieces[id].type != HONE_PIECE_CONTROL, err));
    }
    return hone_tokenizer_index(tok, err);
}

static hone_status init_model(hone_tokenizer *tok, const hone_sentencepiece *sp, hone_error *err)
{
    int32_t *types = hone_alloc(tok->n_vocab, sizeof *types);
    float *scores = hone_alloc(tok->n_vocab, sizeof *scores);
    hone_status status;
    if (types && scores) {
        for (size_t id = 0; id < tok->n_vocab; id++) {
            types[id] = id < sp->n_pieces ? (int32_t)sp->pieces[id].type : HONE_PIECE_CONTROL;
            scores[id] = id < sp->n_pieces ? sp->pieces[id].score : 0.0f;
        }
        status = hone_spm_init(tok, types, scores, err);
    } else {
        status = hone_fail_nomem(err, tok->n_vocab * sizeof *types);
    }
    hone_release(types);
    hone_release(scores);
    return status;
}

/* Control and unknown pieces, and those of tokenizer_config.json, are found in the text; user-defined ones by the
 * model. */
static hone_status init_added(hone_tokenizer *tok, const hone_sentencepiece *sp, const config *c, hone_error *err)
{
    const size_t cap = sp->n_pieces + json_object_size(c->added);
    hone_added_token *added = hone_arena_alloc(&tok->arena, cap, sizeof *added);
    hone_added_token *user_defined = hone_arena_alloc(&tok->arena, sp->n_pieces, sizeof *user_defined);
    if (!added || !user_defined)
        return hone_fail_nomem(err, cap * sizeof *added);
    size_t n = 0, n_user_defined = 0;
    for (size_t id = 0; id < sp->n_pieces; id++) {
        const hone_piece_type type = sp->pieces[id].type;
        const hone_added_token token = {.text = tok->texts[id], .id = (int32_t)id, .special = true};
        if (type == HONE_PIECE_CONTROL || type == HONE_PIECE_UNKNOWN)
            added[n++] = token;
        else if (type == HONE_PIECE_USER_DEFINED)
            user_defined[n_user_defined++] = token;
    }
    for (void *it = json_object_iter(c->added); it; it = json_object_iter_next(c->added, it)) {
        const size_t id = (size_t)added_id(json_object_iter_key(it));
        const json_t *object = json_object_iter_value(it);
        const json_t *content = json_object_get(object, "content");
        const hone_string text = {.data = json_string_value(content), .len = json_string_length(content)};
        if (id < sp->n_pieces)
            continue;
        HONE_TRY(hone_tokenizer_set_piece(tok, (int32_t)id, text, false, err));
        added[n++] = (hone_added_token){.text = tok->pieces[id],
                                        .id = (int32_t)id,
                                        .special = json_is_true(json_object_get(object, "special")),
                                        .lstrip = json_is_true(json_object_get(object, "lstrip")),
                                        .rstrip = json_is_true(json_object_get(object, "rstrip")),
                                        .single_word = json_is_true(json_object_get(object, "single_word"))};
    }
    hone_matcher_init(&tok->added, added, n);
    hone_matcher_init(&tok->spm.user_defined, user_defined, n_user_defined);
    return HONE_OK;
}

static hone_status init_normalizer(hone_tokenizer *tok, const hone_sentencepiece *sp, hone_error *err)
{
    hone_normalizer_step *step = &tok->normalizer.steps[tok->normalizer.n++];
    *step = (hone_normalizer_step){.kind = HONE_NORMALIZE_SENTENCEPIECE};
    step->spm = (hone_spm_normalization){.add_dummy_prefix = sp->add_dummy_prefix,
                                         .remove_extra_whitespaces = sp->remove_extra_whitespaces,
                                         .escape_whitespaces = sp->escape_whitespaces,
                                         .charsmap_nbytes = sp->charsmap.len,
                                         .kept = &tok->spm.user_defined};
    if (sp->charsmap.len == 0)
        return HONE_OK;
    step->spm.charsmap = (const uint8_t *)hone_arena_copy(&tok->arena, sp->charsmap.data, sp->charsmap.len);
    if (!step->spm.charsmap)
        return hone_fail_nomem(err, sp->charsmap.len);
    return hone_charsmap_check(step->spm.charsmap, sp->charsmap.len, err);
}

static hone_status build(hone_tokenizer *tok, const hone_sentencepiece *sp, const config *c, hone_error *err)
{
    if (sp->model_type != HONE_SENTENCEPIECE_BPE)
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, NULL, "SentencePiece model type %d (BPE is 2)",
                         (int)sp->model_type);
    tok->model = HONE_TOKENS_SPM;
    tok->spm.byte_fallback = sp->byte_fallback;
    tok->spm.unk = sp->unk_id;
    HONE_TRY(size_vocab(tok, sp, c, err));
    HONE_TRY(copy_pieces(tok, sp, err));
    HONE_TRY(init_model(tok, sp, err));
    HONE_TRY(init_added(tok, sp, c, err));
    HONE_TRY(init_normalizer(tok, sp, err));
    const int32_t n = (int32_t)sp->n_pieces;
    if (sp->unk_id < 0 || sp->unk_id >= n || sp->bos_id >= n || sp->eos_id >= n)
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, NULL, "special token ids outside the vocabulary");
    if (c->add_bos && sp->bos_id >= 0)
        tok->before[tok->n_before++] = sp->bos_id;
    if (c->add_eos && sp->eos_id >= 0)
        tok->after[tok->n_after++] = sp->eos_id;
    return tok->spm.unused ? HONE_OK : hone_tokenizer_index_neighbours(tok, err);
}

hone_status hone_tokenizer_from_sentencepiece(const hone_checkpoint *ckpt, const char *path, hone_tokenizer *tok,
                                              hone_error *err)
{
    hone_sentencepiece sp;
    HONE_TRY(hone_sentencepiece_read(path, &sp, err));
    config c;
    hone_status status = read_config(ckpt, &c, err);
    if (status == HONE_OK)
        status = build(tok, &sp, &c, err);
    json_decref(c.json);
    hone_sentencepiece_deinit(&sp);
    return status;
}
