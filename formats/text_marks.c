/* SPDX-License-Identifier: MIT */
#include "formats/text_marks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "base/cursor.h"
#include "base/fail.h"
#include "base/mem.h"
#include "formats/json.h"

enum { WINDOW = 128, N_MARKS = 256, MIN_MARKS = 8, HEAD = 2, N_DIGITS = 16 };

/* Of packed records. */
enum { PACKED_HEAD = 3, PACKED_MARK = 5, SIZE_BITS = 11, MOST_SIZE_SHIFT = 31, MARK_SHIFT = 24 };

/* One text's part of the records. */
struct record {
    uint64_t nbytes;
    size_t n;
    const uint64_t *marks;
};

void hone_text_marks_deinit(hone_text_marks *m)
{
    hone_release(m->records);
    *m = (hone_text_marks){0};
}

/* The record at *at, which is moved behind it; false past the last, or where there is none that is whole. */
static bool next_record(const uint64_t *records, size_t n, size_t *at, struct record *out)
{
    if (n - *at < HEAD || records[*at + 1] > N_MARKS || n - *at - HEAD < records[*at + 1])
        return false;
    *out = (struct record){records[*at], (size_t)records[*at + 1], records + *at + HEAD};
    *at += HEAD + out->n;
    return true;
}

static bool has(const hone_text_marks *m, const struct record *r)
{
    struct record own;
    for (size_t at = 0; next_record(m->records, m->n, &at, &own);)
        if (own.nbytes == r->nbytes && own.n == r->n && memcmp(own.marks, r->marks, r->n * sizeof *r->marks) == 0)
            return true;
    return false;
}

static hone_status append(hone_text_marks *m, const struct record *r, hone_error *err)
{
    if (has(m, r))
        return HONE_OK;
    uint64_t *grown = hone_grow(m->records, &m->cap, m->n + HEAD + r->n, sizeof *grown);
    if (!grown)
        return hone_fail_nomem(err, (m->n + HEAD + r->n) * sizeof *grown);
    m->records = grown;
    grown[m->n++] = r->nbytes;
    grown[m->n++] = r->n;
    memcpy(grown + m->n, r->marks, r->n * sizeof *r->marks);
    m->n += r->n;
    return HONE_OK;
}

/* ---- windows ---- */

/* The hash of the first window at or behind *at; *at is moved behind its character. false: there is none. */
static bool next_window(const char *text, size_t nbytes, size_t *at, uint64_t *hash)
{
    if (*at > 0 && *at + WINDOW > nbytes)
        return false;
    const size_t left = nbytes - *at;
    *hash = XXH3_64bits(text + *at, left < WINDOW ? left : WINDOW);
    do
        ++*at;
    while (*at < nbytes && ((unsigned char)text[*at] & 0xC0) == 0x80); /* within a character */
    return true;
}

static void insert(uint64_t *marks, size_t *n, size_t most, uint64_t hash)
{
    size_t i = *n;
    while (i > 0 && marks[i - 1] > hash)
        i--;
    if ((i > 0 && marks[i - 1] == hash) || i == most)
        return;
    const size_t moved = *n == most ? most - 1 - i : *n - i;
    memmove(marks + i + 1, marks + i, moved * sizeof *marks);
    marks[i] = hash;
    *n += *n < most;
}

hone_status hone_text_marks_add(hone_text_marks *m, const char *text, size_t nbytes, size_t n_texts, hone_error *err)
{
    const size_t share = n_texts ? N_MARKS / n_texts : N_MARKS, most = share < MIN_MARKS ? MIN_MARKS : share;
    uint64_t marks[N_MARKS], hash;
    struct record r = {nbytes, 0, marks};
    for (size_t at = 0; nbytes > 0 && next_window(text, nbytes, &at, &hash);)
        if (r.n < most || hash < marks[most - 1])
            insert(marks, &r.n, most, hash);
    return append(m, &r, err);
}

/* ---- files ---- */

