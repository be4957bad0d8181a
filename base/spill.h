/* SPDX-License-Identifier: MIT */
/* Records of one size, written and read back in any order: in memory, or in a temporary file that has no name. */
#ifndef HONE_SPILL_H
#define HONE_SPILL_H

#include <stddef.h>
#include <stdint.h>

#include "hone/status.h"

typedef struct hone_spill {
    size_t n_records, record_nbytes;
    unsigned char *memory; /* NULL: in the file */
    char *dir;             /* where the file is, for errors; NULL: in memory */
    int fd;
} hone_spill;

/* An empty hone_spill, which hone_spill_deinit() accepts. */
#define HONE_NO_SPILL ((hone_spill){.fd = -1})

/*
 * hone_spill_init() makes room for n_records. What takes more than max_nbytes goes to a file in the directory of the
 * path `beside`, which vanishes with the process. NOMEM, IO: no room. On failure *out is empty.
 */
hone_status hone_spill_init(size_t n_records, size_t record_nbytes, uint64_t max_nbytes, const char *beside,
                            hone_spill *out, hone_error *err);
void hone_spill_deinit(hone_spill *spill);

/* hone_spill_put() writes a record, hone_spill_get() reads one that was written. IO. */
hone_status hone_spill_put(hone_spill *spill, size_t i, const void *record, hone_error *err);
hone_status hone_spill_get(const hone_spill *spill, size_t i, void *record, hone_error *err);

#endif
