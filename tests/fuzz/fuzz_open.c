/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/fuzz_target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hone/hone.h"

static void read_ends(const hone_checkpoint *ckpt, const hone_tensor *t)
{
    uint8_t byte;
    if (t->nbytes == 0)
        return;
    /* The tables promised that these bytes are there. */
    if (hone_checkpoint_read(ckpt, t, 0, 1, &byte, NULL) != HONE_OK ||
        hone_checkpoint_read(ckpt, t, t->nbytes - 1, 1, &byte, NULL) != HONE_OK)
        abort();
}

static uint64_t touch_metadata(const hone_metadata *m)
{
    uint64_t sum = m->key.len + strlen(m->key.data);
    if (m->type == HONE_VALUE_STRING)
        for (size_t i = 0; i < m->v.string.len; i++)
            sum += (unsigned char)m->v.string.data[i];
    if (m->type == HONE_VALUE_ARRAY && m->v.array.elem_type == HONE_VALUE_STRING)
        for (uint64_t i = 0; i < m->v.array.count; i++)
            sum += m->v.array.strings[i].len ? (unsigned char)m->v.array.strings[i].data[0] : 0;
    return sum;
}

void hone_fuzz_open(const uint8_t *data, size_t nbytes)
{
    const int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, nbytes) != (ssize_t)nbytes)
        abort();
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    hone_checkpoint *ckpt;
    hone_error err;
    const hone_status status = hone_checkpoint_open(path, NULL, &ckpt, &err);
    if ((status == HONE_OK) != (ckpt != NULL))
        abort();
    if (ckpt) {
        volatile uint64_t sum = 0;
        for (size_t i = 0; i < hone_checkpoint_n_tensors(ckpt); i++) {
            const hone_tensor *t = hone_checkpoint_tensor(ckpt, i);
            if (hone_checkpoint_find(ckpt, t->name) != t)
                abort();
            read_ends(ckpt, t);
        }
        for (size_t i = 0; i < hone_checkpoint_n_metadata(ckpt); i++)
            sum += touch_metadata(hone_checkpoint_metadata(ckpt, i));
        (void)sum;
    }
    hone_checkpoint_close(ckpt);
    (void)close(fd);
}
