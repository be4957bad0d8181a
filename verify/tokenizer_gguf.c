/* SPDX-License-Identifier: MIT */
/*
 * A tokenizer from the tokenizer.ggml.* keys of a GGUF file: "gpt2" (byte-level BPE) or "llama" (SentencePiece BPE).
 *
 * The keys say which pre-tokenizer by a name only; names, patterns and defaults are those of llama.cpp's
 * src/llama-vocab.cpp.
 */
#include <math.h>
#include <string.h>

#include "base/cursor.h"
#include "base/fail.h"
#include "base/mem.h"
#include "verify/tokenizer_impl.h"

#define KEY(name) "tokenizer.ggml." name

#define NUMBER_TRIPLES                                                                                                 \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"           \
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define SINGLE_NUMBERS                                                                                                 \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"                \
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define SINGLE_NUMBERS_MARKS                                                                                           \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|"  \
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
/* Letters in the case order of words, o200k's way. */
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED(suffix)                                                                                                  \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" suffix "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*" suffix
#define PUNCTUATION_SLASH "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"

enum { MAX_PATTERNS = 4, MAX_NAMES = 10 };

/* Each pattern splits the words left by the one before. */
typedef struct {
    const char *names[MAX_NAMES];
    const char *patterns[MAX_PATTERNS];
    bool ignore_merges, add_bos;
} pre_type;

static const pre_type pre_types[] = {
    {.names = {"gpt-2", "phi-2", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de", "mpt", "olmo", "jais", "exaone4"},
     .patterns = {HONE_GPT2_PATTERN}},
    {.names = {"gigachat", "a.x-4.0", "mellum", "modern-bert", "trillion", "granite-docling"},
     .patterns = {HONE_GPT2_PATTERN}},
    {.names = {"default"}, .patterns = {"[\\p{P}\\$\\+<=>\\^~\\|]+", HONE_GPT2_PATTERN, "\\p{N}+", "[0-9][0-9][0-9]"}},
    {.names = {"falcon"}, .patterns = {"[\\p{P}\\$\\+<=>\\^~\\|`]+", HONE_GPT2_PATTERN, "[0-9][0-9][0-9]"}},
    {.names = {"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2",
               "jina-v5-nano"},
     .patterns = {NUMBER_TRIPLES},
     .ignore_merges = true,
     .add_bos = true},
    {.names = {"dbrx", "smaug-bpe", "chatglm-bpe"}, .patterns = {NUMBER_TRIPLES}},
    {.names = {"glm4", "glm5"}, .patterns = {NUMBER_TRIPLES}, .ignore_merges = true},
    {.names = {"qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "stablelm2", "megrez", "hunyuan", "solar-open",
               "grok-2"},
     .patterns = {SINGLE_NUMBERS}},
    {.names = {"qwen35"}, .patterns = {SINGLE_NUMBERS_MARKS}},
    {.names = {"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"},
     .patterns = {"\\p{N}", HONE_GPT2_PATTERN}},
    {.names = {"tekken"}, .patterns = {CASED("") "|\\p{N}" PUNCTUATION_SLASH}, .ignore_merges = true, .add_bos = true},
    {.names = {"gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"},
     .patterns = {CASED(CONTRACTION) "|\\p{N}{1,3}" PUNCTUATION_SLASH}},
};

typedef struct {
    const hone_checkpoint *ckpt;
    hone_tokenizer *tok;
    const int32_t *types; /* n_vocab, or NULL */
    hone_error *err;
} loading;

/* ---- keys ---- */

static const hone_metadata *find(const loading *l, const char *key, hone_value_type type)
{
    const hone_metadata *entry = hone_checkpoint_find_metadata(l->ckpt, key);
    return entry && entry->type == type ? entry : NULL;
}

static hone_string get_string(const loading *l, const char *key)
{
    const hone_metadata *entry = find(l, key, HONE_VALUE_STRING);
    return entry ? entry->v.string : (hone_string){.data = "", .len = 0};
}

static bool equals(hone_string s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.data, text, s.len) == 0;
}

