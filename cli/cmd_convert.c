/* SPDX-License-Identifier: MIT */
/* hone convert: a checkpoint to GGUF in full, half or 8-bit precision, or any source to plain safetensors. */
#include <string.h>
#include <strings.h>

#include "cli/commands.h"
#include "cli/plan_out.h"
#include "cli/report.h"

static bool is_convert_type(const char *type, bool blocks)
{
    static const char *const types[] = {"auto", "f32", "f16", "bf16", "q8_0"};
    const size_t n = sizeof types / sizeof types[0] - !blocks;
    for (size_t i = 0; i < n; i++)
        if (strcasecmp(type, types[i]) == 0)
            return true;
    return false;
}

int hone_cmd_convert(int argc, char **argv)
{
    const char *out = NULL, *to = "gguf", *type = NULL, *rotate = NULL;
    uint64_t shard_nbytes = 0;
    bool dry_run = false, restart = false;
    const hone_cli_option options[] = {
        {'o', "output", "OUT", "the file to write, or the directory", HONE_CLI_TEXT, &out},
        {0, "to", "FORMAT", "gguf (default): one file; safetensors: a directory", HONE_CLI_TEXT, &to},
        {0, "type", "TYPE",
         "auto (default for gguf): f16, and bf16 for a tensor that f16\ncannot hold; f32, f16, bf16; q8_0 (gguf). "
         "Default for\nsafetensors: as stored",
         HONE_CLI_TEXT, &type},
        {0, "shard-size", "SIZE", "start a new safetensors file before one grows beyond SIZE\n(default 5GB)",
         HONE_CLI_SIZE, &shard_nbytes},
        {0, "rotate", "WHAT", HONE_CLI_ROTATE_HELP, HONE_CLI_TEXT, &rotate},
        {0, "restart", NULL, "discard what an interrupted run left instead of resuming it", HONE_CLI_FLAG, &restart},
        {0, "dry-run", NULL, "print the plan, write nothing", HONE_CLI_FLAG, &dry_run},
    };
    const hone_cli_spec spec = {
        .command = "convert",
        .synopsis = "SRC -o OUT [--to FORMAT] [--type TYPE]",
        .about =
            "Writes a checkpoint as a GGUF file. SRC is a Hugging Face directory, a .safetensors file with\n"
            "--config, or a .gguf file. Weights that f16 cannot hold are an error under --type f16, unless\n"
            "--force clamps them to its range.\n"
            "With --to safetensors SRC is anything hone reads, and OUT a directory: the tensors under their own\n"
            "names as they are stored (quantized ones decoded), with config.json and tokenizer files if SRC has any.\n",
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
    const bool gguf = strcasecmp(to, "gguf") == 0;
    if (!gguf && strcasecmp(to, "safetensors") != 0)
        return hone_cli_usage_error("convert", "unknown format \"%s\": gguf or safetensors", to);
    if (gguf && shard_nbytes)
        return hone_cli_usage_error("convert", "--shard-size is for --to safetensors");
    if (gguf && !type)
        type = "auto";
    if (gguf && !is_convert_type(type, true))
        return hone_cli_usage_error(
            "convert", "unknown type \"%s\": auto, f32, f16, bf16 or q8_0; hone quantize writes others", type);
    if (type && !is_convert_type(type, gguf))
        return hone_cli_usage_error("convert", "unknown type \"%s\": safetensors has auto, f32, f16 or bf16", type);
    job.out = out;
    job.dry_run = dry_run;
    job.restart = restart;
    job.rotate = rotate;
    job.convert =
        (hone_convert_options){.type = type, .search = HONE_SEARCH_REFERENCE, .to = to, .shard_nbytes = shard_nbytes};
    job.convert.saturate = globals.force && type && strcasecmp(type, "f16") == 0;
    return hone_cli_run_job(&globals, &job);
}
