/* SPDX-License-Identifier: MIT */
#include "verify/pretokenizer.h"

#include <string.h>

#include "base/fail.h"
#include "base/mem.h"

#define SPACE_SYMBOL "\xe2\x96\x81"

/* Printable Latin-1 stands for itself; the other 68 bytes, in order, for U+0100 and up. */
static bool is_printable(uint32_t byte)
{
    return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255);
}

uint32_t hone_byte_to_printable(unsigned char byte)
{
    if (is_printable(byte))
        return byte;
    return byte <= 32 ? 0x100u + byte : byte == 173 ? 0x143u : 0x121u + (byte - 127u);
}

int hone_printable_to_byte(uint32_t c)
{
    if (c < 0x100)
        return is_printable(c) ? (int)c : -1;
    if (c <= 0x120)
        return (int)(c - 0x100);
    if (c <= 0x142)
        return (int)(c - 0x121 + 127);
    return c == 0x143 ? 173 : -1;
}

hone_status hone_pretokenizer_add(hone_pretokenizer *pre, const hone_pre_stage *stage, hone_error *err)
{
    if (pre->n == HONE_MAX_PRE_STAGES)
        return hone_fail(err, HONE_ERROR_LIMIT, HONE_NO_OFFSET, NULL, "more than %d pre-tokenizers",
                         HONE_MAX_PRE_STAGES);
    pre->stages[pre->n++] = *stage;
    return HONE_OK;
}

hone_status hone_pretokenizer_add_split(hone_pretokenizer *pre, const char *pattern, size_t len, bool literal,
                                        hone_split_behavior behavior, bool invert, hone_error *err)
{
    hone_pre_stage stage = {.kind = HONE_PRE_SPLIT, .behavior = behavior, .invert = invert};
    HONE_TRY(hone_regex_new(pattern, len, literal, &stage.regex, err));
    const hone_status status = hone_pretokenizer_add(pre, &stage, err);
    if (status != HONE_OK)
        hone_regex_free(stage.regex);
    return status;
}

void hone_pretokenizer_deinit(hone_pretokenizer *pre)
{
    for (size_t i = 0; i < pre->n; i++)
        hone_regex_free(pre->stages[i].regex);
    pre->n = 0;
}

void hone_pretokenizing_deinit(hone_pretokenizing *p)
{
    hone_release(p->words.v);
    hone_release(p->spare.v);
    hone_release(p->a.data);
    hone_release(p->b.data);
    *p = (hone_pretokenizing){0};
}

/* One word being split: the pieces so far are out->v[first..n). */
typedef struct {
    hone_spans *out;
    size_t first;
    hone_split_behavior behavior;
    bool invert;
    bool last_matched; /* the last stretch was a match */
    bool any;          /* there was a stretch */
} splitting;

/* Add the stretch [start, end), which is a match or lies between matches. An empty match only parts its neighbours. */
static bool add_stretch(splitting *s, size_t start, size_t end, bool matched)
{
    matched ^= s->invert;
    const bool after_match = s->any && s->last_matched;
    hone_span *last = s->out->n > s->first ? &s->out->v[s->out->n - 1] : NULL;
    bool extend = false;
    if (s->behavior == HONE_SPLIT_CONTIGUOUS)
        extend = last && s->any && matched == s->last_matched;
    else if (s->behavior == HONE_SPLIT_MERGED_WITH_PREVIOUS)
        extend = last && matched && !after_match;
    else if (s->behavior == HONE_SPLIT_MERGED_WITH_NEXT)
        extend = last && !matched && after_match;
    s->any = true;
    s->last_matched = matched;
    if (extend) {
        last->len = (uint32_t)(end - last->start);
        return true;
    }
    if (matched && s->behavior == HONE_SPLIT_REMOVED)
        return true;
    return hone_spans_append(s->out, start, end - start);
}

