/* SPDX-License-Identifier: MIT */
/* Opening a source: which reader a path belongs to, and the configuration beside it. */
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "formats/json.h"
#include "formats/sources.h"
#include "formats/unquantize.h"

static const uint64_t MAX_CONFIG_NBYTES = 16ull << 20;
enum { HEAD_NBYTES = 16 };

/* Formats with a magic come before those recognised by plausibility. */
static const hone_reader *const readers[] = {&hone_gguf_reader, &hone_zip_reader, &hone_npy_reader,
                                             &hone_safetensors_reader, &hone_pytorch_legacy_reader};
enum { N_READERS = sizeof readers / sizeof readers[0] };

static const struct {
    const char *extension;
    const hone_reader *reader;
} extensions[] = {
    {".gguf", &hone_gguf_reader}, {".safetensors", &hone_safetensors_reader},
    {".bin", &hone_zip_reader},   {".pt", &hone_zip_reader},
    {".pth", &hone_zip_reader},   {".ckpt", &hone_zip_reader},
    {".npz", &hone_zip_reader},   {".npy", &hone_npy_reader},
};

static bool ends_with(const char *s, const char *suffix)
{
    const size_t len = strlen(s), suffix_len = strlen(suffix);
    return len >= suffix_len && memcmp(s + len - suffix_len, suffix, suffix_len) == 0;
}

/* By content; when no reader knows the content, by the file's name, so that a damaged file gets its reader's diagnosis.
 */
static const hone_reader *choose_reader(const hone_file *file, const uint8_t *head, size_t head_nbytes)
{
    for (size_t i = 0; i < N_READERS; i++)
        if (readers[i]->probe(head, head_nbytes, file->nbytes))
            return readers[i];
    for (size_t i = 0; i < sizeof extensions / sizeof extensions[0]; i++)
        if (ends_with(file->path, extensions[i].extension))
            return extensions[i].reader;
    return NULL;
}

hone_status hone_checkpoint_read_file(hone_checkpoint *ckpt, unsigned file, hone_error *err)
{
    const hone_file *opened = &ckpt->files[file];
    uint8_t head[HEAD_NBYTES];
    const size_t head_nbytes = opened->nbytes < sizeof head ? (size_t)opened->nbytes : sizeof head;
    HONE_TRY(hone_file_read(opened, 0, head, head_nbytes, err));
    const hone_reader *reader = choose_reader(opened, head, head_nbytes);
    if (!reader) {
        (void)hone_fail(err, HONE_ERROR_FORMAT, 0, NULL, "not a format hone reads (safetensors, PyTorch, NumPy, GGUF)");
        return hone_fail_in_file(err, HONE_ERROR_FORMAT, opened->path);
    }
    ckpt->format = reader->name;
    return reader->read(ckpt, file, err);
}

/* path becomes the checkpoint's: it is released with it. */
static hone_status load_config(hone_checkpoint *ckpt, char *path, hone_error *err)
{
    if (!path)
        return hone_fail_nomem(err, 0);
    ckpt->config_path = path;
    HONE_TRY(hone_json_read(path, MAX_CONFIG_NBYTES, &ckpt->config, err));
    if (!json_is_object(ckpt->config)) {
        (void)hone_fail(err, HONE_ERROR_DATA, 0, NULL, "not a JSON object");
        return hone_fail_in_file(err, HONE_ERROR_DATA, path);
    }
    return HONE_OK;
}

static hone_status find_config(hone_checkpoint *ckpt, bool is_directory, const hone_open_options *opts, hone_error *err)
{
    if (opts && opts->config)
        return load_config(ckpt, hone_strdup(opts->config), err);
    /* A GGUF file carries its own configuration; a config.json beside it may belong to something else. */
    if (!is_directory && strcmp(ckpt->format, hone_gguf_reader.name) == 0)
        return HONE_OK;
    char *path = hone_path_join(ckpt->dir, "config.json");
    if (!path)
        return hone_fail_nomem(err, strlen(ckpt->dir));
    if (hone_file_exists(path))
        return load_config(ckpt, path, err);
    hone_release(path);
    return HONE_OK;
}

