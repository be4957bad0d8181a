/* SPDX-License-Identifier: MIT */
/*
 * Importance matrices: for each weight, the mean square of what each of its columns was multiplied with, in either form
 * that llama.cpp reads and writes.
 *
 *   GGUF     general.type "imatrix"; imatrix.datasets [string], imatrix.chunk_count u32, imatrix.chunk_size u32; for
 *            each weight two F32 tensors, WEIGHT.in_sum2 (n_mats, ncols) and WEIGHT.counts (n_mats, 1)
 *   legacy   i32 n_entries | entry ... | optional: i32 n_chunks | i32 nbytes | name of the data
 *   entry    i32 nbytes | name of the weight | i32 n_calls | i32 n_values | f32 values: means times n_calls
 *
 * A weight of experts has a row of columns for each. Weights are named as in a GGUF model. Values stay in the file
 * until they are read: an importance matrix of many experts is large.
 * Sources: tools/imatrix/imatrix.cpp, common/imatrix-loader.cpp of llama.cpp.
 */
#ifndef HONE_IMATRIX_H
#define HONE_IMATRIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hone/checkpoint.h"

typedef struct hone_imatrix hone_imatrix;

/* What there is for one weight. */
typedef struct hone_imatrix_entry {
    const char *name;    /* of the weight: "blk.0.attn_q.weight" */
    uint64_t n_values;   /* ncols, or n_experts * ncols */
    uint64_t n_mats;     /* that are counted by themselves; 1 in the legacy form, whatever the weight */
    uint64_t n_unseen;   /* of them: nothing ever reached them */
    uint64_t n_zeros;    /* columns of the others that only zeros reached */
    uint64_t first_zero; /* index of the first such value */
} hone_imatrix_entry;

/*
 * hone_imatrix_open() reads the tables of an importance matrix and looks at each of its values once.
 *
 * On HONE_OK *out owns everything reached through it; release with hone_imatrix_close(). On failure *out is NULL.
 * FORMAT: neither form. DATA: truncated, contradictory, an entry twice, half of a pair, or a sum or count that is NaN,
 * infinite or negative; err names the weight and the column. LIMIT, ARG (no such file), IO, NOMEM.
 * May be read by many threads; closing it is exclusive.
 */
hone_status hone_imatrix_open(const char *path, hone_imatrix **out, hone_error *err);

/* hone_imatrix_close() releases an importance matrix; NULL is a no-op. */
void hone_imatrix_close(hone_imatrix *m);

/* What it was opened as, and was made of. Borrowed; the data set is "" if the file names none, of several the first. */
const char *hone_imatrix_path(const hone_imatrix *m);
const char *hone_imatrix_dataset(const hone_imatrix *m);
uint32_t hone_imatrix_n_chunks(const hone_imatrix *m);

/* hone_imatrix_transforms() returns what had been done to the model, as hone_checkpoint_transforms_text() has it. */
const char *hone_imatrix_transforms(const hone_imatrix *m);

/* Entries by name, in the order of their names. Borrowed; find returns NULL if there is none. */
size_t hone_imatrix_n_entries(const hone_imatrix *m);
const hone_imatrix_entry *hone_imatrix_entry_at(const hone_imatrix *m, size_t i);
const hone_imatrix_entry *hone_imatrix_find(const hone_imatrix *m, const char *name);

/*
 * hone_imatrix_read() reads values [first, first + n) of an entry: mean squares; 1 for each column of a matrix that
 * nothing reached, as llama.cpp has it. ARG: beyond the entry. DATA: a value is not what it was, and none can be. IO.
 * Thread-safe.
 */
hone_status hone_imatrix_read(const hone_imatrix *m, const hone_imatrix_entry *entry, uint64_t first, size_t n,
                              float *dst, hone_error *err);

/* hone_imatrix_count() returns how many rows matrix mat of an entry was summed over: calls in the legacy form. */
float hone_imatrix_count(const hone_imatrix_entry *entry, uint64_t mat);

/* hone_imatrix_gguf() returns the file opened as GGUF, for its other metadata; NULL: it is of the legacy form.
 * Borrowed. */
const hone_checkpoint *hone_imatrix_gguf(const hone_imatrix *m);

/* hone_imatrix_file() returns the file it is read from, to compare and to watch. Borrowed. */
const struct hone_file *hone_imatrix_file(const hone_imatrix *m);

/* One weight's sums, to be written. */
typedef struct hone_imatrix_sums {
    const char *name; /* of the weight, at most 55 bytes */
    uint64_t ncols, n_mats;
    const float *in_sum2; /* (n_mats, ncols): sums of squares */
    const float *counts;  /* (n_mats): how many rows were summed, whole numbers */
} hone_imatrix_sums;

/* Where the sums come from. */
typedef struct hone_imatrix_origin {
    const char *const *datasets; /* names of the texts */
    size_t n_datasets;
    uint32_t n_chunks, chunk_ntokens;
} hone_imatrix_origin;

/*
 * hone_imatrix_write() writes the GGUF form; entries in any order. Nothing exists under path until it is complete.
 * ARG: path exists and may not be overwritten; a name twice, or too long for GGUF; nothing to write. DATA: a sum or
 * count that hone_imatrix_open() would refuse. IO, NOMEM.
 */
hone_status hone_imatrix_write(const char *path, const hone_imatrix_sums *entries, size_t n,
                               const hone_imatrix_origin *origin, bool overwrite, hone_error *err);

#endif
