/* SPDX-License-Identifier: MIT */
/*
 * Group-affine grids: a row is cut into groups of neighbouring columns, each of which has a scale and a zero of its
 * own.
 *
 *   w = scale * (q - zero)     q and zero whole numbers of so many bits      compressed-tensors, GPTQ, AWQ
 *   w = scale * q + zero       zero a real number                            MLX
 *
 * The rules differ in what range a group spans and in what is rounded when. Each is that of the tool whose files are
 * written, in f32, with the scale as it will be stored; the portable C here is the definition.
 * Sources: vllm-project/compressed-tensors 0.20, quantization/utils/helpers.py (calculate_qparams) and
 * quantization/lifecycle/forward_helpers.py; ModelCloud/GPTQModel, quantization/quantizer.py; casper-hansen/AutoAWQ,
 * awq/quantize/quantizer.py (pseudo_quantize_tensor); ml-explore/mlx, backend/cpu/quantized.cpp.
 */
#ifndef HONE_GROUP_GRID_H
#define HONE_GROUP_GRID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hone/quantize.h"
#include "quantize/best_kernels.h"

typedef enum hone_grid_rule {
    HONE_GRID_COMPRESSED, /* compressed-tensors: symmetric or not */
    HONE_GRID_GPTQ,       /* symmetric or not */
    HONE_GRID_AWQ,        /* asymmetric; the range need not hold 0 */
    HONE_GRID_MLX         /* asymmetric, real zeros; the edge of larger magnitude is exact */
} hone_grid_rule;

typedef struct hone_grid {
    hone_grid_rule rule;
    unsigned bits; /* 2 to 8 */
    bool symmetric;
    hone_dtype stored; /* of scales, and of MLX's zeros: F16, BF16, F32 */
    /* What to look for less squared error with than the rule's own choice leaves; NULL: that choice. Never more. */
    const hone_best_kernels *search;
} hone_grid;

/*
 * hone_grid_encode() encodes one group of n finite values: codes (one byte each, from 0 on), the scale and the zero as
 * they are stored. importance (n) weights squared errors under search; NULL: equally.
 */
void hone_grid_encode(const hone_grid *grid, const float *x, size_t n, const float *importance, uint8_t *codes,
                      float *scale, float *zero);

/* hone_grid_decode() is what the codes stand for. */
void hone_grid_decode(const hone_grid *grid, const uint8_t *codes, size_t n, float scale, float zero, float *dst);

/* hone_grid_base() is what code 0 stands for, the others being so many scales above it. */
float hone_grid_base(const hone_grid *grid, float scale, float zero);

#endif
