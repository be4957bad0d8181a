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

/* All zero is a good default, but for datasets. */
typedef struct hone_calibrate_options {
    size_t n_ctx;                /* tokens per chunk; 0: 512, or fewer where the model has fewer positions */
    size_t n_chunks;             /* at most; 0: all */
    bool hessian;                /* second moments, too; of the output matrix, and of what reads the embedding, too */
    bool output;                 /* the output matrix, too */
    const char *const *datasets; /* what the text is called; goes into the file */
    size_t n_datasets;
    bool overwrite; /* the output may exist */
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
 * path. The file is the same for every thread count and memory budget. Where second moments exceed the budget, the text
 * is read several times, for some of the inputs each; ctx is noted how often.
 * ARG: the text gives fewer tokens than one chunk, or path exists. NOMEM: the budget does not hold one input's. Else as
 * hone_model_load(), hone_perplexity(). *out, if given, gets the coverage (hone_calibration_free()).
 */
HONE_API hone_status hone_calibrate(const hone_context *ctx, const hone_checkpoint *ckpt, const char *text,
                                    size_t nbytes, const hone_calibrate_options *opts, const char *path,
                                    hone_calibration **out, hone_error *err) HONE_CHECK_RESULT;

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
