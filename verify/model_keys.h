/* SPDX-License-Identifier: MIT */
/*
 * Reading a model's configuration: config.json by key, or a GGUF file's "ARCHITECTURE.key" entries.
 *
 * Each reader checks type and range before it sets *out. A key that is absent (or null in JSON) leaves *out as the
 * caller set it, unless required: then DATA. A value of the wrong type or outside the range is DATA as well; err->item
 * is the key.
 */
#ifndef HONE_MODEL_KEYS_H
#define HONE_MODEL_KEYS_H

#include <jansson.h>
#include <stdbool.h>

#include "hone/checkpoint.h"

enum { HONE_KEY_OPTIONAL = 0, HONE_KEY_REQUIRED = 1 };

/* A whole number of 1 .. max. */
hone_status hone_json_count(const json_t *object, const char *key, int required, size_t max, size_t *out,
                            hone_error *err);
/* A finite number above 0. */
hone_status hone_json_positive(const json_t *object, const char *key, int required, double *out, hone_error *err);
hone_status hone_json_bool(const json_t *object, const char *key, bool *out, hone_error *err);
/* *out is borrowed from the object. */
hone_status hone_json_string(const json_t *object, const char *key, const char **out, hone_error *err);

/* The same from a GGUF file: key is the part after the architecture's name and its dot. */
hone_status hone_gguf_count(const hone_checkpoint *ckpt, const char *key, int required, size_t max, size_t *out,
                            hone_error *err);
hone_status hone_gguf_positive(const hone_checkpoint *ckpt, const char *key, int required, double *out,
                               hone_error *err);
/* *out is borrowed from the checkpoint; always NUL-terminated there. */
hone_status hone_gguf_string(const hone_checkpoint *ckpt, const char *key, const char **out, hone_error *err);
/*
 * hone_gguf_vocab_size() takes the vocabulary from the rows of token_embd.weight, for the key is optional. DATA: there
 * are none or above max, or the key says otherwise.
 */
hone_status hone_gguf_vocab_size(const hone_checkpoint *ckpt, size_t max, size_t *out, hone_error *err);
/* hone_gguf_absent_or_zero() tells whether a whole-number key says nothing. */
bool hone_gguf_absent_or_zero(const hone_checkpoint *ckpt, const char *key);

#endif
