/* SPDX-License-Identifier: MIT */
/*
 * Reading GGUF, versions 2 and 3.
 *
 *   |"GGUF"|u32 version|i64 n_tensors|i64 n_kv|KV ...|tensor info ...|pad|tensor data, each padded|
 *   KV           string key | i32 type | value
 *   string       u64 nbytes | bytes, no NUL
 *   array        i32 element type | u64 count | elements, packed
 *   tensor info  string name | u32 n_dims | u64 dims[n_dims], fastest first | i32 ggml type | u64 offset from the
 * data's start
 *
 * Tensors lie in the order of their infos without holes, each padded to general.alignment; the last one's padding may
 * be missing, and bytes beyond it are ignored, as llama.cpp does. Sources: ggml/docs/gguf.md, ggml/src/gguf.cpp.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "base/arith.h"
#include "base/cursor.h"
#include "base/fail.h"
#include "base/mem.h"
#include "formats/checksum.h"
#include "formats/ggml_types.h"
#include "formats/gguf_split.h"
#include "formats/sources.h"

enum {
    MAX_KEY_NBYTES = 65535,
    MAX_TENSOR_DIMS = 4,
    DEFAULT_ALIGNMENT = 32,
    MIN_KV_NBYTES = 8 + 4 + 1,
    MIN_INFO_NBYTES = 8 + 4 + 4 + 8,
    WINDOW_NBYTES = 1 << 20
};

/* Vocabularies of today take some 20 MiB. Bounds what a hostile header can make us allocate. */
static const uint64_t MAX_VALUE_NBYTES = 256ull << 20, MAX_HEADER_NBYTES = 1024ull << 20;

/* A name and where it was met, to find repeats after all are read. */
struct met {
    const char *name;
    uint64_t at;
};

/* The header, read through a window that slides over the file. */
struct reader {
    hone_checkpoint *ckpt;
    const hone_file *file;
    unsigned file_index;
    uint8_t *window;
    size_t window_cap;
    uint64_t window_at; /* file position of window[0] */
    hone_cursor c;
    uint64_t alignment;
    struct met *met;
    size_t n_met, cap_met;
    const char *item; /* the key or tensor being read, or NULL */
    bool keep_metadata;
    hone_gguf_split split;
    hone_error *err;
};

static uint64_t position(const struct reader *r)
{
    return r->window_at + hone_cursor_offset(&r->c);
}

static uint64_t file_left(const struct reader *r)
{
    return r->file->nbytes - position(r);
}

static hone_status fail_at(const struct reader *r, hone_status status, uint64_t at, const char *reason)
{
    return hone_fail(r->err, status, at, r->item, "%s", reason);
}

/* Make nbytes available in the window at the current position. */
static hone_status refill(struct reader *r, uint64_t nbytes)
{
    const uint64_t at = position(r);
    if (nbytes > file_left(r))
        return fail_at(r, HONE_ERROR_DATA, at, "file ends inside the header");
    if (nbytes > MAX_VALUE_NBYTES || at + nbytes > MAX_HEADER_NBYTES)
        return fail_at(r, HONE_ERROR_LIMIT, at, "header or one of its values is too large");
    if (nbytes > r->window_cap) {
        const uint64_t want = nbytes > WINDOW_NBYTES ? nbytes : WINDOW_NBYTES;
        const size_t cap = (size_t)(want < file_left(r) ? want : file_left(r));
        uint8_t *window = hone_alloc(cap, 1);
        if (!window)
            return hone_fail_nomem(r->err, cap);
        hone_release(r->window);
        r->window = window;
        r->window_cap = cap;
    }
    /* What is left of the old window is read again: simpler than moving it, and seldom. */
    const size_t have = (size_t)(r->window_cap < file_left(r) ? r->window_cap : file_left(r));
    r->c = hone_cursor_init(r->window, 0);
    r->window_at = at;
    HONE_TRY(hone_file_read(r->file, at, r->window, have, r->err));
    r->c = hone_cursor_init(r->window, have);
    return HONE_OK;
}

static hone_status need(struct reader *r, uint64_t nbytes)
{
    return nbytes <= hone_cursor_left(&r->c) ? HONE_OK : refill(r, nbytes);
}

