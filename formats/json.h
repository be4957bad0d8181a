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

#endif
