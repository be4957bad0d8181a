/* SPDX-License-Identifier: MIT */
/* Which matrices turn which weights when a model is rotated. */
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "base/run_context.h"
#include "formats/sources.h"
#include "hone/rotate.h"
#include "verify/role_transform.h"
#include "verify/rotation_words.h"
#include "verify/weights.h"

static const char KEY[] = "rotation";

/* Of the signs: the residual stream's, and what is added to a layer's number for its heads'. */
enum { RESIDUAL_SEED = 1, HEADS_SEED = 2 };

struct rotating {
    const hone_context *ctx;
    hone_transformer tr;
    hone_rotated_parts parts;
    bool strict; /* what cannot be done is an error */
};

/* ---- what a model allows ---- */

static const char *why_no_residual(const hone_transformer *tr)
{
    if (!tr->family->rms_norms)
        return "its norms take the mean off";
    if (!hone_transformer_holds(tr, tr->family->role_embedding, 0) ||
        !hone_transformer_holds(tr, tr->family->role_output, 0) || (tr->shape.tied && tr->naming != HONE_NAMES_GGUF))
        return "embedding and output are one matrix, and would be two";
    return hone_rotation_block(tr->shape.n_embd) > 1 ? NULL : "its length is odd";
}

static const char *why_no_heads(const hone_transformer *tr)
{
    return hone_rotation_block(tr->shape.head_dim) > 1 ? NULL : "their length is odd";
}

static hone_status refuse(const struct rotating *r, const char *what, const char *why, hone_error *err)
{
    if (r->strict)
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, NULL, "cannot rotate %s of this model: %s", what,
                         why);
    hone_context_note(r->ctx, "%s not rotated: %s", what, why);
    return HONE_OK;
}

static hone_status settle(struct rotating *r, hone_error *err)
{
    hone_rotated_parts *parts = &r->parts;
    const char *why = parts->residual ? why_no_residual(&r->tr) : NULL;
    if (why) {
        parts->residual = false;
        HONE_TRY(refuse(r, "the residual stream", why, err));
    }
    bool any_heads = false;
    for (size_t i = 0; i < parts->n_layers; i++)
        any_heads |= parts->heads[i];
    why = any_heads ? why_no_heads(&r->tr) : NULL;
    if (why) {
        memset(parts->heads, 0, parts->n_layers * sizeof *parts->heads);
        HONE_TRY(refuse(r, "the heads' values", why, err));
    }
    return HONE_OK;
}

/* ---- the residual stream ---- */

static hone_status rotate_linear(const struct rotating *r, const hone_linear_roles *linear, size_t layer,
                                 const hone_rotation *rotation, hone_error *err)
{
    if (!hone_transformer_holds(&r->tr, linear->weight, layer))
        return HONE_OK; /* of experts where there are none, or the other way round; a missing one is told by who loads
                           it */
    if (linear->adds) {
        const hone_transform writes = {.row_rotation = rotation};
        return hone_transform_linear(&r->tr, linear, layer, &writes, err);
    }
    if (linear->norm == HONE_NO_ROLE)
        return HONE_OK;
    char name[HONE_ROLE_NAME_CAP];
    float *norm;
    hone_role_name(r->tr.family, linear->norm, layer, r->tr.naming, name);
    HONE_TRY(hone_vector_load(r->ctx, r->tr.ckpt, name, r->tr.shape.n_embd, &norm, err));
    const hone_transform reads = {.column_scale = norm, .column_rotation = rotation};
    const hone_status status = hone_transform_linear(&r->tr, linear, layer, &reads, err);
    hone_release(norm);
    return status;
}

static bool is_norm(const hone_family *family, size_t role)
{
    bool found = false;
    for (size_t i = 0; i < family->n_linears; i++)
        found |= family->linears[i].norm == role;
    return found;
}

/* The linear layers within the layers or outside of them, and then their norms, which those have been read of. */
static hone_status rotate_part(const struct rotating *r, bool in_layer, size_t layer, const hone_rotation *rotation,
                               hone_error *err)
{
    const hone_family *family = r->tr.family;
    for (size_t i = 0; i < family->n_linears; i++)
        if (family->roles[family->linears[i].weight].in_layer == in_layer)
            HONE_TRY(rotate_linear(r, &family->linears[i], layer, rotation, err));
    const hone_transform to_ones = {.ones = true};
    for (size_t role = 0; role < family->n_roles; role++)
        if (family->roles[role].in_layer == in_layer && is_norm(family, role))
            HONE_TRY(hone_transform_role(&r->tr, role, layer, &to_ones, err));
    return HONE_OK;
}

