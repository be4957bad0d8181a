/* SPDX-License-Identifier: MIT */
/* Laying out the parts of a super-block of 256, whoever found them. See formats/blocks.h. */
#ifndef HONE_PACK_K_H
#define HONE_PACK_K_H

#include <stdint.h>

enum { HONE_SUB_BLOCKS_MAX = 16 };

/* The parts. Sub-blocks are of 32 elements in q4_k, q5_k and iq4_xs, else of 16. */
typedef struct hone_super_block {
    uint16_t d, dmin; /* f16; dmin with minimums only */
    /* q3_k, iq4_xs: scales are the signed ones plus 32; q6_k: the bits of an int8. These have no minimums. */
    uint8_t scales[HONE_SUB_BLOCKS_MAX], mins[HONE_SUB_BLOCKS_MAX];
    uint8_t *codes; /* HONE_QK_K, from 0; q3_k: plus 4, q6_k: plus 32 */
} hone_super_block;

/* dst gets the bytes of the type's block. */
void hone_pack_q2_k(const hone_super_block *s, uint8_t *dst);
void hone_pack_q3_k(const hone_super_block *s, uint8_t *dst);
void hone_pack_q4_k(const hone_super_block *s, uint8_t *dst);
void hone_pack_q5_k(const hone_super_block *s, uint8_t *dst);
void hone_pack_q6_k(const hone_super_block *s, uint8_t *dst);
void hone_pack_iq4_xs(const hone_super_block *s, uint8_t *dst);

#endif
