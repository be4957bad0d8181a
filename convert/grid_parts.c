/* SPDX-License-Identifier: MIT */
#include "convert/grid_parts.h"

#include <string.h>

#include "base/cursor.h"
#include "base/fail.h"
#include "convert/grid_packing.h"

static uint64_t n_groups(const hone_grid_weight *w)
{
    return (w->in + w->group - 1) / w->group;
}

static uint64_t n_words(uint64_t n_codes, unsigned bits)
{
    return (n_codes * bits + 31) / 32;
}

static size_t scale_nbytes(const hone_grid_weight *w)
{
    return hone_dtype_describe(w->grid.stored)->block_nbytes;
}

static bool by_column(const hone_grid_weight *w)
{
    return hone_grid_by_column(&w->grid);
}

bool hone_grid_fits(const hone_grid *grid, uint64_t out, uint64_t in, uint64_t group, const char **why)
{
    *why = "";
    if (in % group != 0)
        *why = "columns are no whole groups";
    else if (grid->rule == HONE_GRID_GPTQ && (in * grid->bits % 32 != 0 || out * grid->bits % 32 != 0))
        *why = "codes do not fill whole words";
    else if (grid->rule == HONE_GRID_GPTQ && grid->bits == 3 && (in % 32 != 0 || out % 32 != 0))
        *why = "codes do not fill whole words";
    else if (grid->rule == HONE_GRID_AWQ && out % 8 != 0)
        *why = "codes do not fill whole words";
    else if (grid->rule == HONE_GRID_MLX && in * grid->bits % 32 != 0)
        *why = "codes do not fill whole words";
    return !**why;
}

/* --- the parts ------------------------------------------------------------------------------------------------------
 */

static hone_status add_part(hone_plan *plan, size_t weight, hone_grid_part part, hone_dtype dtype, uint64_t rows,
                            uint64_t cols, const char *stem, const char *suffix, hone_error *err)
{
    const hone_planned_tensor t = {
        .source = plan->weights[weight].source, .weight = weight + 1, .part = (unsigned)part, .dtype = dtype};
    HONE_TRY(hone_plan_add(plan, t, err, "%s%s", stem, suffix));
    hone_planned_tensor *added = &plan->tensors[plan->n_tensors - 1];
    added->n_dims = 2;
    added->shape[0] = rows;
    added->shape[1] = cols;
    return HONE_OK;
}

/* A vector of whole numbers that no source holds; shared by all weights that have the same one. */
static hone_status add_constant(hone_plan *plan, hone_dtype dtype, uint64_t n, const void *bytes, const char *stem,
                                const char *suffix, hone_error *err)
{
    HONE_TRY(hone_plan_add(plan, (hone_planned_tensor){.bytes = bytes, .dtype = dtype, .any_value = true}, err, "%s%s",
                           stem, suffix));
    hone_planned_tensor *added = &plan->tensors[plan->n_tensors - 1];
    added->n_dims = 1;
    added->shape[0] = n;
    return HONE_OK;
}

static hone_status add_shape(hone_plan *plan, const hone_grid_weight *w, const char *stem, hone_error *err)
{
    uint8_t *bytes = hone_arena_alloc(&plan->arena, 2, 8);
    if (!bytes)
        return hone_fail_nomem(err, 16);
    hone_store_u64(bytes, w->out);
    hone_store_u64(bytes + 8, w->in);
    return add_constant(plan, HONE_I64, 2, bytes, stem, "weight_shape", err);
}

/* The group of each input. */
static hone_status add_order(hone_plan *plan, const hone_grid_weight *w, const char *stem, hone_error *err)
{
    for (size_t i = plan->n_tensors; i-- > 0;) {
        const hone_planned_tensor *t = &plan->tensors[i];
        if (t->bytes && t->shape[0] == w->in && hone_load_u32((const uint8_t *)t->bytes + (w->group - 1) * 4) == 0 &&
            (w->group == w->in || hone_load_u32((const uint8_t *)t->bytes + w->group * 4) == 1))
            return add_constant(plan, HONE_I32, w->in, t->bytes, stem, "g_idx", err);
    }
    uint8_t *bytes = hone_arena_alloc(&plan->arena, (size_t)w->in, 4);
    if (!bytes)
        return hone_fail_nomem(err, w->in * 4);
    for (uint64_t i = 0; i < w->in; i++)
        hone_store_u32(bytes + 4 * i, (uint32_t)(i / w->group));
    return add_constant(plan, HONE_I32, w->in, bytes, stem, "g_idx", err);
}

