/* SPDX-License-Identifier: MIT */
/* hone quantize: any source to quantized GGUF or safetensors, without an intermediate file. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/budget_out.h"
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

/* Sets *dtype when the option was given. Returns 0 or an exit code. */
static int parse_type(const char *option, const char *text, hone_dtype *dtype)
{
    *dtype = text ? hone_dtype_from_name(text) : HONE_INVALID;
    if (text && *dtype == HONE_INVALID)
        return hone_cli_usage_error("quantize", "--%s: unknown type \"%s\"", option, text);
    return 0;
}

/* Returns 0 or an exit code. */
static int parse_method(const char *text, const char *calibration, bool sequential, hone_method *method)
{
    static const char *const names[] = {
        [HONE_METHOD_PLAIN] = "plain", [HONE_METHOD_GPTQ] = "gptq", [HONE_METHOD_AUTO] = "auto"};
    enum { N_METHODS = sizeof names / sizeof names[0] };
    size_t m = 0;
    if (!text)
        text = names[sequential ? HONE_METHOD_GPTQ : calibration ? HONE_METHOD_AUTO : HONE_METHOD_PLAIN];
    while (m < N_METHODS && strcasecmp(text, names[m]) != 0)
        m++;
    if (m == N_METHODS)
        return hone_cli_usage_error("quantize", "unknown method \"%s\" (plain, gptq, auto)", text);
    if (sequential && m != HONE_METHOD_GPTQ)
        return hone_cli_usage_error("quantize", "--sequential goes with --method gptq");
    if (m != HONE_METHOD_PLAIN && !calibration && !sequential)
        return hone_cli_usage_error("quantize", "--method %s needs --calibration STATS", names[m]);
    *method = (hone_method)m;
    return 0;
}

/* Returns 0 or an exit code. */
static int parse_order(const char *text, bool gguf, hone_method method, hone_order *order)
{
    *order = HONE_ORDER_BEST;
    if (!text)
        return 0;
    if (strcasecmp(text, "activation") == 0)
        *order = HONE_ORDER_ACTIVATION;
    else if (strcasecmp(text, "natural") == 0)
        *order = HONE_ORDER_NATURAL;
    else
        return hone_cli_usage_error("quantize", "unknown order \"%s\" (activation, natural)", text);
    if (method == HONE_METHOD_PLAIN)
        return hone_cli_usage_error("quantize", "--order goes with --method gptq");
    if (gguf && *order == HONE_ORDER_ACTIVATION)
        return hone_cli_usage_error("quantize", "--order activation is for groups, not for blocks of gguf");
    return 0;
}

static void free_rules(hone_type_rule *rules, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free((void *)(uintptr_t)rules[i].pattern);
    free(rules);
}

/* How --to other than gguf was asked for. */
struct grid_words {
    const char *to, *group, *scale;
    size_t bits;
    bool symmetric;
};

