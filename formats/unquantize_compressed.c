/* SPDX-License-Identifier: MIT */
/*
 * compressed-tensors.
 *
 *   pack-quantized:   P.weight_packed i32 [out, words], u = q + 2^(bits - 1) from the low bit up; P.weight_scale
 *                     [out, groups]; P.weight_shape i64 [2]; P.weight_zero_point i32 [words, groups], packed down the
 *                     columns, if asymmetric; P.weight_g_idx i32 [in] if columns were reordered. w = (q - zero) * scale
 *   float-quantized, int-quantized, naive-quantized: P.weight F8_E4M3 or i8, P.weight_scale, P.weight_zero_point
 *   nvfp4-pack-quantized: P.weight_packed u8 [out, in / 2] of E2M1, P.weight_scale F8_E4M3 [out, in / 16],
 *                     P.weight_global_scale f32, which divides
 *   mxfp4-pack-quantized: the same nibbles, P.weight_scale u8 [out, in / 32], E8M0
 *   mxfp8-quantized:  P.weight F8_E4M3, P.weight_scale u8 [out, in / 32], E8M0
 *
 * Until mid-2026 3, 5, 6 and 7 bit codes did not straddle words: 32 / bits of them to a word. Since then they are a
 * dense stream. The number of words tells. The config holds schemes for sets of layers, named by pattern; a layer's
 * scheme is the first one its parts fit.
 * Source: vllm-project/compressed-tensors, compressors/, quantization/lifecycle/forward.py.
 */
#include <string.h>

#include "base/cursor.h"
#include "base/fail.h"
#include "formats/bit_stream.h"
#include "formats/unquantize.h"

enum { MAX_SCHEMES = 64, NVFP4_GROUP = 16, MX_GROUP = 32 };

struct scheme {
    unsigned bits;
    bool is_float;
    uint64_t block_rows, block_cols; /* elements that share a scale; 0: all */
};

struct settings {
    size_t n;
    struct scheme schemes[MAX_SCHEMES];
};

struct packed {
    hone_unquantizer base;
    hone_tensor codes, scales, zeros, order;
    unsigned bits;
    bool by_word; /* codes do not straddle words */
    size_t group, n_groups;
};

static hone_status check_format(const hone_unquantize_pass *pass, const json_t *object, hone_error *err)
{
    static const char *const known[] = {"pack-quantized",  "float-quantized",      "int-quantized",
                                        "naive-quantized", "nvfp4-pack-quantized", "mxfp4-pack-quantized",
                                        "mxfp8-quantized", "mixed-precision",      "dense"};
    const char *name = json_string_value(json_object_get(object, "format"));
    if (!name)
        return HONE_OK;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(name, known[i]) == 0)
            return HONE_OK;
    return hone_quant_config_fail(pass, err, HONE_ERROR_UNSUPPORTED, "format",
                                  "the compressed-tensors format \"%s\" is not handled", name);
}

static hone_status read_block(const hone_unquantize_pass *pass, const json_t *weights, struct scheme *s,
                              hone_error *err)
{
    const char *strategy = json_string_value(json_object_get(weights, "strategy"));
    int64_t group = 0;
    HONE_TRY(hone_quant_config_int(pass, weights, "group_size", -1, INT32_MAX, &group, err));
    if (!strategy)
        strategy = group > 0 ? "group" : group < 0 ? "channel" : "tensor";
    s->block_rows = 1;
    if (strcmp(strategy, "tensor") == 0) {
        s->block_rows = 0;
    } else if (strcmp(strategy, "group") == 0 || strcmp(strategy, "tensor_group") == 0) {
        s->block_cols = group > 0 ? (uint64_t)group : 0;
    } else if (strcmp(strategy, "block") == 0) {
        const json_t *size = json_object_get(weights, "block_structure");
        const json_int_t rows = json_integer_value(json_array_get(size, 0));
        const json_int_t cols = json_integer_value(json_array_get(size, 1));
        if (json_array_size(size) != 2 || rows <= 0 || cols <= 0)
            return hone_quant_config_fail(pass, err, HONE_ERROR_DATA, "block_structure", "not two counts");
        s->block_rows = (uint64_t)rows;
        s->block_cols = (uint64_t)cols;
    } else if (strcmp(strategy, "channel") != 0) {
        return hone_quant_config_fail(pass, err, HONE_ERROR_UNSUPPORTED, "strategy",
                                      "the strategy \"%s\" is not handled for weights", strategy);
    }
    return HONE_OK;
}

