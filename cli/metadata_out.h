/* SPDX-License-Identifier: MIT */
/* Metadata entries as text and as JSON. */
#ifndef HONE_CLI_METADATA_OUT_H
#define HONE_CLI_METADATA_OUT_H

#include <jansson.h>

#include "hone/checkpoint.h"

/* hone_cli_value_type_name() returns "u32", "string", ... Static. */
const char *hone_cli_value_type_name(hone_value_type type);

/* hone_cli_metadata_text() writes a value on one short line: long strings cut, of an array the first few elements.
 * Returns buf. */
const char *hone_cli_metadata_text(const hone_metadata *m, char *buf, size_t cap);

/* hone_cli_metadata_json() returns the whole value. Integers too large for JSON readers are strings. */
json_t *hone_cli_metadata_json(const hone_metadata *m);

#endif
