/* SPDX-License-Identifier: MIT */
#include "tests/support/seeded_weights.h"

uint64_t hone_seeded_bits(uint64_t seed, uint64_t i)
{
    uint64_t z = seed + (i + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

void hone_seeded_weights(uint64_t seed, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) {
        const uint64_t bits = hone_seeded_bits(seed, i);
        const float v = (float)((int64_t)(bits >> 40) - (1 << 23)) * 0x1p-23f;
        out[i] = v * v * v * 0.1f;
        if (bits % 509 == 0)
            out[i] *= 40.0f;
        if (i / 16 % 23 == 7)
            out[i] = 0.0f;
    }
}

void hone_seeded_importance(uint64_t seed, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) {
        const float v = (float)(hone_seeded_bits(seed, i) >> 40) * 0x1p-24f;
        out[i] = i < 32 ? 0.0f : v * v;
    }
}
