/* SPDX-License-Identifier: MIT */
/* A model's weights in memory, in the type they are stored in. */
#ifndef HONE_WEIGHTS_H
#define HONE_WEIGHTS_H

#include <stdbool.h>

#include "formats/decode.h"
#include "hone/checkpoint.h"
#include "hone/context.h"

/* The longest row of a matrix. It bounds the buffers that decoded rows go through. */
enum { HONE_MAX_ROW_NELEMS = 1 << 19 };

/* A matrix W (nrows, ncols) as PyTorch stores a linear layer: nrows outputs, ncols inputs. */
typedef struct hone_weight {
    const char *name; /* borrowed from the checkpoint */
    hone_dtype dtype;
    size_t nrows, ncols;
    size_t row_nbytes;
    unsigned char *data; /* nrows * row_nbytes */
    bool borrowed;       /* data belongs to another weight (tied embeddings) */
    hone_decode_fn decode;
    bool scaled; /* decoded elements are multiplied by scale */
    float scale;
} hone_weight;

/*
 * hone_weight_load() reads the matrix called name, which must have the shape (nrows, ncols).
 * In a GGUF file a tensor NAME.scale of one element beside NAME.weight becomes its scale, as nvfp4 has it.
 * DATA: missing or misshapen. UNSUPPORTED: its dtype has no decoder. LIMIT: ncols above HONE_MAX_ROW_NELEMS. IO, NOMEM.
 * On failure *out is empty, which hone_weight_deinit() accepts.
 */
hone_status hone_weight_load(const hone_context *ctx, const hone_checkpoint *ckpt, const char *name, size_t nrows,
                             size_t ncols, hone_weight *out, hone_error *err);

/* hone_weight_load_transposed() is hone_weight_load() of a matrix that is stored with the shape (ncols, nrows).
 * UNSUPPORTED, too: a type of blocks, whose elements cannot be moved. */
hone_status hone_weight_load_transposed(const hone_context *ctx, const hone_checkpoint *ckpt, const char *name,
                                        size_t nrows, size_t ncols, hone_weight *out, hone_error *err);

/*
 * hone_weight_load_stack() is hone_weight_load() of n matrices in one tensor of the shape (n, nrows, ncols): *out has
 * the rows of all. hone_weight_of_stack() makes a weight that is matrix i of them, and shares the data.
 */
hone_status hone_weight_load_stack(const hone_context *ctx, const hone_checkpoint *ckpt, const char *name, size_t n,
                                   size_t nrows, size_t ncols, hone_weight *out, hone_error *err);
hone_weight hone_weight_of_stack(const hone_weight *stack, size_t n, size_t i);

/* hone_weight_borrow() makes a weight that shares the data of another, which must outlive it. */
hone_weight hone_weight_borrow(const hone_weight *owner);

/* hone_weight_deinit() releases what the weight owns and leaves it empty. */
void hone_weight_deinit(hone_weight *w);

/* hone_weight_same() tells whether two weights hold the same bytes in the same type and shape. */
bool hone_weight_same(const hone_weight *a, const hone_weight *b);

/* hone_weight_decode() decodes rows first .. first + n - 1 to dst (n, ncols). */
void hone_weight_decode(const hone_weight *w, size_t first, size_t n, float *dst);

/*
 * hone_vector_load() reads the one-dimensional tensor called name, nelems long, decoded to f32. Fails as
 * hone_weight_load(). *out is released with hone_release(); on failure it is NULL.
 */
hone_status hone_vector_load(const hone_context *ctx, const hone_checkpoint *ckpt, const char *name, size_t nelems,
                             float **out, hone_error *err);

#endif
