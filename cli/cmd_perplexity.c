/* SPDX-License-Identifier: MIT */
/* hone perplexity: a model's perplexity on a text. */
#include <inttypes.h>
#include <stdlib.h>

#include "cli/commands.h"
#include "cli/json_out.h"
#include "cli/report.h"
#include "cli/session.h"
#include "cli/table.h"
#include "cli/text_input.h"
#include "hone/verify.h"

static void print_result(const char *src, const hone_perplexity_result *r)
{
    hone_cli_table *t = hone_cli_table_new("<|<");
    hone_cli_table_cell(t, "model");
    hone_cli_table_cell(t, "%s", src);
    hone_cli_table_cell(t, "tokens");
    hone_cli_table_cell(t, "%" PRIu64 ", %" PRIu64 " scored", r->tokens, r->scored);
    hone_cli_table_cell(t, "perplexity");
    hone_cli_table_cell(t, "%.4f \xC2\xB1 %.4f", r->ppl, r->ppl_stderr);
    hone_cli_table_cell(t, "nll");
    hone_cli_table_cell(t, "%.5f \xC2\xB1 %.5f nats per token", r->nll, r->nll_stderr);
    hone_cli_table_cell(t, "speed");
    hone_cli_table_cell(t, "%.0f tokens/s", r->tokens_per_second);
    hone_cli_table_print(t);
}

static json_t *to_json(const char *src, const hone_perplexity_result *r)
{
    json_t *root = hone_cli_json_object();
    hone_cli_json_put(root, "model", hone_cli_json_text(src));
    hone_cli_json_put(root, "tokens", hone_cli_json_uint(r->tokens));
    hone_cli_json_put(root, "scored", hone_cli_json_uint(r->scored));
    hone_cli_json_put(root, "nll", hone_cli_json_real(r->nll));
    hone_cli_json_put(root, "ppl", hone_cli_json_real(r->ppl));
    hone_cli_json_put(root, "ppl_stderr", hone_cli_json_real(r->ppl_stderr));
    hone_cli_json_put(root, "tokens_per_second", hone_cli_json_real(r->tokens_per_second));
    return root;
}

static hone_status evaluate(const hone_cli_session *s, const char *src, const char *text, size_t nbytes,
                            const hone_eval_options *opts, hone_perplexity_result *out, hone_error *err)
{
    hone_checkpoint *ckpt = NULL;
    hone_tokenizer *tok = NULL;
    hone_model *model = NULL;
    hone_status status = hone_cli_open(s, src, &ckpt, err);
    if (status == HONE_OK)
        status = hone_tokenizer_load(ckpt, &tok, err);
    if (status == HONE_OK)
        status = hone_model_load(s->ctx, ckpt, &model, err);
    if (status == HONE_OK)
        status = hone_perplexity(s->ctx, model, tok, text, nbytes, opts, out, err);
    hone_model_free(model);
    hone_tokenizer_free(tok);
    hone_checkpoint_close(ckpt);
    return status;
}

int hone_cmd_perplexity(int argc, char **argv)
{
    hone_cli_list texts = {.n = 0};
    hone_eval_options eval = {0};
    const hone_cli_option options[] = {
        {0, "text", "FILE", "UTF-8 text; may be repeated; - is stdin", HONE_CLI_LIST, &texts},
        {0, "ctx", "N", "tokens per chunk (default 512, or as many as the model has positions)", HONE_CLI_COUNT,
         &eval.n_ctx},
        {0, "chunks", "N", "stop after N chunks", HONE_CLI_COUNT, &eval.n_chunks},
    };
    const hone_cli_spec spec = {
        .command = "perplexity",
        .synopsis = "SRC --text FILE [--ctx N] [--chunks N]",
        .about = "Measures a model's perplexity on a text, as llama.cpp's perplexity tool does: chunks of --ctx\n"
                 "tokens without overlap, the second half of each scored.\n",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .positionals = {"SRC"},
        .min_positionals = 1,
    };
    hone_cli_globals globals = {0};
    const char *src;
    int code;
    if (!hone_cli_parse(&spec, argc, argv, &globals, &src, &code))
        return code;
    if (texts.n == 0)
        return hone_cli_usage_error("perplexity", "--text FILE is missing");

    hone_cli_session session;
    char *text = NULL;
    size_t nbytes = 0;
    hone_perplexity_result result = {0};
    hone_error err = HONE_CLI_NO_ERROR;
    hone_status status = hone_cli_session_open(&session, &globals, &err);
    if (status == HONE_OK)
        status = hone_cli_json_check_target(&globals, &err);
    if (status == HONE_OK)
        status = hone_cli_text_read(&texts, &text, &nbytes, &err);
    if (status == HONE_OK)
        status = evaluate(&session, src, text, nbytes, &eval, &result, &err);
    hone_cli_progress_erase(&session.progress);
    if (status == HONE_OK && hone_cli_wants_text(&globals))
        print_result(src, &result);
    if (status == HONE_OK && globals.json)
        status = hone_cli_json_write(&globals, to_json(src, &result), &err);
    free(text);
    hone_cli_session_close(&session);
    return hone_cli_fail(status, &err);
}
