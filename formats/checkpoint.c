/* SPDX-License-Identifier: MIT */
/* The tables of a checkpoint: filling them, and every look-up of the public header. */
#include <stdlib.h>
#include <string.h>

#include "base/arith.h"
#include "base/fail.h"
#include "base/mem.h"
#include "formats/json.h"
#include "formats/sources.h"

const char *hone_tensor_measure(hone_tensor *tensor)
{
    tensor->nelems = 1;
    tensor->nbytes = 0;
    if (tensor->n_dims > HONE_MAX_DIMS)
        return "too many axes";
    for (unsigned i = 0; i < tensor->n_dims; i++)
        if (!hone_mul_u64(tensor->nelems, tensor->shape[i], &tensor->nelems))
            return "number of elements overflows";
    const hone_dtype_info *info = hone_dtype_describe(tensor->dtype);
    const uint64_t row = tensor->n_dims > 0 ? tensor->shape[tensor->n_dims - 1] : 1;
    if (info->is_quantized && row % info->block_nelems != 0)
        return "row length is not a multiple of the type's block";
    if (tensor->nelems % info->block_nelems != 0)
        return "elements do not fill whole bytes";
    if (hone_dtype_row_nbytes(tensor->dtype, tensor->nelems, &tensor->nbytes) != HONE_OK)
        return "size in bytes overflows";
    return NULL;
}

hone_status hone_checkpoint_add_tensor(hone_checkpoint *ckpt, const hone_tensor *tensor, uint64_t at, hone_error *err)
{
    if (tensor->file >= ckpt->n_files)
        return hone_fail(err, HONE_ERROR_ARG, at, tensor->name, "no file number %u", tensor->file);
    const hone_file *file = &ckpt->files[tensor->file];
    hone_tensor measured = *tensor;
    const char *wrong = hone_tensor_measure(&measured);
    if (!wrong && (measured.nelems != tensor->nelems || measured.nbytes != tensor->nbytes))
        wrong = "size disagrees with type and shape";
    uint64_t end;
    if (!wrong && !tensor->view && (!hone_add_u64(tensor->offset, tensor->nbytes, &end) || end > file->nbytes))
        wrong = "data runs past the end of the file";
    if (wrong) {
        (void)hone_fail(err, HONE_ERROR_DATA, at, tensor->name, "%s", wrong);
        return hone_fail_in_file(err, HONE_ERROR_DATA, file->path);
    }
    hone_tensor *grown = hone_grow(ckpt->tensors, &ckpt->cap_tensors, ckpt->n_tensors + 1, sizeof *grown);
    if (!grown)
        return hone_fail_nomem(err, ckpt->n_tensors * sizeof *grown);
    ckpt->tensors = grown;
    ckpt->tensors[ckpt->n_tensors++] = *tensor;
    return HONE_OK;
}

hone_status hone_checkpoint_add_file(hone_checkpoint *ckpt, const char *path, hone_error *err)
{
    hone_file *grown = hone_grow(ckpt->files, &ckpt->cap_files, ckpt->n_files + 1, sizeof *grown);
    if (!grown)
        return hone_fail_nomem(err, ckpt->n_files * sizeof *grown);
    ckpt->files = grown;
    HONE_TRY(hone_file_open(path, &ckpt->files[ckpt->n_files], err));
    ckpt->n_files++;
    return HONE_OK;
}

hone_status hone_checkpoint_add_metadata(hone_checkpoint *ckpt, const hone_metadata *entry, hone_error *err)
{
    hone_metadata *grown = hone_grow(ckpt->metadata, &ckpt->cap_metadata, ckpt->n_metadata + 1, sizeof *grown);
    if (!grown)
        return hone_fail_nomem(err, ckpt->n_metadata * sizeof *grown);
    ckpt->metadata = grown;
    ckpt->metadata[ckpt->n_metadata++] = *entry;
    return HONE_OK;
}

