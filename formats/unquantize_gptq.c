/* SPDX-License-Identifier: MIT */
/*
 * GPTQ, versions 1 and 2, with 2, 3, 4 or 8 bits.
 *
 *   P.qweight i32 [in * bits / 32, out]     word k of column o: codes of inputs from k * 32 / bits on
 *   P.qzeros  i32 [groups, out * bits / 32] zeros, along out
 *   P.scales  f16 [groups, out]
 *   P.g_idx   i32 [in]                      group of each input; i / group_size if absent
 *
 * Codes and zeros are packed densely from the low bit up: 32 codes of 3 bits fill three words. w = scale * (q - zero).
 * Version 1 stores zero - 1 modulo 2^bits. Source: ModelCloud/GPTQModel, nn_modules/qlinear, utils/model.py.
 */
#include <string.h>

#include "base/fail.h"
#include "formats/bit_stream.h"
#include "formats/unquantize.h"

/* Words read at a time, per row; and at most so many scales and rows. */
enum { BLOCK_WORDS = 1 << 14, MAX_TABLE = 1 << 17, MAX_ROWS = 256, UNIT_CODES = 32 };

enum version { VERSION_UNKNOWN, VERSION_1, VERSION_2 };

struct settings {
    unsigned bits;
    int64_t group; /* -1: one group */
    enum version version;
    bool symmetric;
    bool dynamic;     /* layers may deviate from bits and group */
    bool word_borrow; /* version 1 zeros are the words of version 2 minus 0x1111..., borrows included */
};

struct gptq {
    hone_unquantizer base;
    hone_tensor codes, zeros, scales, order;
    unsigned bits;
    size_t group, n_groups;
    unsigned unit_words; /* whole words that hold whole codes */
    uint32_t add_to_word;
    unsigned add_to_zero;
};

static bool starts_with(const char *s, const char *prefix)
{
    return s && strncmp(s, prefix, strlen(prefix)) == 0;
}

static hone_status read_layout(const hone_unquantize_pass *pass, struct settings *s, hone_error *err)
{
    static const struct {
        const char *name;
        enum version version;
    } layouts[] = {{"gptq", VERSION_1}, {"gptq_v2", VERSION_2}};
    const char *key = "checkpoint_format";
    const json_t *value = json_object_get(pass->config, key);
    if (!value || json_is_null(value))
        value = json_object_get(pass->config, key = "format");
    if (json_is_true(json_object_get(pass->config, "is_marlin_format")))
        return hone_quant_config_fail(pass, err, HONE_ERROR_UNSUPPORTED, "is_marlin_format",
                                      "the GPTQ layout \"marlin\" is not handled");
    if (!value || json_is_null(value))
        return HONE_OK;
    const char *name = json_string_value(value);
    if (!name)
        return hone_quant_config_fail(pass, err, HONE_ERROR_DATA, key, "not a string");
    for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++)
        if (strcmp(name, layouts[i].name) == 0) {
            s->version = layouts[i].version;
            return HONE_OK;
        }
    return hone_quant_config_fail(pass, err, HONE_ERROR_UNSUPPORTED, key, "the GPTQ layout \"%s\" is not handled",
                                  name);
}

/* GPTQModel makes version 1 by subtracting from whole words, so a zero of 0 borrows from its neighbour; only 3-bit
 * zeros are treated one by one (utils/model.py, convert_gptq_v2_to_v1_format_module). */
static bool written_by_gptqmodel(const json_t *config)
{
    const json_t *quantizer = json_object_get(json_object_get(config, "meta"), "quantizer");
    if (json_is_array(quantizer))
        quantizer = json_array_get(quantizer, 0);
    return starts_with(json_string_value(quantizer), "gptqmodel");
}

static bool bits_are_handled(uint64_t bits)
{
    return bits == 2 || bits == 3 || bits == 4 || bits == 8;
}

