/* SPDX-License-Identifier: MIT */
#include "tests/support/byte_builder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NESTING = 8, MAX_WORD = 512 };

static void *grow(hone_bytes *b, size_t nbytes)
{
    if (b->cap - b->n < nbytes) {
        b->cap = 2 * (b->n + nbytes) + 64;
        b->data = realloc(b->data, b->cap);
        if (!b->data)
            abort();
    }
    b->n += nbytes;
    return b->data + b->n - nbytes;
}

void hone_bytes_put(hone_bytes *b, const void *src, size_t nbytes)
{
    void *dst = grow(b, nbytes);
    if (nbytes > 0)
        memcpy(dst, src, nbytes);
}

void hone_bytes_zero(hone_bytes *b, size_t nbytes)
{
    void *dst = grow(b, nbytes);
    memset(dst, 0, nbytes);
}

static void put_number(hone_bytes *b, uint64_t v, size_t nbytes)
{
    uint8_t *p = grow(b, nbytes);
    for (size_t i = 0; i < nbytes; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

void hone_bytes_u32(hone_bytes *b, uint32_t v)
{
    put_number(b, v, 4);
}

void hone_bytes_u64(hone_bytes *b, uint64_t v)
{
    put_number(b, v, 8);
}

static void put_varint(hone_bytes *b, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        put_number(b, (v & 0x7f) | 0x80, 1);
    put_number(b, v, 1);
}

static unsigned hex_digit(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
}

/* Text with \xHH decoded; dst holds at least strlen(src) bytes. */
static size_t unescape(const char *src, uint8_t *dst)
{
    size_t n = 0;
    while (*src) {
        if (src[0] == '\\' && src[1] == 'x') {
            dst[n++] = (uint8_t)(hex_digit(src[2]) << 4 | hex_digit(src[3]));
            src += 4;
        } else {
            dst[n++] = (uint8_t)*src++;
        }
    }
    return n;
}

/* Close the message that began at start: put its length in front of it. */
static void close_message(hone_bytes *b, size_t start)
{
    hone_bytes prefix = {0};
    const size_t len = b->n - start;
    put_varint(&prefix, len);
    (void)grow(b, prefix.n);
    memmove(b->data + start + prefix.n, b->data + start, len);
    memcpy(b->data + start, prefix.data, prefix.n);
    if (b->mark >= start && b->mark != 0)
        b->mark += prefix.n;
    hone_bytes_free(&prefix);
}

static void put_word(hone_bytes *b, const char *name, const char *value)
{
    static const struct {
        const char *name;
        size_t nbytes;
    } widths[] = {{"u8", 1}, {"u16", 2}, {"u32", 4}, {"i32", 4}, {"u64", 8}};
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++)
        if (strcmp(name, widths[i].name) == 0) {
            const uint64_t v = value[0] == '-' ? (uint64_t)strtoll(value, NULL, 0) : strtoull(value, NULL, 0);
            put_number(b, v, widths[i].nbytes);
            return;
        }
    uint8_t text[MAX_WORD];
    if (strcmp(name, "f32") == 0) {
        const float f = strtof(value, NULL);
        hone_bytes_put(b, &f, sizeof f);
    } else if (strcmp(name, "var") == 0) {
        put_varint(b, value[0] == '-' ? (uint64_t)strtoll(value, NULL, 0) : strtoull(value, NULL, 0));
    } else if (strcmp(name, "f") == 0) {
        put_varint(b, strtoull(value, NULL, 10) << 3 | strtoull(strchr(value, ':') + 1, NULL, 10));
    } else if (strcmp(name, "raw") == 0) {
        hone_bytes_put(b, text, unescape(value, text));
    } else if (strcmp(name, "str") == 0 || strcmp(name, "s8") == 0 || strcmp(name, "s32") == 0) {
        const size_t len = unescape(value, text);
        put_number(b, len, strcmp(name, "str") == 0 ? 8 : strcmp(name, "s8") == 0 ? 1 : 4);
        hone_bytes_put(b, text, len);
    } else if (strcmp(name, "zero") == 0) {
        hone_bytes_zero(b, strtoull(value, NULL, 0));
    } else if (strcmp(name, "pad") == 0) {
        const size_t to = strtoull(value, NULL, 0);
        hone_bytes_zero(b, (to - b->n % to) % to);
    } else {
        (void)fprintf(stderr, "byte builder: no word \"%s\"\n", name);
        abort();
    }
}

void hone_bytes_script(hone_bytes *b, const char *script)
{
    size_t starts[MAX_NESTING], depth = 0;
    char word[MAX_WORD];
    while (*script) {
        const size_t len = strcspn(script, " ");
        if (len >= sizeof word)
            abort();
        memcpy(word, script, len);
        word[len] = '\0';
        script += len;
        script += strspn(script, " ");
        char *equals = strchr(word, '=');
        if (strcmp(word, "^") == 0) {
            b->mark = b->n;
        } else if (strcmp(word, "{") == 0 && depth < MAX_NESTING) {
            starts[depth++] = b->n;
        } else if (strcmp(word, "}") == 0 && depth > 0) {
            close_message(b, starts[--depth]);
        } else if (len > 0) {
            if (equals)
                *equals = '\0';
            put_word(b, word, equals ? equals + 1 : "");
        }
    }
}

void hone_bytes_free(hone_bytes *b)
{
    free(b->data);
    *b = (hone_bytes){0};
}
