/* SPDX-License-Identifier: MIT */
#include "verify/tokenizer_stages.h"

#include <string.h>

#include "base/fail.h"

/* Sequences within sequences. */
enum { MAX_DEPTH = 6 };

typedef struct {
    hone_tokenizer *tok;
    bool escapes_spaces;
    bool byte_level; /* a ByteLevel pre-tokenizer was seen */
    bool printable;  /* words are GPT-2's stand-ins from here on */
    const hone_json_source *source;
    hone_error *err;
} loading;

static hone_status unsupported(const loading *l, const char *what, const char *type)
{
    return hone_fail(l->err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, what, "type \"%s\" is not handled", type);
}

static bool get_bool(const json_t *object, const char *key, bool missing)
{
    const json_t *value = json_object_get(object, key);
    return json_is_boolean(value) ? json_is_true(value) : missing;
}

/* Both {"String": ...} and {"Regex": ...}. */
static hone_status get_pattern(const loading *l, const json_t *object, const char *what, const char **pattern,
                               size_t *len, bool *literal)
{
    const json_t *holder = json_object_get(object, "pattern");
    const json_t *string = json_object_get(holder, "String");
    const json_t *value = string ? string : json_object_get(holder, "Regex");
    if (!json_is_string(value) || json_string_length(value) == 0)
        return hone_fail(l->err, HONE_ERROR_DATA, HONE_NO_OFFSET, what, "pattern is neither a String nor a Regex");
    *pattern = json_string_value(value);
    *len = json_string_length(value);
    *literal = string != NULL;
    return HONE_OK;
}

/* Adds the position of the part that an error is about. */
static hone_status place(const loading *l, const json_t *part, hone_status status)
{
    if (status != HONE_OK && status != HONE_ERROR_NOMEM && l->err && l->err->offset == HONE_NO_OFFSET)
        l->err->offset = hone_json_offset_of(l->source, part);
    return status;
}

/*
 * Calls visit() for every part of a normalizer or pre-tokenizer, sequences within sequences taken apart in order. key
 * names the array of parts of a Sequence.
 */
static hone_status for_each_part(loading *l, const json_t *root, const char *what, const char *key,
                                 hone_status (*visit)(loading *l, const json_t *part, const char *type))
{
    struct {
        const json_t *parts;
        size_t next;
    } stack[MAX_DEPTH];
    int depth = 0;
    const json_t *part = root;
    while (part) {
        const char *type = json_string_value(json_object_get(part, "type"));
        if (!type)
            return place(l, part, hone_fail(l->err, HONE_ERROR_DATA, HONE_NO_OFFSET, what, "no type"));
        if (strcmp(type, "Sequence") == 0) {
            const json_t *parts = json_object_get(part, key);
            if (depth == MAX_DEPTH || !json_is_array(parts))
                return place(l, part, hone_fail(l->err, HONE_ERROR_DATA, HONE_NO_OFFSET, what, "bad sequence"));
            stack[depth].parts = parts;
            stack[depth++].next = 0;
        } else {
            HONE_TRY(place(l, part, visit(l, part, type)));
        }
        while (depth > 0 && stack[depth - 1].next == json_array_size(stack[depth - 1].parts))
            depth--;
        part = depth > 0 ? json_array_get(stack[depth - 1].parts, stack[depth - 1].next++) : NULL;
    }
    return HONE_OK;
}

/* ---- normalizer ---- */

static hone_status get_text(loading *l, const json_t *object, const char *key, hone_string *out)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value))
        return hone_fail(l->err, HONE_ERROR_DATA, HONE_NO_OFFSET, "normalizer", "%s is not a string", key);
    const size_t len = json_string_length(value);
    const char *copy = hone_arena_copy(&l->tok->arena, json_string_value(value), len);
    if (!copy)
        return hone_fail_nomem(l->err, len);
    *out = (hone_string){.data = copy, .len = len};
    if (len == 3 && memcmp(copy, HONE_SPACE_SYMBOL, 3) == 0)
        l->escapes_spaces = true;
    return HONE_OK;
}

static hone_status load_replace(loading *l, const json_t *object, hone_normalizer_step *step)
{
    const char *pattern;
    size_t len;
    bool literal;
    HONE_TRY(get_pattern(l, object, "normalizer", &pattern, &len, &literal));
    HONE_TRY(get_text(l, object, "content", &step->content));
    return hone_regex_new(pattern, len, literal, &step->regex, l->err);
}

static hone_status add_normalizer(const loading *l, const hone_normalizer_step *step)
{
    hone_normalizer *normalizer = &l->tok->normalizer;
    if (normalizer->n == HONE_MAX_NORMALIZERS) {
        hone_regex_free(step->regex);
        return hone_fail(l->err, HONE_ERROR_LIMIT, HONE_NO_OFFSET, "normalizer", "more than %d", HONE_MAX_NORMALIZERS);
    }
    normalizer->steps[normalizer->n++] = *step;
    return HONE_OK;
}

