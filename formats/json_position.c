/* SPDX-License-Identifier: MIT */
/*
 * Where in its text a parsed value begins.
 *
 * Jansson forgets positions. It keeps the order of members, though, and duplicates are refused, so walking the text and
 * the values side by side brings both to the same place.
 */
#include <stdbool.h>
#include <string.h>

#include "formats/json.h"

enum { MAX_DEPTH = 160 }; /* hone_json_parse() refuses more than 128 */

/* What is looked for: a value; or the member of that key, in one object if it is not NULL, or somewhere in another. */
struct wanted {
    const json_t *value, *object, *around;
    const char *key;
};

/* An object or array that is being walked through, and the place in it. */
struct frame {
    json_t *container;
    void *member;
    size_t index;
};

struct walk {
    const char *text;
    size_t len, at;
    struct frame frames[MAX_DEPTH];
    size_t depth;
};

static void skip_blanks(struct walk *w)
{
    while (w->at < w->len && memchr(" \t\r\n,:", w->text[w->at], 6))
        w->at++;
}

static void skip_string(struct walk *w)
{
    for (w->at++; w->at < w->len && w->text[w->at] != '"'; w->at++)
        w->at += w->text[w->at] == '\\';
    w->at++;
}

/* A string, number or word. */
static void skip_scalar(struct walk *w)
{
    if (w->text[w->at] == '"')
        skip_string(w);
    else
        while (w->at < w->len && !memchr(" \t\r\n,:]}", w->text[w->at], 8))
            w->at++;
}

/* The next member's value of the innermost container, its text at w->at; NULL behind the last one. */
static json_t *next_value(struct walk *w, const char **key)
{
    struct frame *f = &w->frames[w->depth - 1];
    skip_blanks(w);
    *key = NULL;
    if (json_is_array(f->container))
        return json_array_get(f->container, f->index++);
    if (!f->member)
        return NULL;
    json_t *value = json_object_iter_value(f->member);
    *key = json_object_iter_key(f->member);
    f->member = json_object_iter_next(f->container, f->member);
    skip_string(w);
    skip_blanks(w);
    return value;
}

static bool enter(struct walk *w, const json_t *value)
{
    if (w->depth == MAX_DEPTH)
        return false;
    json_t *container = (json_t *)(uintptr_t)value; /* iterators want it so; nothing is changed */
    w->frames[w->depth++] = (struct frame){.container = container, .member = json_object_iter(container)};
    w->at++;
    return true;
}

static bool matches(const struct walk *w, const struct wanted *wanted, const char *key, const json_t *value)
{
    if (!wanted->key)
        return value == wanted->value;
    if (!key || strcmp(key, wanted->key) != 0)
        return false;
    if (wanted->object)
        return wanted->object == w->frames[w->depth - 1].container;
    bool inside = !wanted->around;
    for (size_t i = 0; i < w->depth && !inside; i++)
        inside = w->frames[i].container == wanted->around;
    return inside;
}

static uint64_t find(const hone_json_source *source, const struct wanted *wanted)
{
    struct walk w = {.text = source->text, .len = source->len};
    uint64_t found = HONE_NO_OFFSET;
    size_t found_depth = MAX_DEPTH + 1;
    if (!source->text || !source->root)
        return found;
    skip_blanks(&w);
    if (source->root == wanted->value && !wanted->key)
        return w.at;
    if ((!json_is_object(source->root) && !json_is_array(source->root)) || !enter(&w, source->root))
        return found;
    while (w.depth > 0 && w.at < w.len) {
        const char *key;
        const json_t *value = next_value(&w, &key);
        if (!value) { /* behind the bracket that closes it */
            w.at++;
            w.depth--;
            continue;
        }
        if (w.depth < found_depth && matches(&w, wanted, key, value)) {
            found = w.at;
            found_depth = w.depth;
            if (!wanted->key || wanted->object)
                break;
        }
        if (!json_is_object(value) && !json_is_array(value)) {
            skip_scalar(&w);
        } else if (!enter(&w, value)) {
            break;
        }
    }
    return found;
}

uint64_t hone_json_offset_of(const hone_json_source *source, const json_t *value)
{
    if (!value || json_is_boolean(value) || json_is_null(value))
        return HONE_NO_OFFSET;
    return find(source, &(struct wanted){.value = value});
}

uint64_t hone_json_offset_of_member(const hone_json_source *source, const json_t *object, const char *key)
{
    if (!json_object_get(object, key))
        return hone_json_offset_of(source, object);
    return find(source, &(struct wanted){.object = object, .key = key});
}

uint64_t hone_json_offset_of_key(const hone_json_source *source, const json_t *around, const char *key)
{
    const uint64_t found = find(source, &(struct wanted){.around = around, .key = key});
    return found != HONE_NO_OFFSET ? found : hone_json_offset_of(source, around ? around : source->root);
}
