/* SPDX-License-Identifier: MIT */
/* The progress bar: one line of stderr, drawn only when stderr is a terminal, erased before anything else is said. */
#ifndef HONE_CLI_PROGRESS_H
#define HONE_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct hone_cli_progress {
    bool quiet; /* no bar, no notes */
    bool bar;   /* stderr is a terminal */
    bool drawn; /* a bar is on the screen */
    char phase[32];
    double started, last_draw; /* of this phase, seconds */
} hone_cli_progress;

void hone_cli_progress_init(hone_cli_progress *p, bool quiet);

/* hone_cli_progress_event() and hone_cli_progress_note() are a context's callbacks; user is a hone_cli_progress. */
void hone_cli_progress_event(void *user, const char *phase, uint64_t done, uint64_t total);
void hone_cli_progress_note(void *user, const char *text);

/* hone_cli_progress_erase() takes the bar off the screen. */
void hone_cli_progress_erase(hone_cli_progress *p);

#endif