static const char *find_architecture(const hone_checkpoint *ckpt)
{
    if (strcmp(ckpt->format, hone_gguf_reader.name) == 0) {
        const hone_metadata *entry = hone_checkpoint_find_metadata(ckpt, "general.architecture");
        return entry && entry->type == HONE_VALUE_STRING ? entry->v.string.data : NULL;
    }
    return json_string_value(json_array_get(json_object_get(ckpt->config, "architectures"), 0));
}

/* What hone.recipe, in a file that hone wrote, says was done to the weights; of another form it says nothing. */
static hone_status find_transforms(hone_checkpoint *ckpt, hone_error *err)
{
    const hone_metadata *recipe = hone_checkpoint_find_metadata(ckpt, "hone.recipe");
    if (!recipe || recipe->type != HONE_VALUE_STRING)
        return HONE_OK;
    json_t *root;
    const hone_status status = hone_json_parse(recipe->v.string.data, recipe->v.string.len, 0, &root, err);
    if (status != HONE_OK)
        return status == HONE_ERROR_NOMEM ? status : HONE_OK;
    json_t *transforms = json_object_get(root, "transforms"), *rotation = json_object_get(root, "rotation");
    hone_status stored = HONE_OK;
    ckpt->transforms_stored = json_is_object(transforms) || json_is_string(rotation);
    if (json_is_object(transforms))
        stored = hone_checkpoint_set_transforms(ckpt, json_incref(transforms), err);
    else if (ckpt->transforms_stored) /* in short */
        stored = hone_checkpoint_set_transforms(ckpt, json_pack("{s:O}", "rotation", rotation), err);
    json_decref(root);
    return stored;
}

static hone_status read_source(hone_checkpoint *ckpt, const char *path, const hone_open_options *opts, hone_error *err)
{
    const bool is_directory = hone_file_is_directory(path);
    ckpt->path = hone_strdup(path);
    ckpt->dir = is_directory ? hone_strdup(path) : hone_path_dir(path);
    if (!ckpt->path || !ckpt->dir)
        return hone_fail_nomem(err, strlen(path));
    if (is_directory) {
        ckpt->format = hone_safetensors_reader.name;
        HONE_TRY(find_config(ckpt, true, opts, err));
        const hone_status status = hone_checkpoint_read_directory(ckpt, err);
        if (status == HONE_ERROR_FORMAT && !ckpt->config)
            return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL,
                             "no config.json and no weights in this directory");
        HONE_TRY(status);
    } else {
        HONE_TRY(hone_checkpoint_add_file(ckpt, path, err));
        HONE_TRY(hone_checkpoint_read_file(ckpt, 0, err));
        HONE_TRY(find_config(ckpt, false, opts, err));
    }
    if (!ckpt->by_name)
        HONE_TRY(hone_checkpoint_seal_tables(ckpt, err));
    if (strcmp(ckpt->format, hone_gguf_reader.name) != 0 && !(opts && opts->parts))
        HONE_TRY(hone_checkpoint_unquantize(ckpt, err));
    if (strcmp(ckpt->format, hone_gguf_reader.name) != 0)
        HONE_TRY(hone_checkpoint_stack_experts(ckpt, err));
    ckpt->architecture = find_architecture(ckpt);
    return find_transforms(ckpt, err);
}

hone_status hone_checkpoint_open(const char *path, const hone_open_options *opts, hone_checkpoint **out,
                                 hone_error *err)
{
    *out = NULL;
    hone_checkpoint *ckpt = hone_calloc(1, sizeof *ckpt);
    if (!ckpt)
        return hone_fail_nomem(err, sizeof *ckpt);
    const hone_status status = read_source(ckpt, path, opts, err);
    if (status != HONE_OK) {
        hone_checkpoint_close(ckpt);
        return hone_fail_in_file(err, status, path);
    }
    *out = ckpt;
    return HONE_OK;
}
