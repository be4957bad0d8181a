/* SPDX-License-Identifier: MIT */
/*
 * Whole encoders over lanes for types without a search: a part of lane_encoders_impl.h.
 *
 * As many blocks as there are lanes go together, so that their scales are computed at once.
 */
#include "base/cursor.h"
#include "base/half.h"
#include "formats/blocks.h"
#include "formats/value_tables.h"
#include "quantize/encode_kernels.h"
#include "quantize/table_encoders.h"

enum { BLOCKS_NELEMS = HONE_LANES * HONE_QK };

typedef uint32_t lane_words __attribute__((vector_size(4 * HONE_LANES)));
typedef uint16_t lane_halves __attribute__((vector_size(2 * HONE_LANES)));

static void encode_f16(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    uint8_t *out = dst;
    size_t i = 0;
    for (; i + HONE_LANES <= ncols; i += HONE_LANES)
        lanes_store_halves(out + 2 * i, lanes_load(src + i));
    for (; i < ncols; i++)
        hone_store_u16(out + 2 * i, hone_f32_to_f16(src[i]));
}

static void encode_bf16(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    uint8_t *out = dst;
    size_t i = 0;
    for (; i + HONE_LANES <= ncols; i += HONE_LANES) {
        const lane_words bits = (lane_words)lanes_load(src + i);
        const lane_words rounded = (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
        const lane_halves halves = __builtin_convertvector(rounded, lane_halves);
        memcpy(out + 2 * i, &halves, sizeof halves);
    }
    for (; i < ncols; i++)
        hone_store_u16(out + 2 * i, hone_f32_to_bf16(src[i]));
}

/* n groups, or as many as there are lanes: those missing are like the first. */
static inline const float *filled_up(const float *src, size_t n, size_t size, float *padded)
{
    if (n == HONE_LANES)
        return src;
    for (size_t i = 0; i < HONE_LANES; i++)
        memcpy(padded + i * size, src + (i < n ? i * size : 0), size * sizeof *src);
    return padded;
}

/* Groups of `size` elements: lane i of the results is about group i. */
static inline lanes largest_magnitudes(const float *x, size_t size)
{
    lanes most[HONE_LANES];
    LANES_UNROLL
    for (size_t i = 0; i < HONE_LANES; i++, x += size) {
        most[i] =
            size == HONE_LANES ? lanes_abs(lanes_load(x)) : lanes_larger(lanes_load(x), lanes_load(x + HONE_LANES));
        LANES_UNROLL
        for (size_t j = 2 * HONE_LANES; j < size; j += 2 * HONE_LANES)
            most[i] = lanes_max(lanes_larger(lanes_load(x + j), lanes_load(x + j + HONE_LANES)), most[i]);
    }
    return lanes_fold(most, lanes_max);
}

static inline void ranges(const float *x, size_t size, lanes *lowest, lanes *highest)
{
    lanes least[HONE_LANES], most[HONE_LANES];
    LANES_UNROLL
    for (size_t i = 0; i < HONE_LANES; i++) {
        least[i] = most[i] = lanes_load(x + i * size);
        LANES_UNROLL
        for (size_t j = HONE_LANES; j < size; j += HONE_LANES) {
            const lanes v = lanes_load(x + i * size + j);
            least[i] = lanes_min(v, least[i]);
            most[i] = lanes_max(v, most[i]);
        }
    }
    *lowest = lanes_fold(least, lanes_min);
    *highest = lanes_fold(most, lanes_max);
}

/* Of up to HONE_LANES blocks: scales as stored, and twice the inverses that codes are taken with. False if one is too
 * large to be doubled. */
static inline bool q8_0_scales(const float *src, size_t n, uint16_t halves[HONE_LANES], float doubles[HONE_LANES])
{
    float padded[BLOCKS_NELEMS];
    const lanes d = largest_magnitudes(filled_up(src, n, HONE_QK, padded), HONE_QK) / lanes_all(127.0f);
    const lanes twice = lanes_all(2.0f) / d, zero = lanes_all(0.0f);
    const lane_mask some = lanes_less(zero, d);
    lanes_store_halves(halves, d);
    lanes_store(doubles, lanes_choose(some, twice, zero));
    return !lanes_any(lanes_except(some, lanes_less(twice, lanes_all(__builtin_inff()))));
}

static inline void q8_0_block(const float *x, uint16_t half, lanes twice, uint8_t *out)
{
    lanes v[HONE_QK / HONE_LANES];
    LANES_UNROLL
    for (size_t k = 0; k < HONE_QK / HONE_LANES; k++)
        v[k] = lanes_load(x + k * HONE_LANES) * twice;
    hone_store_u16(out, half);
    lanes_store_rounded(out + offsetof(hone_block_q8_0, qs), v);
}

/* Block i from x on, which need not be there. */
static inline void prefetch_block(const float *x, size_t i)
{
    const uintptr_t at = (uintptr_t)x + i * HONE_QK * sizeof *x;
    __builtin_prefetch((const void *)at);
    __builtin_prefetch((const void *)(at + 64));
}

/* Several batches at a time, so that codes do not wait for the divisions of their own. */
static void encode_q8_0(const float *src, size_t ncols, const float *importance, void *dst)
{
    enum { MANY = 4 * HONE_LANES };
    (void)importance;
    uint8_t *out = dst;
    for (size_t done = 0; done < ncols / HONE_QK; done += MANY) {
        const size_t left = ncols / HONE_QK - done, n = left < MANY ? left : MANY;
        const float *x = src + done * HONE_QK;
        uint16_t halves[MANY];
        float doubles[MANY];
        bool ordinary = true;
        for (size_t i = 0; i < n; i += HONE_LANES)
            ordinary &= q8_0_scales(x + i * HONE_QK, n - i < HONE_LANES ? n - i : HONE_LANES, halves + i, doubles + i);
        if (!ordinary)
            hone_encode_q8_0(x, n * HONE_QK, out);
        for (size_t i = 0; ordinary && i < n; i++) {
            prefetch_block(x, i + MANY);
            q8_0_block(x + i * HONE_QK, halves[i], lanes_spread(doubles + i), out + i * sizeof(hone_block_q8_0));
        }
        out += n * sizeof(hone_block_q8_0);
    }
}

/* Codes j and 16 + j of 32 go to byte j. */
static inline void store_nibbles(uint8_t *qs, const uint8_t codes[HONE_QK])
{
    const uint64_t mask = 0x0f0f0f0f0f0f0f0fu;
    for (size_t j = 0; j < HONE_QK / 2; j += 8) {
        const uint64_t low = hone_load_u64(codes + j), high = hone_load_u64(codes + HONE_QK / 2 + j);
        hone_store_u64(qs + j, (low & mask) | (high & mask) << 4);
    }
}

/* The fifth bits of 32 codes. The product brings bit 0 of byte i to bit 56 + i. */
static inline void store_fifth_bits(uint8_t *qh, const uint8_t codes[HONE_QK])
{
    for (size_t j = 0; j < HONE_QK / 8; j++) {
        const uint64_t bits = hone_load_u64(codes + 8 * j) >> 4 & 0x0101010101010101u;
        qh[j] = (uint8_t)(bits * 0x0102040810204080u >> 56);
    }
}

/* What tells the four types apart. */
struct plain_type {
    int nmax;    /* codes: [0, 2 nmax - 1] around nmax if symmetric, else [0, nmax] */
    bool affine; /* w = d * q + m */
    bool fifth;  /* bit */
};

/* 32 codes trunc((x - base) * inverse + half), clamped to [0, max]; 0 where that is not in [0, 128), as of overflows.
 */
static inline void truncated_codes(const float *x, float base, float inverse, float half, float max,
                                   uint8_t codes[HONE_QK])
{
    const lanes from = lanes_all(base), id = lanes_all(inverse), plus = lanes_all(half);
    const lanes zero = lanes_all(0.0f), end = lanes_all(128.0f), most = lanes_all(max);
    for (size_t j = 0; j < HONE_QK; j += 16) {
        lanes v[16 / HONE_LANES];
        LANES_UNROLL
        for (size_t k = 0; k < 16 / HONE_LANES; k++) {
            const lanes code = (lanes_load(x + j + k * HONE_LANES) - from) * id + plus;
            v[k] = lanes_max(lanes_choose(lanes_less(code, end), lanes_min(code, most), zero), zero);
        }
        lanes_store_codes(codes + j, v);
    }
}

/* Scales and bases of a batch of blocks, and what codes are taken with. */
struct plain_scales {
    float d[HONE_LANES], m[HONE_LANES], inverse[HONE_LANES];
};

/* The element of largest magnitude of each block, 0 where all are. Of two that differ in sign alone, the first; it is
 * looked for only where there are two. */
static inline lanes extremes(const float *x)
{
    lanes lowest, highest;
    ranges(x, HONE_QK, &lowest, &highest);
    const lanes zero = lanes_all(0.0f), below = -lowest;
    const lane_mask some = lanes_less(zero, lanes_max(highest, below));
    const lanes extreme = lanes_choose(some, lanes_choose(lanes_less(highest, below), lowest, highest), zero);
    const lane_mask both = lanes_except(some, lanes_differ(highest, below));
    if (!lanes_any(both))
        return extreme;
    float each[HONE_LANES];
    lanes_store(each, extreme);
    for (size_t i = 0; i < HONE_LANES; i++) {
        const float *first = x + i * HONE_QK, most = __builtin_fabsf(each[i]);
        while (most > 0.0f && __builtin_fabsf(*first) != most)
            first++;
        each[i] = most > 0.0f ? *first : each[i];
    }
    return lanes_load(each);
}

static inline lanes inverses_of(lanes d)
{
    const lanes zero = lanes_all(0.0f);
    return lanes_choose(lanes_differ(d, zero), lanes_all(1.0f) / d, zero);
}

static inline void plain_symmetric(const struct plain_type *t, const float *x, struct plain_scales *s)
{
    const lanes d = extremes(x) / lanes_all(-(float)t->nmax);
    lanes_store(s->d, d);
    lanes_store(s->inverse, inverses_of(d));
}

/* Which of two zeros comes first decides the sign of a zero that is stored. */
static inline lanes first_zeros(const float *x, lanes v)
{
    float each[HONE_LANES];
    lanes_store(each, v);
    for (size_t i = 0; i < HONE_LANES; i++) {
        const float *first = x + i * HONE_QK;
        while (each[i] == 0.0f && *first != 0.0f)
            first++;
        each[i] = each[i] == 0.0f ? *first : each[i];
    }
    return lanes_load(each);
}

static inline void plain_affine(const struct plain_type *t, const float *x, struct plain_scales *s)
{
    lanes lowest, highest;
    ranges(x, HONE_QK, &lowest, &highest);
    const lanes nmax = lanes_all((float)t->nmax);
    lowest = first_zeros(x, lowest);
    highest = first_zeros(x, highest);
    const lanes d = (highest - lowest) / nmax;
    lanes_store(s->d, d);
    lanes_store(s->m, lowest);
    lanes_store(s->inverse, inverses_of(d));
}

/* Inlined, for a type that the compiler knows. */
static inline void encode_plain(struct plain_type t, const float *src, size_t ncols, uint8_t *out)
{
    float padded[BLOCKS_NELEMS];
    for (size_t at = 0; at < ncols; at += BLOCKS_NELEMS) {
        const size_t left = (ncols - at) / HONE_QK, n = left < HONE_LANES ? left : HONE_LANES;
        const float *x = filled_up(src + at, n, HONE_QK, padded);
        struct plain_scales s = {.m = {0.0f}};
        uint16_t d[HONE_LANES], m[HONE_LANES];
        if (t.affine)
            plain_affine(&t, x, &s);
        else
            plain_symmetric(&t, x, &s);
        lanes_store_halves(d, lanes_load(s.d));
        lanes_store_halves(m, lanes_load(s.m));
        for (size_t i = 0; i < n; i++) {
            uint8_t codes[HONE_QK];
            truncated_codes(x + i * HONE_QK, s.m[i], s.inverse[i], t.affine ? 0.5f : (float)t.nmax + 0.5f,
                            (float)(t.affine ? t.nmax : 2 * t.nmax - 1), codes);
            hone_store_u16(out, d[i]);
            out += 2;
            if (t.affine) {
                hone_store_u16(out, m[i]);
                out += 2;
            }
            if (t.fifth) {
                store_fifth_bits(out, codes);
                out += HONE_QK / 8;
            }
            store_nibbles(out, codes);
            out += HONE_QK / 2;
        }
    }
}

static void plain_q4_0(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    encode_plain((struct plain_type){.nmax = 8}, src, ncols, dst);
}

static void plain_q4_1(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    encode_plain((struct plain_type){.nmax = 15, .affine = true}, src, ncols, dst);
}

static void plain_q5_0(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    encode_plain((struct plain_type){.nmax = 16, .fifth = true}, src, ncols, dst);
}

static void plain_q5_1(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    encode_plain((struct plain_type){.nmax = 31, .affine = true, .fifth = true}, src, ncols, dst);
}

/*
 * n codes (16 or 32) of e2m1 for a scale d of doubled values. The nearest value is found by counting the midpoints that
 * a magnitude lies beyond; minus zero is never coded, since the first zero comes before it. Midpoints times a scale are
 * exact, and so are the differences that the portable C compares, but for magnitudes so far beyond the largest value
 * that all errors round to the same: those blocks go to the portable C.
 */
static inline void e2m1_codes(const float *x, size_t n, float d, uint8_t *codes)
{
    /* Between the doubled values 0 1 2 3 4 6 8 12. With a scale of 0 every value is 0, and the first is taken. */
    static const float midpoints[7] = {0.5f, 1.5f, 2.5f, 3.5f, 5.0f, 7.0f, 10.0f};
    const lanes scale = lanes_all(d != 0.0f ? d : __builtin_inff());
    const lanes zero = lanes_all(0.0f), one = lanes_all(1.0f), eight = lanes_all(8.0f);
    lanes beyond[7];
    LANES_UNROLL
    for (int i = 0; i < 7; i++)
        beyond[i] = lanes_all(midpoints[i]) * scale;
    for (size_t j = 0; j < n; j += 16) {
        lanes v[16 / HONE_LANES];
        LANES_UNROLL
        for (size_t k = 0; k < 16 / HONE_LANES; k++) {
            const lanes value = lanes_load(x + j + k * HONE_LANES), magnitude = lanes_abs(value);
            lanes code = zero;
            LANES_UNROLL
            for (int i = 0; i < 7; i++)
                code = code + lanes_choose(lanes_less(beyond[i], magnitude), one, zero);
            const lane_mask negative = lanes_both(lanes_less(value, zero), lanes_less(zero, code));
            v[k] = code + lanes_choose(negative, eight, zero);
        }
        lanes_store_codes(codes + j, v);
    }
}

static void encode_mxfp4(const float *src, size_t ncols, const float *importance, void *dst)
{
    (void)importance;
    float padded[BLOCKS_NELEMS], largest[HONE_LANES];
    uint8_t *out = dst;
    for (size_t at = 0; at < ncols; at += BLOCKS_NELEMS) {
        const size_t left = (ncols - at) / HONE_QK, n = left < HONE_LANES ? left : HONE_LANES;
        const float *x = filled_up(src + at, n, HONE_QK, padded);
        lanes_store(largest, largest_magnitudes(x, HONE_QK));
        for (size_t i = 0; i < n; i++, x += HONE_QK, out += sizeof(hone_block_mxfp4)) {
            uint8_t codes[HONE_QK];
            if (largest[i] >= 0x1p127f) { /* the largest values may be infinite */
                hone_encode_mxfp4(x, HONE_QK, NULL, out);
                continue;
            }
            out[0] = hone_mxfp4_scale(largest[i]);
            e2m1_codes(x, HONE_QK, hone_e8m0_half(out[0]), codes);
            store_nibbles(out + 1, codes);
        }
    }
}

/* Codes j and 8 + j of 16 go to byte j. */
static inline void store_sub_nibbles(uint8_t *qs, const uint8_t codes[16])
{
    hone_store_u64(qs, hone_load_u64(codes) | hone_load_u64(codes + 8) << 4);
}

static void encode_nvfp4(const float *src, size_t ncols, const float *importance, void *dst)
{
    enum { SUB_SIZE = 16, SUBS = HONE_QK_NVFP4 / SUB_SIZE, LANE_BLOCKS = HONE_LANES / SUBS };
    (void)importance;
    float padded[HONE_LANES * SUB_SIZE], largest[HONE_LANES];
    uint8_t *out = dst;
    for (size_t at = 0; at < ncols; at += (size_t)LANE_BLOCKS * HONE_QK_NVFP4) {
        const size_t left = (ncols - at) / HONE_QK_NVFP4, n = left < LANE_BLOCKS ? left : LANE_BLOCKS;
        const float *x = filled_up(src + at, n * SUBS, SUB_SIZE, padded);
        lanes_store(largest, largest_magnitudes(x, SUB_SIZE));
        for (size_t i = 0; i < n; i++, x += HONE_QK_NVFP4, out += sizeof(hone_block_nvfp4)) {
            bool large = false;
            for (size_t s = 0; s < SUBS; s++) {
                uint8_t codes[SUB_SIZE];
                const float amax = largest[i * SUBS + s];
                large = large || amax > 0x1p24f;
                out[s] = hone_ue4m3_scale(amax / 6.0f);
                e2m1_codes(x + s * SUB_SIZE, SUB_SIZE, hone_ue4m3_half(out[s]), codes);
                store_sub_nibbles(out + SUBS + s * (SUB_SIZE / 2), codes);
            }
            if (large)
                hone_encode_nvfp4(x, HONE_QK_NVFP4, NULL, out);
        }
    }
}
