/* SPDX-License-Identifier: MIT */
/*
 * The checksums a GGUF file of hone carries, all XXH3-64 with seed 0 (those of safetensors: safetensors_writer.h):
 *
 *   hone.tensor_xxh3   u64[n_tensors], in the order of the tensor table: of each tensor's bytes
 *   hone.header_xxh3   u64: of the header, that is all bytes from 0 up to the first tensor, padding included, tensor
 *                      sums filled in, and the eight bytes of this value itself taken as zero
 *
 * or, where they are to take little room, two words that tell one damaged tensor, whichever it is:
 *
 *   hone.xxh3          u64[2]: s0 = h0 ^ h1 ^ h2 ^ ...,  s1 = h0 ^ h1 x ^ h2 x^2 ^ ...
 *
 * with h0 the checksum of the header, these 16 bytes taken as zero, h1 ... those of the tensors in the order of the
 * table, and products in GF(2^64) modulo x^64 + x^4 + x^3 + x + 1, bit i standing for x^i. If the i-th alone is wrong
 * by d, the words are by d and d x^i (Reed and Solomon 1960). If several are, that is all that can be told.
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
#define HONE_JOINT_SUMS_KEY "hone.xxh3"

enum { HONE_JOINT_SUMS = 2 }; /* words */

/* hone_gguf_put_sums() adds both keys to a header that will have n_tensors tensors. */
void hone_gguf_put_sums(hone_gguf_header *header, size_t n_tensors);

/* hone_gguf_seal() reads back the tensors of a file that is written but for its header, and writes that with the sums
 * of both kinds filled in. IO, NOMEM. */
hone_status hone_gguf_seal(const hone_writer *writer, const hone_gguf_header *header, const hone_gguf_layout *layout,
                           hone_error *err);

/* hone_header_sum() returns the checksum of a header of nbytes whose value of HONE_HEADER_SUM_KEY is zero. */
uint64_t hone_header_sum(const uint8_t *header, size_t nbytes);

/* hone_joint_sums_put() fills in HONE_JOINT_SUMS_KEY, whose words are zeros at `at` in the header, from the sums of n
 * tensors. */
void hone_joint_sums_put(uint8_t *header, size_t nbytes, size_t at, const uint64_t *sums, size_t n);

#endif