static hone_status append_all(hone_text_marks *m, const uint64_t *records, size_t n, hone_error *err)
{
    size_t at = 0;
    struct record r;
    while (next_record(records, n, &at, &r))
        HONE_TRY(append(m, &r, err));
    if (at == n)
        return HONE_OK;
    return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, HONE_TEXT_MARKS_KEY, "is no list of texts");
}

hone_status hone_text_marks_join(hone_text_marks *m, const hone_text_marks *other, hone_error *err)
{
    return append_all(m, other->records, other->n, err);
}

/* A value of either kind as numbers; false where it is neither. */
static bool parse(const hone_metadata *entry, size_t n, uint64_t *out)
{
    if (entry->type == HONE_VALUE_ARRAY) {
        for (size_t i = 0; i < n; i++)
            out[i] = hone_load_u64((const char *)entry->v.array.items + i * sizeof *out);
        return true;
    }
    for (size_t i = 0; i < n; i++) {
        char digits[N_DIGITS + 1] = "", *end;
        memcpy(digits, entry->v.string.data + i * N_DIGITS, N_DIGITS);
        out[i] = strtoull(digits, &end, 16);
        if (end != digits + N_DIGITS || digits[0] == '-' || digits[0] == '+' || digits[0] == ' ')
            return false;
    }
    return true;
}

static hone_status take_listed(hone_text_marks *m, const hone_checkpoint *file, hone_error *err)
{
    const hone_metadata *entry = hone_checkpoint_find_metadata(file, HONE_TEXT_MARKS_KEY);
    if (!entry)
        return HONE_OK;
    const bool array = entry->type == HONE_VALUE_ARRAY && entry->v.array.elem_type == HONE_VALUE_U64;
    const bool hex = entry->type == HONE_VALUE_STRING && entry->v.string.len % N_DIGITS == 0;
    const size_t n = array ? (size_t)entry->v.array.count : hex ? entry->v.string.len / N_DIGITS : 0;
    uint64_t *records = hone_alloc(n, sizeof *records);
    if (!records)
        return hone_fail_nomem(err, n * sizeof *records);
    hone_status status;
    if ((array || hex) && parse(entry, n, records))
        status = append_all(m, records, n, err);
    else
        status = hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, HONE_TEXT_MARKS_KEY, "is no list of texts");
    hone_release(records);
    return status == HONE_OK ? HONE_OK : hone_fail_in_file(err, status, hone_checkpoint_path(file));
}

/* ---- packed, in base64 ---- */

static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static char *encode_base64(const uint8_t *bytes, size_t n)
{
    char *text = hone_alloc(n * 4 / 3 + 2, 1), *p = text;
    uint32_t held = 0;
    unsigned n_bits = 0;
    for (size_t i = 0; text && i < n; i++) {
        held = held << 8 | bytes[i];
        for (n_bits += 8; n_bits >= 6; n_bits -= 6)
            *p++ = DIGITS[held >> (n_bits - 6) & 63];
    }
    if (text && n_bits > 0)
        *p++ = DIGITS[held << (6 - n_bits) & 63];
    if (text)
        *p = '\0';
    return text;
}

/* Returns how many bytes there are; 0 for what is no base64. */
static size_t decode_base64(const char *text, size_t len, uint8_t *out)
{
    size_t n = 0;
    uint32_t held = 0;
    unsigned n_bits = 0;
    for (size_t i = 0; i < len; i++) {
        const char *digit = text[i] ? strchr(DIGITS, text[i]) : NULL;
        if (!digit)
            return 0;
        held = held << 6 | (uint32_t)(digit - DIGITS);
        n_bits += 6;
        if (n_bits < 8)
            continue;
        n_bits -= 8;
        out[n++] = (uint8_t)(held >> n_bits);
    }
    return n;
}

