/* SPDX-License-Identifier: MIT */
#include "formats/zip.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/arith.h"
#include "base/cursor.h"
#include "base/fail.h"
#include "base/mem.h"
#include "formats/inflate.h"

enum {
    LOCAL_NBYTES = 30,
    RECORD_NBYTES = 46,
    END_NBYTES = 22,
    LOCATOR_NBYTES = 20,
    END64_NBYTES = 56,
    MAX_COMMENT_NBYTES = 65535,
    MAX_ENTRIES = 1 << 19,
    MAX_DIRECTORY_NBYTES = 128 << 20
};

static const uint32_t LOCAL_MAGIC = 0x04034b50, RECORD_MAGIC = 0x02014b50, END_MAGIC = 0x06054b50,
                      LOCATOR_MAGIC = 0x07064b50, END64_MAGIC = 0x06064b50;

/* General purpose flags: encryption of three kinds, patch data, and sizes that follow the data. */
enum { FLAG_ENCRYPTED = 1 | 1 << 6 | 1 << 13, FLAG_PATCH = 1 << 5, FLAG_DEFERRED = 1 << 3 };
enum { STORED = 0, DEFLATED = 8, ZIP64_EXTRA = 1 };
static const uint32_t IN_ZIP64 = 0xffffffff;

/* Where the directory lies. */
struct extent {
    uint64_t at, nbytes, n_entries;
};

static hone_status fail_at(hone_error *err, uint64_t at, const char *reason)
{
    return hone_fail(err, HONE_ERROR_DATA, at, NULL, "%s", reason);
}

static hone_status fail_entry(const hone_zip_entry *entry, hone_error *err, hone_status status, uint64_t at,
                              const char *reason)
{
    return hone_fail(err, status, at, entry->name, "%s", reason);
}

bool hone_zip_probe(const uint8_t *head, size_t head_nbytes)
{
    return head_nbytes >= 4 && (hone_load_u32(head) == LOCAL_MAGIC || hone_load_u32(head) == END_MAGIC);
}

/* --- the end of the directory --- */

/* The ZIP64 record repeats what the classic one says, and more: where that one speaks, they must agree. */
static hone_status read_end64(const hone_file *file, uint64_t locator_at, const uint8_t *locator, struct extent *extent,
                              uint64_t *end_at, hone_error *err)
{
    hone_cursor l = hone_cursor_init(locator, LOCATOR_NBYTES);
    (void)hone_cursor_u32(&l);
    const uint32_t disk = hone_cursor_u32(&l);
    const uint64_t at = hone_cursor_u64(&l);
    if (disk != 0 || hone_cursor_u32(&l) > 1)
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, locator_at, NULL, "a zip file in several parts");
    uint8_t bytes[END64_NBYTES];
    if (at > locator_at || locator_at - at < sizeof bytes)
        return fail_at(err, locator_at, "the ZIP64 end of the directory lies elsewhere");
    HONE_TRY(hone_file_read(file, at, bytes, sizeof bytes, err));
    hone_cursor c = hone_cursor_init(bytes, sizeof bytes);
    const uint32_t magic = hone_cursor_u32(&c);
    const uint64_t rest_nbytes = hone_cursor_u64(&c);
    if (magic != END64_MAGIC || rest_nbytes != locator_at - at - 12)
        return fail_at(err, at, "no ZIP64 end of the directory where there should be one");
    (void)hone_cursor_u32(&c); /* versions */
    const uint32_t this_disk = hone_cursor_u32(&c), first_disk = hone_cursor_u32(&c);
    const uint64_t n_here = hone_cursor_u64(&c);
    struct extent wide;
    wide.n_entries = hone_cursor_u64(&c);
    wide.nbytes = hone_cursor_u64(&c);
    wide.at = hone_cursor_u64(&c);
    if (this_disk != 0 || first_disk != 0 || n_here != wide.n_entries)
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, at, NULL, "a zip file in several parts");
    if ((extent->n_entries != 0xffff && extent->n_entries != wide.n_entries) ||
        (extent->nbytes != IN_ZIP64 && extent->nbytes != wide.nbytes) ||
        (extent->at != IN_ZIP64 && extent->at != wide.at))
        return fail_at(err, at, "the two ends of the directory contradict each other");
    *extent = wide;
    *end_at = at;
    return HONE_OK;
}

