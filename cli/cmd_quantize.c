/* SPDX-License-Identifier: MIT */
/* hone quantize: any source to quantized GGUF, without an intermediate file. */
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/plan_out.h"
#include "cli/report.h"

/*
 * Splits REGEX=TYPE at the last '=', which a type name never holds. The pattern is a copy that the caller frees.
 * Returns 0 or an exit code.
 */
static int parse_rule(const char *text, hone_type_rule *rule)
{
    const char *equals = strrchr(text, '=');
    if (!equals || equals == text)
        return hone_cli_usage_error("quantize", "--tensor-type \"%s\" is not REGEX=TYPE", text);
    rule->dtype = hone_dtype_from_name(equals + 1);
    if (rule->dtype == HONE_INVALID)
        return hone_cli_usage_error("quantize", "--tensor-type \"%s\": unknown type \"%s\"", text, equals + 1);
    const size_t len = (size_t)(equals - text);
    char *pattern = hone_cli_alloc(len + 1, 1);
    memcpy(pattern, text, len);
    rule->pattern = pattern;
    return 0;
}

static void free_rules(hone_type_rule *rules, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free((void *)(uintptr_t)rules[i].pattern);
    free(rules);
}

static int run(const hone_cli_globals *globals, hone_cli_job *job, const hone_cli_list *rule_texts)
{
    hone_type_rule *rules = hone_cli_alloc(rule_texts->n, sizeof *rules);
    int code = 0;
    for (size_t i = 0; i < rule_texts->n && code == 0; i++)
        code = parse_rule(rule_texts->items[i], &rules[i]);
    if (code == 0) {
        job->convert.rules = rules;
        job->convert.n_rules = rule_texts->n;
        code = hone_cli_run_job(globals, job);
    }
    free_rules(rules, rule_texts->n);
    return code;
}

int hone_cmd_quantize(int argc, char **argv)
{
    const char *out = NULL, *type = NULL, *search = hone_search_name(HONE_SEARCH_REFERENCE);
    bool dry_run = false, restart = false, pure = false;
    hone_cli_list rules = {.n = 0};
    const hone_cli_option options[] = {
        {'o', "output", "OUT", "the file to write", HONE_CLI_TEXT, &out},
        {0, "type", "TYPE",
         "q2_k_s, q2_k, q3_k_s, q3_k_m, q3_k_l, q4_k_s, q4_k_m, q5_k_s,\nq5_k_m, q6_k, q4_0, q4_1, q5_0, q5_1, q8_0",
         HONE_CLI_TEXT, &type},
        {0, "pure", NULL, "every matrix in the type named: no choice by tensor", HONE_CLI_FLAG, &pure},
        {0, "tensor-type", "REGEX=TYPE",
         "store output tensors whose name matches as TYPE; may be\nrepeated, the first match wins", HONE_CLI_LIST,
         &rules},
        {0, "search", "HOW",
         "reference (default): the codes llama.cpp's quantizer chooses;\nbest: less error in the same format; fast: no "
         "search",
         HONE_CLI_TEXT, &search},
        {0, "restart", NULL, "discard what an interrupted run left instead of resuming it", HONE_CLI_FLAG, &restart},
        {0, "dry-run", NULL, "print the plan, write nothing", HONE_CLI_FLAG, &dry_run},
    };
    const hone_cli_spec spec = {
        .command = "quantize",
        .synopsis = "SRC -o OUT --type TYPE [--pure] [--tensor-type REGEX=TYPE]...",
        .about = "Writes any source as a quantized GGUF file in one pass. SRC is a Hugging Face directory, a\n"
                 ".safetensors file with --config, or a .gguf file. Under a type that ends in _s, _m or _l some\n"
                 "tensors are stored wider, as llama.cpp does; --dry-run shows which.\n",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .positionals = {"SRC"},
        .min_positionals = 1,
    };
    hone_cli_globals globals = {0};
    hone_cli_job job = {0};
    int code;
    if (!hone_cli_parse(&spec, argc, argv, &globals, &job.src, &code))
        return code;
    if (!out && !dry_run)
        return hone_cli_usage_error("quantize", "-o OUT is missing");
    if (!type)
        return hone_cli_usage_error("quantize", "--type TYPE is missing");
    const hone_search how = hone_search_from_name(search);
    if (how == HONE_N_SEARCHES)
        return hone_cli_usage_error("quantize", "unknown search \"%s\" (reference, best, fast)", search);
    job.out = out;
    job.dry_run = dry_run;
    job.restart = restart;
    job.convert = (hone_convert_options){.type = type, .search = how, .pure = pure};
    return run(&globals, &job, &rules);
}
