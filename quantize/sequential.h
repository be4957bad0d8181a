/* SPDX-License-Identifier: MIT */
/*
 * Calibration while a model is quantized: the second moments of an input as it is behind the matrices that are coded
 * already.
 *
 * The original model goes along with the coded one, so that what is coded is what makes the coded model's layers give
 * what the original's do: see asymmetric.h.
 *
 * An expert of a mixture is calibrated on the tokens that the coded model's router gives it; see input_pairs.h.
 *
 * Inputs are numbered in the order in which they are to be asked for: that of the embedding, if it has one (see
 * calibrate.h), those of the layers in the order of a pass, that of the output matrix. Between two of them every matrix
 * that reads the earlier is coded and put in the place of the original.
 */
#ifndef HONE_SEQUENTIAL_H
#define HONE_SEQUENTIAL_H

#include "formats/text_marks.h"
#include "hone/calibrate.h"
#include "quantize/feedback.h"

typedef struct hone_sequential hone_sequential;

/* hone_sequential_open() prepares; reads no matrix. *out is NULL on failure. Fails as hone_calibrate(). */
hone_status hone_sequential_open(const hone_context *ctx, const hone_checkpoint *ckpt,
                                 const hone_calibration_text *text, hone_sequential **out, hone_error *err);
void hone_sequential_close(hone_sequential *s);

size_t hone_sequential_n_inputs(const hone_sequential *s);

/* hone_sequential_find() returns the input of the weight that GGUF calls so; the number of inputs if it has none. Where
 * the weight is a stack of experts it is that of the first, behind which the others' follow. */
size_t hone_sequential_find(const hone_sequential *s, const char *gguf_name);

/* hone_sequential_ncols() returns the columns of an input. */
size_t hone_sequential_ncols(const hone_sequential *s, size_t input);

/* What is read: chunks of n_ctx tokens, and a checksum of all these tokens. */
typedef struct hone_sequential_text {
    size_t n_chunks, n_ctx;
    uint64_t checksum;
} hone_sequential_text;
hone_sequential_text hone_sequential_describe(const hone_sequential *s);
const hone_text_marks *hone_sequential_texts(const hone_sequential *s);

/* What it takes, of both models: the weights of a stage, the moments of an input, what a layer works in. */
typedef struct hone_sequential_memory {
    uint64_t weights_nbytes, moments_nbytes, pass_nbytes;
    uint64_t streams_nbytes; /* in memory or spilled */
} hone_sequential_memory;
hone_sequential_memory hone_sequential_memory_needed(const hone_sequential *s);

/* hone_sequential_seconds() estimates the time of all passes and of the feedback they are made into, from a measurement
 * of a tenth of a second. */
double hone_sequential_seconds(const hone_sequential *s);

/* hone_sequential_begin() starts from the original model; streams beyond max_nbytes are spilled beside a path. IO,
 * NOMEM. */
hone_status hone_sequential_begin(hone_sequential *s, uint64_t max_nbytes, const char *beside, hone_error *err);

/*
 * hone_sequential_feedback() sums up the moments of an input, none before the last one asked for, and makes the error
 * feedback of them, ordered by hone_feedback_init_ordered() or not. *n_tokens: over how many; where they are fewer than
 * min_tokens, or none, *out is empty. IO, NOMEM, DATA as hone_feedback_init().
 */
hone_status hone_sequential_feedback(hone_sequential *s, size_t input, uint64_t min_tokens, bool ordered,
                                     hone_feedback *out, uint64_t *n_tokens, hone_error *err);

/* A matrix as coded, its rows in the model's order; s takes data over (hone_release()), on failure, too. */
typedef struct hone_coded_matrix {
    hone_dtype dtype;
    size_t nrows, ncols;
    unsigned char *data;
} hone_coded_matrix;

/* hone_sequential_holds() tells whether the model multiplies by, or looks up in, the matrix that its checkpoint calls
 * so. */
bool hone_sequential_holds(const hone_sequential *s, const char *name);

/* hone_sequential_put() puts a coded matrix in the place of the one that the checkpoint calls name, where the pass has
 * not left that behind. ARG: another shape, or dtype has no decoder. */
hone_status hone_sequential_put(hone_sequential *s, const char *name, const hone_coded_matrix *m, hone_error *err);

/* hone_sequential_put_expert() is hone_sequential_put() for one matrix of a stack, decoded (F32); the others stay what
 * they are, in f32. IO, NOMEM. */
hone_status hone_sequential_put_expert(hone_sequential *s, const char *name, size_t expert, const hone_coded_matrix *m,
                                       hone_error *err);

#endif