static hone_status prepare(hone_unquantize_pass *pass, hone_error *err)
{
    struct settings *s = hone_arena_alloc(&pass->ckpt->arena, 1, sizeof *s);
    if (!s)
        return hone_fail_nomem(err, sizeof *s);
    int64_t bits = 4;
    *s = (struct settings){.group = 128};
    HONE_TRY(hone_quant_config_int(pass, pass->config, "bits", 1, 32, &bits, err));
    HONE_TRY(hone_quant_config_int(pass, pass->config, "group_size", -1, INT32_MAX, &s->group, err));
    if (s->group == 0)
        return hone_quant_config_fail(pass, err, HONE_ERROR_DATA, "group_size", "groups of 0 columns");
    if (!bits_are_handled((uint64_t)bits))
        return hone_quant_config_fail(pass, err, HONE_ERROR_UNSUPPORTED, "bits", "GPTQ with %lld bits is not handled",
                                      (long long)bits);
    const char *words = json_string_value(json_object_get(pass->config, "pack_dtype"));
    if (words && strcmp(words, "int32") != 0)
        return hone_quant_config_fail(pass, err, HONE_ERROR_UNSUPPORTED, "pack_dtype",
                                      "GPTQ codes in %s words are not handled", words);
    HONE_TRY(read_layout(pass, s, err));
    s->bits = (unsigned)bits;
    s->symmetric = !json_is_false(json_object_get(pass->config, "sym"));
    s->dynamic = json_object_size(json_object_get(pass->config, "dynamic")) > 0;
    s->word_borrow = written_by_gptqmodel(pass->config);
    pass->settings = s;
    return HONE_OK;
}

/* A file that does not tell its version does so by the zeros of a symmetric weight, all 2^(bits-1) in truth. */
static hone_status guess_version(const hone_unquantize_pass *pass, const struct settings *s, const struct gptq *w,
                                 enum version *out, hone_error *err)
{
    *out = s->version;
    if (s->version != VERSION_UNKNOWN)
        return HONE_OK;
    *out = VERSION_1;
    uint32_t words[3];
    const size_t n = w->unit_words; /* zeros come in whole units as well, checked before */
    if (!s->symmetric)
        return HONE_OK;
    HONE_TRY(hone_checkpoint_read(pass->ckpt, &w->zeros, 0, n * sizeof words[0], words, err));
    bool all_middle = true;
    for (size_t i = 0; i < 32 * n / w->bits; i++)
        all_middle &= hone_bits_get(words, i * w->bits, w->bits) == 1u << (w->bits - 1);
    *out = all_middle ? VERSION_2 : VERSION_1;
    return HONE_OK;
}

/* bits, group and number of groups of one layer; *in and *out its shape. */
static hone_status settle_shape(const hone_unquantize_pass *pass, const struct settings *s, struct gptq *w,
                                uint64_t *out, uint64_t *in, hone_error *err)
{
    const hone_checkpoint *ckpt = pass->ckpt;
    uint64_t word_rows, n_groups, zero_words;
    HONE_TRY(hone_part_matrix(ckpt, &w->codes, HONE_DTYPES_WORD, &word_rows, out, err));
    HONE_TRY(hone_part_matrix(ckpt, &w->zeros, HONE_DTYPES_WORD, &n_groups, &zero_words, err));
    uint64_t bits = s->bits;
    if (s->dynamic && zero_words * 32 % *out == 0)
        bits = zero_words * 32 / *out;
    if (!bits_are_handled(bits))
        return hone_part_fail(ckpt, &w->zeros, err, HONE_ERROR_UNSUPPORTED, "GPTQ with %llu bits is not handled",
                              (unsigned long long)bits);
    w->bits = (unsigned)bits;
    w->unit_words = bits == 3 ? 3 : 1;
    if (word_rows % w->unit_words != 0)
        return hone_part_fail(ckpt, &w->codes, err, HONE_ERROR_DATA,
                              "%llu rows of words do not hold whole %u-bit codes", (unsigned long long)word_rows,
                              w->bits);
    *in = word_rows * 32 / bits;
    const uint64_t group = s->group < 0 || (uint64_t)s->group > *in ? *in : (uint64_t)s->group;
    uint64_t expected_groups = (*in + group - 1) / group;
    if (s->dynamic && n_groups != expected_groups && *in % n_groups == 0)
        expected_groups = n_groups;
    if (*out * bits % 32 != 0)
        return hone_part_fail(ckpt, &w->codes, err, HONE_ERROR_DATA, "%llu outputs; their zeros do not fill words",
                              (unsigned long long)*out);
    HONE_TRY(hone_part_expect(ckpt, &w->zeros, HONE_DTYPES_WORD, expected_groups, *out * bits / 32, err));
    HONE_TRY(hone_part_expect(ckpt, &w->scales, HONE_DTYPES_FLOAT, expected_groups, *out, err));
    if (w->order.name)
        HONE_TRY(hone_part_expect(ckpt, &w->order, HONE_DTYPES_WORD, *in, 1, err));
    w->n_groups = (size_t)expected_groups;
    w->group = (size_t)((*in + group - 1) / group == expected_groups ? group : *in / expected_groups);
    return HONE_OK;
}

