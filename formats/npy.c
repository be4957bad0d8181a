/* SPDX-License-Identifier: MIT */
/*
 * NumPy arrays.
 *
 *   |\x93NUMPY|u8 major|u8 minor|u16 (version 1) or u32 header length|header|elements, to the end|
 *   header  {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }, padded with spaces, a newline at the end
 *
 * Source: numpy/lib/format.py.
 */
#include "formats/npy.h"

#include <string.h>

#include "base/arith.h"
#include "base/cursor.h"
#include "base/fail.h"
#include "base/mem.h"

enum { MAGIC_NBYTES = 6, PREFIX_NBYTES = 12, MAX_HEADER_NBYTES = 64 << 10 };
static const char MAGIC[] = "\x93NUMPY";

/* The header while it is read. */
struct header {
    const char *text, *p, *end;
    const char *wrong; /* why reading stopped, at p */
    bool unsupported;  /* what is wrong is not handled, rather than damaged */
    hone_dtype dtype;
    bool big_endian, fortran_order;
    bool has_descr, has_order, has_shape;
    unsigned n_dims;
    uint64_t shape[HONE_MAX_DIMS];
};

static bool fail_header(struct header *h, const char *wrong)
{
    if (!h->wrong)
        h->wrong = wrong;
    return false;
}

static void skip_spaces(struct header *h)
{
    while (h->p < h->end && (*h->p == ' ' || *h->p == '\t' || *h->p == '\n' || *h->p == '\r'))
        h->p++;
}

static bool accept(struct header *h, char c)
{
    skip_spaces(h);
    if (h->p == h->end || *h->p != c)
        return false;
    h->p++;
    return true;
}

static bool expect(struct header *h, char c, const char *wrong)
{
    return accept(h, c) || fail_header(h, wrong);
}

/* A quoted string without escapes. */
static bool read_string(struct header *h, const char **text, size_t *len, const char *wrong)
{
    skip_spaces(h);
    if (h->p == h->end || (*h->p != '\'' && *h->p != '"'))
        return fail_header(h, wrong);
    const char quote = *h->p;
    const char *close = memchr(h->p + 1, quote, (size_t)(h->end - h->p) - 1);
    if (!close)
        return fail_header(h, wrong);
    *text = h->p + 1;
    *len = (size_t)(close - *text);
    if (memchr(*text, '\\', *len))
        return fail_header(h, wrong);
    h->p = close + 1;
    return true;
}

static bool accept_word(struct header *h, const char *word)
{
    skip_spaces(h);
    const size_t len = strlen(word);
    if ((size_t)(h->end - h->p) < len || memcmp(h->p, word, len) != 0)
        return false;
    h->p += len;
    return true;
}

/* '<f4': byte order, kind, bytes per element. */
static bool read_descr(struct header *h)
{
    static const struct {
        char name[4];
        hone_dtype dtype;
    } types[] = {{"f8", HONE_F64}, {"f4", HONE_F32},  {"f2", HONE_F16}, {"i8", HONE_I64}, {"i4", HONE_I32},
                 {"i2", HONE_I16}, {"i1", HONE_I8},   {"u8", HONE_U64}, {"u4", HONE_U32}, {"u2", HONE_U16},
                 {"u1", HONE_U8},  {"b1", HONE_BOOL}, {"c8", HONE_C64}};
    skip_spaces(h);
    const char *text, *start = h->p;
    size_t len;
    if (h->p < h->end && (*h->p == '[' || *h->p == '(')) {
        h->unsupported = true;
        return fail_header(h, "an array of records is not handled");
    }
    if (!read_string(h, &text, &len, "descr is no string"))
        return false;
    const bool has_order = len > 0 && strchr("<>=|", *text) != NULL && *text != '\0';
    h->big_endian = has_order && *text == '>';
    const char *kind = text + has_order;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (len - has_order == 2 && memcmp(kind, types[i].name, 2) == 0) {
            h->dtype = types[i].dtype;
            return true;
        }
    h->p = start;
    h->unsupported = true;
    return fail_header(h, "elements that are no plain numbers of 1 to 8 bytes are not handled");
}

static bool read_order(struct header *h)
{
    if (accept_word(h, "True")) {
        h->fortran_order = true;
        return true;
    }
    return accept_word(h, "False") || fail_header(h, "fortran_order is neither True nor False");
}

