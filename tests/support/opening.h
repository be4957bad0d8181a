/* SPDX-License-Identifier: MIT */
/* Opening sources in tests: what must open, what must not and how it is told, and what happens when memory runs out. */
#ifndef HONE_OPENING_H
#define HONE_OPENING_H

#include "hone/checkpoint.h"

/* must_open() returns the source at path; one that does not open fails the test. */
hone_checkpoint *must_open(const char *path);

/*
 * expect_error() opens path, which must fail with this status, offset and item (NULL: any), and name path itself.
 * expect_error_in() expects the error in a file whose path ends with `file`. A failure quotes the claim.
 */
void expect_error(const char *path, const char *claim, hone_status status, uint64_t at, const char *item);
void expect_error_in(const char *path, const char *file, const char *claim, hone_status status, uint64_t at,
                     const char *item);

/*
 * fail_each_allocation() calls attempt(user) with its first allocation failing, then its second, and so on, until it
 * returns HONE_OK; until then it must return NOMEM. Fewer than at_least failures fail the test: nothing was tried.
 */
void fail_each_allocation(hone_status (*attempt)(void *user), void *user, long at_least);

/* fail_each_allocation_of_opening() does that with opening path; a failure must leave no source behind. */
void fail_each_allocation_of_opening(const char *path, long at_least);

#endif
