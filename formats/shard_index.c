/* SPDX-License-Identifier: MIT */
/*
 * The weights of a Hugging Face directory.
 *
 *   model.safetensors.index.json, pytorch_model.bin.index.json: {"metadata": {...}, "weight_map": {"TENSOR": "SHARD
 * FILE", ...}}
 *
 * The index and the shards must name the same tensors, each in the same file.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "formats/json.h"
#include "formats/sources.h"

static const uint64_t MAX_INDEX_NBYTES = 256ull << 20;
static const char EXTENSION[] = ".safetensors";

/* What a directory's weights are called. reader is NULL where files of several formats go by the same name. */
struct family {
    const char *index, *single;
    const hone_reader *reader;
};

/* The first that is there is read, as transformers does. */
static const struct family families[] = {
    {"model.safetensors.index.json", "model.safetensors", &hone_safetensors_reader},
    {"pytorch_model.bin.index.json", "pytorch_model.bin", NULL},
};

static hone_status read_weights(hone_checkpoint *ckpt, const hone_reader *reader, const char *name, hone_error *err)
{
    char *path = hone_path_join(ckpt->dir, name);
    if (!path)
        return hone_fail_nomem(err, strlen(name));
    hone_status status = hone_checkpoint_add_file(ckpt, path, err);
    hone_release(path);
    HONE_TRY(status);
    const unsigned file = (unsigned)ckpt->n_files - 1;
    return reader ? reader->read(ckpt, file, err) : hone_checkpoint_read_file(ckpt, file, err);
}

/* An index comes from strangers: a shard lies in the directory itself. */
static bool is_plain_name(const char *name)
{
    return name[0] != '\0' && !strchr(name, '/') && !strstr(name, "..") && strcmp(name, ".") != 0;
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The shard of every tensor, sorted; n of them, repeats included. */
static hone_status list_shards(json_t *map, const char **shards, hone_error *err)
{
    const char *tensor;
    json_t *value;
    size_t n = 0;
    json_object_foreach(map, tensor, value)
    {
        const char *shard = json_string_value(value);
        if (!shard || !is_plain_name(shard))
            return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, tensor,
                             "\"%s\" is no name of a file in this directory", shard ? shard : "");
        shards[n++] = shard;
    }
    qsort(shards, n, sizeof *shards, compare_strings);
    return HONE_OK;
}

static bool lies_in_shard(const hone_checkpoint *ckpt, const hone_tensor *tensor, const char *shard)
{
    const char *path = ckpt->files[tensor->file].path;
    const size_t len = strlen(path), shard_len = strlen(shard);
    return len > shard_len && path[len - shard_len - 1] == '/' && strcmp(path + len - shard_len, shard) == 0;
}

static hone_status compare_with_index(const hone_checkpoint *ckpt, json_t *map, hone_error *err)
{
    const char *name;
    json_t *value;
    json_object_foreach(map, name, value)
    {
        const hone_tensor *tensor = hone_checkpoint_find(ckpt, name);
        const char *shard = json_string_value(value);
        if (!tensor || !lies_in_shard(ckpt, tensor, shard))
            return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, name, "is not in %s, where the index puts it",
                             shard);
    }
    for (size_t i = 0; i < ckpt->n_tensors; i++) {
        const hone_tensor *tensor = &ckpt->tensors[i];
        if (json_object_get(map, tensor->name))
            continue;
        (void)hone_fail(err, HONE_ERROR_DATA, tensor->offset, tensor->name, "is not in the index");
        return hone_fail_in_file(err, HONE_ERROR_DATA, ckpt->files[tensor->file].path);
    }
    return HONE_OK;
}

static hone_status read_weight_map(hone_checkpoint *ckpt, const hone_reader *reader, json_t *map, hone_error *err)
{
    const size_t n = json_object_size(map);
    const char **shards = hone_alloc(n, sizeof *shards);
    if (!shards)
        return hone_fail_nomem(err, n * sizeof *shards);
    hone_status status = list_shards(map, shards, err);
    for (size_t i = 0; i < n && status == HONE_OK; i++)
        if (i == 0 || strcmp(shards[i], shards[i - 1]) != 0)
            status = read_weights(ckpt, reader, shards[i], err);
    hone_release(shards);
    HONE_TRY(status);
    HONE_TRY(hone_checkpoint_seal_tables(ckpt, err));
    return compare_with_index(ckpt, map, err);
}

