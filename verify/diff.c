/* SPDX-License-Identifier: MIT */
/*
 * hone_diff_run(): which weights of two checkpoints belong together, and how far apart they are.
 *
 * The pairing is written from the published conventions, apart from the converter's, which it is there to check.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/fail.h"
#include "base/mem.h"
#include "base/run_context.h"
#include "formats/sources.h"
#include "verify/diff_rows.h"
#include "verify/model_impl.h"

struct hone_diff {
    hone_arena arena; /* names, which must outlive the checkpoints */
    hone_tensor_diff *entries;
    size_t n_entries;
    const char **unmatched[2];
    size_t n_unmatched[2];
};

/* Pairs as they are collected. */
struct pairing {
    const hone_checkpoint *ckpt[2]; /* reference, candidate */
    const char *only;               /* the candidate's tensor to compare, or NULL for all */
    bool by_name;                   /* then all there is counts, else weights only */
    hone_tensor_pair *pairs;
    size_t n, cap;
};

static bool is_weight(const hone_tensor *t)
{
    return hone_dtype_describe(t->dtype)->is_float;
}

static hone_status add_pair(struct pairing *p, hone_tensor_pair pair, hone_error *err)
{
    if (p->only && strcmp(p->only, pair.candidate->name) != 0)
        return HONE_OK;
    hone_tensor_pair *pairs = hone_grow(p->pairs, &p->cap, p->n + 1, sizeof *pairs);
    if (!pairs)
        return hone_fail_nomem(err, (p->n + 1) * sizeof *pairs);
    p->pairs = pairs;
    pairs[p->n++] = pair;
    return HONE_OK;
}

static hone_status pair_by_name(struct pairing *p, hone_error *err)
{
    for (size_t i = 0; i < hone_checkpoint_n_tensors(p->ckpt[1]); i++) {
        const hone_tensor *candidate = hone_checkpoint_tensor(p->ckpt[1], i);
        const hone_tensor *reference = hone_checkpoint_find(p->ckpt[0], candidate->name);
        if (reference)
            HONE_TRY(add_pair(p, (hone_tensor_pair){.reference = reference, .candidate = candidate}, err));
    }
    return HONE_OK;
}

/* ---- two namings of one family ---- */

struct roles {
    const hone_family *family;
    hone_family_shape shape;
    hone_naming naming[2]; /* by side */
};

static const hone_tensor *find_role(const struct pairing *p, const struct roles *r, int side, size_t role, size_t layer)
{
    char name[HONE_ROLE_NAME_CAP];
    hone_role_name(r->family, role, layer, r->naming[side], name);
    return hone_checkpoint_find(p->ckpt[side], name);
}

/* How the rows of a pair correspond, unless the order is the same on both sides. */
static hone_status set_order(const struct roles *r, size_t role, hone_tensor_pair *pair, hone_error *err)
{
    const hone_row_order order = r->family->roles[role].order;
    const hone_tensor *t = pair->candidate;
    const bool one_gguf = (r->naming[0] == HONE_NAMES_GGUF) != (r->naming[1] == HONE_NAMES_GGUF);
    if (order == HONE_ROWS_SAME || t->n_dims == 0 || !one_gguf)
        return HONE_OK;
    pair->transposed = order == HONE_ROWS_TRANSPOSED && t->n_dims == 2;
    if (order == HONE_ROWS_TRANSPOSED)
        return HONE_OK;
    const size_t n_heads = order == HONE_ROWS_PAIRED_BY_HEAD ? r->shape.n_heads : r->shape.n_kv_heads;
    if (t->shape[0] % n_heads != 0 || t->shape[0] / n_heads % 2 != 0)
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, t->name, "its rows do not divide into %zu heads",
                         n_heads);
    pair->head_nrows = (size_t)t->shape[0] / n_heads;
    return HONE_OK;
}

static bool is_paired(const struct pairing *p, const hone_tensor *reference, const hone_tensor *candidate)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->pairs[i].reference == reference && p->pairs[i].candidate == candidate)
            return true;
    return false;
}

static hone_status pair_role(struct pairing *p, const struct roles *r, size_t role, size_t layer, hone_error *err)
{
    const hone_tensor *t[2];
    for (int side = 0; side < 2; side++)
        t[side] = find_role(p, r, side, role, layer);
    /* Of two tied matrices a side may store either one: the one it has stands for both. */
    const hone_family *f = r->family;
    const bool end = role == f->role_embedding || role == f->role_output;
    const size_t twin = role == f->role_embedding ? f->role_output : f->role_embedding;
    for (int side = 0; side < 2 && end; side++)
        if (!t[side] && t[1 - side])
            t[side] = find_role(p, r, side, twin, layer);
    if (!t[0] || !t[1] || (end && is_paired(p, t[0], t[1])))
        return HONE_OK;
    hone_tensor_pair pair = {.reference = t[0], .candidate = t[1]};
    HONE_TRY(set_order(r, role, &pair, err));
    return add_pair(p, pair, err);
}

