/* SPDX-License-Identifier: MIT */
#include "convert/config.h"

#include <math.h>
#include <stdint.h>

#include "base/fail.h"

static hone_status find(const json_t *object, const char *key, hone_need need, const json_t **out, hone_error *err)
{
    const json_t *value = json_object_get(object, key);
    *out = value && !json_is_null(value) ? value : NULL;
    if (!*out && need == HONE_REQUIRED)
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, key, "missing from the configuration");
    return HONE_OK;
}

static hone_status wrong(const char *key, const char *wanted, hone_error *err)
{
    return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, key, "is not %s", wanted);
}

hone_status hone_config_u32(const json_t *object, const char *key, hone_need need, uint32_t *out, hone_error *err)
{
    const json_t *value;
    HONE_TRY(find(object, key, need, &value, err));
    if (!value)
        return HONE_OK;
    if (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) > UINT32_MAX)
        return wrong(key, "an integer from 0 to 4294967295", err);
    *out = (uint32_t)json_integer_value(value);
    return HONE_OK;
}

hone_status hone_config_f64(const json_t *object, const char *key, hone_need need, double *out, hone_error *err)
{
    const json_t *value;
    HONE_TRY(find(object, key, need, &value, err));
    if (!value)
        return HONE_OK;
    if (!json_is_number(value) || !isfinite(json_number_value(value)))
        return wrong(key, "a number", err);
    *out = json_number_value(value);
    return HONE_OK;
}

hone_status hone_config_bool(const json_t *object, const char *key, hone_need need, bool *out, hone_error *err)
{
    const json_t *value;
    HONE_TRY(find(object, key, need, &value, err));
    if (!value)
        return HONE_OK;
    if (!json_is_boolean(value))
        return wrong(key, "true or false", err);
    *out = json_is_true(value);
    return HONE_OK;
}

hone_status hone_config_str(const json_t *object, const char *key, hone_need need, const char **out, hone_error *err)
{
    const json_t *value;
    HONE_TRY(find(object, key, need, &value, err));
    if (!value)
        return HONE_OK;
    if (!json_is_string(value))
        return wrong(key, "a string", err);
    *out = json_string_value(value);
    return HONE_OK;
}
