/* SPDX-License-Identifier: MIT */
#include "cli/budget_out.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/report.h"
#include "cli/table.h"

/* A number above 0, followed by nothing but unit. */
static bool parse_number(const char *text, const char *unit, double *out)
{
    char *end;
    *out = strtod(text, &end);
    return end != text && strcasecmp(end, unit) == 0 && *out > 0 && isfinite(*out);
}

static const char *const probe_names[] = {"auto", "exact", "fast"};

static int parse_probe(const char *word, hone_budget_probe *out)
{
    for (int i = HONE_PROBE_AUTO; i <= HONE_PROBE_FAST; i++)
        if (!word || strcasecmp(word, probe_names[i]) == 0) {
            *out = (hone_budget_probe)i;
            return 0;
        }
    return hone_cli_usage_error("quantize", "unknown probe \"%s\" (auto, exact, fast)", word);
}

/* The usual types and code books, which take less room for what they keep, and runtimes more time. */
static const char all_types[] = "q2_k,q3_k,q4_k,q5_k,q6_k,q8_0,q4_0,q4_1,q5_0,q5_1,iq4_nl,iq4_xs,iq3_s,iq3_xxs,iq2_s,"
                                "iq2_xs,iq2_xxs,f16";

/* Names between commas, or all. */
static int parse_types(hone_cli_budget_words *words, hone_budget_options *out)
{
    const char *types = words->types && strcasecmp(words->types, "all") == 0 ? all_types : words->types;
    for (const char *at = types; at;) {
        char name[32] = "";
        const size_t length = strcspn(at, ",");
        if (length < sizeof name)
            memcpy(name, at, length);
        const hone_dtype type = hone_dtype_from_name(name);
        if (type == HONE_INVALID)
            return hone_cli_usage_error("quantize", "--budget-types: \"%.*s\" is no type", (int)length, at);
        if (out->n_types == HONE_BUDGET_MAX_TYPES)
            return hone_cli_usage_error("quantize", "--budget-types: more than %d", HONE_BUDGET_MAX_TYPES);
        words->type_list[out->n_types++] = type;
        at = at[length] ? at + length + 1 : NULL;
    }
    out->types = words->type_list;
    return 0;
}

int hone_cli_parse_budget(hone_cli_budget_words *words, hone_budget_options *out)
{
    *out = (hone_budget_options){.n_ctx = words->n_ctx, .n_chunks = words->n_chunks};
    if (words->budget && words->max_kld)
        return hone_cli_usage_error("quantize", "--budget and --max-kld are two goals: give one");
    if (words->budget && !parse_number(words->budget, "bpw", &out->bpw)) {
        out->bpw = 0;
        if (!hone_cli_parse_size(words->budget, &out->nbytes))
            return hone_cli_usage_error("quantize", "--budget \"%s\" is neither a size nor 4.25bpw", words->budget);
        /* No model is so small a file: 4.25 was meant to be bits. */
        if (out->nbytes < 1024 && strspn(words->budget, "0123456789.") == strlen(words->budget))
            return hone_cli_usage_error("quantize", "--budget \"%s\" lacks a unit: bpw, KiB, MiB or GiB",
                                        words->budget);
    }
    if (words->max_kld && !parse_number(words->max_kld, "", &out->max_kld))
        return hone_cli_usage_error("quantize", "--max-kld \"%s\" is no number above 0", words->max_kld);
    if (!words->texts.n)
        return hone_cli_usage_error("quantize", "a budget needs --text FILE to measure the tensors on");
    const int code = parse_probe(words->probe, &out->probe);
    return code ? code : parse_types(words, out);
}

static void print_point(hone_cli_table *t, const hone_budget_point *p, const char *mark)
{
    hone_cli_table_cell(t, "%.3f", p->bpw);
    hone_cli_table_cell(t, "%" PRIu64, p->nbytes);
    hone_cli_table_cell(t, "%.6f", p->kld);
    hone_cli_table_cell(t, "%s", mark);
}

void hone_cli_print_budget(const hone_budget *budget, const hone_divergence *measured)
{
    const hone_budget_point chosen = hone_budget_chosen(budget);
    hone_cli_table *t = hone_cli_table_new(">bits/weight|>bytes|>predicted KLD|<");
    bool shown = false;
    for (size_t i = 0; i < hone_budget_n_points(budget); i++) {
        const hone_budget_point p = hone_budget_point_at(budget, i);
        if (!shown && p.nbytes >= chosen.nbytes)
            print_point(t, &chosen, "<- this file");
        shown = shown || p.nbytes >= chosen.nbytes;
        if (p.nbytes != chosen.nbytes)
            print_point(t, &p, "");
    }
    if (!shown)
        print_point(t, &chosen, "<- this file");
    hone_cli_table_print(t);
    (void)printf("\nprobe: %s\n", probe_names[hone_budget_probe_used(budget)]);
    if (!measured)
        return;
    (void)printf("this file on the same text: KLD %.6f +- %.6f", measured->kld_mean, measured->kld_stderr);
    if (chosen.kld > 0)
        (void)printf(", %.2f of what was predicted", measured->kld_mean / chosen.kld);
    (void)putchar('\n');
}

static json_t *point_json(const hone_budget_point *p)
{
    json_t *o = hone_cli_json_object();
    hone_cli_json_put(o, "bytes", hone_cli_json_uint(p->nbytes));
    hone_cli_json_put(o, "bpw", hone_cli_json_real(p->bpw));
    hone_cli_json_put(o, "kld", hone_cli_json_real(p->kld));
    hone_cli_json_put(o, "exact", hone_cli_json_bool(p->is_exact));
    return o;
}

json_t *hone_cli_budget_json(const hone_budget *budget, const hone_divergence *measured)
{
    const hone_budget_point chosen = hone_budget_chosen(budget);
    json_t *root = hone_cli_json_object(), *points = hone_cli_json_array(), *tensors = hone_cli_json_array();
    hone_cli_json_put(root, "probe", hone_cli_json_text(probe_names[hone_budget_probe_used(budget)]));
    hone_cli_json_put(root, "predicted", point_json(&chosen));
    if (measured) {
        json_t *o = hone_cli_json_object();
        hone_cli_json_put(o, "kld", hone_cli_json_real(measured->kld_mean));
        hone_cli_json_put(o, "stderr", hone_cli_json_real(measured->kld_stderr));
        hone_cli_json_put(root, "measured", o);
    }
    for (size_t i = 0; i < hone_budget_n_points(budget); i++) {
        const hone_budget_point p = hone_budget_point_at(budget, i);
        hone_cli_json_add(points, point_json(&p));
    }
    for (size_t i = 0; i < hone_budget_n(budget); i++) {
        const hone_budget_tensor b = hone_budget_at(budget, i);
        json_t *o = hone_cli_json_object();
        hone_cli_json_put(o, "name", hone_cli_json_text(b.name));
        hone_cli_json_put(o, "type", hone_cli_json_text(hone_dtype_describe(b.dtype)->name));
        hone_cli_json_put(o, "bytes", hone_cli_json_uint(b.nbytes));
        hone_cli_json_put(o, "kld", hone_cli_json_real(b.kld));
        hone_cli_json_put(o, "probe", hone_cli_json_text(hone_dtype_describe(b.probed)->name));
        hone_cli_json_put(o, "probe_kld", hone_cli_json_real(b.probe_kld));
        hone_cli_json_put(o, "inferred", json_boolean(b.inferred));
        hone_cli_json_add(tensors, o);
    }
    hone_cli_json_put(root, "points", points);
    hone_cli_json_put(root, "tensors", tensors);
    return root;
}
