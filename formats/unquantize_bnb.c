/* SPDX-License-Identifier: MIT */
/*
 * bitsandbytes: NF4, FP4 and LLM.int8.
 *
 *   4 bits: P.weight                     codes of the flattened weight, two to a byte, the high nibble first
 *           P.weight.absmax              scale of each block of blocksize elements: f32, or u8 if nested
 *           P.weight.quant_map           f32 [16], the value of each code
 *           P.weight.nested_absmax, P.weight.nested_quant_map f32 [256]: scales of the scales, per nested_blocksize
 *           P.weight.quant_state.bitsandbytes__nf4 (or __fp4) u8: JSON with shape, blocksize, nested_blocksize,
 *                                        nested_offset
 *           w = quant_map[code] * absmax; nested, absmax = nested_quant_map[u] * nested_absmax + nested_offset
 *   8 bits: P.weight i8 [out, in], P.SCB f32 [out], P.weight_format u8 (0: rows). w = q * SCB / 127
 *
 * Source: bitsandbytes-foundation/bitsandbytes, functional.py (QuantState), nn/modules.py.
 */
#include <math.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "formats/json.h"
#include "formats/unquantize.h"

enum { N_CODES = 16, N_NESTED_CODES = 256, MAX_STATE_NBYTES = 1 << 14 };

struct four_bit {
    hone_unquantizer base;
    hone_tensor codes, map, absmax;
    hone_tensor nested_map, nested_absmax; /* without a name: not nested */
    size_t block, nested_block;
    float nested_offset;
};

struct eight_bit {
    hone_unquantizer base;
    hone_tensor codes, scales;
};

/* scale[i]: of block first + i. */
static hone_status load_scales(const hone_checkpoint *ckpt, const struct four_bit *w, size_t first, size_t n,
                               hone_arena *scratch, float *scale, hone_error *err)
{
    if (!w->nested_map.name)
        return hone_part_floats(ckpt, &w->absmax, w->absmax.dtype, first, n, scale, err);
    float map[N_NESTED_CODES];
    const size_t first_outer = first / w->nested_block, n_outer = (first + n - 1) / w->nested_block + 1 - first_outer;
    uint8_t *codes = hone_arena_alloc(scratch, n, 1);
    float *outer = hone_arena_alloc(scratch, n_outer, sizeof *outer);
    if (!codes || !outer)
        return hone_fail_nomem(err, n);
    HONE_TRY(hone_checkpoint_read(ckpt, &w->absmax, first, n, codes, err));
    HONE_TRY(hone_part_floats(ckpt, &w->nested_map, w->nested_map.dtype, 0, N_NESTED_CODES, map, err));
    HONE_TRY(hone_part_floats(ckpt, &w->nested_absmax, w->nested_absmax.dtype, first_outer, n_outer, outer, err));
    for (size_t i = 0; i < n; i++)
        scale[i] = map[codes[i]] * outer[(first + i) / w->nested_block - first_outer] + w->nested_offset;
    return HONE_OK;
}

static hone_status unpack_4bit_rows(const hone_checkpoint *ckpt, const struct four_bit *w, size_t row, size_t nrows,
                                    float *dst, hone_arena *scratch, hone_error *err)
{
    const size_t first = row * w->base.n_cols, n = nrows * w->base.n_cols;
    const size_t first_byte = first / 2, n_bytes = (first + n + 1) / 2 - first_byte;
    const size_t first_block = first / w->block, n_blocks = (first + n - 1) / w->block + 1 - first_block;
    float map[N_CODES];
    uint8_t *bytes = hone_arena_alloc(scratch, n_bytes, 1);
    float *scale = hone_arena_alloc(scratch, n_blocks, sizeof *scale);
    if (!bytes || !scale)
        return hone_fail_nomem(err, n_bytes);
    HONE_TRY(hone_checkpoint_read(ckpt, &w->codes, first_byte, n_bytes, bytes, err));
    HONE_TRY(hone_part_floats(ckpt, &w->map, w->map.dtype, 0, N_CODES, map, err));
    HONE_TRY(load_scales(ckpt, w, first_block, n_blocks, scratch, scale, err));
    for (size_t i = 0; i < n; i++) {
        const size_t at = first + i;
        const uint8_t byte = bytes[at / 2 - first_byte];
        dst[i] = map[at % 2 ? byte & 15 : byte >> 4] * scale[at / w->block - first_block];
    }
    return HONE_OK;
}

