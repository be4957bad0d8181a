/* SPDX-License-Identifier: MIT */
/*
 * Building zip files entry by entry. The positions of every record are kept, so that a test can damage a right file at
 * the place it means.
 */
#ifndef HONE_ZIP_BUILDER_H
#define HONE_ZIP_BUILDER_H

#include "tests/support/byte_builder.h"

/* How an entry or the whole file is written; sums of these. */
enum {
    ZIP_DEFLATED = 1, /* the entry is compressed */
    ZIP_WIDE = 2,     /* sizes in ZIP64 fields; of a file: a ZIP64 end as well */
    ZIP_DEFERRED = 4, /* the local header leaves sizes and CRC to a descriptor behind the data */
    ZIP_NO_CRC = 8,   /* zero instead of the CRC */
    ZIP_MAX_ENTRIES = 16
};

struct zip_built_entry {
    const char *name; /* borrowed */
    size_t local_at, data_at, n, compressed;
    size_t record_at; /* set by hone_zip_built() */
    unsigned flags;
    uint32_t crc;
};

/* All zero is empty. */
typedef struct zip_builder {
    hone_bytes file;
    struct zip_built_entry entries[ZIP_MAX_ENTRIES];
    size_t n;
    size_t directory_at, end_at; /* set by hone_zip_built(); end_at is that of the classic end */
} zip_builder;

/* hone_zip_put() appends an entry: local header and data. */
void hone_zip_put(zip_builder *z, const char *name, const void *data, size_t nbytes, unsigned flags);

/* hone_zip_built() appends the directory and its end. */
void hone_zip_built(zip_builder *z, unsigned flags);

void hone_zip_builder_free(zip_builder *z);

#endif
