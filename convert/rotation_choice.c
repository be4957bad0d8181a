/* SPDX-License-Identifier: MIT */
/*
 * Choosing a rotation by what it does to the errors of quantized matrices.
 *
 * The model is opened and planned once for each of: no rotation, the heads, the residual stream, both. A matrix' error
 * is tr(E H ET) / tr(W H WT); those that make and read a layer's values have one together (value_errors.h), which
 * differs with the layer's heads and with the residual stream; all the others differ with the residual stream only. So
 * the best choice for each layer's heads is known under either choice for the residual stream, and the sums decide
 * that.
 */
#include <math.h>

#include "base/fail.h"
#include "base/mem.h"
#include "convert/moments.h"
#include "convert/target.h"
#include "convert/type_errors.h"
#include "convert/value_errors.h"
#include "hone/rotate.h"
#include "verify/rotation_words.h"

enum variant { UNROTATED, HEADS, RESIDUAL, BOTH, N_VARIANTS };

/* A rotation is kept if it leaves less than this part of the error. A percent or two is what another sample of rows, or
 * another text, may make of it. */
static const double ENOUGH = 0.98;

static const char *const words[N_VARIANTS] = {
    [UNROTATED] = "none", [HEADS] = "heads", [RESIDUAL] = "residual", [BOTH] = "residual+heads"};

/* Errors under one variant. */
struct measured {
    bool allowed;
    double *layers; /* (n_layers) of the matrices at the layer's values, in what attention adds */
    double others;  /* of all others, each in its own output */
};

struct choosing {
    const hone_context *ctx; /* what plans have to note will be noted when the real one is made */
    const char *path;
    const hone_open_options *open;
    hone_convert_options opts;
    bool plain;
    size_t n_layers; /* known once the first variant is planned */
    struct measured variants[N_VARIANTS];
};

static bool is_coded(const hone_planned_tensor *t)
{
    return t->moments && hone_dtype_describe(t->dtype)->is_quantized;
}

/* The layer's matrix of one of two roles that is coded, or NULL. */
static const hone_planned_tensor *find(const hone_plan *plan, size_t layer, hone_role a, hone_role b)
{
    for (size_t i = 0; i < plan->n_tensors; i++) {
        const hone_planned_tensor *t = &plan->tensors[i];
        if ((t->role == a || t->role == b) && t->layer == layer && is_coded(t))
            return t;
    }
    return NULL;
}

static hone_status measure_layer(const struct choosing *c, const hone_plan *plan, size_t layer, double *out,
                                 hone_error *err)
{
    const hone_value_matrices m = {.values = find(plan, layer, HONE_ROLE_ATTN_V, HONE_ROLE_ATTN_QKV),
                                   .output = find(plan, layer, HONE_ROLE_ATTN_OUTPUT, HONE_ROLE_ATTN_OUTPUT),
                                   .n_heads = plan->model.n_heads,
                                   .n_kv_heads = plan->model.n_kv_heads};
    *out = 0;
    return m.values && m.output ? hone_value_errors_measure(c->ctx, plan, &m, c->plain, out, err) : HONE_OK;
}

static hone_status measure_others(const struct choosing *c, const hone_plan *plan, double *out, hone_error *err)
{
    hone_feedback feedback = {0};
    const hone_tensor *current = NULL;
    hone_status status = HONE_OK;
    for (size_t i = 0; i < plan->n_tensors && status == HONE_OK; i++) {
        const hone_planned_tensor *t = &plan->tensors[i];
        if (!is_coded(t) || t->role == HONE_ROLE_ATTN_V || t->role == HONE_ROLE_ATTN_OUTPUT)
            continue;
        hone_type_errors e = {.types = &t->dtype, .n = 1, .probe = 1, .plain = c->plain};
        status = hone_moments_prepare(c->ctx, plan, t, &current, &feedback, err);
        if (status == HONE_OK)
            status = hone_type_errors_measure(c->ctx, plan, t, &feedback, &e, err);
        if (status == HONE_OK)
            *out += e.whole > 0 ? e.error[0] / e.whole : 0;
    }
    hone_feedback_deinit(&feedback);
    return status;
}

static hone_status measure_plan(struct choosing *c, enum variant v, const hone_plan *plan, hone_error *err)
{
    struct measured *m = &c->variants[v];
    if (v == UNROTATED)
        c->n_layers = plan->model.n_layers;
    m->layers = hone_calloc(c->n_layers, sizeof *m->layers);
    if (!m->layers)
        return hone_fail_nomem(err, c->n_layers * sizeof *m->layers);
    for (size_t i = 0; i < c->n_layers; i++) {
        HONE_TRY(measure_layer(c, plan, i, &m->layers[i], err));
        hone_context_progress(c->ctx, "rotations", v * c->n_layers + i + 1, N_VARIANTS * c->n_layers);
    }
    if (v == UNROTATED || v == RESIDUAL) /* heads concern nothing else */
        HONE_TRY(measure_others(c, plan, &m->others, err));
    m->allowed = true;
    return HONE_OK;
}