static bool get_bool(const loading *l, const char *key, bool missing)
{
    const hone_metadata *entry = find(l, key, HONE_VALUE_BOOL);
    return entry ? entry->v.u != 0 : missing;
}

/* A token id. DATA: outside the vocabulary. */
static hone_status get_id(const loading *l, const char *key, int32_t missing, int32_t *out)
{
    const hone_metadata *entry = hone_checkpoint_find_metadata(l->ckpt, key);
    *out = (size_t)missing < l->tok->n_vocab ? missing : -1;
    if (!entry)
        return HONE_OK;
    const uint64_t id = entry->type == HONE_VALUE_U32 || entry->type == HONE_VALUE_U64   ? entry->v.u
                        : entry->type == HONE_VALUE_I32 || entry->type == HONE_VALUE_I64 ? (uint64_t)entry->v.i
                                                                                         : UINT64_MAX;
    if (id >= l->tok->n_vocab)
        return hone_fail(l->err, HONE_ERROR_DATA, HONE_NO_OFFSET, key, "not a token id");
    *out = (int32_t)id;
    return HONE_OK;
}

/* An array of one element per token, or NULL when there is none. */
static hone_status get_per_token(const loading *l, const char *key, hone_value_type type, const void **items)
{
    const hone_metadata *entry = hone_checkpoint_find_metadata(l->ckpt, key);
    *items = NULL;
    if (!entry)
        return HONE_OK;
    if (entry->type != HONE_VALUE_ARRAY || entry->v.array.elem_type != type || entry->v.array.count != l->tok->n_vocab)
        return hone_fail(l->err, HONE_ERROR_DATA, HONE_NO_OFFSET, key, "not one value of the right type per token");
    *items = entry->v.array.items;
    return HONE_OK;
}

/* ---- vocabulary ---- */

static hone_status load_token(const loading *l, int32_t id, hone_string text)
{
    hone_tokenizer *tok = l->tok;
    const int32_t type = l->types ? l->types[id] : HONE_PIECE_NORMAL;
    const bool named = type == HONE_PIECE_CONTROL || type == HONE_PIECE_USER_DEFINED;
    char *copy = hone_arena_copy(&tok->arena, text.data, text.len);
    if (!copy)
        return hone_fail_nomem(l->err, text.len);
    size_t n = text.len;
    /* What is not made of stand-ins no word can be; as control or user-defined token it is found in the text. */
    const bool decoded = tok->bpe.byte_level && hone_byte_level_decode(text.data, text.len, copy, &n);
    tok->texts[id] = (hone_string){.data = copy, .len = tok->bpe.byte_level && !decoded ? 0 : n};
    if (decoded && !named) {
        tok->pieces[id] = tok->texts[id];
        return HONE_OK;
    }
    return hone_tokenizer_set_piece(tok, id, text, tok->model == HONE_TOKENS_SPM && type != HONE_PIECE_CONTROL, l->err);
}

static hone_status load_tokens(loading *l)
{
    const hone_metadata *tokens = find(l, KEY("tokens"), HONE_VALUE_ARRAY);
    if (!tokens || tokens->v.array.elem_type != HONE_VALUE_STRING || tokens->v.array.count > INT32_MAX)
        return hone_fail(l->err, HONE_ERROR_DATA, HONE_NO_OFFSET, KEY("tokens"), "no array of strings");
    HONE_TRY(hone_tokenizer_alloc_vocab(l->tok, (size_t)tokens->v.array.count, l->err));
    const void *items;
    HONE_TRY(get_per_token(l, KEY("token_type"), HONE_VALUE_I32, &items));
    l->types = items;
    for (size_t id = 0; id < l->tok->n_vocab; id++) {
        const hone_string text = tokens->v.array.strings[id];
        if (hone_utf8_check(text.data, text.len) != text.len)
            return hone_fail(l->err, HONE_ERROR_DATA, HONE_NO_OFFSET, KEY("tokens"), "token %zu is not UTF-8", id);
        HONE_TRY(load_token(l, (int32_t)id, text));
    }
    return hone_tokenizer_index(l->tok, l->err);
}

