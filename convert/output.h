/* SPDX-License-Identifier: MIT */
/*
 * The files of a run's output while they are written.
 *
 * Every file has its partial name until all of them are whole; then they get their names in order, the plan's last
 * file, whose presence says that the output is complete, at the end. That file's partial is there from the first moment
 * to the last: it holds the lock that keeps a second run away, and its name is that of the whole run's journal.
 */
#ifndef HONE_OUTPUT_H
#define HONE_OUTPUT_H

#include "base/writer.h"
#include "convert/plan_impl.h"

typedef struct hone_output {
    const hone_plan *plan;
    char **paths; /* one per file of the plan */
    char *directory;
    bool made_directory;
    hone_writer_options how;
    hone_writer last;    /* the plan's last file */
    hone_writer current; /* another file being worked on */
} hone_output;

/*
 * hone_output_open() checks every target, makes the directory if there is to be one, and claims the output's name.
 * out->last.resumed tells whether an earlier run left work. On failure *out is empty, and what this call made is gone.
 * ARG: a file is there and may not be overwritten, or is one of the plan's inputs; weights of another layout are in the
 * directory. IO, NOMEM.
 */
hone_status hone_output_open(const hone_plan *plan, const char *path, hone_writer_options how, hone_output *out,
                             hone_error *err);

/* hone_output_reserve() gives every partial file its size and claims its blocks. Call it when the journal says whose
 * they are. ARG, IO, NOMEM. */
hone_status hone_output_reserve(hone_output *out, hone_error *err);

/* hone_output_begin() opens a file of the plan for reading and writing; *writer is borrowed until hone_output_end(). */
hone_status hone_output_begin(hone_output *out, size_t file, const hone_writer **writer, hone_error *err);
void hone_output_end(hone_output *out);

/* hone_output_commit() gives all files, each of them synced, their names. Closes out in every case; what has no name
 * yet stays partial. */
hone_status hone_output_commit(hone_output *out, hone_error *err);

/* hone_output_abort() removes the partial files, hone_output_suspend() leaves them for a later run. Both close; an
 * empty output is a no-op. */
void hone_output_abort(hone_output *out);
void hone_output_suspend(hone_output *out);

#endif
