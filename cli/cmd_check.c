/* SPDX-License-Identifier: MIT */
/* hone check: re-hash a file against the checksums it carries. */
#include <stdio.h>

#include "cli/commands.h"
#include "cli/json_out.h"
#include "cli/report.h"
#include "cli/session.h"

static json_t *to_json(const char *path, size_t n, hone_status status, const hone_error *err)
{
    json_t *root = hone_cli_json_object();
    hone_cli_json_put(root, "file", hone_cli_json_text(path));
    hone_cli_json_put(root, "tensors", hone_cli_json_uint(n));
    hone_cli_json_put(root, "pass", hone_cli_json_bool(status == HONE_OK));
    if (status == HONE_ERROR_MISMATCH)
        hone_cli_json_put(root, "mismatch", hone_cli_json_text(err->item));
    return root;
}

static hone_status check(hone_cli_session *s, const char *path, hone_error *err)
{
    hone_checkpoint *ckpt = NULL;
    size_t n = 0;
    const hone_open_options opts = {.config = s->globals->config, .parts = true};
    hone_status status = hone_checkpoint_open(path, &opts, &ckpt, err);
    if (status == HONE_OK)
        status = hone_checkpoint_check(s->ctx, ckpt, &n, err);
    hone_checkpoint_close(ckpt);
    hone_cli_progress_erase(&s->progress);
    if (status == HONE_OK && hone_cli_wants_text(s->globals))
        (void)printf("%zu tensors verified\n", n);
    if (s->globals->json && (status == HONE_OK || status == HONE_ERROR_MISMATCH)) {
        hone_error json_err = HONE_CLI_NO_ERROR;
        const hone_status written = hone_cli_json_write(s->globals, to_json(path, n, status, err), &json_err);
        if (status == HONE_OK && written != HONE_OK) {
            *err = json_err;
            return written;
        }
    }
    return status;
}

int hone_cmd_check(int argc, char **argv)
{
    const hone_cli_spec spec = {
        .command = "check",
        .synopsis = "FILE",
        .about = "Hashes every tensor of a GGUF file or safetensors directory written by hone and compares with the\n"
                 "checksums in the headers.\nExit 1 names the first tensor that differs; a file without checksums is "
                 "exit 2.\n",
        .options = NULL,
        .n_options = 0,
        .positionals = {"FILE"},
        .min_positionals = 1,
    };
    hone_cli_globals globals = {0};
    const char *path;
    int code;
    if (!hone_cli_parse(&spec, argc, argv, &globals, &path, &code))
        return code;
    hone_cli_session session;
    hone_error err = HONE_CLI_NO_ERROR;
    hone_status status = hone_cli_session_open(&session, &globals, &err);
    if (status == HONE_OK)
        status = hone_cli_json_check_target(&globals, &err);
    if (status == HONE_OK)
        status = check(&session, path, &err);
    hone_cli_session_close(&session);
    return hone_cli_fail(status, &err);
}
