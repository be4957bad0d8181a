/* SPDX-License-Identifier: MIT */
/* The tensors of toy models, and files that hold them under both namings. */
#ifndef HONE_TOY_WEIGHTS_H
#define HONE_TOY_WEIGHTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/support/byte_builder.h"
#include "tests/support/temp_dir.h"

typedef struct hone_toy_tensor {
    char hf[64], gguf[64];
    size_t nrows, ncols; /* ncols 0: a vector of nrows */
    size_t n_heads;      /* GGUF interleaves the rows of each head; 0: it does not */
    bool transposed;     /* Hugging Face stores (ncols, nrows) */
    float *data;         /* (nrows, ncols), rows in Hugging Face order */
    bool not_hf, not_gguf;
    size_t n_stacked; /* GGUF has the rows as so many matrices, in three dimensions; 0: one */
} hone_toy_tensor;

/* hone_toy_add() appends a tensor without data and returns it, until the next call. */
hone_toy_tensor *hone_toy_add(hone_toy_tensor **tensors, size_t *n, const char *hf, const char *gguf, size_t nrows,
                              size_t ncols);

/* hone_toy_randomize() gives all tensors seeded values: of norms near one, of others and of biases within 0.6. */
void hone_toy_randomize(hone_toy_tensor *tensors, size_t n);

/* hone_toy_find_tensor() returns a tensor by its Hugging Face name; an unknown one aborts. */
hone_toy_tensor *hone_toy_find_tensor(hone_toy_tensor *tensors, size_t n, const char *hf);
void hone_toy_free_tensors(hone_toy_tensor **tensors, size_t *n);

/* Entries of GGUF metadata. */
void hone_toy_put_string(hone_bytes *b, const char *text);
void hone_toy_put_count(hone_bytes *b, const char *key, size_t value);
void hone_toy_put_float(hone_bytes *b, const char *key, double value);

/* hone_toy_write_safetensors() writes model.safetensors; hone_toy_write_gguf_file() writes toy.gguf and returns its
 * path.
 */
void hone_toy_write_safetensors(const hone_toy_tensor *tensors, size_t n, hone_temp_dir *dir);
const char *hone_toy_write_gguf_file(const hone_toy_tensor *tensors, size_t n, const hone_bytes *entries,
                                     uint64_t n_entries, hone_temp_dir *dir);

#endif
