/* SPDX-License-Identifier: MIT */
#include "convert/importance.h"

#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "convert/grid_parts.h"
#include "formats/imatrix.h"
#include "formats/sources.h"
#include "quantize/encode.h"

/* llama.cpp, tools/quantize/quantize.cpp. */
static const char FILE_KEY[] = "quantize.imatrix.file", DATASET_KEY[] = "quantize.imatrix.dataset",
                  N_ENTRIES_KEY[] = "quantize.imatrix.entries_count", N_CHUNKS_KEY[] = "quantize.imatrix.chunks_count";

hone_status hone_importance_open(hone_plan *plan, const char *path, hone_error *err)
{
    if (plan->search == HONE_SEARCH_FAST)
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL,
                         "the fast search looks at no importance (use reference or best with an importance matrix)");
    HONE_TRY(hone_imatrix_open(path, &plan->imatrix, err));
    plan->model.importance = true;
    if (strcmp(hone_imatrix_transforms(plan->imatrix), hone_checkpoint_transforms_text(plan->src)) == 0)
        return HONE_OK;
    (void)hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL,
                    "was made of this model under another rotation (--rotate)");
    return hone_fail_in_file(err, HONE_ERROR_ARG, path);
}

/* How many matrices of (rows, columns) a tensor is: experts stacked, each with an importance of its own. */
static uint64_t n_matrices(const hone_planned_tensor *t)
{
    return t->n_dims > 2 ? t->shape[t->n_dims - 3] : 1;
}

/* Gives t the entry of that name. */
static hone_status assign(hone_plan *plan, hone_planned_tensor *t, const char *name, hone_error *err)
{
    const hone_imatrix_entry *entry = hone_imatrix_find(plan->imatrix, name);
    const uint64_t n = n_matrices(t);
    if (entry && (entry->n_values / n != t->row_nelems || entry->n_values % n != 0)) {
        (void)hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, name, "%llu values of importance for %llu columns",
                        (unsigned long long)entry->n_values, (unsigned long long)(n * t->row_nelems));
        return hone_fail_in_file(err, HONE_ERROR_DATA, hone_imatrix_path(plan->imatrix));
    }
    plan->n_known_entries += entry != NULL;
    if (!t->weight && !hone_encoder_weighs(t->dtype, plan->search))
        return HONE_OK;
    t->entry = entry;
    t->importance = entry ? HONE_IMPORTANCE_USED : HONE_IMPORTANCE_MISSING;
    return HONE_OK;
}

/* Blocks, by the names of the tensors. */
static hone_status assign_blocks(hone_plan *plan, hone_error *err)
{
    for (size_t i = 0; i < plan->n_tensors; i++) {
        hone_planned_tensor *t = &plan->tensors[i];
        const bool copied = t->source && t->source->dtype == t->dtype;
        if (hone_dtype_describe(t->dtype)->is_quantized && !copied)
            HONE_TRY(assign(plan, t, t->name, err));
        else
            plan->n_known_entries += hone_imatrix_find(plan->imatrix, t->name) != NULL;
    }
    return HONE_OK;
}

/* Codes on a grid, by the names that the weights would have in GGUF. */
static hone_status assign_codes(const hone_context *ctx, hone_plan *plan, hone_error *err)
{
    HONE_TRY(hone_plan_name_codes(ctx, plan, err));
    for (size_t i = 0; i < plan->n_tensors; i++)
        if (plan->tensors[i].gguf_name)
            HONE_TRY(assign(plan, &plan->tensors[i], plan->tensors[i].gguf_name, err));
    return HONE_OK;
}

/* What llama.cpp holds to be worthless without importance, by the name of a mix or type; NULL where it does not. */
static const char *needs_entry(const hone_planned_tensor *t, uint32_t file_type)
{
    enum { FILE_Q2_K_S = 21 };
    if (t->role == HONE_ROLE_OUTPUT || t->role == HONE_ROLE_TOKEN_EMBD || (t->source && t->source->dtype == t->dtype))
        return NULL;
    switch (t->dtype) {
    case HONE_IQ3_XXS:
    case HONE_IQ2_S:
    case HONE_IQ2_XS:
    case HONE_IQ2_XXS:
    case HONE_IQ1_M:
    case HONE_IQ1_S:
        return hone_dtype_describe(t->dtype)->name;
    case HONE_Q2_K:
        return file_type == FILE_Q2_K_S ? "q2_k_s" : NULL;
    default:
        return NULL;
    }
}

bool hone_importance_lacks(const hone_planned_tensor *t, hone_dtype type)
{
    hone_planned_tensor stored = *t;
    stored.dtype = type;
    return !t->entry && needs_entry(&stored, 0) != NULL;
}

