/* SPDX-License-Identifier: MIT */
/*
 * The header of a safetensors file: which tensors there are, and where each one's bytes go.
 *
 *   |u64 N|N bytes of JSON, padded with spaces to a multiple of 8|tensor, tensor, ...|
 *
 * The order of the tensors is the caller's; hone_safetensors_compare() is that of the reference writer. The checksums
 * of hone are strings of __metadata__, of a length known beforehand: "hone.tensor_xxh3" holds 16 hexadecimal digits for
 * each tensor in the order of their data, "hone.header_xxh3" 16 digits for all bytes before the first tensor, taken
 * with these digits as zeros.
 */
#ifndef HONE_SAFETENSORS_WRITER_H
#define HONE_SAFETENSORS_WRITER_H

#include <stddef.h>
#include <stdint.h>

#include "hone/tensor.h"

#define HONE_SAFETENSORS_TENSOR_SUMS "hone.tensor_xxh3"
#define HONE_SAFETENSORS_HEADER_SUM "hone.header_xxh3"

enum { HONE_SUM_DIGITS = 16 };

typedef struct hone_safetensors_pair {
    const char *key, *value;
} hone_safetensors_pair;

typedef struct hone_safetensors_layout {
    uint8_t *bytes; /* the header; its checksums are zeros */
    size_t nbytes;
    size_t tensor_sums_at, header_sum_at; /* positions of digits in bytes */
    uint64_t file_nbytes;
    size_t n_tensors;
} hone_safetensors_layout;

/* hone_safetensors_compare() orders by dtype, the wider the earlier, then by name: negative, 0 or positive. */
int hone_safetensors_compare(const hone_tensor *a, const hone_tensor *b);

/*
 * hone_safetensors_lay_out() makes the header of n tensors (name, dtype, n_dims, shape, nbytes are read) and sets each
 * one's offset from the start of the file. metadata (n_metadata) goes into __metadata__ before hone's checksums.
 * UNSUPPORTED: a dtype that safetensors lacks. ARG: a name or value that is empty, not UTF-8, or used twice. LIMIT: a
 * header over 100 MB. NOMEM. On success the caller owns *out (hone_safetensors_layout_deinit); on failure it is empty.
 */
hone_status hone_safetensors_lay_out(hone_tensor *tensors, size_t n, const hone_safetensors_pair *metadata,
                                     size_t n_metadata, hone_safetensors_layout *out, hone_error *err);
void hone_safetensors_layout_deinit(hone_safetensors_layout *layout);

/* hone_safetensors_put_sums() fills the checksums of n tensors, in data order, and then its own into a header. */
void hone_safetensors_put_sums(uint8_t *header, size_t nbytes, size_t tensor_sums_at, size_t header_sum_at,
                               const uint64_t *sums, size_t n);

/*
 * hone_safetensors_header_sum() computes the checksum of a header whose own digits, at header_sum_at, are taken as
 * zeros.
 */
uint64_t hone_safetensors_header_sum(uint8_t *header, size_t nbytes, size_t header_sum_at);

#endif
