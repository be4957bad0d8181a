/* SPDX-License-Identifier: MIT */
/*
 * A block taken apart: the values its codes could stand for, given the scales it has, and other codes put in.
 *
 * Error feedback lets a search choose a block's scales, and then chooses the codes itself.
 */
#ifndef HONE_BLOCK_GRID_H
#define HONE_BLOCK_GRID_H

#include "formats/blocks.h"
#include "quantize/feedback_kernels.h"
#include "hone/tensor.h"

typedef struct hone_block_grid {
    hone_code_range range;
    size_t run; /* columns that share a scale; at most HONE_FEEDBACK_RUN */
    /* scale and base (block / run) of a block's runs. */
    void (*open)(const uint8_t *block, float *scale, float *base);
    /* Replaces the codes of a block; codes (block elements) count from range.lo. */
    void (*recode)(const uint8_t *codes, uint8_t *block);
} hone_block_grid;

/* hone_block_grid_for() returns how a type is taken apart, or NULL when it is not. */
const hone_block_grid *hone_block_grid_for(hone_dtype dtype);

#endif
