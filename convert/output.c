/* SPDX-License-Identifier: MIT */
#include "convert/output.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/mem.h"
#include "convert/output_guard.h"
#include "convert/sidecars.h"
#include "convert/target.h"
#include "formats/sources.h"

static void release(hone_output *out)
{
    for (size_t i = 0; out->paths && i < out->plan->n_files; i++)
        hone_release(out->paths[i]);
    hone_release(out->paths);
    hone_release(out->directory);
    *out = (hone_output){.last.fd = -1, .current.fd = -1};
}

static hone_status name_files(hone_output *out, const char *path, hone_error *err)
{
    const hone_plan *plan = out->plan;
    out->paths = hone_calloc(plan->n_files, sizeof(char *));
    if (plan->target->is_directory)
        out->directory = hone_strdup(path);
    if (!out->paths || (plan->target->is_directory && !out->directory))
        return hone_fail_nomem(err, strlen(path));
    for (size_t i = 0; i < plan->n_files; i++) {
        out->paths[i] = plan->files[i].name ? hone_path_join(path, plan->files[i].name) : hone_strdup(path);
        if (!out->paths[i])
            return hone_fail_nomem(err, strlen(path));
    }
    return HONE_OK;
}

static hone_status make_directory(hone_output *out, hone_error *err)
{
    if (!out->directory || hone_file_is_directory(out->directory))
        return HONE_OK;
    if (hone_file_exists(out->directory)) {
        (void)hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "output is not a directory");
        return hone_fail_in_file(err, HONE_ERROR_ARG, out->directory);
    }
    out->made_directory = mkdir(out->directory, 0777) == 0;
    if (out->made_directory || errno == EEXIST)
        return HONE_OK;
    if (errno == ENOENT) {
        (void)hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "output directory does not exist");
        return hone_fail_in_file(err, HONE_ERROR_ARG, out->directory);
    }
    (void)hone_fail_errno(err, errno, HONE_NO_OFFSET, NULL, "cannot create");
    return hone_fail_in_file(err, HONE_ERROR_IO, out->directory);
}

static bool is_file_of_plan(const hone_plan *plan, const char *name)
{
    for (size_t i = 0; i < plan->n_files; i++)
        if (plan->files[i].name && strcmp(plan->files[i].name, name) == 0)
            return true;
    return false;
}

/* A model.safetensors beside our index, or the other way round, would be read in place of our files. */
static hone_status refuse_other_weights(const hone_output *out, hone_error *err)
{
    DIR *stream = out->directory ? opendir(out->directory) : NULL;
    if (!stream)
        return HONE_OK;
    char name[256] = "";
    const struct dirent *entry;
    while (!name[0] && (entry = readdir(stream)) != NULL) {
        const char *dot = strstr(entry->d_name, ".safetensors");
        const bool is_weights =
            dot && (strcmp(dot, ".safetensors") == 0 || strcmp(dot, ".safetensors.index.json") == 0);
        if (is_weights && !is_file_of_plan(out->plan, entry->d_name))
            (void)snprintf(name, sizeof name, "%s", entry->d_name);
    }
    (void)closedir(stream);
    if (!name[0])
        return HONE_OK;
    (void)hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "%s is in the way: weights that are not of this output",
                    name);
    return hone_fail_in_file(err, HONE_ERROR_ARG, out->directory);
}

static hone_status check_targets(const hone_output *out, hone_error *err)
{
    const hone_plan *plan = out->plan;
    /* A run that was killed while its files got their names has left some with names, but never the last. */
    HONE_TRY(hone_writer_check_target(out->paths[plan->n_files - 1], out->how.overwrite, err));
    HONE_TRY(refuse_other_weights(out, err));
    for (size_t i = 0; i < plan->n_files; i++)
        HONE_TRY(hone_refuse_own_input(plan, out->paths[i], err));
    return HONE_OK;
}

