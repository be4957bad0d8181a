/* SPDX-License-Identifier: MIT */
#include "formats/json.h"

#include <limits.h>
#include <stdbool.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/mem.h"

/* Jansson recurses once per level and stops at 2048; real files stay below ten. */
enum { MAX_DEPTH = 128 };

/*
 * What Jansson takes for each kind of value, in bytes: a little more than malloc gives out on a 64-bit machine, with
 * the slot in the container around it. A key and a string take their text besides.
 */
enum { OBJECT_NBYTES = 288, ARRAY_NBYTES = 144, TEXT_NBYTES = 96, SCALAR_NBYTES = 48, KEY_NBYTES = 112 };

/* Enough for a vocabulary of 260,000 tokens with 510,000 merges twice over. */
static const uint64_t MAX_MEMORY = 512ull << 20;

/* What is longer is not parsed a second time for the sake of its numbers. */
enum { MAX_REPAIRED_NBYTES = 32 << 20 };

/* A look at the text before Jansson sees it. */
struct survey {
    size_t at;     /* of the first bracket too deep, or of the value too many; len: there is none */
    bool too_deep; /* else too large */
    uint64_t max_nbytes;
};

static size_t skip_string(const char *text, size_t len, size_t i)
{
    while (i < len && text[i] != '"')
        i += text[i] == '\\' ? 2 : 1;
    return i < len ? i : len;
}

/*
 * Text that is not JSON may be misjudged here; Jansson refuses it afterwards. Each bracket, string and number counts as
 * a value, each colon as a key.
 */
static void survey(const char *text, size_t len, struct survey *s)
{
    int depth = 0;
    uint64_t nbytes = 0;
    for (size_t i = 0; i < len; i++) {
        const char c = text[i];
        const size_t start = i;
        if (c == '"') {
            i = skip_string(text, len, i + 1);
            nbytes += TEXT_NBYTES + (i - start);
        } else if (c == '[' || c == '{') {
            nbytes += c == '[' ? ARRAY_NBYTES : OBJECT_NBYTES;
            s->too_deep = ++depth > MAX_DEPTH;
        } else if (c == ']' || c == '}') {
            depth--;
        } else if (c == ':') {
            nbytes += KEY_NBYTES;
        } else if (c == ',') {
            nbytes += SCALAR_NBYTES; /* the slot, and a number if the value is one */
        }
        if (s->too_deep || nbytes > s->max_nbytes) {
            s->at = start;
            return;
        }
    }
    s->at = len;
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

hone_status hone_json_parse_within(const char *text, size_t len, uint64_t max_memory, uint64_t base_offset,
                                   json_t **out, hone_error *err)
{
    *out = NULL;
    /* json_error_t holds positions in an int. */
    if (len > INT_MAX)
        return hone_fail(err, HONE_ERROR_LIMIT, base_offset, NULL, "%zu bytes of JSON", len);
    struct survey s = {.max_nbytes = max_memory};
    survey(text, len, &s);
    if (s.at < len && s.too_deep)
        return hone_fail(err, HONE_ERROR_DATA, base_offset + s.at, NULL, "JSON nested deeper than %d", MAX_DEPTH);
    if (s.at < len)
        return hone_fail(err, HONE_ERROR_LIMIT, base_offset + s.at, NULL, "JSON of more values than fit %llu MiB",
                         (unsigned long long)(max_memory >> 20));
    json_error_t error;
    *out = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    if (!*out && json_error_code(&error) == json_error_numeric_overflow && len <= MAX_REPAIRED_NBYTES) {
        json_error_t second; /* its positions are those of the copy */
        *out = parse_with_long_integers(text, len, &second);
    }
    if (*out)
        return HONE_OK;
    if (json_error_code(&error) == json_error_out_of_memory)
        return hone_fail_nomem(err, len);
    const size_t at = error.position < 0 ? 0 : (size_t)error.position;
    return hone_fail(err, HONE_ERROR_DATA, base_offset + (at < len ? at : len), NULL, "invalid JSON: %s", error.text);
}

hone_status hone_json_parse(const char *text, size_t len, uint64_t base_offset, json_t **out, hone_error *err)
{
    return hone_json_parse_within(text, len, MAX_MEMORY, base_offset, out, err);
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

hone_status hone_json_place_error(const char *path, const char *inside, hone_status status, hone_error *err)
{
    const bool about_text = status == HONE_ERROR_DATA || status == HONE_ERROR_LIMIT || status == HONE_ERROR_UNSUPPORTED;
    if (!err || !about_text || err->file[0] || !path)
        return hone_fail_in_file(err, status, path);
    hone_json_source source = {0};
    json_t *root = NULL;
    char *text = NULL;
    hone_error ignored;
    if (err->offset == HONE_NO_OFFSET && err->item[0] &&
        hone_file_slurp(path, MAX_REPAIRED_NBYTES, &text, &source.len, &ignored) == HONE_OK &&
        hone_json_parse(text, source.len, 0, &root, &ignored) == HONE_OK) {
        source.text = text;
        source.root = root;
        err->offset = hone_json_offset_of_key(&source, inside ? json_object_get(root, inside) : NULL, err->item);
    }
    json_decref(root);
    hone_release(text);
    return hone_fail_in_file(err, status, path);
}
