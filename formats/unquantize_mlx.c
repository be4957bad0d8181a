/* SPDX-License-Identifier: MIT */
/*
 * MLX: affine integers of 2, 3, 4, 5, 6 or 8 bits, and the float modes mxfp4, mxfp8, nvfp4.
 *
 *   P.weight u32 [out, in * bits / 32]    dense, from the low bit up
 *   P.scales, P.biases [out, in / group]  w = q * scale + bias
 *
 * The float modes have no biases and u8 scales: E8M0 for mxfp4 and mxfp8, E4M3 for nvfp4.
 * The config holds group_size, bits and mode, and an object of its own for a layer that deviates.
 * Source: ml-explore/mlx, mlx/backend/cpu/quantized.cpp.
 */
#include <string.h>

#include "base/fail.h"
#include "formats/bit_stream.h"
#include "formats/unquantize.h"

enum { MAX_NAME = 1024 };

struct settings {
    int64_t bits, group;
    const char *mode; /* borrowed from the config */
};

struct affine {
    hone_unquantizer base;
    hone_tensor codes, scales, biases;
    unsigned bits;
    size_t group, n_groups;
};

static hone_status read_settings(const hone_unquantize_pass *pass, const json_t *object, struct settings *s,
                                 hone_error *err)
{
    HONE_TRY(hone_quant_config_int(pass, object, "bits", 1, 32, &s->bits, err));
    HONE_TRY(hone_quant_config_int(pass, object, "group_size", 1, INT32_MAX, &s->group, err));
    const json_t *mode = json_object_get(object, "mode");
    if (json_is_string(mode))
        s->mode = json_string_value(mode);
    return HONE_OK;
}

/* The config's own figures, overridden by those of the layer. */
static hone_status find_settings(const hone_unquantize_pass *pass, const char *stem, size_t stem_len,
                                 struct settings *out, hone_error *err)
{
    *out = (struct settings){.bits = 4, .group = 64, .mode = "affine"};
    HONE_TRY(read_settings(pass, pass->config, out, err));
    char module[MAX_NAME];
    if (stem_len == 0 || stem_len > sizeof module)
        return HONE_OK;
    memcpy(module, stem, stem_len - 1);
    module[stem_len - 1] = '\0';
    const json_t *own = json_object_get(pass->config, module);
    return json_is_object(own) ? read_settings(pass, own, out, err) : HONE_OK;
}

static hone_status unpack_rows(const hone_checkpoint *ckpt, const struct affine *w, size_t row, size_t nrows,
                               float *dst, hone_arena *scratch, hone_error *err)
{
    const size_t n_cols = w->base.n_cols, row_nbytes = n_cols * w->bits / 8, table = nrows * w->n_groups;
    uint8_t *packed = hone_arena_alloc(scratch, nrows, row_nbytes), *codes = hone_arena_alloc(scratch, n_cols, 1);
    float *scale = hone_arena_alloc(scratch, table, sizeof *scale);
    float *bias = hone_arena_alloc(scratch, table, sizeof *bias);
    if (!packed || !codes || !scale || !bias)
        return hone_fail_nomem(err, nrows * row_nbytes);
    HONE_TRY(hone_checkpoint_read(ckpt, &w->codes, row * row_nbytes, nrows * row_nbytes, packed, err));
    HONE_TRY(hone_part_floats(ckpt, &w->scales, w->scales.dtype, row * w->n_groups, table, scale, err));
    HONE_TRY(hone_part_floats(ckpt, &w->biases, w->biases.dtype, row * w->n_groups, table, bias, err));
    for (size_t r = 0; r < nrows; r++) {
        hone_bits_unpack(packed + r * row_nbytes, n_cols, w->bits, codes);
        for (size_t g = 0; g < w->n_groups; g++) {
            const float s = scale[r * w->n_groups + g], b = bias[r * w->n_groups + g];
            for (size_t i = g * w->group; i < (g + 1) * w->group; i++)
                dst[r * n_cols + i] = (float)codes[i] * s + b;
        }
    }
    return HONE_OK;
}

