/* SPDX-License-Identifier: MIT */
#include "cli/session.h"

#include "hone/rotate.h"

#include <string.h>

hone_status hone_cli_session_open(hone_cli_session *s, const hone_cli_globals *globals, hone_error *err)
{
    *s = (hone_cli_session){.globals = globals};
    hone_cli_progress_init(&s->progress, globals->quiet);
    const hone_context_options opts = {
        .n_threads = (int)globals->n_threads,
        .memory_nbytes = globals->memory_nbytes,
        .cpu = globals->cpu,
        .progress = hone_cli_progress_event,
        .note = hone_cli_progress_note,
        .user = &s->progress,
    };
    return hone_context_new(&opts, &s->ctx, err);
}

void hone_cli_session_close(hone_cli_session *s)
{
    hone_cli_progress_erase(&s->progress);
    hone_context_free(s->ctx);
    s->ctx = NULL;
}

hone_status hone_cli_open(const hone_cli_session *s, const char *path, hone_checkpoint **out, hone_error *err)
{
    const hone_open_options opts = {.config = s->globals->config};
    return hone_checkpoint_open(path, &opts, out, err);
}

hone_status hone_cli_open_rotated(const hone_cli_session *s, const char *path, const char *rotate,
                                  hone_checkpoint **out, hone_error *err)
{
    hone_status status = hone_cli_open(s, path, out, err);
    if (status == HONE_OK && rotate)
        status = hone_checkpoint_rotate(s->ctx, *out, rotate, err);
    if (status != HONE_OK) {
        hone_checkpoint_close(*out);
        *out = NULL;
    }
    return status;
}

bool hone_cli_wants_text(const hone_cli_globals *globals)
{
    return !globals->json || strcmp(globals->json, "-") != 0;
}

double hone_cli_bits_per_weight(const hone_checkpoint *ckpt)
{
    double nbytes = 0, nelems = 0;
    for (size_t i = 0; i < hone_checkpoint_n_tensors(ckpt); i++) {
        const hone_tensor *t = hone_checkpoint_tensor(ckpt, i);
        nbytes += (double)t->nbytes;
        nelems += (double)t->nelems;
    }
    return nelems > 0 ? 8 * nbytes / nelems : 0;
}
