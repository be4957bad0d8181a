/* SPDX-License-Identifier: MIT */
/* What must hold for a run: there is memory for it, none of its inputs is its output, and none changes under it. */
#ifndef HONE_OUTPUT_GUARD_H
#define HONE_OUTPUT_GUARD_H

#include "hone/checkpoint.h"

/* hone_check_memory() compares a run's working memory with what the system has. NOMEM: it has less. */
hone_status hone_check_memory(uint64_t nbytes, hone_error *err);

/*
 * hone_refuse_own_input() compares the file at path, and the partial file beside it, with every file that src reads, by
 * inode: weights, configuration, tokenizer. ARG: it is one of them, by whatever name. NOMEM.
 */
hone_status hone_refuse_own_input(const hone_checkpoint *src, const char *path, hone_error *err);

/* hone_check_unchanged() compares the weights files with what they were when src was opened. DATA: one was written to.
 * IO. */
hone_status hone_check_unchanged(const hone_checkpoint *src, hone_error *err);

#endif
