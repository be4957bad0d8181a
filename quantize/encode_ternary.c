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

/* Codes 0, 1 and 2 for -d, 0 and d. Returns d. */
static float code_trits(const float *x, uint8_t codes[HONE_QK_K])
{
    const float d = largest_magnitude(x, HONE_QK_K), id = inverse(d);
    for (int j = 0; j < HONE_QK_K; j++)
        codes[j] = (uint8_t)(hone_nearest_away(x[j] * id) + 1);
    return d;
}

/*
 * n bytes of n_digits each; digit k of byte j is element k * n + j. The number, five digits long, becomes a fraction of
 * 243 rounded up, so that cutting it off again leaves the digits whole. Returns behind the last element.
 */
static const uint8_t *pack_trits(const uint8_t *codes, int n, int n_digits, uint8_t *bytes)
{
    for (int j = 0; j < n; j++) {
        int number = 0;
        for (int k = 0; k < 5; k++)
            number = 3 * number + (k < n_digits ? codes[k * n + j] : 0);
        bytes[j] = (uint8_t)((number * 256 + 242) / 243);
    }
    return codes + n * n_digits;
}

void hone_pack_tq1_0(float d, const uint8_t *codes, uint8_t *dst)
{
    hone_block_tq1_0 b = {.d = hone_store_scale(d)};
    codes = pack_trits(codes, 32, 5, b.qs);
    codes = pack_trits(codes, 16, 5, b.qs + 32);
    (void)pack_trits(codes, 4, 4, b.qh);
    memcpy(dst, &b, sizeof b);
}

void hone_pack_tq2_0(float d, const uint8_t *codes, uint8_t *dst)
{
    hone_block_tq2_0 b = {.d = hone_store_scale(d)};
    for (int chunk = 0; chunk < 8; chunk++)
        for (int l = 0; l < 32; l++) {
            uint8_t *q = &b.qs[chunk / 4 * 32 + l];
            *q = (uint8_t)(*q | (codes[32 * chunk + l] & 3) << chunk % 4 * 2);
        }
    memcpy(dst, &b, sizeof b);
}

void hone_encode_tq1_0(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    uint8_t *out = dst, codes[HONE_QK_K];
    for (size_t i = 0; i < ncols; i += HONE_QK_K, out += sizeof(hone_block_tq1_0)) {
        const float d = code_trits(src + i, codes);
        hone_pack_tq1_0(d, codes, out);
    }
}

void hone_encode_tq2_0(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    uint8_t *out = dst, codes[HONE_QK_K];
    for (size_t i = 0; i < ncols; i += HONE_QK_K, out += sizeof(hone_block_tq2_0)) {
        const float d = code_trits(src + i, codes);
        hone_pack_tq2_0(d, codes, out);
    }
}
