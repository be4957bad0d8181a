/* SPDX-License-Identifier: MIT */
#include "cli/args.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/report.h"

enum { MAX_GLOBALS = 8, MAX_OPTIONS = 64, MAX_WORD = 32, MAX_THREADS = 4096 };

static size_t fill_globals(hone_cli_globals *g, hone_cli_option out[MAX_GLOBALS])
{
    const hone_cli_option table[] = {
        {0, "threads", "N", "worker threads (default: one per core)", HONE_CLI_COUNT, &g->n_threads},
        {0, "memory", "SIZE", "working memory, such as 512MiB or 2G (default 512MiB)", HONE_CLI_SIZE,
         &g->memory_nbytes},
        {0, "cpu", "LEVEL", "kernels to use: ref, avx2, avx512, neon (default: the best)", HONE_CLI_TEXT, &g->cpu},
        {0, "config", "FILE", "config.json of a source that carries none", HONE_CLI_TEXT, &g->config},
        {0, "json", "FILE", "write the result as JSON to FILE; - is stdout, instead of text", HONE_CLI_TEXT, &g->json},
        {0, "force", NULL, "overwrite existing files", HONE_CLI_FLAG, &g->force},
        {0, "quiet", NULL, "no notes and no progress bar", HONE_CLI_FLAG, &g->quiet},
    };
    memcpy(out, table, sizeof table);
    return sizeof table / sizeof table[0];
}

static void print_options(const hone_cli_option *options, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const hone_cli_option *o = &options[i];
        char left[64];
        (void)snprintf(left, sizeof left, "%c%c%c --%s%s%s", o->letter ? '-' : ' ', o->letter ? o->letter : ' ',
                       o->letter ? ',' : ' ', o->name, o->placeholder ? " " : "", o->placeholder ? o->placeholder : "");
        (void)printf("  %-25s ", left);
        for (const char *p = o->help; *p; p++) {
            (void)putchar(*p);
            if (*p == '\n')
                (void)printf("%28s", "");
        }
        (void)putchar('\n');
    }
}

static void print_help(const hone_cli_spec *spec, const hone_cli_option *globals, size_t n_globals)
{
    (void)printf("usage: hone %s %s\n\n%s", spec->command, spec->synopsis, spec->about);
    if (spec->n_options) {
        (void)printf("\nOptions:\n");
        print_options(spec->options, spec->n_options);
    }
    (void)printf("\nOptions of every command:\n");
    print_options(globals, n_globals);
    (void)printf("\nExit status: 0 done, 1 a gate, check or comparison failed, 2 bad usage or bad input,\n"
                 "3 I/O or resource failure.\n");
}

bool hone_cli_parse_size(const char *text, uint64_t *nbytes)
{
    static const char units[] = "kmgt";
    if (!isdigit((unsigned char)text[0]))
        return false;
    char *end;
    errno = 0;
    const double number = strtod(text, &end);
    /* strtod also takes "0x10" and "1e9"; sizes are plain decimals. */
    if (errno || strspn(text, "0123456789.") != (size_t)(end - text))
        return false;
    double unit = 1;
    const char *found = *end ? strchr(units, tolower((unsigned char)*end)) : NULL;
    if (found) {
        end++;
        const bool decimal = tolower((unsigned char)*end) == 'b';
        for (const char *u = units; u <= found; u++)
            unit *= decimal ? 1000 : 1024;
        if (tolower((unsigned char)end[0]) == 'i' && tolower((unsigned char)end[1]) == 'b')
            end += 2;
        else if (decimal)
            end++;
    } else if (tolower((unsigned char)*end) == 'b') {
        end++;
    }
    const double total = number * unit;
    if (*end || !(total >= 1) || total > 0x1p62)
        return false;
    *nbytes = (uint64_t)total;
    return true;
}

static bool parse_count(const char *text, size_t *out)
{
    char *end;
    errno = 0;
    const unsigned long long n = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end || errno || n == 0 || n > SIZE_MAX / 2)
        return false;
    *out = (size_t)n;
    return true;
}