/* Accents are stripped along with capitals unless the file says otherwise. */
static hone_status load_bert_normalizer(const loading *l, const json_t *object)
{
    const bool lowercase = get_bool(object, "lowercase", true);
    const bool strip = get_bool(object, "strip_accents", lowercase);
    const struct {
        hone_normalizer_kind kind;
        bool wanted;
    } steps[] = {
        {HONE_NORMALIZE_CLEAN, get_bool(object, "clean_text", true)},
        {HONE_NORMALIZE_SPACE_IDEOGRAPHS, get_bool(object, "handle_chinese_chars", true)},
        {HONE_NORMALIZE_NFD, strip},
        {HONE_NORMALIZE_STRIP_ACCENTS, strip},
        {HONE_NORMALIZE_LOWERCASE, lowercase},
    };
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
        if (steps[i].wanted)
            HONE_TRY(add_normalizer(l, &(hone_normalizer_step){.kind = steps[i].kind}));
    return HONE_OK;
}

static hone_status load_one_normalizer(loading *l, const json_t *object, const char *type)
{
    static const struct {
        const char *type;
        hone_normalizer_kind kind;
    } kinds[] = {
        {"NFC", HONE_NORMALIZE_NFC},
        {"NFD", HONE_NORMALIZE_NFD},
        {"NFKC", HONE_NORMALIZE_NFKC},
        {"NFKD", HONE_NORMALIZE_NFKD},
        {"Prepend", HONE_NORMALIZE_PREPEND},
        {"Replace", HONE_NORMALIZE_REPLACE},
        {"Lowercase", HONE_NORMALIZE_LOWERCASE},
    };
    if (strcmp(type, "BertNormalizer") == 0)
        return load_bert_normalizer(l, object);
    size_t k = 0;
    while (k < sizeof kinds / sizeof kinds[0] && strcmp(kinds[k].type, type) != 0)
        k++;
    if (k == sizeof kinds / sizeof kinds[0])
        return unsupported(l, "normalizer", type);
    hone_normalizer_step step = {.kind = kinds[k].kind};
    if (step.kind == HONE_NORMALIZE_REPLACE)
        HONE_TRY(load_replace(l, object, &step));
    else if (step.kind == HONE_NORMALIZE_PREPEND)
        HONE_TRY(get_text(l, object, "prepend", &step.content));
    return add_normalizer(l, &step);
}

/* ---- pre-tokenizer ---- */

/* Stages after a ByteLevel see its stand-ins. */
static hone_status before_stage(loading *l)
{
    if (!l->byte_level || l->printable)
        return HONE_OK;
    l->printable = true;
    return hone_pretokenizer_add(&l->tok->pretokenizer, &(hone_pre_stage){.kind = HONE_PRE_TO_PRINTABLE}, l->err);
}

static hone_status add_split(loading *l, const char *pattern, hone_split_behavior behavior, bool invert)
{
    return hone_pretokenizer_add_split(&l->tok->pretokenizer, pattern, strlen(pattern), false, behavior, invert,
                                       l->err);
}

static hone_status get_behavior(const loading *l, const json_t *object, hone_split_behavior *out)
{
    static const char *const names[] = {
        [HONE_SPLIT_REMOVED] = "Removed",
        [HONE_SPLIT_ISOLATED] = "Isolated",
        [HONE_SPLIT_CONTIGUOUS] = "Contiguous",
        [HONE_SPLIT_MERGED_WITH_PREVIOUS] = "MergedWithPrevious",
        [HONE_SPLIT_MERGED_WITH_NEXT] = "MergedWithNext",
    };
    const char *name = json_string_value(json_object_get(object, "behavior"));
    for (size_t i = 0; name && i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i], name) == 0) {
            *out = (hone_split_behavior)i;
            return HONE_OK;
        }
    }
    return hone_fail(l->err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, "pre_tokenizer", "split behavior \"%s\"",
                     name ? name : "");
}

static hone_status load_split(loading *l, const json_t *object)
{
    const char *pattern;
    size_t len;
    bool literal;
    hone_split_behavior behavior;
    HONE_TRY(get_pattern(l, object, "pre_tokenizer", &pattern, &len, &literal));
    HONE_TRY(get_behavior(l, object, &behavior));
    return hone_pretokenizer_add_split(&l->tok->pretokenizer, pattern, len, literal, behavior,
                                       get_bool(object, "invert", false), l->err);
}

static hone_status load_byte_level(loading *l, const json_t *object)
{
    if (l->byte_level)
        return hone_fail(l->err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, "pre_tokenizer", "ByteLevel twice");
    if (get_bool(object, "add_prefix_space", true))
        HONE_TRY(
            hone_pretokenizer_add(&l->tok->pretokenizer, &(hone_pre_stage){.kind = HONE_PRE_PREFIX_SPACE}, l->err));
    if (get_bool(object, "use_regex", true))
        HONE_TRY(add_split(l, HONE_GPT2_PATTERN, HONE_SPLIT_ISOLATED, false));
    l->byte_level = true;
    return HONE_OK;
}

