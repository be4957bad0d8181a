/* SPDX-License-Identifier: MIT */
#include "cli/verify_out.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "cli/json_out.h"
#include "cli/report.h"
#include "cli/table.h"

#define PLUS_MINUS "\xC2\xB1"

static void put_model(hone_cli_table *t, const char *role, const char *path, uint64_t nbytes, double bpw,
                      const hone_perplexity_result *r)
{
    char buf[HONE_CLI_SIZE_LEN];
    hone_cli_table_cell(t, "%s", role);
    hone_cli_table_cell(t, "%s", path);
    hone_cli_table_cell(t, "%s", hone_cli_size(nbytes, buf));
    hone_cli_table_cell(t, "%.3f", bpw);
    hone_cli_table_cell(t, "%.4f", r->ppl);
    hone_cli_table_cell(t, PLUS_MINUS " %.4f", r->ppl_stderr);
}

static void print_models(const hone_cli_verdict *v)
{
    const hone_divergence *d = &v->divergence;
    hone_cli_table *t = hone_cli_table_new("<|<file|>size|>bits/weight|>perplexity|<");
    put_model(t, "reference", v->reference_path, v->reference_nbytes, v->reference_bpw, &d->reference);
    put_model(t, "candidate", v->candidate_path, d->candidate_nbytes, d->candidate_bpw, &d->candidate);
    hone_cli_table_print(t);
}

static void print_divergence(const hone_divergence *d)
{
    hone_cli_table *t = hone_cli_table_new("<|>|<|<");
    hone_cli_table_cell(t, "KL divergence, mean");
    hone_cli_table_cell(t, "%.6f", d->kld_mean);
    hone_cli_table_cell(t, PLUS_MINUS " %.6f", d->kld_stderr);
    hone_cli_table_cell(t, "nats per token");
    const struct {
        const char *name;
        double value;
    } quantiles[] = {{"median", d->kld_median}, {"99 %", d->kld_p99}, {"max", d->kld_max}};
    for (size_t i = 0; i < 3; i++) {
        hone_cli_table_cell(t, "KL divergence, %s", quantiles[i].name);
        hone_cli_table_cell(t, "%.6f", quantiles[i].value);
        hone_cli_table_cell(t, "%s", "");
        hone_cli_table_cell(t, "%s", "");
    }
    hone_cli_table_cell(t, "top-1 agreement");
    hone_cli_table_cell(t, "%.3f %%", 100 * d->top1);
    hone_cli_table_cell(t, PLUS_MINUS " %.3f %%", 100 * d->top1_stderr);
    hone_cli_table_cell(t, "of %" PRIu64 " positions", d->candidate.scored);
    hone_cli_table_cell(t, "perplexity ratio");
    hone_cli_table_cell(t, "%.6f", d->ppl_ratio);
    hone_cli_table_cell(t, PLUS_MINUS " %.6f", d->ppl_ratio_stderr);
    hone_cli_table_cell(t, "candidate / reference");
    hone_cli_table_print(t);
}

static void print_gates(const hone_cli_verdict *v)
{
    hone_cli_table *t = hone_cli_table_new("<gate|<|>value|<");
    for (size_t i = 0; i < v->n_gates; i++) {
        const hone_gate_result *g = &v->gates[i];
        hone_cli_table_cell(t, "%s", g->pass ? "PASS" : "FAIL");
        hone_cli_table_cell(t, "%s", g->expr);
        hone_cli_table_cell(t, "%.8g", g->value);
        if (isnan(g->value_stderr))
            hone_cli_table_cell(t, "%s", "");
        else
            hone_cli_table_cell(t, PLUS_MINUS " %.3g", g->value_stderr);
    }
    (void)putchar('\n');
    hone_cli_table_print(t);
}

void hone_cli_verdict_print(const hone_cli_verdict *v)
{
    print_models(v);
    (void)putchar('\n');
    print_divergence(&v->divergence);
    if (v->n_gates)
        print_gates(v);
}

