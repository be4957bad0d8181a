/* SPDX-License-Identifier: MIT */
#include "verify/family_loader.h"

#include "base/fail.h"
#include "base/mem.h"
#include "base/run_context.h"

bool hone_family_holds(const hone_family_loader *l, size_t role, size_t layer)
{
    char name[HONE_ROLE_NAME_CAP];
    hone_role_name(l->family, role, layer, l->naming, name);
    return hone_checkpoint_find(l->ckpt, name) != NULL;
}

hone_status hone_family_matrix(const hone_family_loader *l, size_t role, size_t layer, size_t nrows, size_t ncols,
                               hone_weight *out, hone_error *err)
{
    char name[HONE_ROLE_NAME_CAP];
    hone_role_name(l->family, role, layer, l->naming, name);
    const bool transposed = l->family->roles[role].order == HONE_ROWS_TRANSPOSED && l->naming != HONE_NAMES_GGUF;
    return transposed ? hone_weight_load_transposed(l->ctx, l->ckpt, name, nrows, ncols, out, err)
                      : hone_weight_load(l->ctx, l->ckpt, name, nrows, ncols, out, err);
}

hone_status hone_family_stack(const hone_family_loader *l, size_t role, size_t layer, size_t n, size_t nrows,
                              size_t ncols, hone_weight *out, hone_error *err)
{
    char name[HONE_ROLE_NAME_CAP];
    hone_role_name(l->family, role, layer, l->naming, name);
    return hone_weight_load_stack(l->ctx, l->ckpt, name, n, nrows, ncols, out, err);
}

hone_status hone_family_vector(const hone_family_loader *l, size_t role, size_t layer, size_t nelems, float **out,
                               hone_error *err)
{
    char name[HONE_ROLE_NAME_CAP];
    hone_role_name(l->family, role, layer, l->naming, name);
    return hone_vector_load(l->ctx, l->ckpt, name, nelems, out, err);
}

hone_status hone_family_ends(const hone_family_loader *l, bool tied, hone_model *model, hone_weight *embedding,
                             hone_error *err)
{
    const size_t role_embedding = l->family->role_embedding, role_output = l->family->role_output;
    const bool first = hone_family_holds(l, role_embedding, 0) || !tied;
    const bool last = hone_family_holds(l, role_output, 0) || !tied;
    if (first || !last)
        HONE_TRY(hone_family_matrix(l, role_embedding, 0, model->n_vocab, model->n_embd, embedding, err));
    if (last)
        HONE_TRY(hone_family_matrix(l, role_output, 0, model->n_vocab, model->n_embd, &model->output, err));
    else
        model->output = hone_weight_borrow(embedding);
    if (!first && last)
        *embedding = hone_weight_borrow(&model->output);
    if (!tied || l->naming == HONE_NAMES_GGUF || !first || !last)
        return HONE_OK;
    if (hone_weight_same(embedding, &model->output)) {
        hone_weight_deinit(&model->output);
        model->output = hone_weight_borrow(embedding);
    } else {
        hone_context_note(l->ctx, "config.json ties %s to %s, but both are stored and differ: both are used",
                          model->output.name, embedding->name);
    }
    return HONE_OK;
}

void hone_linear_deinit(hone_linear *linear)
{
    hone_weight_deinit(&linear->weight);
    hone_release(linear->bias);
    linear->bias = NULL;
}
