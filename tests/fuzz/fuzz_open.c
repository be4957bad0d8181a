/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/fuzz_target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "formats/unquantize.h"
#include "hone/hone.h"

enum { MAX_READ_NBYTES = 1 << 20 };

/* The tables promised that these bytes are there; what a view makes of its parts may still turn out to be wrong. */
static void read_ends(const hone_checkpoint *ckpt, const hone_tensor *t)
{
    static uint8_t whole[MAX_READ_NBYTES];
    hone_error err;
    const uint64_t elem = t->view ? hone_dtype_describe(t->dtype)->block_nbytes : 1;
    if (t->nbytes == 0)
        return;
    hone_status status = hone_checkpoint_read(ckpt, t, 0, elem, whole, &err);
    if (status == HONE_OK)
        status = hone_checkpoint_read(ckpt, t, t->nbytes - elem, elem, whole, &err);
    if (status == HONE_OK && t->nbytes <= sizeof whole)
        status = hone_checkpoint_read(ckpt, t, 0, (size_t)t->nbytes, whole, &err);
    if (status != HONE_OK && (!t->view || (status != HONE_ERROR_DATA && status != HONE_ERROR_LIMIT)))
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

static void walk(const hone_checkpoint *ckpt)
{
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

int hone_fuzz_file(const uint8_t *data, size_t nbytes, char path[64])
{
    const int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, nbytes) != (ssize_t)nbytes)
        abort();
    (void)snprintf(path, 64, "/proc/self/fd/%d", fd);
    return fd;
}

void hone_fuzz_open(const uint8_t *data, size_t nbytes)
{
    char path[64];
    const int fd = hone_fuzz_file(data, nbytes, path);
    hone_checkpoint *ckpt;
    hone_error err;
    const hone_status status = hone_checkpoint_open(path, NULL, &ckpt, &err);
    if ((status == HONE_OK) != (ckpt != NULL))
        abort();
    if (ckpt)
        walk(ckpt);
    hone_checkpoint_close(ckpt);
    (void)close(fd);
}

void hone_fuzz_read(const hone_reader *reader, const uint8_t *data, size_t nbytes, json_t *config)
{
    char path[64];
    const int fd = hone_fuzz_file(data, nbytes, path);
    hone_checkpoint *ckpt = hone_calloc(1, sizeof *ckpt);
    if (!ckpt)
        abort();
    hone_error err;
    ckpt->format = reader->name;
    ckpt->config = config;
    ckpt->config_path = hone_strdup("config.json");
    ckpt->dir = hone_strdup("/nonexistent");
    hone_status status = hone_checkpoint_add_file(ckpt, path, &err);
    if (status == HONE_OK)
        status = reader->read(ckpt, 0, &err);
    if (status == HONE_OK)
        status = hone_checkpoint_seal_tables(ckpt, &err);
    if (status == HONE_OK)
        status = hone_checkpoint_unquantize(ckpt, &err);
    if (status == HONE_OK)
        walk(ckpt);
    hone_checkpoint_close(ckpt);
    (void)close(fd);
}