static bool read_count(struct header *h, uint64_t *out)
{
    skip_spaces(h);
    const char *start = h->p;
    *out = 0;
    for (; h->p < h->end && *h->p >= '0' && *h->p <= '9'; h->p++)
        if (!hone_mul_u64(*out, 10, out) || !hone_add_u64(*out, (uint64_t)(*h->p - '0'), out))
            return fail_header(h, "shape holds a number beyond 64 bits");
    if (h->p == start)
        return fail_header(h, "shape holds something that is no count");
    if (h->p < h->end && *h->p == 'L') /* Python 2's long integers */
        h->p++;
    return true;
}

/* (), (n,), (n, m), (n, m,) */
static bool read_shape(struct header *h)
{
    if (!expect(h, '(', "shape is no tuple"))
        return false;
    while (!accept(h, ')')) {
        if (h->n_dims == HONE_MAX_DIMS) {
            h->unsupported = true;
            return fail_header(h, "an array of more than 8 axes");
        }
        if (!read_count(h, &h->shape[h->n_dims++]))
            return false;
        if (!accept(h, ',')) {
            if (h->n_dims == 1)
                return fail_header(h, "shape is no tuple");
            return expect(h, ')', "shape is no tuple");
        }
    }
    return true;
}

static bool read_item(struct header *h)
{
    static const char wrong_key[] = "a key that is none of descr, fortran_order and shape, or comes twice";
    const char *key;
    size_t len;
    skip_spaces(h);
    const char *start = h->p;
    if (!read_string(h, &key, &len, "a key that is no string"))
        return false;
    bool *seen = NULL;
    bool (*read)(struct header *) = NULL;
    if (len == 5 && memcmp(key, "descr", len) == 0) {
        seen = &h->has_descr;
        read = read_descr;
    } else if (len == 13 && memcmp(key, "fortran_order", len) == 0) {
        seen = &h->has_order;
        read = read_order;
    } else if (len == 5 && memcmp(key, "shape", len) == 0) {
        seen = &h->has_shape;
        read = read_shape;
    }
    if (!seen || *seen) {
        h->p = start;
        return fail_header(h, wrong_key);
    }
    *seen = true;
    return expect(h, ':', "a key without a value") && read(h);
}

static bool read_dict(struct header *h)
{
    if (!expect(h, '{', "header is no dictionary"))
        return false;
    while (!accept(h, '}')) {
        if (!read_item(h))
            return false;
        if (accept(h, ','))
            continue;
        if (!expect(h, '}', "header is no dictionary"))
            return false;
        break;
    }
    skip_spaces(h);
    if (h->p != h->end)
        return fail_header(h, "text after the header's dictionary");
    return (h->has_descr && h->has_order && h->has_shape) || fail_header(h, "descr, fortran_order or shape is missing");
}

/* Where an array lies and where its errors are. */
struct source {
    hone_checkpoint *ckpt;
    unsigned file;
    const hone_payload *payload;
    uint64_t at;
    bool at_is_fixed;
    const char *name;
    hone_error *err;
};

static hone_status fail_at(const struct source *s, hone_status status, uint64_t position, const char *reason)
{
    return hone_fail(s->err, status, s->at + (s->at_is_fixed ? 0 : position), s->name, "%s", reason);
}

/* Magic, version and header length; *start is where the header begins. */
static hone_status read_prefix(const struct source *s, size_t *start, size_t *len)
{
    uint8_t bytes[PREFIX_NBYTES] = {0};
    const uint64_t have = s->payload->nbytes;
    const size_t n = have < sizeof bytes ? (size_t)have : sizeof bytes;
    HONE_TRY(hone_payload_read(s->ckpt, s->file, s->payload, 0, bytes, n, s->err));
    if (n < MAGIC_NBYTES || memcmp(bytes, MAGIC, MAGIC_NBYTES) != 0)
        return fail_at(s, HONE_ERROR_FORMAT, 0, "not a NumPy array");
    const uint8_t major = bytes[MAGIC_NBYTES], minor = bytes[MAGIC_NBYTES + 1];
    *start = major == 1 ? 10 : 12;
    if (n < *start)
        return fail_at(s, HONE_ERROR_DATA, have, "the array ends before its header");
    if (major < 1 || major > 3 || minor != 0)
        return fail_at(s, HONE_ERROR_UNSUPPORTED, MAGIC_NBYTES, "a version that is none of 1.0, 2.0 and 3.0");
    const uint32_t header_nbytes = major == 1 ? hone_load_u16(bytes + 8) : hone_load_u32(bytes + 8);
    if (header_nbytes > have - *start)
        return fail_at(s, HONE_ERROR_DATA, 8, "the header runs past the end of the array");
    if (header_nbytes > MAX_HEADER_NBYTES)
        return fail_at(s, HONE_ERROR_LIMIT, 8, "a header of more than 64 KiB");
    *len = header_nbytes;
    return HONE_OK;
}

