/* SPDX-License-Identifier: MIT */
/*
 * Calibration: what the linear layers of a model are given when it reads text.
 *
 * The result is an importance matrix in GGUF form, as llama.cpp reads it, with two tensors for each weight W: the sum
 * of the squares of each input column, "W.in_sum2" (1, ncols), and how many tokens that was, "W.counts" (1, 1). With
 * second moments there is also, for each input, "W.in_gram" (ncols * (ncols + 1) / 2): the upper triangle of the sum of
 * x xT, row by row. Weights that share an input share it: hone.calibration.weights lists every weight that has one, and
 * hone.calibration.grams, entry by entry, the tensor it is in; "W.in_sum" (ncols) beside it is the sum of x. An
 * embedding that is not the output matrix as well has the rows of the first layer's weights for an input, and their
 * number for a count of tokens. Where a weight holds experts, each has a row of its own in every tensor: "W.in_sum2"
 * (n_experts, ncols), "W.counts" (n_experts, 1), "W.in_gram" (n_experts, ncols * (ncols + 1) / 2), and "W.in_sum"
 * (n_experts, ncols).
 */
#ifndef HONE_CALIBRATE_H
#define HONE_CALIBRATE_H

#include "hone/checkpoint.h"
#include "hone/context.h"

#ifdef __cplusplus
extern "C" {
#endif

/* UTF-8 text that a model reads in chunks as hone_perplexity() cuts them. */
typedef struct hone_calibration_text {
    const char *text; /* borrowed during the call that it is given to */
    size_t nbytes;
    size_t n_ctx;    /* tokens per chunk; 0: 512, or fewer where the model has fewer positions */
    size_t n_chunks; /* at most; 0: all */
} hone_calibration_text;

/* All zero is a good default, but for datasets. */
typedef struct hone_calibrate_options {
    size_t n_ctx;                /* tokens per chunk; 0: 512, or fewer where the model has fewer positions */
    size_t n_chunks;             /* at most; 0: all */
    bool hessian;                /* second moments, too; of the output matrix, and of what reads the embedding, too */
    bool output;                 /* the output matrix, too */
    const char *const *datasets; /* what the text is called; goes into the file */
    size_t n_datasets;
    const size_t *dataset_nbytes; /* (n_datasets) of which text is put together in that order; NULL: it is one */
    bool overwrite;               /* the output may exist */
    bool restart;                 /* discard what an interrupted run left instead of resuming it */
} hone_calibrate_options;

/* What is known of a weight. */
typedef struct hone_calibration_weight {
    const char *name; /* GGUF's */
    uint64_t ncols;
    uint64_t tokens; /* 0: it was not observed */
    bool hessian;
    size_t expert, n_experts; /* which of the experts stacked in it; n_experts 0: it is one matrix */
} hone_calibration_weight;

typedef struct hone_calibration hone_calibration;

/*
 * hone_calibrate() runs a model over UTF-8 text, in chunks as hone_perplexity() cuts them, and writes what it saw to
 * path. The file is the same for every thread count and memory budget.
 *
 * All chunks go through one layer, then all through the next: only one layer's weights and second moments are in memory
 * at a time, or some of these, if all would exceed the budget, and what the layers pass on is spilled to a temporary
 * file beside path if it does. A run that was killed, or stopped by an IO or NOMEM error, leaves "path.hone-partial"
 * and a ".hone-journal", and the same run again computes only the inputs that are not there yet; the bytes are those of
 * an undisturbed run. ARG: the text gives fewer tokens than one chunk, path exists, or a partial file of other work is
 * in the way. NOMEM: the budget does not hold one input's moments. Else as hone_model_load(), hone_perplexity(). *out,
 * if given, gets the coverage (hone_calibration_free()).
 */
HONE_API hone_status hone_calibrate(const hone_context *ctx, const hone_checkpoint *ckpt, const char *text,
                                    size_t nbytes, const hone_calibrate_options *opts, const char *path,
                                    hone_calibration **out, hone_error *err) HONE_CHECK_RESULT;

/* What a calibration run takes. */
typedef struct hone_calibrate_cost {
    uint64_t n_tokens, n_chunks;
    uint64_t memory_nbytes;  /* working memory, all of it */
    uint64_t weights_nbytes; /* of it: the weights of a layer, and what it works in */
    uint64_t moments_nbytes; /* of it: second moments that are summed up at a time */
    uint64_t streams_nbytes; /* of it, or spilled to a temporary file beside the output: residual streams */
    bool streams_spilled;
    uint64_t output_nbytes; /* about */
    double seconds;         /* estimated, from a measurement of a tenth of a second */
} hone_calibrate_cost;

/* hone_calibrate_plan() tells what hone_calibrate() with the same arguments will take. Fails like it, but writes
 * nothing. */
HONE_API hone_status hone_calibrate_plan(const hone_context *ctx, const hone_checkpoint *ckpt, const char *text,
                                         size_t nbytes, const hone_calibrate_options *opts, hone_calibrate_cost *out,
                                         hone_error *err) HONE_CHECK_RESULT;

/*
 * hone_calibration_merge() adds up the files of several runs on the same model. ARG: fewer than one. DATA: one is no
 * importance matrix, or they are of different models. opts: overwrite is used.
 */
HONE_API hone_status hone_calibration_merge(const hone_context *ctx, const char *const *paths, size_t n_paths,
                                            const hone_calibrate_options *opts, const char *path,
                                            hone_calibration **out, hone_error *err) HONE_CHECK_RESULT;

HONE_API void hone_calibration_free(hone_calibration *calibration);
HONE_API size_t hone_calibration_n(const hone_calibration *calibration);
/* hone_calibration_at() describes weight i; those that were not observed come last. Borrowed. */
HONE_API hone_calibration_weight hone_calibration_at(const hone_calibration *calibration, size_t i);
/* Tokens read (chunks times their length), and chunks. */
HONE_API uint64_t hone_calibration_tokens(const hone_calibration *calibration);
HONE_API uint64_t hone_calibration_chunks(const hone_calibration *calibration);

#ifdef __cplusplus
}
#endif

#endif
