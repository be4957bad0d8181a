/* SPDX-License-Identifier: MIT */
/* The search in portable C: the definition. */
#include "quantize/book_search.h"

#include <float.h>
#include <math.h>

#include "quantize/rounding.h"

enum { DIM_MAX = 8 };

const hone_book_levels hone_odd_levels3 = {{1, 3, 5, 0, 1, 3, 5, 0}, 0.5f, 1.0f};
const hone_book_levels hone_odd_levels8 = {{1, 3, 5, 7, 9, 11, 13, 15}, 0.5f, 1.0f};

void hone_book_group_init(const hone_book_index *index, const hone_book_levels *levels, size_t size, hone_book_group *g)
{
    g->index = index;
    g->levels = levels;
    g->size = size;
    for (size_t i = 0; i < size; i++) {
        const float wx = g->w[i] * g->x[i];
        for (unsigned l = 0; l < HONE_BOOK_LEVELS; l++) {
            const float q = levels->values[l];
            g->xq[i][l] = wx * q;
            g->qq[i][l] = g->w[i] * q * q;
        }
    }
}

/* Of a list, the first entry with the least error; the nearest when errors are beyond f32. */
static unsigned best_of_list(const hone_book_group *g, size_t at, const uint32_t *list, float scale)
{
    const hone_book_index *b = g->index;
    float cost[DIM_MAX][HONE_BOOK_LEVELS];
    for (unsigned i = 0; i < b->dim; i++)
        for (unsigned l = 0; l < b->n_levels; l++) {
            const float diff = scale * g->levels->values[l] - g->x[at + i];
            cost[i][l] = g->rival[at + i] * diff * diff;
        }
    const unsigned mask = (1u << b->bits) - 1;
    unsigned best = list[1] >> 16;
    float least = FLT_MAX;
    for (uint32_t n = list[0]; n > 0; n--) {
        const uint32_t entry = *++list;
        float error = 0.0f;
        for (unsigned i = 0; i < b->dim; i++)
            error += cost[i][entry >> i * b->bits & mask];
        if (error < least) {
            least = error;
            best = entry >> 16;
        }
    }
    return best;
}

static void code_once(const hone_book_group *g, float inverse, float scale, hone_book_codes *out)
{
    const hone_book_index *b = g->index;
    const unsigned mask = (1u << b->bits) - 1;
    out->hits = 0;
    out->xq = out->qq = 0.0f;
    for (size_t at = 0, k = 0; at < g->size; at += b->dim, k++) {
        unsigned key = 0;
        for (unsigned i = b->dim; i-- > 0;) {
            const int level = hone_nearest(g->levels->slope * (inverse * g->x[at + i] - g->levels->shift));
            key = key * b->n_levels + (unsigned)hone_clamp_int(level, 0, (int)b->n_levels - 1);
        }
        const int32_t near = b->near[key];
        const unsigned index = near >= 0 ? (unsigned)near : best_of_list(g, at, b->lists + (-1 - near), scale);
        out->index[k] = (uint16_t)index;
        out->hits |= (unsigned)(near >= 0) << k;
        for (unsigned i = 0; i < b->dim; i++) {
            const unsigned level = (unsigned)b->entries[index] >> i * b->bits & mask;
            out->xq += g->xq[at + i][level];
            out->qq += g->qq[at + i][level];
        }
    }
}

static void code(const hone_book_group *g, size_t n, const float *inverses, const float *scales, hone_book_codes *out)
{
    for (size_t t = 0; t < n; t++)
        code_once(g, inverses[t], scales[t], &out[t]);
}

const hone_book_kernels hone_books_ref = {.level = HONE_CPU_REF, .code = code};