/* Copied into the arena, with a NUL. */
static hone_status read_string(struct reader *r, hone_string *out)
{
    const uint64_t at = position(r);
    HONE_TRY(need(r, 8));
    const uint64_t len = hone_cursor_u64(&r->c);
    if (len > file_left(r))
        return fail_at(r, HONE_ERROR_DATA, at, "string runs past the end of the file");
    HONE_TRY(need(r, len));
    const uint8_t *bytes = hone_cursor_take(&r->c, len);
    out->data = hone_arena_copy(&r->ckpt->arena, bytes, (size_t)len);
    out->len = (size_t)len;
    return out->data ? HONE_OK : hone_fail_nomem(r->err, len);
}

static bool is_text(hone_string s)
{
    size_t at = 0;
    while (at < s.len) {
        utf8proc_int32_t code;
        const utf8proc_ssize_t n =
            utf8proc_iterate((const utf8proc_uint8_t *)s.data + at, (utf8proc_ssize_t)(s.len - at), &code);
        if (n <= 0 || code == 0)
            return false;
        at += (size_t)n;
    }
    return true;
}

/* A key or a tensor name; becomes the item of errors from here on. */
static hone_status read_name(struct reader *r, hone_string *out)
{
    r->item = NULL;
    const uint64_t at = position(r);
    HONE_TRY(need(r, 8));
    const uint64_t len = hone_load_u64(r->c.p);
    if (len == 0 || len > MAX_KEY_NBYTES)
        return hone_fail(r->err, HONE_ERROR_DATA, at, NULL, "a name of %" PRIu64 " bytes", len);
    HONE_TRY(read_string(r, out));
    if (!is_text(*out))
        return fail_at(r, HONE_ERROR_DATA, at, "a name that is not UTF-8 text");
    r->item = out->data;
    struct met *grown = hone_grow(r->met, &r->cap_met, r->n_met + 1, sizeof *grown);
    if (!grown)
        return hone_fail_nomem(r->err, r->n_met * sizeof *grown);
    r->met = grown;
    r->met[r->n_met++] = (struct met){out->data, at};
    return HONE_OK;
}

static int compare_met(const void *a, const void *b)
{
    const struct met *x = a, *y = b;
    const int by_name = strcmp(x->name, y->name);
    return by_name ? by_name : (x->at > y->at) - (x->at < y->at);
}

/* DATA if a name was met twice since the last call. */
static hone_status check_unique(struct reader *r, const char *reason)
{
    if (r->n_met > 0)
        qsort(r->met, r->n_met, sizeof *r->met, compare_met);
    for (size_t i = 1; i < r->n_met; i++) {
        r->item = r->met[i].name;
        if (strcmp(r->met[i - 1].name, r->met[i].name) == 0)
            return fail_at(r, HONE_ERROR_DATA, r->met[i].at, reason);
    }
    r->item = NULL;
    r->n_met = 0;
    return HONE_OK;
}

/* Bytes of a value of fixed size; 0 for strings, arrays and unknown types. */
static size_t value_nbytes(uint32_t type)
{
    static const uint8_t sizes[] = {
        [HONE_VALUE_U8] = 1,  [HONE_VALUE_I8] = 1,  [HONE_VALUE_U16] = 2, [HONE_VALUE_I16] = 2,
        [HONE_VALUE_U32] = 4, [HONE_VALUE_I32] = 4, [HONE_VALUE_F32] = 4, [HONE_VALUE_BOOL] = 1,
        [HONE_VALUE_U64] = 8, [HONE_VALUE_I64] = 8, [HONE_VALUE_F64] = 8,
    };
    return type < sizeof sizes ? sizes[type] : 0;
}

static hone_status read_scalar(struct reader *r, hone_metadata *entry)
{
    const uint64_t at = position(r);
    HONE_TRY(need(r, value_nbytes(entry->type)));
    hone_cursor *c = &r->c;
    switch (entry->type) {
    case HONE_VALUE_U8:
        entry->v.u = hone_cursor_u8(c);
        break;
    case HONE_VALUE_I8:
        entry->v.i = (int8_t)hone_cursor_u8(c);
        break;
    case HONE_VALUE_U16:
        entry->v.u = hone_cursor_u16(c);
        break;
    case HONE_VALUE_I16:
        entry->v.i = (int16_t)hone_cursor_u16(c);
        break;
    case HONE_VALUE_U32:
        entry->v.u = hone_cursor_u32(c);
        break;
    case HONE_VALUE_I32:
        entry->v.i = (int32_t)hone_cursor_u32(c);
        break;
    case HONE_VALUE_F32:
        entry->v.f = (double)hone_load_f32(hone_cursor_take(c, 4));
        break;
    case HONE_VALUE_BOOL:
        entry->v.u = hone_cursor_u8(c);
        if (entry->v.u > 1)
            return fail_at(r, HONE_ERROR_DATA, at, "a bool that is neither 0 nor 1");
        break;
    case HONE_VALUE_U64:
        entry->v.u = hone_cursor_u64(c);
        break;
    case HONE_VALUE_I64:
        entry->v.i = (int64_t)hone_cursor_u64(c);
        break;
    case HONE_VALUE_F64:
        entry->v.f = hone_load_f64(hone_cursor_take(c, 8));
        break;
    case HONE_VALUE_STRING:
    case HONE_VALUE_ARRAY:
        break;
    }
    return HONE_OK;
}

