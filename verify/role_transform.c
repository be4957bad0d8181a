/* SPDX-License-Identifier: MIT */
#include "verify/role_transform.h"

#include "base/fail.h"
#include "base/mem.h"

hone_status hone_transformer_init(hone_checkpoint *ckpt, hone_transformer *out, hone_error *err)
{
    *out = (hone_transformer){.ckpt = ckpt};
    hone_status status = hone_family_find(ckpt, &out->family, err);
    if (status == HONE_OK)
        status = out->family->shape(ckpt, &out->shape, err);
    if (status != HONE_OK)
        return hone_fail_in_file(err, status, hone_checkpoint_path(ckpt));
    out->naming = hone_family_naming(out->family, ckpt);
    return HONE_OK;
}

bool hone_transformer_holds(const hone_transformer *tr, size_t role, size_t layer)
{
    char name[HONE_ROLE_NAME_CAP];
    hone_role_name(tr->family, role, layer, tr->naming, name);
    return hone_checkpoint_find(tr->ckpt, name) != NULL;
}

/* A head's rows 0, 1, .. 2 h - 1 as a GGUF file has them: 0, h, 1, h + 1, .. */
static void pair_rows(const float *rows, size_t nrows, size_t n_heads, float *paired)
{
    const size_t head_nrows = nrows / n_heads, half = head_nrows / 2;
    for (size_t r = 0; r < nrows; r++)
        paired[r] = rows[r / head_nrows * head_nrows + r % 2 * half + r % head_nrows / 2];
}

static hone_status change_paired(const hone_transformer *tr, const char *name, size_t n_heads,
                                 const hone_transform *transform, hone_error *err)
{
    if (transform->row_rotation)
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, name, "rows in pairs cannot be rotated");
    hone_transform paired = *transform;
    if (!transform->row_scale)
        return hone_transform_tensor(tr->ckpt, name, &paired, err);
    const size_t nrows = n_heads * tr->shape.head_dim;
    const hone_tensor *t = hone_checkpoint_find(tr->ckpt, name);
    if (!t || t->n_dims == 0 || t->shape[0] != nrows)
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, name, "is missing, or has not %zu rows", nrows);
    float *rows = hone_alloc(nrows, sizeof *rows);
    if (!rows)
        return hone_fail_nomem(err, nrows * sizeof *rows);
    pair_rows(transform->row_scale, nrows, n_heads, rows);
    paired.row_scale = rows;
    const hone_status status = hone_transform_tensor(tr->ckpt, name, &paired, err);
    hone_release(rows);
    return status;
}

hone_status hone_transform_role(const hone_transformer *tr, size_t role, size_t layer, const hone_transform *transform,
                                hone_error *err)
{
    char name[HONE_ROLE_NAME_CAP];
    hone_role_name(tr->family, role, layer, tr->naming, name);
    const hone_row_order order = tr->family->roles[role].order;
    const bool gguf = tr->naming == HONE_NAMES_GGUF;
    if (order == HONE_ROWS_TRANSPOSED && !gguf) {
        const hone_transform turned = {.row_scale = transform->column_scale,
                                       .column_scale = transform->row_scale,
                                       .row_rotation = transform->column_rotation,
                                       .column_rotation = transform->row_rotation};
        return hone_transform_tensor(tr->ckpt, name, &turned, err);
    }
    if (gguf && (order == HONE_ROWS_PAIRED_BY_HEAD || order == HONE_ROWS_PAIRED_BY_KV_HEAD))
        return change_paired(tr, name, order == HONE_ROWS_PAIRED_BY_HEAD ? tr->shape.n_heads : tr->shape.n_kv_heads,
                             transform, err);
    return hone_transform_tensor(tr->ckpt, name, transform, err);
}

hone_status hone_transform_linear(const hone_transformer *tr, const hone_linear_roles *linear, size_t layer,
                                  const hone_transform *transform, hone_error *err)
{
    HONE_TRY(hone_transform_role(tr, linear->weight, layer, transform, err));
    const bool changes_rows = transform->row_scale || transform->row_rotation;
    if (linear->bias == HONE_NO_ROLE || !changes_rows || !hone_transformer_holds(tr, linear->bias, layer))
        return HONE_OK;
    const hone_transform of_bias = {.row_scale = transform->row_scale, .row_rotation = transform->row_rotation};
    return hone_transform_role(tr, linear->bias, layer, &of_bias, err);
}
