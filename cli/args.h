/* SPDX-License-Identifier: MIT */
/*
 * Command-line arguments: each command declares one table of options, and both parsing and --help come from it.
 *
 * "--name value" and "--name=value" are the same; options may follow positional arguments; "--" ends options.
 */
#ifndef HONE_CLI_ARGS_H
#define HONE_CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HONE_CLI_MAX_LIST = 256 };

/* The values of an option that may be given several times. */
typedef struct hone_cli_list {
    const char *items[HONE_CLI_MAX_LIST];
    size_t n;
} hone_cli_list;

/* What an option's target points to. */
typedef enum hone_cli_kind {
    HONE_CLI_FLAG,  /* bool */
    HONE_CLI_TEXT,  /* const char *; the last one given wins */
    HONE_CLI_LIST,  /* hone_cli_list */
    HONE_CLI_COUNT, /* size_t, at least 1 */
    HONE_CLI_SIZE   /* uint64_t: bytes, "512MiB", "2G" */
} hone_cli_kind;

typedef struct hone_cli_option {
    char letter;             /* 'o' for -o; 0 for none */
    const char *name;        /* without dashes */
    const char *placeholder; /* NULL for a flag */
    const char *help;        /* may hold newlines */
    hone_cli_kind kind;
    void *target;
} hone_cli_option;

/* Options that every command takes. */
typedef struct hone_cli_globals {
    size_t n_threads;
    uint64_t memory_nbytes;
    const char *cpu, *config, *json;
    bool force, quiet;
} hone_cli_globals;

typedef struct hone_cli_spec {
    const char *command;
    const char *synopsis; /* what follows "hone COMMAND" */
    const char *about;    /* a sentence or more, lines ended by newlines */
    const hone_cli_option *options;
    size_t n_options;
    const char *positionals[3]; /* their names, in order */
    size_t min_positionals;     /* the rest may be left out */
} hone_cli_spec;

/*
 * hone_cli_parse() parses a command's arguments (argv[0] is the command's name). positionals has room for as many as
 * the spec names; those not given become NULL.
 *
 * Returns true when the command should run. Otherwise *exit_code says how to leave: --help has been printed, or a usage
 * error.
 */
bool hone_cli_parse(const hone_cli_spec *spec, int argc, char **argv, hone_cli_globals *globals,
                    const char **positionals, int *exit_code);

/* hone_cli_parse_size() reads "1048576", "512MiB", "1.5G", "100MB". False if text is no size, or zero. */
bool hone_cli_parse_size(const char *text, uint64_t *nbytes);

/* hone_cli_nearest() returns the candidate closest to word if it is close enough to be what was meant, else NULL. */
const char *hone_cli_nearest(const char *word, const char *const *candidates, size_t n);

#endif
