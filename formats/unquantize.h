/* SPDX-License-Identifier: MIT */
/*
 * Quantized Hugging Face checkpoints read as if they were not.
 *
 * GPTQ, AWQ, compressed-tensors, MLX and others store the weight of a linear layer P as several tensors: codes, scales,
 * zeros, an order of columns. hone_checkpoint_unquantize() puts one f32 tensor P.weight [out, in] in their place; its
 * rows are computed, exactly as the format defines them, when they are read. Layers the tool left alone stay as they
 * are.
 *
 * To add a format: one file with a `const hone_unquantize_method`, one line in unquantize.c.
 */
#ifndef HONE_UNQUANTIZE_H
#define HONE_UNQUANTIZE_H

#include "base/arena.h"
#include "formats/sources.h"

/*
 * hone_checkpoint_unquantize() replaces the parts of quantized weights in the tables, which it leaves sealed. Call it
 * on sealed tables once config.json is loaded; without a quantization config it does nothing. Reads headers, and of the
 * data only what a shape depends on (some bytes per weight).
 * UNSUPPORTED: a method, layout or bit width not handled; err names it. DATA: parts missing or contradicting each other
 * or the config. LIMIT, IO, NOMEM.
 */
hone_status hone_checkpoint_unquantize(hone_checkpoint *ckpt, hone_error *err);

/*
 * The view behind an unquantized weight. unpack() writes rows [row, row + nrows) to dst as f32; it is never asked for
 * more than max_rows at a time, so that its scratch stays within a megabyte or a row. It allocates that scratch itself:
 * many threads may read at once. Embedded as the first member of what the format needs; lives in the arena.
 */
typedef struct hone_unquantizer {
    hone_view view;
    size_t n_rows, n_cols;
    size_t max_rows;
    hone_status (*unpack)(const hone_checkpoint *ckpt, const struct hone_unquantizer *self, size_t row, size_t nrows,
                          float *dst, hone_error *err);
} hone_unquantizer;

/* The state of hone_checkpoint_unquantize(). */
typedef struct hone_unquantize_pass {
    hone_checkpoint *ckpt;
    const json_t *config;    /* an object */
    const char *config_path; /* for errors, and the root's member that config is, or NULL */
    const char *config_key;
    const void *settings; /* what prepare() made of the config; in the arena */
    bool *dropped;        /* per tensor: part of a weight */
    hone_tensor *made;    /* per tensor: takes its place if it has a name */
    size_t n_made;
} hone_unquantize_pass;

typedef struct hone_unquantize_method {
    /* Reads the config. May be NULL. */
    hone_status (*prepare)(hone_unquantize_pass *pass, hone_error *err);
    /* If t holds the codes of a weight: takes its parts and calls hone_unquantize_put(). */
    hone_status (*take)(hone_unquantize_pass *pass, const hone_tensor *t, hone_error *err);
} hone_unquantize_method;

extern const hone_unquantize_method hone_unquantize_gptq;
extern const hone_unquantize_method hone_unquantize_awq;
extern const hone_unquantize_method hone_unquantize_compressed;
extern const hone_unquantize_method hone_unquantize_fp8;
extern const hone_unquantize_method hone_unquantize_modelopt;
extern const hone_unquantize_method hone_unquantize_mlx;
extern const hone_unquantize_method hone_unquantize_bnb;

/* --- configuration ------------------------------------------------------------------------------------------- */

/* hone_quant_config_fail() reports a fault of the config; key is the item named. */
hone_status hone_quant_config_fail(const hone_unquantize_pass *pass, hone_error *err, hone_status status,
                                   const char *key, const char *fmt, ...) HONE_PRINTF(5, 6);

/* hone_quant_config_int() reads an integer in [min, max]; absent or null leaves *out as it is. DATA otherwise. */
hone_status hone_quant_config_int(const hone_unquantize_pass *pass, const json_t *object, const char *key, int64_t min,
                                  int64_t max, int64_t *out, hone_error *err);

/* --- parts: what recognises them --------------------------------------------------------------------------------- */

/* Sets of dtypes, one bit each. */
#define HONE_DTYPE_BIT(dtype) ((uint64_t)1 << (unsigned)(dtype))
#define HONE_DTYPES_WORD (HONE_DTYPE_BIT(HONE_I32) | HONE_DTYPE_BIT(HONE_U32))
#define HONE_DTYPES_FLOAT (HONE_DTYPE_BIT(HONE_F32) | HONE_DTYPE_BIT(HONE_F16) | HONE_DTYPE_BIT(HONE_BF16))
#define HONE_DTYPES_F8 (HONE_DTYPE_BIT(HONE_F8_E4M3) | HONE_DTYPE_BIT(HONE_F8_E5M2))

/* hone_part_stem() tells whether name is suffix or ends in "." suffix; *stem_len is the length of what is before
 * suffix, dot included. */
bool hone_part_stem(const char *name, const char *suffix, size_t *stem_len);

/* hone_part_find() finds the tensor named by the first stem_len bytes of stem followed by suffix, or NULL. */
const hone_tensor *hone_part_find(const hone_unquantize_pass *pass, const char *stem, size_t stem_len,
                                  const char *suffix);

/* hone_part_take() is hone_part_find() by the stem of t; it copies the part to *out and drops it from the table. DATA:
 * there is none. */
