/* SPDX-License-Identifier: MIT */
/*
 * Building the header of a GGUF v3 file: metadata, tensor table, and where each tensor's bytes go.
 *
 *   hone_gguf_header *h = hone_gguf_new();
 *   hone_gguf_put_str(h, "general.architecture", "llama");
 *   hone_gguf_add_tensor(h, "output.weight", HONE_Q8_0, 2, shape);
 *   status = hone_gguf_finish(h, 32, &layout, err);      first error of any call above, or the laid out header
 *   ... write layout.bytes at 0 and tensor i at layout.offsets[i] ...
 *   hone_gguf_layout_deinit(&layout);
 *   hone_gguf_free(h);
 *
 * Errors stick: a put or add after a failure is a no-op, and hone_gguf_finish() reports the first one. Everything
 * passed in is copied. NULL as header (out of memory in hone_gguf_new()) is accepted everywhere and reported by finish
 * as NOMEM.
 *
 *   file:  "GGUF" | u32 3 | u64 n_tensors | u64 n_kv | KVs | tensor infos | pad | tensor, pad | tensor, pad | ...
 */
#ifndef HONE_GGUF_WRITER_H
#define HONE_GGUF_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hone/checkpoint.h"
#include "hone/tensor.h"

enum { HONE_GGUF_ALIGNMENT = 32, HONE_GGUF_MAX_NAME = 63 };

typedef struct hone_gguf_header hone_gguf_header;

/* hone_gguf_new() makes an empty header, or NULL when out of memory. Release with hone_gguf_free(); NULL is a no-op. */
hone_gguf_header *hone_gguf_new(void);
void hone_gguf_free(hone_gguf_header *header);

/*
 * Metadata, written in the order of the calls. ARG (reported by finish): the key is empty, longer than 65535 bytes, not
 * UTF-8, or put before. general.alignment is finish's own.
 */
void hone_gguf_put_u8(hone_gguf_header *header, const char *key, uint8_t value);
void hone_gguf_put_u16(hone_gguf_header *header, const char *key, uint16_t value);
void hone_gguf_put_u32(hone_gguf_header *header, const char *key, uint32_t value);
void hone_gguf_put_i32(hone_gguf_header *header, const char *key, int32_t value);
void hone_gguf_put_u64(hone_gguf_header *header, const char *key, uint64_t value);
void hone_gguf_put_f32(hone_gguf_header *header, const char *key, float value);
void hone_gguf_put_bool(hone_gguf_header *header, const char *key, bool value);
void hone_gguf_put_str(hone_gguf_header *header, const char *key, const char *value);
void hone_gguf_put_string(hone_gguf_header *header, const char *key, hone_string value);

void hone_gguf_put_u8_array(hone_gguf_header *header, const char *key, const uint8_t *values, size_t n);
void hone_gguf_put_i32_array(hone_gguf_header *header, const char *key, const int32_t *values, size_t n);
void hone_gguf_put_u32_array(hone_gguf_header *header, const char *key, const uint32_t *values, size_t n);
void hone_gguf_put_f32_array(hone_gguf_header *header, const char *key, const float *values, size_t n);
void hone_gguf_put_bool_array(hone_gguf_header *header, const char *key, const bool *values, size_t n);
void hone_gguf_put_str_array(hone_gguf_header *header, const char *key, const hone_string *values, size_t n);
/* values may be NULL: zeros, to be filled in later at hone_gguf_payload_offset(). */
void hone_gguf_put_u64_array(hone_gguf_header *header, const char *key, const uint64_t *values, size_t n);

/*
 * hone_gguf_put_metadata() copies an entry read from another file, whatever its type, under its own key.
 */
void hone_gguf_put_metadata(hone_gguf_header *header, const hone_metadata *entry);

/*
 * hone_gguf_add_tensor() appends a tensor. shape is row-major, outermost first; a scalar (n_dims 0) is written with
 * shape {1}. Errors: a name that is empty, longer than 63 bytes (llama.cpp's limit), not UTF-8 or added before (ARG); a
 * dtype that GGUF has no id for, or over 4 axes (UNSUPPORTED); rows that are not whole blocks (ARG).
 */
void hone_gguf_add_tensor(hone_gguf_header *header, const char *name, hone_dtype dtype, unsigned n_dims,
                          const uint64_t *shape);

/* hone_gguf_failed() tells whether a call has failed, so that a long loop can stop early. */
bool hone_gguf_failed(const hone_gguf_header *header);

typedef struct hone_gguf_layout {
    uint8_t *bytes; /* the header, zero-padded up to data_start */
    size_t nbytes;  /* == data_start */
    uint64_t data_start;
    uint64_t file_nbytes; /* with the padding after the last tensor */
    uint64_t *offsets;    /* of each tensor from the start of the file, in order of the calls */
    uint64_t *sizes;      /* bytes of each tensor, padding excluded */
    size_t n_tensors;
} hone_gguf_layout;

/*
 * hone_gguf_finish() lays out the header. alignment: a power of two, at least 8; written as general.alignment
 * unless 32. Fails with the first error of the calls before it (err->item: the key or tensor), LIMIT or NOMEM. On
 * success the caller owns *out (hone_gguf_layout_deinit); on failure *out is empty. May be called once or again after
 * more puts.
 */
hone_status hone_gguf_finish(const hone_gguf_header *header, uint32_t alignment, hone_gguf_layout *out,
                             hone_error *err);
void hone_gguf_layout_deinit(hone_gguf_layout *layout);

/* hone_gguf_payload_offset() returns the position in the file of the first element of a fixed-size array put earlier
 * (or of a scalar); HONE_NO_OFFSET if there is none of that key. Needed to fill in hone.tensor_xxh3 once the tensors
 * are written. */
uint64_t hone_gguf_payload_offset(const hone_gguf_header *header, const char *key);

#endif
