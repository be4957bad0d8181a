/* SPDX-License-Identifier: MIT */
/* hone diff: per-tensor error between any two sources. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/json_out.h"
#include "cli/report.h"
#include "cli/session.h"
#include "cli/table.h"
#include "hone/verify.h"

static const char *const only_in[2] = {"only_in_a", "only_in_b"};

/* NaN differences count as differences. */
static bool all_equal(const hone_diff *diff)
{
    for (size_t i = 0; i < hone_diff_n(diff); i++)
        if (!(hone_diff_at(diff, i)->max_abs == 0))
            return false;
    return hone_diff_n(diff) > 0 && !hone_diff_unmatched(diff, 0, 0) && !hone_diff_unmatched(diff, 1, 0);
}

static void print_diff(const hone_diff *diff, const char *const sources[2])
{
    hone_cli_table *t = hone_cli_table_new("<tensor|<types|>rmse|>relative|>max abs|>at|>cosine");
    for (size_t i = 0; i < hone_diff_n(diff); i++) {
        const hone_tensor_diff *d = hone_diff_at(diff, i);
        hone_cli_table_cell(t, "%s", d->name);
        hone_cli_table_cell(t, "%s %s", hone_dtype_describe(d->reference_dtype)->name,
                            hone_dtype_describe(d->dtype)->name);
        hone_cli_table_cell(t, "%.3g", d->rmse);
        hone_cli_table_cell(t, "%.3g", d->relative_rmse);
        hone_cli_table_cell(t, "%.3g", d->max_abs);
        hone_cli_table_cell(t, "%" PRIu64, d->max_index);
        hone_cli_table_cell(t, "%.8f", d->cosine);
    }
    hone_cli_table_print(t);
    for (int side = 0; side < 2; side++) {
        char safe[256];
        const char *name;
        for (size_t i = 0; (name = hone_diff_unmatched(diff, side, i)) != NULL; i++)
            (void)printf("only in %s: %s\n", sources[side],
                         hone_cli_printable(name, strlen(name), SIZE_MAX, safe, sizeof safe));
    }
}

static json_t *tensor_json(const hone_tensor_diff *d)
{
    json_t *o = hone_cli_json_object();
    hone_cli_json_put(o, "name", hone_cli_json_text(d->name));
    hone_cli_json_put(o, "reference_name", hone_cli_json_text(d->reference_name));
    hone_cli_json_put(o, "reference_type", hone_cli_json_text(hone_dtype_describe(d->reference_dtype)->name));
    hone_cli_json_put(o, "type", hone_cli_json_text(hone_dtype_describe(d->dtype)->name));
    hone_cli_json_put(o, "elements", hone_cli_json_uint(d->nelems));
    hone_cli_json_put(o, "rmse", hone_cli_json_real(d->rmse));
    hone_cli_json_put(o, "relative_rmse", hone_cli_json_real(d->relative_rmse));
    hone_cli_json_put(o, "max_abs", hone_cli_json_real(d->max_abs));
    hone_cli_json_put(o, "max_index", hone_cli_json_uint(d->max_index));
    hone_cli_json_put(o, "cosine", hone_cli_json_real(d->cosine));
    return o;
}

static json_t *to_json(const hone_diff *diff, const char *const sources[2])
{
    json_t *root = hone_cli_json_object();
    hone_cli_json_put(root, "a", hone_cli_json_text(sources[0]));
    hone_cli_json_put(root, "b", hone_cli_json_text(sources[1]));
    json_t *tensors = hone_cli_json_array();
    for (size_t i = 0; i < hone_diff_n(diff); i++)
        hone_cli_json_add(tensors, tensor_json(hone_diff_at(diff, i)));
    hone_cli_json_put(root, "tensors", tensors);
    for (int side = 0; side < 2; side++) {
        json_t *names = hone_cli_json_array();
        const char *name;
        for (size_t i = 0; (name = hone_diff_unmatched(diff, side, i)) != NULL; i++)
            hone_cli_json_add(names, hone_cli_json_text(name));
        hone_cli_json_put(root, only_in[side], names);
    }
    hone_cli_json_put(root, "equal", hone_cli_json_bool(all_equal(diff)));
    return root;
}

static hone_status compare(hone_cli_session *s, const char *const sources[2], const char *name, bool *equal,
                           hone_error *err)
{
    hone_checkpoint *ckpts[2] = {NULL, NULL};
    hone_diff *diff = NULL;
    hone_status status = hone_cli_open(s, sources[0], &ckpts[0], err);
    if (status == HONE_OK)
        status = hone_cli_open(s, sources[1], &ckpts[1], err);
    if (status == HONE_OK)
        status = hone_diff_run(s->ctx, ckpts[0], ckpts[1], name, &diff, err);
    hone_cli_progress_erase(&s->progress);
    if (status == HONE_OK) {
        *equal = all_equal(diff);
        if (hone_cli_wants_text(s->globals))
            print_diff(diff, sources);
        if (s->globals->json)
            status = hone_cli_json_write(s->globals, to_json(diff, sources), err);
    }
    hone_diff_free(diff);
    hone_checkpoint_close(ckpts[1]);
    hone_checkpoint_close(ckpts[0]);
    return status;
}

int hone_cmd_diff(int argc, char **argv)
{
    const char *name = NULL;
    const hone_cli_option options[] = {
        {0, "tensor", "NAME", "only this tensor of B", HONE_CLI_TEXT, &name},
    };
    const hone_cli_spec spec = {
        .command = "diff",
        .synopsis = "A B [--tensor NAME]",
        .about = "Compares the weights of two sources, value by value. A checkpoint and a GGUF file made from it\n"
                 "are matched by what each weight does in the model, the order of rows undone.\n"
                 "Exit 0 when every value is equal and nothing is missing on either side, 1 when they differ.\n",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .positionals = {"A", "B"},
        .min_positionals = 2,
    };
    hone_cli_globals globals = {0};
    const char *sources[2];
    int code;
    if (!hone_cli_parse(&spec, argc, argv, &globals, sources, &code))
        return code;

    hone_cli_session session;
    bool equal = true;
    hone_error err = HONE_CLI_NO_ERROR;
    hone_status status = hone_cli_session_open(&session, &globals, &err);
    if (status == HONE_OK)
        status = hone_cli_json_check_target(&globals, &err);
    if (status == HONE_OK)
        status = compare(&session, sources, name, &equal, &err);
    hone_cli_session_close(&session);
    code = hone_cli_fail(status, &err);
    return code == HONE_EXIT_OK && !equal ? HONE_EXIT_FAILED : code;
}