hone_status hone_part_take(hone_unquantize_pass *pass, const hone_tensor *t, size_t stem_len, const char *suffix,
                           hone_tensor *out, hone_error *err);

/* hone_part_take_optional() is hone_part_take() that leaves *out without a name when there is no such tensor. */
void hone_part_take_optional(hone_unquantize_pass *pass, const hone_tensor *t, size_t stem_len, const char *suffix,
                             hone_tensor *out);

/* hone_part_fail() reports a fault of a tensor, its name, file and position. */
hone_status hone_part_fail(const hone_checkpoint *ckpt, const hone_tensor *part, hone_error *err, hone_status status,
                           const char *fmt, ...) HONE_PRINTF(5, 6);

/*
 * hone_part_matrix() sets the rows and columns of a tensor of one of dtypes: [n] is n x 1 and a scalar 1 x 1. DATA:
 * another dtype, more axes, empty. LIMIT: more rows or columns than fit 40 bits.
 */
hone_status hone_part_matrix(const hone_checkpoint *ckpt, const hone_tensor *part, uint64_t dtypes, uint64_t *rows,
                             uint64_t *cols, hone_error *err);

/* hone_part_expect() is hone_part_matrix() that asks for a shape. */
hone_status hone_part_expect(const hone_checkpoint *ckpt, const hone_tensor *part, uint64_t dtypes, uint64_t rows,
                             uint64_t cols, hone_error *err);

/*
 * hone_unquantize_put() lets the weight [out, in] with view u take the place of the tensor t, under the name of t's
 * stem followed by "weight". u->unpack is set; u->max_rows too if the default, the rows of 64 Ki elements, is not
 * wanted. Also drops what the layer stores about activations. DATA, LIMIT: a shape that is none. NOMEM.
 */
hone_status hone_unquantize_put(hone_unquantize_pass *pass, const hone_tensor *t, size_t stem_len, uint64_t out,
                                uint64_t in, hone_unquantizer *u, hone_error *err);

/* --- parts: reading them ----------------------------------------------------------------------------------------- */

/* hone_part_floats() reads n elements from index first on as f32, as if they were of type dtype. */
hone_status hone_part_floats(const hone_checkpoint *ckpt, const hone_tensor *part, hone_dtype dtype, uint64_t first,
                             size_t n, float *dst, hone_error *err);

/* hone_part_rect() reads nbytes from byte `at` on of each of nrows rows of a matrix whose rows have row_nbytes. */
hone_status hone_part_rect(const hone_checkpoint *ckpt, const hone_tensor *part, uint64_t row_nbytes, uint64_t row,
                           size_t nrows, uint64_t at, size_t nbytes, void *dst, hone_error *err);

/* hone_part_columns() reads columns [first, first + n) of a matrix n_groups x n_cols of floats, transposed:
 * dst[column * n_groups + group]. scratch holds n floats. */
hone_status hone_part_columns(const hone_checkpoint *ckpt, const hone_tensor *part, uint64_t n_cols, size_t n_groups,
                              uint64_t first, size_t n, float *scratch, float *dst, hone_error *err);

/* What an order of columns that names no groups looks like. */
typedef enum hone_order_rule {
    HONE_ORDER_UNSET_IS_ZERO,    /* GPTQ: zero throughout, though there are several groups */
    HONE_ORDER_UNSET_IS_NEGATIVE /* compressed-tensors: -1 anywhere */
} hone_order_rule;

/*
 * hone_part_groups() sets group_of[i], the group of input i, for n inputs: i / group, or what the i32 tensor order (if
 * it has a name) says. DATA: a group that is not in [0, n_groups).
 */
hone_status hone_part_groups(const hone_checkpoint *ckpt, const hone_tensor *order, hone_order_rule rule, size_t n,
                             size_t group, size_t n_groups, uint32_t *group_of, hone_error *err);

/* dst[i] = scale[g] * (codes[i] - zero[g]) with g = group_of[i]; zero holds integers. */
void hone_unquantize_grid(const uint8_t *codes, size_t n, const uint32_t *group_of, const float *scale,
                          const float *zero, float *dst);

/* --- 8 and 4 bit floats, and plain 8-bit integers ---------------------------------------------------------------- */

/* How the scale of a whole tensor joins the scale of a block. */
typedef enum hone_global_scale { HONE_GLOBAL_NONE, HONE_GLOBAL_MULTIPLIES, HONE_GLOBAL_DIVIDES } hone_global_scale;

/*
 * Weights whose elements stand alone, with one scale per block: w = (element - zero) * scale. codes is a matrix of
 * bytes [out, in], or of E2M1 nibbles (low one first) [out, in / 2 bytes].
 */
typedef struct hone_scaled_weight {
    hone_tensor codes, scales;
    hone_tensor global, zeros; /* without a name: none */
    hone_dtype elem;           /* F8_E4M3, F8_E5M2, I8; INVALID: E2M1 */
    hone_dtype scale;          /* how to read the scales: 8-bit floats may be stored as U8 */
    hone_global_scale join;
    uint64_t out, in;
    uint64_t block_rows, block_cols; /* elements that share a scale; 0: all of them */
} hone_scaled_weight;

/* hone_unquantize_scaled() checks that scales (and zeros) have one element per block, and puts the weight. */
hone_status hone_unquantize_scaled(hone_unquantize_pass *pass, const hone_tensor *t, size_t stem_len,
                                   const hone_scaled_weight *w, hone_error *err);

#endif