static hone_status read_scheme(const hone_unquantize_pass *pass, const json_t *group, struct settings *out,
                               hone_error *err)
{
    HONE_TRY(check_format(pass, group, err));
    const json_t *weights = json_object_get(group, "weights");
    if (!json_is_object(weights))
        return HONE_OK; /* quantizes activations only */
    if (out->n == MAX_SCHEMES)
        return hone_quant_config_fail(pass, err, HONE_ERROR_LIMIT, "config_groups", "more than %d groups", MAX_SCHEMES);
    struct scheme *s = &out->schemes[out->n];
    int64_t bits = 8;
    HONE_TRY(hone_quant_config_int(pass, weights, "num_bits", 1, 16, &bits, err));
    const char *type = json_string_value(json_object_get(weights, "type"));
    s->bits = (unsigned)bits;
    s->is_float = type && strcmp(type, "float") == 0;
    if (s->bits > 8 || (s->is_float && s->bits != 4 && s->bits != 8))
        return hone_quant_config_fail(pass, err, HONE_ERROR_UNSUPPORTED, "num_bits",
                                      "%s codes of %u bits are not handled", s->is_float ? "float" : "int", s->bits);
    HONE_TRY(read_block(pass, weights, s, err));
    out->n++;
    return HONE_OK;
}

static hone_status prepare(hone_unquantize_pass *pass, hone_error *err)
{
    struct settings *s = hone_arena_alloc(&pass->ckpt->arena, 1, sizeof *s);
    if (!s)
        return hone_fail_nomem(err, sizeof *s);
    memset(s, 0, sizeof *s);
    HONE_TRY(check_format(pass, pass->config, err));
    const char *sparse = json_string_value(json_object_get(json_object_get(pass->config, "sparsity_config"), "format"));
    if (sparse && strcmp(sparse, "dense") != 0)
        return hone_quant_config_fail(pass, err, HONE_ERROR_UNSUPPORTED, "sparsity_config",
                                      "the sparse format \"%s\" is not handled", sparse);
    const char *name;
    json_t *group, *groups = json_object_get(pass->config, "config_groups");
    json_object_foreach(groups, name, group) HONE_TRY(read_scheme(pass, group, s, err));
    pass->settings = s;
    return HONE_OK;
}

static uint64_t n_words(uint64_t n, unsigned bits, bool by_word)
{
    return by_word ? (n + 32 / bits - 1) / (32 / bits) : (n * bits + 31) / 32;
}

static uint64_t n_blocks(uint64_t n, uint64_t block)
{
    return block == 0 || block > n ? 1 : (n + block - 1) / block;
}

/* --- pack-quantized ---------------------------------------------------------------------------------------------- */

/* zero[r * n_groups + g], from words packed down the columns. */
static hone_status load_zeros(const hone_checkpoint *ckpt, const struct packed *w, size_t row, size_t nrows,
                              hone_arena *scratch, float *zero, hone_error *err)
{
    const size_t per_word = 32 / w->bits, n_groups = w->n_groups;
    const size_t first = w->by_word ? row / per_word : row * w->bits / 32;
    const size_t end = (size_t)n_words(row + nrows, w->bits, w->by_word);
    uint32_t *words = hone_arena_alloc(scratch, (end - first) * n_groups, sizeof *words);
    if (!words)
        return hone_fail_nomem(err, (end - first) * n_groups * sizeof *words);
    HONE_TRY(hone_checkpoint_read(ckpt, &w->zeros, first * n_groups * sizeof *words,
                                  (end - first) * n_groups * sizeof *words, words, err));
    for (size_t r = 0; r < nrows; r++) {
        const size_t at = w->by_word ? (row + r) / per_word * 32 + (row + r) % per_word * w->bits : (row + r) * w->bits;
        const size_t word = at / 32 - first;
        for (size_t g = 0; g < n_groups; g++) {
            uint32_t pair[2] = {words[word * n_groups + g], 0};
            if (at % 32 + w->bits > 32)
                pair[1] = words[(word + 1) * n_groups + g];
            zero[r * n_groups + g] = (float)hone_bits_get(pair, at % 32, w->bits);
        }
    }
    return HONE_OK;
}

