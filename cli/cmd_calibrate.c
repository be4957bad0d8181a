/* SPDX-License-Identifier: MIT */
/* hone calibrate: what a model's linear layers are given when it reads text. */
#include <inttypes.h>
#include <stdlib.h>

#include "cli/commands.h"
#include "cli/json_out.h"
#include "cli/report.h"
#include "cli/session.h"
#include "cli/table.h"
#include "cli/text_input.h"
#include "hone/calibrate.h"

struct words {
    const char *src, *out;
    hone_cli_list texts, merge;
    hone_calibrate_options options;
};

/* How evenly the tokens went to the experts. */
static void print_experts(hone_cli_table *t, const hone_calibration *c)
{
    uint64_t least = UINT64_MAX, most = 0;
    size_t n = 0, n_experts = 0;
    for (size_t i = 0; i < hone_calibration_n(c); i++) {
        const hone_calibration_weight w = hone_calibration_at(c, i);
        if (!w.n_experts)
            continue;
        least = w.tokens < least ? w.tokens : least;
        most = w.tokens > most ? w.tokens : most;
        n_experts = w.n_experts;
        n++;
    }
    if (n == 0)
        return;
    hone_cli_table_cell(t, "experts");
    hone_cli_table_cell(t, "%zu a layer, each given %" PRIu64 " to %" PRIu64 " tokens", n_experts, least, most);
}

static void print_coverage(const char *out, const hone_calibration *c, double seconds)
{
    size_t n_seen = 0, n_hessian = 0;
    const size_t n = hone_calibration_n(c);
    for (size_t i = 0; i < n; i++) {
        n_seen += hone_calibration_at(c, i).tokens > 0;
        n_hessian += hone_calibration_at(c, i).hessian;
    }
    hone_cli_table *t = hone_cli_table_new("<|<");
    hone_cli_table_cell(t, "file");
    hone_cli_table_cell(t, "%s", out);
    hone_cli_table_cell(t, "tokens");
    hone_cli_table_cell(t, "%" PRIu64 " in %" PRIu64 " chunks", hone_calibration_tokens(c), hone_calibration_chunks(c));
    hone_cli_table_cell(t, "weights");
    hone_cli_table_cell(t, "%zu, %zu with second moments", n_seen, n_hessian);
    print_experts(t, c);
    bool first = true;
    for (size_t i = 0; i < n; i++) {
        const hone_calibration_weight w = hone_calibration_at(c, i);
        if (w.tokens > 0)
            continue;
        hone_cli_table_cell(t, first ? "without data" : "");
        hone_cli_table_cell(t, w.n_experts ? "%s, expert %zu" : "%s", w.name, w.expert);
        first = false;
    }
    hone_cli_table_cell(t, "seconds");
    hone_cli_table_cell(t, "%.2f, %.0f tokens/s", seconds,
                        seconds > 0 ? (double)hone_calibration_tokens(c) / seconds : 0);
    hone_cli_table_print(t);
}

static json_t *to_json(const char *out, const hone_calibration *c, double seconds)
{
    json_t *root = hone_cli_json_object(), *weights = hone_cli_json_array();
    hone_cli_json_put(root, "output", hone_cli_json_text(out));
    hone_cli_json_put(root, "tokens", hone_cli_json_uint(hone_calibration_tokens(c)));
    hone_cli_json_put(root, "chunks", hone_cli_json_uint(hone_calibration_chunks(c)));
    hone_cli_json_put(root, "seconds", hone_cli_json_real(seconds));
    for (size_t i = 0; i < hone_calibration_n(c); i++) {
        const hone_calibration_weight w = hone_calibration_at(c, i);
        json_t *o = hone_cli_json_object();
        hone_cli_json_put(o, "name", hone_cli_json_text(w.name));
        hone_cli_json_put(o, "columns", hone_cli_json_uint(w.ncols));
        hone_cli_json_put(o, "tokens", hone_cli_json_uint(w.tokens));
        hone_cli_json_put(o, "hessian", hone_cli_json_bool(w.hessian));
        if (w.n_experts)
            hone_cli_json_put(o, "expert", hone_cli_json_uint(w.expert));
        hone_cli_json_add(weights, o);
    }
    hone_cli_json_put(root, "weights", weights);
    return root;
}

