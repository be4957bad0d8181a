/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arith.h"
#include "base/fail.h"
#include "base/mem.h"
#include "base/run_context.h"
#include "verify/matmul.h"
#include "verify/model_impl.h"

/* Every architecture family. */
static const hone_family *const families[] = {
    &hone_gpt2_family,
    &hone_llama_family,
};

hone_status hone_family_find(const hone_checkpoint *ckpt, const hone_family **out, hone_error *err)
{
    *out = NULL;
    const char *architecture = hone_checkpoint_architecture(ckpt);
    if (!architecture)
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, NULL,
                         "the checkpoint names no architecture (is there a config.json?)");
    for (size_t f = 0; f < sizeof families / sizeof families[0]; f++)
        for (const char *const *name = families[f]->architectures; *name; name++)
            if (strcmp(*name, architecture) == 0) {
                *out = families[f];
                return HONE_OK;
            }
    return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, NULL, "cannot run models of architecture \"%s\"",
                     architecture);
}

bool hone_checkpoint_is_gguf(const hone_checkpoint *ckpt)
{
    return strcmp(hone_checkpoint_format(ckpt), "gguf") == 0;
}

/* The part of a name behind the family's base, where it begins with that. */
static const char *without_base(const hone_family *family, const char *name)
{
    const size_t len = family->hf_base ? strlen(family->hf_base) : 0;
    return len && strncmp(name, family->hf_base, len) == 0 ? name + len : name;
}

hone_naming hone_family_naming(const hone_family *family, const hone_checkpoint *ckpt)
{
    if (hone_checkpoint_is_gguf(ckpt))
        return HONE_NAMES_GGUF;
    const char *name = family->roles[family->role_embedding].hf;
    const bool base = !hone_checkpoint_find(ckpt, name) && hone_checkpoint_find(ckpt, without_base(family, name));
    return base ? HONE_NAMES_HF_BASE : HONE_NAMES_HF;
}

void hone_role_name(const hone_family *family, size_t role, size_t layer, hone_naming naming,
                    char name[HONE_ROLE_NAME_CAP])
{
    const hone_weight_role *r = &family->roles[role];
    const bool gguf = naming == HONE_NAMES_GGUF;
    const char *tail = gguf ? r->gguf : r->hf;
    const char *head = gguf ? family->gguf_layer : family->hf_layer;
    if (naming == HONE_NAMES_HF_BASE) {
        tail = without_base(family, tail);
        head = without_base(family, head);
    }
    if (r->in_layer)
        (void)snprintf(name, HONE_ROLE_NAME_CAP, "%s%zu.%s", head, layer, tail);
    else
        (void)snprintf(name, HONE_ROLE_NAME_CAP, "%s", tail);
}

bool hone_role_gguf_name(const hone_family *family, hone_naming naming, const char *stored,
                         char name[HONE_ROLE_NAME_CAP])
{
    for (size_t role = 0; role < family->n_roles; role++) {
        /* The layer's number, wherever the name may have one: a wrong guess makes another name. */
        const char *head = naming == HONE_NAMES_GGUF ? family->gguf_layer : family->hf_layer;
        if (naming == HONE_NAMES_HF_BASE)
            head = without_base(family, head);
        size_t layer = 0;
        if (family->roles[role].in_layer && strncmp(stored, head, strlen(head)) == 0)
            layer = (size_t)strtoul(stored + strlen(head), NULL, 10);
        hone_role_name(family, role, layer, naming, name);
        if (strcmp(name, stored) != 0)
            continue;
        hone_role_name(family, role, layer, HONE_NAMES_GGUF, name);
        return true;
    }
    return false;
}

bool hone_family_is_buffer(const hone_family *family, const char *name)
{
    const char *layer = without_base(family, family->hf_layer);
    const char *rest = without_base(family, name);
    if (!family->hf_buffers || strncmp(rest, layer, strlen(layer)) != 0)
        return false;
    rest += strlen(layer);
    rest += strspn(rest, "0123456789");
    for (const char *const *buffer = family->hf_buffers; *buffer; buffer++)
        if (rest[0] == '.' && strcmp(rest + 1, *buffer) == 0)
            return true;
    return false;
}

hone_status hone_model_load(const hone_context *ctx, const hone_checkpoint *ckpt, hone_model **out, hone_error *err)
{
    *out = NULL;
    const char *path = hone_checkpoint_path(ckpt);
    const hone_family *family;
    hone_status status = hone_family_find(ckpt, &family, err);
    if (status != HONE_OK)
        return hone_fail_in_file(err, status, path);
    hone_model *model = hone_calloc(1, sizeof *model);
    if (!model)
        return hone_fail_nomem(err, sizeof *model);
    hone_matmul_init();
    model->family = family;
    status = family->load(ctx, ckpt, model, err);
    if (status != HONE_OK) {
        hone_model_free(model);
        return hone_fail_in_file(err, status, path);
    }
    *out = model;
    return HONE_OK;
}

void hone_model_free(hone_model *model)
{
    if (!model)
        return;
    model->family->unload(model);
    hone_release(model);
}

const hone_weight *hone_model_embedding_readers(const hone_model *model,
                                                hone_embedding_reader readers[HONE_N_EMBEDDING_READERS])
{
    const hone_weight *embedding = model->family->embedding_readers(model, readers);
    return embedding->data == model->output.data ? NULL : embedding;
}

