/* SPDX-License-Identifier: MIT */
/*
 * GGUF models in several files, PREFIX-00001-of-00003.gguf and so on: each has its own header and tensors, the first
 * one the model's metadata. Every part says which it is (split.no, from 0), of how many (split.count), and how many
 * tensors the parts have together (split.tensors.count).
 */
#ifndef HONE_GGUF_SPLIT_H
#define HONE_GGUF_SPLIT_H

#include "formats/sources.h"

typedef struct hone_split_number {
    bool present;
    uint64_t value;
    uint64_t at; /* file position of its value */
} hone_split_number;

typedef struct hone_gguf_split {
    hone_split_number no, count, n_tensors;
} hone_gguf_split;

/* hone_gguf_read_part() adds one file's tensors and, if asked, metadata; *split gets what it says about its set. */
hone_status hone_gguf_read_part(hone_checkpoint *ckpt, unsigned file, bool keep_metadata, hone_gguf_split *split,
                                hone_error *err);

/*
 * hone_gguf_read_set() replaces a checkpoint of one file, which was read and said *split, by its whole set in order.
 * DATA: a part contradicts its name or the others. ARG: a part is missing.
 */
hone_status hone_gguf_read_set(hone_checkpoint *ckpt, unsigned file, const hone_gguf_split *split, hone_error *err);

#endif
