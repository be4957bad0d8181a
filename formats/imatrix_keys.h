/* SPDX-License-Identifier: MIT */
/* Words of an importance matrix in GGUF form, for its reader and its writer. */
#ifndef HONE_IMATRIX_KEYS_H
#define HONE_IMATRIX_KEYS_H

#define HONE_IMATRIX_TYPE_KEY "general.type"
#define HONE_IMATRIX_TYPE "imatrix"
#define HONE_IMATRIX_DATASETS_KEY "imatrix.datasets"
#define HONE_IMATRIX_N_CHUNKS_KEY "imatrix.chunk_count"
#define HONE_IMATRIX_CHUNK_SIZE_KEY "imatrix.chunk_size"

/* What follows a weight's name. */
#define HONE_IMATRIX_SUMS ".in_sum2"
#define HONE_IMATRIX_COUNTS ".counts"

/* Ours: what had been done to the model, as hone_checkpoint_transforms_text() has it; absent: nothing. */
#define HONE_IMATRIX_TRANSFORMS_KEY "hone.calibration.transforms"

#endif
