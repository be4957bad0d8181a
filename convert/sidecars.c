/* SPDX-License-Identifier: MIT */
#include "convert/sidecars.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/writer.h"
#include "formats/sources.h"

enum { MAX_REAL_DIGITS = 17 }; /* that tell every double from its neighbours */
static const uint64_t MAX_NBYTES = 256ull << 20;
static const char CONFIG[] = "config.json";

/* What tokenizers, generation and processors read (transformers: *_NAME constants of its modules). */
static const char *const names[] = {
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "source.spm",
    "target.spm",
    "chat_template.jinja",
    "chat_template.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.model.v3",
    "tekken.json",
    "LICENSE",
};

static hone_status add(hone_plan *plan, hone_sidecar sidecar, hone_error *err)
{
    hone_sidecar *grown = hone_grow(plan->sidecars, &plan->cap_sidecars, plan->n_sidecars + 1, sizeof *grown);
    if (!grown)
        return hone_fail_nomem(err, sizeof *grown);
    plan->sidecars = grown;
    plan->sidecars[plan->n_sidecars++] = sidecar;
    return HONE_OK;
}

static hone_status add_copy(hone_plan *plan, const char *name, const char *path, hone_error *err)
{
    const char *copy = hone_arena_copy(&plan->arena, path, strlen(path));
    return copy ? add(plan, (hone_sidecar){.name = name, .path = copy}, err) : hone_fail_nomem(err, strlen(path));
}

/* True if something had to be changed. */
static bool edit_config(json_t *config, bool retyped, const char *dtype, json_t *quantization, bool mlx)
{
    static const char *const quantizations[] = {"quantization_config", "quantization", "compression_config"};
    static const char *const types[2] = {"torch_dtype", "dtype"};
    bool changed = false;
    for (size_t i = 0; i < sizeof quantizations / sizeof quantizations[0]; i++)
        changed |= json_object_del(config, quantizations[i]) == 0;
    for (size_t i = 0; dtype && (retyped || changed) && i < 2; i++) {
        const char *old = json_string_value(json_object_get(config, types[i]));
        if (old && strcmp(old, dtype) != 0)
            changed |= json_object_set_new(config, types[i], json_string(dtype)) == 0;
    }
    if (quantization)
        changed |= json_object_set(config, "quantization_config", quantization) == 0;
    if (quantization && mlx)
        changed |= json_object_set(config, "quantization", quantization) == 0;
    return changed;
}

static hone_status add_config(hone_plan *plan, bool retyped, const char *dtype, json_t *quantization, bool mlx,
                              hone_error *err)
{
    json_t *config = json_deep_copy(plan->src->config);
    if (!config)
        return hone_fail_nomem(err, 0);
    hone_status status = HONE_OK;
    if (!edit_config(config, retyped, dtype, quantization, mlx)) {
        status = add_copy(plan, CONFIG, plan->src->config_path, err);
    } else {
        char *text = json_dumps(config, JSON_INDENT(2) | JSON_REAL_PRECISION(MAX_REAL_DIGITS));
        const size_t len = text ? strlen(text) : 0;
        char *copy = text ? hone_arena_alloc(&plan->arena, len + 1, 1) : NULL;
        if (copy) {
            memcpy(copy, text, len);
            copy[len] = '\n';
            status = add(plan, (hone_sidecar){.name = CONFIG, .text = copy, .len = len + 1}, err);
        } else {
            status = hone_fail_nomem(err, len);
        }
        free(text);
    }
    json_decref(config);
    return status;
}

hone_status hone_sidecars_plan(hone_plan *plan, bool retyped, const char *dtype, json_t *quantization, bool mlx,
                               hone_error *err)
{
    if (!plan->src->config)
        return HONE_OK;
    HONE_TRY(add_config(plan, retyped, dtype, quantization, mlx, err));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char *path = hone_path_join(plan->src->dir, names[i]);
        if (!path)
            return hone_fail_nomem(err, strlen(names[i]));
        const hone_status status = hone_file_exists(path) ? add_copy(plan, names[i], path, err) : HONE_OK;
        hone_release(path);
        HONE_TRY(status);
    }
    return HONE_OK;
}

static hone_status has_bytes(const char *path, const char *text, size_t len, bool *same, hone_error *err)
{
    char *there = NULL;
    size_t there_len = 0;
    *same = false;
    if (!hone_file_exists(path))
        return HONE_OK;
    HONE_TRY(hone_file_slurp(path, MAX_NBYTES, &there, &there_len, err));
    *same = there_len == len && memcmp(there, text, len) == 0;
    hone_release(there);
    return HONE_OK;
}

static hone_status write_text(const char *path, const char *text, size_t len, bool overwrite, hone_error *err)
{
    bool same;
    HONE_TRY(has_bytes(path, text, len, &same, err));
    return same ? HONE_OK : hone_write_file(path, text, len, overwrite, err);
}

static hone_status write_one(const hone_sidecar *sidecar, const char *path, bool overwrite, hone_error *err)
{
    if (!sidecar->path)
        return write_text(path, sidecar->text, sidecar->len, overwrite, err);
    char *text;
    size_t len;
    HONE_TRY(hone_file_slurp(sidecar->path, MAX_NBYTES, &text, &len, err));
    const hone_status status = write_text(path, text, len, overwrite, err);
    hone_release(text);
    return status;
}

hone_status hone_sidecars_write(const hone_plan *plan, const char *directory, bool overwrite, hone_error *err)
{
    hone_status status = HONE_OK;
    for (size_t i = 0; i < plan->n_sidecars && status == HONE_OK; i++) {
        char *path = hone_path_join(directory, plan->sidecars[i].name);
        status = path ? write_one(&plan->sidecars[i], path, overwrite, err) : hone_fail_nomem(err, strlen(directory));
        hone_release(path);
    }
    return status;
}
