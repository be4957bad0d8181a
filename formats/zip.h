/* SPDX-License-Identifier: MIT */
/*
 * The directory of a zip file.
 *
 *   |local header, name, extra, data| ... |directory: one record per entry|[ZIP64 end, locator]|end of directory|
 *
 * Everything is checked when the directory is read: each entry's local header agrees with its record, no two entries
 * share a name or bytes, and nothing lies between the directory and its end. Source: PKWARE's APPNOTE.TXT, 6.3.10.
 */
#ifndef HONE_ZIP_H
#define HONE_ZIP_H

#include "base/arena.h"
#include "base/file.h"

typedef struct hone_zip_entry {
    const char *name;
    uint64_t listed_at;         /* its record in the directory */
    uint64_t local_at, data_at; /* its local header and its data */
    uint64_t compressed_nbytes, nbytes;
    uint32_t crc;
    uint16_t flags;
    bool deflated;
    uint64_t scratch_at; /* where its inflated bytes lie in the checkpoint's scratch file; HONE_NO_OFFSET: nowhere */
} hone_zip_entry;

typedef struct hone_zip {
    const hone_file *file;   /* borrowed */
    hone_zip_entry *entries; /* in the directory's order */
    size_t n_entries;
    hone_zip_entry **by_name; /* sorted */
    hone_arena names;
} hone_zip;

/* hone_zip_probe() tells whether head starts like a zip file. */
bool hone_zip_probe(const uint8_t *head, size_t head_nbytes);

/*
 * hone_zip_open() reads the directory of an open file, and every local header.
 *
 * On HONE_OK release *out with hone_zip_close(); on failure it is empty. err->item is the entry.
 * UNSUPPORTED: encrypted, another method than stored and deflated, several disks.
 * DATA: truncated, contradictory, overlapping or repeated entries. LIMIT: more than 2^19 entries. IO, NOMEM.
 */
hone_status hone_zip_open(const hone_file *file, hone_zip *out, hone_error *err);

/* hone_zip_close() releases the directory, not the file. An empty one is a no-op. */
void hone_zip_close(hone_zip *zip);

/* hone_zip_find() returns the entry of that name, or NULL. Borrowed. */
hone_zip_entry *hone_zip_find(const hone_zip *zip, const char *name);

/*
 * hone_zip_load() reads a whole entry into memory (hone_release), inflated, its CRC-32 verified.
 * LIMIT: more than max_nbytes. DATA: the data contradict size or CRC.
 */
hone_status hone_zip_load(const hone_zip *zip, const hone_zip_entry *entry, uint64_t max_nbytes, uint8_t **out,
                          hone_error *err);

#endif
