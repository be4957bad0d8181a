/* SPDX-License-Identifier: MIT */
/* What tests of comparisons work with: two directories and the two checkpoints in them, a context, the last error. */
#ifndef HONE_DIFF_FIXTURE_H
#define HONE_DIFF_FIXTURE_H

#include "hone/verify.h"
#include "tests/support/context_fixture.h"
#include "tests/support/source_fixture.h" /* err */

extern hone_temp_dir dirs[2];     /* two, so that two checkpoints of the same kind can be compared */
extern hone_checkpoint *sides[2]; /* the reference, the candidate; NULL at first */
extern hone_diff *diff;           /* NULL at first */

/* Reference and candidate, each Hugging Face (false) or GGUF. */
extern const bool kinds[4][2];

void set_up_sides(void);
void tear_down_sides(void);

/* open_side_at() opens path as a side; compare_sides() compares both, or one tensor, into diff. */
void open_side_at(int side, const char *path);
hone_status compare_sides(const char *name);

/* assert_all_equal() wants n pairs and no difference in any of them; assert_all_matched() nothing on one side alone. */
void assert_all_equal(size_t n);
void assert_all_matched(void);

#endif
