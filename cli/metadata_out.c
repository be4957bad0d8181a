/* SPDX-License-Identifier: MIT */
#include "cli/metadata_out.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/json_out.h"
#include "cli/report.h"

enum { STRING_COLUMNS = 64, ARRAY_STRING_COLUMNS = 16, ARRAY_SHOWN = 4 };

/* One value, whether an entry of its own or an element of an array. */
struct scalar {
    hone_value_type type;
    uint64_t u;
    int64_t i;
    double f;
    hone_string string;
};

const char *hone_cli_value_type_name(hone_value_type type)
{
    static const char *const names[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                        "bool", "string", "array", "u64", "i64", "f64"};
    const size_t i = (size_t)type;
    return i < sizeof names / sizeof names[0] ? names[i] : "?";
}

static struct scalar scalar_of(const hone_metadata *m)
{
    struct scalar s = {.type = m->type};
    switch (m->type) {
    case HONE_VALUE_I8:
    case HONE_VALUE_I16:
    case HONE_VALUE_I32:
    case HONE_VALUE_I64:
        s.i = m->v.i;
        break;
    case HONE_VALUE_F32:
    case HONE_VALUE_F64:
        s.f = m->v.f;
        break;
    case HONE_VALUE_STRING:
        s.string = m->v.string;
        break;
    case HONE_VALUE_U8:
    case HONE_VALUE_U16:
    case HONE_VALUE_U32:
    case HONE_VALUE_U64:
    case HONE_VALUE_BOOL:
        s.u = m->v.u;
        break;
    case HONE_VALUE_ARRAY:
        break;
    }
    return s;
}

/* Packed elements may lie at any address: copy them out. */
static struct scalar element_of(const hone_metadata *m, uint64_t index)
{
    struct scalar s = {.type = m->v.array.elem_type};
    const char *items = m->v.array.items;
    switch (s.type) {
#define CASE(TYPE, ctype, field)                                                                                       \
    case TYPE: {                                                                                                       \
        ctype x;                                                                                                       \
        memcpy(&x, items + (size_t)index * sizeof x, sizeof x);                                                        \
        s.field = x;                                                                                                   \
        break;                                                                                                         \
    }
        CASE(HONE_VALUE_U8, uint8_t, u)
        CASE(HONE_VALUE_BOOL, uint8_t, u)
        CASE(HONE_VALUE_I8, int8_t, i)
        CASE(HONE_VALUE_U16, uint16_t, u)
        CASE(HONE_VALUE_I16, int16_t, i)
        CASE(HONE_VALUE_U32, uint32_t, u)
        CASE(HONE_VALUE_I32, int32_t, i)
        CASE(HONE_VALUE_U64, uint64_t, u)
        CASE(HONE_VALUE_I64, int64_t, i)
        CASE(HONE_VALUE_F64, double, f)
#undef CASE
    case HONE_VALUE_F32: {
        float x;
        memcpy(&x, items + (size_t)index * sizeof x, sizeof x);
        s.f = (double)x;
        break;
    }
    case HONE_VALUE_STRING:
        s.string = m->v.array.strings[index];
        break;
    case HONE_VALUE_ARRAY:
        break;
    }
    return s;
}

static void scalar_text(const struct scalar *s, size_t max_columns, char *buf, size_t cap)
{
    switch (s->type) {
    case HONE_VALUE_I8:
    case HONE_VALUE_I16:
    case HONE_VALUE_I32:
    case HONE_VALUE_I64:
        (void)snprintf(buf, cap, "%" PRId64, s->i);
        return;
    case HONE_VALUE_F32:
        (void)snprintf(buf, cap, "%.7g", s->f);
        return;
    case HONE_VALUE_F64:
        (void)snprintf(buf, cap, "%.15g", s->f);
        return;
    case HONE_VALUE_BOOL:
        (void)snprintf(buf, cap, "%s", s->u ? "true" : "false");
        return;
    case HONE_VALUE_STRING:
        buf[0] = '"';
        (void)hone_cli_printable(s->string.data, s->string.len, max_columns, buf + 1, cap - 2);
        memcpy(buf + strlen(buf), "\"", 2);
        return;
    case HONE_VALUE_U8:
    case HONE_VALUE_U16:
    case HONE_VALUE_U32:
    case HONE_VALUE_U64:
        (void)snprintf(buf, cap, "%" PRIu64, s->u);
        return;
    case HONE_VALUE_ARRAY:
        break;
    }
    (void)snprintf(buf, cap, "?");
}

const char *hone_cli_metadata_text(const hone_metadata *m, char *buf, size_t cap)
{
    if (m->type != HONE_VALUE_ARRAY) {
        const struct scalar s = scalar_of(m);
        scalar_text(&s, STRING_COLUMNS, buf, cap);
        return buf;
    }
    const uint64_t n = m->v.array.count;
    (void)snprintf(buf, cap, "[%" PRIu64 " \xC3\x97 %s]", n, hone_cli_value_type_name(m->v.array.elem_type));
    for (uint64_t i = 0; i < n && i < ARRAY_SHOWN; i++) {
        char element[4 * ARRAY_STRING_COLUMNS + 8];
        const struct scalar s = element_of(m, i);
        scalar_text(&s, ARRAY_STRING_COLUMNS, element, sizeof element);
        const size_t len = strlen(buf);
        (void)snprintf(buf + len, cap - len, "%s%s", i ? ", " : " ", element);
    }
    const size_t len = strlen(buf);
    if (n > ARRAY_SHOWN)
        (void)snprintf(buf + len, cap - len, ", \xE2\x80\xA6");
    return buf;
}

static json_t *scalar_json(const struct scalar *s, bool as_digits)
{
    char digits[24];
    switch (s->type) {
    case HONE_VALUE_I8:
    case HONE_VALUE_I16:
    case HONE_VALUE_I32:
    case HONE_VALUE_I64:
        return json_integer((json_int_t)s->i);
    case HONE_VALUE_F32:
    case HONE_VALUE_F64:
        return hone_cli_json_real(s->f);
    case HONE_VALUE_BOOL:
        return hone_cli_json_bool(s->u != 0);
    case HONE_VALUE_STRING:
        return hone_cli_json_string(s->string);
    case HONE_VALUE_U8:
    case HONE_VALUE_U16:
    case HONE_VALUE_U32:
    case HONE_VALUE_U64:
        if (!as_digits)
            return hone_cli_json_uint(s->u);
        (void)snprintf(digits, sizeof digits, "%" PRIu64, s->u);
        return hone_cli_json_text(digits);
    case HONE_VALUE_ARRAY:
        break;
    }
    return json_null();
}

/* One type per array: when one element is too large for an integer of JSON, all are digits. */
static bool any_beyond_int64(const hone_metadata *m)
{
    if (m->v.array.elem_type != HONE_VALUE_U64)
        return false;
    for (uint64_t i = 0; i < m->v.array.count; i++)
        if (element_of(m, i).u > INT64_MAX)
            return true;
    return false;
}

json_t *hone_cli_metadata_json(const hone_metadata *m)
{
    if (m->type != HONE_VALUE_ARRAY) {
        const struct scalar s = scalar_of(m);
        return scalar_json(&s, false);
    }
    json_t *array = hone_cli_json_array();
    const bool as_digits = any_beyond_int64(m);
    for (uint64_t i = 0; i < m->v.array.count; i++) {
        const struct scalar s = element_of(m, i);
        hone_cli_json_add(array, scalar_json(&s, as_digits));
    }
    return array;
}