static hone_status read_string_array(struct reader *r, uint64_t count, hone_metadata *entry)
{
    if (count > file_left(r) / 8)
        return fail_at(r, HONE_ERROR_DATA, position(r), "array runs past the end of the file");
    if (count > MAX_VALUE_NBYTES / sizeof(hone_string))
        return fail_at(r, HONE_ERROR_LIMIT, position(r), "array of too many strings");
    hone_string *strings = hone_arena_alloc(&r->ckpt->arena, (size_t)count, sizeof *strings);
    if (!strings)
        return hone_fail_nomem(r->err, count * sizeof *strings);
    for (uint64_t i = 0; i < count; i++)
        HONE_TRY(read_string(r, &strings[i]));
    entry->v.array.strings = strings;
    return HONE_OK;
}

static hone_status read_packed_array(struct reader *r, uint64_t count, size_t size, hone_metadata *entry)
{
    const uint64_t at = position(r);
    uint64_t nbytes;
    if (!hone_mul_u64(count, size, &nbytes) || nbytes > file_left(r))
        return fail_at(r, HONE_ERROR_DATA, at, "array runs past the end of the file");
    HONE_TRY(need(r, nbytes));
    const uint8_t *bytes = hone_cursor_take(&r->c, nbytes);
    if (entry->v.array.elem_type == HONE_VALUE_BOOL)
        for (uint64_t i = 0; i < nbytes; i++)
            if (bytes[i] > 1)
                return fail_at(r, HONE_ERROR_DATA, at + i, "a bool that is neither 0 nor 1");
    entry->v.array.items = hone_arena_copy(&r->ckpt->arena, bytes, (size_t)nbytes);
    return entry->v.array.items ? HONE_OK : hone_fail_nomem(r->err, nbytes);
}

static hone_status read_array(struct reader *r, hone_metadata *entry)
{
    const uint64_t at = position(r);
    HONE_TRY(need(r, 4 + 8));
    const uint32_t elem_type = hone_cursor_u32(&r->c);
    const uint64_t count = hone_cursor_u64(&r->c);
    const size_t size = value_nbytes(elem_type);
    if (elem_type == HONE_VALUE_ARRAY)
        return fail_at(r, HONE_ERROR_UNSUPPORTED, at, "an array of arrays");
    if (size == 0 && elem_type != HONE_VALUE_STRING)
        return hone_fail(r->err, HONE_ERROR_DATA, at, r->item, "unknown element type %" PRIu32, elem_type);
    entry->v.array.elem_type = (hone_value_type)elem_type;
    entry->v.array.count = count;
    return size ? read_packed_array(r, count, size, entry) : read_string_array(r, count, entry);
}

/* What a split.* key says; other keys pass. */
static hone_status note_split_key(struct reader *r, const hone_metadata *entry, uint64_t at)
{
    hone_split_number *const numbers[] = {&r->split.no, &r->split.count, &r->split.n_tensors};
    static const char *const keys[] = {"split.no", "split.count", "split.tensors.count"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (strcmp(entry->key.data, keys[i]) != 0)
            continue;
        const bool is_signed = entry->type == HONE_VALUE_I8 || entry->type == HONE_VALUE_I16 ||
                               entry->type == HONE_VALUE_I32 || entry->type == HONE_VALUE_I64;
        const bool is_unsigned = entry->type == HONE_VALUE_U8 || entry->type == HONE_VALUE_U16 ||
                                 entry->type == HONE_VALUE_U32 || entry->type == HONE_VALUE_U64;
        if (!is_unsigned && !(is_signed && entry->v.i >= 0))
            return fail_at(r, HONE_ERROR_DATA, at, "not a count");
        *numbers[i] = (hone_split_number){.present = true, .value = entry->v.u, .at = at};
    }
    return HONE_OK;
}

