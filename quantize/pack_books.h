/* SPDX-License-Identifier: MIT */
/* Blocks of the types with code books from their parts. */
#ifndef HONE_PACK_BOOKS_H
#define HONE_PACK_BOOKS_H

#include <stdint.h>

#include "formats/blocks.h"

/* The parts of a block: for each 32 or 16 elements a scale; for each vector of the book an index; for each 8 their
 * signs, a bit set for minus. Types with seven bits for signs drop the last. In iq1, instead of signs: 1 for a shift
 * down; in iq1_s, the first of four tells. */
typedef struct hone_book_block {
    uint16_t d; /* f16 */
    uint8_t scales[HONE_QK_K / 16];
    uint16_t index[HONE_QK_K / 4];
    uint8_t signs[HONE_QK_K / 8];
} hone_book_block;

void hone_pack_iq3_s(const hone_book_block *b, uint8_t *dst);
void hone_pack_iq3_xxs(const hone_book_block *b, uint8_t *dst);
void hone_pack_iq2_s(const hone_book_block *b, uint8_t *dst);
void hone_pack_iq2_xs(const hone_book_block *b, uint8_t *dst);
void hone_pack_iq2_xxs(const hone_book_block *b, uint8_t *dst);
void hone_pack_iq1_s(const hone_book_block *b, uint8_t *dst);
void hone_pack_iq1_m(const hone_book_block *b, uint8_t *dst);

#endif