static size_t min3(size_t a, size_t b, size_t c)
{
    const size_t ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* Levenshtein distance of two short words. */
static size_t edit_distance(const char *a, const char *b)
{
    const size_t na = strlen(a), nb = strlen(b);
    if (na >= MAX_WORD || nb >= MAX_WORD)
        return MAX_WORD;
    size_t row[MAX_WORD];
    for (size_t j = 0; j <= nb; j++)
        row[j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            const size_t above = row[j];
            row[j] = min3(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[nb];
}

const char *hone_cli_nearest(const char *word, const char *const *candidates, size_t n)
{
    const char *best = NULL;
    size_t best_distance = strlen(word) <= 4 ? 2 : 3;
    for (size_t i = 0; i < n; i++) {
        const size_t d = edit_distance(word, candidates[i]);
        if (d >= best_distance)
            continue;
        best = candidates[i];
        best_distance = d;
    }
    return best;
}

static int unknown_option(const hone_cli_spec *spec, const hone_cli_option *all, size_t n, const char *name,
                          const char *dashes)
{
    const char *names[MAX_OPTIONS];
    for (size_t i = 0; i < n; i++)
        names[i] = all[i].name;
    char word[MAX_WORD] = "";
    const size_t len = strcspn(name, "=");
    if (dashes[1] && len < sizeof word)
        memcpy(word, name, len);
    const char *near = word[0] ? hone_cli_nearest(word, names, n) : NULL;
    if (near)
        return hone_cli_usage_error(spec->command, "unknown option %s%s, did you mean --%s?", dashes, name, near);
    return hone_cli_usage_error(spec->command, "unknown option %s%s", dashes, name);
}

static int store(const hone_cli_spec *spec, const hone_cli_option *o, const char *value)
{
    switch (o->kind) {
    case HONE_CLI_FLAG:
        *(bool *)o->target = true;
        return 0;
    case HONE_CLI_TEXT:
        *(const char **)o->target = value;
        return 0;
    case HONE_CLI_LIST: {
        hone_cli_list *list = o->target;
        if (list->n == HONE_CLI_MAX_LIST)
            return hone_cli_usage_error(spec->command, "--%s is given more than %d times", o->name, HONE_CLI_MAX_LIST);
        list->items[list->n++] = value;
        return 0;
    }
    case HONE_CLI_COUNT:
        if (parse_count(value, o->target))
            return 0;
        return hone_cli_usage_error(spec->command, "--%s \"%s\" is not a positive whole number", o->name, value);
    case HONE_CLI_SIZE:
        if (hone_cli_parse_size(value, o->target))
            return 0;
        return hone_cli_usage_error(spec->command, "--%s \"%s\" is not a size such as 512MiB or 2G", o->name, value);
    }
    return 0;
}

/* What is being parsed: the options of the command and the global ones in one table, and the words left. */
struct parser {
    const hone_cli_spec *spec;
    hone_cli_option all[MAX_OPTIONS];
    size_t n;
    int argc, next;
    char **argv;
};

/* An option whose name is the first len bytes of text, or NULL. */
static const hone_cli_option *find_long(const struct parser *p, const char *text, size_t len)
{
    for (size_t i = 0; i < p->n; i++)
        if (strlen(p->all[i].name) == len && memcmp(p->all[i].name, text, len) == 0)
            return &p->all[i];
    return NULL;
}

static const hone_cli_option *find_letter(const struct parser *p, char letter)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->all[i].letter && p->all[i].letter == letter)
            return &p->all[i];
    return NULL;
}

/* value: what was joined to the option, or NULL. */
static int take_value(struct parser *p, const hone_cli_option *o, const char *value)
{
    if (o->kind == HONE_CLI_FLAG)
        return value ? hone_cli_usage_error(p->spec->command, "--%s takes no value", o->name) : store(p->spec, o, NULL);
    if (!value) {
        if (p->next >= p->argc)
            return hone_cli_usage_error(p->spec->command, "--%s wants %s", o->name, o->placeholder);
        value = p->argv[p->next++];
    }
    if (!value[0])
        return hone_cli_usage_error(p->spec->command, "--%s is empty", o->name);
    return store(p->spec, o, value);
}

static int parse_option(struct parser *p, const char *word)
{
    if (word[1] == '-') {
        const char *name = word + 2, *equals = strchr(name, '=');
        const size_t len = equals ? (size_t)(equals - name) : strlen(name);
        const hone_cli_option *o = find_long(p, name, len);
        return o ? take_value(p, o, equals ? equals + 1 : NULL) : unknown_option(p->spec, p->all, p->n, name, "--");
    }
    const hone_cli_option *o = find_letter(p, word[1]);
    return o ? take_value(p, o, word[2] ? word + 2 : NULL) : unknown_option(p->spec, p->all, p->n, word + 1, "-");
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

bool hone_cli_parse(const hone_cli_spec *spec, int argc, char **argv, hone_cli_globals *globals,
                    const char **positionals, int *exit_code)
{
    struct parser p = {.spec = spec, .argc = argc, .argv = argv, .next = 1};
    hone_cli_option global_options[MAX_GLOBALS];
    const size_t n_globals = fill_globals(globals, global_options);
    if (spec->n_options + n_globals > MAX_OPTIONS)
        abort(); /* a command with more than there is room for */
    if (spec->n_options)
        memcpy(p.all, spec->options, spec->n_options * sizeof *p.all);
    memcpy(p.all + spec->n_options, global_options, n_globals * sizeof *p.all);
    p.n = spec->n_options + n_globals;

    size_t max_positionals = 0, n_positionals = 0;
    while (max_positionals < 3 && spec->positionals[max_positionals])
        positionals[max_positionals++] = NULL;
    bool options_ended = false;
    *exit_code = 0;
    while (p.next < argc) {
        const char *word = argv[p.next++];
        if (!options_ended && strcmp(word, "--") == 0) {
            options_ended = true;
        } else if (!options_ended && is_help(word)) {
            print_help(spec, global_options, n_globals);
            return false;
        } else if (!options_ended && word[0] == '-' && word[1]) {
            if ((*exit_code = parse_option(&p, word)) != 0)
                return false;
        } else if (n_positionals == max_positionals) {
            *exit_code = hone_cli_usage_error(spec->command, "unexpected argument \"%s\"", word);
            return false;
        } else {
            positionals[n_positionals++] = word;
        }
    }
    if (n_positionals < spec->min_positionals)
        *exit_code = hone_cli_usage_error(spec->command, "%s is missing", spec->positionals[n_positionals]);
    else if (globals->n_threads > MAX_THREADS)
        *exit_code = hone_cli_usage_error(spec->command, "--threads %zu, at most %d", globals->n_threads, MAX_THREADS);
    return *exit_code == 0;
}