hone_weight *hone_model_matrix(hone_model *model, size_t i, size_t *stage)
{
    for (size_t s = 0; s <= model->n_layers + 1; s++) {
        hone_weight *w;
        for (size_t j = 0; (w = model->family->matrix(model, s, j)); j++) {
            if (i-- > 0)
                continue;
            if (stage)
                *stage = s;
            return w;
        }
    }
    return NULL;
}

size_t hone_model_n_vocab(const hone_model *model)
{
    return model->n_vocab;
}

size_t hone_model_n_ctx(const hone_model *model)
{
    return model->n_ctx;
}

size_t hone_model_slice(const hone_model *model)
{
    enum { SLICE_NFLOATS = 8 << 20, MIN_SLICE = 16, MAX_SLICE = 256 };
    const size_t n = SLICE_NFLOATS / model->n_vocab;
    return n < MIN_SLICE ? MIN_SLICE : n > MAX_SLICE ? MAX_SLICE : n;
}

hone_status hone_run_init(const hone_context *ctx, const hone_model *model, size_t n_max, hone_run *out,
                          hone_error *err)
{
    memset(out, 0, sizeof *out);
    size_t nfloats, own, matmul;
    /* INT32_MAX: the BLAS counts in int. */
    if (n_max > INT32_MAX || !model->family->scratch_nfloats(model, n_max, ctx->n_threads, &nfloats) ||
        !hone_mul_size(n_max, model->n_embd, &own) ||
        !hone_mul_size(hone_matmul_scratch_nfloats(), (size_t)ctx->n_threads, &matmul))
        return hone_fail_nomem(err, UINT64_MAX);
    if (model->n_positions && n_max > model->n_positions)
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL,
                         "sequences of %zu tokens; the model has %zu positions", n_max, model->n_positions);
    if (n_max > model->n_ctx)
        hone_context_note(ctx, "sequences of %zu tokens; the model was trained on at most %zu", n_max, model->n_ctx);
    /* The output product runs after a pass is done, in the same scratch. */
    if (nfloats < matmul)
        nfloats = matmul;
    hone_run run = {.ctx = ctx, .model = model, .n_max = n_max};
    run.hidden = hone_alloc(own, sizeof(float));
    run.scratch = hone_alloc(nfloats, sizeof(float));
    if (!run.hidden || !run.scratch) {
        hone_run_deinit(&run);
        return hone_fail_nomem(err, (uint64_t)(own + nfloats) * sizeof(float));
    }
    *out = run;
    return HONE_OK;
}

void hone_run_deinit(hone_run *run)
{
    hone_release(run->hidden);
    hone_release(run->scratch);
    memset(run, 0, sizeof *run);
}

static hone_pass pass_of(const hone_run *run)
{
    return (hone_pass){run->ctx, run->model, run->n, run->hidden, run->scratch, run->observer};
}

hone_status hone_run_resume(hone_run *run, size_t n, hone_error *err)
{
    if (n == 0 || n > run->n_max)
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "a sequence of %zu tokens; 1 to %zu are possible",
                         n, run->n_max);
    run->n = n;
    const hone_pass pass = pass_of(run);
    run->model->family->prepare(&pass);
    return HONE_OK;
}

hone_status hone_run_begin(hone_run *run, const int32_t *tokens, size_t n, hone_error *err)
{
    HONE_TRY(hone_run_resume(run, n, err));
    for (size_t i = 0; i < n; i++)
        if (tokens[i] < 0 || (size_t)tokens[i] >= run->model->n_vocab)
            return hone_fail(err, HONE_ERROR_ARG, i, NULL, "token %" PRId32 " is not in the vocabulary of %zu",
                             tokens[i], run->model->n_vocab);
    const hone_pass pass = pass_of(run);
    run->model->family->embed(&pass, tokens);
    return HONE_OK;
}

void hone_run_layer(const hone_run *run, size_t i)
{
    const hone_pass pass = pass_of(run);
    run->model->family->layer(&pass, i);
}

void hone_run_finish(const hone_run *run)
{
    const hone_pass pass = pass_of(run);
    run->model->family->finish(&pass);
}

hone_status hone_run_sequence(hone_run *run, const int32_t *tokens, size_t n, hone_error *err)
{
    HONE_TRY(hone_run_begin(run, tokens, n, err));
    for (size_t i = 0; i < run->model->n_layers; i++)
        hone_run_layer(run, i);
    hone_run_finish(run);
    return HONE_OK;
}

void hone_run_logits(const hone_run *run, size_t first, size_t n, float *logits)
{
    const hone_model *model = run->model;
    hone_matmul(run->ctx, &model->output, model->output_bias, run->hidden + first * model->n_embd, n, logits,
                run->scratch);
}

hone_status hone_model_logits(const hone_context *ctx, const hone_model *model, const int32_t *tokens, size_t n,
                              float *logits, hone_error *err)
{
    hone_run run;
    HONE_TRY(hone_run_init(ctx, model, n, &run, err));
    const hone_status status = hone_run_sequence(&run, tokens, n, err);
    if (status == HONE_OK) {
        const size_t slice = hone_model_slice(model);
        for (size_t first = 0; first < n; first += slice) {
            const size_t left = n - first;
            hone_run_logits(&run, first, left < slice ? left : slice, logits + first * model->n_vocab);
        }
    }
    hone_run_deinit(&run);
    return status;
}
