/* SPDX-License-Identifier: MIT */
/* hone tokenize: the token ids of a text. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/json_out.h"
#include "cli/report.h"
#include "cli/session.h"
#include "cli/text_input.h"
#include "hone/verify.h"

struct request {
    const char *args[2]; /* SRC, STRING */
    hone_cli_list texts;
    bool no_special, parse_special;
};

static json_t *to_json(const hone_tokenizer *tok, const int32_t *ids, size_t n)
{
    json_t *numbers = hone_cli_json_array(), *pieces = hone_cli_json_array();
    for (size_t i = 0; i < n; i++) {
        hone_cli_json_add(numbers, json_integer(ids[i]));
        hone_cli_json_add(pieces, hone_cli_json_string(hone_tokenizer_piece(tok, ids[i])));
    }
    json_t *root = hone_cli_json_object();
    hone_cli_json_put(root, "ids", numbers);
    hone_cli_json_put(root, "pieces", pieces);
    return root;
}

static hone_status tokenize(const hone_cli_session *s, const struct request *r, const char *text, size_t nbytes,
                            hone_error *err)
{
    hone_checkpoint *ckpt = NULL;
    hone_tokenizer *tok = NULL;
    int32_t *ids = NULL;
    size_t n = 0;
    hone_status status = hone_cli_open(s, r->args[0], &ckpt, err);
    if (status == HONE_OK)
        status = hone_tokenizer_load(ckpt, &tok, err);
    if (status == HONE_OK)
        status = hone_tokenizer_encode(tok, text, nbytes, !r->no_special, r->parse_special, &ids, &n, err);
    if (status == HONE_OK && hone_cli_wants_text(s->globals)) {
        for (size_t i = 0; i < n; i++)
            (void)printf("%s%" PRId32, i ? " " : "", ids[i]);
        (void)putchar('\n');
    }
    if (status == HONE_OK && s->globals->json)
        status = hone_cli_json_write(s->globals, to_json(tok, ids, n), err);
    hone_tokens_free(ids);
    hone_tokenizer_free(tok);
    hone_checkpoint_close(ckpt);
    return status;
}

int hone_cmd_tokenize(int argc, char **argv)
{
    struct request r = {.args = {NULL, NULL}};
    const hone_cli_option options[] = {
        {0, "text", "FILE", "the text to split, instead of STRING; may be repeated;\n- is stdin", HONE_CLI_LIST,
         &r.texts},
        {0, "no-special", NULL, "do not add the tokens that the model wants at either end", HONE_CLI_FLAG,
         &r.no_special},
        {0, "parse-special", NULL, "special tokens written out in the text become their ids", HONE_CLI_FLAG,
         &r.parse_special},
    };
    const hone_cli_spec spec = {
        .command = "tokenize",
        .synopsis = "SRC (STRING | --text FILE) [--no-special] [--parse-special]",
        .about = "Prints the token ids of a text on one line. --json also gives the pieces they stand for, with\n"
                 "U+FFFD in place of bytes that are not UTF-8 by themselves.\n",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .positionals = {"SRC", "STRING"},
        .min_positionals = 1,
    };
    hone_cli_globals globals = {0};
    int code;
    if (!hone_cli_parse(&spec, argc, argv, &globals, r.args, &code))
        return code;
    if ((r.texts.n == 0) == (r.args[1] == NULL))
        return hone_cli_usage_error("tokenize", r.args[1] ? "STRING and --text exclude each other"
                                                          : "STRING or --text FILE is missing");
    hone_cli_session session;
    char *text = NULL;
    size_t nbytes = 0;
    hone_error err = HONE_CLI_NO_ERROR;
    hone_status status = hone_cli_session_open(&session, &globals, &err);
    if (status == HONE_OK)
        status = hone_cli_json_check_target(&globals, &err);
    if (status == HONE_OK && r.texts.n)
        status = hone_cli_text_read(&r.texts, &text, &nbytes, &err);
    if (status == HONE_OK)
        status = tokenize(&session, &r, r.args[1] ? r.args[1] : text, r.args[1] ? strlen(r.args[1]) : nbytes, &err);
    free(text);
    hone_cli_session_close(&session);
    return hone_cli_fail(status, &err);
}