static hone_status check_needs(const hone_plan *plan, uint32_t file_type, hone_error *err)
{
    for (size_t i = 0; i < plan->n_tensors; i++) {
        const hone_planned_tensor *t = &plan->tensors[i];
        const char *what = t->entry ? NULL : needs_entry(t, file_type);
        if (what)
            return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, t->name,
                             plan->imatrix ? "the importance matrix has no entry for it, and %s needs one"
                                           : "%s needs an importance matrix (--imatrix FILE)",
                             what);
    }
    return HONE_OK;
}

hone_status hone_importance_settle(const hone_context *ctx, hone_plan *plan, uint32_t file_type, hone_error *err)
{
    if (plan->imatrix)
        HONE_TRY(plan->n_weights ? assign_codes(ctx, plan, err) : assign_blocks(plan, err));
    if (!plan->n_weights)
        HONE_TRY(check_needs(plan, file_type, err));
    if (!plan->imatrix || plan->n_known_entries > 0)
        return HONE_OK;
    (void)hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL,
                    "none of its %zu entries belongs to a tensor of this model, the first is for \"%.80s\"",
                    hone_imatrix_n_entries(plan->imatrix), hone_imatrix_entry_at(plan->imatrix, 0)->name);
    return hone_fail_in_file(err, HONE_ERROR_ARG, hone_imatrix_path(plan->imatrix));
}

/* llama.cpp keeps 127 bytes of a text. */
static void put_cut(hone_plan *plan, const char *key, const char *text)
{
    enum { MOST = 127 };
    const size_t len = strlen(text);
    hone_gguf_put_string(plan->header, key, (hone_string){text, len < MOST ? len : MOST});
}

bool hone_importance_is_calibration(const hone_plan *plan)
{
    return plan->calibration && plan->imatrix &&
           strcmp(hone_imatrix_path(plan->imatrix), hone_checkpoint_path(plan->calibration)) == 0;
}

void hone_importance_put_metadata(hone_plan *plan)
{
    const hone_imatrix *m = plan->imatrix;
    if (!m || plan->lean || hone_importance_is_calibration(plan)) /* which the recipe names */
        return;
    put_cut(plan, FILE_KEY, hone_imatrix_path(m));
    if (hone_imatrix_dataset(m)[0])
        put_cut(plan, DATASET_KEY, hone_imatrix_dataset(m));
    hone_gguf_put_u32(plan->header, N_ENTRIES_KEY, (uint32_t)hone_imatrix_n_entries(m));
    if (hone_imatrix_n_chunks(m) > 0)
        hone_gguf_put_u32(plan->header, N_CHUNKS_KEY, hone_imatrix_n_chunks(m));
}

bool hone_importance_is_key(const char *key)
{
    return strcmp(key, FILE_KEY) == 0 || strcmp(key, DATASET_KEY) == 0 || strcmp(key, N_ENTRIES_KEY) == 0 ||
           strcmp(key, N_CHUNKS_KEY) == 0;
}

/* Whether a matrix of t was reached, but by too few tokens to tell which columns matter. */
static bool saw_too_few(const hone_plan *plan, const hone_planned_tensor *t, uint64_t matrix)
{
    if (!t->entry || t->entry->n_mats < 2 || plan->search == HONE_SEARCH_REFERENCE)
        return false;
    const float count = hone_imatrix_count(t->entry, matrix);
    return count > 0.0f && count < plan->min_expert_tokens;
}

uint64_t hone_importance_n_few(const hone_plan *plan, const hone_planned_tensor *t)
{
    uint64_t n = 0;
    for (uint64_t i = 0; t->entry && i < t->entry->n_mats; i++)
        n += saw_too_few(plan, t, i);
    return n;
}

hone_status hone_importance_of_row(const hone_plan *plan, const hone_planned_tensor *t, uint64_t row, float *buffer,
                                   uint64_t *held, const float **out, hone_error *err)
{
    const uint64_t matrix = row / (t->n_rows / n_matrices(t));
    *out = t->entry && !saw_too_few(plan, t, matrix) ? buffer : NULL;
    if (!*out || matrix == *held)
        return HONE_OK;
    *held = matrix;
    HONE_TRY(hone_imatrix_read(plan->imatrix, t->entry, matrix * t->row_nelems, (size_t)t->row_nelems, buffer, err));
    for (size_t j = 0; t->input_scale && j < t->row_nelems; j++)
        buffer[j] /= t->input_scale[j] * t->input_scale[j];
    return HONE_OK;
}