/* Control, unknown and user-defined tokens are found in the text before all else, the first two only on request. */
static hone_status load_added(const loading *l)
{
    hone_tokenizer *tok = l->tok;
    size_t n = 0;
    for (size_t id = 0; l->types && id < tok->n_vocab; id++)
        n += l->types[id] >= HONE_PIECE_UNKNOWN && l->types[id] <= HONE_PIECE_USER_DEFINED;
    hone_added_token *added = hone_arena_alloc(&tok->arena, n, sizeof *added);
    if (!added)
        return hone_fail_nomem(l->err, n * sizeof *added);
    const hone_string *strings = find(l, KEY("tokens"), HONE_VALUE_ARRAY)->v.array.strings;
    n = 0;
    for (size_t id = 0; l->types && id < tok->n_vocab; id++) {
        if (l->types[id] < HONE_PIECE_UNKNOWN || l->types[id] > HONE_PIECE_USER_DEFINED)
            continue;
        const char *copy = hone_arena_copy(&tok->arena, strings[id].data, strings[id].len);
        if (!copy)
            return hone_fail_nomem(l->err, strings[id].len);
        added[n++] = (hone_added_token){.text = {.data = copy, .len = strings[id].len},
                                        .id = (int32_t)id,
                                        .special = l->types[id] != HONE_PIECE_USER_DEFINED};
    }
    hone_matcher_init(&tok->added, added, n);
    return HONE_OK;
}

static hone_status load_template(const loading *l, bool add_bos, int32_t bos, int32_t eos)
{
    hone_tokenizer *tok = l->tok;
    HONE_TRY(get_id(l, KEY("bos_token_id"), bos, &bos));
    HONE_TRY(get_id(l, KEY("eos_token_id"), eos, &eos));
    if (get_bool(l, KEY("add_bos_token"), add_bos) && bos >= 0)
        tok->before[tok->n_before++] = bos;
    if (get_bool(l, KEY("add_eos_token"), false) && eos >= 0)
        tok->after[tok->n_after++] = eos;
    return HONE_OK;
}

/* ---- "gpt2" ---- */

static const pre_type *find_pre_type(hone_string name)
{
    for (size_t i = 0; i < sizeof pre_types / sizeof pre_types[0]; i++)
        for (size_t k = 0; k < MAX_NAMES && pre_types[i].names[k]; k++)
            if (equals(name, pre_types[i].names[k]))
                return &pre_types[i];
    return NULL;
}

static hone_status load_merges(const loading *l)
{
    const hone_metadata *merges = find(l, KEY("merges"), HONE_VALUE_ARRAY);
    if (!merges || merges->v.array.elem_type != HONE_VALUE_STRING || merges->v.array.count > INT32_MAX)
        return hone_fail(l->err, HONE_ERROR_DATA, HONE_NO_OFFSET, KEY("merges"), "no array of strings");
    for (size_t i = 0; i < merges->v.array.count; i++) {
        const hone_string both = merges->v.array.strings[i];
        /* The left part is not empty, so a space at the very start belongs to it. */
        const char *space = both.len > 1 ? memchr(both.data + 1, ' ', both.len - 1) : NULL;
        if (!space || hone_utf8_check(both.data, both.len) != both.len)
            return hone_fail(l->err, HONE_ERROR_DATA, HONE_NO_OFFSET, KEY("merges"), "merge %zu is not of two tokens",
                             i);
        const hone_string a = {.data = both.data, .len = (size_t)(space - both.data)};
        const hone_string b = {.data = space + 1, .len = both.len - a.len - 1};
        HONE_TRY(hone_bpe_set_merge(l->tok, a, b, (uint32_t)i, l->err));
    }
    return HONE_OK;
}