hone_status hone_checkpoint_set_sums(hone_checkpoint *ckpt, unsigned file, hone_string text, hone_error *err)
{
    hone_string *grown = hone_grow(ckpt->sums, &ckpt->cap_sums, (size_t)file + 1, sizeof *grown);
    if (!grown)
        return hone_fail_nomem(err, ((uint64_t)file + 1) * sizeof *grown);
    ckpt->sums = grown;
    while (ckpt->n_sums <= file)
        ckpt->sums[ckpt->n_sums++] = (hone_string){0};
    ckpt->sums[file] = text;
    return HONE_OK;
}

struct name_entry {
    const char *name;
    size_t index;
};

/* By name, then by position, so that the second of two equals is the later one. */
static int compare_names(const void *a, const void *b)
{
    const struct name_entry *x = a, *y = b;
    const int by_name = strcmp(x->name, y->name);
    return by_name ? by_name : (x->index > y->index) - (x->index < y->index);
}

hone_status hone_checkpoint_seal_tables(hone_checkpoint *ckpt, hone_error *err)
{
    const size_t n = ckpt->n_tensors;
    struct name_entry *sorted = hone_alloc(n, sizeof *sorted);
    size_t *by_name = hone_alloc(n, sizeof *by_name);
    hone_status status = HONE_OK;
    if (!sorted || !by_name) {
        status = hone_fail_nomem(err, n * sizeof *sorted);
        goto out;
    }
    for (size_t i = 0; i < n; i++)
        sorted[i] = (struct name_entry){ckpt->tensors[i].name, i};
    qsort(sorted, n, sizeof *sorted, compare_names);
    for (size_t i = 0; i < n; i++) {
        by_name[i] = sorted[i].index;
        if (i == 0 || strcmp(sorted[i - 1].name, sorted[i].name) != 0)
            continue;
        const hone_tensor *second = &ckpt->tensors[sorted[i].index];
        status = hone_fail(err, HONE_ERROR_DATA, second->offset, second->name, "a second tensor of this name");
        status = hone_fail_in_file(err, status, ckpt->files[second->file].path);
        goto out;
    }
    hone_release(ckpt->by_name);
    ckpt->by_name = by_name;
    by_name = NULL;
out:
    hone_release(sorted);
    hone_release(by_name);
    return status;
}

void hone_checkpoint_close(hone_checkpoint *ckpt)
{
    if (!ckpt)
        return;
    for (size_t i = 0; i < ckpt->n_tensors; i++)
        if (ckpt->tensors[i].view && ckpt->tensors[i].view->close)
            ckpt->tensors[i].view->close(&ckpt->tensors[i]);
    for (size_t i = 0; i < ckpt->n_files; i++)
        hone_file_close(&ckpt->files[i]);
    hone_release(ckpt->files);
    hone_file_close(&ckpt->scratch);
    hone_release(ckpt->stacks);
    hone_release(ckpt->tensors);
    hone_release(ckpt->by_name);
    hone_release(ckpt->sums);
    hone_release(ckpt->metadata);
    json_decref(ckpt->config);
    hone_release(ckpt->config_path);
    hone_release(ckpt->path);
    hone_release(ckpt->dir);
    hone_arena_deinit(&ckpt->arena);
    *ckpt = (hone_checkpoint){0};
    hone_release(ckpt);
}

const char *hone_checkpoint_format(const hone_checkpoint *ckpt)
{
    return ckpt->format;
}

const char *hone_checkpoint_path(const hone_checkpoint *ckpt)
{
    return ckpt->path;
}

const char *hone_checkpoint_architecture(const hone_checkpoint *ckpt)
{
    return ckpt->architecture;
}

size_t hone_checkpoint_n_files(const hone_checkpoint *ckpt)
{
    return ckpt->n_files;
}

const char *hone_checkpoint_file(const hone_checkpoint *ckpt, size_t i)
{
    return i < ckpt->n_files ? ckpt->files[i].path : NULL;
}

