/* SPDX-License-Identifier: MIT */
/*
 * A checkpoint: the named tensors, configuration and metadata of a model on disk.
 *
 * A source is a Hugging Face directory (config.json beside *.safetensors or pytorch_model.bin, sharded or not) or a
 * single file: .safetensors, PyTorch (.bin, .pt, .pth, .ckpt), NumPy (.npz, .npy) or GGUF. A pickle is read as data;
 * nothing in it is run, and classes other than PyTorch's own are refused by name. Opening reads headers only; tensor
 * data is read on demand with pread, never mapped, so a file that shrinks under us is an error and not a signal.
 */
#ifndef HONE_CHECKPOINT_H
#define HONE_CHECKPOINT_H

#include "hone/context.h"
#include "hone/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hone_checkpoint hone_checkpoint;

/* All zero is a good default. */
typedef struct hone_open_options {
    const char *config; /* config.json to use when the source carries none; or NULL */
    bool parts;         /* list quantized weights of safetensors as the tensors they are stored as */
} hone_open_options;

/*
 * hone_checkpoint_open() probes path and reads its headers.
 *
 * On HONE_OK *out owns everything reached through it; release it with hone_checkpoint_close(). On
 * failure *out is NULL and *err says where and why.
 *
 * ARG: no such file, or a directory with neither config.json nor weights. FORMAT: no known format. UNSUPPORTED: a
 * version, dtype or byte order not handled. DATA: truncated, overlapping or contradictory headers. LIMIT, IO, NOMEM. A
 * checkpoint may be read by many threads; closing it is exclusive.
 */
HONE_API hone_status hone_checkpoint_open(const char *path, const hone_open_options *opts, hone_checkpoint **out,
                                          hone_error *err) HONE_CHECK_RESULT;

/* hone_checkpoint_close() releases a checkpoint; NULL is a no-op. */
HONE_API void hone_checkpoint_close(hone_checkpoint *ckpt);

/* hone_checkpoint_format() returns "safetensors", "pytorch", "npz", "npy" or "gguf". Static. */
HONE_API const char *hone_checkpoint_format(const hone_checkpoint *ckpt);

/* hone_checkpoint_path() returns the path it was opened with. Borrowed. */
HONE_API const char *hone_checkpoint_path(const hone_checkpoint *ckpt);

/* hone_checkpoint_architecture() returns the model class named by the checkpoint's configuration:
 * "LlamaForCausalLM" (architectures[0] of config.json) or "llama" (general.architecture); NULL if it names none.
 * Borrowed. */
HONE_API const char *hone_checkpoint_architecture(const hone_checkpoint *ckpt);

HONE_API size_t hone_checkpoint_n_files(const hone_checkpoint *ckpt);
/* hone_checkpoint_file() returns the path of the i-th weights file; NULL past the end. Borrowed. */
HONE_API const char *hone_checkpoint_file(const hone_checkpoint *ckpt, size_t i);
/* hone_checkpoint_nbytes() returns the total size of the weights files in bytes, headers included. */
HONE_API uint64_t hone_checkpoint_nbytes(const hone_checkpoint *ckpt);

HONE_API size_t hone_checkpoint_n_tensors(const hone_checkpoint *ckpt);
/* hone_checkpoint_tensor() returns the i-th tensor in file order; NULL past the end. Borrowed. */
HONE_API const hone_tensor *hone_checkpoint_tensor(const hone_checkpoint *ckpt, size_t i);
/*
 * hone_checkpoint_find() returns the tensor of that name, or NULL. O(log n). Borrowed. The experts of a layer that are
 * stored one by one, PREFIX.experts.0.SUFFIX [rows, cols] and so on, are found together, too, as the tensor
 * PREFIX.experts.SUFFIX [n, rows, cols], which is not listed.
 */
HONE_API const hone_tensor *hone_checkpoint_find(const hone_checkpoint *ckpt, const char *name);

/*
 * hone_checkpoint_read() copies nbytes of a tensor's stored bytes, from offset within the tensor, to dst.
 * ARG: the range leaves the tensor. DATA: the file ends before it. IO. Thread-safe.
 */
HONE_API hone_status hone_checkpoint_read(const hone_checkpoint *ckpt, const hone_tensor *tensor, uint64_t offset,
                                          size_t nbytes, void *dst, hone_error *err) HONE_CHECK_RESULT;

/* Metadata values. The numbers are GGUF's. */
typedef enum hone_value_type {
    HONE_VALUE_U8 = 0,
    HONE_VALUE_I8 = 1,
    HONE_VALUE_U16 = 2,
    HONE_VALUE_I16 = 3,
    HONE_VALUE_U32 = 4,
    HONE_VALUE_I32 = 5,
    HONE_VALUE_F32 = 6,
    HONE_VALUE_BOOL = 7,
    HONE_VALUE_STRING = 8,
    HONE_VALUE_ARRAY = 9,
    HONE_VALUE_U64 = 10,
    HONE_VALUE_I64 = 11,
    HONE_VALUE_F64 = 12
} hone_value_type;

/* Bytes with a length; not NUL-terminated by contract (they are, when they come from hone). */
typedef struct hone_string {
    const char *data;
    size_t len;
} hone_string;

/*
 * One metadata entry: a GGUF key and value, or a string of a safetensors file's __metadata__.
 * Integers of every width are in u (unsigned types, bool) or i (signed types), floats in f.
 * An array has elem_type and count; its elements are in items (little-endian, packed), or for
 * strings in strings. Borrowed until hone_checkpoint_close().
 */
typedef struct hone_metadata {
    hone_string key;
    hone_value_type type;
    union {
        uint64_t u;
        int64_t i;
        double f;
        hone_string string;
        struct {
            hone_value_type elem_type;
            uint64_t count;
            const void *items;
            const hone_string *strings;
        } array;
    } v;
} hone_metadata;

HONE_API size_t hone_checkpoint_n_metadata(const hone_checkpoint *ckpt);
HONE_API const hone_metadata *hone_checkpoint_metadata(const hone_checkpoint *ckpt, size_t i);
/* hone_checkpoint_find_metadata() returns the entry of that key, or NULL. */
HONE_API const hone_metadata *hone_checkpoint_find_metadata(const hone_checkpoint *ckpt, const char *key);

/* hone_checkpoint_has_checksums() tells whether a GGUF file carries checksums of its bytes. */
HONE_API bool hone_checkpoint_has_checksums(const hone_checkpoint *ckpt);

/*
 * hone_checkpoint_check() re-hashes a file written by hone against the XXH3-64 sums it carries: of the header
 * (hone.header_xxh3) and of every tensor (hone.tensor_xxh3), keys of GGUF or of the __metadata__ of each safetensors
 * file; or, in GGUF, two words made of all of them (hone.xxh3), which tell a single damaged tensor. What lies between
 * tensors must be zero, and nothing may follow. Open with `parts`, for the sums are of what is stored. *n_checked gets
 * the number of tensors that agree, up to the first that does not. UNSUPPORTED: a file carries no checksums. MISMATCH:
 * a byte differs; err names the first tensor, or the header's key, which also stands for several tensors where words
 * cannot tell which. DATA: the sums are malformed, or the file was changed meanwhile. IO, NOMEM.
 */
HONE_API hone_status hone_checkpoint_check(const hone_context *ctx, const hone_checkpoint *ckpt, size_t *n_checked,
                                           hone_error *err) HONE_CHECK_RESULT;

#ifdef __cplusplus
}
#endif

#endif