static hone_status unpack(const hone_checkpoint *ckpt, const hone_unquantizer *self, size_t row, size_t nrows,
                          float *dst, hone_error *err)
{
    hone_arena scratch = {0};
    const hone_status status = unpack_rows(ckpt, (const struct affine *)self, row, nrows, dst, &scratch, err);
    hone_arena_deinit(&scratch);
    return status;
}

static hone_status take_affine(hone_unquantize_pass *pass, const hone_tensor *t, size_t stem_len, uint64_t out,
                               uint64_t in, const struct settings *s, hone_error *err)
{
    struct affine *w = hone_arena_alloc(&pass->ckpt->arena, 1, sizeof *w);
    if (!w)
        return hone_fail_nomem(err, sizeof *w);
    *w = (struct affine){.base.unpack = unpack,
                         .codes = *t,
                         .bits = (unsigned)s->bits,
                         .group = (size_t)s->group,
                         .n_groups = in / s->group};
    HONE_TRY(hone_part_take(pass, t, stem_len, "scales", &w->scales, err));
    HONE_TRY(hone_part_take(pass, t, stem_len, "biases", &w->biases, err));
    HONE_TRY(hone_part_expect(pass->ckpt, &w->scales, HONE_DTYPES_FLOAT, out, w->n_groups, err));
    HONE_TRY(hone_part_expect(pass->ckpt, &w->biases, HONE_DTYPES_FLOAT, out, w->n_groups, err));
    return hone_unquantize_put(pass, t, stem_len, out, in, &w->base, err);
}

static hone_status take_float(hone_unquantize_pass *pass, const hone_tensor *t, size_t stem_len, uint64_t out,
                              uint64_t in, const struct settings *s, hone_error *err)
{
    hone_scaled_weight w = {
        .codes = *t, .out = out, .in = in, .block_rows = 1, .block_cols = (uint64_t)s->group, .scale = HONE_F8_E8M0};
    w.elem = s->bits == 8 ? HONE_F8_E4M3 : HONE_INVALID;
    if (strcmp(s->mode, "nvfp4") == 0)
        w.scale = HONE_F8_E4M3;
    HONE_TRY(hone_part_take(pass, t, stem_len, "scales", &w.scales, err));
    return hone_unquantize_scaled(pass, t, stem_len, &w, err);
}

static bool mode_has(const char *mode, int64_t bits)
{
    if (strcmp(mode, "affine") == 0)
        return (bits >= 2 && bits <= 6) || bits == 8;
    return strcmp(mode, "mxfp8") == 0 ? bits == 8 : bits == 4;
}

static hone_status take(hone_unquantize_pass *pass, const hone_tensor *t, hone_error *err)
{
    static const char *const modes[] = {"affine", "mxfp4", "mxfp8", "nvfp4"};
    const hone_checkpoint *ckpt = pass->ckpt;
    size_t stem_len;
    if (!hone_part_stem(t->name, "weight", &stem_len) || t->dtype != HONE_U32 ||
        !hone_part_find(pass, t->name, stem_len, "scales"))
        return HONE_OK;
    struct settings s;
    HONE_TRY(find_settings(pass, t->name, stem_len, &s, err));
    bool known = false;
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++)
        known |= strcmp(s.mode, modes[i]) == 0;
    if (!known || !mode_has(s.mode, s.bits))
        return hone_quant_config_fail(pass, err, HONE_ERROR_UNSUPPORTED, known ? "bits" : "mode",
                                      "MLX mode \"%s\" with %lld bits is not handled", s.mode, (long long)s.bits);
    uint64_t out, words;
    HONE_TRY(hone_part_matrix(ckpt, t, HONE_DTYPES_WORD, &out, &words, err));
    const uint64_t in = words * 32 / (uint64_t)s.bits;
    if (words * 32 % (uint64_t)s.bits != 0 || in % (uint64_t)s.group != 0)
        return hone_part_fail(ckpt, t, err, HONE_ERROR_DATA, "rows of %llu words are no groups of %lld %lld-bit codes",
                              (unsigned long long)words, (long long)s.group, (long long)s.bits);
    return strcmp(s.mode, "affine") == 0 ? take_affine(pass, t, stem_len, out, in, &s, err)
                                         : take_float(pass, t, stem_len, out, in, &s, err);
}

const hone_unquantize_method hone_unquantize_mlx = {.take = take};