hone_status hone_grid_add_parts(hone_plan *plan, size_t weight, const char *stem, hone_error *err)
{
    const hone_grid_weight *w = &plan->weights[weight];
    const uint64_t out = w->out, in = w->in, groups = n_groups(w);
    const unsigned bits = w->grid.bits;
    const hone_dtype stored = w->grid.stored;
    const hone_grid_part c = HONE_PART_CODES, s = HONE_PART_SCALES, z = HONE_PART_ZEROS;
    switch (w->grid.rule) {
    case HONE_GRID_COMPRESSED:
        HONE_TRY(add_part(plan, weight, c, HONE_I32, out, n_words(in, bits), stem, "weight_packed", err));
        HONE_TRY(add_part(plan, weight, s, stored, out, groups, stem, "weight_scale", err));
        if (!w->grid.symmetric)
            HONE_TRY(add_part(plan, weight, z, HONE_I32, n_words(out, bits), groups, stem, "weight_zero_point", err));
        return add_shape(plan, w, stem, err);
    case HONE_GRID_GPTQ:
        HONE_TRY(add_part(plan, weight, c, HONE_I32, n_words(in, bits), out, stem, "qweight", err));
        HONE_TRY(add_part(plan, weight, s, stored, groups, out, stem, "scales", err));
        HONE_TRY(add_part(plan, weight, z, HONE_I32, groups, n_words(out, bits), stem, "qzeros", err));
        return add_order(plan, w, stem, err);
    case HONE_GRID_AWQ:
        HONE_TRY(add_part(plan, weight, c, HONE_I32, in, out / 8, stem, "qweight", err));
        HONE_TRY(add_part(plan, weight, s, stored, groups, out, stem, "scales", err));
        return add_part(plan, weight, z, HONE_I32, groups, out / 8, stem, "qzeros", err);
    case HONE_GRID_MLX:
        HONE_TRY(add_part(plan, weight, c, HONE_U32, out, n_words(in, bits), stem, "weight", err));
        HONE_TRY(add_part(plan, weight, s, stored, out, groups, stem, "scales", err));
        return add_part(plan, weight, z, stored, out, groups, stem, "biases", err);
    }
    return HONE_OK;
}

/* --- where rows lie -------------------------------------------------------------------------------------------------
 */

/* Runs of the columns [first, end) of a matrix of n_rows rows of n_cols units of unit bytes. */
static hone_piece columns(uint64_t offset, uint64_t n_rows, uint64_t n_cols, uint64_t first, uint64_t end, size_t unit)
{
    return (hone_piece){.offset = offset + first * unit,
                        .stride = n_cols * unit,
                        .n_runs = (size_t)n_rows,
                        .run_nbytes = (size_t)(end - first) * unit};
}

static hone_piece rows(uint64_t offset, uint64_t n_cols, uint64_t first, uint64_t end, size_t unit)
{
    return (hone_piece){
        .offset = offset + first * n_cols * unit, .n_runs = 1, .run_nbytes = (size_t)((end - first) * n_cols) * unit};
}

static hone_piece codes_piece(const hone_grid_weight *w, uint64_t at, uint64_t row, uint64_t end)
{
    if (w->grid.rule == HONE_GRID_GPTQ)
        return columns(at, n_words(w->in, w->grid.bits), w->out, row, end, 4);
    if (w->grid.rule == HONE_GRID_AWQ)
        return columns(at, w->in, w->out / 8, row / 8, end / 8, 4);
    return rows(at, n_words(w->in, w->grid.bits), row, end, 4);
}

/* Words of zeros along out: row is a multiple of HONE_GRID_ROWS_UNIT, so none is shared by two chunks. */
static hone_piece zeros_piece(const hone_grid_weight *w, uint64_t at, uint64_t row, uint64_t end)
{
    const unsigned bits = w->grid.bits;
    const uint64_t first = row * bits / 32, last = n_words(end, bits), groups = n_groups(w);
    if (w->grid.rule == HONE_GRID_MLX)
        return rows(at, groups, row, end, scale_nbytes(w));
    if (w->grid.rule == HONE_GRID_COMPRESSED)
        return rows(at, groups, first, last, 4);
    return columns(at, groups, n_words(w->out, bits), first, last, 4);
}

unsigned hone_grid_pieces(const hone_plan *plan, const hone_grid_weight *w, uint64_t row, uint64_t nrows,
                          hone_piece pieces[HONE_N_PARTS])
{
    const uint64_t end = row + nrows, groups = n_groups(w);
    uint64_t at[HONE_N_PARTS] = {0};
    unsigned n = 0;
    for (unsigned part = 0; part < HONE_N_PARTS; part++)
        at[part] = w->parts[part] == SIZE_MAX ? 0 : plan->tensors[w->parts[part]].offset;
    pieces[n++] = codes_piece(w, at[HONE_PART_CODES], row, end);
    pieces[n++] = by_column(w) ? columns(at[HONE_PART_SCALES], groups, w->out, row, end, scale_nbytes(w))
                               : rows(at[HONE_PART_SCALES], groups, row, end, scale_nbytes(w));
    if (w->parts[HONE_PART_ZEROS] != SIZE_MAX)
        pieces[n++] = zeros_piece(w, at[HONE_PART_ZEROS], row, end);
    size_t total = 0;
    for (unsigned i = 0; i < n; i++) {
        pieces[i].at = total;
        total += pieces[i].n_runs * pieces[i].run_nbytes;
    }
    return n;
}

