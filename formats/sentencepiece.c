/* SPDX-License-Identifier: MIT */
/*
 * A protobuf message is a run of fields: a varint tag (number << 3 | wire type), then the value. Wire types: 0 varint,
 * 1 eight bytes, 2 length-delimited, 5 four bytes; 3 and 4 (groups) are long deprecated and refused. A field that
 * repeats replaces the one before, or is merged into it when it is a message. Sources:
 * protobuf.dev/programming-guides/encoding, google/sentencepiece src/sentencepiece_model.proto.
 */
#include "formats/sentencepiece.h"

#include <inttypes.h>
#include <string.h>

#include "base/cursor.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/mem.h"

static const uint64_t MAX_MODEL_NBYTES = 64ull << 20;

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

/* One field. offset is that of its tag in the file. */
struct field {
    uint32_t number;
    unsigned wire;
    uint64_t offset;
    uint64_t value; /* WIRE_VARINT, WIRE_FIXED32, WIRE_FIXED64 */
    const uint8_t *bytes;
    size_t nbytes; /* WIRE_BYTES */
};

/* A cursor over a message inside the file; its offsets count from the start of the file. */
static hone_cursor enter(const hone_cursor *outer, const struct field *f)
{
    return (hone_cursor){.start = outer->start, .p = f->bytes, .end = f->bytes + f->nbytes, .bad = false};
}

static uint64_t read_varint(hone_cursor *c)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        const uint8_t byte = hone_cursor_u8(c);
        /* The tenth byte holds the top bit alone. */
        if (shift == 63 && byte > 1)
            break;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return value;
    }
    c->bad = true;
    return 0;
}

/* The next field, or HONE_OK and number 0 at the end of the message. */
static hone_status next_field(hone_cursor *c, struct field *f, hone_error *err)
{
    *f = (struct field){.offset = hone_cursor_offset(c)};
    if (hone_cursor_left(c) == 0)
        return HONE_OK;
    const uint64_t tag = read_varint(c);
    f->wire = (unsigned)(tag & 7);
    if (!c->bad && (tag >> 3 == 0 || tag >> 3 > 0x1fffffff))
        return hone_fail(err, HONE_ERROR_DATA, f->offset, NULL, "protobuf field number %" PRIu64, tag >> 3);
    f->number = (uint32_t)(tag >> 3);
    switch (f->wire) {
    case WIRE_VARINT:
        f->value = read_varint(c);
        break;
    case WIRE_FIXED64:
        f->value = hone_cursor_u64(c);
        break;
    case WIRE_FIXED32:
        f->value = hone_cursor_u32(c);
        break;
    case WIRE_BYTES: {
        const uint64_t len = read_varint(c);
        f->bytes = hone_cursor_take(c, len);
        f->nbytes = (size_t)len;
        break;
    }
    default:
        if (!c->bad)
            return hone_fail(err, HONE_ERROR_DATA, f->offset, NULL, "protobuf wire type %u", f->wire);
    }
    if (c->bad)
        return hone_fail(err, HONE_ERROR_DATA, f->offset, NULL, "a protobuf field is cut short");
    return HONE_OK;
}

static hone_status expect(const struct field *f, unsigned wire, const char *name, hone_error *err)
{
    if (f->wire == wire)
        return HONE_OK;
    return hone_fail(err, HONE_ERROR_DATA, f->offset, name, "protobuf wire type %u instead of %u", f->wire, wire);
}

static hone_status get_int32(const struct field *f, const char *name, int32_t low, int32_t high, int32_t *out,
                             hone_error *err)
{
    HONE_TRY(expect(f, WIRE_VARINT, name, err));
    /* Negative numbers are sign-extended to 64 bits. */
    const int64_t value = (int64_t)f->value;
    if (value < low || value > high)
        return hone_fail(err, HONE_ERROR_DATA, f->offset, name, "%" PRId64 " is out of range", value);
    *out = (int32_t)value;
    return HONE_OK;
}

static hone_status get_bool(const struct field *f, const char *name, bool *out, hone_error *err)
{
    HONE_TRY(expect(f, WIRE_VARINT, name, err));
    *out = f->value != 0;
    return HONE_OK;
}

static hone_status get_string(hone_sentencepiece *sp, const struct field *f, const char *name, hone_string *out,
                              hone_error *err)
{
    HONE_TRY(expect(f, WIRE_BYTES, name, err));
    out->data = hone_arena_copy(&sp->arena, f->bytes, f->nbytes);
    out->len = f->nbytes;
    return out->data ? HONE_OK : hone_fail_nomem(err, f->nbytes);
}

static hone_status parse_piece(hone_sentencepiece *sp, hone_cursor c, hone_error *err)
{
    const uint64_t at = hone_cursor_offset(&c);
    hone_piece piece = {.type = HONE_PIECE_NORMAL};
    struct field f;
    int32_t type;
    for (;;) {
        HONE_TRY(next_field(&c, &f, err));
        switch (f.number) {
        case 0:
            if (!piece.text.data)
                return hone_fail(err, HONE_ERROR_DATA, at, NULL, "piece %zu has no text", sp->n_pieces);
            goto done;
        case 1:
            HONE_TRY(get_string(sp, &f, "piece", &piece.text, err));
            break;
        case 2:
            HONE_TRY(expect(&f, WIRE_FIXED32, "score", err));
            piece.score = hone_load_f32(&(const uint32_t){(uint32_t)f.value});
            break;
        case 3:
            HONE_TRY(get_int32(&f, "type", HONE_PIECE_NORMAL, HONE_PIECE_BYTE, &type, err));
            piece.type = (hone_piece_type)type;
            break;
        default:
            break;
        }
    }
done:;
    hone_piece *grown = hone_grow(sp->pieces, &sp->cap_pieces, sp->n_pieces + 1, sizeof *grown);
    if (!grown)
        return hone_fail_nomem(err, sp->n_pieces * sizeof *grown);
    sp->pieces = grown;
    sp->pieces[sp->n_pieces++] = piece;
    return HONE_OK;
}

