/* SPDX-License-Identifier: MIT */
/* Results as JSON. Every call ends the program when memory runs out. */
#ifndef HONE_CLI_JSON_OUT_H
#define HONE_CLI_JSON_OUT_H

#include <jansson.h>

#include "cli/args.h"
#include "hone/checkpoint.h"
#include "hone/status.h"
#include "hone/tensor.h"

/* hone_cli_json_object() and hone_cli_json_array() are new and empty. */
json_t *hone_cli_json_object(void);
json_t *hone_cli_json_array(void);

/* hone_cli_json_put() and hone_cli_json_add() store a value, which they take over, in an object or an array. */
void hone_cli_json_put(json_t *object, const char *key, json_t *value);
void hone_cli_json_add(json_t *array, json_t *value);

/* Values. Text that is not UTF-8 has its bad bytes replaced by U+FFFD; NaN and infinities become null; an integer
 * beyond 2^63 - 1 becomes a string of its digits. */
json_t *hone_cli_json_text(const char *s);
json_t *hone_cli_json_string(hone_string s);
json_t *hone_cli_json_real(double x);
json_t *hone_cli_json_uint(uint64_t n);
json_t *hone_cli_json_bool(bool b);
json_t *hone_cli_json_shape(const uint64_t *shape, unsigned n_dims);

/*
 * hone_cli_json_write() writes root, which it releases, where --json says; nothing when there is no --json. A regular
 * file is replaced in one step, so that no reader sees half of it. ARG: the file exists, is not a JSON object, and
 * --force is not given. IO.
 */
hone_status hone_cli_json_write(const hone_cli_globals *globals, json_t *root, hone_error *err);

/* hone_cli_json_check_target() makes the check of ARG above before any work is done. */
hone_status hone_cli_json_check_target(const hone_cli_globals *globals, hone_error *err);

#endif
