/* SPDX-License-Identifier: MIT */
/*
 * What the best search does to many groups at once.
 *
 * A group is a run of neighbouring weights with a scale of its own (a block of 32, or a sub-block of 16 or 32). Sixteen
 * groups make a tile, transposed, so that a group is a lane of whatever width the CPU has. A lane computes what a lone
 * float would: every width gives the same bits.
 */
#ifndef HONE_BEST_KERNELS_H
#define HONE_BEST_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "quantize/code_tables.h"
#include "quantize/encode.h"

enum { HONE_TILE = 16, HONE_TILE_SIZE_MAX = 32 };

/* Element j of group g is x[HONE_TILE * j + g], its weight w[HONE_TILE * j + g] > 0. */
typedef struct hone_tile {
    size_t size; /* elements of a group: 16 or 32 */
    float x[HONE_TILE * HONE_TILE_SIZE_MAX], w[HONE_TILE * HONE_TILE_SIZE_MAX];
} hone_tile;

/* One float for each group of a tile. */
typedef struct hone_tile_floats {
    float of[HONE_TILE];
} hone_tile_floats;

/* Where to look for x ~ scale * l + min, l in [0, nmax]: both ends of the range, pulled in by each of some lengths. */
typedef struct hone_affine_grid {
    int nmax;
    int n_pulls;
    const float *pulls; /* in units of the plain scale, range / nmax */
    int n_rounds;       /* of coding and fitting, for each pair of ends */
    int n_polish;       /* further rounds for the best pair */
    bool positive;      /* min may be positive */
} hone_affine_grid;

/* Codes of a tile under given scales: sums of w, w x, w l, w l^2, w x l. */
typedef struct hone_tile_sums {
    hone_tile_floats w, x, l, ll, xl;
} hone_tile_sums;

/* The whole numbers that a step may choose: the n_trials nearest to the target, within [lo, hi]; minimums in [0, hi].
 * n_trials is at most HONE_STEP_TRIALS_MAX. */
typedef struct hone_step_range {
    int nmax; /* of the codes, where there are minimums */
    int lo, hi;
    int n_trials;
} hone_step_range;

enum { HONE_STEP_TRIALS_MAX = 21 };

/* Scales and minimums as small whole numbers (times a d and dmin per group), and the squared error they leave. */
typedef struct hone_affine_steps {
    hone_tile_floats scale, min, error;
} hone_affine_steps;

typedef struct hone_code_set {
    hone_code_kind kind;
    int nmax; /* whole numbers are in [-nmax, nmax - 1] */
} hone_code_set;

/* Where to look for x ~ scale * l. */
typedef struct hone_symmetric_grid {
    hone_code_set codes;
    int n_ratios;        /* trial scales: the extreme element over each of these, and over its negative */
    const float *ratios; /* in units of codes */
    int n_rounds;        /* of fitting and coding for the best of them */
} hone_symmetric_grid;

typedef struct hone_symmetric_steps {
    hone_tile_floats scale, error;
} hone_symmetric_steps;

/* Halves of powers of two, and of unsigned E4M3 numbers: see formats/value_tables.h. */
typedef enum hone_scale_kind { HONE_SCALES_E8M0, HONE_SCALES_UE4M3 } hone_scale_kind;

/* How far around a scale's code to look, and the highest code. */
typedef struct hone_scale_range {
    hone_scale_kind kind;
    int below, above, most;
} hone_scale_range;

/* How the groups of a tile are packed: whole numbers from lo on, or a table's codes. */
typedef struct hone_packing {
    hone_code_kind kind;
    int lo, hi;
} hone_packing;

/*
 * The groups of a tile, packed. Byte i of word k has the code of element 4 k + i in its low half, that of the element
 * half a group behind it in its high half; fifths has bit j for element j, if codes have five bits.
 */
typedef struct hone_tile_blocks {
    hone_tile_floats scale, min; /* as decoded, in the tile's units */
    uint32_t nibbles[HONE_TILE_SIZE_MAX / 8][HONE_TILE], fifths[HONE_TILE];
    hone_tile_floats error;
} hone_tile_blocks;

/*
 * Neighbouring weights with one scale, any number of them. Element i stands for x[i] * x_factor - shift, its weight for
 * (w[i] + w_plus) * w_factor, or 1 where w is NULL.
 */
typedef struct hone_run {
    const float *x, *w;
    size_t n;
    float x_factor, shift, w_factor, w_plus;
} hone_run;

/* Sums of w, w x, w l, w l^2, w x l. */
typedef struct hone_run_sums {
    float w, x, l, ll, xl;
} hone_run_sums;

