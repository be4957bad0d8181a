/* SPDX-License-Identifier: MIT */
#include "convert/sequential_run.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/fail.h"
#include "base/mem.h"
#include "convert/grid_parts.h"
#include "formats/sources.h"
#include "quantize/sequential.h"

hone_status hone_plan_open_sequential(const hone_context *ctx, hone_plan *plan, const hone_calibration_text *text,
                                      hone_error *err)
{
    HONE_TRY(hone_sequential_open(ctx, plan->src, text, &plan->sequential, err));
    const size_t n = hone_sequential_n_inputs(plan->sequential);
    plan->inputs = hone_arena_alloc(&plan->arena, n, sizeof *plan->inputs);
    if (!plan->inputs)
        return hone_fail_nomem(err, n * sizeof *plan->inputs);
    for (size_t i = 0; i < n; i++) {
        const uint64_t d = hone_sequential_ncols(plan->sequential, i);
        plan->inputs[i] = (hone_tensor){.name = "second moments", .dtype = HONE_F32, .nelems = d * (d + 1) / 2};
    }
    return HONE_OK;
}

json_t *hone_sequential_recipe(const hone_plan *plan)
{
    const hone_sequential_text text = hone_sequential_describe(plan->sequential);
    char checksum[17];
    (void)snprintf(checksum, sizeof checksum, "%016" PRIx64, text.checksum);
    return json_pack("{s:I, s:I, s:s}", "chunks", (json_int_t)text.n_chunks, "ctx", (json_int_t)text.n_ctx,
                     "tokens_xxh3", checksum);
}

const hone_tensor *hone_sequential_input_of(const hone_plan *plan, const hone_planned_tensor *t)
{
    const char *name = t->stack_name ? t->stack_name : t->gguf_name ? t->gguf_name : t->name;
    const size_t i = hone_sequential_find(plan->sequential, name);
    return i < hone_sequential_n_inputs(plan->sequential) ? &plan->inputs[i + t->expert] : NULL;
}

static size_t turn_of(const hone_plan *plan, const hone_planned_tensor *t)
{
    const hone_tensor *input = hone_sequential_input_of(plan, t);
    return input ? (size_t)(input - plan->inputs) + 1 : 0;
}

void hone_sequential_order(const hone_plan *plan, size_t *order)
{
    size_t n = 0;
    const size_t n_turns = plan->sequential ? hone_sequential_n_inputs(plan->sequential) + 1 : 1;
    for (size_t turn = 0; turn < n_turns; turn++)
        for (size_t i = 0; i < plan->n_tensors; i++)
            if (n_turns == 1 || turn_of(plan, &plan->tensors[i]) == turn)
                order[n++] = i;
}

/* Blocks, row by row, to where the model has the rows. */
static hone_status read_blocks(const hone_planned_tensor *t, const hone_writer *writer, hone_coded_matrix *m,
                               hone_error *err)
{
    const size_t row_nbytes = (size_t)t->row_nbytes;
    m->dtype = t->dtype;
    m->data = hone_alloc(m->nrows, row_nbytes);
    if (!m->data)
        return hone_fail_nomem(err, (uint64_t)m->nrows * row_nbytes);
    if (t->order != HONE_ROWS_INTERLEAVE_HALVES)
        return hone_writer_read(writer, t->offset, m->data, m->nrows * row_nbytes, err);
    for (size_t r = 0; r < m->nrows; r++)
        HONE_TRY(hone_writer_read(writer, t->offset + r * row_nbytes, m->data + hone_source_row(t, r) * row_nbytes,
                                  row_nbytes, err));
    return HONE_OK;
}

/* Codes on a grid, as what they stand for. */
static hone_status read_groups(const hone_plan *plan, const hone_planned_tensor *t, const hone_writer *writer,
                               hone_coded_matrix *m, hone_error *err)
{
    enum { STEP = 8 * HONE_GRID_ROWS_UNIT };
    const hone_grid_weight *w = &plan->weights[t->weight - 1];
    float *values = hone_alloc(m->nrows, m->ncols * sizeof *values);
    m->dtype = HONE_F32;
    m->data = (unsigned char *)values;
    const size_t nbytes = hone_grid_chunk_nbytes(w, STEP);
    void *chunk = hone_alloc(nbytes, 1);
    hone_status status =
        values && chunk ? HONE_OK : hone_fail_nomem(err, nbytes + m->nrows * m->ncols * sizeof *values);
    for (size_t row = 0; row < m->nrows && status == HONE_OK; row += STEP) {
        const size_t n = m->nrows - row < STEP ? m->nrows - row : STEP;
        hone_piece pieces[HONE_N_PARTS];
        const unsigned n_pieces = hone_grid_pieces(plan, w, row, n, pieces);
        status = hone_pieces_read(writer, pieces, n_pieces, chunk, err);
        if (status == HONE_OK)
            hone_grid_unpack_rows(plan, w, row, n, chunk);
        for (size_t r = 0; r < n && status == HONE_OK; r++)
            hone_grid_decode_piece(w, n, chunk, r, 0, m->ncols, values + (row + r) * m->ncols);
    }
    hone_release(chunk);
    return status;
}

hone_status hone_sequential_take(const hone_plan *plan, const hone_planned_tensor *t, const hone_writer *writer,
                                 hone_error *err)
{
    const bool codes = t->weight && t->part == HONE_PART_CODES;
    const hone_tensor *stack = t->source && t->stack_name ? hone_checkpoint_stack_of(plan->src, t->source) : NULL;
    const char *name = stack ? stack->name : t->source ? t->source->name : "";
    if (!t->source || !(codes || (!t->weight && hone_dtype_describe(t->dtype)->is_quantized)) ||
        !hone_sequential_holds(plan->sequential, name))
        return HONE_OK;
    hone_coded_matrix m = {.nrows = (size_t)t->n_rows, .ncols = (size_t)t->row_nelems};
    const hone_status status = codes ? read_groups(plan, t, writer, &m, err) : read_blocks(t, writer, &m, err);
    if (status != HONE_OK) {
        hone_release(m.data);
        return hone_fail_for(err, status, t->name);
    }
    return stack ? hone_sequential_put_expert(plan->sequential, name, (size_t)t->expert, &m, err)
                 : hone_sequential_put(plan->sequential, name, &m, err);
}
