/* SPDX-License-Identifier: MIT */
/* hone convert: a checkpoint to GGUF in full, half or 8-bit precision. */
#include <string.h>
#include <strings.h>

#include "cli/commands.h"
#include "cli/plan_out.h"
#include "cli/report.h"

static bool is_convert_type(const char *type)
{
    static const char *const types[] = {"auto", "f32", "f16", "bf16", "q8_0"};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcasecmp(type, types[i]) == 0)
            return true;
    return false;
}

int hone_cmd_convert(int argc, char **argv)
{
    const char *out = NULL, *to = "gguf", *type = "auto";
    bool dry_run = false, restart = false;
    const hone_cli_option options[] = {
        {'o', "output", "OUT", "the file to write", HONE_CLI_TEXT, &out},
        {0, "to", "FORMAT", "gguf", HONE_CLI_TEXT, &to},
        {0, "type", "TYPE", "auto (default): f16, and bf16 for a tensor that f16 cannot hold;\nf32, f16, bf16, q8_0",
         HONE_CLI_TEXT, &type},
        {0, "restart", NULL, "discard what an interrupted run left instead of resuming it", HONE_CLI_FLAG, &restart},
        {0, "dry-run", NULL, "print the plan, write nothing", HONE_CLI_FLAG, &dry_run},
    };
    const hone_cli_spec spec = {
        .command = "convert",
        .synopsis = "SRC -o OUT [--type TYPE]",
        .about = "Writes a checkpoint as a GGUF file. SRC is a Hugging Face directory, a .safetensors file with\n"
                 "--config, or a .gguf file. Weights that f16 cannot hold are an error under --type f16, unless\n"
                 "--force clamps them to its range.\n",
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
        return hone_cli_usage_error("convert", "-o OUT is missing");
    if (strcasecmp(to, "gguf") != 0)
        return hone_cli_usage_error("convert", "unknown format \"%s\": this version writes gguf", to);
    if (!is_convert_type(type))
        return hone_cli_usage_error(
            "convert", "unknown type \"%s\": auto, f32, f16, bf16 or q8_0; hone quantize writes others", type);
    job.out = out;
    job.dry_run = dry_run;
    job.restart = restart;
    job.convert = (hone_convert_options){.type = type, .search = HONE_SEARCH_REFERENCE};
    job.convert.saturate = globals.force && strcasecmp(type, "f16") == 0;
    return hone_cli_run_job(&globals, &job);
}