static hone_status rotate_residual(const struct rotating *r, hone_error *err)
{
    const size_t d = r->tr.shape.n_embd;
    float *signs = hone_alloc(d, sizeof *signs);
    if (!signs)
        return hone_fail_nomem(err, d * sizeof *signs);
    hone_rotation_signs(RESIDUAL_SEED, d, signs);
    const hone_rotation rotation = {.n = d, .block = hone_rotation_block(d), .signs = signs};
    const hone_transform embeds = {.column_rotation = &rotation};
    hone_status status = hone_transform_role(&r->tr, r->tr.family->role_embedding, 0, &embeds, err);
    if (status == HONE_OK)
        status = rotate_part(r, false, 0, &rotation, err);
    for (size_t i = 0; i < r->tr.shape.n_layers && status == HONE_OK; i++)
        status = rotate_part(r, true, i, &rotation, err);
    hone_release(signs);
    return status;
}

/* ---- heads ---- */

static hone_status rotate_values(const struct rotating *r, size_t layer, const hone_rotation *values,
                                 const hone_rotation *outputs, hone_error *err)
{
    const hone_family *family = r->tr.family;
    const hone_transform makes = {.row_rotation = values}, reads = {.column_rotation = outputs};
    for (size_t i = 0; i < family->n_linears; i++) {
        const hone_linear_roles *linear = &family->linears[i];
        if (linear->weight == family->role_value)
            HONE_TRY(hone_transform_linear(&r->tr, linear, layer, &makes, err));
        if (linear->weight == family->role_attn_out)
            HONE_TRY(hone_transform_linear(&r->tr, linear, layer, &reads, err));
    }
    return HONE_OK;
}

static hone_status rotate_heads(const struct rotating *r, size_t layer, hone_error *err)
{
    const hone_family_shape *s = &r->tr.shape;
    const size_t d = s->head_dim, n_values = s->n_kv_heads * d, n_outputs = s->n_heads * d;
    const size_t block = hone_rotation_block(d), shared = s->n_heads / s->n_kv_heads;
    float *signs = hone_alloc(n_values + n_outputs, sizeof *signs);
    if (!signs)
        return hone_fail_nomem(err, (n_values + n_outputs) * sizeof *signs);
    hone_rotation_signs(HEADS_SEED + layer, n_values, signs);
    for (size_t i = 0; i < n_outputs; i++)
        signs[n_values + i] = signs[i / d / shared * d + i % d];
    const hone_rotation values = {
        .first = r->tr.family->fused_values ? 2 * n_values : 0, .n = n_values, .block = block, .signs = signs};
    const hone_rotation outputs = {.n = n_outputs, .block = block, .signs = signs + n_values};
    const hone_status status = rotate_values(r, layer, &values, &outputs, err);
    hone_release(signs);
    return status;
}

/* What was done, in the words that ask for it. */
static hone_status record(const struct rotating *r, hone_error *err)
{
    char *words = hone_rotated_parts_print(&r->parts);
    if (!words)
        return hone_fail_nomem(err, r->parts.n_layers);
    hone_status status = HONE_OK;
    if (strcmp(words, "none") != 0)
        status = hone_checkpoint_add_transform(r->tr.ckpt, KEY, words, err);
    hone_release(words);
    return status;
}

static hone_status rotate(struct rotating *r, const char *what, hone_error *err)
{
    r->strict = strcmp(what, "all") != 0;
    HONE_TRY(hone_rotated_parts_parse(r->strict ? what : "residual+heads", &r->parts, err));
    HONE_TRY(settle(r, err));
    for (size_t i = 0; i < r->parts.n_layers; i++)
        if (r->parts.heads[i])
            HONE_TRY(rotate_heads(r, i, err));
    if (r->parts.residual)
        HONE_TRY(rotate_residual(r, err));
    return record(r, err);
}

hone_status hone_checkpoint_rotate(const hone_context *ctx, hone_checkpoint *ckpt, const char *what, hone_error *err)
{
    if (strcmp(what, "none") == 0)
        return HONE_OK;
    const char *path = hone_checkpoint_path(ckpt), *already = hone_checkpoint_rotation(ckpt);
    if (strcmp(already, "none") != 0)
        return hone_fail_in_file(
            err, hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "is rotated already (%s)", already), path);
    struct rotating r = {.ctx = ctx};
    HONE_TRY(hone_transformer_init(ckpt, &r.tr, err));
    r.parts.n_layers = r.tr.shape.n_layers;
    r.parts.heads = hone_calloc(r.parts.n_layers, sizeof *r.parts.heads);
    if (!r.parts.heads)
        return hone_fail_nomem(err, r.parts.n_layers);
    const hone_status status = rotate(&r, what, err);
    hone_release(r.parts.heads);
    return status == HONE_OK ? HONE_OK : hone_fail_in_file(err, status, path);
}

const char *hone_checkpoint_rotation(const hone_checkpoint *ckpt)
{
    const char *rotation = json_string_value(json_object_get(hone_checkpoint_transforms(ckpt), KEY));
    return rotation ? rotation : "none";
}
