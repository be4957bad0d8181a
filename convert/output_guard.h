/* SPDX-License-Identifier: MIT */
/* What must hold for a run: there is memory for it, none of its inputs is its output, and none changes under it. */
#ifndef HONE_OUTPUT_GUARD_H
#define HONE_OUTPUT_GUARD_H

#include "convert/plan_impl.h"

/* hone_check_memory() compares a run's working memory with what the system has. NOMEM: it has less. */
hone_status hone_check_memory(uint64_t nbytes, hone_error *err);

/*
 * hone_refuse_own_input() compares the file at path, and the partial file beside it, with every file that the plan
 * reads, by inode: weights, configuration, tokenizer, importance matrix. ARG: it is one of them, by whatever name.
 * NOMEM.
 */
hone_status hone_refuse_own_input(const hone_plan *plan, const char *path, hone_error *err);

/* hone_check_unchanged() compares the weights files and the importance matrix with what they were when they were
 * opened. DATA: one was written to. IO. */
hone_status hone_check_unchanged(const hone_plan *plan, hone_error *err);

/* hone_identify_inputs() goes on from id to a hash of what the files are by size, time of change and inode. */
uint64_t hone_identify_inputs(const hone_plan *plan, uint64_t id);

#endif