static hone_status read_kv(struct reader *r)
{
    hone_metadata entry = {0};
    HONE_TRY(read_name(r, &entry.key));
    const uint64_t at = position(r);
    HONE_TRY(need(r, 4));
    const uint32_t type = hone_cursor_u32(&r->c);
    if (type > HONE_VALUE_F64)
        return hone_fail(r->err, HONE_ERROR_DATA, at, r->item, "unknown value type %" PRIu32, type);
    entry.type = (hone_value_type)type;
    if (type == HONE_VALUE_STRING)
        HONE_TRY(read_string(r, &entry.v.string));
    else if (type == HONE_VALUE_ARRAY)
        HONE_TRY(read_array(r, &entry));
    else
        HONE_TRY(read_scalar(r, &entry));
    if (strcmp(entry.key.data, "general.alignment") == 0) {
        if (type != HONE_VALUE_U32 || entry.v.u == 0 || (entry.v.u & (entry.v.u - 1)) != 0)
            return fail_at(r, HONE_ERROR_DATA, at, "not a power of two of type u32");
        r->alignment = entry.v.u;
    }
    if (strcmp(entry.key.data, HONE_HEADER_SUM_KEY) == 0)
        r->ckpt->header_sum_at = at + 4;
    if (strcmp(entry.key.data, HONE_JOINT_SUMS_KEY) == 0) /* behind the types and the count of an array */
        r->ckpt->header_sum_at = at + 4 + 4 + 8;
    HONE_TRY(note_split_key(r, &entry, at));
    if (!r->keep_metadata)
        return HONE_OK;
    return hone_checkpoint_add_metadata(r->ckpt, &entry, r->err);
}

static hone_status read_dtype(struct reader *r, hone_tensor *t)
{
    const uint64_t at = position(r);
    HONE_TRY(need(r, 4));
    const uint32_t id = hone_cursor_u32(&r->c);
    t->dtype = hone_dtype_from_ggml_id(id);
    if (t->dtype != HONE_INVALID)
        return HONE_OK;
    const char *name = hone_ggml_type_name(id);
    if (name)
        return hone_fail(r->err, HONE_ERROR_UNSUPPORTED, at, r->item, "tensor type %s (ggml type %" PRIu32 ")", name,
                         id);
    return hone_fail(r->err, HONE_ERROR_UNSUPPORTED, at, r->item, "unknown ggml type %" PRIu32, id);
}

/* *next is where the tensor must start, counted from the data's start; moved behind it. */
static hone_status read_tensor_info(struct reader *r, uint64_t *next, hone_tensor *t)
{
    hone_string name;
    HONE_TRY(read_name(r, &name));
    *t = (hone_tensor){.name = name.data, .file = r->file_index};
    const uint64_t at = position(r);
    HONE_TRY(need(r, 4));
    const uint32_t n_dims = hone_cursor_u32(&r->c);
    if (n_dims > MAX_TENSOR_DIMS)
        return hone_fail(r->err, HONE_ERROR_DATA, at, r->item, "%" PRIu32 " axes, at most 4 are allowed", n_dims);
    t->n_dims = n_dims;
    HONE_TRY(need(r, 8 * (uint64_t)n_dims));
    for (uint32_t i = 0; i < n_dims; i++)
        t->shape[n_dims - 1 - i] = hone_cursor_u64(&r->c);
    HONE_TRY(read_dtype(r, t));
    const char *wrong = hone_tensor_measure(t);
    if (wrong)
        return fail_at(r, HONE_ERROR_DATA, at, wrong);
    const uint64_t offset_at = position(r);
    HONE_TRY(need(r, 8));
    t->offset = hone_cursor_u64(&r->c);
    if (t->offset % r->alignment != 0)
        return fail_at(r, HONE_ERROR_DATA, offset_at, "offset is not aligned");
    if (t->offset != *next)
        return fail_at(r, HONE_ERROR_DATA, offset_at,
                       t->offset > *next ? "a hole before its data" : "its data overlaps another tensor's");
    uint64_t end;
    if (!hone_add_u64(t->offset, t->nbytes, &end) || end > r->file->nbytes)
        return fail_at(r, HONE_ERROR_DATA, offset_at, "data runs past the end of the file");
    *next = hone_align_up(end, r->alignment);
    return HONE_OK;
}

