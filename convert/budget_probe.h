/* SPDX-License-Identifier: MIT */
/*
 * Divergence without running every matrix to the end: in some layers both are measured, what a matrix' error does to
 * the predictions and how far it moves the residual stream behind its layer. Their ratio is taken to be a factor of the
 * layer, which changes little from one to the next, times one of the kind of matrix. In the layers between, the stream
 * alone is measured.
 */
#ifndef HONE_BUDGET_PROBE_H
#define HONE_BUDGET_PROBE_H

#include <stdbool.h>
#include <stddef.h>

enum { HONE_PROBE_REACH = 1 }; /* layers that the stream is watched through, behind the matrix' own */

/* One matrix. kld, shift: see hone_sensitivity_measure(), hone_sensitivity_shift(). */
typedef struct hone_probe {
    const char *kind; /* equal for matrices that do the same in other layers */
    size_t stage;     /* see hone_sensitivity_stage() */
    bool whole;       /* it is run to the end: kld is measured */
    double kld, shift;
} hone_probe;

/* hone_probe_kind() returns the part of a GGUF tensor's name behind "blk.N.", or all of it. */
const char *hone_probe_kind(const char *name);

/* hone_probes_choose() settles which of the matrices of a model of n_layers layers are run to the end: those of some
 * layers, and whatever has no like there. */
void hone_probes_choose(hone_probe *probes, size_t n, size_t n_layers);

/* hone_probes_fill() sets kld of those that are not run to the end: shift times the ratio kld / shift of those that
 * were: the geometric mean of the layers around, in proportion to the distance, and of how the kind differs from its
 * layers. 0 where nothing of the kind moved. */
void hone_probes_fill(hone_probe *probes, size_t n);

#endif
