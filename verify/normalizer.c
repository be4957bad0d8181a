/* SPDX-License-Identifier: MIT */
#include "verify/normalizer.h"

#include <limits.h>
#include <utf8proc.h>

#include "base/fail.h"
#include "base/mem.h"

void hone_normalizer_deinit(hone_normalizer *normalizer)
{
    for (size_t i = 0; i < normalizer->n; i++)
        hone_regex_free(normalizer->steps[i].regex);
    normalizer->n = 0;
}

void hone_normalizing_deinit(hone_normalizing *scratch)
{
    hone_release(scratch->a.data);
    hone_release(scratch->b.data);
    hone_release(scratch->points);
    *scratch = (hone_normalizing){0};
}

static bool is_ascii(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] >= 0x80)
            return false;
    return true;
}

static hone_status normalize_unicode(hone_normalizer_kind kind, hone_normalizing *scratch, const char *text, size_t len,
                                     hone_text *out, hone_error *err)
{
    /* The four forms leave ASCII alone. */
    if (is_ascii(text, len))
        return hone_text_append(out, text, len) ? HONE_OK : hone_fail_nomem(err, len);
    static const utf8proc_option_t forms[] = {
        [HONE_NORMALIZE_NFC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE,
        [HONE_NORMALIZE_NFD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE,
        [HONE_NORMALIZE_NFKC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
        [HONE_NORMALIZE_NFKD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT,
    };
    const utf8proc_option_t options = forms[kind];
    const utf8proc_uint8_t *src = (const utf8proc_uint8_t *)text;
    utf8proc_ssize_t n = (utf8proc_ssize_t)len;
    for (int pass = 0; pass < 2; pass++) {
        /* One more: utf8proc_reencode() writes UTF-8 over the code points, and a NUL. */
        int32_t *points = hone_grow(scratch->points, &scratch->cap_points, (size_t)n + 1, sizeof *points);
        if (!points)
            return hone_fail_nomem(err, (uint64_t)n * sizeof *points);
        scratch->points = points;
        n = utf8proc_decompose(src, (utf8proc_ssize_t)len, points, (utf8proc_ssize_t)scratch->cap_points - 1, options);
        if (n < 0)
            return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, NULL, "normalizing the text: %s",
                             utf8proc_errmsg(n));
        if ((size_t)n < scratch->cap_points)
            break;
    }
    n = utf8proc_reencode(scratch->points, n, options);
    if (n < 0)
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, NULL, "normalizing the text: %s", utf8proc_errmsg(n));
    return hone_text_append(out, scratch->points, (size_t)n) ? HONE_OK : hone_fail_nomem(err, (uint64_t)n);
}

static hone_status lowercase(const char *text, size_t len, hone_text *out, hone_error *err)
{
    for (size_t i = 0; i < len;) {
        const size_t n = hone_utf8_nbytes(text + i, len - i);
        const uint32_t c = hone_utf8_decode(text + i, n);
        char lower[8];
        size_t nbytes = hone_utf8_encode((uint32_t)utf8proc_tolower((utf8proc_int32_t)c), lower);
        /* The only character whose lower case is two: dotted capital I. */
        if (c == 0x130)
            nbytes = 1 + hone_utf8_encode(0x307, lower + 1), lower[0] = 'i';
        if (!hone_text_append(out, lower, nbytes))
            return hone_fail_nomem(err, len);
        i += n;
    }
    return HONE_OK;
}

/* ---- BertNormalizer ---- */

static bool is_control(uint32_t c)
{
    if (c == '\t' || c == '\n' || c == '\r')
        return false;
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CO:
        return true;
    default:
        return c == 0xfffd;
    }
}

/* The blocks that BERT calls Chinese; the sixth begins 256 short of its block, as in tokenizers. */
static bool is_ideograph(uint32_t c)
{
    static const struct {
        uint32_t first, last;
    } blocks[] = {{0x3400, 0x4dbf},   {0x4e00, 0x9fff},   {0xf900, 0xfaff},  {0x20000, 0x2a6df},
                  {0x2a700, 0x2b81f}, {0x2b920, 0x2ceaf}, {0x2f800, 0x2fa1f}};
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++)
        if (c >= blocks[i].first && c <= blocks[i].last)
            return true;
    return false;
}

