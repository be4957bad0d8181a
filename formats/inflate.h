/* SPDX-License-Identifier: MIT */
/*
 * Deflated zip entries, and the scratch file they are inflated to.
 *
 * Tensor data must be readable at any position, so a deflated entry that holds some is inflated once, when the
 * checkpoint is opened, into an unlinked file in $TMPDIR that disappears with the checkpoint.
 */
#ifndef HONE_INFLATE_H
#define HONE_INFLATE_H

#include "formats/sources.h"
#include "formats/strided_view.h"
#include "formats/zip.h"

/*
 * hone_inflate() inflates an entry piece by piece into sink. DATA: not deflate, other than entry->nbytes bytes, a wrong
 * CRC-32. It never hands more than entry->nbytes bytes to sink. IO, NOMEM.
 */
hone_status hone_inflate(const hone_file *file, const hone_zip_entry *entry,
                         hone_status (*sink)(void *user, const void *data, size_t nbytes, hone_error *err), void *user,
                         hone_error *err);

/*
 * hone_zip_place() makes an entry readable at any position: a stored one lies in its file, a deflated one is inflated
 * into ckpt->scratch, once. LIMIT: all inflated entries together take more than 256 MiB and 16 times the file's size.
 */
hone_status hone_zip_place(hone_checkpoint *ckpt, const hone_zip *zip, hone_zip_entry *entry, hone_payload *out,
                           hone_error *err);

#endif
