/* SPDX-License-Identifier: MIT */
/*
 * The files of a Hugging Face directory: model.safetensors, or shards and the index that names them.
 *
 * A shard takes tensors in the order of the source until the next one would make it too large, and holds them in the
 * order of the reference writer. The index is the plan's last file: a directory without it is not complete.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/fail.h"
#include "base/mem.h"
#include "convert/target.h"
#include "formats/safetensors_writer.h"

enum { MAX_SHARDS = 99999 };                             /* their numbers have five digits */
static const uint64_t DEFAULT_SHARD_NBYTES = 5000000000; /* transformers' own */

/* Numbers the shards; returns how many there are. */
static size_t assign(hone_plan *plan, uint64_t limit)
{
    size_t shard = 0;
    uint64_t filled = 0;
    for (size_t i = 0; i < plan->n_tensors; i++) {
        hone_planned_tensor *t = &plan->tensors[i];
        if (filled > 0 && (t->nbytes > limit || filled > limit - t->nbytes)) {
            shard++;
            filled = 0;
        }
        t->file = shard;
        filled += t->nbytes;
    }
    return shard + 1;
}

static int compare(const void *a, const void *b)
{
    const hone_planned_tensor *x = a, *y = b;
    if (x->file != y->file)
        return x->file < y->file ? -1 : 1;
    const hone_tensor tx = {.name = x->name, .dtype = x->dtype}, ty = {.name = y->name, .dtype = y->dtype};
    return hone_safetensors_compare(&tx, &ty);
}

static hone_status lay_out_shard(hone_plan *plan, hone_output_file *file, const hone_safetensors_pair *metadata,
                                 size_t n_metadata, hone_error *err)
{
    hone_tensor *entries = hone_calloc(file->n_tensors, sizeof *entries);
    if (!entries)
        return hone_fail_nomem(err, file->n_tensors * sizeof *entries);
    hone_planned_tensor *tensors = plan->tensors + file->first_tensor;
    for (size_t i = 0; i < file->n_tensors; i++) {
        entries[i] = (hone_tensor){.name = tensors[i].name,
                                   .dtype = tensors[i].dtype,
                                   .n_dims = tensors[i].n_dims,
                                   .nbytes = tensors[i].nbytes};
        memcpy(entries[i].shape, tensors[i].shape, sizeof entries[i].shape);
    }
    hone_safetensors_layout layout;
    const hone_status status = hone_safetensors_lay_out(entries, file->n_tensors, metadata, n_metadata, &layout, err);
    if (status == HONE_OK) {
        for (size_t i = 0; i < file->n_tensors; i++)
            tensors[i].offset = entries[i].offset;
        file->header = layout.bytes;
        file->header_nbytes = layout.nbytes;
        file->checksums_at = layout.tensor_sums_at;
        file->header_sum_at = layout.header_sum_at;
        file->nbytes = layout.file_nbytes;
    }
    hone_release(entries);
    return status;
}

/* As transformers writes it: keys sorted, two spaces. */
static hone_status add_index(hone_plan *plan, hone_error *err)
{
    hone_output_file *index = hone_plan_add_file(plan);
    json_t *map = json_object();
    uint64_t total = 0;
    hone_status status = index && map ? HONE_OK : hone_fail_nomem(err, sizeof *index);
    for (size_t i = 0; i < plan->n_tensors && status == HONE_OK; i++) {
        const hone_planned_tensor *t = &plan->tensors[i];
        total += t->nbytes;
        if (json_object_set_new(map, t->name, json_string(plan->files[t->file].name)) != 0)
            status = hone_fail_nomem(err, strlen(t->name));
    }
    json_t *root = json_pack("{s:{s:I}, s:o}", "metadata", "total_size", (json_int_t)total, "weight_map", map);
    char *text = status == HONE_OK && root ? json_dumps(root, JSON_INDENT(2) | JSON_SORT_KEYS) : NULL;
    const size_t len = text ? strlen(text) : 0;
    uint8_t *bytes = text ? hone_alloc(len + 1, 1) : NULL;
    if (bytes) {
        memcpy(bytes, text, len);
        bytes[len] = '\n';
        *index = (hone_output_file){.name = "model.safetensors.index.json",
                                    .header = bytes,
                                    .header_nbytes = len + 1,
                                    .nbytes = len + 1,
                                    .first_tensor = plan->n_tensors};
    } else if (status == HONE_OK) {
        status = hone_fail_nomem(err, len);
    }
    free(text);
    json_decref(root);
    return status;
}

static hone_status name_shard(hone_plan *plan, hone_output_file *file, size_t i, size_t n, hone_error *err)
{
    char name[48] = "model.safetensors";
    if (n > 1)
        (void)snprintf(name, sizeof name, "model-%05u-of-%05u.safetensors", (unsigned)i + 1, (unsigned)n);
    file->name = hone_arena_copy(&plan->arena, name, strlen(name));
    return file->name ? HONE_OK : hone_fail_nomem(err, sizeof name);
}

hone_status hone_plan_lay_out_shards(hone_plan *plan, uint64_t shard_nbytes, const hone_safetensors_pair *metadata,
                                     size_t n_metadata, hone_error *err)
{
    const size_t n = assign(plan, shard_nbytes ? shard_nbytes : DEFAULT_SHARD_NBYTES);
    if (n > MAX_SHARDS)
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "%zu shards, at most %d are allowed (--shard-size)",
                         n, MAX_SHARDS);
    if (plan->n_tensors > 0)
        qsort(plan->tensors, plan->n_tensors, sizeof *plan->tensors, compare);
    for (size_t i = 0, first = 0; i < n; i++) {
        hone_output_file *file = hone_plan_add_file(plan);
        if (!file)
            return hone_fail_nomem(err, sizeof *file);
        HONE_TRY(name_shard(plan, file, i, n, err));
        file->first_tensor = first;
        while (first < plan->n_tensors && plan->tensors[first].file == i)
            first++;
        file->n_tensors = first - file->first_tensor;
        HONE_TRY(lay_out_shard(plan, file, metadata, n_metadata, err));
    }
    return n > 1 ? add_index(plan, err) : HONE_OK;
}
