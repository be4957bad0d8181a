/* SPDX-License-Identifier: MIT */
/*
 * AWQ, the GEMM layout, 4 bits.
 *
 *   P.qweight i32 [in, out / 8]       word k of input i: outputs 8k .. 8k + 7
 *   P.qzeros  i32 [groups, out / 8]   zeros, in the same order
 *   P.scales  f16 [groups, out]
 *
 *   nibble, from the low end  0 1 2 3 4 5 6 7
 *   holds output 8k +         0 2 4 6 1 3 5 7
 *
 * w = scale * (q - zero). Source: casper-hansen/AutoAWQ, awq/utils/packing_utils.py, awq/modules/linear/gemm.py.
 */
#include <string.h>
#include <strings.h>

#include "base/fail.h"
#include "formats/unquantize.h"

enum { BITS = 4, PER_WORD = 8, BLOCK_WORDS = 1 << 14, MAX_TABLE = 1 << 17, MAX_ROWS = 256 };

struct settings {
    int64_t group; /* -1: one group */
};

struct awq {
    hone_unquantizer base;
    hone_tensor codes, zeros, scales;
    size_t group, n_groups;
};

static unsigned nibble(uint32_t word, size_t output)
{
    static const uint8_t nibble_of[PER_WORD] = {0, 4, 1, 5, 2, 6, 3, 7};
    return word >> BITS * nibble_of[output % PER_WORD] & 15;
}

static hone_status prepare(hone_unquantize_pass *pass, hone_error *err)
{
    struct settings *s = hone_arena_alloc(&pass->ckpt->arena, 1, sizeof *s);
    if (!s)
        return hone_fail_nomem(err, sizeof *s);
    *s = (struct settings){.group = 128};
    int64_t bits = BITS;
    HONE_TRY(hone_quant_config_int(pass, pass->config, "bits", 1, 32, &bits, err));
    HONE_TRY(hone_quant_config_int(pass, pass->config, "group_size", -1, INT32_MAX, &s->group, err));
    if (s->group == 0)
        return hone_quant_config_fail(pass, err, HONE_ERROR_DATA, "group_size", "groups of 0 columns");
    if (bits != BITS)
        return hone_quant_config_fail(pass, err, HONE_ERROR_UNSUPPORTED, "bits", "AWQ with %lld bits is not handled",
                                      (long long)bits);
    const char *version = json_string_value(json_object_get(pass->config, "version"));
    if (version && strcasecmp(version, "gemm") != 0)
        return hone_quant_config_fail(pass, err, HONE_ERROR_UNSUPPORTED, "version",
                                      "the AWQ layout \"%s\" is not handled", version);
    pass->settings = s;
    return HONE_OK;
}

struct tables {
    uint32_t *group_of, *words;
    float *scale, *zero, *column;
    uint8_t *codes;
    size_t first_word, n_words, block_cols;
};

static hone_status load_zeros(const hone_checkpoint *ckpt, const struct awq *w, size_t row, size_t nrows,
                              const struct tables *t, hone_error *err)
{
    const size_t row_nbytes = w->base.n_rows / PER_WORD * sizeof *t->words;
    for (size_t g = 0; g < w->n_groups; g++) {
        HONE_TRY(hone_part_rect(ckpt, &w->zeros, row_nbytes, g, 1, t->first_word * sizeof *t->words,
                                t->n_words * sizeof *t->words, t->words, err));
        for (size_t o = 0; o < nrows; o++)
            t->zero[o * w->n_groups + g] = (float)nibble(t->words[(row + o) / PER_WORD - t->first_word], row + o);
    }
    return HONE_OK;
}