static hone_status read_sharded(hone_checkpoint *ckpt, const hone_reader *reader, const char *index_path,
                                hone_error *err)
{
    json_t *index;
    ckpt->has_index = true;
    HONE_TRY(hone_json_read(index_path, MAX_INDEX_NBYTES, &index, err));
    json_t *map = json_object_get(index, "weight_map");
    hone_status status;
    if (json_object_size(map) == 0)
        status = hone_fail(err, HONE_ERROR_DATA, 0, NULL, "no weight_map, or an empty one");
    else
        status = read_weight_map(ckpt, reader, map, err);
    json_decref(index);
    return status == HONE_OK ? HONE_OK : hone_fail_in_file(err, status, index_path);
}

/* *name gets a copy (hone_release) of the only *.safetensors file of the directory; NULL unless there is exactly one.
 */
static hone_status find_only_file(const char *dir, char **name, size_t *n_found, hone_error *err)
{
    *name = NULL;
    *n_found = 0;
    DIR *stream = opendir(dir);
    if (!stream)
        return hone_fail_in_file(err, hone_fail_errno(err, errno, HONE_NO_OFFSET, NULL, "cannot list"), dir);
    hone_status status = HONE_OK;
    const struct dirent *entry;
    while (status == HONE_OK && (entry = readdir(stream)) != NULL) {
        const size_t len = strlen(entry->d_name), suffix = sizeof EXTENSION - 1;
        if (len <= suffix || strcmp(entry->d_name + len - suffix, EXTENSION) != 0)
            continue;
        if ((*n_found)++ > 0)
            continue;
        *name = hone_strdup(entry->d_name);
        if (!*name)
            status = hone_fail_nomem(err, len);
    }
    (void)closedir(stream);
    if (*n_found != 1) {
        hone_release(*name);
        *name = NULL;
    }
    return status;
}

static hone_status read_only_file(hone_checkpoint *ckpt, hone_error *err)
{
    char *name;
    size_t n_found;
    HONE_TRY(find_only_file(ckpt->dir, &name, &n_found, err));
    if (!name && n_found > 1)
        return hone_fail(err, HONE_ERROR_FORMAT, HONE_NO_OFFSET, NULL, "%zu safetensors files and no %s", n_found,
                         families[0].index);
    if (!name)
        return hone_fail(err, HONE_ERROR_FORMAT, HONE_NO_OFFSET, NULL, "no weights found (looked for *%s and %s)",
                         EXTENSION, families[1].single);
    const hone_status status = read_weights(ckpt, &hone_safetensors_reader, name, err);
    hone_release(name);
    return status;
}

/* *found tells whether the directory has weights of this family; if so, they are read. */
static hone_status read_family(hone_checkpoint *ckpt, const struct family *family, bool *found, hone_error *err)
{
    *found = true;
    char *index_path = hone_path_join(ckpt->dir, family->index);
    char *single_path = hone_path_join(ckpt->dir, family->single);
    hone_status status = HONE_OK;
    if (!index_path || !single_path)
        status = hone_fail_nomem(err, strlen(ckpt->dir));
    else if (hone_file_exists(index_path))
        status = read_sharded(ckpt, family->reader, index_path, err);
    else if (hone_file_exists(single_path))
        status = read_weights(ckpt, family->reader, family->single, err);
    else
        *found = false;
    hone_release(index_path);
    hone_release(single_path);
    return status;
}

hone_status hone_checkpoint_read_directory(hone_checkpoint *ckpt, hone_error *err)
{
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        bool found;
        HONE_TRY(read_family(ckpt, &families[i], &found, err));
        if (found)
            return HONE_OK;
    }
    return read_only_file(ckpt, err);
}