static void settle_zeros(const struct settings *s, enum version version, struct gptq *w)
{
    if (version == VERSION_2)
        return;
    if (s->word_borrow && w->bits != 3)
        for (unsigned at = 0; at < 32; at += w->bits)
            w->add_to_word |= 1u << at;
    else
        w->add_to_zero = 1;
}

/* *zero is [nrows][n_groups]. */
static hone_status load_zeros(const hone_checkpoint *ckpt, const struct gptq *w, size_t row, size_t nrows,
                              hone_arena *scratch, float *zero, hone_error *err)
{
    const size_t first = row * w->bits / 32, end = ((row + nrows) * w->bits + 31) / 32, n_words = end - first;
    const size_t row_words = w->base.n_rows * w->bits / 32;
    uint32_t *words = hone_arena_alloc(scratch, w->n_groups * n_words, sizeof *words);
    if (!words)
        return hone_fail_nomem(err, w->n_groups * n_words * sizeof *words);
    HONE_TRY(hone_part_rect(ckpt, &w->zeros, row_words * sizeof *words, 0, w->n_groups, first * sizeof *words,
                            n_words * sizeof *words, words, err));
    const unsigned mask = (1u << w->bits) - 1;
    for (size_t g = 0; g < w->n_groups; g++) {
        uint32_t *of_group = words + g * n_words;
        for (size_t i = 0; i < n_words; i++)
            of_group[i] += w->add_to_word;
        for (size_t o = 0; o < nrows; o++) {
            const unsigned z = hone_bits_get(of_group, (row + o) * w->bits - first * 32, w->bits) + w->add_to_zero;
            zero[o * w->n_groups + g] = (float)(z & mask);
        }
    }
    return HONE_OK;
}

struct tables {
    uint32_t *group_of, *words;
    float *scale, *zero, *column;
    uint8_t *codes;
    size_t block_units;
};

static hone_status load_tables(const hone_checkpoint *ckpt, const struct gptq *w, size_t row, size_t nrows,
                               hone_arena *scratch, struct tables *t, hone_error *err)
{
    const size_t table = nrows * w->n_groups, n_units = w->base.n_cols * w->bits / 32 / w->unit_words;
    t->block_units = BLOCK_WORDS / (w->unit_words * nrows) + 1;
    if (t->block_units > n_units)
        t->block_units = n_units;
    t->group_of = hone_arena_alloc(scratch, w->base.n_cols, sizeof *t->group_of);
    t->scale = hone_arena_alloc(scratch, table, sizeof *t->scale);
    t->zero = hone_arena_alloc(scratch, table, sizeof *t->zero);
    t->column = hone_arena_alloc(scratch, nrows, sizeof *t->column);
    t->words = hone_arena_alloc(scratch, t->block_units * w->unit_words * nrows, sizeof *t->words);
    t->codes = hone_arena_alloc(scratch, t->block_units * UNIT_CODES, 1);
    if (!t->group_of || !t->scale || !t->zero || !t->column || !t->words || !t->codes)
        return hone_fail_nomem(err, table * sizeof *t->scale);
    HONE_TRY(hone_part_groups(ckpt, &w->order, HONE_ORDER_UNSET_IS_ZERO, w->base.n_cols, w->group, w->n_groups,
                              t->group_of, err));
    HONE_TRY(hone_part_columns(ckpt, &w->scales, w->base.n_rows, w->n_groups, row, nrows, t->column, t->scale, err));
    return load_zeros(ckpt, w, row, nrows, scratch, t->zero, err);
}

