/* SPDX-License-Identifier: MIT */
#include "convert/output_guard.h"

#include <string.h>
#include <sys/stat.h>

#include <xxhash.h>

#include "base/fail.h"
#include "base/mem.h"
#include "base/writer.h"
#include "formats/imatrix.h"
#include "formats/sources.h"
#include "hone/convert.h"

/* Files beside the weights that a conversion reads. */
static const char *const sidecars[] = {
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "model.safetensors.index.json",
    "pytorch_model.bin.index.json",
};

static bool is_file(const struct stat *st, uint64_t device, uint64_t inode)
{
    return (uint64_t)st->st_dev == device && (uint64_t)st->st_ino == inode;
}

static bool is_named(const struct stat *st, const char *path)
{
    struct stat other;
    return path && stat(path, &other) == 0 && is_file(st, (uint64_t)other.st_dev, (uint64_t)other.st_ino);
}

static hone_status is_input(const hone_plan *plan, const struct stat *st, bool *is, hone_error *err)
{
    const hone_checkpoint *src = plan->src;
    const hone_file *imatrix = plan->imatrix ? hone_imatrix_file(plan->imatrix) : NULL;
    *is = is_named(st, src->config_path) || (imatrix && is_file(st, imatrix->device, imatrix->inode));
    for (size_t i = 0; i < src->n_files && !*is; i++)
        *is = is_file(st, src->files[i].device, src->files[i].inode);
    for (size_t i = 0; plan->calibration && i < plan->calibration->n_files && !*is; i++)
        *is = is_file(st, plan->calibration->files[i].device, plan->calibration->files[i].inode);
    for (size_t i = 0; i < sizeof sidecars / sizeof sidecars[0] && !*is; i++) {
        char *sidecar = hone_path_join(src->dir, sidecars[i]);
        if (!sidecar)
            return hone_fail_nomem(err, strlen(src->dir));
        *is = is_named(st, sidecar);
        hone_release(sidecar);
    }
    return HONE_OK;
}

static hone_status refuse(const hone_plan *plan, const char *path, hone_error *err)
{
    struct stat st;
    bool is = false;
    if (stat(path, &st) == 0)
        HONE_TRY(is_input(plan, &st, &is, err));
    if (!is)
        return HONE_OK;
    (void)hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "output is an input of this run");
    return hone_fail_in_file(err, HONE_ERROR_ARG, path);
}

hone_status hone_refuse_own_input(const hone_plan *plan, const char *path, hone_error *err)
{
    HONE_TRY(refuse(plan, path, err));
    char *partial = hone_writer_partial_path(path);
    if (!partial)
        return hone_fail_nomem(err, strlen(path));
    const hone_status status = refuse(plan, partial, err);
    hone_release(partial);
    return status;
}

hone_status hone_check_memory(uint64_t nbytes, hone_error *err)
{
    const uint64_t available = hone_memory_available();
    if (nbytes <= available)
        return HONE_OK;
    return hone_fail(err, HONE_ERROR_NOMEM, HONE_NO_OFFSET, NULL,
                     "needs %llu bytes of working memory, the system has %llu (--memory, --threads)",
                     (unsigned long long)nbytes, (unsigned long long)available);
}

hone_status hone_check_unchanged(const hone_plan *plan, hone_error *err)
{
    for (size_t i = 0; i < plan->src->n_files; i++)
        HONE_TRY(hone_file_check_unchanged(&plan->src->files[i], err));
    for (size_t i = 0; plan->calibration && i < plan->calibration->n_files; i++)
        HONE_TRY(hone_file_check_unchanged(&plan->calibration->files[i], err));
    return plan->imatrix ? hone_file_check_unchanged(hone_imatrix_file(plan->imatrix), err) : HONE_OK;
}

hone_status hone_output_check(const char *path, bool overwrite, hone_error *err)
{
    return hone_writer_check_target(path, overwrite, err);
}

uint64_t hone_identify_inputs(const hone_plan *plan, uint64_t id)
{
    for (size_t i = 0; i < plan->src->n_files; i++)
        id = hone_file_identity(&plan->src->files[i], id);
    for (size_t i = 0; plan->calibration && i < plan->calibration->n_files; i++)
        id = hone_file_identity(&plan->calibration->files[i], id);
    return plan->imatrix ? hone_file_identity(hone_imatrix_file(plan->imatrix), id) : id;
}