static hone_status split_word(const hone_pre_stage *stage, hone_pretokenizing *p, hone_span word, hone_error *err)
{
    const char *text = p->text + word.start;
    splitting s = {.out = &p->spare, .first = p->spare.n, .behavior = stage->behavior, .invert = stage->invert};
    hone_regex_at at = {0};
    size_t done = 0;
    for (bool found = true; found;) {
        size_t start, end;
        HONE_TRY(hone_regex_next(stage->regex, p->match, text, word.len, &at, &found, &start, &end, err));
        const size_t upto = found ? start : word.len;
        if ((upto > done && !add_stretch(&s, word.start + done, word.start + upto, false)) ||
            (found && !add_stretch(&s, word.start + start, word.start + end, true)))
            return hone_fail_nomem(err, word.len);
        if (found)
            done = end;
    }
    return HONE_OK;
}

static bool append_printable(hone_text *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char c[4];
        if (!hone_text_append(out, c, hone_utf8_encode(hone_byte_to_printable((unsigned char)text[i]), c)))
            return false;
    }
    return true;
}

static bool append_bytes(hone_text *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        const size_t n = hone_utf8_nbytes(text + i, len - i);
        const int byte = hone_printable_to_byte(hone_utf8_decode(text + i, n));
        const char c = (char)byte;
        if (byte >= 0 && !hone_text_append(out, &c, 1))
            return false;
        i += n;
    }
    return true;
}

static bool append_metaspace(hone_text *out, const char *text, size_t len, bool prepend)
{
    const bool begins = (len > 0 && *text == ' ') || (len >= 3 && memcmp(text, SPACE_SYMBOL, 3) == 0);
    if (prepend && !begins && !hone_text_append(out, SPACE_SYMBOL, 3))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!(text[i] == ' ' ? hone_text_append(out, SPACE_SYMBOL, 3) : hone_text_append(out, text + i, 1)))
            return false;
    return true;
}

static bool rewrite_word(const hone_pre_stage *stage, hone_text *out, const char *text, size_t len, bool first)
{
    switch (stage->kind) {
    case HONE_PRE_PREFIX_SPACE:
        return ((len > 0 && *text == ' ') || hone_text_append(out, " ", 1)) && hone_text_append(out, text, len);
    case HONE_PRE_METASPACE:
        return append_metaspace(
            out, text, len, stage->prepend == HONE_PREPEND_ALWAYS || (stage->prepend == HONE_PREPEND_FIRST && first));
    case HONE_PRE_TO_PRINTABLE:
        return append_printable(out, text, len);
    case HONE_PRE_TO_BYTES:
        return append_bytes(out, text, len);
    case HONE_PRE_SPLIT:
        break;
    }
    return false;
}

/* Run one stage: p->words to p->spare, and a new text where the stage writes one. */
static hone_status run_stage(const hone_pre_stage *stage, hone_pretokenizing *p, bool at_start, hone_error *err)
{
    hone_text *to = p->text == p->a.data ? &p->b : &p->a;
    to->len = 0;
    for (size_t i = 0; i < p->words.n; i++) {
        const hone_span word = p->words.v[i];
        if (word.len == 0)
            continue;
        if (stage->kind == HONE_PRE_SPLIT) {
            HONE_TRY(split_word(stage, p, word, err));
            continue;
        }
        const size_t start = to->len;
        if (!rewrite_word(stage, to, p->text + word.start, word.len, at_start && i == 0))
            return hone_fail_nomem(err, word.len);
        if (to->len > INT32_MAX)
            return hone_fail(err, HONE_ERROR_LIMIT, HONE_NO_OFFSET, NULL, "pre-tokenized text over 2 GiB");
        if (!hone_spans_append(&p->spare, start, to->len - start))
            return hone_fail_nomem(err, word.len);
    }
    if (stage->kind != HONE_PRE_SPLIT)
        p->text = to->data ? to->data : "";
    return HONE_OK;
}

hone_status hone_pretokenize(const hone_pretokenizer *pre, hone_pretokenizing *p, const char *text, size_t len,
                             bool at_start, hone_error *err)
{
    p->text = text;
    p->words.n = 0;
    if (!hone_spans_append(&p->words, 0, len))
        return hone_fail_nomem(err, len);
    for (size_t i = 0; i < pre->n; i++) {
        p->spare.n = 0;
        HONE_TRY(run_stage(&pre->stages[i], p, at_start, err));
        const hone_spans words = p->spare;
        p->spare = p->words;
        p->words = words;
    }
    return HONE_OK;
}
