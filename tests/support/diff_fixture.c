/* SPDX-License-Identifier: MIT */
#include "tests/support/diff_fixture.h"

#include <check.h>

#include "base/mem.h"

hone_temp_dir dirs[2];
hone_checkpoint *sides[2];
hone_diff *diff;

const bool kinds[4][2] = {{false, false}, {true, true}, {false, true}, {true, false}};

void set_up_sides(void)
{
    for (int i = 0; i < 2; i++) {
        hone_temp_dir_init(&dirs[i]);
        sides[i] = NULL;
    }
    diff = NULL;
    err = (hone_error){0};
    renew_context(2, 0);
}

void tear_down_sides(void)
{
    hone_mem_fail_after(-1);
    hone_diff_free(diff);
    for (int i = 0; i < 2; i++) {
        hone_checkpoint_close(sides[i]);
        hone_temp_dir_deinit(&dirs[i]);
    }
    drop_context();
}

void open_side_at(int side, const char *path)
{
    sides[side] = must_open(path);
}

hone_status compare_sides(const char *name)
{
    return hone_diff_run(ctx, sides[0], sides[1], name, &diff, &err);
}

void assert_all_equal(size_t n)
{
    ck_assert_uint_eq(hone_diff_n(diff), n);
    for (size_t i = 0; i < n; i++) {
        const hone_tensor_diff *d = hone_diff_at(diff, i);
        ck_assert_msg(d->rmse == 0 && d->relative_rmse == 0 && d->max_abs == 0, "%s differs by %g", d->name,
                      d->max_abs);
        ck_assert_double_eq_tol(d->cosine, 1, 1e-12);
    }
}

void assert_all_matched(void)
{
    for (int side = 0; side < 2; side++)
        ck_assert_ptr_null(hone_diff_unmatched(diff, side, 0));
}