typedef struct hone_best_kernels {
    hone_cpu_level level;
    /* The largest |x| of n floats, n a multiple of 16. */
    float (*largest)(const float *x, size_t n);
    /* n_groups groups into a tile: x * x_factor, (w + w_plus) * w_factor; w may be NULL: 1. Missing groups are like the
     * first. */
    void (*load)(const float *x, const float *w, size_t n_groups, size_t size, const float *x_factor,
                 const float *w_factor, const float *w_plus, hone_tile *t);
    /* Like load, but each group gets a factor of its own, and weights what w has for the tile, as it is. */
    void (*load_groups)(const float *x, const float *w, size_t n_groups, size_t size, hone_tile *t,
                        hone_tile_floats *factor, float *weights);
    void (*affine_fit)(const hone_affine_grid *grid, const hone_tile *t, hone_tile_floats *scale,
                       hone_tile_floats *min);
    /* The whole numbers whose multiples of d and dmin are near the targets and leave the least error. min is what is
     * subtracted. */
    void (*affine_step)(const hone_step_range *range, const hone_tile *t, const hone_tile_floats *d,
                        const hone_tile_floats *dmin, const hone_tile_floats *scale, const hone_tile_floats *min,
                        hone_affine_steps *out);
    void (*affine_sums)(int nmax, const hone_tile *t, const hone_tile_floats *scale, const hone_tile_floats *min,
                        hone_tile_sums *out);
    void (*symmetric_fit)(const hone_symmetric_grid *grid, const hone_tile *t, hone_tile_floats *scale);
    /* Like symmetric_fit for whole numbers of 4 or 5 bits and equal weights, in 16-bit arithmetic. */
    void (*equal_fit)(const hone_symmetric_grid *grid, const hone_tile *t, hone_tile_floats *scale);
    void (*symmetric_step)(hone_code_set codes, const hone_step_range *range, const hone_tile *t,
                           const hone_tile_floats *d, const hone_tile_floats *scale, hone_symmetric_steps *out);
    void (*symmetric_sums)(hone_code_set codes, const hone_tile *t, const hone_tile_floats *scale, hone_tile_sums *out);
    /* Weights of 1 / (1 + softening x^2 / mean x^2) of the group. */
    void (*soften)(hone_tile *t, float softening);
    /* Eight-bit scales as decoded, times the factor. */
    void (*small_scales)(hone_scale_kind kind, const uint32_t codes[HONE_TILE], const hone_tile_floats *factor,
                         hone_tile_floats *scale);
    /* From some codes of scales to those in range that leave the least squared error with E2M1 values, doubled; the
     * lowest of equals. */
    void (*e2m1_search)(const hone_scale_range *range, const hone_tile *t, const hone_tile_floats *factor,
                        uint32_t codes[HONE_TILE], hone_tile_floats *scale);
    /* Scales in units of the factor as f16, at most the largest finite one, and what that is in these units; back. */
    void (*to_halves)(const hone_tile_floats *scale, const hone_tile_floats *factor, uint16_t halves[HONE_TILE],
                      hone_tile_floats *rounded);
    void (*from_halves)(const uint16_t halves[HONE_TILE], const hone_tile_floats *factor, hone_tile_floats *scale);
    /* The nearest codes under a scale and min, and their squared error, weighted by w (as load_groups gives it) or, if
     * that is NULL, equally; the error of given codes. */
    void (*pack)(const hone_packing *p, const hone_tile *t, const float *w, hone_tile_blocks *b);
    void (*packed_error)(const hone_packing *p, const hone_tile *t, const float *w, hone_tile_blocks *b);
    /* Bytes of groups as they lie in memory: the code nearest to (x - min) / scale in [lo, hi], less lo. min may be
     * NULL: 0. Where scale is 0, the code is 0 (or lo if that is higher), less lo. */
    void (*codes)(int lo, int hi, const float *x, size_t n_groups, size_t size, const float *scale, const float *min,
                  uint8_t *codes);
    /* The same for tables; the codes are those of the file formats. Plus zero is chosen, never minus zero. */
    void (*table_codes)(hone_code_kind kind, const float *x, size_t n_groups, size_t size, const float *scale,
                        uint8_t *codes);
    /* The sum of w ((x - y) * factor)^2 over n elements (a multiple of 16), in 16 partial sums. w may be NULL: 1. */
    float (*error)(const float *x, const float *y, const float *w, size_t n, float factor);
    /* Over the codes l nearest to (x - base) * inverse in [lo, hi], in 16 partial sums. */
    void (*run_sums)(const hone_run *run, float base, float inverse, int lo, int hi, hone_run_sums *out);
} hone_best_kernels;

/* hone_best_kernels_for() returns the kernels of a level. */
const hone_best_kernels *hone_best_kernels_for(hone_cpu_level cpu);

extern const hone_best_kernels hone_best_ref;
extern const hone_encode_fn hone_best_encoders_ref[HONE_N_DTYPES];
#if defined(__x86_64__)
extern const hone_best_kernels hone_best_avx2, hone_best_avx512;
extern const hone_encode_fn hone_best_encoders_avx2[HONE_N_DTYPES], hone_best_encoders_avx512[HONE_N_DTYPES];
#elif defined(__aarch64__)
extern const hone_best_kernels hone_best_neon;
extern const hone_encode_fn hone_best_encoders_neon[HONE_N_DTYPES];
#endif

#endif