static hone_status read_end(const hone_file *file, const uint8_t *tail, size_t tail_nbytes, size_t found,
                            struct extent *extent, hone_error *err)
{
    const uint64_t tail_at = file->nbytes - tail_nbytes;
    uint64_t end_at = tail_at + found;
    hone_cursor c = hone_cursor_init(tail + found, END_NBYTES);
    (void)hone_cursor_u32(&c);
    const uint16_t disk = hone_cursor_u16(&c), first_disk = hone_cursor_u16(&c), n_here = hone_cursor_u16(&c);
    extent->n_entries = hone_cursor_u16(&c);
    extent->nbytes = hone_cursor_u32(&c);
    extent->at = hone_cursor_u32(&c);
    if (disk != 0 || first_disk != 0 || n_here != extent->n_entries)
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, end_at, NULL, "a zip file in several parts");
    if (found >= LOCATOR_NBYTES && hone_load_u32(tail + found - LOCATOR_NBYTES) == LOCATOR_MAGIC)
        HONE_TRY(read_end64(file, end_at - LOCATOR_NBYTES, tail + found - LOCATOR_NBYTES, extent, &end_at, err));
    if (extent->at > end_at || end_at - extent->at != extent->nbytes)
        return fail_at(err, end_at, "the directory does not end where its end says");
    if (extent->n_entries > extent->nbytes / RECORD_NBYTES)
        return fail_at(err, end_at, "more entries than the directory has room for");
    if (extent->n_entries > MAX_ENTRIES || extent->nbytes > MAX_DIRECTORY_NBYTES)
        return hone_fail(err, HONE_ERROR_LIMIT, end_at, NULL, "a directory of %llu entries in %llu bytes",
                         (unsigned long long)extent->n_entries, (unsigned long long)extent->nbytes);
    return HONE_OK;
}

/* The end is the last thing in the file but for a comment whose length it states. */
static hone_status find_end(const hone_file *file, struct extent *extent, hone_error *err)
{
    const uint64_t most = END_NBYTES + MAX_COMMENT_NBYTES + LOCATOR_NBYTES;
    const size_t tail_nbytes = (size_t)(file->nbytes < most ? file->nbytes : most);
    uint8_t *tail = hone_alloc(tail_nbytes, 1);
    if (!tail)
        return hone_fail_nomem(err, tail_nbytes);
    hone_status status = hone_file_read(file, file->nbytes - tail_nbytes, tail, tail_nbytes, err);
    if (status == HONE_OK) {
        size_t i = tail_nbytes < END_NBYTES ? 0 : tail_nbytes - END_NBYTES + 1;
        while (i > 0 && (hone_load_u32(tail + i - 1) != END_MAGIC ||
                         hone_load_u16(tail + i - 1 + END_NBYTES - 2) != tail_nbytes - (i - 1) - END_NBYTES))
            i--;
        if (i == 0)
            status = fail_at(err, file->nbytes, "no end of a zip directory: the file is cut short");
        else
            status = read_end(file, tail, tail_nbytes, i - 1, extent, err);
    }
    hone_release(tail);
    return status;
}

/* --- records --- */

/*
 * Replace the sizes (and the offset, when given) that are 0xffffffff by those of the ZIP64 extra field. Fields that fit
 * are absent from it.
 */
static bool widen(const uint8_t *extra, size_t extra_nbytes, uint64_t *nbytes, uint64_t *compressed, uint64_t *at)
{
    const bool wanted = *nbytes == IN_ZIP64 || *compressed == IN_ZIP64 || (at && *at == IN_ZIP64);
    hone_cursor c = hone_cursor_init(extra, extra_nbytes);
    while (wanted && hone_cursor_left(&c) >= 4) {
        const uint16_t id = hone_cursor_u16(&c), len = hone_cursor_u16(&c);
        const uint8_t *field = hone_cursor_take(&c, len);
        if (!field)
            return false;
        if (id != ZIP64_EXTRA)
            continue;
        hone_cursor f = hone_cursor_init(field, len);
        *nbytes = *nbytes == IN_ZIP64 ? hone_cursor_u64(&f) : *nbytes;
        *compressed = *compressed == IN_ZIP64 ? hone_cursor_u64(&f) : *compressed;
        if (at)
            *at = *at == IN_ZIP64 ? hone_cursor_u64(&f) : *at;
        return !f.bad;
    }
    return !wanted;
}