static hone_status unpack_4bit(const hone_checkpoint *ckpt, const hone_unquantizer *self, size_t row, size_t nrows,
                               float *dst, hone_error *err)
{
    hone_arena scratch = {0};
    const hone_status status = unpack_4bit_rows(ckpt, (const struct four_bit *)self, row, nrows, dst, &scratch, err);
    hone_arena_deinit(&scratch);
    return status;
}

static hone_status unpack_8bit(const hone_checkpoint *ckpt, const hone_unquantizer *self, size_t row, size_t nrows,
                               float *dst, hone_error *err)
{
    const struct eight_bit *w = (const struct eight_bit *)self;
    for (size_t r = 0; r < nrows; r++) {
        float scale, *to = dst + r * self->n_cols;
        HONE_TRY(hone_part_floats(ckpt, &w->scales, w->scales.dtype, row + r, 1, &scale, err));
        HONE_TRY(hone_part_floats(ckpt, &w->codes, HONE_I8, (row + r) * self->n_cols, self->n_cols, to, err));
        /* bitsandbytes multiplies by 1/127, rounded, after the scale: so do we, to the last bit. */
        for (size_t i = 0; i < self->n_cols; i++)
            to[i] = to[i] * scale * 7.874015718698502e-3f;
    }
    return HONE_OK;
}

/* A count of the state; 0 if it is none. */
static uint64_t state_count(const json_t *value)
{
    const json_int_t v = json_integer_value(value);
    return v > 0 && v >> 40 == 0 ? (uint64_t)v : 0;
}

static hone_status apply_state(const hone_checkpoint *ckpt, const hone_tensor *part, const json_t *state,
                               struct four_bit *w, uint64_t *out, uint64_t *in, hone_error *err)
{
    const json_t *shape = json_object_get(state, "shape");
    if (json_array_size(shape) != 2)
        return hone_part_fail(ckpt, part, err, HONE_ERROR_UNSUPPORTED, "a weight with %zu axes",
                              json_array_size(shape));
    *out = state_count(json_array_get(shape, 0));
    *in = state_count(json_array_get(shape, 1));
    w->block = (size_t)state_count(json_object_get(state, "blocksize"));
    if (*out == 0 || *in == 0 || w->block == 0)
        return hone_part_fail(ckpt, part, err, HONE_ERROR_DATA, "its shape or blocksize is not positive");
    if (!w->nested_map.name)
        return HONE_OK;
    const json_t *offset = json_object_get(state, "nested_offset");
    w->nested_block = (size_t)state_count(json_object_get(state, "nested_blocksize"));
    w->nested_offset = (float)json_number_value(offset);
    if (w->nested_block == 0 || !json_is_number(offset) || !isfinite(w->nested_offset))
        return hone_part_fail(ckpt, part, err, HONE_ERROR_DATA, "its nested_blocksize or nested_offset is wrong");
    return HONE_OK;
}

static hone_status read_state(const hone_checkpoint *ckpt, const hone_tensor *part, struct four_bit *w, uint64_t *out,
                              uint64_t *in, hone_error *err)
{
    if (part->dtype != HONE_U8 || part->nbytes > MAX_STATE_NBYTES)
        return hone_part_fail(ckpt, part, err, HONE_ERROR_DATA, "not a short text of u8");
    char *text = hone_alloc((size_t)part->nbytes, 1);
    if (!text)
        return hone_fail_nomem(err, part->nbytes);
    json_t *state = NULL;
    hone_status status = hone_checkpoint_read(ckpt, part, 0, (size_t)part->nbytes, text, err);
    if (status == HONE_OK)
        status = hone_json_parse(text, (size_t)part->nbytes, part->offset, &state, err);
    hone_release(text);
    if (status == HONE_OK)
        status = apply_state(ckpt, part, state, w, out, in, err);
    json_decref(state);
    return status == HONE_OK
               ? HONE_OK
               : hone_fail_in_file(err, hone_fail_for(err, status, part->name), ckpt->files[part->file].path);
}