/* Words lie [unit][word of the unit][row]. */
static void gather_codes(const struct gptq *w, const uint32_t *words, size_t n_units, size_t row, size_t nrows,
                         uint8_t *codes)
{
    const size_t per_unit = 32 * w->unit_words / w->bits;
    for (size_t u = 0; u < n_units; u++) {
        uint32_t unit[3];
        for (unsigned i = 0; i < w->unit_words; i++)
            unit[i] = words[(u * w->unit_words + i) * nrows + row];
        hone_bits_unpack(unit, per_unit, w->bits, codes + u * per_unit);
    }
}

static hone_status unpack_rows(const hone_checkpoint *ckpt, const struct gptq *w, size_t row, size_t nrows, float *dst,
                               hone_arena *scratch, hone_error *err)
{
    struct tables t;
    HONE_TRY(load_tables(ckpt, w, row, nrows, scratch, &t, err));
    const size_t n_cols = w->base.n_cols, per_unit = 32 * w->unit_words / w->bits, n_units = n_cols / per_unit;
    for (size_t u = 0; u < n_units; u += t.block_units) {
        const size_t n = n_units - u < t.block_units ? n_units - u : t.block_units, col = u * per_unit;
        HONE_TRY(hone_part_rect(ckpt, &w->codes, w->base.n_rows * sizeof *t.words, u * w->unit_words, n * w->unit_words,
                                row * sizeof *t.words, nrows * sizeof *t.words, t.words, err));
        for (size_t o = 0; o < nrows; o++) {
            gather_codes(w, t.words, n, o, nrows, t.codes);
            hone_unquantize_grid(t.codes, n * per_unit, t.group_of + col, t.scale + o * w->n_groups,
                                 t.zero + o * w->n_groups, dst + o * n_cols + col);
        }
    }
    return HONE_OK;
}

static hone_status unpack(const hone_checkpoint *ckpt, const hone_unquantizer *self, size_t row, size_t nrows,
                          float *dst, hone_error *err)
{
    hone_arena scratch = {0};
    const hone_status status = unpack_rows(ckpt, (const struct gptq *)self, row, nrows, dst, &scratch, err);
    hone_arena_deinit(&scratch);
    return status;
}

static hone_status take(hone_unquantize_pass *pass, const hone_tensor *t, hone_error *err)
{
    size_t stem_len;
    if (!hone_part_stem(t->name, "qweight", &stem_len))
        return HONE_OK;
    const struct settings *s = pass->settings;
    struct gptq *w = hone_arena_alloc(&pass->ckpt->arena, 1, sizeof *w);
    if (!w)
        return hone_fail_nomem(err, sizeof *w);
    *w = (struct gptq){.base.unpack = unpack, .codes = *t};
    HONE_TRY(hone_part_take(pass, t, stem_len, "qzeros", &w->zeros, err));
    HONE_TRY(hone_part_take(pass, t, stem_len, "scales", &w->scales, err));
    hone_part_take_optional(pass, t, stem_len, "g_idx", &w->order);
    uint64_t out = 0, in = 0;
    enum version version;
    HONE_TRY(settle_shape(pass, s, w, &out, &in, err));
    HONE_TRY(guess_version(pass, s, w, &version, err));
    settle_zeros(s, version, w);
    w->base.max_rows = MAX_TABLE / w->n_groups;
    if (w->base.max_rows > MAX_ROWS || w->base.max_rows == 0)
        w->base.max_rows = w->base.max_rows ? MAX_ROWS : 1;
    return hone_unquantize_put(pass, t, stem_len, out, in, &w->base, err);
}

const hone_unquantize_method hone_unquantize_gptq = {.prepare = prepare, .take = take};