static hone_status check_entry(const hone_zip_entry *entry, uint16_t method, uint64_t directory_at, hone_error *err)
{
    const uint64_t at = entry->listed_at;
    if (entry->flags & FLAG_ENCRYPTED)
        return fail_entry(entry, err, HONE_ERROR_UNSUPPORTED, at, "the entry is encrypted");
    if (method != STORED && method != DEFLATED)
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, at, entry->name, "compression method %u is not handled", method);
    if (entry->flags & FLAG_PATCH)
        return fail_entry(entry, err, HONE_ERROR_UNSUPPORTED, at, "the entry is a patch");
    if (method == STORED && entry->nbytes != entry->compressed_nbytes)
        return fail_entry(entry, err, HONE_ERROR_DATA, at, "a stored entry of two different sizes");
    if (entry->local_at > directory_at || directory_at - entry->local_at < LOCAL_NBYTES)
        return fail_entry(entry, err, HONE_ERROR_DATA, at, "its local header lies outside the file's data");
    return HONE_OK;
}

static hone_status read_record(hone_zip *zip, hone_cursor *c, const struct extent *extent, hone_zip_entry *entry,
                               hone_error *err)
{
    *entry = (hone_zip_entry){.listed_at = extent->at + hone_cursor_offset(c), .scratch_at = HONE_NO_OFFSET};
    const uint32_t magic = hone_cursor_u32(c);
    (void)hone_cursor_u32(c); /* versions */
    entry->flags = hone_cursor_u16(c);
    const uint16_t method = hone_cursor_u16(c);
    (void)hone_cursor_u32(c); /* time and date */
    entry->crc = hone_cursor_u32(c);
    entry->compressed_nbytes = hone_cursor_u32(c);
    entry->nbytes = hone_cursor_u32(c);
    const uint16_t name_len = hone_cursor_u16(c), extra_len = hone_cursor_u16(c), comment_len = hone_cursor_u16(c);
    const uint16_t disk = hone_cursor_u16(c);
    (void)hone_cursor_take(c, 6); /* attributes */
    entry->local_at = hone_cursor_u32(c);
    const uint8_t *name = hone_cursor_take(c, name_len), *extra = hone_cursor_take(c, extra_len);
    (void)hone_cursor_take(c, comment_len);
    if (c->bad || magic != RECORD_MAGIC)
        return fail_at(err, entry->listed_at, "a damaged record in the zip directory");
    if (name_len == 0 || memchr(name, '\0', name_len))
        return fail_at(err, entry->listed_at, "an entry whose name is empty or holds a NUL");
    entry->name = hone_arena_copy(&zip->names, name, name_len);
    if (!entry->name)
        return hone_fail_nomem(err, name_len);
    if (disk != 0)
        return fail_entry(entry, err, HONE_ERROR_UNSUPPORTED, entry->listed_at, "a zip file in several parts");
    if (!widen(extra, extra_len, &entry->nbytes, &entry->compressed_nbytes, &entry->local_at))
        return fail_entry(entry, err, HONE_ERROR_DATA, entry->listed_at, "damaged ZIP64 sizes");
    entry->deflated = method == DEFLATED;
    return check_entry(entry, method, extent->at, err);
}

static hone_status read_records(hone_zip *zip, const uint8_t *bytes, const struct extent *extent, hone_error *err)
{
    hone_cursor c = hone_cursor_init(bytes, (size_t)extent->nbytes);
    for (; zip->n_entries < extent->n_entries; zip->n_entries++)
        HONE_TRY(read_record(zip, &c, extent, &zip->entries[zip->n_entries], err));
    if (hone_cursor_left(&c) > 0)
        return fail_at(err, extent->at + hone_cursor_offset(&c), "bytes after the last record of the zip directory");
    return HONE_OK;
}

/* --- local headers --- */

/* Sizes and CRC may be left for after the data; then they are zero, or right all the same. */
static bool agrees(uint64_t local, uint64_t listed, bool deferred)
{
    return local == listed || (deferred && (local == 0 || local == IN_ZIP64));
}