static hone_status unpack_rows(const hone_checkpoint *ckpt, const struct packed *w, size_t row, size_t nrows,
                               float *dst, hone_arena *scratch, hone_error *err)
{
    const size_t n_cols = w->base.n_cols, table = nrows * w->n_groups;
    const size_t row_nbytes = (size_t)n_words(n_cols, w->bits, w->by_word) * sizeof(uint32_t);
    uint8_t *words = hone_arena_alloc(scratch, nrows, row_nbytes), *codes = hone_arena_alloc(scratch, n_cols, 1);
    uint32_t *group_of = hone_arena_alloc(scratch, n_cols, sizeof *group_of);
    float *scale = hone_arena_alloc(scratch, table, sizeof *scale),
          *zero = hone_arena_alloc(scratch, table, sizeof *zero);
    if (!words || !codes || !group_of || !scale || !zero)
        return hone_fail_nomem(err, nrows * row_nbytes);
    HONE_TRY(hone_checkpoint_read(ckpt, &w->codes, row * row_nbytes, nrows * row_nbytes, words, err));
    HONE_TRY(
        hone_part_groups(ckpt, &w->order, HONE_ORDER_UNSET_IS_NEGATIVE, n_cols, w->group, w->n_groups, group_of, err));
    HONE_TRY(hone_part_floats(ckpt, &w->scales, w->scales.dtype, row * w->n_groups, table, scale, err));
    /* Codes and zeros carry the same offset; without zeros it is the zero. */
    if (w->zeros.name)
        HONE_TRY(load_zeros(ckpt, w, row, nrows, scratch, zero, err));
    else
        for (size_t i = 0; i < table; i++)
            zero[i] = (float)(1u << (w->bits - 1));
    for (size_t r = 0; r < nrows; r++) {
        if (w->by_word)
            hone_bits_unpack_words(words + r * row_nbytes, n_cols, w->bits, codes);
        else
            hone_bits_unpack(words + r * row_nbytes, n_cols, w->bits, codes);
        hone_unquantize_grid(codes, n_cols, group_of, scale + r * w->n_groups, zero + r * w->n_groups,
                             dst + r * n_cols);
    }
    return HONE_OK;
}

static hone_status unpack(const hone_checkpoint *ckpt, const hone_unquantizer *self, size_t row, size_t nrows,
                          float *dst, hone_error *err)
{
    hone_arena scratch = {0};
    const hone_status status = unpack_rows(ckpt, (const struct packed *)self, row, nrows, dst, &scratch, err);
    hone_arena_deinit(&scratch);
    return status;
}

/* The shape is data: the words of a row do not tell how many codes of the last one count. */
static hone_status read_shape(const hone_checkpoint *ckpt, const hone_tensor *shape, uint64_t *out, uint64_t *in,
                              hone_error *err)
{
    uint8_t raw[16];
    const bool wide = shape->dtype == HONE_I64;
    HONE_TRY(hone_part_expect(ckpt, shape, HONE_DTYPE_BIT(HONE_I64) | HONE_DTYPE_BIT(HONE_I32), 2, 1, err));
    HONE_TRY(hone_checkpoint_read(ckpt, shape, 0, wide ? 16 : 8, raw, err));
    *out = wide ? hone_load_u64(raw) : hone_load_u32(raw);
    *in = wide ? hone_load_u64(raw + 8) : hone_load_u32(raw + 4);
    if (*out == 0 || *in == 0 || *out >> 40 || *in >> 40)
        return hone_part_fail(ckpt, shape, err, HONE_ERROR_DATA, "says [%lld, %lld]", (long long)*out, (long long)*in);
    return HONE_OK;
}

