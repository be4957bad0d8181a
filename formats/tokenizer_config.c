/* SPDX-License-Identifier: MIT */
#include "formats/tokenizer_config.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "formats/json.h"

enum { MAX_NBYTES = 16 << 20 };

#define CONFIG_FILE "tokenizer_config.json"
#define SPECIAL_FILE "special_tokens_map.json"
#define ADDED_FILE "added_tokens.json"

#define END_OF_TEXT "<|endoftext|>"

/* The slow and the fast class of a name are one. */
static const char *const gpt2_names[] = {"GPT2Tokenizer", "GPT2TokenizerFast", "PreTrainedTokenizerFast", NULL};
static const char *const gpt2_special[][2] = {
    {"bos_token", END_OF_TEXT}, {"eos_token", END_OF_TEXT}, {"unk_token", END_OF_TEXT}, {NULL, NULL}};
const hone_tokenizer_class hone_gpt2_tokenizer_class = {.names = gpt2_names, .special = gpt2_special};

static const char *const bert_names[] = {
    "BertTokenizer",    "BertTokenizerFast",    "DistilBertTokenizer",     "DistilBertTokenizerFast",
    "ElectraTokenizer", "ElectraTokenizerFast", "PreTrainedTokenizerFast", NULL};
static const char *const bert_special[][2] = {{"unk_token", "[UNK]"}, {"sep_token", "[SEP]"},   {"pad_token", "[PAD]"},
                                              {"cls_token", "[CLS]"}, {"mask_token", "[MASK]"}, {NULL, NULL}};
const hone_tokenizer_class hone_bert_tokenizer_class = {.names = bert_names, .special = bert_special};

/* ---- reading ---- */

/* *out is a new reference to the object in the file, or NULL where there is no file. */
static hone_status read_object(const hone_checkpoint *ckpt, const char *name, json_t **out, hone_error *err)
{
    char *text;
    size_t len;
    *out = NULL;
    HONE_TRY(hone_checkpoint_sidecar(ckpt, name, MAX_NBYTES, &text, &len, err));
    if (!text)
        return HONE_OK;
    hone_status status = hone_json_parse(text, len, 0, out, err);
    hone_release(text);
    if (status == HONE_OK && !json_is_object(*out))
        status = hone_fail(err, HONE_ERROR_DATA, 0, NULL, "not a JSON object");
    return hone_fail_in_file(err, status, name);
}

static int compare_ids(const void *a, const void *b)
{
    const json_t *const *x = a, *const *y = b;
    const json_int_t left = json_integer_value(json_object_get(*x, "id"));
    const json_int_t right = json_integer_value(json_object_get(*y, "id"));
    return (left > right) - (left < right);
}

/* Appends borrowed tokens to config->added in the order of their ids. */
static hone_status append_sorted(hone_tokenizer_config *config, json_t *tokens, hone_error *err)
{
    const size_t n = json_array_size(tokens);
    json_t **sorted = hone_alloc(n ? n : 1, sizeof *sorted);
    if (!sorted)
        return hone_fail_nomem(err, n * sizeof *sorted);
    for (size_t i = 0; i < n; i++)
        sorted[i] = json_array_get(tokens, i);
    qsort(sorted, n, sizeof *sorted, compare_ids);
    bool ok = true;
    for (size_t i = 0; i < n && ok; i++)
        ok = json_array_append(config->added, sorted[i]) == 0;
    hone_release(sorted);
    return ok ? HONE_OK : hone_fail_nomem(err, n * sizeof *sorted);
}

/* {"50257": {"content": "<pad>", ...}} as an array of tokens with ids. */
static hone_status add_from_decoder(json_t *decoder, json_t *tokens, hone_error *err)
{
    const char *key;
    json_t *token;
    json_object_foreach(decoder, key, token)
    {
        char *end;
        const long id = strtol(key, &end, 10);
        if (*key < '0' || *key > '9' || *end != '\0' || id >= INT32_MAX ||
            !json_is_string(json_object_get(token, "content")))
            return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, "added_tokens_decoder", "entry \"%.40s\"", key);
        json_t *copy = json_copy(token);
        const bool normalized = !json_is_true(json_object_get(token, "special"));
        if (!copy || json_object_set_new(copy, "id", json_integer(id)) != 0 ||
            (!json_object_get(copy, "normalized") &&
             json_object_set_new(copy, "normalized", json_boolean(normalized)) != 0) ||
            json_array_append_new(tokens, copy) != 0)
            return hone_fail_nomem(err, sizeof *copy);
    }
    return HONE_OK;
}

