/* SPDX-License-Identifier: MIT */
/*
 * Weights of 8-bit floats, 4-bit floats and 8-bit integers with a scale per block of rows and columns.
 *
 *   fp8, fbgemm_fp8: P.weight F8_E4M3 [out, in], P.weight_scale_inv or P.weight_scale: a scalar, [out, 1], or one per
 *                    weight_block_size; w = element * scale (the name says how it was made, not how it is used)
 *   modelopt FP8:    P.weight F8_E4M3, P.weight_scale
 *   modelopt NVFP4:  P.weight u8 [out, in / 2] of E2M1, P.weight_scale F8_E4M3 [out, in / 16], P.weight_scale_2 f32
 *
 *   E2M1  s ee m: 0 0.5 1 1.5 2 3 4 6
 *
 * A scale of the whole tensor joins the block's in f32 before the element does, as every reference computes it.
 * Sources: huggingface/transformers integrations/finegrained_fp8.py, NVIDIA/TensorRT-Model-Optimizer nvfp4_tensor.py,
 * vllm-project/compressed-tensors quantization/lifecycle/forward.py.
 */
#include <math.h>
#include <string.h>

#include "base/fail.h"
#include "formats/decode.h"
#include "formats/unquantize.h"

enum { NVFP4_GROUP = 16 };

struct scaled {
    hone_unquantizer base;
    hone_scaled_weight w;
    size_t scale_cols;
};

static void decode_e2m1(const uint8_t *src, float *dst, size_t n)
{
    static const float values[16] = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                     -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};
    for (size_t i = 0; i < n; i++)
        dst[i] = values[src[i / 2] >> 4 * (i % 2) & 15];
}

static hone_status join_global(const hone_checkpoint *ckpt, const hone_scaled_weight *w, float *scale, size_t n,
                               hone_error *err)
{
    float global;
    if (w->join == HONE_GLOBAL_NONE)
        return HONE_OK;
    HONE_TRY(hone_part_floats(ckpt, &w->global, w->global.dtype, 0, 1, &global, err));
    if (!isfinite(global) || global == 0)
        return hone_part_fail(ckpt, &w->global, err, HONE_ERROR_DATA, "a scale that is zero or not finite");
    for (size_t i = 0; i < n; i++)
        scale[i] = w->join == HONE_GLOBAL_DIVIDES ? scale[i] / global : scale[i] * global;
    return HONE_OK;
}

static void scale_row(const struct scaled *s, const float *scale, const float *zero, float *row)
{
    const size_t n_cols = s->base.n_cols, step = s->w.block_cols;
    for (size_t b = 0, i = 0; i < n_cols; b++)
        for (size_t end = n_cols - i < step ? n_cols : i + step; i < end; i++)
            row[i] = (zero ? row[i] - zero[b] : row[i]) * scale[b];
}

static hone_status unpack_rows(const hone_checkpoint *ckpt, const struct scaled *s, size_t row, size_t nrows,
                               float *dst, hone_arena *scratch, hone_error *err)
{
    const hone_scaled_weight *w = &s->w;
    const size_t n_cols = s->base.n_cols, row_nbytes = w->elem == HONE_INVALID ? n_cols / 2 : n_cols;
    const size_t first = row / w->block_rows,
                 n_scales = ((row + nrows - 1) / w->block_rows + 1 - first) * s->scale_cols;
    uint8_t *raw = hone_arena_alloc(scratch, nrows, row_nbytes);
    float *scale = hone_arena_alloc(scratch, n_scales, sizeof *scale);
    float *zero = w->zeros.name ? hone_arena_alloc(scratch, n_scales, sizeof *zero) : NULL;
    if (!raw || !scale || (w->zeros.name && !zero))
        return hone_fail_nomem(err, nrows * row_nbytes);
    HONE_TRY(hone_checkpoint_read(ckpt, &w->codes, row * row_nbytes, nrows * row_nbytes, raw, err));
    HONE_TRY(hone_part_floats(ckpt, &w->scales, w->scale, first * s->scale_cols, n_scales, scale, err));
    if (zero)
        HONE_TRY(hone_part_floats(ckpt, &w->zeros, w->zeros.dtype, first * s->scale_cols, n_scales, zero, err));
    HONE_TRY(join_global(ckpt, w, scale, n_scales, err));
    if (w->elem == HONE_INVALID)
        decode_e2m1(raw, dst, nrows * n_cols);
    else
        hone_decoder(w->elem, HONE_CPU_REF)(raw, dst, nrows * n_cols);
    for (size_t r = 0; r < nrows; r++) {
        const size_t at = ((row + r) / w->block_rows - first) * s->scale_cols;
        scale_row(s, scale + at, zero ? zero + at : NULL, dst + r * n_cols);
    }
    return HONE_OK;
}

