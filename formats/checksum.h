/* SPDX-License-Identifier: MIT */
/*
 * The checksums a GGUF file of hone carries, all XXH3-64 with seed 0 (those of safetensors: safetensors_writer.h):
 *
 *   hone.tensor_xxh3   u64[n_tensors], in the order of the tensor table: of each tensor's bytes
 *   hone.header_xxh3   u64: of the header, that is all bytes from 0 up to the first tensor, padding included, tensor
 *                      sums filled in, and the eight bytes of this value itself taken as zero
 *
 * What is left, the padding behind each tensor, is zero, and the file ends with that of the last one.
 */
#ifndef HONE_CHECKSUM_H
#define HONE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

#include "base/writer.h"
#include "formats/gguf_writer.h"

#define HONE_TENSOR_SUMS_KEY "hone.tensor_xxh3"
#define HONE_HEADER_SUM_KEY "hone.header_xxh3"

/* hone_gguf_put_sums() adds both keys to a header that will have n_tensors tensors. */
void hone_gguf_put_sums(hone_gguf_header *header, size_t n_tensors);

/* hone_gguf_seal() reads back the tensors of a file that is written but for its header, and writes that with the sums
 * of both kinds filled in. IO, NOMEM. */
hone_status hone_gguf_seal(const hone_writer *writer, const hone_gguf_header *header, const hone_gguf_layout *layout,
                           hone_error *err);

/* hone_header_sum() returns the checksum of a header of nbytes whose value of HONE_HEADER_SUM_KEY is zero. */
uint64_t hone_header_sum(const uint8_t *header, size_t nbytes);

#endif
