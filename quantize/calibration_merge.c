/* SPDX-License-Identifier: MIT */
/* Adding up calibration files of one model: every number in them is a sum. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "base/run_context.h"
#include "formats/gguf_writer.h"
#include "quantize/calibration_file.h"

enum { BLOCK_NFLOATS = 1 << 16 };

struct merge {
    const hone_context *ctx;
    hone_checkpoint **files;
    size_t n_files;
    uint64_t n_chunks, n_ctx;
    float *part;
    double *sum; /* both BLOCK_NFLOATS */
};

static const hone_metadata *find(const hone_checkpoint *file, const char *key, hone_value_type type)
{
    const hone_metadata *entry = hone_checkpoint_find_metadata(file, key);
    return entry && entry->type == type ? entry : NULL;
}

static hone_status refuse(const hone_checkpoint *file, const char *item, const char *reason, hone_error *err)
{
    (void)hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, item, "%s", reason);
    return hone_fail_in_file(err, HONE_ERROR_DATA, hone_checkpoint_path(file));
}

static bool same_shape(const hone_tensor *a, const hone_tensor *b)
{
    return a->n_dims == b->n_dims && memcmp(a->shape, b->shape, a->n_dims * sizeof a->shape[0]) == 0;
}

static hone_status check_file(struct merge *m, const hone_checkpoint *file, hone_error *err)
{
    const hone_checkpoint *first = m->files[0];
    const hone_metadata *type = find(file, "general.type", HONE_VALUE_STRING);
    const hone_metadata *size = find(file, "imatrix.chunk_size", HONE_VALUE_U32);
    const hone_metadata *count = find(file, "imatrix.chunk_count", HONE_VALUE_U32);
    if (!type || strcmp(type->v.string.data, "imatrix") != 0 || !size || !count)
        return refuse(file, NULL, "is no importance matrix in GGUF form", err);
    m->n_chunks += count->v.u;
    if (file == first)
        m->n_ctx = size->v.u;
    if (size->v.u != m->n_ctx)
        return refuse(file, "imatrix.chunk_size", "is not that of the first file", err);
    if (hone_checkpoint_n_tensors(file) != hone_checkpoint_n_tensors(first))
        return refuse(file, NULL, "holds other tensors than the first file", err);
    for (size_t i = 0; i < hone_checkpoint_n_tensors(first); i++) {
        const hone_tensor *t = hone_checkpoint_tensor(first, i), *own = hone_checkpoint_find(file, t->name);
        if (!own || !same_shape(t, own) || own->dtype != HONE_F32)
            return refuse(file, t->name, own ? "has another shape than in the first file" : "is missing", err);
    }
    return HONE_OK;
}

static hone_status put_datasets(const struct merge *m, hone_gguf_header *h, hone_error *err)
{
    size_t n = 0;
    hone_string *names = NULL;
    for (int pass = 0; pass < 2; pass++) {
        if (pass == 1 && !(names = hone_alloc(n, sizeof *names)))
            return hone_fail_nomem(err, n * sizeof *names);
        n = 0;
        for (size_t i = 0; i < m->n_files; i++) {
            const hone_metadata *own = find(m->files[i], "imatrix.datasets", HONE_VALUE_ARRAY);
            if (!own || own->v.array.elem_type != HONE_VALUE_STRING)
                continue;
            for (uint64_t k = 0; names && k < own->v.array.count; k++)
                names[n + k] = own->v.array.strings[k];
            n += own->v.array.count;
        }
    }
    hone_gguf_put_str_array(h, "imatrix.datasets", names, n);
    hone_release(names);
    return HONE_OK;
}