static hone_status unpack(const hone_checkpoint *ckpt, const hone_unquantizer *self, size_t row, size_t nrows,
                          float *dst, hone_error *err)
{
    hone_arena scratch = {0};
    const hone_status status = unpack_rows(ckpt, (const struct scaled *)self, row, nrows, dst, &scratch, err);
    hone_arena_deinit(&scratch);
    return status;
}

hone_status hone_unquantize_scaled(hone_unquantize_pass *pass, const hone_tensor *t, size_t stem_len,
                                   const hone_scaled_weight *w, hone_error *err)
{
    const hone_checkpoint *ckpt = pass->ckpt;
    struct scaled *s = hone_arena_alloc(&pass->ckpt->arena, 1, sizeof *s);
    if (!s)
        return hone_fail_nomem(err, sizeof *s);
    *s = (struct scaled){.base.unpack = unpack, .w = *w};
    if (w->block_rows == 0 || w->block_rows > w->out)
        s->w.block_rows = w->out;
    if (w->block_cols == 0 || w->block_cols > w->in)
        s->w.block_cols = w->in;
    if (w->out == 0 || w->in == 0)
        return hone_part_fail(ckpt, t, err, HONE_ERROR_DATA, "a weight without elements");
    const uint64_t rows = (w->out + s->w.block_rows - 1) / s->w.block_rows;
    const uint64_t cols = (w->in + s->w.block_cols - 1) / s->w.block_cols;
    const bool retyped = w->scale != w->scales.dtype; /* 8-bit floats stored as bytes */
    const uint64_t dtypes =
        retyped ? HONE_DTYPE_BIT(HONE_U8) : HONE_DTYPES_FLOAT | HONE_DTYPES_F8 | HONE_DTYPE_BIT(HONE_F8_E8M0);
    HONE_TRY(hone_part_expect(ckpt, &w->scales, dtypes, rows, cols, err));
    if (w->zeros.name)
        HONE_TRY(hone_part_expect(ckpt, &w->zeros, HONE_DTYPE_BIT(HONE_I8) | HONE_DTYPES_FLOAT, rows, cols, err));
    if (w->join != HONE_GLOBAL_NONE)
        HONE_TRY(hone_part_expect(ckpt, &w->global, HONE_DTYPES_FLOAT, 1, 1, err));
    s->scale_cols = (size_t)cols;
    return hone_unquantize_put(pass, t, stem_len, w->out, w->in, &s->base, err);
}

struct block_size {
    int64_t rows, cols; /* 0: no blocks */
};

static hone_status prepare_fp8(hone_unquantize_pass *pass, hone_error *err)
{
    struct block_size *s = hone_arena_alloc(&pass->ckpt->arena, 1, sizeof *s);
    if (!s)
        return hone_fail_nomem(err, sizeof *s);
    *s = (struct block_size){0};
    pass->settings = s;
    const json_t *size = json_object_get(pass->config, "weight_block_size");
    if (!size || json_is_null(size))
        return HONE_OK;
    s->rows = json_integer_value(json_array_get(size, 0));
    s->cols = json_integer_value(json_array_get(size, 1));
    if (json_array_size(size) != 2 || s->rows <= 0 || s->cols <= 0)
        return hone_quant_config_fail(pass, err, HONE_ERROR_DATA, "weight_block_size", "not two counts");
    return HONE_OK;
}

