/* SPDX-License-Identifier: MIT */
/* hone verify: a candidate measured against its original on the same text, with gates for CI. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/json_out.h"
#include "cli/report.h"
#include "cli/session.h"
#include "cli/text_input.h"
#include "cli/verify_out.h"

struct request {
    const char *sources[2]; /* reference, candidate */
    hone_cli_list texts, gates;
    hone_eval_options eval;
};

/* Gates are read before any model runs: a typing mistake should not cost an hour. */
static int check_gate_syntax(const hone_cli_list *gates)
{
    const hone_divergence nothing = {0};
    for (size_t i = 0; i < gates->n; i++) {
        hone_error err = HONE_CLI_NO_ERROR;
        hone_gate_result result;
        if (hone_gate_check(gates->items[i], &nothing, &result, &err) == HONE_ERROR_ARG)
            return hone_cli_usage_error("verify", "--gate \"%s\": %s", gates->items[i], err.reason);
    }
    return 0;
}

static hone_status judge(const struct request *r, hone_cli_verdict *v, hone_error *err)
{
    v->gates = hone_cli_alloc(r->gates.n, sizeof *v->gates);
    v->n_gates = r->gates.n;
    v->pass = true;
    for (size_t i = 0; i < r->gates.n; i++) {
        /* A gate that fails is an answer here, not an error. */
        const hone_status status = hone_gate_check(r->gates.items[i], &v->divergence, &v->gates[i], err);
        if (status != HONE_OK && status != HONE_ERROR_MISMATCH)
            return status;
        v->pass &= v->gates[i].pass;
    }
    return HONE_OK;
}

static hone_status show(hone_cli_session *s, hone_cli_verdict *v, hone_error *err)
{
    hone_cli_progress_erase(&s->progress);
    if (hone_cli_wants_text(s->globals))
        hone_cli_verdict_print(v);
    return s->globals->json ? hone_cli_json_write(s->globals, hone_cli_verdict_json(v), err) : HONE_OK;
}

/* The per-tensor list is an extra of the JSON report: two models may be comparable in what they say and not in their
 * parts. */
static hone_diff *diff_if_possible(hone_cli_session *s, const hone_checkpoint *const *ckpts)
{
    hone_diff *diff = NULL;
    hone_error err = HONE_CLI_NO_ERROR;
    const hone_status status = hone_diff_run(s->ctx, ckpts[0], ckpts[1], NULL, &diff, &err);
    if (status == HONE_OK || status == HONE_ERROR_MISMATCH)
        return diff;
    char note[512];
    (void)snprintf(note, sizeof note, "tensors not compared: %s", err.reason);
    hone_cli_progress_note(&s->progress, note);
    return NULL;
}

static void add_chunk(void *user, double kld)
{
    hone_cli_json_add(user, hone_cli_json_real(kld));
}

static hone_status verify(hone_cli_session *s, const struct request *r, const char *text, size_t nbytes, bool *pass,
                          hone_error *err)
{
    hone_checkpoint *ckpts[2] = {NULL, NULL};
    hone_diff *diff = NULL;
    hone_cli_verdict v = {.reference_path = r->sources[0], .candidate_path = r->sources[1]};
    hone_eval_options eval = r->eval;
    if (s->globals->json) {
        v.chunk_klds = hone_cli_json_array();
        eval.on_chunk = add_chunk;
        eval.user = v.chunk_klds;
    }
    hone_status status = hone_cli_open(s, r->sources[0], &ckpts[0], err);
    if (status == HONE_OK)
        status = hone_cli_open(s, r->sources[1], &ckpts[1], err);
    if (status == HONE_OK)
        status = hone_verify(s->ctx, ckpts[0], ckpts[1], text, nbytes, &eval, &v.divergence, err);
    if (status == HONE_OK)
        status = judge(r, &v, err);
    if (status == HONE_OK) {
        v.reference_nbytes = hone_checkpoint_nbytes(ckpts[0]);
        v.reference_bpw = hone_cli_bits_per_weight(ckpts[0]);
        if (s->globals->json)
            diff = diff_if_possible(s, (const hone_checkpoint *const *)ckpts);
        v.diff = diff;
        status = show(s, &v, err);
        *pass = v.pass;
    }
    json_decref(v.chunk_klds);
    free(v.gates);
    hone_diff_free(diff);
    hone_checkpoint_close(ckpts[1]);
    hone_checkpoint_close(ckpts[0]);
    return status;
}

int hone_cmd_verify(int argc, char **argv)
{
    struct request r = {.sources = {NULL, NULL}};
    const hone_cli_option options[] = {
        {0, "text", "FILE", "UTF-8 text; may be repeated; - is stdin", HONE_CLI_LIST, &r.texts},
        {0, "ctx", "N", "tokens per chunk (default 512, or as many as the model has positions)", HONE_CLI_COUNT,
         &r.eval.n_ctx},
        {0, "chunks", "N", "stop after N chunks", HONE_CLI_COUNT, &r.eval.n_chunks},
        {0, "allow-calibration-text", NULL, "measure on text that CANDIDATE was calibrated on, too", HONE_CLI_FLAG,
         &r.eval.any_text},
        {0, "gate", "EXPR",
         "METRIC OP NUMBER, such as 'kld.mean<0.01'; may be repeated;\nexit 1 when one does not hold", HONE_CLI_LIST,
         &r.gates},
    };
    const hone_cli_spec spec = {
        .command = "verify",
        .synopsis = "REF CANDIDATE --text FILE [--ctx N] [--chunks N] [--gate EXPR]...",
        .about = "Runs the original and the candidate on the same text, side by side, and reports how far apart\n"
                 "their predictions are.\n\n"
                 "Metrics of gates: kld.mean kld.median kld.p99 kld.max top1.agreement ppl_ratio.value\n"
                 "reference.ppl candidate.ppl candidate.bpw candidate.bytes; operators: < <= > >=\n",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .positionals = {"REF", "CANDIDATE"},
        .min_positionals = 2,
    };
    hone_cli_globals globals = {0};
    int code;
    if (!hone_cli_parse(&spec, argc, argv, &globals, r.sources, &code))
        return code;
    if (r.texts.n == 0)
        return hone_cli_usage_error("verify", "--text FILE is missing");
    if ((code = check_gate_syntax(&r.gates)) != 0)
        return code;

    hone_cli_session session;
    char *text = NULL;
    size_t nbytes = 0;
    bool pass = true;
    hone_error err = HONE_CLI_NO_ERROR;
    hone_status status = hone_cli_session_open(&session, &globals, &err);
    if (status == HONE_OK)
        status = hone_cli_json_check_target(&globals, &err);
    if (status == HONE_OK)
        status = hone_cli_text_read(&r.texts, &text, &nbytes, &err);
    if (status == HONE_OK)
        status = verify(&session, &r, text, nbytes, &pass, &err);
    free(text);
    hone_cli_session_close(&session);
    code = hone_cli_fail(status, &err);
    return code == HONE_EXIT_OK && !pass ? HONE_EXIT_FAILED : code;
}
