/* SPDX-License-Identifier: MIT */
/* The file of a calibration: see hone/calibrate.h for what is in it. */
#ifndef HONE_CALIBRATION_FILE_H
#define HONE_CALIBRATION_FILE_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/writer.h"
#include "hone/calibrate.h"
#include "quantize/calibration_keys.h"
#include "quantize/input_stats.h"

/* What the file says of where its numbers come from. */
typedef struct hone_calibration_origin {
    const char *const *datasets;
    size_t n_datasets;
    uint64_t n_chunks, n_ctx;
} hone_calibration_origin;

/* A file being written: where each input's numbers go. */
typedef struct hone_calibration_output {
    hone_writer writer;
    uint64_t *sums;  /* (n_weights) position of a weight's squares, */
    uint64_t *grams; /* (n_inputs) and of an input's products */
    uint64_t *means; /* (n_inputs) and sums */
    uint64_t *counts;
} hone_calibration_output;

/*
 * hone_calibration_create() lays the file out for the inputs of a set and writes its header. ARG: path exists and may
 * not be overwritten; a name is too long for GGUF. IO, NOMEM. On failure *out is empty. Finish with
 * hone_writer_commit() or hone_writer_abort() of its writer, and hone_calibration_output_deinit().
 */
hone_status hone_calibration_create(const char *path, const hone_input_set *set, const hone_calibration_origin *origin,
                                    bool grams, bool overwrite, hone_calibration_output *out, hone_error *err);
void hone_calibration_output_deinit(hone_calibration_output *out);

/* hone_calibration_put_sums() writes squares and counts of every input, hone_calibration_put_gram() the products and
 * sums of one. NOMEM, IO. */
hone_status hone_calibration_put_sums(const hone_calibration_output *out, const hone_input_set *set, hone_error *err);
hone_status hone_calibration_put_gram(const hone_calibration_output *out, const hone_input_set *set, size_t input,
                                      hone_error *err);

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
