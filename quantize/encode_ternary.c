/* SPDX-License-Identifier: MIT */
/* Encoding types of two, three or four levels: the scale is the mean or the largest magnitude, and nothing is searched.
 */
#include "quantize/table_encoders.h"

#include <math.h>
#include <string.h>

#include "formats/blocks.h"
#include "quantize/rounding.h"

static float largest_magnitude(const float *x, int n)
{
    float largest = 0.0f;
    for (int j = 0; j < n; j++)
        largest = fabsf(x[j]) > largest ? fabsf(x[j]) : largest;
    return largest;
}

static float inverse(float d)
{
    return d != 0.0f ? 1.0f / d : 0.0f;
}

void hone_encode_q1_0(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    uint8_t *out = dst;
    for (size_t i = 0; i < ncols; i += HONE_QK1, out += sizeof(hone_block_q1_0)) {
        const float *x = src + i;
        float sum = 0.0f;
        for (int j = 0; j < HONE_QK1; j++)
            sum += fabsf(x[j]);
        hone_block_q1_0 b = {.d = hone_store_scale(sum / (float)HONE_QK1)};
        for (int j = 0; j < HONE_QK1; j++)
            b.qs[j / 8] = (uint8_t)(b.qs[j / 8] | (x[j] >= 0.0f) << j % 8);
        memcpy(out, &b, sizeof b);
    }
}

void hone_encode_q2_0(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    uint8_t *out = dst;
    for (size_t i = 0; i < ncols; i += HONE_QK2, out += sizeof(hone_block_q2_0)) {
        const float *x = src + i;
        const float d = largest_magnitude(x, HONE_QK2);
        const float id = inverse(d);
        hone_block_q2_0 b = {.d = hone_store_scale(d)};
        for (int j = 0; j < HONE_QK2; j++) {
            /* Where the inverse overflows, ggml's products do, and code as 0. */
            const int code = isinf(id) ? 0 : hone_clamp_int(hone_nearest_away(x[j] * id) + 1, 0, 3);
            b.qs[j / 4] = (uint8_t)(b.qs[j / 4] | code << j % 4 * 2);
        }
        memcpy(out, &b, sizeof b);
    }
}

/* 0, 1 or 2 */
static int trit(float x, float id)
{
    return hone_nearest_away(x * id) + 1;
}

/*
 * n bytes of n_digits each; digit k of byte j is element k * n + j. The number, five digits long, becomes a fraction of
 * 243 rounded up, so that cutting it off again leaves the digits whole. Returns behind the last element.
 */
static const float *encode_trits(const float *x, int n, int n_digits, float id, uint8_t *bytes)
{
    for (int j = 0; j < n; j++) {
        int number = 0;
        for (int k = 0; k < 5; k++)
            number = 3 * number + (k < n_digits ? trit(x[k * n + j], id) : 0);
        bytes[j] = (uint8_t)((number * 256 + 242) / 243);
    }
    return x + n * n_digits;
}

void hone_encode_tq1_0(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    uint8_t *out = dst;
    for (size_t i = 0; i < ncols; i += HONE_QK_K, out += sizeof(hone_block_tq1_0)) {
        const float *x = src + i;
        const float d = largest_magnitude(x, HONE_QK_K);
        const float id = inverse(d);
        hone_block_tq1_0 b = {.d = hone_store_scale(d)};
        x = encode_trits(x, 32, 5, id, b.qs);
        x = encode_trits(x, 16, 5, id, b.qs + 32);
        (void)encode_trits(x, 4, 4, id, b.qh);
        memcpy(out, &b, sizeof b);
    }
}

void hone_encode_tq2_0(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    uint8_t *out = dst;
    for (size_t i = 0; i < ncols; i += HONE_QK_K, out += sizeof(hone_block_tq2_0)) {
        const float *x = src + i;
        const float d = largest_magnitude(x, HONE_QK_K);
        const float id = inverse(d);
        hone_block_tq2_0 b = {.d = hone_store_scale(d)};
        for (int chunk = 0; chunk < 8; chunk++)
            for (int l = 0; l < 32; l++) {
                uint8_t *q = &b.qs[chunk / 4 * 32 + l];
                *q = (uint8_t)(*q | (trit(x[32 * chunk + l], id) & 3) << chunk % 4 * 2);
            }
        memcpy(out, &b, sizeof b);
    }
}