uint64_t hone_checkpoint_nbytes(const hone_checkpoint *ckpt)
{
    uint64_t nbytes = 0;
    for (size_t i = 0; i < ckpt->n_files; i++)
        nbytes += ckpt->files[i].nbytes;
    return nbytes;
}

size_t hone_checkpoint_n_tensors(const hone_checkpoint *ckpt)
{
    return ckpt->n_tensors;
}

const hone_tensor *hone_checkpoint_tensor(const hone_checkpoint *ckpt, size_t i)
{
    return i < ckpt->n_tensors ? &ckpt->tensors[i] : NULL;
}

const hone_tensor *hone_checkpoint_find(const hone_checkpoint *ckpt, const char *name)
{
    size_t low = 0, high = ckpt->n_tensors;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const hone_tensor *tensor = &ckpt->tensors[ckpt->by_name[middle]];
        const int order = strcmp(tensor->name, name);
        if (order == 0)
            return tensor;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return hone_checkpoint_find_stack(ckpt, name);
}

hone_status hone_checkpoint_read(const hone_checkpoint *ckpt, const hone_tensor *tensor, uint64_t offset, size_t nbytes,
                                 void *dst, hone_error *err)
{
    if (tensor->file >= ckpt->n_files || offset > tensor->nbytes || nbytes > tensor->nbytes - offset)
        return hone_fail(err, HONE_ERROR_ARG, offset, tensor->name, "%zu bytes asked for, beyond the tensor's %llu",
                         nbytes, (unsigned long long)tensor->nbytes);
    if (tensor->view)
        return hone_fail_for(err, tensor->view->read(ckpt, tensor, offset, nbytes, dst, err), tensor->name);
    /* tensor may be a caller's copy: bound it by the file as well. */
    const hone_file *file = &ckpt->files[tensor->file];
    uint64_t at;
    if (!hone_add_u64(tensor->offset, offset, &at) || at > file->nbytes || nbytes > file->nbytes - at)
        return hone_fail(err, HONE_ERROR_ARG, offset, tensor->name, "no tensor of this checkpoint");
    const hone_status status = hone_file_read(file, at, dst, nbytes, err);
    return status == HONE_OK ? HONE_OK : hone_fail_for(err, status, tensor->name);
}

size_t hone_checkpoint_n_metadata(const hone_checkpoint *ckpt)
{
    return ckpt->n_metadata;
}

const hone_metadata *hone_checkpoint_metadata(const hone_checkpoint *ckpt, size_t i)
{
    return i < ckpt->n_metadata ? &ckpt->metadata[i] : NULL;
}

const hone_metadata *hone_checkpoint_find_metadata(const hone_checkpoint *ckpt, const char *key)
{
    const size_t len = strlen(key);
    for (size_t i = 0; i < ckpt->n_metadata; i++) {
        const hone_string have = ckpt->metadata[i].key;
        if (have.len == len && memcmp(have.data, key, len) == 0)
            return &ckpt->metadata[i];
    }
    return NULL;
}

const json_t *hone_checkpoint_config(const hone_checkpoint *ckpt)
{
    return ckpt->config;
}

hone_status hone_checkpoint_fail_in_config(const hone_checkpoint *ckpt, const char *inside, hone_status status,
                                           hone_error *err)
{
    return ckpt->config_path ? hone_json_place_error(ckpt->config_path, inside, status, err) : status;
}

bool hone_tensor_is_gathered(const hone_tensor *tensor)
{
    return tensor->view && tensor->view->gathered;
}

hone_status hone_checkpoint_sidecar(const hone_checkpoint *ckpt, const char *name, uint64_t max_nbytes, char **text,
                                    size_t *len, hone_error *err)
{
    *text = NULL;
    *len = 0;
    char *path = hone_path_join(ckpt->dir, name);
    if (!path)
        return hone_fail_nomem(err, strlen(name));
    const hone_status status = hone_file_exists(path) ? hone_file_slurp(path, max_nbytes, text, len, err) : HONE_OK;
    hone_release(path);
    return status;
}
