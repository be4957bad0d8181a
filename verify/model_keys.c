/* SPDX-License-Identifier: MIT */
#include "verify/model_keys.h"

#include <math.h>
#include <stdio.h>

#include "base/fail.h"

static hone_status missing(const char *key, int required, hone_error *err)
{
    if (!required)
        return HONE_OK;
    return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, key, "the configuration lacks this key");
}

static hone_status set_count(const char *key, bool whole, uint64_t value, size_t max, size_t *out, hone_error *err)
{
    if (!whole || value < 1 || value > max)
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, key, "must be a whole number of 1 to %zu", max);
    *out = (size_t)value;
    return HONE_OK;
}

static hone_status set_positive(const char *key, bool number, double value, double *out, hone_error *err)
{
    if (!number || !isfinite(value) || value <= 0)
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, key, "must be a number above 0");
    *out = value;
    return HONE_OK;
}

hone_status hone_json_count(const json_t *object, const char *key, int required, size_t max, size_t *out,
                            hone_error *err)
{
    const json_t *v = json_object_get(object, key);
    if (!v || json_is_null(v))
        return missing(key, required, err);
    const json_int_t i = json_integer_value(v);
    return set_count(key, json_is_integer(v) && i > 0, (uint64_t)i, max, out, err);
}

hone_status hone_json_positive(const json_t *object, const char *key, int required, double *out, hone_error *err)
{
    const json_t *v = json_object_get(object, key);
    if (!v || json_is_null(v))
        return missing(key, required, err);
    return set_positive(key, json_is_number(v), json_number_value(v), out, err);
}

hone_status hone_json_bool(const json_t *object, const char *key, bool *out, hone_error *err)
{
    const json_t *v = json_object_get(object, key);
    if (!v || json_is_null(v))
        return HONE_OK;
    if (!json_is_boolean(v))
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, key, "must be true or false");
    *out = json_is_true(v);
    return HONE_OK;
}

hone_status hone_json_string(const json_t *object, const char *key, const char **out, hone_error *err)
{
    const json_t *v = json_object_get(object, key);
    if (!v || json_is_null(v))
        return HONE_OK;
    if (!json_is_string(v))
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, key, "must be a string");
    *out = json_string_value(v);
    return HONE_OK;
}

enum { KEY_CAP = 256 };

static const hone_metadata *find(const hone_checkpoint *ckpt, const char *key, char full[KEY_CAP])
{
    (void)snprintf(full, KEY_CAP, "%s.%s", hone_checkpoint_architecture(ckpt), key);
    return hone_checkpoint_find_metadata(ckpt, full);
}

static bool is_unsigned(hone_value_type type)
{
    return type == HONE_VALUE_U8 || type == HONE_VALUE_U16 || type == HONE_VALUE_U32 || type == HONE_VALUE_U64;
}

static bool is_signed(hone_value_type type)
{
    return type == HONE_VALUE_I8 || type == HONE_VALUE_I16 || type == HONE_VALUE_I32 || type == HONE_VALUE_I64;
}

hone_status hone_gguf_count(const hone_checkpoint *ckpt, const char *key, int required, size_t max, size_t *out,
                            hone_error *err)
{
    char full[KEY_CAP];
    const hone_metadata *m = find(ckpt, key, full);
    if (!m)
        return missing(full, required, err);
    /* An array gives each layer its own figure. Legal, and of no family that is handled here. */
    if (m->type == HONE_VALUE_ARRAY)
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, full, "differs from layer to layer");
    if (is_signed(m->type))
        return set_count(full, m->v.i > 0, (uint64_t)m->v.i, max, out, err);
    return set_count(full, is_unsigned(m->type), m->v.u, max, out, err);
}

hone_status hone_gguf_positive(const hone_checkpoint *ckpt, const char *key, int required, double *out, hone_error *err)
{
    char full[KEY_CAP];
    const hone_metadata *m = find(ckpt, key, full);
    if (!m)
        return missing(full, required, err);
    const bool number = m->type == HONE_VALUE_F32 || m->type == HONE_VALUE_F64;
    return set_positive(full, number, number ? m->v.f : 0, out, err);
}

hone_status hone_gguf_string(const hone_checkpoint *ckpt, const char *key, const char **out, hone_error *err)
{
    char full[KEY_CAP];
    const hone_metadata *m = find(ckpt, key, full);
    if (!m)
        return HONE_OK;
    if (m->type != HONE_VALUE_STRING)
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, full, "must be a string");
    *out = m->v.string.data;
    return HONE_OK;
}

hone_status hone_gguf_vocab_size(const hone_checkpoint *ckpt, size_t max, size_t *out, hone_error *err)
{
    static const char name[] = "token_embd.weight";
    const hone_tensor *embedding = hone_checkpoint_find(ckpt, name);
    if (!embedding || embedding->n_dims != 2 || embedding->shape[0] < 1 || embedding->shape[0] > max)
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, name, "is missing or misshapen");
    const size_t n_rows = (size_t)embedding->shape[0];
    *out = n_rows;
    HONE_TRY(hone_gguf_count(ckpt, "vocab_size", HONE_KEY_OPTIONAL, max, out, err));
    if (*out != n_rows)
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, name, "%zu rows for a vocabulary of %zu", n_rows, *out);
    return HONE_OK;
}

bool hone_gguf_absent_or_zero(const hone_checkpoint *ckpt, const char *key)
{
    char full[KEY_CAP];
    const hone_metadata *m = find(ckpt, key, full);
    return !m || (is_unsigned(m->type) && m->v.u == 0) || (is_signed(m->type) && m->v.i == 0);
}
