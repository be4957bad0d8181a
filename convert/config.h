/* SPDX-License-Identifier: MIT */
/* Typed reading of config.json and its siblings. Null counts as absent. Errors name the key. */
#ifndef HONE_CONFIG_H
#define HONE_CONFIG_H

#include <jansson.h>
#include <stdbool.h>

#include "hone/status.h"

typedef enum hone_need { HONE_OPTIONAL, HONE_REQUIRED } hone_need;

/* Each leaves *out as it was when an optional key is absent. DATA: absent and required, wrong type or range. */
hone_status hone_config_u32(const json_t *object, const char *key, hone_need need, uint32_t *out, hone_error *err);
hone_status hone_config_f64(const json_t *object, const char *key, hone_need need, double *out, hone_error *err);
hone_status hone_config_bool(const json_t *object, const char *key, hone_need need, bool *out, hone_error *err);
/* *out is borrowed from the JSON object. */
hone_status hone_config_str(const json_t *object, const char *key, hone_need need, const char **out, hone_error *err);

#endif
