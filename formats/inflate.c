/* SPDX-License-Identifier: MIT */
#include "formats/inflate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "base/fail.h"
#include "base/mem.h"

enum { INPUT_NBYTES = 64 << 10, OUTPUT_NBYTES = 256 << 10, MAX_RATIO = 16 };

/* Half a second of inflating: what a small file may take, however well it is compressed. */
static const uint64_t MAX_SCRATCH_NBYTES = 256ull << 20;

struct inflation {
    const hone_file *file;
    const hone_zip_entry *entry;
    z_stream stream;
    uint8_t *input, *output;
    uint64_t n_in, n_out;
    uLong crc;
};

static void *allocate(void *unused, uInt n, uInt size)
{
    (void)unused;
    return hone_alloc(n, size);
}

static void release(void *unused, void *p)
{
    (void)unused;
    hone_release(p);
}

static hone_status fail_data(const struct inflation *in, hone_error *err, const char *reason)
{
    return hone_fail(err, HONE_ERROR_DATA, in->entry->data_at, in->entry->name, "%s", reason);
}

static hone_status refill(struct inflation *in, hone_error *err)
{
    const uint64_t left = in->entry->compressed_nbytes - in->n_in;
    const size_t n = left < INPUT_NBYTES ? (size_t)left : INPUT_NBYTES;
    HONE_TRY(hone_file_read(in->file, in->entry->data_at + in->n_in, in->input, n, err));
    in->stream.next_in = in->input;
    in->stream.avail_in = (uInt)n;
    in->n_in += n;
    return HONE_OK;
}

static hone_status finish(const struct inflation *in, hone_error *err)
{
    if (in->stream.avail_in > 0 || in->n_in != in->entry->compressed_nbytes)
        return fail_data(in, err, "bytes after the end of the compressed data");
    if (in->n_out != in->entry->nbytes)
        return fail_data(in, err, "the entry inflates to fewer bytes than stated");
    if (in->crc != in->entry->crc)
        return fail_data(in, err, "the entry's CRC-32 is wrong");
    return HONE_OK;
}

static hone_status run(struct inflation *in, hone_status (*sink)(void *, const void *, size_t, hone_error *),
                       void *user, hone_error *err)
{
    for (;;) {
        if (in->stream.avail_in == 0 && in->n_in < in->entry->compressed_nbytes)
            HONE_TRY(refill(in, err));
        in->stream.next_out = in->output;
        in->stream.avail_out = OUTPUT_NBYTES;
        const int result = inflate(&in->stream, Z_NO_FLUSH);
        const size_t n = OUTPUT_NBYTES - in->stream.avail_out;
        if (result == Z_MEM_ERROR)
            return hone_fail_nomem(err, OUTPUT_NBYTES);
        if (result != Z_OK && result != Z_STREAM_END)
            return fail_data(in, err,
                             result == Z_BUF_ERROR ? "the compressed data end early" : "damaged compressed data");
        if (n > in->entry->nbytes - in->n_out)
            return fail_data(in, err, "the entry inflates to more bytes than stated");
        in->crc = crc32(in->crc, in->output, (uInt)n);
        in->n_out += n;
        HONE_TRY(sink(user, in->output, n, err));
        if (result == Z_STREAM_END)
            return finish(in, err);
    }
}

hone_status hone_inflate(const hone_file *file, const hone_zip_entry *entry,
                         hone_status (*sink)(void *user, const void *data, size_t nbytes, hone_error *err), void *user,
                         hone_error *err)
{
    struct inflation in = {.file = file, .entry = entry, .crc = crc32(0, NULL, 0)};
    in.stream.zalloc = allocate;
    in.stream.zfree = release;
    in.input = hone_alloc(INPUT_NBYTES, 1);
    in.output = hone_alloc(OUTPUT_NBYTES, 1);
    hone_status status;
    /* -MAX_WBITS: deflate without the header and trailer of zlib's own format. */
    if (!in.input || !in.output || inflateInit2(&in.stream, -MAX_WBITS) != Z_OK) {
        status = hone_fail_nomem(err, INPUT_NBYTES + OUTPUT_NBYTES);
    } else {
        status = run(&in, sink, user, err);
        (void)inflateEnd(&in.stream);
    }
    hone_release(in.input);
    hone_release(in.output);
    return status;
}

/* --- the scratch file --- */

static int open_unlinked(const char *dir)
{
    const int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0)
        return fd;
    /* Not every file system knows O_TMPFILE. */
    char *name = hone_path_join(dir, "hone-XXXXXX");
    if (!name)
        return -1;
    const int named = mkostemp(name, O_CLOEXEC);
    if (named >= 0)
        (void)unlink(name);
    hone_release(name);
    return named;
}

static hone_status open_scratch(hone_checkpoint *ckpt, hone_error *err)
{
    if (ckpt->scratch.path)
        return HONE_OK;
    const char *dir = getenv("TMPDIR");
    if (!dir || !*dir)
        dir = "/tmp";
    ckpt->scratch = (hone_file){.path = hone_strdup(dir), .fd = -1};
    if (!ckpt->scratch.path)
        return hone_fail_nomem(err, strlen(dir));
    ckpt->scratch.fd = open_unlinked(dir);
    if (ckpt->scratch.fd < 0)
        return hone_fail_in_file(err, hone_fail_errno(err, errno, HONE_NO_OFFSET, NULL, "no temporary file here"), dir);
    return HONE_OK;
}

static hone_status append(void *user, const void *data, size_t nbytes, hone_error *err)
{
    hone_file *scratch = user;
    const uint8_t *p = data;
    while (nbytes > 0) {
        const ssize_t n = pwrite(scratch->fd, p, nbytes, (off_t)scratch->nbytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return hone_fail_in_file(
                err,
                hone_fail_errno(err, n < 0 ? errno : ENOSPC, HONE_NO_OFFSET, NULL, "cannot write a temporary file"),
                scratch->path);
        p += n;
        nbytes -= (size_t)n;
        scratch->nbytes += (uint64_t)n;
    }
    return HONE_OK;
}

hone_status hone_zip_place(hone_checkpoint *ckpt, const hone_zip *zip, hone_zip_entry *entry, hone_payload *out,
                           hone_error *err)
{
    *out = (hone_payload){.offset = entry->data_at, .nbytes = entry->nbytes};
    if (!entry->deflated)
        return HONE_OK;
    out->in_scratch = true;
    if (entry->scratch_at == HONE_NO_OFFSET) {
        HONE_TRY(open_scratch(ckpt, err));
        const uint64_t most = MAX_SCRATCH_NBYTES + MAX_RATIO * zip->file->nbytes;
        if (ckpt->scratch.nbytes > most || entry->nbytes > most - ckpt->scratch.nbytes)
            return hone_fail(err, HONE_ERROR_LIMIT, entry->listed_at, entry->name,
                             "inflates to %llu bytes, too many for a file of this size",
                             (unsigned long long)entry->nbytes);
        const uint64_t at = ckpt->scratch.nbytes;
        HONE_TRY(hone_inflate(zip->file, entry, append, &ckpt->scratch, err));
        entry->scratch_at = at;
    }
    out->offset = entry->scratch_at;
    return HONE_OK;
}
