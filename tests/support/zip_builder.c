/* SPDX-License-Identifier: MIT */
#include "tests/support/zip_builder.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static void put_u16(hone_bytes *b, unsigned v)
{
    const uint8_t bytes[2] = {(uint8_t)v, (uint8_t)(v >> 8)};
    hone_bytes_put(b, bytes, sizeof bytes);
}

/* Raw deflate of data; *n gets its length. */
static uint8_t *deflated(const void *data, size_t nbytes, size_t *n)
{
    z_stream s = {0};
    if (deflateInit2(&s, 6, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        abort();
    const size_t most = deflateBound(&s, (uLong)nbytes);
    uint8_t *out = malloc(most), *in = malloc(nbytes + 1);
    if (!out || !in)
        abort();
    if (nbytes > 0)
        memcpy(in, data, nbytes);
    s.next_in = in;
    s.avail_in = (uInt)nbytes;
    s.next_out = out;
    s.avail_out = (uInt)most;
    if (deflate(&s, Z_FINISH) != Z_STREAM_END)
        abort();
    *n = most - s.avail_out;
    (void)deflateEnd(&s);
    free(in);
    return out;
}

static uint32_t narrow(size_t v, unsigned flags)
{
    return flags & ZIP_WIDE ? UINT32_MAX : (uint32_t)v;
}

/* Versions, flags and method, time, date, CRC and sizes, as both headers hold them. */
static void put_facts(hone_bytes *b, const struct zip_built_entry *e, int is_local)
{
    const int deferred = is_local && (e->flags & ZIP_DEFERRED);
    put_u16(b, e->flags & ZIP_DEFERRED ? 8 : 0);
    put_u16(b, e->flags & ZIP_DEFLATED ? 8 : 0);
    hone_bytes_u32(b, 0x21);
    hone_bytes_u32(b, deferred ? 0 : e->crc);
    hone_bytes_u32(b, deferred ? 0 : narrow(e->compressed, e->flags));
    hone_bytes_u32(b, deferred ? 0 : narrow(e->n, e->flags));
    put_u16(b, (unsigned)strlen(e->name));
}

static void put_wide(hone_bytes *b, const struct zip_built_entry *e)
{
    put_u16(b, 1);
    put_u16(b, 16);
    hone_bytes_u64(b, e->n);
    hone_bytes_u64(b, e->compressed);
}

void hone_zip_put(zip_builder *z, const char *name, const void *data, size_t nbytes, unsigned flags)
{
    if (z->n == ZIP_MAX_ENTRIES)
        abort();
    struct zip_built_entry *e = &z->entries[z->n++];
    uint8_t *packed = NULL;
    *e = (struct zip_built_entry){.name = name, .local_at = z->file.n, .n = nbytes, .compressed = nbytes};
    e->flags = flags;
    if (!(flags & ZIP_NO_CRC))
        e->crc = (uint32_t)crc32_z(0, data, nbytes);
    if (flags & ZIP_DEFLATED)
        data = packed = deflated(data, nbytes, &e->compressed);
    const int has_wide = (flags & (ZIP_WIDE | ZIP_DEFERRED)) == ZIP_WIDE;
    hone_bytes_u32(&z->file, 0x04034b50);
    put_u16(&z->file, 45);
    put_facts(&z->file, e, 1);
    put_u16(&z->file, has_wide ? 20 : 0);
    hone_bytes_put(&z->file, name, strlen(name));
    if (has_wide)
        put_wide(&z->file, e);
    e->data_at = z->file.n;
    hone_bytes_put(&z->file, data, e->compressed);
    if (flags & ZIP_DEFERRED) {
        hone_bytes_u32(&z->file, 0x08074b50);
        hone_bytes_u32(&z->file, e->crc);
        hone_bytes_u32(&z->file, (uint32_t)e->compressed);
        hone_bytes_u32(&z->file, (uint32_t)e->n);
    }
    free(packed);
}

static void put_record(hone_bytes *b, struct zip_built_entry *e)
{
    e->record_at = b->n;
    hone_bytes_u32(b, 0x02014b50);
    put_u16(b, 45);
    put_u16(b, 45);
    put_facts(b, e, 0);
    put_u16(b, e->flags & ZIP_WIDE ? 20 : 0);
    hone_bytes_zero(b, 2 + 2 + 2 + 4);
    hone_bytes_u32(b, (uint32_t)e->local_at);
    hone_bytes_put(b, e->name, strlen(e->name));
    if (e->flags & ZIP_WIDE)
        put_wide(b, e);
}

void hone_zip_built(zip_builder *z, unsigned flags)
{
    hone_bytes *b = &z->file;
    z->directory_at = b->n;
    for (size_t i = 0; i < z->n; i++)
        put_record(b, &z->entries[i]);
    const size_t end_at = b->n, nbytes = end_at - z->directory_at;
    if (flags & ZIP_WIDE) {
        hone_bytes_u32(b, 0x06064b50);
        hone_bytes_u64(b, 44);
        hone_bytes_u32(b, 45u << 16 | 45u);
        hone_bytes_u64(b, 0);
        hone_bytes_u64(b, z->n);
        hone_bytes_u64(b, z->n);
        hone_bytes_u64(b, nbytes);
        hone_bytes_u64(b, z->directory_at);
        hone_bytes_u32(b, 0x07064b50);
        hone_bytes_u32(b, 0);
        hone_bytes_u64(b, end_at);
        hone_bytes_u32(b, 1);
    }
    z->end_at = b->n;
    hone_bytes_u32(b, 0x06054b50);
    hone_bytes_u32(b, 0);
    put_u16(b, flags & ZIP_WIDE ? 0xffff : (unsigned)z->n);
    put_u16(b, flags & ZIP_WIDE ? 0xffff : (unsigned)z->n);
    hone_bytes_u32(b, narrow(nbytes, flags));
    hone_bytes_u32(b, narrow(z->directory_at, flags));
    put_u16(b, 0);
}

void hone_zip_builder_free(zip_builder *z)
{
    hone_bytes_free(&z->file);
    *z = (zip_builder){0};
}