static hone_status load_tables(const hone_checkpoint *ckpt, const struct awq *w, size_t row, size_t nrows,
                               hone_arena *scratch, struct tables *t, hone_error *err)
{
    const size_t table = nrows * w->n_groups;
    t->first_word = row / PER_WORD;
    t->n_words = (row + nrows - 1) / PER_WORD + 1 - t->first_word;
    t->block_cols = BLOCK_WORDS / t->n_words + 1;
    if (t->block_cols > w->base.n_cols)
        t->block_cols = w->base.n_cols;
    t->group_of = hone_arena_alloc(scratch, w->base.n_cols, sizeof *t->group_of);
    t->scale = hone_arena_alloc(scratch, table, sizeof *t->scale);
    t->zero = hone_arena_alloc(scratch, table, sizeof *t->zero);
    t->column = hone_arena_alloc(scratch, nrows, sizeof *t->column);
    t->words = hone_arena_alloc(scratch, t->block_cols * t->n_words, sizeof *t->words);
    t->codes = hone_arena_alloc(scratch, t->block_cols, 1);
    if (!t->group_of || !t->scale || !t->zero || !t->column || !t->words || !t->codes)
        return hone_fail_nomem(err, table * sizeof *t->scale);
    const hone_tensor no_order = {0};
    HONE_TRY(hone_part_groups(ckpt, &no_order, HONE_ORDER_UNSET_IS_ZERO, w->base.n_cols, w->group, w->n_groups,
                              t->group_of, err));
    HONE_TRY(hone_part_columns(ckpt, &w->scales, w->base.n_rows, w->n_groups, row, nrows, t->column, t->scale, err));
    return load_zeros(ckpt, w, row, nrows, t, err);
}

static hone_status unpack_rows(const hone_checkpoint *ckpt, const struct awq *w, size_t row, size_t nrows, float *dst,
                               hone_arena *scratch, hone_error *err)
{
    struct tables t;
    HONE_TRY(load_tables(ckpt, w, row, nrows, scratch, &t, err));
    const size_t n_cols = w->base.n_cols, row_nbytes = w->base.n_rows / PER_WORD * sizeof *t.words;
    for (size_t col = 0; col < n_cols; col += t.block_cols) {
        const size_t n = n_cols - col < t.block_cols ? n_cols - col : t.block_cols;
        HONE_TRY(hone_part_rect(ckpt, &w->codes, row_nbytes, col, n, t.first_word * sizeof *t.words,
                                t.n_words * sizeof *t.words, t.words, err));
        for (size_t o = 0; o < nrows; o++) {
            const uint32_t *words = t.words + ((row + o) / PER_WORD - t.first_word);
            for (size_t i = 0; i < n; i++)
                t.codes[i] = (uint8_t)nibble(words[i * t.n_words], row + o);
            hone_unquantize_grid(t.codes, n, t.group_of + col, t.scale + o * w->n_groups, t.zero + o * w->n_groups,
                                 dst + o * n_cols + col);
        }
    }
    return HONE_OK;
}

static hone_status unpack(const hone_checkpoint *ckpt, const hone_unquantizer *self, size_t row, size_t nrows,
                          float *dst, hone_error *err)
{
    hone_arena scratch = {0};
    const hone_status status = unpack_rows(ckpt, (const struct awq *)self, row, nrows, dst, &scratch, err);
    hone_arena_deinit(&scratch);
    return status;
}

static hone_status take(hone_unquantize_pass *pass, const hone_tensor *t, hone_error *err)
{
    const hone_checkpoint *ckpt = pass->ckpt;
    const struct settings *s = pass->settings;
    size_t stem_len;
    if (!hone_part_stem(t->name, "qweight", &stem_len))
        return HONE_OK;
    struct awq *w = hone_arena_alloc(&pass->ckpt->arena, 1, sizeof *w);
    if (!w)
        return hone_fail_nomem(err, sizeof *w);
    *w = (struct awq){.base.unpack = unpack, .codes = *t};
    HONE_TRY(hone_part_take(pass, t, stem_len, "qzeros", &w->zeros, err));
    HONE_TRY(hone_part_take(pass, t, stem_len, "scales", &w->scales, err));
    uint64_t in, words;
    HONE_TRY(hone_part_matrix(ckpt, &w->codes, HONE_DTYPES_WORD, &in, &words, err));
    const uint64_t out = words * PER_WORD, group = s->group < 0 || (uint64_t)s->group > in ? in : (uint64_t)s->group;
    const uint64_t n_groups = (in + group - 1) / group;
    HONE_TRY(hone_part_expect(ckpt, &w->zeros, HONE_DTYPES_WORD, n_groups, words, err));
    HONE_TRY(hone_part_expect(ckpt, &w->scales, HONE_DTYPES_FLOAT, n_groups, out, err));
    w->group = (size_t)group;
    w->n_groups = (size_t)n_groups;
    w->base.max_rows = MAX_TABLE / w->n_groups;
    if (w->base.max_rows > MAX_ROWS || w->base.max_rows == 0)
        w->base.max_rows = w->base.max_rows ? MAX_ROWS : 1;
    return hone_unquantize_put(pass, t, stem_len, out, in, &w->base, err);
}

const hone_unquantize_method hone_unquantize_awq = {.prepare = prepare, .take = take};