static const char *token_text(const json_t *value)
{
    return json_string_value(json_is_object(value) ? json_object_get(value, "content") : value);
}

/* The texts of the special tokens that the settings name, as keys of a new object. NULL when out of memory. */
static json_t *collect_named(json_t *settings)
{
    json_t *names = json_object();
    const char *key;
    json_t *value;
    bool ok = names != NULL;
    json_object_foreach(settings, key, value)
    {
        const size_t len = strlen(key);
        const bool list = json_is_array(value) && strstr(key, "_special_tokens");
        const char *text = len > 6 && strcmp(key + len - 6, "_token") == 0 ? token_text(value) : NULL;
        if (ok && text)
            ok = json_object_set_new(names, text, json_true()) == 0;
        for (size_t i = 0; list && i < json_array_size(value) && ok; i++)
            if ((text = token_text(json_array_get(value, i))))
                ok = json_object_set_new(names, text, json_true()) == 0;
    }
    if (ok)
        return names;
    json_decref(names);
    return NULL;
}

/* {"<pad>": 50257}: special where the settings name it as such, else found in normalized text. */
static hone_status add_from_added(const json_t *named, json_t *file, json_t *tokens, hone_error *err)
{
    const char *text;
    json_t *id;
    json_object_foreach(file, text, id)
    {
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= INT32_MAX)
            return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, text, "token id is no natural number");
        const int special = json_object_get(named, text) != NULL;
        if (json_array_append_new(tokens, json_pack("{s:s, s:O, s:b, s:b}", "content", text, "id", id, "special",
                                                    special, "normalized", !special)) != 0)
            return hone_fail_nomem(err, strlen(text));
    }
    return HONE_OK;
}

static hone_status read_legacy(const hone_checkpoint *ckpt, hone_tokenizer_config *config, json_t *tokens,
                               hone_error *err)
{
    json_t *file;
    HONE_TRY(read_object(ckpt, SPECIAL_FILE, &file, err));
    const bool ok = !file || json_object_update(config->settings, file) == 0;
    json_decref(file);
    if (!ok)
        return hone_fail_nomem(err, sizeof *file);
    HONE_TRY(read_object(ckpt, ADDED_FILE, &file, err));
    json_t *named = collect_named(config->settings);
    const hone_status status = named ? add_from_added(named, file, tokens, err) : hone_fail_nomem(err, sizeof *named);
    json_decref(named);
    json_decref(file);
    return hone_fail_in_file(err, status, ADDED_FILE);
}

static hone_status read_all(const hone_checkpoint *ckpt, hone_tokenizer_config *config, json_t *tokens, hone_error *err)
{
    HONE_TRY(read_object(ckpt, CONFIG_FILE, &config->settings, err));
    if (!config->settings)
        config->settings = json_object();
    if (!config->settings || !config->added || !tokens)
        return hone_fail_nomem(err, sizeof *tokens);
    json_t *decoder = json_object_get(config->settings, "added_tokens_decoder");
    if (json_is_object(decoder))
        HONE_TRY(hone_fail_in_file(err, add_from_decoder(decoder, tokens, err), CONFIG_FILE));
    else
        HONE_TRY(read_legacy(ckpt, config, tokens, err));
    return append_sorted(config, tokens, err);
}

hone_status hone_tokenizer_config_read(const hone_checkpoint *ckpt, hone_tokenizer_config *out, hone_error *err)
{
    *out = (hone_tokenizer_config){.added = json_array()};
    json_t *tokens = json_array();
    const hone_status status = read_all(ckpt, out, tokens, err);
    json_decref(tokens);
    if (status != HONE_OK)
        hone_tokenizer_config_deinit(out);
    return status;
}

void hone_tokenizer_config_deinit(hone_tokenizer_config *config)
{
    json_decref(config->settings);
    json_decref(config->added);
    *config = (hone_tokenizer_config){0};
}

/* ---- asking ---- */

const char *hone_tokenizer_config_token(const hone_tokenizer_config *config, const char *key, const char *missing)
{
    const json_t *value = json_object_get(config->settings, key);
    return value ? token_text(value) : missing;
}