static hone_status load_metaspace(loading *l, const json_t *object)
{
    const char *replacement = json_string_value(json_object_get(object, "replacement"));
    const char *scheme = json_string_value(json_object_get(object, "prepend_scheme"));
    if (replacement && strcmp(replacement, HONE_SPACE_SYMBOL) != 0)
        return hone_fail(l->err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, "pre_tokenizer", "Metaspace with \"%s\"",
                         replacement);
    hone_pre_stage stage = {.kind = HONE_PRE_METASPACE};
    /* Files older than prepend_scheme have add_prefix_space. */
    if (!scheme)
        stage.prepend = get_bool(object, "add_prefix_space", true) ? HONE_PREPEND_ALWAYS : HONE_PREPEND_NEVER;
    else if (strcmp(scheme, "always") == 0)
        stage.prepend = HONE_PREPEND_ALWAYS;
    else if (strcmp(scheme, "first") == 0)
        stage.prepend = HONE_PREPEND_FIRST;
    else if (strcmp(scheme, "never") == 0)
        stage.prepend = HONE_PREPEND_NEVER;
    else
        return hone_fail(l->err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, "pre_tokenizer", "prepend_scheme \"%s\"",
                         scheme);
    HONE_TRY(hone_pretokenizer_add(&l->tok->pretokenizer, &stage, l->err));
    l->escapes_spaces = true;
    if (!get_bool(object, "split", true))
        return HONE_OK;
    return hone_pretokenizer_add_split(&l->tok->pretokenizer, HONE_SPACE_SYMBOL, 3, true, HONE_SPLIT_MERGED_WITH_NEXT,
                                       false, l->err);
}

/* ASCII's punctuation and symbols, and Unicode's punctuation. */
#define PUNCTUATION "[!-\\/:-@\\[-`{-~\\p{P}]"

static hone_status load_punctuation(loading *l, const json_t *object)
{
    hone_split_behavior behavior = HONE_SPLIT_ISOLATED;
    if (json_object_get(object, "behavior"))
        HONE_TRY(get_behavior(l, object, &behavior));
    return add_split(l, PUNCTUATION, behavior, false);
}

/* Words between white space, and each punctuation mark alone. */
static hone_status load_bert(loading *l)
{
    HONE_TRY(add_split(l, "\\s", HONE_SPLIT_REMOVED, false));
    return add_split(l, PUNCTUATION, HONE_SPLIT_ISOLATED, false);
}

static hone_status load_one_pre_tokenizer(loading *l, const json_t *object, const char *type)
{
    HONE_TRY(before_stage(l));
    if (strcmp(type, "ByteLevel") == 0)
        return load_byte_level(l, object);
    if (strcmp(type, "Split") == 0)
        return load_split(l, object);
    if (strcmp(type, "Metaspace") == 0)
        return load_metaspace(l, object);
    if (strcmp(type, "BertPreTokenizer") == 0)
        return load_bert(l);
    if (strcmp(type, "Punctuation") == 0)
        return load_punctuation(l, object);
    if (strcmp(type, "Digits") == 0)
        return add_split(l, "\\p{N}",
                         get_bool(object, "individual_digits", false) ? HONE_SPLIT_ISOLATED : HONE_SPLIT_CONTIGUOUS,
                         false);
    if (strcmp(type, "Whitespace") == 0)
        return add_split(l, "[\\w\\x{200c}\\x{200d}]+|[^\\w\\x{200c}\\x{200d}\\s]+", HONE_SPLIT_REMOVED, true);
    if (strcmp(type, "WhitespaceSplit") == 0)
        return add_split(l, "\\s", HONE_SPLIT_REMOVED, false);
    return unsupported(l, "pre_tokenizer", type);
}

hone_status hone_stages_from_json(const json_t *normalizer, const json_t *pre_tokenizer, const hone_json_source *source,
                                  hone_tokenizer *tok, bool *escapes_spaces, hone_error *err)
{
    loading l = {.tok = tok, .source = source, .err = err};
    if (normalizer && !json_is_null(normalizer))
        HONE_TRY(for_each_part(&l, normalizer, "normalizer", "normalizers", load_one_normalizer));
    if (pre_tokenizer && !json_is_null(pre_tokenizer))
        HONE_TRY(for_each_part(&l, pre_tokenizer, "pre_tokenizer", "pretokenizers", load_one_pre_tokenizer));
    if (l.printable)
        HONE_TRY(hone_pretokenizer_add(&tok->pretokenizer, &(hone_pre_stage){.kind = HONE_PRE_TO_BYTES}, err));
    tok->bpe.byte_level = l.byte_level;
    *escapes_spaces = l.escapes_spaces;
    return HONE_OK;
}