static hone_status lay_out(const struct merge *m, hone_gguf_header *h, hone_gguf_layout *layout, hone_error *err)
{
    const hone_checkpoint *first = m->files[0];
    hone_gguf_put_str(h, "general.type", "imatrix");
    HONE_TRY(put_datasets(m, h, err));
    hone_gguf_put_u32(h, "imatrix.chunk_count", (uint32_t)m->n_chunks);
    hone_gguf_put_u32(h, "imatrix.chunk_size", (uint32_t)m->n_ctx);
    hone_gguf_put_str(h, "hone.version", hone_version());
    static const char *const lists[] = {HONE_CALIBRATION_WEIGHTS, HONE_CALIBRATION_GRAMS};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        const hone_metadata *list = find(first, lists[i], HONE_VALUE_ARRAY);
        if (list)
            hone_gguf_put_metadata(h, list);
    }
    for (size_t i = 0; i < hone_checkpoint_n_tensors(first); i++) {
        const hone_tensor *t = hone_checkpoint_tensor(first, i);
        hone_gguf_add_tensor(h, t->name, t->dtype, t->n_dims, t->shape);
    }
    return hone_gguf_finish(h, HONE_GGUF_ALIGNMENT, layout, err);
}

static hone_status add_block(struct merge *m, const char *name, uint64_t at, size_t n, hone_error *err)
{
    memset(m->sum, 0, n * sizeof *m->sum);
    for (size_t f = 0; f < m->n_files; f++) {
        const hone_tensor *t = hone_checkpoint_find(m->files[f], name);
        HONE_TRY(hone_checkpoint_read(m->files[f], t, at * sizeof *m->part, n * sizeof *m->part, (void *)m->part, err));
        for (size_t i = 0; i < n; i++)
            m->sum[i] += (double)m->part[i];
    }
    for (size_t i = 0; i < n; i++)
        m->part[i] = (float)m->sum[i];
    return HONE_OK;
}

static hone_status add_tensors(struct merge *m, const hone_writer *writer, const hone_gguf_layout *layout,
                               hone_error *err)
{
    for (size_t i = 0; i < layout->n_tensors; i++) {
        const hone_tensor *t = hone_checkpoint_tensor(m->files[0], i);
        for (uint64_t at = 0; at < t->nelems; at += BLOCK_NFLOATS) {
            const size_t n = t->nelems - at < BLOCK_NFLOATS ? (size_t)(t->nelems - at) : BLOCK_NFLOATS;
            HONE_TRY(add_block(m, t->name, at, n, err));
            HONE_TRY(hone_writer_write(writer, layout->offsets[i] + at * sizeof *m->part, m->part, n * sizeof *m->part,
                                       err));
        }
        hone_context_progress(m->ctx, "merge", i + 1, layout->n_tensors);
    }
    return HONE_OK;
}

static hone_status write_file(struct merge *m, const char *path, bool overwrite, hone_error *err)
{
    hone_gguf_header *h = hone_gguf_new();
    hone_gguf_layout layout = {0};
    hone_writer writer = {.fd = -1};
    hone_status status = lay_out(m, h, &layout, err);
    const hone_writer_options how = {.overwrite = overwrite, .restart = true};
    if (status == HONE_OK)
        status = hone_writer_open(path, layout.file_nbytes, how, &writer, err);
    if (status == HONE_OK)
        status = hone_writer_reserve(&writer, err);
    if (status == HONE_OK)
        status = hone_writer_write(&writer, 0, layout.bytes, layout.nbytes, err);
    if (status == HONE_OK)
        status = add_tensors(m, &writer, &layout, err);
    if (status == HONE_OK)
        status = hone_writer_sync(&writer, err);
    if (status == HONE_OK)
        status = hone_writer_commit(&writer, err);
    else
        hone_writer_abort(&writer);
    hone_gguf_layout_deinit(&layout);
    hone_gguf_free(h);
    return status;
}

/* Tokens that an expert was given in all files. */
static hone_status count_tokens(const struct merge *m, const char *weight, size_t expert, uint64_t *tokens,
                                hone_error *err)
{
    char name[HONE_ROLE_NAME_CAP + 16];
    (void)snprintf(name, sizeof name, "%s" HONE_COUNTS, weight);
    *tokens = 0;
    for (size_t f = 0; f < m->n_files; f++) {
        const hone_tensor *t = hone_checkpoint_find(m->files[f], name);
        float count;
        if (!t || t->nelems <= expert)
            return refuse(m->files[f], name, "is missing, or without a count for each expert", err);
        HONE_TRY(hone_checkpoint_read(m->files[f], t, expert * sizeof count, sizeof count, &count, err));
        *tokens += count > 0.0f && count < 1e18f ? (uint64_t)count : 0;
    }
    return HONE_OK;
}

