/* SPDX-License-Identifier: MIT */
/* What every command holds while it runs: the library's context, and where its talk goes. */
#ifndef HONE_CLI_SESSION_H
#define HONE_CLI_SESSION_H

#include "cli/args.h"
#include "cli/progress.h"
#include "hone/checkpoint.h"
#include "hone/context.h"

typedef struct hone_cli_session {
    const hone_cli_globals *globals;
    hone_cli_progress progress;
    hone_context *ctx;
} hone_cli_session;

/* hone_cli_session_open() makes the context the global options ask for. Must not move afterwards. */
hone_status hone_cli_session_open(hone_cli_session *s, const hone_cli_globals *globals, hone_error *err);

/* hone_cli_session_close() releases the context and takes the progress bar off the screen. */
void hone_cli_session_close(hone_cli_session *s);

/* hone_cli_open() opens a source with the session's --config. */
hone_status hone_cli_open(const hone_cli_session *s, const char *path, hone_checkpoint **out, hone_error *err);

/* hone_cli_open_rotated() does that and rotates it; rotate: of hone_checkpoint_rotate(), or NULL. */
hone_status hone_cli_open_rotated(const hone_cli_session *s, const char *path, const char *rotate,
                                  hone_checkpoint **out, hone_error *err);

/* hone_cli_wants_text() tells whether results go to stdout as text: not when JSON goes there. */
bool hone_cli_wants_text(const hone_cli_globals *globals);

/* hone_cli_bits_per_weight() is 8 * bytes of tensor data / elements; 0 for no elements. */
double hone_cli_bits_per_weight(const hone_checkpoint *ckpt);

#endif