static uint8_t *pack_record(const struct record *r, uint8_t *p)
{
    uint64_t size = r->nbytes;
    unsigned shift = 0;
    for (; size >> SIZE_BITS && shift < MOST_SIZE_SHIFT; shift++)
        size >>= 1;
    const unsigned code = (unsigned)(size & ((1u << SIZE_BITS) - 1)) | shift << SIZE_BITS;
    const size_t n = r->n < UINT8_MAX ? r->n : UINT8_MAX;
    *p++ = (uint8_t)n;
    *p++ = (uint8_t)code;
    *p++ = (uint8_t)(code >> 8);
    for (size_t i = 0; i < n; i++)
        for (unsigned at = MARK_SHIFT; at < 64; at += 8)
            *p++ = (uint8_t)(r->marks[i] >> at);
    return p;
}

char *hone_text_marks_packed(const hone_text_marks *m)
{
    uint8_t *bytes = hone_alloc(m->n, sizeof *m->records), *end = bytes;
    struct record r;
    for (size_t at = 0; bytes && next_record(m->records, m->n, &at, &r);)
        end = pack_record(&r, end);
    char *text = bytes ? encode_base64(bytes, (size_t)(end - bytes)) : NULL;
    hone_release(bytes);
    return text;
}

/* A record at p, of at most left bytes, to out; returns its bytes, or 0 where there is none. */
static size_t unpack_record(const uint8_t *p, size_t left, uint64_t *out)
{
    if (left < PACKED_HEAD || (left - PACKED_HEAD) / PACKED_MARK < p[0])
        return 0;
    const unsigned code = p[1] | (unsigned)p[2] << 8;
    out[0] = (uint64_t)(code & ((1u << SIZE_BITS) - 1)) << (code >> SIZE_BITS);
    out[1] = p[0];
    for (size_t i = 0; i < p[0]; i++) {
        out[HEAD + i] = 0;
        for (size_t j = 0; j < PACKED_MARK; j++)
            out[HEAD + i] |= (uint64_t)p[PACKED_HEAD + i * PACKED_MARK + j] << (MARK_SHIFT + 8 * j);
    }
    return PACKED_HEAD + PACKED_MARK * (size_t)p[0];
}

static hone_status append_packed(hone_text_marks *m, const char *text, hone_error *err)
{
    const size_t len = strlen(text);
    uint8_t *bytes = hone_alloc(len, 1);
    uint64_t records[HEAD + UINT8_MAX];
    if (!bytes)
        return hone_fail_nomem(err, len);
    const size_t n = decode_base64(text, len, bytes);
    hone_status status = n > 0 ? HONE_OK : HONE_ERROR_DATA;
    for (size_t at = 0; at < n && status == HONE_OK;) {
        const size_t size = unpack_record(bytes + at, n - at, records);
        if (size == 0)
            status = HONE_ERROR_DATA;
        else
            status = append_all(m, records, HEAD + (size_t)records[1], err);
        at += size;
    }
    hone_release(bytes);
    if (status == HONE_ERROR_DATA)
        return hone_fail(err, status, HONE_NO_OFFSET, "hone.recipe", "its \"texts\" is no list of texts");
    return status;
}

/* What hone.recipe says of texts, if it does. */
static hone_status take_packed(hone_text_marks *m, const hone_checkpoint *file, hone_error *err)
{
    const hone_metadata *recipe = hone_checkpoint_find_metadata(file, "hone.recipe");
    json_t *root;
    if (!recipe || recipe->type != HONE_VALUE_STRING ||
        hone_json_parse(recipe->v.string.data, recipe->v.string.len, 0, &root, NULL) != HONE_OK)
        return HONE_OK;
    const char *texts = json_string_value(json_object_get(root, "texts"));
    const hone_status status = texts ? append_packed(m, texts, err) : HONE_OK;
    json_decref(root);
    return status == HONE_OK ? HONE_OK : hone_fail_in_file(err, status, hone_checkpoint_path(file));
}

hone_status hone_text_marks_take(hone_text_marks *m, const hone_checkpoint *file, hone_error *err)
{
    HONE_TRY(take_packed(m, file, err));
    return take_listed(m, file, err);
}