static hone_status check_4bit(const hone_checkpoint *ckpt, const struct four_bit *w, uint64_t out, uint64_t in,
                              hone_error *err)
{
    /* out and in are below 2^40: their product is checked by division. */
    if (out > UINT64_MAX / 2 / in || w->codes.nbytes != (out * in + 1) / 2)
        return hone_part_fail(ckpt, &w->codes, err, HONE_ERROR_DATA, "%llu bytes are no weight of [%llu, %llu]",
                              (unsigned long long)w->codes.nbytes, (unsigned long long)out, (unsigned long long)in);
    const uint64_t n_blocks = (out * in + w->block - 1) / w->block;
    HONE_TRY(hone_part_expect(ckpt, &w->map, HONE_DTYPES_FLOAT, N_CODES, 1, err));
    if (!w->nested_map.name)
        return hone_part_expect(ckpt, &w->absmax, HONE_DTYPES_FLOAT, n_blocks, 1, err);
    const uint64_t n_outer = (n_blocks + w->nested_block - 1) / w->nested_block;
    HONE_TRY(hone_part_expect(ckpt, &w->absmax, HONE_DTYPE_BIT(HONE_U8), n_blocks, 1, err));
    HONE_TRY(hone_part_expect(ckpt, &w->nested_map, HONE_DTYPES_FLOAT, N_NESTED_CODES, 1, err));
    return hone_part_expect(ckpt, &w->nested_absmax, HONE_DTYPES_FLOAT, n_outer, 1, err);
}

static hone_status take_4bit(hone_unquantize_pass *pass, const hone_tensor *t, size_t stem_len, const char *state_name,
                             hone_error *err)
{
    struct four_bit *w = hone_arena_alloc(&pass->ckpt->arena, 1, sizeof *w);
    if (!w)
        return hone_fail_nomem(err, sizeof *w);
    *w = (struct four_bit){.base.unpack = unpack_4bit, .codes = *t};
    hone_tensor state;
    HONE_TRY(hone_part_take(pass, t, stem_len, state_name, &state, err));
    HONE_TRY(hone_part_take(pass, t, stem_len, "weight.absmax", &w->absmax, err));
    HONE_TRY(hone_part_take(pass, t, stem_len, "weight.quant_map", &w->map, err));
    hone_part_take_optional(pass, t, stem_len, "weight.nested_quant_map", &w->nested_map);
    if (w->nested_map.name)
        HONE_TRY(hone_part_take(pass, t, stem_len, "weight.nested_absmax", &w->nested_absmax, err));
    uint64_t out = 0, in = 0;
    HONE_TRY(read_state(pass->ckpt, &state, w, &out, &in, err));
    HONE_TRY(check_4bit(pass->ckpt, w, out, in, err));
    return hone_unquantize_put(pass, t, stem_len, out, in, &w->base, err);
}

static hone_status take_8bit(hone_unquantize_pass *pass, const hone_tensor *t, size_t stem_len, hone_error *err)
{
    const hone_checkpoint *ckpt = pass->ckpt;
    struct eight_bit *w = hone_arena_alloc(&pass->ckpt->arena, 1, sizeof *w);
    if (!w)
        return hone_fail_nomem(err, sizeof *w);
    *w = (struct eight_bit){.base.unpack = unpack_8bit, .codes = *t};
    uint64_t out, in;
    hone_tensor layout;
    HONE_TRY(hone_part_take(pass, t, stem_len, "SCB", &w->scales, err));
    HONE_TRY(hone_part_matrix(ckpt, t, HONE_DTYPE_BIT(HONE_I8), &out, &in, err));
    HONE_TRY(hone_part_expect(ckpt, &w->scales, HONE_DTYPES_FLOAT, out, 1, err));
    hone_part_take_optional(pass, t, stem_len, "weight_format", &layout);
    if (layout.name) {
        uint8_t code;
        HONE_TRY(hone_part_expect(ckpt, &layout, HONE_DTYPE_BIT(HONE_U8), 1, 1, err));
        HONE_TRY(hone_checkpoint_read(ckpt, &layout, 0, 1, &code, err));
        if (code != 0)
            return hone_part_fail(ckpt, &layout, err, HONE_ERROR_UNSUPPORTED, "the int8 tile layout %u is not handled",
                                  code);
    }
    return hone_unquantize_put(pass, t, stem_len, out, in, &w->base, err);
}

static hone_status take(hone_unquantize_pass *pass, const hone_tensor *t, hone_error *err)
{
    static const char *const states[] = {"weight.quant_state.bitsandbytes__nf4",
                                         "weight.quant_state.bitsandbytes__fp4"};
    size_t stem_len;
    if (!hone_part_stem(t->name, "weight", &stem_len))
        return HONE_OK;
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
        if (hone_part_find(pass, t->name, stem_len, states[i]))
            return take_4bit(pass, t, stem_len, states[i], err);
    if (t->dtype == HONE_I8 && hone_part_find(pass, t->name, stem_len, "SCB"))
        return take_8bit(pass, t, stem_len, err);
    return HONE_OK;
}

const hone_unquantize_method hone_unquantize_bnb = {.take = take};