/* bytes holds the local header, room for the name and the extra field follows. */
static hone_status check_local(const hone_file *file, hone_zip_entry *entry, uint64_t directory_at, uint8_t *bytes,
                               hone_error *err)
{
    const size_t name_len = strlen(entry->name);
    hone_cursor c = hone_cursor_init(bytes, LOCAL_NBYTES);
    const uint32_t magic = hone_cursor_u32(&c);
    (void)hone_cursor_u16(&c); /* version */
    const uint16_t flags = hone_cursor_u16(&c), method = hone_cursor_u16(&c);
    (void)hone_cursor_u32(&c); /* time and date */
    const uint32_t crc = hone_cursor_u32(&c);
    uint64_t compressed = hone_cursor_u32(&c), nbytes = hone_cursor_u32(&c);
    const uint16_t local_name_len = hone_cursor_u16(&c), extra_len = hone_cursor_u16(&c);
    const bool deferred = flags & FLAG_DEFERRED;
    if (magic != LOCAL_MAGIC)
        return fail_entry(entry, err, HONE_ERROR_DATA, entry->local_at, "no local header where the directory puts it");
    const uint64_t left = directory_at - entry->local_at - LOCAL_NBYTES;
    if (local_name_len != name_len || (uint64_t)name_len + extra_len > left)
        return fail_entry(entry, err, HONE_ERROR_DATA, entry->local_at,
                          "local header and directory differ in the name");
    uint8_t *name = bytes + LOCAL_NBYTES, *extra = name + name_len;
    HONE_TRY(hone_file_read(file, entry->local_at + LOCAL_NBYTES, name, name_len + extra_len, err));
    if (memcmp(name, entry->name, name_len) != 0)
        return fail_entry(entry, err, HONE_ERROR_DATA, entry->local_at,
                          "local header and directory differ in the name");
    if (((flags ^ entry->flags) & (FLAG_ENCRYPTED | FLAG_DEFERRED)) != 0 || (method == DEFLATED) != entry->deflated ||
        (method != DEFLATED && method != STORED))
        return fail_entry(entry, err, HONE_ERROR_DATA, entry->local_at,
                          "local header and directory differ in method or flags");
    if ((!deferred && !widen(extra, extra_len, &nbytes, &compressed, NULL)) ||
        !agrees(nbytes, entry->nbytes, deferred) || !agrees(compressed, entry->compressed_nbytes, deferred) ||
        !agrees(crc, entry->crc, deferred))
        return fail_entry(entry, err, HONE_ERROR_DATA, entry->local_at,
                          "local header and directory differ in size or CRC");
    entry->data_at = entry->local_at + LOCAL_NBYTES + name_len + extra_len;
    if (entry->compressed_nbytes > directory_at - entry->data_at)
        return fail_entry(entry, err, HONE_ERROR_DATA, entry->local_at, "its data run into the zip directory");
    return HONE_OK;
}

static hone_status check_locals(hone_zip *zip, uint64_t directory_at, hone_error *err)
{
    uint8_t *bytes = hone_alloc(LOCAL_NBYTES + 2 * 65536, 1);
    if (!bytes)
        return hone_fail_nomem(err, LOCAL_NBYTES + 2 * 65536);
    hone_status status = HONE_OK;
    for (size_t i = 0; i < zip->n_entries && status == HONE_OK; i++) {
        hone_zip_entry *entry = &zip->entries[i];
        status = hone_file_read(zip->file, entry->local_at, bytes, LOCAL_NBYTES, err);
        if (status == HONE_OK)
            status = check_local(zip->file, entry, directory_at, bytes, err);
    }
    hone_release(bytes);
    return status;
}

static int compare_places(const void *a, const void *b)
{
    const hone_zip_entry *x = *(hone_zip_entry *const *)a, *y = *(hone_zip_entry *const *)b;
    return (x->local_at > y->local_at) - (x->local_at < y->local_at);
}

static int compare_names(const void *a, const void *b)
{
    const hone_zip_entry *x = *(hone_zip_entry *const *)a, *y = *(hone_zip_entry *const *)b;
    const int order = strcmp(x->name, y->name);
    return order ? order : (x->listed_at > y->listed_at) - (x->listed_at < y->listed_at);
}

