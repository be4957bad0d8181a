/* SPDX-License-Identifier: MIT */
/*
 * Sums over what a model's linear layers are given: each column and its squares, and products of each two.
 *
 * Sums and sums of squares are kept in f64 and added row by row. Products are added in f32 by the BLAS, a tile of
 * tokens at a time, into panels of rows of the upper triangle:
 *
 *     panel p of H (ncols, ncols):   rows [p P, p P + P), columns [p P, ncols),   P = HONE_GRAM_PANEL
 *
 * A panel is one thread's, and how they are cut depends on ncols alone: the sums are the same for every thread count.
 */
#ifndef HONE_INPUT_STATS_H
#define HONE_INPUT_STATS_H

#include "verify/model_impl.h"

enum { HONE_GRAM_PANEL = 256, HONE_MAX_SHARING = 3 };

/* One input, and the weights that are multiplied with it. */
typedef struct hone_input_stats {
    const hone_weight *weights[HONE_MAX_SHARING];
    char names[HONE_MAX_SHARING][HONE_ROLE_NAME_CAP]; /* GGUF's */
    size_t n_weights, ncols;
    size_t expert, n_experts; /* which of the matrices stacked in the weights; n_experts 0: they are one each */
    size_t stage;             /* of the model: see hone_model_matrix() */
    bool collecting;          /* what is seen is summed */
    uint64_t n_tokens;
    double *squares, *sums; /* (ncols) */
    float *gram;            /* panels, or NULL: not summed */
} hone_input_stats;

/* All inputs of a model, in the order in which a pass comes to them. All zero is none. */
typedef struct hone_input_set {
    const hone_context *ctx;
    const hone_family *family;
    hone_naming naming;
    hone_input_stats *inputs;
    size_t n, cap;
    size_t next;   /* the input expected to be seen next */
    size_t stage;  /* that unknown inputs are of */
    bool complete; /* else unknown inputs are added, and nothing is summed */
    hone_status status;
    hone_error error; /* why, if it is not HONE_OK */
} hone_input_set;

/* hone_input_see() is the see() of an observer whose user is a hone_input_set. Failures go to set->status. */
void hone_input_see(void *set, const hone_weight *const *weights, size_t n_weights, const float *x, size_t n);

/* hone_input_see_expert() is the see_expert() of that observer. Where one expert is met, all are known. */
bool hone_input_see_expert(void *set, const hone_weight *const *weights, size_t n_weights,
                           const hone_expert_rows *rows);

/* hone_input_collect() starts an input's sums anew, of products, too, if grams. NOMEM. hone_input_release() ends them:
 * the products are gone. */
hone_status hone_input_collect(hone_input_stats *in, bool grams, hone_error *err);
void hone_input_release(hone_input_stats *in);

void hone_input_set_deinit(hone_input_set *set);

/* hone_gram_nfloats() returns the size of the panels; 0 when that overflows. */
size_t hone_gram_nfloats(size_t ncols);

/* hone_gram_row() returns columns [i, ncols) of row i in the panels. */
const float *hone_gram_row(const float *gram, size_t ncols, size_t i);

#endif