static json_t *pair(const char *name, double value, double value_stderr)
{
    json_t *o = hone_cli_json_object();
    hone_cli_json_put(o, name, hone_cli_json_real(value));
    hone_cli_json_put(o, "stderr", hone_cli_json_real(value_stderr));
    return o;
}

static json_t *model_json(const char *path, const hone_perplexity_result *r, uint64_t nbytes, double bpw)
{
    json_t *o = hone_cli_json_object();
    hone_cli_json_put(o, "model", hone_cli_json_text(path));
    hone_cli_json_put(o, "ppl", hone_cli_json_real(r->ppl));
    hone_cli_json_put(o, "ppl_stderr", hone_cli_json_real(r->ppl_stderr));
    hone_cli_json_put(o, "nll", hone_cli_json_real(r->nll));
    hone_cli_json_put(o, "bytes", hone_cli_json_uint(nbytes));
    hone_cli_json_put(o, "bpw", hone_cli_json_real(bpw));
    return o;
}

static json_t *tensors_json(const hone_diff *diff)
{
    json_t *array = hone_cli_json_array();
    for (size_t i = 0; diff && i < hone_diff_n(diff); i++) {
        const hone_tensor_diff *d = hone_diff_at(diff, i);
        json_t *o = hone_cli_json_object();
        hone_cli_json_put(o, "name", hone_cli_json_text(d->name));
        hone_cli_json_put(o, "type", hone_cli_json_text(hone_dtype_describe(d->dtype)->name));
        hone_cli_json_put(o, "rmse", hone_cli_json_real(d->rmse));
        hone_cli_json_put(o, "max_abs", hone_cli_json_real(d->max_abs));
        hone_cli_json_put(o, "cosine", hone_cli_json_real(d->cosine));
        hone_cli_json_add(array, o);
    }
    return array;
}

static json_t *gates_json(const hone_cli_verdict *v)
{
    json_t *array = hone_cli_json_array();
    for (size_t i = 0; i < v->n_gates; i++) {
        json_t *o = pair("value", v->gates[i].value, v->gates[i].value_stderr);
        hone_cli_json_put(o, "expr", hone_cli_json_text(v->gates[i].expr));
        hone_cli_json_put(o, "pass", hone_cli_json_bool(v->gates[i].pass));
        hone_cli_json_add(array, o);
    }
    return array;
}

json_t *hone_cli_verdict_json(hone_cli_verdict *v)
{
    const hone_divergence *d = &v->divergence;
    json_t *root = hone_cli_json_object();
    hone_cli_json_put(root, "reference",
                      model_json(v->reference_path, &d->reference, v->reference_nbytes, v->reference_bpw));
    hone_cli_json_put(root, "candidate",
                      model_json(v->candidate_path, &d->candidate, d->candidate_nbytes, d->candidate_bpw));
    hone_cli_json_put(root, "scored", hone_cli_json_uint(d->candidate.scored));
    json_t *kld = pair("mean", d->kld_mean, d->kld_stderr);
    hone_cli_json_put(kld, "median", hone_cli_json_real(d->kld_median));
    hone_cli_json_put(kld, "p99", hone_cli_json_real(d->kld_p99));
    hone_cli_json_put(kld, "max", hone_cli_json_real(d->kld_max));
    if (v->chunk_klds)
        hone_cli_json_put(kld, "chunks", v->chunk_klds);
    v->chunk_klds = NULL;
    hone_cli_json_put(root, "kld", kld);
    hone_cli_json_put(root, "top1", pair("agreement", d->top1, d->top1_stderr));
    hone_cli_json_put(root, "ppl_ratio", pair("value", d->ppl_ratio, d->ppl_ratio_stderr));
    hone_cli_json_put(root, "tensors", tensors_json(v->diff));
    hone_cli_json_put(root, "gates", gates_json(v));
    hone_cli_json_put(root, "pass", hone_cli_json_bool(v->pass));
    return root;
}
