/* SPDX-License-Identifier: MIT */
/*
 * What the forward passes of all transformers share: laying out scratch, loops over tokens, attention over all heads.
 *
 * The rounding of the products depends on how the work is cut, so the cuts are constants and the results the same for
 * every thread count.
 */
#ifndef HONE_FORWARD_PASS_H
#define HONE_FORWARD_PASS_H

#include <stdbool.h>
#include <stddef.h>

#include "hone/context.h"

/* Tokens whose MLP activations are held at a time. */
enum { HONE_MLP_TILE = 512 };

/* hone_carve() hands out (nrows, ncols) floats at *used of base; with base NULL it only counts. false when the count
 * overflows. */
bool hone_carve(float *base, size_t *used, size_t nrows, size_t ncols, float **out);

/* hone_thread_nfloats() returns what a thread needs for sequences up to n: a panel of hone_matmul(), or a block of
 * attention scores. false when that overflows. */
bool hone_thread_nfloats(size_t n, size_t *nfloats);

/* Work on the rows of one token; pass is the family's, arg differs from loop to loop. */
typedef void (*hone_row_fn)(const void *pass, const void *arg, size_t row);

/* hone_for_rows() calls fn for rows 0 .. n - 1, in any order. width: elements that fn works on in a row. */
void hone_for_rows(const hone_context *ctx, size_t n, size_t width, hone_row_fn fn, const void *pass, const void *arg);

/* hone_add_rows() adds y to x, both (n, width). */
void hone_add_rows(const hone_context *ctx, float *x, const float *y, size_t n, size_t width);

/*
 * hone_attend_all() computes causal attention of n tokens over n_heads heads of head_dim elements; n_heads / n_kv_heads
 * neighbouring heads share keys and values. Rows are strides apart; heads of a row are neighbours. scratch holds
 * thread_nfloats for each thread of ctx, by hone_thread_nfloats().
 */
typedef struct hone_heads {
    const float *q, *k, *v;
    float *out;
    size_t n, n_heads, n_kv_heads, head_dim;
    size_t query_stride, key_stride, out_stride; /* key_stride: of values too */
    size_t window;                               /* see hone_attention */
    double scale;
    float *scratch;
    size_t thread_nfloats;
} hone_heads;

void hone_attend_all(const hone_context *ctx, const hone_heads *heads);

#endif
