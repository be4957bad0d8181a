/* SPDX-License-Identifier: MIT */
#include "tests/support/context_fixture.h"

#include <check.h>
#include <string.h>

hone_context *ctx;
char notes[1024];

static void keep_note(void *user, const char *text)
{
    (void)user;
    (void)strncat(notes, text, sizeof notes - strlen(notes) - 1);
}

void renew_context(int n_threads, uint64_t memory_nbytes)
{
    drop_context();
    const hone_context_options opts = {.n_threads = n_threads, .memory_nbytes = memory_nbytes, .note = keep_note};
    ck_assert_int_eq(hone_context_new(&opts, &ctx, NULL), HONE_OK);
    notes[0] = '\0';
}

void drop_context(void)
{
    hone_context_free(ctx);
    ctx = NULL;
}