/* Fills in the grid of a directory of quantized safetensors. Returns 0 or an exit code. */
static int parse_grid(const struct grid_words *w, hone_convert_options *convert)
{
    static const char *const targets[] = {"compressed-tensors", "gptq", "awq", "mlx"};
    enum { N_TARGETS = sizeof targets / sizeof targets[0], MLX = 3 };
    size_t t = 0;
    while (t < N_TARGETS && strcasecmp(w->to, targets[t]) != 0)
        t++;
    if (t == N_TARGETS)
        return hone_cli_usage_error("quantize", "unknown format \"%s\": gguf, compressed-tensors, gptq, awq or mlx",
                                    w->to);
    hone_grid_options *grid = &convert->grid;
    char *end = NULL;
    const unsigned long group = w->group ? strtoul(w->group, &end, 10) : t == MLX ? 64 : 128;
    if (w->group && strcasecmp(w->group, "row") == 0)
        grid->group = 0;
    else if ((w->group && (*end || end == w->group)) || group == 0 || group > 1 << 20)
        return hone_cli_usage_error("quantize", "--group \"%s\": 16, 32, 64, 128, 256 or row", w->group);
    else
        grid->group = (uint32_t)group;
    grid->bits = w->bits ? (unsigned)(w->bits < 99 ? w->bits : 99) : 4;
    grid->symmetric = w->symmetric;
    grid->scale = w->scale ? hone_dtype_from_name(w->scale) : HONE_INVALID;
    if (w->scale && grid->scale != HONE_F16 && grid->scale != HONE_BF16 && grid->scale != HONE_F32)
        return hone_cli_usage_error("quantize", "--scale-type \"%s\": f16, bf16 or f32", w->scale);
    convert->to = targets[t];
    return 0;
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
    const char *out = NULL, *type = NULL, *search = hone_search_name(HONE_SEARCH_BEST);
    const char *output_type = NULL, *embedding_type = NULL, *imatrix = NULL;
    bool dry_run = false, restart = false, pure = false, no_measure = false, fold = false, correct = false;
    hone_cli_list rules = {.n = 0};
    struct grid_words grid = {.to = "gguf"};
    uint64_t shard_nbytes = 0;
    const char *method = NULL, *calibration = NULL, *rotate = NULL, *order = NULL;
    const char *metadata = "lean";
    bool sequential = false;
    hone_calibration_text sequential_text;
    size_t min_expert_tokens = 0;
    hone_cli_budget_words budget = {.budget = NULL};
    hone_budget_options budget_options;
    const hone_cli_option options[] = {
        {'o', "output", "OUT", "the file to write, or the directory", HONE_CLI_TEXT, &out},
        {0, "to", "FORMAT",
         "gguf (default): one file, with --type; compressed-tensors, gptq, awq,\nmlx: a directory, with --bits",
         HONE_CLI_TEXT, &grid.to},
        {0, "type", "TYPE",
         "q2_k_s, q2_k, q3_k_s, q3_k_m, q3_k_l, q4_k_s, q4_k_m, q5_k_s,\nq5_k_m, q6_k, q4_0, q4_1, q5_0, q5_1, q8_0, "
         "iq4_nl, iq4_xs,\ntq1_0, tq2_0, mxfp4_moe, nvfp4, q1_0, q2_0, iq3_m, iq3_s; with\nimportance: iq3_xs, "
         "iq3_xxs, "
         "iq2_m, iq2_s, iq2_xs, iq2_xxs, iq1_m,\niq1_s",
         HONE_CLI_TEXT, &type},
        {0, "budget", "SIZE",
         "instead of --type: the types that leave the least divergence in a file\nof at most so many bytes (3.2GiB), "
         "or "
         "tensors of so many bits per\nweight (4.25bpw)",
         HONE_CLI_TEXT, &budget.budget},
        {0, "max-kld", "X", "instead: the types that make the smallest file of at most so much\npredicted divergence",
         HONE_CLI_TEXT, &budget.max_kld},
        {0, "text", "FILE",
         "with --budget: UTF-8 text to measure the tensors' divergences on; with\n--sequential: to calibrate on; not "
         "what the file is judged by later;\nmay be repeated",
         HONE_CLI_LIST, &budget.texts},
        {0, "ctx", "N", "with --text: tokens per chunk (default 512)", HONE_CLI_COUNT, &budget.n_ctx},
        {0, "chunks", "N", "with --text: so many chunks (default 4; with --sequential all)", HONE_CLI_COUNT,
         &budget.n_chunks},
        {0, "probe", "HOW",
         "with --budget: exact, each tensor run through all layers behind it; fast,\nso in some layers, the others by "
         "what they do to their own and the next;\nauto (default): fast where exact takes long",
         HONE_CLI_TEXT, &budget.probe},
        {0, "budget-types", "TYPE,TYPE...",
         "with --budget: the types there is a choice of (default: q2_k to q8_0,\niq4_xs, iq4_nl and f16); all: iq3_s "
         "to iq2_xxs, too, closer for their\nsize, but slower in most runtimes",
         HONE_CLI_TEXT, &budget.types},
        {0, "no-measure", NULL, "with --budget: do not measure the file that was made", HONE_CLI_FLAG, &no_measure},
        {0, "pure", NULL, "every matrix in the type named: no choice by tensor", HONE_CLI_FLAG, &pure},
        {0, "tensor-type", "REGEX=TYPE",
         "store output tensors whose name matches as TYPE, wherever in the name:\n^output.weight for not "
         "attn_output.weight, too; may be repeated, the\nfirst match wins",
         HONE_CLI_LIST, &rules},
        {0, "output-type", "TYPE", "store the output matrix as TYPE", HONE_CLI_TEXT, &output_type},
        {0, "embedding-type", "TYPE", "store the token embedding as TYPE", HONE_CLI_TEXT, &embedding_type},
        {0, "search", "HOW",
         "best (default): the least error found; reference: the codes that\nllama.cpp's quantizer, or the tool of "
         "--to, "
         "chooses; fast: no search",
         HONE_CLI_TEXT, &search},
        {0, "imatrix", "FILE",
         "weigh the columns of each tensor by an importance matrix of llama.cpp\nor hone calibrate, .gguf or .dat",
         HONE_CLI_TEXT, &imatrix},
        {0, "calibration", "STATS", "what hone calibrate --hessian wrote for this model", HONE_CLI_TEXT, &calibration},
        {0, "min-expert-tokens", "N",
         "code an expert that fewer tokens of the importance matrix, or of the\ncalibration, reached "
         "as if there were none (default 64)",
         HONE_CLI_COUNT, &min_expert_tokens},
        {0, "method", "HOW",
         "plain; gptq: each column makes up for what those before it left; auto\n(default with --calibration): "
         "for each tensor whichever leaves less",
         HONE_CLI_TEXT, &method},
        {0, "order", "HOW",
         "of coding a row's columns with --to: activation (default): by the mean\nsquares of what they are multiplied "
         "by; natural",
         HONE_CLI_TEXT, &order},
        {0, "fold", NULL,
         "multiply columns, and divide what feeds them, where that lowers the error\n(--calibration or --imatrix)",
         HONE_CLI_FLAG, &fold},
        {0, "correct", NULL, "let norms and biases make up for a part of the error (--calibration)", HONE_CLI_FLAG,
         &correct},
        {0, "sequential", NULL,
         "with --method gptq: tensors are coded in the order of the model's layers,\neach calibrated on what comes out "
         "of those before it as they were coded\n(--text in place of --calibration)",
         HONE_CLI_FLAG, &sequential},
        {0, "bits", "N", "bits of a code: 2, 3, 4 (default), 5, 6, 8; gptq 2, 3, 4, 8; awq 4", HONE_CLI_COUNT,
         &grid.bits},
        {0, "group", "N", "columns that share a scale: 16, 32, 64, 128 (default; mlx 64), 256,\nor row", HONE_CLI_TEXT,
         &grid.group},
        {0, "symmetric", NULL, "no zeros: the middle code is 0 (compressed-tensors, gptq)", HONE_CLI_FLAG,
         &grid.symmetric},
        {0, "scale-type", "TYPE",
         "type of scales and of what is not quantized: f16, bf16, f32\n(default: bf16 if the weights are, else f16)",
         HONE_CLI_TEXT, &grid.scale},
        {0, "shard-size", "SIZE", "start a new safetensors file before one grows beyond SIZE\n(default 5GB)",
         HONE_CLI_SIZE, &shard_nbytes},
        {0, "rotate", "WHAT",
         HONE_CLI_ROTATE_HELP ";\nauto: what leaves the least error in the layers' outputs (--calibration)",
         HONE_CLI_TEXT, &rotate},
        {0, "metadata", "HOW",
         "of gguf: lean (default), no larger than what llama-quantize adds with an\nimportance matrix, with checksums "
         "that tell one damaged tensor; full: a\nchecksum for each, all of the recipe, quantize.imatrix keys",
         HONE_CLI_TEXT, &metadata},
        {0, "restart", NULL, "discard what an interrupted run left instead of resuming it", HONE_CLI_FLAG, &restart},
        {0, "dry-run", NULL, "print the plan, write nothing", HONE_CLI_FLAG, &dry_run},
    };
    const hone_cli_spec spec = {
        .command = "quantize",
        .synopsis = "SRC -o OUT (--type TYPE [--pure] | --budget SIZE | --max-kld X) [--tensor-type REGEX=TYPE]...\n"
                    "       hone quantize SRC -o OUT --to FORMAT --bits N --group N",
        .about =
            "Writes any source as a quantized GGUF file in one pass. SRC is a Hugging Face directory, a\n"
            ".safetensors file with --config, or a .gguf file. Under a type that ends in _s, _m or _l some\n"
            "tensors are stored wider, as llama.cpp does; --dry-run shows which.\n"
            "With --to, a directory of safetensors whose linear layers are codes with a scale, and mostly a zero,\n"
            "for each group of columns, as the tool of that name writes it.\n",
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
    const bool gguf = strcasecmp(grid.to, "gguf") == 0, budgeted = budget.budget || budget.max_kld;
    if (gguf && !type && !budgeted)
        return hone_cli_usage_error("quantize", "--type TYPE is missing");
    if (budgeted && (!gguf || type || pure))
        return hone_cli_usage_error("quantize", "a budget is for gguf, and goes without --type and --pure");
    if (!budgeted && !sequential && (budget.texts.n || budget.n_ctx || budget.n_chunks))
        return hone_cli_usage_error("quantize",
                                    "--text, --ctx and --chunks go with --budget, --max-kld or --sequential");
    if (!budgeted && (no_measure || budget.probe || budget.types))
        return hone_cli_usage_error("quantize",
                                    "--no-measure, --probe and --budget-types go with --budget or --max-kld");
    if (sequential && !budget.texts.n)
        return hone_cli_usage_error("quantize", "--sequential needs --text FILE");
    if (gguf && (grid.bits || grid.group || grid.symmetric || grid.scale || shard_nbytes))
        return hone_cli_usage_error("quantize",
                                    "--bits, --group, --symmetric, --scale-type and --shard-size go with --to");
    if (!gguf && (type || pure || rules.n))
        return hone_cli_usage_error("quantize", "--type, --pure and --tensor-type are for gguf; %s takes --bits",
                                    grid.to);
    const hone_search how = hone_search_from_name(search);
    if (how == HONE_N_SEARCHES)
        return hone_cli_usage_error("quantize", "unknown search \"%s\" (best, reference, fast)", search);
    code = parse_method(method, calibration, sequential, &job.convert.method);
    if (code)
        return code;
    if (strcmp(metadata, "lean") != 0 && strcmp(metadata, "full") != 0)
        return hone_cli_usage_error("quantize", "unknown metadata \"%s\" (lean, full)", metadata);
    code = parse_order(order, gguf, job.convert.method, &job.convert.order);
    if (code)
        return code;
    const bool choose = rotate && strcmp(rotate, "auto") == 0;
    if (sequential && calibration && !budgeted && !choose)
        return hone_cli_usage_error("quantize", "--sequential computes what --calibration would tell");
    if (choose && (imatrix || !calibration))
        return hone_cli_usage_error("quantize", "--rotate auto goes with --calibration STATS, and without --imatrix");
    if (!imatrix && gguf && how != HONE_SEARCH_FAST && !rotate)
        imatrix = calibration; /* it is one, too, of the model as it is */
    if (fold && !imatrix && !calibration)
        return hone_cli_usage_error("quantize", "--fold goes with --calibration STATS or --imatrix FILE");
    if (correct && (!calibration || sequential))
        return hone_cli_usage_error("quantize", "--correct goes with --calibration STATS, and without --sequential");
    job.out = out;
    job.dry_run = dry_run;
    job.restart = restart;
    job.rotate = rotate;
    job.quality = true;
    if (sequential) {
        sequential_text = (hone_calibration_text){.n_ctx = budget.n_ctx, .n_chunks = budget.n_chunks};
        job.sequential = &sequential_text;
        job.sequential_texts = &budget.texts;
    }
    job.fold = fold;
    if (budgeted) {
        code = hone_cli_parse_budget(&budget, &budget_options);
        if (code)
            return code;
        job.budget = &budget_options;
        job.measure = !no_measure;
        job.budget_texts = &budget.texts;
    }
    if (min_expert_tokens > UINT32_MAX)
        return hone_cli_usage_error("quantize", "--min-expert-tokens %zu is too many", min_expert_tokens);
    job.convert = (hone_convert_options){.type = type,
                                         .min_expert_tokens = (uint32_t)min_expert_tokens,
                                         .search = how,
                                         .pure = pure,
                                         .imatrix = imatrix,
                                         .method = job.convert.method,
                                         .order = job.convert.order,
                                         .calibration = calibration,
                                         .lean = strcmp(metadata, "lean") == 0,
                                         .correct = correct};
    code = parse_type("output-type", output_type, &job.convert.output_dtype);
    if (code == 0)
        code = parse_type("embedding-type", embedding_type, &job.convert.embedding_dtype);
    if (code == 0 && !gguf)
        code = parse_grid(&grid, &job.convert);
    job.convert.shard_nbytes = shard_nbytes;
    return code ? code : run(&globals, &job, &rules);
}