static void strides_of_columns(const hone_tensor *tensor, uint64_t *strides)
{
    uint64_t stride = 1;
    for (unsigned i = 0; i < tensor->n_dims; i++) {
        strides[i] = stride;
        stride *= tensor->shape[i];
    }
}

static hone_status add_array(const struct source *s, const struct header *h, uint64_t data_start)
{
    hone_tensor tensor = {.name = s->name, .dtype = h->dtype, .n_dims = h->n_dims, .file = s->file};
    memcpy(tensor.shape, h->shape, sizeof tensor.shape);
    const char *wrong = hone_tensor_measure(&tensor);
    const uint64_t left = s->payload->nbytes - data_start;
    if (!wrong && tensor.nbytes != left)
        wrong = tensor.nbytes > left ? "the array ends before its last element" : "bytes after the last element";
    if (wrong)
        return fail_at(s, HONE_ERROR_DATA, data_start, wrong);
    hone_layout layout = {.payload = *s->payload, .first_nbytes = data_start, .swap_bytes = h->big_endian};
    if (h->fortran_order)
        strides_of_columns(&tensor, layout.strides);
    else
        hone_strides_of_rows(&tensor, layout.strides);
    return hone_checkpoint_add_strided(s->ckpt, &tensor, &layout, s->at, s->err);
}

hone_status hone_npy_add(hone_checkpoint *ckpt, unsigned file, const char *name, const hone_payload *payload,
                         uint64_t at, bool at_is_fixed, hone_error *err)
{
    const struct source s = {
        .ckpt = ckpt, .file = file, .payload = payload, .at = at, .at_is_fixed = at_is_fixed, .name = name, .err = err};
    size_t start = 0, len = 0;
    HONE_TRY(read_prefix(&s, &start, &len));
    char *text = hone_alloc(len, 1);
    if (!text)
        return hone_fail_nomem(err, len);
    hone_status status = hone_payload_read(ckpt, file, payload, start, text, len, err);
    struct header h = {.text = text, .p = text, .end = text + len};
    if (status == HONE_OK && !read_dict(&h))
        status = fail_at(&s, h.unsupported ? HONE_ERROR_UNSUPPORTED : HONE_ERROR_DATA, start + (size_t)(h.p - h.text),
                         h.wrong);
    hone_release(text);
    HONE_TRY(status);
    return add_array(&s, &h, start + len);
}

/* --- a file of its own --- */

static bool probe(const uint8_t *head, size_t head_nbytes, uint64_t file_nbytes)
{
    (void)file_nbytes;
    return head_nbytes >= MAGIC_NBYTES && memcmp(head, MAGIC, MAGIC_NBYTES) == 0;
}

/* The array is called by the file's name, without directory and extension. */
static const char *name_of_file(hone_checkpoint *ckpt, const char *path)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *dot = strrchr(base, '.');
    return hone_arena_copy(&ckpt->arena, base, dot && dot > base ? (size_t)(dot - base) : strlen(base));
}

static hone_status read_file(hone_checkpoint *ckpt, unsigned file, hone_error *err)
{
    const hone_payload payload = {.nbytes = ckpt->files[file].nbytes};
    const char *name = name_of_file(ckpt, ckpt->files[file].path);
    const hone_status status = name ? hone_npy_add(ckpt, file, name, &payload, 0, false, err) : hone_fail_nomem(err, 0);
    return status == HONE_OK ? HONE_OK : hone_fail_in_file(err, status, ckpt->files[file].path);
}

const hone_reader hone_npy_reader = {.name = "npy", .probe = probe, .read = read_file};
