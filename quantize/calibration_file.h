/* SPDX-License-Identifier: MIT */
/* The file of a calibration: see hone/calibrate.h for what is in it. */
#ifndef HONE_CALIBRATION_FILE_H
#define HONE_CALIBRATION_FILE_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/journal.h"
#include "base/writer.h"
#include "formats/text_marks.h"
#include "hone/calibrate.h"
#include "quantize/calibration_keys.h"
#include "quantize/input_stats.h"

/* What the file says of where its numbers come from. */
typedef struct hone_calibration_origin {
    const char *const *datasets;
    size_t n_datasets;
    uint64_t n_chunks, n_ctx;
    const hone_text_marks *texts;
    const char *transforms; /* hone_checkpoint_transforms_text() of the model */
} hone_calibration_origin;

/* A file being written: where each input's numbers go. */
typedef struct hone_calibration_output {
    hone_writer writer;
    hone_gguf_header *header;
    hone_gguf_layout layout;
    hone_journal journal; /* a chunk for each input */
    uint64_t *sums;       /* (n_weights) position of a weight's squares, */
    uint64_t *grams;      /* (n_inputs) and of an input's products */
    uint64_t *means;      /* (n_inputs) and its sums */
    uint64_t *counts;
    bool has_grams;
} hone_calibration_output;

/* hone_calibration_output that is nothing, which hone_calibration_output_deinit() accepts. */
#define HONE_NO_CALIBRATION_OUTPUT ((hone_calibration_output){.writer.fd = -1, .journal.fd = -1})

/*
 * hone_calibration_create() lays the file out for the inputs of a set and writes its header, or takes up what an
 * earlier run of the same identity left. ARG: path exists and may not be overwritten; a name is too long for GGUF; a
 * partial file of other work is in the way. IO, NOMEM. On failure *out is empty. Finish with hone_calibration_commit()
 * or hone_calibration_output_deinit().
 */
hone_status hone_calibration_create(const char *path, const hone_input_set *set, const hone_calibration_origin *origin,
                                    uint64_t identity, bool grams, hone_writer_options how,
                                    hone_calibration_output *out, hone_error *err);

/* hone_calibration_commit() gives the file its name. IO. */
hone_status hone_calibration_commit(hone_calibration_output *out, hone_error *err);

/* hone_calibration_output_deinit() ends an output that has no name yet; keep: what is done is left for a later run. */
void hone_calibration_output_deinit(hone_calibration_output *out, bool keep);

/* hone_calibration_put() writes squares and count of one input, and its products if there are. NOMEM, IO. */
hone_status hone_calibration_put(const hone_calibration_output *out, const hone_input_set *set, size_t input,
                                 hone_error *err);

/* hone_calibration_find() tells whether an earlier run wrote an input and it is still there; its n_tokens is set then.
 * NOMEM, IO. */
hone_status hone_calibration_find(const hone_calibration_output *out, const hone_input_set *set, size_t input,
                                  bool *done, hone_error *err);

/* What hone_calibration is. */
struct hone_calibration {
    uint64_t n_tokens, n_chunks;
    hone_calibration_weight *weights;
    size_t n, cap;
    hone_arena names;
};

/* hone_calibration_add() appends a weight; its name is copied. NOMEM. */
hone_status hone_calibration_add(hone_calibration *calibration, hone_calibration_weight weight, hone_error *err);

#endif
