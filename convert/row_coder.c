/* SPDX-License-Identifier: MIT */
#include "convert/row_coder.h"

#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "convert/grid_parts.h"
#include "convert/importance.h"
#include "convert/row_reader.h"
#include "formats/decode.h"
#include "quantize/encode.h"
#include "quantize/gptq.h"

/* No type of blocks is wider than f32. */
static size_t encoded_nbytes(const hone_plan *plan, const hone_planned_tensor *t)
{
    if (t->weight)
        return hone_grid_chunk_nbytes(&plan->weights[t->weight - 1], HONE_FEEDBACK_ROWS);
    return HONE_FEEDBACK_ROWS * (size_t)t->row_nelems * sizeof(float);
}

static size_t scratch_nfloats(const hone_plan *plan, const hone_planned_tensor *t)
{
    const size_t ncols = (size_t)t->row_nelems;
    return t->moments ? hone_gptq_scratch_nfloats(ncols) : plan->by_activation ? HONE_FEEDBACK_ROWS * ncols : 1;
}

uint64_t hone_row_coders_nbytes(const hone_plan *plan, const hone_planned_tensor *t, int n)
{
    const uint64_t nfloats = (2 * HONE_FEEDBACK_ROWS + 1) * t->row_nelems + scratch_nfloats(plan, t);
    const uint64_t each = nfloats * sizeof(float) + hone_row_reader_nbytes(t, HONE_FEEDBACK_ROWS);
    return (unsigned)n * (each + encoded_nbytes(plan, t));
}

hone_row_coder *hone_row_coders_new(const hone_plan *plan, const hone_planned_tensor *t, int n)
{
    const size_t ncols = (size_t)t->row_nelems, nelems = HONE_FEEDBACK_ROWS * ncols;
    const size_t scratch = scratch_nfloats(plan, t);
    hone_row_coder *coders = hone_calloc((size_t)n, sizeof *coders);
    bool ok = coders != NULL;
    for (int i = 0; ok && i < n; i++) {
        hone_row_coder *w = &coders[i];
        w->raw = hone_alloc(hone_row_reader_nbytes(t, HONE_FEEDBACK_ROWS), 1);
        w->values = hone_calloc(nelems, sizeof *w->values);
        w->decoded = hone_calloc(nelems, sizeof *w->decoded);
        w->importance = hone_alloc(ncols, sizeof *w->importance);
        w->scratch = hone_alloc(scratch, sizeof *w->scratch);
        w->encoded = hone_alloc(encoded_nbytes(plan, t), 1);
        ok = w->raw && w->values && w->decoded && w->importance && w->scratch && w->encoded;
    }
    if (ok)
        return coders;
    hone_row_coders_free(coders, n);
    return NULL;
}

void hone_row_coders_free(hone_row_coder *coders, int n)
{
    for (int i = 0; coders && i < n; i++) {
        hone_release(coders[i].raw);
        hone_release(coders[i].values);
        hone_release(coders[i].decoded);
        hone_release(coders[i].importance);
        hone_release(coders[i].scratch);
        hone_release(coders[i].encoded);
    }
    hone_release(coders);
}

/* Codes on a grid, all rows of which have one importance. */
static hone_status code_groups(const hone_plan *plan, const hone_planned_tensor *t, const hone_feedback *feedback,
                               uint64_t row, uint64_t nrows, const hone_row_coder *w, hone_error *err)
{
    size_t n_plain;
    uint64_t held = UINT64_MAX;
    const float *importance;
    const hone_grid_feedback with = {feedback, w->scratch, &n_plain};
    HONE_TRY(hone_importance_of_row(plan, t, row, w->importance, &held, &importance, err));
    hone_grid_code_rows(&plan->weights[t->weight - 1], nrows, w->values, importance, t->moments ? &with : NULL,
                        w->encoded);
    return HONE_OK;
}

hone_status hone_code_rows(const hone_context *ctx, const hone_plan *plan, const hone_planned_tensor *t,
                           hone_dtype type, const hone_feedback *feedback, uint64_t row, uint64_t nrows,
                           const hone_row_coder *w, hone_error *err)
{
    if (t->weight)
        return code_groups(plan, t, feedback, row, nrows, w, err);
    if (t->moments && hone_gptq_can(type)) {
        const hone_gptq_coder coder = hone_gptq_blocks(type, plan->search, ctx->cpu);
        size_t n_plain;
        hone_gptq_encode(feedback, &coder, w->values, (size_t)nrows, w->encoded, w->scratch, &n_plain);
        return HONE_OK;
    }
    const size_t ncols = (size_t)t->row_nelems;
    const hone_encode_fn fn = hone_encoder(type, plan->search, ctx->cpu);
    const hone_dtype_info *info = hone_dtype_describe(type);
    const size_t row_nbytes = ncols / info->block_nelems * info->block_nbytes;
    uint64_t held = UINT64_MAX;
    for (uint64_t r = 0; r < nrows; r++) {
        const float *importance;
        HONE_TRY(hone_importance_of_row(plan, t, row + r, w->importance, &held, &importance, err));
        fn(w->values + r * ncols, ncols, importance, w->encoded + r * row_nbytes);
    }
    return HONE_OK;
}

void hone_decode_rows(const hone_context *ctx, const hone_plan *plan, const hone_planned_tensor *t, hone_dtype type,
                      uint64_t nrows, const hone_row_coder *w)
{
    const size_t ncols = (size_t)t->row_nelems, n = (size_t)nrows * ncols;
    if (!t->weight)
        hone_decoder(type, ctx->cpu)(w->encoded, w->decoded, n);
    for (size_t r = 0; t->weight && r < nrows; r++)
        hone_grid_decode_piece(&plan->weights[t->weight - 1], nrows, w->encoded, r, 0, ncols, w->decoded + r * ncols);
    memcpy(w->decoded + n, w->values + n, (HONE_FEEDBACK_ROWS * ncols - n) * sizeof *w->decoded);
}
