/* SPDX-License-Identifier: MIT */
#include "convert/fold_groups.h"

#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "convert/grid_parts.h"

/* Where tensors are found by their names in GGUF: in the plan, or, where it has others, by what these are made of. */
struct lookup {
    const hone_plan *plan, *names;
};

static const hone_planned_tensor *find(const struct lookup *in, unsigned layer, const char *what)
{
    const hone_planned_tensor *named = NULL;
    char name[96];
    (void)snprintf(name, sizeof name, "blk.%u.%s", layer, what);
    for (size_t i = 0; i < in->names->n_tensors && !named; i++) {
        const char *own = in->names->tensors[i].name;
        if (strcmp(own, strncmp(own, "blk.", 4) == 0 ? name : what) == 0)
            named = &in->names->tensors[i];
    }
    if (!named || in->names == in->plan)
        return named;
    for (size_t i = 0; i < in->plan->n_tensors; i++) {
        const hone_planned_tensor *t = &in->plan->tensors[i];
        if (t->source == named->source && (!t->weight || t->part == HONE_PART_CODES))
            return t;
    }
    return NULL;
}

static bool is_known(const hone_plan *plan)
{
    const char *architecture = hone_checkpoint_architecture(plan->src);
    const hone_conversion *family = architecture ? hone_conversion_find(architecture) : NULL;
    const char *name = family ? family->gguf_architecture : architecture;
    return name && (strcmp(name, "llama") == 0 || strcmp(name, "gpt2") == 0);
}

static hone_status add(hone_fold_links *out, hone_fold_link link, hone_error *err)
{
    hone_fold_link *grown = hone_grow(out->links, &out->cap, out->n + 1, sizeof link);
    if (!grown)
        return hone_fail_nomem(err, (out->n + 1) * sizeof link);
    out->links = grown;
    out->links[out->n++] = link;
    return HONE_OK;
}

/* names: ends with NULL; all of them, or there is no link. */
static hone_status add_norm(const struct lookup *in, unsigned layer, const char *norm, const char *norm_bias,
                            const char *const *names, hone_fold_links *out, hone_error *err)
{
    hone_fold_link link = {.writer = find(in, layer, norm), .bias = find(in, layer, norm_bias), .repeats = 1};
    if (!link.writer || link.writer->n_dims != 1)
        return HONE_OK;
    link.n = link.width = link.writer->shape[0];
    for (; names[link.n_readers]; link.n_readers++) {
        const hone_planned_tensor *reader = find(in, layer, names[link.n_readers]);
        if (!reader || reader->n_dims < 2 || reader->row_nelems != link.n)
            return HONE_OK;
        link.readers[link.n_readers] = reader;
    }
    return add(out, link, err);
}

/* rows: of the writer, the last of its own. */
static hone_status add_matrix(const struct lookup *in, unsigned layer, const char *writer, const char *bias,
                              const char *reader, uint64_t n_heads, uint64_t n_writing_heads, hone_fold_links *out,
                              hone_error *err)
{
    hone_fold_link link = {.writer = find(in, layer, writer), .bias = find(in, layer, bias), .n_readers = 1};
    link.readers[0] = find(in, layer, reader);
    if (!link.writer || !link.readers[0] || link.writer->n_dims != 2 || link.readers[0]->n_dims != 2)
        return HONE_OK;
    const uint64_t n_columns = link.readers[0]->row_nelems;
    if (n_heads == 0 || n_writing_heads == 0 || n_heads % n_writing_heads != 0 || n_columns % n_heads != 0)
        return HONE_OK;
    link.width = n_columns / n_heads;
    link.repeats = n_heads / n_writing_heads;
    link.n = n_writing_heads * link.width;
    if (link.n > link.writer->n_rows || link.writer->order == HONE_ROWS_INTERLEAVE_HALVES)
        return HONE_OK;
    link.first_row = link.writer->n_rows - link.n;
    return add(out, link, err);
}

static hone_status add_layer(const struct lookup *in, unsigned layer, hone_fold_links *out, hone_error *err)
{
    static const char *const apart[] = {"attn_q.weight", "attn_k.weight", "attn_v.weight", NULL};
    static const char *const joined[] = {"attn_qkv.weight", NULL};
    static const char *const gated[] = {"ffn_gate.weight", "ffn_up.weight", NULL};
    static const char *const mixed[] = {"ffn_gate_exps.weight", "ffn_up_exps.weight", "ffn_gate_inp.weight", NULL};
    const uint64_t heads = in->names->model.n_heads, kv_heads = in->names->model.n_kv_heads;
    const bool is_joined = find(in, layer, joined[0]), is_gated = find(in, layer, gated[0]);
    HONE_TRY(add_norm(in, layer, "attn_norm.weight", "attn_norm.bias", is_joined ? joined : apart, out, err));
    HONE_TRY(add_matrix(in, layer, is_joined ? "attn_qkv.weight" : "attn_v.weight",
                        is_joined ? "attn_qkv.bias" : "attn_v.bias", "attn_output.weight", heads, kv_heads, out, err));
    if (find(in, layer, mixed[2])) /* what lies between is another for each expert */
        return add_norm(in, layer, "ffn_norm.weight", "ffn_norm.bias", mixed, out, err);
    HONE_TRY(add_norm(in, layer, "ffn_norm.weight", "ffn_norm.bias", is_gated ? gated : gated + 1, out, err));
    if (!is_gated) /* what lies between is not linear */
        return HONE_OK;
    return add_matrix(in, layer, "ffn_up.weight", "ffn_up.bias", "ffn_down.weight", 1, 1, out, err);
}

static hone_status find_links(const struct lookup *in, hone_fold_links *out, hone_error *err)
{
    static const char *const logits[] = {"output.weight", NULL};
    for (unsigned layer = 0; layer < in->names->model.n_layers; layer++)
        HONE_TRY(add_layer(in, layer, out, err));
    return add_norm(in, 0, "output_norm.weight", "output_norm.bias", logits, out, err);
}

hone_status hone_fold_links_find(const hone_context *ctx, const hone_plan *plan, hone_fold_links *out, hone_error *err)
{
    *out = (hone_fold_links){0};
    if (!is_known(plan))
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, NULL,
                         "which tensors feed which is not known for this architecture");
    if (!plan->n_weights)
        return find_links(&(struct lookup){plan, plan}, out, err);
    hone_plan names;
    HONE_TRY(hone_plan_names(ctx, plan->src, &names, err));
    const hone_status status = find_links(&(struct lookup){plan, &names}, out, err);
    hone_plan_names_deinit(&names);
    return status;
}
