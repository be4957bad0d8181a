/* SPDX-License-Identifier: MIT */
/*
 * Which regular expression goes by which tokenizer.ggml.pre name. The expressions are those of the models'
 * tokenizer.json files; the names are llama.cpp's (src/llama-vocab.cpp).
 */
#include <string.h>

#include "base/fail.h"
#include "convert/vocab_import.h"

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"

static const struct {
    const char *name, *regex;
} splits[] = {
    {"llama-bpe",
     CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"
                  "\\s+(?!\\S)|\\s+"},
    {"qwen2", CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"
                           "\\s+(?!\\S)|\\s+"},
    {"gpt-2", "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"},
};

static bool type_is(const json_t *node, const char *type)
{
    const char *t = json_string_value(json_object_get(node, "type"));
    return t && strcmp(t, type) == 0;
}

static const char *split_regex(const json_t *node)
{
    return json_string_value(json_object_get(json_object_get(node, "pattern"), "Regex"));
}

/* ByteLevel applies GPT-2's expression itself unless told not to. */
static bool byte_level_splits(const json_t *node)
{
    return type_is(node, "ByteLevel") && !json_is_false(json_object_get(node, "use_regex"));
}

hone_status hone_pre_tokenizer_name(const json_t *pre, const char **name, hone_error *err)
{
    *name = NULL;
    const json_t *steps = type_is(pre, "Sequence") ? json_object_get(pre, "pretokenizers") : NULL;
    const size_t n = steps ? json_array_size(steps) : 1;
    const json_t *first = steps ? json_array_get(steps, 0) : pre;
    const json_t *second = steps ? json_array_get(steps, 1) : NULL;
    if (n == 1 && byte_level_splits(first)) {
        *name = "gpt-2";
        return HONE_OK;
    }
    if (n == 2 && type_is(first, "Digits") && json_is_true(json_object_get(first, "individual_digits")) &&
        byte_level_splits(second)) {
        *name = "smollm";
        return HONE_OK;
    }
    const char *regex = type_is(first, "Split") ? split_regex(first) : NULL;
    if (n == 2 && regex && type_is(second, "ByteLevel") && !byte_level_splits(second))
        for (size_t i = 0; i < sizeof splits / sizeof splits[0]; i++)
            if (strcmp(regex, splits[i].regex) == 0)
                *name = splits[i].name;
    if (*name)
        return HONE_OK;
    return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, "pre_tokenizer",
                     "no GGUF name is known for this pre-tokenizer (%s)", regex ? regex : "no Split and ByteLevel");
}
