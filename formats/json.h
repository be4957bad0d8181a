/* SPDX-License-Identifier: MIT */
/* JSON through Jansson, with our limits and our errors. */
#ifndef HONE_JSON_H
#define HONE_JSON_H

#include <jansson.h>

#include "hone/status.h"

/*
 * hone_json_parse() parses text (len bytes). DATA: not JSON, a duplicate key, nested too deep; LIMIT: its values would
 * take more than 512 MiB. err->offset = base_offset + the byte position. *out is released by json_decref().
 */
hone_status hone_json_parse(const char *text, size_t len, uint64_t base_offset, json_t **out, hone_error *err);

/* hone_json_parse_within() is hone_json_parse() with another limit: max_memory bytes. */
hone_status hone_json_parse_within(const char *text, size_t len, uint64_t max_memory, uint64_t base_offset,
                                   json_t **out, hone_error *err);

/* hone_json_read() parses a file of at most max_nbytes. Errors name the file. */
hone_status hone_json_read(const char *path, uint64_t max_nbytes, json_t **out, hone_error *err);

/* A text and what was parsed from it. All-zero: not known. Borrowed. */
typedef struct hone_json_source {
    const char *text;
    size_t len;
    const json_t *root;
} hone_json_source;

/*
 * hone_json_offset_of() returns the position at which a value begins, or HONE_NO_OFFSET. Jansson has one true, one
 * false and one null for all: ask for the object or array around them, or by key.
 */
uint64_t hone_json_offset_of(const hone_json_source *source, const json_t *value);

/* hone_json_offset_of_member() is the position of an object's member, or if there is none of the object. */
uint64_t hone_json_offset_of_member(const hone_json_source *source, const json_t *object, const char *key);

/*
 * hone_json_offset_of_key() is the position of the least nested member of that key, anywhere within an object or array
 * (NULL: the root); of that object if there is none.
 */
uint64_t hone_json_offset_of_key(const hone_json_source *source, const json_t *around, const char *key);

/*
 * hone_json_place_error() completes an error about a JSON file that was parsed before: err->item names a key, and the
 * file's name and the key's position (as hone_json_offset_of_key(); inside: a member of the root, or NULL) are added
 * unless they are there. The file is read again. Returns status.
 */
hone_status hone_json_place_error(const char *path, const char *inside, hone_status status, hone_error *err);

#endif