/* Sorts by_name, first by place to find what overlaps, then by name to find what is there twice. */
static hone_status check_distinct(hone_zip *zip, hone_error *err)
{
    for (size_t i = 0; i < zip->n_entries; i++)
        zip->by_name[i] = &zip->entries[i];
    qsort(zip->by_name, zip->n_entries, sizeof *zip->by_name, compare_places);
    for (size_t i = 1; i < zip->n_entries; i++) {
        const hone_zip_entry *before = zip->by_name[i - 1], *entry = zip->by_name[i];
        if (entry->local_at < before->data_at + before->compressed_nbytes)
            return fail_entry(entry, err, HONE_ERROR_DATA, entry->local_at, "the entry overlaps another one");
    }
    qsort(zip->by_name, zip->n_entries, sizeof *zip->by_name, compare_names);
    for (size_t i = 1; i < zip->n_entries; i++)
        if (strcmp(zip->by_name[i - 1]->name, zip->by_name[i]->name) == 0)
            return fail_entry(zip->by_name[i], err, HONE_ERROR_DATA, zip->by_name[i]->listed_at,
                              "a second entry of this name");
    return HONE_OK;
}

static hone_status read_directory(hone_zip *zip, hone_error *err)
{
    struct extent extent = {0};
    HONE_TRY(find_end(zip->file, &extent, err));
    const size_t n = (size_t)extent.n_entries, nbytes = (size_t)extent.nbytes;
    zip->entries = hone_alloc(n, sizeof *zip->entries);
    zip->by_name = hone_alloc(n, sizeof *zip->by_name);
    uint8_t *bytes = hone_alloc(nbytes, 1);
    hone_status status;
    if (!zip->entries || !zip->by_name || !bytes)
        status = hone_fail_nomem(err, n * sizeof *zip->entries + nbytes);
    else
        status = hone_file_read(zip->file, extent.at, bytes, nbytes, err);
    if (status == HONE_OK)
        status = read_records(zip, bytes, &extent, err);
    hone_release(bytes);
    HONE_TRY(status);
    HONE_TRY(check_locals(zip, extent.at, err));
    return check_distinct(zip, err);
}

hone_status hone_zip_open(const hone_file *file, hone_zip *out, hone_error *err)
{
    *out = (hone_zip){.file = file};
    const hone_status status = read_directory(out, err);
    if (status != HONE_OK)
        hone_zip_close(out);
    return status;
}

void hone_zip_close(hone_zip *zip)
{
    hone_release(zip->entries);
    hone_release(zip->by_name);
    hone_arena_deinit(&zip->names);
    *zip = (hone_zip){0};
}

hone_zip_entry *hone_zip_find(const hone_zip *zip, const char *name)
{
    size_t low = 0, high = zip->n_entries;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = strcmp(zip->by_name[middle]->name, name);
        if (order == 0)
            return zip->by_name[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* --- small entries --- */

struct intake {
    uint8_t *dst;
    size_t n;
};

static hone_status take(void *user, const void *data, size_t nbytes, hone_error *err)
{
    struct intake *intake = user;
    (void)err;
    memcpy(intake->dst + intake->n, data, nbytes);
    intake->n += nbytes;
    return HONE_OK;
}

static hone_status load_stored(const hone_zip *zip, const hone_zip_entry *entry, uint8_t *dst, hone_error *err)
{
    HONE_TRY(hone_file_read(zip->file, entry->data_at, dst, (size_t)entry->nbytes, err));
    const uLong crc = crc32_z(0, dst, (size_t)entry->nbytes);
    /* torch.serialization.set_crc32_options(False) writes zeros. */
    if (crc != entry->crc && entry->crc != 0)
        return fail_entry(entry, err, HONE_ERROR_DATA, entry->data_at, "the entry's CRC-32 is wrong");
    return HONE_OK;
}

hone_status hone_zip_load(const hone_zip *zip, const hone_zip_entry *entry, uint64_t max_nbytes, uint8_t **out,
                          hone_error *err)
{
    *out = NULL;
    if (entry->nbytes > max_nbytes)
        return hone_fail(err, HONE_ERROR_LIMIT, entry->listed_at, entry->name, "%llu bytes, at most %llu are read",
                         (unsigned long long)entry->nbytes, (unsigned long long)max_nbytes);
    struct intake intake = {.dst = hone_alloc((size_t)entry->nbytes, 1)};
    if (!intake.dst)
        return hone_fail_nomem(err, entry->nbytes);
    const hone_status status =
        entry->deflated ? hone_inflate(zip->file, entry, take, &intake, err) : load_stored(zip, entry, intake.dst, err);
    if (status == HONE_OK)
        *out = intake.dst;
    else
        hone_release(intake.dst);
    return status;
}
