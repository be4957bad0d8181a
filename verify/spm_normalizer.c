/* SPDX-License-Identifier: MIT */
/*
 * SentencePiece's normalization: rewriting by a precompiled map, then the handling of white space.
 *
 * The map's trie is a Darts-clone double array of 32-bit units. A unit holds, from the low end:
 *
 *   bits 0..7 label   bit 8 has a value below   bit 9 wide offset   bits 10..30 offset   bit 31 is itself a value
 *
 * The child of a node by byte c is at (node ^ offset) ^ c; it is there if its label is c. The value of a node lies at
 * node ^ offset: a position in the replacements.
 */
#include <string.h>

#include "base/cursor.h"
#include "base/fail.h"
#include "verify/normalizer.h"

#define SPACE_SYMBOL "\xe2\x96\x81"

hone_status hone_charsmap_check(const uint8_t *charsmap, size_t nbytes, hone_error *err)
{
    if (nbytes < 4)
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, "precompiled_charsmap", "shorter than its header");
    const size_t trie_nbytes = hone_load_u32(charsmap);
    if (trie_nbytes < 4 || trie_nbytes % 4 != 0 || trie_nbytes >= nbytes - 4)
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, "precompiled_charsmap", "trie of %zu bytes in %zu",
                         trie_nbytes, nbytes);
    if (charsmap[nbytes - 1] != '\0')
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, "precompiled_charsmap", "last replacement is not ended");
    return HONE_OK;
}

static uint32_t unit_offset(uint32_t unit)
{
    return (unit >> 10) << ((unit & 0x200) >> 6);
}

/* The replacement of the longest rule that begins the text, or NULL; *matched gets the rule's length. */
static const char *find_rule(const hone_spm_normalization *spm, const char *text, size_t len, size_t *matched)
{
    const uint8_t *trie = spm->charsmap + 4;
    const size_t trie_nbytes = hone_load_u32(spm->charsmap);
    const size_t n_units = trie_nbytes / 4;
    const size_t pool_nbytes = spm->charsmap_nbytes - 4 - trie_nbytes;
    const char *rule = NULL;
    size_t node = unit_offset(hone_load_u32(trie));
    for (size_t i = 0; i < len; i++) {
        const unsigned char c = (unsigned char)text[i];
        node ^= c;
        if (node >= n_units)
            break;
        const uint32_t unit = hone_load_u32(trie + 4 * node);
        if ((unit & 0x800000ffu) != c)
            break;
        node ^= unit_offset(unit);
        if (!(unit & 0x100) || node >= n_units)
            continue;
        const size_t at = hone_load_u32(trie + 4 * node) & 0x7fffffffu;
        if (at >= pool_nbytes)
            break;
        rule = (const char *)trie + trie_nbytes + at;
        *matched = i + 1;
    }
    return rule;
}

/* Normalize the beginning of the text to [*out, *out + *out_len); returns how much of the text that covers. */
static size_t normalize_prefix(const hone_spm_normalization *spm, const char *text, size_t len, const char **out,
                               size_t *out_len)
{
    const hone_added_token *kept = spm->kept ? hone_matcher_longest(spm->kept, text, len) : NULL;
    size_t matched = 0;
    const char *rule = kept || !spm->charsmap ? NULL : find_rule(spm, text, len, &matched);
    if (rule) {
        *out = rule;
        *out_len = strlen(rule);
        return matched;
    }
    *out = text;
    *out_len = kept ? kept->text.len : hone_utf8_nbytes(text, len);
    return *out_len;
}

static bool append_escaped(hone_text *out, const char *p, size_t len, bool escape)
{
    for (size_t i = 0; i < len; i++) {
        const bool ok =
            escape && p[i] == ' ' ? hone_text_append(out, SPACE_SYMBOL, 3) : hone_text_append(out, p + i, 1);
        if (!ok)
            return false;
    }
    return true;
}

static void trim_end(hone_text *out, size_t from, bool escape)
{
    const size_t n = escape ? 3 : 1;
    while (out->len >= from + n && memcmp(out->data + out->len - n, escape ? SPACE_SYMBOL : " ", n) == 0)
        out->len -= n;
}

bool hone_spm_normalize(const hone_spm_normalization *spm, const char *text, size_t len, hone_text *out)
{
    const size_t begin = out->len;
    const char *p;
    size_t n, i = 0;
    while (spm->remove_extra_whitespaces && i < len) {
        const size_t consumed = normalize_prefix(spm, text + i, len - i, &p, &n);
        if (n != 1 || *p != ' ')
            break;
        i += consumed;
    }
    if (i == len)
        return true;
    if (spm->add_dummy_prefix && !append_escaped(out, " ", 1, spm->escape_whitespaces))
        return false;
    bool after_space = spm->remove_extra_whitespaces;
    while (i < len) {
        i += normalize_prefix(spm, text + i, len - i, &p, &n);
        for (; after_space && n > 0 && *p == ' '; p++)
            n--;
        if (!append_escaped(out, p, n, spm->escape_whitespaces))
            return false;
        if (n > 0)
            after_space = spm->remove_extra_whitespaces && p[n - 1] == ' ';
    }
    if (spm->remove_extra_whitespaces)
        trim_end(out, begin, spm->escape_whitespaces);
    return true;
}
