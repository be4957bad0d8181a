/* SPDX-License-Identifier: MIT */
#include "tests/support/source_fixture.h"

#include <check.h>

hone_checkpoint *ckpt;
hone_error err;

void set_up_source(void)
{
    make_dir();
    ckpt = NULL;
    err = (hone_error){0};
}

void tear_down_source(void)
{
    hone_checkpoint_close(ckpt);
    ckpt = NULL;
    remove_dir();
}

void open_source(const char *path)
{
    hone_checkpoint_close(ckpt);
    ckpt = NULL;
    ckpt = must_open(path);
}

void read_source_bytes(const char *name, void *dst, size_t nbytes)
{
    const hone_tensor *t = hone_checkpoint_find(ckpt, name);
    ck_assert_msg(t && t->nbytes == nbytes, "%s: absent, or not of %zu bytes", name, nbytes);
    ck_assert_int_eq(hone_checkpoint_read(ckpt, t, 0, nbytes, dst, &err), HONE_OK);
}
