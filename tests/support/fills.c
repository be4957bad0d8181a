/* SPDX-License-Identifier: MIT */
#include "tests/support/fills.h"

#include <float.h>
#include <math.h>

#include "base/half.h"
#include "tests/support/seeded_weights.h"

enum { SEED = HONE_FILL_SEED };

static void fill_weights(float *x, size_t n)
{
    hone_seeded_weights(SEED, n, x);
}

static void fill_zeros_of_both_signs(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = hone_seeded_bits(SEED, i) & 1 ? -0.0f : 0.0f;
}

/* Half-integers under a power-of-two scale: x / d falls on the boundary between codes for most types. */
static void fill_ties(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)((int)(hone_seeded_bits(SEED, i) % 509) - 254) * 0.25f;
    for (size_t i = 0; i < n; i += 16)
        x[i] = hone_seeded_bits(SEED, i) & 2 ? -127.0f : 127.0f;
}

/* The floats just below and above the halves of q8_0 codes, whose scale is 1 here. */
static void fill_beside_ties(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const uint64_t bits = hone_seeded_bits(SEED, i);
        const float half = (float)(bits % 126) * (bits & 512 ? 1.0f : 0.0f) + 0.5f;
        x[i] = nextafterf(half, bits & 1024 ? 0.0f : 127.0f) * (bits & 2048 ? 1.0f : -1.0f);
    }
    for (size_t i = 0; i < n; i += 32)
        x[i] = 127.0f;
}

/* Two opposite extremes per block: which comes first decides the sign of the scale. */
static void fill_opposite_extremes(float *x, size_t n)
{
    hone_seeded_weights(SEED, n, x);
    for (size_t i = 0; i + 16 <= n; i += 16) {
        const uint64_t bits = hone_seeded_bits(SEED + 1, i);
        x[i + bits % 16] = 5.0f;
        x[i + (bits >> 8) % 16] = -5.0f;
    }
}

static void fill_constant_groups(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)((int)(i / 16 % 5) - 2) * 0.3f;
}

static void fill_positive(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = 1.0f + (float)(hone_seeded_bits(SEED, i) >> 40) * 0x1p-24f;
}

static void fill_one_outlier(float *x, size_t n)
{
    hone_seeded_weights(SEED, n, x);
    x[n / 2] = 3e4f;
}

/* Random bits: every exponent, subnormals included; infinities and NaNs replaced by the largest float. */
static void fill_any_finite(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = hone_f32_from_bits((uint32_t)hone_seeded_bits(SEED, i));
        if (!isfinite(x[i]))
            x[i] = hone_seeded_bits(SEED, i) >> 63 ? FLT_MAX : -FLT_MAX;
    }
}

/* As above, but each group of 16 stays within one exponent, so that sums do not all overflow. */
static void fill_any_magnitude(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const uint32_t exponent = (uint32_t)(hone_seeded_bits(SEED + 2, i / 16) % 255);
        x[i] = hone_f32_from_bits(((uint32_t)hone_seeded_bits(SEED, i) & 0x807fffffu) | exponent << 23);
    }
}

static void fill_subnormal(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = hone_f32_from_bits((uint32_t)hone_seeded_bits(SEED, i) & 0x807fffffu);
}

/* Scales around the limits of f16, below and above. */
static void fill_half_limits(float *x, size_t n)
{
    hone_seeded_weights(SEED, n, x);
    for (size_t i = 0; i < n; i++)
        x[i] *= i / 256 % 2 ? 0x1p-21f : 0x1p23f;
}

static void fill_limits(float *x, size_t n)
{
    static const float limits[] = {FLT_MAX, -FLT_MAX, FLT_MIN, -FLT_MIN, 0x1p-149f, -0x1p-149f,
                                   0.0f,    -0.0f,    1.0f,    65504.0f, 65520.0f};
    for (size_t i = 0; i < n; i++)
        x[i] = limits[hone_seeded_bits(SEED, i) % (sizeof limits / sizeof limits[0])];
}

/* Groups of 16 in whole multiples of a scale, -4 the largest as in q3_k, but for one element halfway between two or one
 * float beside that. Scales from where their cubes are hardly floats to where they are none. */
static void fill_between_codes(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const uint64_t bits = hone_seeded_bits(SEED + 4, i), group = hone_seeded_bits(SEED + 5, i / 16);
        const float mantissa = 1.0f + (float)(group >> 40) * 0x1p-24f;
        const float scale = ldexpf(mantissa, group & 64 ? (int)(group >> 8) % 91 - 48 : (int)(group >> 8) % 8 - 48);
        const float code = (float)((int)(bits % 8) - 4);
        x[i] = scale * (i % 16 == 0 ? -4.0f : code);
        if (i % 16 == 1 + group % 15) {
            x[i] = scale * (code + 0.5f);
            x[i] = bits & 16 ? x[i] : nextafterf(x[i], bits & 32 ? 1.0f : -1.0f);
        }
    }
}

/* Weights whose cubes are subnormal, down to where groups are taken for zeros. */
static void fill_subnormal_cubes(float *x, size_t n)
{
    hone_seeded_weights(SEED, n, x);
    for (size_t i = 0; i < n; i++)
        x[i] = ldexpf(x[i], -40 - (int)(hone_seeded_bits(SEED + 5, i / 16) % 10));
}

/* Neighbouring groups of 16 of very unlike sizes: the small ones are left without a scale. */
static void fill_uneven_groups(float *x, size_t n)
{
    hone_seeded_weights(SEED, n, x);
    for (size_t i = 0; i < n; i++)
        x[i] = ldexpf(x[i], -(int)(hone_seeded_bits(SEED + 6, i / 16) % 14));
}

/* One element of each group of 16 makes up nearly all of it: sums without it are what rounding left. */
static void fill_dominated_groups(float *x, size_t n)
{
    hone_seeded_weights(SEED, n, x);
    for (size_t i = 0; i < n; i++) {
        const uint64_t bits = hone_seeded_bits(SEED + 7, i / 16);
        x[i] = i % 16 == bits % 16 ? -fabsf(x[i]) - 1.0f : ldexpf(x[i], -(int)(bits >> 8) % 32);
    }
}

/* What a quantizer has decoded: whole multiples of a scale per group of 16, and one float beside them. */
static void fill_decoded(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float scale = 0.01f + (float)(hone_seeded_bits(SEED + 8, i / 16) >> 40) * 0x1p-30f;
        const uint64_t bits = hone_seeded_bits(SEED, i);
        x[i] = scale * (float)((int)(bits % 8) - 4);
        x[i] = bits & 256 ? nextafterf(x[i], bits & 512 ? 1.0f : -1.0f) : x[i];
    }
}

const hone_fill hone_fills[HONE_N_FILLS] = {
    {"weights", fill_weights},
    {"zeros of both signs", fill_zeros_of_both_signs},
    {"ties", fill_ties},
    {"beside ties", fill_beside_ties},
    {"opposite extremes", fill_opposite_extremes},
    {"constant groups", fill_constant_groups},
    {"positive", fill_positive},
    {"one outlier", fill_one_outlier},
    {"any finite", fill_any_finite},
    {"any magnitude", fill_any_magnitude},
    {"subnormal", fill_subnormal},
    {"limits of f16", fill_half_limits},
    {"limits", fill_limits},
    {"between codes", fill_between_codes},
    {"subnormal cubes", fill_subnormal_cubes},
    {"uneven groups", fill_uneven_groups},
    {"dominated groups", fill_dominated_groups},
    {"decoded", fill_decoded},
};