static bool append_rewritten(hone_normalizer_kind kind, uint32_t c, const char *p, size_t n, hone_text *out)
{
    if (kind == HONE_NORMALIZE_CLEAN) {
        if (is_control(c))
            return true;
        return hone_is_space(c) ? hone_text_append(out, " ", 1) : hone_text_append(out, p, n);
    }
    if (kind == HONE_NORMALIZE_STRIP_ACCENTS)
        return utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_MN || hone_text_append(out, p, n);
    if (!is_ideograph(c))
        return hone_text_append(out, p, n);
    return hone_text_append(out, " ", 1) && hone_text_append(out, p, n) && hone_text_append(out, " ", 1);
}

static bool rewrite_characters(hone_normalizer_kind kind, const char *text, size_t len, hone_text *out)
{
    for (size_t i = 0; i < len;) {
        const size_t n = hone_utf8_nbytes(text + i, len - i);
        if (!append_rewritten(kind, hone_utf8_decode(text + i, n), text + i, n, out))
            return false;
        i += n;
    }
    return true;
}

static hone_status replace(const hone_normalizer_step *step, hone_regex_match *match, const char *text, size_t len,
                           hone_text *out, hone_error *err)
{
    hone_regex_at at = {0};
    size_t done = 0;
    for (;;) {
        bool found;
        size_t start, end;
        HONE_TRY(hone_regex_next(step->regex, match, text, len, &at, &found, &start, &end, err));
        const size_t upto = found ? start : len;
        if (!hone_text_append(out, text + done, upto - done) ||
            (found && !hone_text_append(out, step->content.data, step->content.len)))
            return hone_fail_nomem(err, len);
        if (!found)
            return HONE_OK;
        done = end;
        if (out->len > INT32_MAX)
            return hone_fail(err, HONE_ERROR_LIMIT, HONE_NO_OFFSET, NULL, "normalized text over 2 GiB");
    }
}

static hone_status run_step(const hone_normalizer_step *step, hone_normalizing *scratch, const char *text, size_t len,
                            hone_text *out, hone_error *err)
{
    bool ok = true;
    switch (step->kind) {
    case HONE_NORMALIZE_NFC:
    case HONE_NORMALIZE_NFD:
    case HONE_NORMALIZE_NFKC:
    case HONE_NORMALIZE_NFKD:
        return normalize_unicode(step->kind, scratch, text, len, out, err);
    case HONE_NORMALIZE_LOWERCASE:
        return lowercase(text, len, out, err);
    case HONE_NORMALIZE_REPLACE:
        return replace(step, scratch->match, text, len, out, err);
    case HONE_NORMALIZE_PREPEND:
        ok = len == 0 ||
             (hone_text_append(out, step->content.data, step->content.len) && hone_text_append(out, text, len));
        break;
    case HONE_NORMALIZE_CLEAN:
    case HONE_NORMALIZE_SPACE_IDEOGRAPHS:
    case HONE_NORMALIZE_STRIP_ACCENTS:
        ok = rewrite_characters(step->kind, text, len, out);
        break;
    case HONE_NORMALIZE_SENTENCEPIECE:
        ok = hone_spm_normalize(&step->spm, text, len, out);
        break;
    }
    return ok ? HONE_OK : hone_fail_nomem(err, len);
}

hone_status hone_normalize(const hone_normalizer *normalizer, hone_normalizing *scratch, const char *text, size_t len,
                           const char **out, size_t *out_len, hone_error *err)
{
    *out = text;
    *out_len = len;
    for (size_t i = 0; i < normalizer->n; i++) {
        hone_text *to = i % 2 ? &scratch->b : &scratch->a;
        to->len = 0;
        HONE_TRY(run_step(&normalizer->steps[i], scratch, *out, *out_len, to, err));
        if (to->len > INT32_MAX)
            return hone_fail(err, HONE_ERROR_LIMIT, HONE_NO_OFFSET, NULL, "normalized text over 2 GiB");
        *out = to->data ? to->data : "";
        *out_len = to->len;
    }
    return HONE_OK;
}
