/* SPDX-License-Identifier: MIT */
#include "quantize/gptq_books.h"

#include <math.h>
#include <string.h>

#include "base/half.h"

enum { ROWS = HONE_FEEDBACK_ROWS, BLOCK = HONE_QK_K, UNIT = 8, RUN = 16 };

/* Codes for a unit with levels of a kind, and what they stand for. Returns the error that is left. */
static float try_levels(const hone_book_walk *walk, size_t kind, float scale, const float *x, const float *w,
                        hone_book_codes *codes, float *values)
{
    const hone_book_index *index = hone_book_index_of(walk->type->book);
    const hone_book_levels *levels = &walk->type->levels[kind];
    const float inverse = 1.0f / scale;
    hone_book_group g;
    memcpy(g.x, x, UNIT * sizeof *x);
    memcpy(g.w, w, UNIT * sizeof *w);
    memcpy(g.rival, w, UNIT * sizeof *w);
    hone_book_group_init(index, levels, UNIT, &g);
    walk->kernels->code(&g, 1, &inverse, &scale, codes);
    float error = 0.0f;
    for (unsigned i = 0; i < UNIT; i++) {
        const unsigned entry = index->entries[codes->index[i / index->dim]];
        values[i] = scale * levels->values[entry >> i % index->dim * index->bits & ((1u << index->bits) - 1)];
        error += w[i] * (x[i] - values[i]) * (x[i] - values[i]);
    }
    return error;
}

/* Codes eight columns of a row; values: what they stand for. */
static void code_unit(const hone_book_walk *walk, size_t unit, const float *x, hone_book_block *b, float *values)
{
    const hone_book_type *t = walk->type;
    const size_t group = unit * UNIT / t->group;
    const float scale = hone_f16_to_f32(b->d) * (float)(2 * b->scales[group] + 1);
    const float *w = walk->diagonal + unit * UNIT;
    const size_t vectors = UNIT / hone_book_index_of(t->book)->dim;
    float magnitudes[UNIT];
    hone_book_codes codes;
    memcpy(magnitudes, x, sizeof magnitudes);
    if (!(scale > 0.0f)) {
        memset(values, 0, UNIT * sizeof *values);
        return;
    }
    if (!t->bare)
        b->signs[unit] = hone_book_take_signs(t->even_signs, w, magnitudes);
    const float error = try_levels(walk, t->bare ? b->signs[unit] : 0, scale, magnitudes, w, &codes, values);
    if (t->bare && t->unit == UNIT) {
        hone_book_codes others;
        float other_values[UNIT];
        if (try_levels(walk, !b->signs[unit], scale, magnitudes, w, &others, other_values) < error) {
            b->signs[unit] ^= 1;
            codes = others;
            memcpy(values, other_values, sizeof other_values);
        }
    }
    for (size_t i = 0; i < UNIT && !t->bare; i++)
        values[i] = b->signs[unit] >> i & 1 ? -values[i] : values[i];
    memcpy(b->index + unit * vectors, codes.index, vectors * sizeof *b->index);
}

/* What a unit of row r leaves, fed to the columns before end. */
static void feed(hone_book_walk *walk, size_t r, size_t first, size_t end, const float *values)
{
    float *x = walk->x + r * BLOCK, *e = walk->e + r * BLOCK;
    for (size_t j = first; j < first + UNIT; j++) {
        const float miss = x[j] - values[j - first], *m = walk->m + j * walk->m_stride;
        walk->loss[r] += walk->diagonal[j] * (miss * miss);
        e[j] = walk->w[r][j] - values[j - first];
        for (size_t k = j + 1; k < end; k++)
            x[k] += e[j] * m[k];
    }
}

void hone_book_walk_block(hone_book_walk *walk)
{
    hone_book_block b[ROWS];
    memset(b, 0, sizeof b);
    for (size_t r = 0; r < ROWS; r++)
        walk->type->open(walk->blocks + r * walk->type->nbytes, &b[r]);
    for (size_t first = 0; first < BLOCK; first += RUN) {
        const size_t end = first + RUN;
        for (size_t r = 0; r < ROWS; r++)
            for (size_t at = first; at < end; at += UNIT) {
                float values[UNIT];
                code_unit(walk, at / UNIT, walk->x + r * BLOCK + at, &b[r], values);
                feed(walk, r, at, end, values);
            }
        walk->feedback->add_product(walk->e + first, BLOCK, walk->m + first * walk->m_stride + end, walk->m_stride, RUN,
                                    BLOCK - end, walk->x + end, BLOCK);
    }
    for (size_t r = 0; r < ROWS; r++)
        walk->type->pack(&b[r], walk->blocks + r * walk->type->nbytes);
}
