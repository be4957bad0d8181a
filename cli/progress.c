/* SPDX-License-Identifier: MIT */
#include "cli/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/report.h"

enum { BAR_COLUMNS = 24, LINE_CAP = 256 };

static const double REDRAW_SECONDS = 0.1;

void hone_cli_progress_init(hone_cli_progress *p, bool quiet)
{
    const char *term = getenv("TERM");
    *p = (hone_cli_progress){.quiet = quiet};
    p->bar = !quiet && isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
}

static size_t terminal_columns(void)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return 80;
}

void hone_cli_progress_erase(hone_cli_progress *p)
{
    if (!p->drawn)
        return;
    (void)fputs("\r\033[K", stderr);
    (void)fflush(stderr);
    p->drawn = false;
}

static void format_eta(double seconds, char *buf, size_t cap)
{
    if (!(seconds >= 0 && seconds < 100 * 3600))
        (void)snprintf(buf, cap, "--:--");
    else if (seconds < 3600)
        (void)snprintf(buf, cap, "%d:%02d", (int)seconds / 60, (int)seconds % 60);
    else
        (void)snprintf(buf, cap, "%d:%02d:%02d", (int)seconds / 3600, (int)seconds / 60 % 60, (int)seconds % 60);
}

/* Phases that count bytes; the others count tokens, tensors or chunks. */
static bool counts_bytes(const char *phase)
{
    static const char *const phases[] = {"write", "read", "load", "check", "scan"};
    for (size_t i = 0; i < sizeof phases / sizeof phases[0]; i++)
        if (strcmp(phase, phases[i]) == 0)
            return true;
    return false;
}

static void draw(hone_cli_progress *p, uint64_t done, uint64_t total, double elapsed)
{
    char bar[BAR_COLUMNS + 1], rate[HONE_CLI_SIZE_LEN], eta[32], line[LINE_CAP];
    const double share = total ? (double)done / (double)total : 0;
    const size_t filled = (size_t)(share * BAR_COLUMNS);
    for (size_t i = 0; i < BAR_COLUMNS; i++)
        bar[i] = i < filled ? '=' : i == filled ? '>' : ' ';
    bar[BAR_COLUMNS] = '\0';
    const double per_second = elapsed > 0 ? (double)done / elapsed : 0;
    if (counts_bytes(p->phase))
        (void)hone_cli_size((uint64_t)per_second, rate);
    else
        (void)snprintf(rate, sizeof rate, "%.1f", per_second);
    format_eta(per_second > 0 ? (double)(total - done) / per_second : -1, eta, sizeof eta);
    (void)snprintf(line, sizeof line, "%s [%s] %3.0f %%  %s/s  ETA %s", p->phase, bar, 100 * share, rate, eta);
    char shown[LINE_CAP];
    (void)hone_cli_printable(line, strlen(line), terminal_columns() - 1, shown, sizeof shown);
    (void)fprintf(stderr, "\r%s\033[K", shown);
    (void)fflush(stderr);
    p->drawn = true;
}

void hone_cli_progress_event(void *user, const char *phase, uint64_t done, uint64_t total)
{
    hone_cli_progress *p = user;
    if (!p->bar)
        return;
    const double now = hone_cli_seconds();
    if (strncmp(p->phase, phase, sizeof p->phase - 1) != 0) {
        (void)snprintf(p->phase, sizeof p->phase, "%s", phase);
        p->started = p->last_draw = now;
    }
    if (done >= total)
        hone_cli_progress_erase(p);
    else if (now - p->last_draw >= REDRAW_SECONDS) {
        draw(p, done, total, now - p->started);
        p->last_draw = now;
    }
}

void hone_cli_progress_note(void *user, const char *text)
{
    hone_cli_progress *p = user;
    if (p->quiet)
        return;
    char safe[1024];
    hone_cli_progress_erase(p);
    (void)fprintf(stderr, "hone: note: %s\n", hone_cli_printable(text, strlen(text), SIZE_MAX, safe, sizeof safe));
}