static hone_status pair_by_role(struct pairing *p, hone_error *err)
{
    struct roles r;
    const hone_family *families[2];
    hone_family_shape shapes[2];
    for (int side = 0; side < 2; side++) {
        const char *path = hone_checkpoint_path(p->ckpt[side]);
        hone_status status = hone_family_find(p->ckpt[side], &families[side], err);
        if (status == HONE_OK)
            status = families[side]->shape(p->ckpt[side], &shapes[side], err);
        if (status != HONE_OK)
            return hone_fail_in_file(err, status, path);
        r.naming[side] = hone_family_naming(families[side], p->ckpt[side]);
    }
    if (families[0] != families[1])
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "the two are of different architectures");
    if (shapes[0].n_heads != shapes[1].n_heads || shapes[0].n_kv_heads != shapes[1].n_kv_heads)
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL,
                         "the two have different heads: %zu over %zu, and %zu over %zu", shapes[0].n_heads,
                         shapes[0].n_kv_heads, shapes[1].n_heads, shapes[1].n_kv_heads);
    r.family = families[0];
    r.shape = shapes[shapes[0].n_layers < shapes[1].n_layers]; /* layers of the longer one are listed as unmatched */
    const hone_weight_role *roles = r.family->roles;
    for (size_t role = 0; role < r.family->n_roles; role++)
        if (!roles[role].in_layer)
            HONE_TRY(pair_role(p, &r, role, 0, err));
    for (size_t layer = 0; layer < r.shape.n_layers; layer++)
        for (size_t role = 0; role < r.family->n_roles; role++)
            if (roles[role].in_layer)
                HONE_TRY(pair_role(p, &r, role, layer, err));
    return HONE_OK;
}

/* ---- what only one side holds ---- */

static int compare_pointers(const void *a, const void *b)
{
    const hone_tensor *const *x = a, *const *y = b;
    return ((uintptr_t)*x > (uintptr_t)*y) - ((uintptr_t)*x < (uintptr_t)*y);
}

static hone_status list_unmatched(hone_diff *diff, const struct pairing *p, int side, hone_error *err)
{
    const size_t n_tensors = hone_checkpoint_n_tensors(p->ckpt[side]);
    const hone_family *family = NULL;
    if (hone_family_find(p->ckpt[side], &family, NULL) != HONE_OK || hone_checkpoint_is_gguf(p->ckpt[side]))
        family = NULL;
    const hone_tensor **matched = hone_alloc(p->n, sizeof *matched);
    diff->unmatched[side] = hone_alloc(n_tensors, sizeof *diff->unmatched[side]);
    hone_status status = HONE_OK;
    if (!matched || !diff->unmatched[side])
        status = hone_fail_nomem(err, (p->n + n_tensors) * sizeof *matched);
    for (size_t i = 0; i < p->n && status == HONE_OK; i++)
        matched[i] = side ? p->pairs[i].candidate : p->pairs[i].reference;
    if (status == HONE_OK)
        qsort(matched, p->n, sizeof *matched, compare_pointers);
    for (size_t i = 0; i < n_tensors && status == HONE_OK; i++) {
        const hone_tensor *t = hone_checkpoint_tensor(p->ckpt[side], i),
                          *stack = hone_checkpoint_stack_of(p->ckpt[side], t);
        if (stack && bsearch(&stack, matched, p->n, sizeof *matched, compare_pointers))
            continue;
        if ((!is_weight(t) && !p->by_name) || (family && hone_family_is_buffer(family, t->name)) ||
            bsearch(&t, matched, p->n, sizeof *matched, compare_pointers))
            continue;
        const char *name = hone_arena_copy(&diff->arena, t->name, strlen(t->name));
        if (!name)
            status = hone_fail_nomem(err, strlen(t->name) + 1);
        else
            diff->unmatched[side][diff->n_unmatched[side]++] = name;
    }
    hone_release(matched);
    return status;
}

/* ---- running ---- */

