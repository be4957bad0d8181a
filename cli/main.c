/* SPDX-License-Identifier: MIT */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "cli/args.h"
#include "cli/commands.h"
#include "cli/report.h"

static const struct command {
    const char *name, *summary;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"inspect", "what a checkpoint or model file holds", hone_cmd_inspect},
    {"convert", "checkpoint to GGUF in full, half or 8-bit precision", hone_cmd_convert},
    {"quantize", "any source to quantized GGUF, in one pass", hone_cmd_quantize},
    {"calibrate", "what a model's layers see of a text: importance and second moments", hone_cmd_calibrate},
    {"perplexity", "perplexity of a model on a text", hone_cmd_perplexity},
    {"verify", "how far a converted model is from its original; gates for CI", hone_cmd_verify},
    {"diff", "per-tensor error between any two sources", hone_cmd_diff},
    {"check", "re-hash a file against the checksums it carries", hone_cmd_check},
    {"tokenize", "token ids of a text", hone_cmd_tokenize},
};

enum { N_COMMANDS = sizeof commands / sizeof commands[0] };

static void print_overview(FILE *f)
{
    (void)fputs("usage: hone COMMAND [ARGUMENTS]\n\n"
                "Converts and quantizes language-model checkpoints, and measures what the result is worth.\n\n",
                f);
    for (size_t i = 0; i < N_COMMANDS; i++)
        (void)fprintf(f, "  %-12s%s\n", commands[i].name, commands[i].summary);
    (void)fputs("\nhone COMMAND --help explains a command; hone --version prints the version.\n", f);
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static int unknown_command(const char *name)
{
    const char *names[N_COMMANDS];
    for (size_t i = 0; i < N_COMMANDS; i++)
        names[i] = commands[i].name;
    const char *near = hone_cli_nearest(name, names, N_COMMANDS);
    if (near)
        return hone_cli_usage_error(NULL, "unknown command \"%s\", did you mean %s?", name, near);
    return hone_cli_usage_error(NULL, "unknown command \"%s\"", name);
}

static int help(int argc, char **argv)
{
    if (argc < 2) {
        print_overview(stdout);
        return HONE_EXIT_OK;
    }
    const struct command *c = find_command(argv[1]);
    if (!c)
        return unknown_command(argv[1]);
    char option[] = "--help";
    char *help_argv[] = {argv[1], option, NULL};
    return c->run(2, help_argv);
}

static int dispatch(int argc, char **argv)
{
    if (argc < 2) {
        print_overview(stderr);
        return HONE_EXIT_USAGE;
    }
    const char *word = argv[1];
    if (strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        return help(argc - 1, argv + 1);
    if (strcmp(word, "--version") == 0 || strcmp(word, "version") == 0) {
        (void)printf("hone %s\n", hone_version());
        return HONE_EXIT_OK;
    }
    const struct command *c = find_command(word);
    return c ? c->run(argc - 1, argv + 1) : unknown_command(word);
}

/*
 * Let idle OpenMP threads sleep. By default they spin, and on a machine shared with other work, or under a CPU quota,
 * they take the time from the very thread they wait for: perplexity on two busy cores ran at a fifth of its speed.
 * OpenMP reads the variable before main() and offers no call for it, so the program starts itself once more; where that
 * cannot be done, it goes on as it is.
 */
static void let_idle_threads_sleep(char **argv)
{
    if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT"))
        return;
    if (setenv("OMP_WAIT_POLICY", "passive", 1) == 0)
        (void)execv("/proc/self/exe", argv);
}

/* Jansson takes a lack of memory in the middle of a string for a syntax error. */
static void *alloc_for_json(size_t nbytes)
{
    void *p = malloc(nbytes);
    if (!p)
        hone_cli_out_of_memory();
    return p;
}

/* OpenMP's runtime leaves with status 1 when it finds no memory or no threads, and to us 1 means that a gate failed. */
static bool left_by_main;

static void leave_for_resources(void)
{
    if (!left_by_main)
        _exit(HONE_EXIT_RESOURCE);
}

int main(int argc, char **argv)
{
    let_idle_threads_sleep(argv);
    /* A closed pipe is a write error like any other, with our exit code; so is a limit on the size of files. */
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN);
    (void)atexit(leave_for_resources);
    json_set_alloc_funcs(alloc_for_json, free);
    const int code = hone_cli_close_stdout(dispatch(argc, argv));
    left_by_main = true;
    return code;
}
