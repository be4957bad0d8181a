/* SPDX-License-Identifier: MIT */
#include "formats/json.h"

#include <limits.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/mem.h"

/* Jansson recurses once per level and stops at 2048; real files stay below ten. */
enum { MAX_DEPTH = 128 };

/*
 * The position of the bracket that opens level MAX_DEPTH + 1, or len. Text that is not JSON may be misjudged here;
 * Jansson refuses it afterwards, and its own cap bounds the recursion meanwhile.
 */
static size_t find_too_deep(const char *text, size_t len)
{
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        const char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > MAX_DEPTH)
                return i;
        } else if (c == ']' || c == '}') {
            depth--;
        }
    }
    return len;
}

/*
 * tokenizer_config.json files say "model_max_length": 1000000000000000019884624838656, beyond any integer of Jansson's.
 * A copy of text in which each integer of 19 or more digits got a ".0" behind it, so that it parses as a real; NULL
 * when out of memory.
 */
static char *write_long_integers_as_reals(const char *text, size_t len, size_t *new_len)
{
    enum { LONG_INTEGER = 19 };
    char *copy = hone_alloc(len + len / LONG_INTEGER * 2 + 1, 1);
    if (!copy)
        return NULL;
    size_t n = 0, digits = 0;
    bool in_string = false, real = false;
    for (size_t i = 0; i <= len; i++) {
        const char c = i < len ? text[i] : ' ';
        const bool digit = c >= '0' && c <= '9';
        if (!in_string && digit) {
            digits++;
        } else {
            if (!in_string && digits >= LONG_INTEGER && !real && c != '.' && c != 'e' && c != 'E') {
                copy[n++] = '.';
                copy[n++] = '0';
            }
            /* Digits behind a point or an exponent belong to a real already. */
            real = !in_string && (c == '.' || c == 'e' || c == 'E' || (real && (c == '+' || c == '-')));
            digits = 0;
        }
        if (i == len)
            break;
        if (c == '"')
            in_string = !in_string;
        copy[n++] = c;
        if (in_string && c == '\\' && i + 1 < len)
            copy[n++] = text[++i];
    }
    *new_len = n;
    return copy;
}

static json_t *parse_with_long_integers(const char *text, size_t len, json_error_t *error)
{
    size_t new_len;
    char *copy = write_long_integers_as_reals(text, len, &new_len);
    if (!copy)
        return NULL;
    json_t *root = json_loadb(copy, new_len, JSON_REJECT_DUPLICATES, error);
    hone_release(copy);
    return root;
}

hone_status hone_json_parse(const char *text, size_t len, uint64_t base_offset, json_t **out, hone_error *err)
{
    *out = NULL;
    /* json_error_t holds positions in an int. */
    if (len > INT_MAX)
        return hone_fail(err, HONE_ERROR_LIMIT, base_offset, NULL, "%zu bytes of JSON", len);
    const size_t deep = find_too_deep(text, len);
    if (deep < len)
        return hone_fail(err, HONE_ERROR_DATA, base_offset + deep, NULL, "JSON nested deeper than %d", MAX_DEPTH);
    json_error_t error;
    *out = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    if (!*out && json_error_code(&error) == json_error_numeric_overflow) {
        json_error_t second; /* its positions are those of the copy */
        *out = parse_with_long_integers(text, len, &second);
    }
    if (*out)
        return HONE_OK;
    /* Jansson has a code for it, but mostly says nothing at all when it finds no memory. */
    if (json_error_code(&error) == json_error_out_of_memory || error.text[0] == '\0')
        return hone_fail_nomem(err, len);
    const size_t at = error.position < 0 ? 0 : (size_t)error.position;
    return hone_fail(err, HONE_ERROR_DATA, base_offset + (at < len ? at : len), NULL, "invalid JSON: %s", error.text);
}

hone_status hone_json_read(const char *path, uint64_t max_nbytes, json_t **out, hone_error *err)
{
    *out = NULL;
    char *text;
    size_t len;
    HONE_TRY(hone_file_slurp(path, max_nbytes, &text, &len, err));
    const hone_status status = hone_json_parse(text, len, 0, out, err);
    hone_release(text);
    return status == HONE_OK ? HONE_OK : hone_fail_in_file(err, status, path);
}