static bool scheme_fits(const struct scheme *s, bool by_word, uint64_t words, uint64_t groups, uint64_t out,
                        uint64_t in)
{
    return !s->is_float && s->block_rows == 1 && words == n_words(in, s->bits, by_word) &&
           groups == n_blocks(in, s->block_cols) && out > 0;
}

static hone_status choose_scheme(const hone_unquantize_pass *pass, const struct settings *settings, struct packed *w,
                                 uint64_t out, uint64_t in, hone_error *err)
{
    uint64_t rows, words, scale_rows, groups;
    HONE_TRY(hone_part_matrix(pass->ckpt, &w->codes, HONE_DTYPES_WORD, &rows, &words, err));
    HONE_TRY(hone_part_matrix(pass->ckpt, &w->scales, HONE_DTYPES_FLOAT, &scale_rows, &groups, err));
    if (rows != out)
        return hone_part_fail(pass->ckpt, &w->codes, err, HONE_ERROR_DATA, "%llu rows; weight_shape says %llu",
                              (unsigned long long)rows, (unsigned long long)out);
    for (int by_word = 0; by_word < 2; by_word++)
        for (size_t i = 0; i < settings->n; i++) {
            const struct scheme *s = &settings->schemes[i];
            if (!scheme_fits(s, by_word, words, groups, out, in))
                continue;
            w->bits = s->bits;
            w->by_word = by_word;
            w->group = (size_t)(s->block_cols == 0 || s->block_cols > in ? in : s->block_cols);
            w->n_groups = (size_t)groups;
            return hone_part_expect(pass->ckpt, &w->scales, HONE_DTYPES_FLOAT, out, groups, err);
        }
    return hone_part_fail(pass->ckpt, &w->codes, err, HONE_ERROR_DATA,
                          "rows of %llu words and %llu scales for %llu columns fit no scheme of the config",
                          (unsigned long long)words, (unsigned long long)groups, (unsigned long long)in);
}

static hone_status take_packed(hone_unquantize_pass *pass, const hone_tensor *t, size_t stem_len, hone_error *err)
{
    struct packed *w = hone_arena_alloc(&pass->ckpt->arena, 1, sizeof *w);
    if (!w)
        return hone_fail_nomem(err, sizeof *w);
    *w = (struct packed){.base.unpack = unpack, .codes = *t};
    hone_tensor shape;
    uint64_t out, in;
    HONE_TRY(hone_part_take(pass, t, stem_len, "weight_scale", &w->scales, err));
    HONE_TRY(hone_part_take(pass, t, stem_len, "weight_shape", &shape, err));
    hone_part_take_optional(pass, t, stem_len, "weight_zero_point", &w->zeros);
    hone_part_take_optional(pass, t, stem_len, "weight_g_idx", &w->order);
    HONE_TRY(read_shape(pass->ckpt, &shape, &out, &in, err));
    HONE_TRY(choose_scheme(pass, pass->settings, w, out, in, err));
    if (w->zeros.name)
        HONE_TRY(hone_part_expect(pass->ckpt, &w->zeros, HONE_DTYPES_WORD, n_words(out, w->bits, w->by_word),
                                  w->n_groups, err));
    if (w->order.name)
        HONE_TRY(hone_part_expect(pass->ckpt, &w->order, HONE_DTYPE_BIT(HONE_I32), in, 1, err));
    return hone_unquantize_put(pass, t, stem_len, out, in, &w->base, err);
}

/* --- floats and plain integers ----------------------------------------------------------------------------------- */