static hone_status check_pair(const struct pairing *p, const hone_tensor_pair *pair, hone_error *err)
{
    const hone_tensor *a = pair->reference, *b = pair->candidate;
    bool same = a->n_dims == b->n_dims;
    for (unsigned i = 0; same && i < a->n_dims; i++)
        same = a->shape[i] == b->shape[pair->transposed ? 1 - i : i];
    if (!same) {
        const hone_status status =
            hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, b->name, "its shape is not that of \"%s\"%s", a->name,
                      pair->transposed ? ", transposed" : "");
        return hone_fail_in_file(err, status, hone_checkpoint_path(p->ckpt[1]));
    }
    return HONE_OK;
}

static hone_status compare_pairs(const hone_context *ctx, const struct pairing *p, hone_diff *diff, hone_error *err)
{
    diff->entries = hone_calloc(p->n, sizeof *diff->entries);
    if (!diff->entries)
        return hone_fail_nomem(err, p->n * sizeof *diff->entries);
    for (size_t i = 0; i < p->n; i++)
        HONE_TRY(check_pair(p, &p->pairs[i], err));
    for (size_t i = 0; i < p->n; i++) {
        const hone_tensor *a = p->pairs[i].reference, *b = p->pairs[i].candidate;
        hone_tensor_diff *entry = &diff->entries[i];
        entry->name = hone_arena_copy(&diff->arena, b->name, strlen(b->name));
        entry->reference_name = hone_arena_copy(&diff->arena, a->name, strlen(a->name));
        if (!entry->name || !entry->reference_name)
            return hone_fail_nomem(err, strlen(a->name) + strlen(b->name) + 2);
        HONE_TRY(hone_diff_rows(ctx, p->ckpt[0], p->ckpt[1], &p->pairs[i], entry, err));
        diff->n_entries++;
        hone_context_progress(ctx, "diff", i + 1, p->n);
    }
    return HONE_OK;
}

/* Whether a tensor has one name on both sides: in files of one naming, whatever the architecture. */
static bool same_names(const struct pairing *p)
{
    const hone_family *a, *b;
    if (hone_checkpoint_is_gguf(p->ckpt[0]) != hone_checkpoint_is_gguf(p->ckpt[1]))
        return false;
    if (hone_family_find(p->ckpt[0], &a, NULL) != HONE_OK || hone_family_find(p->ckpt[1], &b, NULL) != HONE_OK)
        return true;
    return a != b || hone_family_naming(a, p->ckpt[0]) == hone_family_naming(b, p->ckpt[1]);
}

static hone_status run(const hone_context *ctx, struct pairing *p, hone_diff *diff, hone_error *err)
{
    p->by_name = same_names(p);
    HONE_TRY(p->by_name ? pair_by_name(p, err) : pair_by_role(p, err));
    if (p->only && p->n == 0) {
        const bool there = hone_checkpoint_find(p->ckpt[1], p->only) != NULL;
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, p->only,
                         there ? "nothing in the reference corresponds to it" : "the candidate holds no such tensor");
    }
    for (int side = 0; side < 2 && !p->only; side++)
        HONE_TRY(list_unmatched(diff, p, side, err));
    return compare_pairs(ctx, p, diff, err);
}

hone_status hone_diff_run(const hone_context *ctx, const hone_checkpoint *reference, const hone_checkpoint *candidate,
                          const char *name, hone_diff **out, hone_error *err)
{
    *out = NULL;
    hone_diff *diff = hone_calloc(1, sizeof *diff);
    if (!diff)
        return hone_fail_nomem(err, sizeof *diff);
    struct pairing p = {.ckpt = {reference, candidate}, .only = name};
    const hone_status status = run(ctx, &p, diff, err);
    hone_release(p.pairs);
    if (status != HONE_OK) {
        hone_diff_free(diff);
        return status;
    }
    *out = diff;
    return HONE_OK;
}

void hone_diff_free(hone_diff *diff)
{
    if (!diff)
        return;
    hone_release(diff->entries);
    hone_release(diff->unmatched[0]);
    hone_release(diff->unmatched[1]);
    hone_arena_deinit(&diff->arena);
    hone_release(diff);
}

size_t hone_diff_n(const hone_diff *diff)
{
    return diff->n_entries;
}

const hone_tensor_diff *hone_diff_at(const hone_diff *diff, size_t i)
{
    return i < diff->n_entries ? &diff->entries[i] : NULL;
}

const char *hone_diff_unmatched(const hone_diff *diff, int side, size_t i)
{
    if (side < 0 || side > 1 || i >= diff->n_unmatched[side])
        return NULL;
    return diff->unmatched[side][i];
}