static hone_status read_tensors(struct reader *r, uint64_t n_tensors)
{
    if (n_tensors > file_left(r) / MIN_INFO_NBYTES)
        return fail_at(r, HONE_ERROR_DATA, 8, "more tensors than the file can hold");
    hone_tensor *tensors = hone_alloc((size_t)n_tensors, sizeof *tensors);
    if (!tensors)
        return hone_fail_nomem(r->err, n_tensors * sizeof *tensors);
    uint64_t next = 0;
    hone_status status = HONE_OK;
    for (uint64_t i = 0; i < n_tensors && status == HONE_OK; i++)
        status = read_tensor_info(r, &next, &tensors[i]);
    if (status == HONE_OK)
        status = check_unique(r, "a second tensor of this name");
    /* An alignment is below 2^32 and a position below 2^63: no overflow. */
    const uint64_t data_start = hone_align_up(position(r), r->alignment);
    r->ckpt->data_start = data_start;
    r->ckpt->alignment = r->alignment;
    for (uint64_t i = 0; i < n_tensors && status == HONE_OK; i++) {
        tensors[i].offset += data_start;
        status = hone_checkpoint_add_tensor(r->ckpt, &tensors[i], tensors[i].offset, r->err);
    }
    hone_release(tensors);
    return status;
}

static hone_status read_header(struct reader *r)
{
    HONE_TRY(need(r, 8));
    if (memcmp(hone_cursor_take(&r->c, 4), "GGUF", 4) != 0)
        return fail_at(r, HONE_ERROR_FORMAT, 0, "magic is not GGUF");
    const uint32_t version = hone_cursor_u32(&r->c);
    /* Byte order is not flagged: a small version number in the upper half is a big-endian file's. */
    if (version != 0 && (version & 0xffff) == 0)
        return fail_at(r, HONE_ERROR_UNSUPPORTED, 4, "big-endian GGUF");
    if (version < 2 || version > 3)
        return hone_fail(r->err, HONE_ERROR_UNSUPPORTED, 4, NULL, "GGUF version %" PRIu32 "; 2 and 3 are read",
                         version);
    HONE_TRY(need(r, 16));
    const uint64_t n_tensors = hone_cursor_u64(&r->c);
    const uint64_t n_kv = hone_cursor_u64(&r->c);
    if (n_tensors > file_left(r) / MIN_INFO_NBYTES)
        return fail_at(r, HONE_ERROR_DATA, 8, "more tensors than the file can hold");
    if (n_kv > file_left(r) / MIN_KV_NBYTES)
        return fail_at(r, HONE_ERROR_DATA, 16, "more metadata than the file can hold");
    for (uint64_t i = 0; i < n_kv; i++)
        HONE_TRY(read_kv(r));
    HONE_TRY(check_unique(r, "a second entry of this key"));
    return read_tensors(r, n_tensors);
}

static bool probe(const uint8_t *head, size_t head_nbytes, uint64_t file_nbytes)
{
    (void)file_nbytes;
    return head_nbytes >= 4 && memcmp(head, "GGUF", 4) == 0;
}

hone_status hone_gguf_read_part(hone_checkpoint *ckpt, unsigned file, bool keep_metadata, hone_gguf_split *split,
                                hone_error *err)
{
    static const uint8_t nothing;
    struct reader r = {.ckpt = ckpt,
                       .file = &ckpt->files[file],
                       .file_index = file,
                       .c = hone_cursor_init(&nothing, 0),
                       .alignment = DEFAULT_ALIGNMENT,
                       .keep_metadata = keep_metadata,
                       .err = err};
    const hone_status status = read_header(&r);
    hone_release(r.window);
    hone_release(r.met);
    *split = r.split;
    return status == HONE_OK ? HONE_OK : hone_fail_in_file(err, status, ckpt->files[file].path);
}

static hone_status read_file(hone_checkpoint *ckpt, unsigned file, hone_error *err)
{
    hone_gguf_split split;
    HONE_TRY(hone_gguf_read_part(ckpt, file, true, &split, err));
    if (!split.count.present || split.count.value <= 1)
        return HONE_OK;
    return hone_gguf_read_set(ckpt, file, &split, err);
}

const hone_reader hone_gguf_reader = {.name = "gguf", .probe = probe, .read = read_file};
