/* SPDX-License-Identifier: MIT */
#include "tests/support/test_dir.h"

#include "base/mem.h"

hone_temp_dir dir;

void make_dir(void)
{
    hone_temp_dir_init(&dir);
}

void remove_dir(void)
{
    hone_mem_fail_after(-1);
    hone_temp_dir_deinit(&dir);
}
