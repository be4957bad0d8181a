/* SPDX-License-Identifier: MIT */
/*
 * A text going through a model layer by layer: all its chunks through one layer, then all through the next.
 *
 * The residual streams are kept between layers, in memory or spilled, so that the weights of one stage are needed at a
 * time (hone_model_hold()), and a stage can be gone through again while its weights change. What the chunks give is the
 * same as when each goes through the whole model, bit by bit.
 */
#ifndef HONE_LAYER_PASS_H
#define HONE_LAYER_PASS_H

#include "base/spill.h"
#include "hone/calibrate.h"
#include "quantize/input_stats.h"
#include "verify/chunks.h"

typedef struct hone_layer_pass {
    const hone_context *ctx;
    hone_model *model;
    hone_weight *described; /* every matrix of it as it was opened */
    hone_chunks chunks;
    hone_run run;
    hone_input_set set; /* every input, each with its stage */
    hone_observer observer;
    hone_spill streams;       /* a record for each chunk */
    size_t stage;             /* of the model (hone_model_matrix()): what the streams go into next; 0: there are none */
    const char *phase;        /* progress is told under this name, ... */
    uint64_t n_done, n_to_do; /* ... in chunks through a stage */
} hone_layer_pass;

/* Which inputs besides those of the layers. */
typedef enum hone_layer_ends { HONE_ENDS_NONE = 0, HONE_ENDS_OUTPUT, HONE_ENDS_OUTPUT_AND_EMBEDDING } hone_layer_ends;

/*
 * hone_layer_pass_open() tokenizes the text and finds what inputs the model has: those of its layers in the order of a
 * pass, then, if asked for, that of the output matrix, and that of an embedding which is not the same. Reads no matrix.
 * ckpt must outlive *out. Fails as hone_model_load(), hone_perplexity(). On failure *out is empty, which
 * hone_layer_pass_close() accepts. *out must not move.
 */
hone_status hone_layer_pass_open(const hone_context *ctx, const hone_checkpoint *ckpt,
                                 const hone_calibration_text *text, hone_layer_ends ends, hone_layer_pass *out,
                                 hone_error *err);
void hone_layer_pass_close(hone_layer_pass *pass);

/* hone_layer_pass_begin() makes room for the streams, in memory up to max_nbytes, else beside a path, and forgets those
 * there were. IO, NOMEM. */
hone_status hone_layer_pass_begin(hone_layer_pass *pass, uint64_t max_nbytes, const char *beside, hone_error *err);

/*
 * hone_layer_pass_see() takes all chunks through the stage that is next, and what is being collected takes in what its
 * weights are given. keep: go on to the stage after it. The weights of the stage are held afterwards, or, having been
 * left behind, not. IO, NOMEM.
 */
hone_status hone_layer_pass_see(hone_layer_pass *pass, bool keep, hone_error *err);

/* hone_layer_pass_hold() reads the weights of the stage that is next. IO, NOMEM. */
hone_status hone_layer_pass_hold(hone_layer_pass *pass, hone_error *err);

/* hone_layer_pass_step() takes one chunk through the stage that is next, whose weights are held, and leaves its stream
 * as it was. IO. */
hone_status hone_layer_pass_step(hone_layer_pass *pass, size_t chunk, hone_error *err);

/* hone_layer_pass_see_embedding() adds up what stands for the inputs of the embedding; see calibrate.h. The first
 * layer's weights are held afterwards. IO, NOMEM. */
hone_status hone_layer_pass_see_embedding(hone_layer_pass *pass, hone_error *err);

/* What a pass takes of memory: hone_layer_pass_stage_nbytes() for the matrices of the largest stage,
 * hone_layer_pass_run_nbytes() to work in, hone_layer_pass_streams_nbytes() for the streams, spilled or not. */
uint64_t hone_layer_pass_stage_nbytes(const hone_layer_pass *pass);
uint64_t hone_layer_pass_run_nbytes(const hone_layer_pass *pass);
uint64_t hone_layer_pass_streams_nbytes(const hone_layer_pass *pass);

#endif
