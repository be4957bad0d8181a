/* SPDX-License-Identifier: MIT */
/*
 * Tensors that lie in their file by strides: transposed, sliced, expanded, in Fortran order, byte-swapped, or inflated
 * to the scratch file. Those that turn out to lie row by row as they are become plain tensors.
 */
#ifndef HONE_STRIDED_VIEW_H
#define HONE_STRIDED_VIEW_H

#include "formats/sources.h"

/* Bytes that can be read at any position: in a file of the checkpoint, or in its scratch file. */
typedef struct hone_payload {
    bool in_scratch;
    uint64_t offset, nbytes;
} hone_payload;

/* hone_payload_read() reads from offset within the payload. file: the checkpoint's file when it is not in scratch. */
hone_status hone_payload_read(const hone_checkpoint *ckpt, unsigned file, const hone_payload *payload, uint64_t offset,
                              void *dst, size_t nbytes, hone_error *err);

/* How elements lie in a payload. Strides count elements, as the tensor's shape does; they may be zero. */
typedef struct hone_layout {
    hone_payload payload;
    uint64_t first_nbytes; /* offset of the first element within the payload */
    uint64_t strides[HONE_MAX_DIMS];
    bool swap_bytes; /* elements are big-endian */
} hone_layout;

/*
 * hone_checkpoint_add_strided() adds a tensor of a plain dtype; name, dtype, n_dims, shape and file of like are used.
 * at is the offset reported in errors.
 * DATA: a name that is empty or no UTF-8, a shape that overflows, an element outside the payload. LIMIT: elements
 * repeated to more than 1 GiB. NOMEM.
 */
hone_status hone_checkpoint_add_strided(hone_checkpoint *ckpt, const hone_tensor *like, const hone_layout *layout,
                                        uint64_t at, hone_error *err);

/* hone_strides_of_rows() fills strides for elements that lie row by row; the shape's product does not overflow. */
void hone_strides_of_rows(const hone_tensor *tensor, uint64_t *strides);

#endif