static hone_status measure_variant(struct choosing *c, enum variant v, hone_error *err)
{
    hone_checkpoint *src = NULL;
    hone_plan *plan = NULL;
    hone_error told;
    HONE_TRY(hone_checkpoint_open(c->path, c->open, &src, err));
    hone_status status = hone_checkpoint_rotate(c->ctx, src, words[v], &told);
    if (status == HONE_ERROR_UNSUPPORTED) {
        hone_checkpoint_close(src);
        return HONE_OK;
    }
    if (status != HONE_OK && err)
        *err = told;
    if (status == HONE_OK)
        status = hone_plan_new(c->ctx, src, &c->opts, &plan, err);
    if (status == HONE_OK)
        status = measure_plan(c, v, plan, err);
    hone_plan_free(plan);
    hone_checkpoint_close(src);
    return status;
}

/* ---- deciding ---- */

/* The error with the residual stream as it is in `without`, and the heads of each layer as is better; *heads marks
 * those that are rotated. */
static double best_of(const struct choosing *c, enum variant without, enum variant with, bool *heads)
{
    const struct measured *a = &c->variants[without], *b = &c->variants[with];
    double sum = a->others;
    for (size_t i = 0; i < c->n_layers; i++) {
        heads[i] = b->allowed && b->layers[i] < ENOUGH * a->layers[i];
        sum += heads[i] ? b->layers[i] : a->layers[i];
    }
    return sum;
}

static double total(const struct choosing *c, enum variant v)
{
    const struct measured *m = &c->variants[v];
    double sum = c->variants[v == HEADS || v == UNROTATED ? UNROTATED : RESIDUAL].others;
    for (size_t i = 0; m->allowed && i < c->n_layers; i++)
        sum += m->layers[i];
    return m->allowed ? sum : (double)NAN;
}

static hone_status decide(const struct choosing *c, hone_rotation_choice *out, hone_error *err)
{
    bool *heads = hone_calloc(2 * c->n_layers, sizeof *heads);
    if (!heads)
        return hone_fail_nomem(err, 2 * c->n_layers);
    const double as_it_is = best_of(c, UNROTATED, HEADS, heads);
    double rotated = (double)INFINITY;
    if (c->variants[RESIDUAL].allowed)
        rotated = best_of(c, RESIDUAL, BOTH, heads + c->n_layers);
    const bool residual = rotated < ENOUGH * as_it_is;
    const hone_rotated_parts parts = {residual, residual ? heads + c->n_layers : heads, c->n_layers};
    *out = (hone_rotation_choice){.what = hone_rotated_parts_print(&parts),
                                  .error = residual ? rotated : as_it_is,
                                  .unrotated = total(c, UNROTATED),
                                  .residual = total(c, RESIDUAL),
                                  .heads = total(c, HEADS)};
    hone_release(heads);
    return out->what ? HONE_OK : hone_fail_nomem(err, 0);
}

static hone_status check(const hone_convert_options *opts, hone_error *err)
{
    const char *wrong = NULL;
    if (!opts->calibration)
        wrong = "choosing a rotation needs a calibration with second moments (hone calibrate --hessian)";
    else if (hone_target_find(opts->to) != &hone_target_gguf)
        wrong = "choosing a rotation is for gguf";
    else if (!opts->type)
        wrong = "choosing a rotation needs a type";
    return wrong ? hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "%s", wrong) : HONE_OK;
}

hone_status hone_rotation_choose(const hone_context *ctx, const char *path, const hone_open_options *open,
                                 const hone_convert_options *opts, hone_rotation_choice *out, hone_error *err)
{
    *out = (hone_rotation_choice){0};
    HONE_TRY(check(opts, err));
    hone_context quiet = *ctx;
    quiet.note = NULL;
    struct choosing c = {.ctx = &quiet, .path = path, .open = open, .opts = *opts};
    c.plain = opts->method == HONE_METHOD_PLAIN;
    c.opts.method = HONE_METHOD_GPTQ; /* so that plans have the moments */
    c.opts.imatrix = NULL;
    c.opts.budget = NULL;
    hone_status status = HONE_OK;
    for (int v = 0; v < N_VARIANTS && status == HONE_OK; v++)
        status = measure_variant(&c, (enum variant)v, err);
    if (status == HONE_OK)
        status = decide(&c, out, err);
    for (int v = 0; v < N_VARIANTS; v++)
        hone_release(c.variants[v].layers);
    return status;
}

void hone_rotation_choice_deinit(hone_rotation_choice *choice)
{
    hone_release(choice->what);
    *choice = (hone_rotation_choice){0};
}
