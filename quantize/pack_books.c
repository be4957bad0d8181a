/* SPDX-License-Identifier: MIT */
#include "quantize/pack_books.h"

#include <string.h>

#include "base/cursor.h"

void hone_pack_iq3_s(const hone_book_block *b, uint8_t *dst)
{
    hone_block_iq3_s out = {.d = b->d};
    for (int i = 0; i < HONE_QK_K / 4; i++) {
        out.qs[i] = (uint8_t)b->index[i];
        out.qh[i / 8] = (uint8_t)(out.qh[i / 8] | b->index[i] >> 8 << i % 8);
    }
    memcpy(out.signs, b->signs, sizeof out.signs);
    for (int i = 0; i < HONE_QK_K / 64; i++)
        out.scales[i] = (uint8_t)(b->scales[2 * i] | b->scales[2 * i + 1] << 4);
    memcpy(dst, &out, sizeof out);
}

/* Four times seven signs, and a scale on top. */
static uint32_t word_of_signs(const uint8_t signs[4], uint8_t scale)
{
    uint32_t word = (uint32_t)scale << 28;
    for (int i = 0; i < 4; i++)
        word |= (uint32_t)(signs[i] & 127) << 7 * i;
    return word;
}

void hone_pack_iq3_xxs(const hone_book_block *b, uint8_t *dst)
{
    hone_block_iq3_xxs out = {.d = b->d};
    for (int i = 0; i < HONE_QK_K / 4; i++)
        out.qs[i] = (uint8_t)b->index[i];
    for (int s = 0; s < HONE_QK_K / 32; s++)
        hone_store_u32(out.gas + 4 * s, word_of_signs(b->signs + 4 * s, b->scales[s]));
    memcpy(dst, &out, sizeof out);
}

void hone_pack_iq2_s(const hone_book_block *b, uint8_t *dst)
{
    hone_block_iq2_s out = {.d = b->d};
    for (int i = 0; i < HONE_QK_K / 8; i++) {
        out.qs[i] = (uint8_t)b->index[i];
        out.qh[i / 4] = (uint8_t)(out.qh[i / 4] | b->index[i] >> 8 << 2 * (i % 4));
    }
    memcpy(out.signs, b->signs, sizeof out.signs);
    for (int i = 0; i < HONE_QK_K / 32; i++)
        out.scales[i] = (uint8_t)(b->scales[2 * i] | b->scales[2 * i + 1] << 4);
    memcpy(dst, &out, sizeof out);
}

void hone_pack_iq2_xs(const hone_book_block *b, uint8_t *dst)
{
    hone_block_iq2_xs out = {.d = b->d};
    for (int i = 0; i < HONE_QK_K / 8; i++)
        out.qs[i] = (uint16_t)(b->index[i] | (b->signs[i] & 127) << 9);
    for (int i = 0; i < HONE_QK_K / 32; i++)
        out.scales[i] = (uint8_t)(b->scales[2 * i] | b->scales[2 * i + 1] << 4);
    memcpy(dst, &out, sizeof out);
}

void hone_pack_iq2_xxs(const hone_book_block *b, uint8_t *dst)
{
    hone_block_iq2_xxs out = {.d = b->d};
    for (int s = 0; s < HONE_QK_K / 32; s++) {
        for (int i = 0; i < 4; i++)
            out.qs[8 * s + i] = (uint8_t)b->index[4 * s + i];
        hone_store_u32(out.qs + 8 * s + 4, word_of_signs(b->signs + 4 * s, b->scales[s]));
    }
    memcpy(dst, &out, sizeof out);
}

void hone_pack_iq1_s(const hone_book_block *b, uint8_t *dst)
{
    hone_block_iq1_s out = {.d = b->d};
    for (int s = 0; s < HONE_QK_K / 32; s++)
        out.qh[s] = (uint16_t)(b->scales[s] << 12 | b->signs[4 * s] << 15);
    for (int i = 0; i < HONE_QK_K / 8; i++) {
        out.qs[i] = (uint8_t)b->index[i];
        out.qh[i / 4] = (uint16_t)(out.qh[i / 4] | b->index[i] >> 8 << 3 * (i % 4));
    }
    memcpy(dst, &out, sizeof out);
}

void hone_pack_iq1_m(const hone_book_block *b, uint8_t *dst)
{
    hone_block_iq1_m out = {.scales = {0}};
    for (int i = 0; i < HONE_QK_K / 8; i++) {
        out.qs[i] = (uint8_t)b->index[i];
        out.qh[i / 2] = (uint8_t)(out.qh[i / 2] | (b->index[i] >> 8 | b->signs[i] << 3) << 4 * (i % 2));
    }
    for (int k = 0; k < 4; k++) {
        unsigned word = (unsigned)(b->d >> 4 * k & 15) << 12;
        for (int i = 0; i < 4; i++)
            word |= (unsigned)b->scales[4 * k + i] << 3 * i;
        hone_store_u16(out.scales + 2 * k, (uint16_t)word);
    }
    memcpy(dst, &out, sizeof out);
}