void hone_text_marks_thin(hone_text_marks *m, size_t most)
{
    enum { LEAST = 2 };
    struct record r;
    size_t n_marks = 0, end = 0;
    for (size_t at = 0; next_record(m->records, m->n, &at, &r);)
        n_marks += r.n;
    for (size_t at = 0; n_marks > most && next_record(m->records, m->n, &at, &r);) {
        size_t kept = r.n * most / n_marks;
        kept = kept < LEAST ? LEAST : kept;
        kept = kept < r.n ? kept : r.n; /* marks are sorted: the smallest, as if no more had been taken */
        m->records[end++] = r.nbytes;
        m->records[end++] = kept;
        memmove(m->records + end, r.marks, kept * sizeof *r.marks);
        end += kept;
    }
    m->n = n_marks > most ? end : m->n;
}

void hone_text_marks_put(const hone_text_marks *m, hone_gguf_header *header)
{
    if (m->n > 0)
        hone_gguf_put_u64_array(header, HONE_TEXT_MARKS_KEY, m->records, m->n);
}

char *hone_text_marks_hex(const hone_text_marks *m)
{
    char *text = hone_alloc(m->n * N_DIGITS + 1, 1);
    for (size_t i = 0; text && i < m->n; i++)
        (void)snprintf(text + i * N_DIGITS, N_DIGITS + 1, "%016llx", (unsigned long long)m->records[i]);
    if (text)
        text[m->n * N_DIGITS] = '\0';
    return text;
}

/* ---- recognizing ---- */

/* A mark, and whether the text has it. */
struct sought {
    uint64_t hash;
    bool found;
};

static int by_hash(const void *a, const void *b)
{
    const uint64_t x = ((const struct sought *)a)->hash, y = ((const struct sought *)b)->hash;
    return x < y ? -1 : x > y;
}

static void look_for(struct sought *sought, size_t n, const char *text, size_t nbytes)
{
    struct sought key = {.found = false};
    qsort(sought, n, sizeof *sought, by_hash);
    for (size_t at = 0; next_window(text, nbytes, &at, &key.hash);) {
        key.hash >>= MARK_SHIFT;
        if (key.hash > sought[n - 1].hash) /* nearly all of them */
            continue;
        struct sought *hit = bsearch(&key, sought, n, sizeof *sought, by_hash);
        if (hit)
            hit->found = true;
    }
}

static double count_share(const hone_text_marks *m, const struct sought *sought, size_t n, size_t nbytes)
{
    struct record r;
    size_t n_hits = 0;
    double covered = 0;
    for (size_t at = 0; next_record(m->records, m->n, &at, &r);) {
        size_t own = 0;
        for (size_t i = 0; i < r.n; i++) {
            const struct sought key = {.hash = r.marks[i] >> MARK_SHIFT};
            const struct sought *hit = bsearch(&key, sought, n, sizeof *sought, by_hash);
            own += hit && hit->found;
        }
        n_hits += own;
        covered += r.n ? (double)r.nbytes * (double)own / (double)r.n : 0;
    }
    if (n_hits < 2)
        return 0;
    return covered < (double)nbytes ? covered / (double)nbytes : 1;
}

hone_status hone_text_marks_share(const hone_text_marks *m, const char *text, size_t nbytes, double *share,
                                  hone_error *err)
{
    *share = 0;
    struct sought *sought = hone_alloc(m->n, sizeof *sought);
    if (!sought)
        return hone_fail_nomem(err, m->n * sizeof *sought);
    size_t n = 0;
    struct record r;
    for (size_t at = 0; next_record(m->records, m->n, &at, &r);)
        for (size_t i = 0; i < r.n; i++)
            sought[n++].hash = r.marks[i] >> MARK_SHIFT;
    for (size_t i = 0; i < n; i++)
        sought[i].found = false;
    if (n > 0 && nbytes > 0) {
        look_for(sought, n, text, nbytes);
        *share = count_share(m, sought, n, nbytes);
    }
    hone_release(sought);
    return HONE_OK;
}