/* --- encoding and packing -------------------------------------------------------------------------------------------
 */

/* Scratch behind the pieces: scales and zeros (nrows, groups) as floats, codes (nrows, in) as bytes. */
static size_t scratch_nbytes(const hone_grid_weight *w, uint64_t nrows)
{
    return (size_t)(nrows * n_groups(w) * 2 * sizeof(float) + nrows * w->in);
}

static size_t pieces_nbytes(const hone_grid_weight *w, uint64_t nrows)
{
    const uint64_t groups = n_groups(w), codes = n_words(w->in, w->grid.bits) * 4 * nrows;
    const uint64_t by_byte = w->in * (nrows / 8 + 1) * 4; /* AWQ's words, when there are fewer than rows fill */
    const uint64_t zeros = (n_words(nrows, w->grid.bits) + nrows) * 4 * groups;
    return (size_t)((w->grid.rule == HONE_GRID_AWQ ? by_byte : codes) + nrows * groups * scale_nbytes(w) + zeros);
}

size_t hone_grid_chunk_nbytes(const hone_grid_weight *w, uint64_t nrows)
{
    return (pieces_nbytes(w, nrows) + 7) / 8 * 8 + scratch_nbytes(w, nrows);
}

/* Of a chunk of nrows rows, behind its pieces. */
struct scratch {
    float *scales, *zeros; /* (nrows, groups) */
    uint8_t *codes;        /* (nrows, in) */
};

static struct scratch scratch_of(const hone_grid_weight *w, uint64_t nrows, void *chunk)
{
    const size_t packed = (pieces_nbytes(w, nrows) + 7) / 8 * 8, n = (size_t)(nrows * n_groups(w));
    float *scales = (float *)(void *)((uint8_t *)chunk + packed);
    return (struct scratch){scales, scales + n, (uint8_t *)(scales + 2 * n)};
}

void hone_grid_code_rows(const hone_grid_weight *w, uint64_t nrows, const float *values, const float *importance,
                         const hone_grid_feedback *feedback, void *chunk)
{
    const size_t groups = (size_t)n_groups(w), in = (size_t)w->in;
    const struct scratch s = scratch_of(w, nrows, chunk);
    if (feedback) {
        const hone_gptq_coder coder = hone_gptq_groups(&w->grid, (size_t)w->group);
        hone_gptq_encode_groups(feedback->feedback, &coder, values, (size_t)nrows, s.codes, s.scales, s.zeros,
                                feedback->scratch, feedback->n_plain);
    }
    for (size_t r = 0; r < nrows && !feedback; r++)
        for (size_t g = 0; g < groups; g++) {
            const size_t first = g * (size_t)w->group, n = in - first < w->group ? in - first : (size_t)w->group;
            hone_grid_encode(&w->grid, values + r * in + first, n, importance ? importance + first : NULL,
                             s.codes + r * in + first, &s.scales[r * groups + g], &s.zeros[r * groups + g]);
        }
}

void hone_grid_encode_rows(const hone_plan *plan, const hone_grid_weight *w, uint64_t row, uint64_t nrows,
                           const float *values, const float *importance, const hone_grid_feedback *feedback, void *dst)
{
    hone_piece pieces[HONE_N_PARTS];
    const unsigned n_pieces = hone_grid_pieces(plan, w, row, nrows, pieces);
    const struct scratch s = scratch_of(w, nrows, dst);
    hone_grid_code_rows(w, nrows, values, importance, feedback, dst);
    memset(dst, 0, pieces_nbytes(w, nrows));
    const hone_grid_codes c = {w, (size_t)nrows, (size_t)n_groups(w), s.codes, s.scales, s.zeros};
    hone_grid_pack(&c, pieces, n_pieces, dst);
}

void hone_grid_unpack_rows(const hone_plan *plan, const hone_grid_weight *w, uint64_t row, uint64_t nrows, void *chunk)
{
    hone_piece pieces[HONE_N_PARTS];
    const unsigned n_pieces = hone_grid_pieces(plan, w, row, nrows, pieces);
    const struct scratch s = scratch_of(w, nrows, chunk);
    const hone_grid_codes c = {w, (size_t)nrows, (size_t)n_groups(w), s.codes, s.scales, s.zeros};
    hone_grid_unpack(&c, pieces, n_pieces, chunk);
}

void hone_grid_decode_piece(const hone_grid_weight *w, uint64_t nrows, const void *chunk, uint64_t r, size_t first,
                            size_t n, float *dst)
{
    const size_t groups = (size_t)n_groups(w), group = (size_t)w->group, end = first + n;
    const struct scratch s = scratch_of(w, nrows, (void *)(uintptr_t)chunk);
    while (first < end) {
        const size_t g = first / group, until = (g + 1) * group < end ? (g + 1) * group : end;
        hone_grid_decode(&w->grid, s.codes + r * (size_t)w->in + first, until - first, s.scales[r * groups + g],
                         s.zeros[r * groups + g], dst);
        dst += until - first;
        first = until;
    }
}