static hone_status load_gpt2(loading *l)
{
    hone_string name = get_string(l, KEY("pre"));
    if (name.len == 0)
        name = (hone_string){.data = "default", .len = 7};
    const pre_type *pre = find_pre_type(name);
    if (!pre)
        return hone_fail(l->err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, KEY("pre"), "pre-tokenizer \"%.*s\"",
                         (int)(name.len < 64 ? name.len : 64), name.data);
    l->tok->bpe.byte_level = true;
    l->tok->bpe.ignore_merges = pre->ignore_merges;
    for (size_t i = 0; i < MAX_PATTERNS && pre->patterns[i]; i++)
        HONE_TRY(hone_pretokenizer_add_split(&l->tok->pretokenizer, pre->patterns[i], strlen(pre->patterns[i]), false,
                                             HONE_SPLIT_ISOLATED, false, l->err));
    HONE_TRY(load_tokens(l));
    HONE_TRY(load_merges(l));
    HONE_TRY(load_added(l));
    return load_template(l, pre->add_bos, 11, 11);
}

/* ---- "llama" ---- */

static hone_status load_scores(const loading *l)
{
    hone_tokenizer *tok = l->tok;
    const void *items;
    HONE_TRY(get_per_token(l, KEY("scores"), HONE_VALUE_F32, &items));
    if (!items)
        return hone_fail(l->err, HONE_ERROR_DATA, HONE_NO_OFFSET, KEY("scores"), "missing");
    return hone_spm_init(tok, l->types, items, l->err);
}

static hone_status load_charsmap(const loading *l, hone_spm_normalization *spm)
{
    const hone_metadata *map = find(l, KEY("precompiled_charsmap"), HONE_VALUE_ARRAY);
    if (!map || (map->v.array.elem_type != HONE_VALUE_U8 && map->v.array.elem_type != HONE_VALUE_I8) ||
        map->v.array.count == 0)
        return HONE_OK;
    spm->charsmap_nbytes = (size_t)map->v.array.count;
    spm->charsmap = (const uint8_t *)hone_arena_copy(&l->tok->arena, map->v.array.items, spm->charsmap_nbytes);
    if (!spm->charsmap)
        return hone_fail_nomem(l->err, spm->charsmap_nbytes);
    return hone_charsmap_check(spm->charsmap, spm->charsmap_nbytes, l->err);
}

static hone_status load_llama(loading *l)
{
    hone_tokenizer *tok = l->tok;
    tok->model = HONE_TOKENS_SPM;
    HONE_TRY(load_tokens(l));
    HONE_TRY(load_scores(l));
    HONE_TRY(load_added(l));
    HONE_TRY(get_id(l, KEY("unknown_token_id"), 0, &tok->spm.unk));
    /* Falls back to bytes where the vocabulary has them; the keys do not say. */
    tok->spm.byte_fallback = tok->byte_ids['\n'] >= 0;
    hone_normalizer_step *step = &tok->normalizer.steps[tok->normalizer.n++];
    *step = (hone_normalizer_step){.kind = HONE_NORMALIZE_SENTENCEPIECE};
    step->spm =
        (hone_spm_normalization){.add_dummy_prefix = get_bool(l, KEY("add_space_prefix"), true),
                                 .remove_extra_whitespaces = get_bool(l, KEY("remove_extra_whitespaces"), false),
                                 .escape_whitespaces = true};
    HONE_TRY(load_charsmap(l, &step->spm));
    HONE_TRY(load_template(l, true, 1, 2));
    return tok->spm.unused ? HONE_OK : hone_tokenizer_index_neighbours(tok, l->err);
}

hone_status hone_tokenizer_from_gguf(const hone_checkpoint *ckpt, hone_tokenizer *tok, hone_error *err)
{
    loading l = {.ckpt = ckpt, .tok = tok, .err = err};
    const hone_string model = get_string(&l, KEY("model"));
    if (model.len == 0)
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, KEY("model"), "the file carries no tokenizer");
    if (equals(model, "gpt2"))
        return load_gpt2(&l);
    if (equals(model, "llama"))
        return load_llama(&l);
    return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, KEY("model"), "tokenizer \"%.*s\"",
                     (int)(model.len < 64 ? model.len : 64), model.data);
}