static hone_status take_fp4(hone_unquantize_pass *pass, const hone_tensor *t, size_t stem_len, hone_error *err)
{
    hone_scaled_weight w = {.codes = *t, .elem = HONE_INVALID, .block_rows = 1};
    hone_tensor shape;
    HONE_TRY(hone_part_take(pass, t, stem_len, "weight_scale", &w.scales, err));
    hone_part_take_optional(pass, t, stem_len, "weight_global_scale", &w.global);
    hone_part_take_optional(pass, t, stem_len, "weight_shape", &shape);
    if (w.global.name) {
        w.scale = HONE_F8_E4M3;
        w.join = HONE_GLOBAL_DIVIDES;
        w.block_cols = NVFP4_GROUP;
    } else {
        w.scale = HONE_F8_E8M0;
        w.block_cols = MX_GROUP;
    }
    uint64_t nbytes;
    HONE_TRY(hone_part_matrix(pass->ckpt, t, HONE_DTYPE_BIT(HONE_U8), &w.out, &nbytes, err));
    w.in = 2 * nbytes;
    return hone_unquantize_scaled(pass, t, stem_len, &w, err);
}

/* The block of the first scheme for such elements whose number of scales is right. */
static hone_status choose_block(const hone_unquantize_pass *pass, hone_scaled_weight *w, hone_error *err)
{
    const struct settings *settings = pass->settings;
    uint64_t rows, cols;
    const uint64_t dtypes = HONE_DTYPES_FLOAT | HONE_DTYPE_BIT(HONE_U8) | HONE_DTYPE_BIT(HONE_F8_E8M0);
    HONE_TRY(hone_part_matrix(pass->ckpt, &w->scales, dtypes, &rows, &cols, err));
    for (size_t i = 0; i < settings->n; i++) {
        const struct scheme *s = &settings->schemes[i];
        if (s->is_float != (w->elem != HONE_I8) || n_blocks(w->out, s->block_rows) != rows ||
            n_blocks(w->in, s->block_cols) != cols)
            continue;
        w->block_rows = s->block_rows;
        w->block_cols = s->block_cols;
        return HONE_OK;
    }
    return hone_part_fail(pass->ckpt, &w->scales, err, HONE_ERROR_DATA,
                          "[%llu, %llu] scales for a weight of [%llu, %llu] fit no scheme of the config",
                          (unsigned long long)rows, (unsigned long long)cols, (unsigned long long)w->out,
                          (unsigned long long)w->in);
}

static hone_status take_plain(hone_unquantize_pass *pass, const hone_tensor *t, size_t stem_len, hone_error *err)
{
    hone_scaled_weight w = {.codes = *t, .elem = t->dtype};
    HONE_TRY(hone_part_take(pass, t, stem_len, "weight_scale", &w.scales, err));
    hone_part_take_optional(pass, t, stem_len, "weight_zero_point", &w.zeros);
    HONE_TRY(hone_part_matrix(pass->ckpt, t, HONE_DTYPES_F8 | HONE_DTYPE_BIT(HONE_I8), &w.out, &w.in, err));
    w.scale = w.scales.dtype == HONE_U8 ? HONE_F8_E8M0 : w.scales.dtype;
    HONE_TRY(choose_block(pass, &w, err));
    return hone_unquantize_scaled(pass, t, stem_len, &w, err);
}

static hone_status take(hone_unquantize_pass *pass, const hone_tensor *t, hone_error *err)
{
    size_t stem_len;
    if (hone_part_stem(t->name, "weight_packed", &stem_len))
        return t->dtype == HONE_U8 ? take_fp4(pass, t, stem_len, err) : take_packed(pass, t, stem_len, err);
    const uint32_t plain = HONE_DTYPES_F8 | HONE_DTYPE_BIT(HONE_I8);
    if (hone_part_stem(t->name, "weight", &stem_len) && (plain & HONE_DTYPE_BIT(t->dtype)) &&
        hone_part_find(pass, t->name, stem_len, "weight_scale"))
        return take_plain(pass, t, stem_len, err);
    return HONE_OK;
}

const hone_unquantize_method hone_unquantize_compressed = {.prepare = prepare, .take = take};