bool hone_tokenizer_config_flag(const hone_tokenizer_config *config, const char *key, bool missing)
{
    const json_t *value = json_object_get(config->settings, key);
    return json_is_boolean(value) ? json_is_true(value) : missing;
}

/* ---- added tokens of a vocabulary ---- */

typedef struct {
    hone_tokenizer_config *config;
    json_t *texts; /* those of config->added, as keys */
} completing;

/* A special token named by the settings: "text", or {"content": "text", "lstrip": ...}. */
static hone_status append_special(completing *c, json_t *value, const char *text, hone_error *err)
{
    if (json_object_get(c->texts, text))
        return HONE_OK;
    json_t *token = json_is_object(value) ? json_copy(value) : json_pack("{s:s}", "content", text);
    if (!token || json_object_set_new(token, "special", json_true()) != 0 ||
        json_array_append_new(c->config->added, token) != 0 || json_object_set_new(c->texts, text, json_true()) != 0)
        return hone_fail_nomem(err, strlen(text));
    return HONE_OK;
}

static hone_status append_special_tokens(completing *c, const hone_tokenizer_class *kind, hone_error *err)
{
    const hone_tokenizer_config *config = c->config;
    /* In transformers' order, which decides the ids of those that the vocabulary does not know. */
    static const char *const keys[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                       "pad_token", "cls_token", "mask_token"};
    static const char *const lists[] = {"extra_special_tokens", "additional_special_tokens"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const char *missing = NULL;
        for (size_t k = 0; kind->special[k][0]; k++)
            if (strcmp(kind->special[k][0], keys[i]) == 0)
                missing = kind->special[k][1];
        const char *text = hone_tokenizer_config_token(config, keys[i], missing);
        if (text)
            HONE_TRY(append_special(c, json_object_get(config->settings, keys[i]), text, err));
    }
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        const json_t *list = json_object_get(config->settings, lists[i]);
        for (size_t k = 0; k < json_array_size(list); k++) {
            json_t *value = json_array_get(list, k);
            if (token_text(value))
                HONE_TRY(append_special(c, value, token_text(value), err));
        }
    }
    return HONE_OK;
}

static hone_status check_class(const hone_tokenizer_config *config, const hone_tokenizer_class *kind, hone_error *err)
{
    const char *name = json_string_value(json_object_get(config->settings, "tokenizer_class"));
    bool known = !name;
    for (size_t i = 0; !known && kind->names[i]; i++)
        known = strcmp(kind->names[i], name) == 0;
    if (known)
        return HONE_OK;
    (void)hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, "tokenizer_class",
                    "%.80s without tokenizer.json (only %s)", name, kind->names[0]);
    return hone_fail_in_file(err, HONE_ERROR_UNSUPPORTED, CONFIG_FILE);
}

/* The vocabulary's id, or the next free one; added_tokens.json may say the same. */
static hone_status give_ids(const hone_tokenizer_config *config, const json_t *vocab, hone_error *err)
{
    json_int_t next = (json_int_t)json_object_size(vocab);
    for (size_t i = 0; i < json_array_size(config->added); i++) {
        json_t *token = json_array_get(config->added, i);
        const json_t *said = json_object_get(token, "id"), *known = json_object_get(vocab, token_text(token));
        const json_int_t id = known ? json_integer_value(known) : next++;
        if (said && json_integer_value(said) != id)
            return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, token_text(token),
                             "added with id %lld, which should be %lld", (long long)json_integer_value(said),
                             (long long)id);
        if (json_object_set_new(token, "id", json_integer(id)) != 0)
            return hone_fail_nomem(err, sizeof *token);
    }
    return HONE_OK;
}

hone_status hone_tokenizer_config_resolve(hone_tokenizer_config *config, const hone_tokenizer_class *kind,
                                          const json_t *vocab, hone_error *err)
{
    HONE_TRY(check_class(config, kind, err));
    completing c = {.config = config, .texts = json_object()};
    hone_status status = c.texts ? HONE_OK : hone_fail_nomem(err, sizeof *c.texts);
    for (size_t i = 0; i < json_array_size(config->added) && status == HONE_OK; i++)
        if (json_object_set_new(c.texts, token_text(json_array_get(config->added, i)), json_true()) != 0)
            status = hone_fail_nomem(err, sizeof *c.texts);
    if (status == HONE_OK)
        status = append_special_tokens(&c, kind, err);
    json_decref(c.texts);
    return status == HONE_OK ? give_ids(config, vocab, err) : status;
}
