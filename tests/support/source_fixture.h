/* SPDX-License-Identifier: MIT */
/*
 * What most tests of sources work with: a directory, the source opened last, the error told last. A fixture,
 * tcase_add_checked_fixture(tcase, set_up_source, tear_down_source).
 */
#ifndef HONE_SOURCE_FIXTURE_H
#define HONE_SOURCE_FIXTURE_H

#include "tests/support/opening.h"
#include "tests/support/test_dir.h"

extern hone_checkpoint *ckpt; /* NULL at first; closed at the end */
extern hone_error err;        /* all zero at first */

void set_up_source(void);
void tear_down_source(void);

/* open_source() opens path as ckpt, the one before being closed; read_source_bytes() reads all of a tensor of it into
 * dst (nbytes). A failure fails the test, and so does a tensor that is absent or of another size. */
void open_source(const char *path);
void read_source_bytes(const char *name, void *dst, size_t nbytes);

#endif
