/* SPDX-License-Identifier: MIT */
/*
 * Element types and tensor descriptions.
 *
 * A dtype is either a plain element type (F32, BF16, I64, ...) or a block type of the ggml family:
 * a fixed number of neighbouring elements of one row stored together with their scales. Both are
 * described by the same two figures, elements and bytes per block.
 */
#ifndef HONE_TENSOR_H
#define HONE_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hone/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define HONE_MAX_DIMS 8

typedef enum hone_dtype {
    HONE_INVALID = 0,
    /* plain element types */
    HONE_F64,
    HONE_F32,
    HONE_F16,
    HONE_BF16,
    HONE_F8_E4M3,
    HONE_F8_E5M2,
    HONE_F8_E8M0,
    HONE_I64,
    HONE_I32,
    HONE_I16,
    HONE_I8,
    HONE_U64,
    HONE_U32,
    HONE_U16,
    HONE_U8,
    HONE_BOOL,
    /* plain element types without a decoder: listed, inspected and copied; several of F4 and F6 share bytes */
    HONE_F4,
    HONE_F6_E2M3,
    HONE_F6_E3M2,
    HONE_F8_E4M3FNUZ,
    HONE_F8_E5M2FNUZ,
    HONE_C64,
    /* block types, 32 elements */
    HONE_Q4_0,
    HONE_Q4_1,
    HONE_Q5_0,
    HONE_Q5_1,
    HONE_Q8_0,
    /* block types, 256 elements */
    HONE_Q2_K,
    HONE_Q3_K,
    HONE_Q4_K,
    HONE_Q5_K,
    HONE_Q6_K,
    /* tables of values, ternary codes, and code books; q8_1 and q8_k hold activations, and are read only */
    HONE_Q1_0,
    HONE_Q2_0,
    HONE_Q8_1,
    HONE_Q8_K,
    HONE_IQ4_NL,
    HONE_IQ4_XS,
    HONE_MXFP4,
    HONE_NVFP4,
    HONE_TQ1_0,
    HONE_TQ2_0,
    HONE_IQ3_S,
    HONE_IQ3_XXS,
    HONE_IQ2_S,
    HONE_IQ2_XS,
    HONE_IQ2_XXS,
    HONE_IQ1_S,
    HONE_IQ1_M,
    HONE_N_DTYPES
} hone_dtype;

/* One row of the dtype table. */
typedef struct hone_dtype_info {
    const char *name;        /* lower case, as on the command line: "bf16", "q4_k" */
    const char *safetensors; /* the name in a safetensors header, or NULL */
    int ggml_id;             /* the id in a GGUF tensor table, or -1 */
    uint32_t block_nelems;   /* 1 for plain types of whole bytes */
    uint32_t block_nbytes;
    bool is_float;     /* decodes to real numbers (every block type does) */
    bool is_quantized; /* a block type */
} hone_dtype_info;

/* hone_dtype_describe() returns the table row of a dtype; for an unknown value, the row of HONE_INVALID. */
HONE_API const hone_dtype_info *hone_dtype_describe(hone_dtype dtype);

/* hone_dtype_from_name() finds a dtype by its command-line name, ignoring case; HONE_INVALID if there is none. */
HONE_API hone_dtype hone_dtype_from_name(const char *name);

/*
 * hone_dtype_row_nbytes() sets *nbytes to the size of nelems consecutive elements.
 * ARG: unknown dtype, or nelems is not a multiple of the block. LIMIT: the product overflows.
 */
HONE_API hone_status hone_dtype_row_nbytes(hone_dtype dtype, uint64_t nelems, uint64_t *nbytes) HONE_CHECK_RESULT;

/*
 * A named tensor inside a file. shape is in row-major order, outermost axis first, as PyTorch
 * prints it; a GGUF file lists the same axes in reverse. shape[n_dims - 1] is the row length.
 * Borrowed from the checkpoint until hone_checkpoint_close().
 */
typedef struct hone_tensor {
    const char *name;
    hone_dtype dtype;
    unsigned n_dims; /* 0 for a scalar */
    uint64_t shape[HONE_MAX_DIMS];
    uint64_t nelems;
    unsigned file;   /* index into the checkpoint's files */
    uint64_t offset; /* of the first byte, from the start of that file */
    uint64_t nbytes;
    const struct hone_view *view; /* internal: how the bytes come about when they do not lie in the file as they are */
} hone_tensor;

#ifdef __cplusplus
}
#endif

#endif
