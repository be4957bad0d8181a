/* SPDX-License-Identifier: MIT */
/* Four lanes: see lanes.h. */
#ifndef HONE_LANES_NEON_H
#define HONE_LANES_NEON_H

#include <arm_neon.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef float32x4_t lanes;
typedef uint32x4_t lane_mask;
typedef int32_t lane_ints __attribute__((vector_size(16)));

static inline lanes lanes_load(const float *p)
{
    return vld1q_f32(p);
}

static inline void lanes_store(float *p, lanes v)
{
    vst1q_f32(p, v);
}

static inline lanes lanes_all(float f)
{
    return vdupq_n_f32(f);
}

static inline lanes lanes_spread(const float *p)
{
    return lanes_all(*p);
}

/* Not the CPU's own maximum, which is NaN where either is. */
static inline lanes lanes_max(lanes a, lanes b)
{
    return vbslq_f32(vcgtq_f32(a, b), a, b);
}

static inline lanes lanes_min(lanes a, lanes b)
{
    return vbslq_f32(vcltq_f32(a, b), a, b);
}

static inline lanes lanes_abs(lanes v)
{
    return vabsq_f32(v);
}

static inline lanes lanes_larger(lanes a, lanes b)
{
    return vmaxq_f32(vabsq_f32(a), vabsq_f32(b));
}

static inline lanes lanes_sqrt(lanes v)
{
    return vsqrtq_f32(v);
}

static inline lane_mask lanes_less(lanes a, lanes b)
{
    return vcltq_f32(a, b);
}

static inline lane_mask lanes_at_most(lanes a, lanes b)
{
    return vcleq_f32(a, b);
}

static inline lane_mask lanes_differ(lanes a, lanes b)
{
    return vmvnq_u32(vceqq_f32(a, b));
}

static inline lane_mask lanes_both(lane_mask a, lane_mask b)
{
    return vandq_u32(a, b);
}

static inline lane_mask lanes_either(lane_mask a, lane_mask b)
{
    return vorrq_u32(a, b);
}

static inline lane_mask lanes_except(lane_mask a, lane_mask without)
{
    return vbicq_u32(a, without);
}

static inline bool lanes_any(lane_mask m)
{
    return vmaxvq_u32(m) != 0;
}

static inline unsigned lanes_bits(lane_mask m)
{
    static const uint32_t bits[4] = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(m, vld1q_u32(bits)));
}

static inline lanes lanes_choose(lane_mask m, lanes yes, lanes no)
{
    return vbslq_f32(m, yes, no);
}

static inline void lanes_store_bytes(uint8_t *p, lanes v)
{
    const uint16x4_t words = vmovn_u32(vcvtnq_u32_f32(v));
    const uint8x8_t bytes = vmovn_u16(vcombine_u16(words, words));
    vst1_lane_u32((void *)p, vreinterpret_u32_u8(bytes), 0);
}

static inline void lanes_columns(const float *src, size_t stride, lanes out[4])
{
    const lanes a = vld1q_f32(src), b = vld1q_f32(src + stride);
    const lanes c = vld1q_f32(src + 2 * stride), d = vld1q_f32(src + 3 * stride);
    const float64x2_t ab0 = vreinterpretq_f64_f32(vtrn1q_f32(a, b)), ab1 = vreinterpretq_f64_f32(vtrn2q_f32(a, b));
    const float64x2_t cd0 = vreinterpretq_f64_f32(vtrn1q_f32(c, d)), cd1 = vreinterpretq_f64_f32(vtrn2q_f32(c, d));
    out[0] = vreinterpretq_f32_f64(vtrn1q_f64(ab0, cd0));
    out[1] = vreinterpretq_f32_f64(vtrn1q_f64(ab1, cd1));
    out[2] = vreinterpretq_f32_f64(vtrn2q_f64(ab0, cd0));
    out[3] = vreinterpretq_f32_f64(vtrn2q_f64(ab1, cd1));
}

static inline lanes lanes_fold(const lanes v[4], lanes (*op)(lanes a, lanes b))
{
    const lanes a = op(vzip1q_f32(v[0], v[1]), vzip2q_f32(v[0], v[1]));
    const lanes b = op(vzip1q_f32(v[2], v[3]), vzip2q_f32(v[2], v[3]));
    const float64x2_t c = vreinterpretq_f64_f32(a), d = vreinterpretq_f64_f32(b);
    return op(vreinterpretq_f32_f64(vzip1q_f64(c, d)), vreinterpretq_f32_f64(vzip2q_f64(c, d)));
}

static inline void lanes_store_codes(uint8_t *p, const lanes v[4])
{
    const int16x8_t low = vcombine_s16(vmovn_s32(vcvtq_s32_f32(v[0])), vmovn_s32(vcvtq_s32_f32(v[1])));
    const int16x8_t high = vcombine_s16(vmovn_s32(vcvtq_s32_f32(v[2])), vmovn_s32(vcvtq_s32_f32(v[3])));
    vst1q_s8((int8_t *)p, vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
}

static inline void lanes_store_rounded(uint8_t *p, const lanes doubles[8])
{
    LANES_UNROLL
    for (int i = 0; i < 8; i += 2) {
        const int16x4_t low = vmovn_s32(vcvtq_s32_f32(doubles[i])), high = vmovn_s32(vcvtq_s32_f32(doubles[i + 1]));
        const int16x8_t t = vcombine_s16(low, high);
        vst1_s8((int8_t *)p + 4 * i, vmovn_s16(vrshrq_n_s16(vaddq_s16(t, vshrq_n_s16(t, 15)), 1)));
    }
}

static inline void lanes_store_halves(void *p, lanes v)
{
    vst1_u8(p, vreinterpret_u8_f16(vcvt_f16_f32(v)));
}

/* A table of sixteen floats is looked up byte by byte. */
typedef struct lane_table {
    uint8x16x4_t tree, values;
} lane_table;

static inline uint8x16x4_t table_bytes(const float *p)
{
    const uint8_t *bytes = (const uint8_t *)p;
    return (uint8x16x4_t){{vld1q_u8(bytes), vld1q_u8(bytes + 16), vld1q_u8(bytes + 32), vld1q_u8(bytes + 48)}};
}

static inline lanes entries(uint8x16x4_t table, uint32x4_t index)
{
    const uint32x4_t bytes = vmlaq_n_u32(vdupq_n_u32(0x03020100u), index, 0x04040404u);
    return vreinterpretq_f32_u8(vqtbl4q_u8(table, vreinterpretq_u8_u32(bytes)));
}

static inline lane_table lanes_table(const float tree[16], const float values[16])
{
    return (lane_table){table_bytes(tree), table_bytes(values)};
}

static inline lanes lanes_lookup(const lane_table *t, lanes v)
{
    uint32x4_t node = vdupq_n_u32(1);
    for (int i = 0; i < 4; i++) {
        const uint32x4_t right = vmvnq_u32(vcltq_f32(v, entries(t->tree, node))); /* true is -1 */
        node = vsubq_u32(vaddq_u32(node, node), right);
    }
    return entries(t->values, vsubq_u32(node, vdupq_n_u32(16)));
}

#endif
