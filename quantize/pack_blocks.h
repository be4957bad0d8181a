/* SPDX-License-Identifier: MIT */
/* Laying out the parts of a block of 32: scale d, base m (not used by the symmetric types), codes from 0. */
#ifndef HONE_PACK_BLOCKS_H
#define HONE_PACK_BLOCKS_H

#include "formats/blocks.h"

void hone_pack_q4_0(float d, float m, const uint8_t codes[HONE_QK], uint8_t *dst);
void hone_pack_q4_1(float d, float m, const uint8_t codes[HONE_QK], uint8_t *dst);
void hone_pack_q5_0(float d, float m, const uint8_t codes[HONE_QK], uint8_t *dst);
void hone_pack_q5_1(float d, float m, const uint8_t codes[HONE_QK], uint8_t *dst);

#endif