static hone_status calibrate(const hone_cli_session *s, const struct words *w, hone_calibration **out, hone_error *err)
{
    char *text = NULL;
    size_t nbytes = 0;
    hone_checkpoint *ckpt = NULL;
    hone_status status = hone_cli_text_read(&w->texts, &text, &nbytes, err);
    if (status == HONE_OK)
        status = hone_cli_open(s, w->src, &ckpt, err);
    if (status == HONE_OK)
        status = hone_calibrate(s->ctx, ckpt, text, nbytes, &w->options, w->out, out, err);
    hone_checkpoint_close(ckpt);
    free(text);
    return status;
}

static int run(const hone_cli_globals *globals, struct words *w)
{
    hone_cli_session session;
    hone_calibration *result = NULL;
    hone_error err = HONE_CLI_NO_ERROR;
    w->options.overwrite = globals->force;
    w->options.datasets = w->texts.items;
    w->options.n_datasets = w->texts.n;
    const double started = hone_cli_seconds();
    hone_status status = hone_cli_session_open(&session, globals, &err);
    if (status == HONE_OK)
        status = hone_cli_json_check_target(globals, &err);
    if (status == HONE_OK)
        status = w->merge.n ? hone_calibration_merge(session.ctx, w->merge.items, w->merge.n, &w->options, w->out,
                                                     &result, &err)
                            : calibrate(&session, w, &result, &err);
    hone_cli_progress_erase(&session.progress);
    const double seconds = hone_cli_seconds() - started;
    if (status == HONE_OK && hone_cli_wants_text(globals))
        print_coverage(w->out, result, seconds);
    if (status == HONE_OK && globals->json)
        status = hone_cli_json_write(globals, to_json(w->out, result, seconds), &err);
    hone_calibration_free(result);
    hone_cli_session_close(&session);
    return hone_cli_fail(status, &err);
}

int hone_cmd_calibrate(int argc, char **argv)
{
    struct words w = {.src = NULL};
    const hone_cli_option options[] = {
        {'o', "output", "STATS", "the file to write", HONE_CLI_TEXT, &w.out},
        {0, "text", "FILE", "UTF-8 text; may be repeated; - is stdin", HONE_CLI_LIST, &w.texts},
        {0, "ctx", "N", "tokens per chunk (default 512, or as many as the model has positions)", HONE_CLI_COUNT,
         &w.options.n_ctx},
        {0, "chunks", "N", "stop after N chunks", HONE_CLI_COUNT, &w.options.n_chunks},
        {0, "hessian", NULL,
         "second moments, too: what quantize --method gptq needs; of the output\nmatrix and of the embedding's readers "
         "as well",
         HONE_CLI_FLAG, &w.options.hessian},
        {0, "process-output", NULL, "the output matrix without --hessian, too", HONE_CLI_FLAG, &w.options.output},
        {0, "merge", "STATS", "add up such files instead of running a model; repeat for each", HONE_CLI_LIST, &w.merge},
    };
    const hone_cli_spec spec = {
        .command = "calibrate",
        .synopsis = "(SRC --text FILE... | --merge STATS...) -o STATS [--ctx N] [--chunks N] [--hessian]",
        .about = "Runs a model over text and records what its linear layers are given: an importance matrix in\n"
                 "GGUF form, which llama.cpp's quantizer reads, too.\n",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .positionals = {"SRC"},
        .min_positionals = 0,
    };
    hone_cli_globals globals = {0};
    int code;
    if (!hone_cli_parse(&spec, argc, argv, &globals, &w.src, &code))
        return code;
    if (!w.out)
        return hone_cli_usage_error("calibrate", "-o STATS is missing");
    if (w.merge.n && (w.src || w.texts.n))
        return hone_cli_usage_error("calibrate", "--merge takes neither SRC nor --text");
    if (!w.merge.n && !w.src)
        return hone_cli_usage_error("calibrate", "SRC is missing");
    if (!w.merge.n && !w.texts.n)
        return hone_cli_usage_error("calibrate", "--text FILE is missing");
    return run(&globals, &w);
}