static hone_status report_coverage(const struct merge *m, hone_calibration *out, hone_error *err)
{
    const hone_checkpoint *first = m->files[0];
    out->n_chunks = m->n_chunks;
    out->n_tokens = m->n_chunks * m->n_ctx;
    for (size_t i = 0; i < hone_checkpoint_n_tensors(first); i++) {
        const hone_tensor *t = hone_checkpoint_tensor(first, i);
        const size_t len = strlen(t->name), suffix = sizeof HONE_IN_SUM2 - 1;
        if (len <= suffix || strcmp(t->name + len - suffix, HONE_IN_SUM2) != 0 || t->n_dims == 0)
            continue;
        char name[HONE_ROLE_NAME_CAP];
        if (len - suffix >= sizeof name)
            return refuse(first, t->name, "is too long a name", err);
        memcpy(name, t->name, len - suffix);
        name[len - suffix] = '\0';
        hone_calibration_weight weight = {.name = name,
                                          .ncols = t->shape[t->n_dims - 1],
                                          .tokens = out->n_tokens,
                                          .hessian = find(first, HONE_CALIBRATION_GRAMS, HONE_VALUE_ARRAY) != NULL};
        weight.n_experts = t->n_dims == 2 && t->shape[0] > 1 ? (size_t)t->shape[0] : 0;
        for (; weight.expert < weight.n_experts; weight.expert++) {
            HONE_TRY(count_tokens(m, name, weight.expert, &weight.tokens, err));
            HONE_TRY(hone_calibration_add(out, weight, err));
        }
        if (!weight.n_experts)
            HONE_TRY(hone_calibration_add(out, weight, err));
    }
    return HONE_OK;
}

static hone_status merge(struct merge *m, const char *const *paths, size_t n_paths, const char *path, bool overwrite,
                         hone_calibration *report, hone_error *err)
{
    m->files = hone_calloc(n_paths, sizeof(hone_checkpoint *));
    m->part = hone_alloc(BLOCK_NFLOATS, sizeof *m->part);
    m->sum = hone_alloc(BLOCK_NFLOATS, sizeof *m->sum);
    if (!m->files || !m->part || !m->sum)
        return hone_fail_nomem(err, BLOCK_NFLOATS * sizeof *m->sum);
    for (; m->n_files < n_paths; m->n_files++)
        HONE_TRY(hone_checkpoint_open(paths[m->n_files], NULL, &m->files[m->n_files], err));
    for (size_t i = 0; i < n_paths; i++)
        HONE_TRY(check_file(m, m->files[i], err));
    HONE_TRY(report_coverage(m, report, err));
    return write_file(m, path, overwrite, err);
}

hone_status hone_calibration_merge(const hone_context *ctx, const char *const *paths, size_t n_paths,
                                   const hone_calibrate_options *opts, const char *path, hone_calibration **out,
                                   hone_error *err)
{
    if (out)
        *out = NULL;
    if (n_paths == 0)
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "nothing to merge");
    hone_calibration *report = hone_calloc(1, sizeof *report);
    if (!report)
        return hone_fail_nomem(err, sizeof *report);
    struct merge m = {.ctx = ctx};
    const hone_status status = merge(&m, paths, n_paths, path, opts && opts->overwrite, report, err);
    for (size_t i = 0; i < m.n_files; i++)
        hone_checkpoint_close(m.files[i]);
    hone_release((void *)m.files);
    hone_release(m.part);
    hone_release(m.sum);
    if (status == HONE_OK && out)
        *out = report;
    else
        hone_calibration_free(report);
    return status;
}
