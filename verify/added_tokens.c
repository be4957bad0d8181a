/* SPDX-License-Identifier: MIT */
#include "verify/added_tokens.h"

#include <stdlib.h>
#include <string.h>

static int compare_tokens(const void *a, const void *b)
{
    const hone_added_token *x = a, *y = b;
    const size_t common = x->text.len < y->text.len ? x->text.len : y->text.len;
    const int order = memcmp(x->text.data, y->text.data, common);
    if (order != 0)
        return order;
    if (x->text.len != y->text.len)
        return x->text.len < y->text.len ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

static bool same_text(hone_string a, hone_string b)
{
    return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

void hone_matcher_init(hone_matcher *matcher, hone_added_token *tokens, size_t n)
{
    *matcher = (hone_matcher){.tokens = tokens};
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (tokens[i].text.len > 0)
            tokens[kept++] = tokens[i];
    if (kept > 1)
        qsort(tokens, kept, sizeof *tokens, compare_tokens);
    for (size_t i = 0; i < kept; i++)
        if (matcher->n == 0 || !same_text(tokens[matcher->n - 1].text, tokens[i].text))
            tokens[matcher->n++] = tokens[i];
    size_t at = 0;
    for (unsigned c = 0; c <= 256; c++) {
        while (at < matcher->n && (unsigned char)tokens[at].text.data[0] < c)
            at++;
        matcher->first[c] = (uint32_t)at;
    }
}

/* The first token of [lo, hi), all alike up to depth, whose byte at depth is at least c. */
static size_t lower_bound(const hone_matcher *matcher, size_t lo, size_t hi, size_t depth, unsigned c)
{
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        const hone_string text = matcher->tokens[mid].text;
        if (text.len <= depth || (unsigned char)text.data[depth] < c)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

const hone_added_token *hone_matcher_longest(const hone_matcher *matcher, const char *p, size_t left)
{
    if (matcher->n == 0 || left == 0)
        return NULL;
    const unsigned char c = (unsigned char)*p;
    size_t lo = matcher->first[c], hi = matcher->first[c + 1];
    const hone_added_token *longest = NULL;
    /* A token that ends here sorts before all that go on. */
    for (size_t depth = 1; lo < hi; depth++) {
        if (matcher->tokens[lo].text.len == depth)
            longest = &matcher->tokens[lo];
        if (depth >= left)
            break;
        const unsigned next = (unsigned char)p[depth];
        lo = lower_bound(matcher, lo, hi, depth, next);
        hi = lower_bound(matcher, lo, hi, depth, next + 1);
    }
    return longest;
}

/* Start of the white space that ends at end, not before from. */
static size_t skip_space_back(const char *text, size_t from, size_t end)
{
    while (end > from) {
        size_t at = end - 1;
        while (at > from && ((unsigned char)text[at] & 0xc0) == 0x80)
            at--;
        if (!hone_is_space(hone_utf8_decode(text + at, end - at)))
            break;
        end = at;
    }
    return end;
}

static size_t skip_space(const char *text, size_t at, size_t len)
{
    while (at < len) {
        const size_t n = hone_utf8_nbytes(text + at, len - at);
        if (!hone_is_space(hone_utf8_decode(text + at, n)))
            break;
        at += n;
    }
    return at;
}

static bool stands_alone(const char *text, size_t start, size_t end, size_t len)
{
    if (start > 0) {
        size_t at = start - 1;
        while (at > 0 && ((unsigned char)text[at] & 0xc0) == 0x80)
            at--;
        if (hone_is_word(hone_utf8_decode(text + at, start - at)))
            return false;
    }
    return end == len || !hone_is_word(hone_utf8_decode(text + end, hone_utf8_nbytes(text + end, len - end)));
}

/* Find the next token that counts, from c->scan on; its span includes the white space it swallows. */
static const hone_added_token *find_token(hone_cutting *c, hone_span *span)
{
    while (c->scan < c->len) {
        const size_t start = c->scan;
        const hone_added_token *token = hone_matcher_longest(c->matcher, c->text + start, c->len - start);
        if (!token) {
            c->scan++;
            continue;
        }
        /* A match that does not count still hides shorter ones under it, as in tokenizers. */
        const size_t end = start + token->text.len;
        c->scan = end;
        if ((token->special && !c->parse_special) || (token->single_word && !stands_alone(c->text, start, end, c->len)))
            continue;
        const size_t from = token->lstrip ? skip_space_back(c->text, c->done, start) : start;
        c->scan = token->rstrip ? skip_space(c->text, end, c->len) : end;
        *span = (hone_span){(uint32_t)from, (uint32_t)(c->scan - from)};
        return token;
    }
    return NULL;
}

bool hone_cutting_next(hone_cutting *c, hone_span *span, const hone_added_token **token)
{
    *token = c->pending;
    if (c->pending) {
        *span = c->pending_span;
        c->pending = NULL;
    } else if (c->done >= c->len) {
        return false;
    } else {
        hone_span found = {(uint32_t)c->len, 0};
        const hone_added_token *next = c->matcher->n ? find_token(c, &found) : NULL;
        if (next && found.start == c->done) {
            *token = next;
            *span = found;
        } else {
            *span = (hone_span){(uint32_t)c->done, found.start - (uint32_t)c->done};
            c->pending = next;
            c->pending_span = found;
        }
    }
    c->done = span->start + span->len;
    return true;
}