/* One scale of the tensor, one per row, or one per block. */
static void choose_block(hone_scaled_weight *w, const struct block_size *size)
{
    if (w->scales.nelems == 1)
        return;
    const bool per_row = w->scales.nelems == w->out && w->scales.n_dims > 0 && w->scales.shape[0] == w->out;
    w->block_rows = per_row || size->rows == 0 ? 1 : (uint64_t)size->rows;
    w->block_cols = per_row ? 0 : (uint64_t)size->cols;
}

static hone_status take_fp8(hone_unquantize_pass *pass, const hone_tensor *t, hone_error *err)
{
    size_t stem_len;
    if (!hone_part_stem(t->name, "weight", &stem_len) || !(HONE_DTYPES_F8 & HONE_DTYPE_BIT(t->dtype)))
        return HONE_OK;
    hone_scaled_weight w = {.codes = *t, .elem = t->dtype};
    hone_part_take_optional(pass, t, stem_len, "weight_scale_inv", &w.scales);
    if (!w.scales.name)
        HONE_TRY(hone_part_take(pass, t, stem_len, "weight_scale", &w.scales, err));
    HONE_TRY(hone_part_matrix(pass->ckpt, t, HONE_DTYPES_F8, &w.out, &w.in, err));
    w.scale = w.scales.dtype;
    choose_block(&w, pass->settings);
    return hone_unquantize_scaled(pass, t, stem_len, &w, err);
}

static hone_status prepare_modelopt(hone_unquantize_pass *pass, hone_error *err)
{
    static const char *const known[] = {"FP8", "NVFP4", "MIXED_PRECISION"};
    static const struct block_size no_blocks;
    const char *algorithm = json_string_value(json_object_get(pass->config, "quant_algo"));
    pass->settings = &no_blocks;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (!algorithm || strcmp(algorithm, known[i]) == 0)
            return HONE_OK;
    return hone_quant_config_fail(pass, err, HONE_ERROR_UNSUPPORTED, "quant_algo",
                                  "the ModelOpt algorithm \"%s\" is not handled", algorithm);
}

static hone_status take_modelopt(hone_unquantize_pass *pass, const hone_tensor *t, hone_error *err)
{
    size_t stem_len;
    if (t->dtype != HONE_U8 || !hone_part_stem(t->name, "weight", &stem_len))
        return take_fp8(pass, t, err);
    if (!hone_part_find(pass, t->name, stem_len, "weight_scale"))
        return HONE_OK;
    hone_scaled_weight w = {.codes = *t,
                            .elem = HONE_INVALID,
                            .scale = HONE_F8_E4M3,
                            .join = HONE_GLOBAL_MULTIPLIES,
                            .block_rows = 1,
                            .block_cols = NVFP4_GROUP};
    HONE_TRY(hone_part_take(pass, t, stem_len, "weight_scale", &w.scales, err));
    HONE_TRY(hone_part_take(pass, t, stem_len, "weight_scale_2", &w.global, err));
    uint64_t nbytes;
    HONE_TRY(hone_part_matrix(pass->ckpt, t, HONE_DTYPE_BIT(HONE_U8), &w.out, &nbytes, err));
    w.in = 2 * nbytes;
    return hone_unquantize_scaled(pass, t, stem_len, &w, err);
}

const hone_unquantize_method hone_unquantize_fp8 = {.prepare = prepare_fp8, .take = take_fp8};
const hone_unquantize_method hone_unquantize_modelopt = {.prepare = prepare_modelopt, .take = take_modelopt};