static hone_status parse_trainer(hone_sentencepiece *sp, hone_cursor c, hone_error *err)
{
    struct field f;
    int32_t model = (int32_t)sp->model_type;
    do {
        HONE_TRY(next_field(&c, &f, err));
        switch (f.number) {
        case 3:
            HONE_TRY(get_int32(&f, "model_type", HONE_SENTENCEPIECE_UNIGRAM, HONE_SENTENCEPIECE_CHAR, &model, err));
            break;
        case 35:
            HONE_TRY(get_bool(&f, "byte_fallback", &sp->byte_fallback, err));
            break;
        case 40:
            HONE_TRY(get_int32(&f, "unk_id", INT32_MIN, INT32_MAX, &sp->unk_id, err));
            break;
        case 41:
            HONE_TRY(get_int32(&f, "bos_id", INT32_MIN, INT32_MAX, &sp->bos_id, err));
            break;
        case 42:
            HONE_TRY(get_int32(&f, "eos_id", INT32_MIN, INT32_MAX, &sp->eos_id, err));
            break;
        case 43:
            HONE_TRY(get_int32(&f, "pad_id", INT32_MIN, INT32_MAX, &sp->pad_id, err));
            break;
        default:
            break;
        }
    } while (f.number != 0);
    sp->model_type = (hone_sentencepiece_model)model;
    return HONE_OK;
}

static hone_status parse_normalizer(hone_sentencepiece *sp, hone_cursor c, hone_error *err)
{
    struct field f;
    do {
        HONE_TRY(next_field(&c, &f, err));
        switch (f.number) {
        case 2:
            HONE_TRY(get_string(sp, &f, "precompiled_charsmap", &sp->charsmap, err));
            break;
        case 3:
            HONE_TRY(get_bool(&f, "add_dummy_prefix", &sp->add_dummy_prefix, err));
            break;
        case 4:
            HONE_TRY(get_bool(&f, "remove_extra_whitespaces", &sp->remove_extra_whitespaces, err));
            break;
        case 5:
            HONE_TRY(get_bool(&f, "escape_whitespaces", &sp->escape_whitespaces, err));
            break;
        default:
            break;
        }
    } while (f.number != 0);
    return HONE_OK;
}

static hone_status parse_model(hone_sentencepiece *sp, hone_cursor c, hone_error *err)
{
    struct field f;
    do {
        HONE_TRY(next_field(&c, &f, err));
        switch (f.number) {
        case 1:
            HONE_TRY(expect(&f, WIRE_BYTES, "pieces", err));
            HONE_TRY(parse_piece(sp, enter(&c, &f), err));
            break;
        case 2:
            HONE_TRY(expect(&f, WIRE_BYTES, "trainer_spec", err));
            HONE_TRY(parse_trainer(sp, enter(&c, &f), err));
            break;
        case 3:
            HONE_TRY(expect(&f, WIRE_BYTES, "normalizer_spec", err));
            HONE_TRY(parse_normalizer(sp, enter(&c, &f), err));
            break;
        default:
            break;
        }
    } while (f.number != 0);
    if (sp->n_pieces == 0)
        return hone_fail(err, HONE_ERROR_FORMAT, 0, NULL, "no SentencePiece model: it has no pieces");
    return HONE_OK;
}

/* -1 is SentencePiece's way to say "none"; an id beyond the table can mean nothing else. */
static void drop_id_out_of_range(const hone_sentencepiece *sp, int32_t *id)
{
    if (*id < 0 || (size_t)*id >= sp->n_pieces)
        *id = -1;
}

hone_status hone_sentencepiece_parse(const void *data, size_t nbytes, hone_sentencepiece *out, hone_error *err)
{
    /* The defaults of sentencepiece_model.proto. */
    *out = (hone_sentencepiece){
        .model_type = HONE_SENTENCEPIECE_UNIGRAM,
        .unk_id = 0,
        .bos_id = 1,
        .eos_id = 2,
        .pad_id = -1,
        .add_dummy_prefix = true,
        .remove_extra_whitespaces = true,
        .escape_whitespaces = true,
        .charsmap = {"", 0},
    };
    const hone_status status = parse_model(out, hone_cursor_init(nbytes > 0 ? data : "", nbytes), err);
    if (status != HONE_OK) {
        hone_sentencepiece_deinit(out);
        return status;
    }
    drop_id_out_of_range(out, &out->unk_id);
    drop_id_out_of_range(out, &out->bos_id);
    drop_id_out_of_range(out, &out->eos_id);
    drop_id_out_of_range(out, &out->pad_id);
    return HONE_OK;
}

hone_status hone_sentencepiece_read(const char *path, hone_sentencepiece *out, hone_error *err)
{
    *out = (hone_sentencepiece){0};
    char *data;
    size_t nbytes;
    HONE_TRY(hone_file_slurp(path, MAX_MODEL_NBYTES, &data, &nbytes, err));
    const hone_status status = hone_sentencepiece_parse(data, nbytes, out, err);
    hone_release(data);
    return status == HONE_OK ? HONE_OK : hone_fail_in_file(err, status, path);
}

void hone_sentencepiece_deinit(hone_sentencepiece *sp)
{
    hone_release(sp->pieces);
    hone_arena_deinit(&sp->arena);
    *sp = (hone_sentencepiece){0};
}
