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
    if (*out)
        return HONE_OK;
    if (json_error_code(&error) == json_error_out_of_memory)
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
