/* SPDX-License-Identifier: MIT */
#include "verify/text_buffer.h"

#include <string.h>
#include <utf8proc.h>

#include "base/mem.h"

bool hone_text_append(hone_text *text, const void *src, size_t nbytes)
{
    if (nbytes > SIZE_MAX - text->len)
        return false;
    char *p = hone_grow(text->data, &text->cap, text->len + nbytes, 1);
    if (!p)
        return false;
    text->data = p;
    if (nbytes)
        memcpy(p + text->len, src, nbytes);
    text->len += nbytes;
    return true;
}

bool hone_spans_append(hone_spans *spans, size_t start, size_t len)
{
    if (start > UINT32_MAX || len > UINT32_MAX - start)
        return false;
    hone_span *p = hone_grow(spans->v, &spans->cap, spans->n + 1, sizeof *p);
    if (!p)
        return false;
    spans->v = p;
    p[spans->n++] = (hone_span){(uint32_t)start, (uint32_t)len};
    return true;
}

bool hone_ids_append(hone_ids *ids, int32_t id)
{
    int32_t *p = hone_grow(ids->v, &ids->cap, ids->n + 1, sizeof *p);
    if (!p)
        return false;
    ids->v = p;
    p[ids->n++] = id;
    return true;
}

/* Length of the well-formed character at p, or 0 (Unicode 15, table 3-7). */
static size_t well_formed(const unsigned char *p, size_t left)
{
    const unsigned c = p[0];
    if (c < 0x80)
        return 1;
    if (c < 0xc2 || c > 0xf4)
        return 0;
    const size_t n = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    if (left < n)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    /* overlong forms, surrogates, beyond U+10FFFF */
    if ((c == 0xe0 && p[1] < 0xa0) || (c == 0xed && p[1] > 0x9f) || (c == 0xf0 && p[1] < 0x90) ||
        (c == 0xf4 && p[1] > 0x8f))
        return 0;
    return n;
}

size_t hone_utf8_check(const char *text, size_t nbytes)
{
    for (size_t i = 0; i < nbytes;) {
        const size_t n = well_formed((const unsigned char *)text + i, nbytes - i);
        if (n == 0)
            return i;
        i += n;
    }
    return nbytes;
}

size_t hone_utf8_nbytes(const char *p, size_t left)
{
    const unsigned char c = (unsigned char)*p;
    const size_t n = c < 0xc0 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    return n < left ? n : left;
}

uint32_t hone_utf8_decode(const char *p, size_t n)
{
    static const uint32_t lead_mask[5] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t c = (unsigned char)p[0] & lead_mask[n];
    for (size_t i = 1; i < n; i++)
        c = c << 6 | ((unsigned char)p[i] & 0x3f);
    return c;
}

size_t hone_utf8_encode(uint32_t c, char *dst)
{
    return (size_t)utf8proc_encode_char((utf8proc_int32_t)c, (utf8proc_uint8_t *)dst);
}

bool hone_is_space(uint32_t c)
{
    if (c < 0x80)
        return c == ' ' || (c >= '\t' && c <= '\r');
    if (c == 0x85)
        return true;
    const utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    return category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL || category == UTF8PROC_CATEGORY_ZP;
}

bool hone_is_word(uint32_t c)
{
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default:
        return c == 0x200c || c == 0x200d; /* join controls */
    }
}
