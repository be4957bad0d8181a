/* SPDX-License-Identifier: MIT */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "verify/token_regex.h"

#include <pcre2.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "verify/text_buffer.h"

struct hone_regex {
    pcre2_code *code;
};

struct hone_regex_match {
    pcre2_general_context *general;
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

/* Bytes a match may use of the machine stack of JIT code; grows on demand. */
enum { JIT_STACK_START = 32 << 10, JIT_STACK_MAX = 16 << 20 };

/* Insides of character classes. PCRE2's \s has U+180E, which is no White_Space; its \w lacks marks and connectors. */
#define CLASS_SPACE "\\t-\\r\\x{85}\\p{Z}"
#define CLASS_WORD                                                                                                     \
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}"                   \
    "\\x{1f170}-\\x{1f189}"
#define CLASS_HEX "0-9a-fA-F"

static void *pcre_alloc(size_t nbytes, void *user)
{
    (void)user;
    return hone_alloc(1, nbytes);
}

static void pcre_release(void *p, void *user)
{
    (void)user;
    hone_release(p);
}

typedef struct {
    const char *p;
    size_t len, i;
    bool in_class;
    hone_text out;
    bool nomem;
    const char *refused; /* what we do not translate */
} translation;

static void emit(translation *t, const char *s, size_t n)
{
    if (!hone_text_append(&t->out, s, n))
        t->nomem = true;
}

static void emit_class(translation *t, const char *inside, bool negated)
{
    if (negated && t->in_class) {
        t->refused = "a negated escape within a class";
        return;
    }
    if (!t->in_class)
        emit(t, negated ? "[^" : "[", negated ? 2 : 1);
    emit(t, inside, strlen(inside));
    if (!t->in_class)
        emit(t, "]", 1);
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static void translate_escape(translation *t)
{
    const size_t left = t->len - t->i;
    const char c = left > 1 ? t->p[t->i + 1] : '\0';
    size_t n = left > 1 ? 2 : 1;
    if (c == 's' || c == 'S') {
        emit_class(t, CLASS_SPACE, c == 'S');
    } else if (c == 'w' || c == 'W') {
        emit_class(t, CLASS_WORD, c == 'W');
    } else if (c == 'h' || c == 'H') {
        emit_class(t, CLASS_HEX, c == 'H');
    } else if ((c == 'p' || c == 'P' || c == 'x') && left > 2 && t->p[t->i + 2] == '{') {
        const char *close = memchr(t->p + t->i, '}', left);
        n = close ? (size_t)(close - (t->p + t->i)) + 1 : left;
        emit(t, t->p + t->i, n);
    } else if (c == 'u') {
        for (n = 2; n < 6 && n < left && is_hex(t->p[t->i + n]);)
            n++;
        if (n != 6)
            t->refused = "\\u without four hexadecimal digits";
        emit(t, "\\x{", 3);
        emit(t, t->p + t->i + 2, n - 2);
        emit(t, "}", 1);
    } else if (c && strchr("RXKgky", c)) {
        t->refused = "an escape with another meaning";
    } else {
        emit(t, t->p + t->i, n);
    }
    t->i += n;
}

static void translate_in_class(translation *t)
{
    const char *p = t->p + t->i;
    const size_t left = t->len - t->i;
    if (*p == '[') {
        const char *close = left > 1 && p[1] == ':' ? memmem(p, left, ":]", 2) : NULL;
        if (!close) {
            t->refused = "a class within a class";
            return;
        }
        emit(t, p, (size_t)(close - p) + 2);
        t->i += (size_t)(close - p) + 2;
        return;
    }
    if (*p == '&' && left > 1 && p[1] == '&')
        t->refused = "an intersection of classes";
    if (*p == ']')
        t->in_class = false;
    emit(t, p, 1);
    t->i++;
}

static void open_class(translation *t)
{
    const size_t start = t->i++;
    if (t->i < t->len && t->p[t->i] == '^')
        t->i++;
    if (t->i < t->len && t->p[t->i] == ']')
        t->refused = "a class that begins with ]";
    emit(t, t->p + start, t->i - start);
    t->in_class = true;
}

/* {n,m}+ repeats again in Ruby's syntax and forbids backtracking in PCRE2's. (?m) lets the dot match newlines in
 * Ruby's. */
static void check_plain(translation *t)
{
    const char *p = t->p + t->i;
    const size_t left = t->len - t->i;
    if (*p == '}' && left > 1 && p[1] == '+')
        t->refused = "a repeated interval";
    if (*p == '(' && left > 2 && p[1] == '?')
        for (size_t n = 2; n < left && strchr("imx-", p[n]); n++)
            if (p[n] == 'm')
                t->refused = "the option m";
}

static void translate(translation *t)
{
    while (t->i < t->len && !t->nomem && !t->refused) {
        const char c = t->p[t->i];
        if (c == '\\') {
            translate_escape(t);
        } else if (t->in_class) {
            translate_in_class(t);
        } else if (c == '[') {
            open_class(t);
        } else {
            check_plain(t);
            emit(t, &c, 1);
            t->i++;
        }
    }
}

static hone_status compile(const char *pattern, size_t len, bool literal, pcre2_compile_context *context,
                           hone_regex *regex, hone_error *err)
{
    /* ^ and $ are those of lines in Ruby's syntax. */
    const uint32_t options =
        literal ? PCRE2_LITERAL | PCRE2_UTF : PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
    int code;
    PCRE2_SIZE at;
    regex->code = pcre2_compile((PCRE2_SPTR)pattern, len, options, &code, &at, context);
    if (!regex->code && code == PCRE2_ERROR_HEAP_FAILED)
        return hone_fail_nomem(err, len);
    if (!regex->code) {
        PCRE2_UCHAR message[128] = "";
        (void)pcre2_get_error_message(code, message, sizeof message);
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, NULL, "regular expression \"%.*s\": %s",
                         (int)(len < 160 ? len : 160), pattern, (const char *)message);
    }
    /* Without JIT (a build or a machine that has none) matching is the same, only slower. */
    (void)pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE);
    return HONE_OK;
}