/* Undo the naming of an earlier run that was killed in the midst of it: what it named is partial again. */
static hone_status unname(const char *path, hone_error *err)
{
    char *partial = hone_writer_partial_path(path);
    if (!partial)
        return hone_fail_nomem(err, strlen(path));
    hone_status status = HONE_OK;
    if (!hone_file_exists(partial) && hone_file_exists(path) && rename(path, partial) != 0)
        status = hone_fail_in_file(err, hone_fail_errno(err, errno, HONE_NO_OFFSET, NULL, "cannot rename"), path);
    hone_release(partial);
    return status;
}

hone_status hone_output_open(const hone_plan *plan, const char *path, hone_writer_options how, hone_output *out,
                             hone_error *err)
{
    const size_t last = plan->n_files - 1;
    *out = (hone_output){.plan = plan, .how = how, .last.fd = -1, .current.fd = -1};
    hone_status status = name_files(out, path, err);
    if (status == HONE_OK)
        status = make_directory(out, err);
    if (status == HONE_OK)
        status = check_targets(out, err);
    if (status == HONE_OK)
        status = hone_writer_open(out->paths[last], plan->files[last].nbytes, how, &out->last, err);
    if (status == HONE_OK)
        return HONE_OK;
    if (out->made_directory)
        (void)rmdir(out->directory);
    hone_output_suspend(out);
    return status;
}

hone_status hone_output_reserve(hone_output *out, hone_error *err)
{
    const hone_plan *plan = out->plan;
    for (size_t i = 0; i + 1 < plan->n_files; i++) {
        if (out->last.resumed)
            HONE_TRY(unname(out->paths[i], err));
        HONE_TRY(hone_writer_open(out->paths[i], plan->files[i].nbytes, out->how, &out->current, err));
        const hone_status status = hone_writer_reserve(&out->current, err);
        hone_writer_suspend(&out->current);
        HONE_TRY(status);
    }
    out->how.restart = false; /* from here on the partial files are ours */
    /* The last at the end: that it has its size says that the others have theirs. */
    return hone_writer_reserve(&out->last, err);
}

hone_status hone_output_begin(hone_output *out, size_t file, const hone_writer **writer, hone_error *err)
{
    *writer = &out->last;
    if (file + 1 == out->plan->n_files)
        return HONE_OK;
    *writer = &out->current;
    return hone_writer_open(out->paths[file], out->plan->files[file].nbytes, out->how, &out->current, err);
}

void hone_output_end(hone_output *out)
{
    hone_writer_suspend(&out->current);
}

hone_status hone_output_commit(hone_output *out, hone_error *err)
{
    hone_status status = HONE_OK;
    if (out->directory)
        status = hone_sidecars_write(out->plan, out->directory, out->how.overwrite, err);
    for (size_t i = 0; i + 1 < out->plan->n_files && status == HONE_OK; i++) {
        const hone_writer *writer;
        status = hone_output_begin(out, i, &writer, err);
        if (status == HONE_OK)
            status = hone_writer_commit(&out->current, err);
    }
    if (status == HONE_OK)
        status = hone_writer_commit(&out->last, err);
    hone_output_suspend(out);
    return status;
}

static void remove_partial(const char *path)
{
    char *partial = hone_writer_partial_path(path);
    if (partial)
        (void)unlink(partial);
    hone_release(partial);
}

void hone_output_abort(hone_output *out)
{
    hone_writer_suspend(&out->current);
    if (out->paths && out->last.path) /* the lock is ours, so they are */
        for (size_t i = 0; i + 1 < out->plan->n_files; i++)
            remove_partial(out->paths[i]);
    hone_writer_abort(&out->last);
    if (out->made_directory)
        (void)rmdir(out->directory);
    if (out->plan)
        release(out);
}

void hone_output_suspend(hone_output *out)
{
    hone_writer_suspend(&out->current);
    hone_writer_suspend(&out->last);
    if (out->plan)
        release(out);
}