static hone_status compile_with_own_memory(const char *pattern, size_t len, bool literal, hone_regex *regex,
                                           hone_error *err)
{
    pcre2_general_context *general = pcre2_general_context_create(pcre_alloc, pcre_release, NULL);
    pcre2_compile_context *context = general ? pcre2_compile_context_create(general) : NULL;
    hone_status status;
    if (context) {
        (void)pcre2_set_newline(context, PCRE2_NEWLINE_LF);
        status = compile(pattern, len, literal, context, regex, err);
    } else {
        status = hone_fail_nomem(err, 256);
    }
    pcre2_compile_context_free(context);
    pcre2_general_context_free(general);
    return status;
}

hone_status hone_regex_new(const char *pattern, size_t len, bool literal, hone_regex **out, hone_error *err)
{
    *out = NULL;
    if (hone_utf8_check(pattern, len) != len || len > UINT16_MAX)
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, NULL,
                         "a regular expression that is too long or not UTF-8");
    hone_regex *regex = hone_calloc(1, sizeof *regex);
    if (!regex)
        return hone_fail_nomem(err, sizeof *regex);
    translation t = {.p = pattern, .len = len};
    if (literal)
        emit(&t, pattern, len);
    else
        translate(&t);
    hone_status status;
    if (t.nomem)
        status = hone_fail_nomem(err, len);
    else if (t.refused)
        status = hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, NULL, "regular expression \"%.*s\" has %s",
                           (int)(len < 160 ? len : 160), pattern, t.refused);
    else
        status = compile_with_own_memory(t.out.data ? t.out.data : "", t.out.len, literal, regex, err);
    hone_release(t.out.data);
    if (status == HONE_OK)
        *out = regex;
    else
        hone_regex_free(regex);
    return status;
}

void hone_regex_free(hone_regex *regex)
{
    if (!regex)
        return;
    pcre2_code_free(regex->code);
    hone_release(regex);
}

hone_regex_match *hone_regex_match_new(void)
{
    hone_regex_match *match = hone_calloc(1, sizeof *match);
    if (!match)
        return NULL;
    match->general = pcre2_general_context_create(pcre_alloc, pcre_release, NULL);
    if (match->general) {
        match->data = pcre2_match_data_create(1, match->general);
        match->context = pcre2_match_context_create(match->general);
        match->stack = pcre2_jit_stack_create(JIT_STACK_START, JIT_STACK_MAX, match->general);
    }
    if (!match->data || !match->context) {
        hone_regex_match_free(match);
        return NULL;
    }
    /* No stack where there is no JIT. */
    if (match->stack)
        pcre2_jit_stack_assign(match->context, NULL, match->stack);
    return match;
}

void hone_regex_match_free(hone_regex_match *match)
{
    if (!match)
        return;
    pcre2_jit_stack_free(match->stack);
    pcre2_match_context_free(match->context);
    pcre2_match_data_free(match->data);
    pcre2_general_context_free(match->general);
    hone_release(match);
}

hone_status hone_regex_next(const hone_regex *regex, hone_regex_match *match, const char *text, size_t len,
                            hone_regex_at *at, bool *found, size_t *start, size_t *end, hone_error *err)
{
    *found = false;
    while (at->next <= len) {
        const int rc =
            pcre2_match(regex->code, (PCRE2_SPTR)text, len, at->next, PCRE2_NO_UTF_CHECK, match->data, match->context);
        if (rc == PCRE2_ERROR_NOMATCH)
            break;
        if (rc == PCRE2_ERROR_NOMEMORY)
            return hone_fail_nomem(err, len);
        if (rc < 0)
            return hone_fail(err, HONE_ERROR_LIMIT, HONE_NO_OFFSET, NULL,
                             "splitting by regular expression failed (PCRE2 %d)", rc);
        const PCRE2_SIZE *ovector = pcre2_get_ovector_pointer(match->data);
        *start = ovector[0];
        *end = ovector[1];
        if (*start == *end && at->any && at->last_end == *end) {
            at->next += at->next < len ? hone_utf8_nbytes(text + at->next, len - at->next) : 1;
            continue;
        }
        /* \K and look-ahead can end a match before it began; such a pattern would never get on. */
        if (*end < *start || *end < at->next)
            return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, NULL,
                             "a regular expression that matches backwards");
        at->next = at->last_end = *end;
        at->any = true;
        *found = true;
        break;
    }
    return HONE_OK;
}
