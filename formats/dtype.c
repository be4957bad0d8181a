/* SPDX-License-Identifier: MIT */
/* The dtype table. Sizes come from the structs; ids are ggml's (ggml.h), names safetensors' (tensor.rs). */
#include <ctype.h>
#include <stddef.h>

#include "base/arith.h"
#include "formats/blocks.h"
#include "hone/tensor.h"

#define PLAIN(name_, st, id, nbytes, is_float_)                                                                        \
    {                                                                                                                  \
        .name = (name_), .safetensors = (st), .ggml_id = (id), .block_nelems = 1, .block_nbytes = (nbytes),            \
        .is_float = (is_float_)                                                                                        \
    }
#define SHARED(name_, st, nelems, nbytes)                                                                              \
    {                                                                                                                  \
        .name = (name_), .safetensors = (st), .ggml_id = -1, .block_nelems = (nelems), .block_nbytes = (nbytes)        \
    }
#define BLOCK(name_, id, nelems, type)                                                                                 \
    {                                                                                                                  \
        .name = (name_), .ggml_id = (id), .block_nelems = (nelems), .block_nbytes = sizeof(type), .is_float = true,    \
        .is_quantized = true                                                                                           \
    }

static const hone_dtype_info table[HONE_N_DTYPES] = {
    [HONE_INVALID] = {.name = "invalid", .ggml_id = -1, .block_nelems = 1},
    [HONE_F64] = PLAIN("f64", "F64", 28, 8, true),
    [HONE_F32] = PLAIN("f32", "F32", 0, 4, true),
    [HONE_F16] = PLAIN("f16", "F16", 1, 2, true),
    [HONE_BF16] = PLAIN("bf16", "BF16", 30, 2, true),
    [HONE_F8_E4M3] = PLAIN("f8_e4m3", "F8_E4M3", -1, 1, true),
    [HONE_F8_E5M2] = PLAIN("f8_e5m2", "F8_E5M2", -1, 1, true),
    [HONE_F8_E8M0] = PLAIN("f8_e8m0", "F8_E8M0", -1, 1, true),
    [HONE_I64] = PLAIN("i64", "I64", 27, 8, false),
    [HONE_I32] = PLAIN("i32", "I32", 26, 4, false),
    [HONE_I16] = PLAIN("i16", "I16", 25, 2, false),
    [HONE_I8] = PLAIN("i8", "I8", 24, 1, false),
    [HONE_U64] = PLAIN("u64", "U64", -1, 8, false),
    [HONE_U32] = PLAIN("u32", "U32", -1, 4, false),
    [HONE_U16] = PLAIN("u16", "U16", -1, 2, false),
    [HONE_U8] = PLAIN("u8", "U8", -1, 1, false),
    [HONE_BOOL] = PLAIN("bool", "BOOL", -1, 1, false),
    [HONE_F4] = SHARED("f4", "F4", 2, 1),
    [HONE_F6_E2M3] = SHARED("f6_e2m3", "F6_E2M3", 4, 3),
    [HONE_F6_E3M2] = SHARED("f6_e3m2", "F6_E3M2", 4, 3),
    [HONE_F8_E4M3FNUZ] = PLAIN("f8_e4m3fnuz", "F8_E4M3FNUZ", -1, 1, false),
    [HONE_F8_E5M2FNUZ] = PLAIN("f8_e5m2fnuz", "F8_E5M2FNUZ", -1, 1, false),
    [HONE_C64] = PLAIN("c64", "C64", -1, 8, false),
    [HONE_Q4_0] = BLOCK("q4_0", 2, HONE_QK, hone_block_q4_0),
    [HONE_Q4_1] = BLOCK("q4_1", 3, HONE_QK, hone_block_q4_1),
    [HONE_Q5_0] = BLOCK("q5_0", 6, HONE_QK, hone_block_q5_0),
    [HONE_Q5_1] = BLOCK("q5_1", 7, HONE_QK, hone_block_q5_1),
    [HONE_Q8_0] = BLOCK("q8_0", 8, HONE_QK, hone_block_q8_0),
    [HONE_Q2_K] = BLOCK("q2_k", 10, HONE_QK_K, hone_block_q2_k),
    [HONE_Q3_K] = BLOCK("q3_k", 11, HONE_QK_K, hone_block_q3_k),
    [HONE_Q4_K] = BLOCK("q4_k", 12, HONE_QK_K, hone_block_q4_k),
    [HONE_Q5_K] = BLOCK("q5_k", 13, HONE_QK_K, hone_block_q5_k),
    [HONE_Q6_K] = BLOCK("q6_k", 14, HONE_QK_K, hone_block_q6_k),
    [HONE_Q1_0] = BLOCK("q1_0", 41, HONE_QK1, hone_block_q1_0),
    [HONE_Q2_0] = BLOCK("q2_0", 42, HONE_QK2, hone_block_q2_0),
    [HONE_Q8_1] = BLOCK("q8_1", 9, HONE_QK, hone_block_q8_1),
    [HONE_Q8_K] = BLOCK("q8_k", 15, HONE_QK_K, hone_block_q8_k),
    [HONE_IQ4_NL] = BLOCK("iq4_nl", 20, HONE_QK, hone_block_iq4_nl),
    [HONE_IQ4_XS] = BLOCK("iq4_xs", 23, HONE_QK_K, hone_block_iq4_xs),
    [HONE_MXFP4] = BLOCK("mxfp4", 39, HONE_QK, hone_block_mxfp4),
    [HONE_NVFP4] = BLOCK("nvfp4", 40, HONE_QK_NVFP4, hone_block_nvfp4),
    [HONE_TQ1_0] = BLOCK("tq1_0", 34, HONE_QK_K, hone_block_tq1_0),
    [HONE_TQ2_0] = BLOCK("tq2_0", 35, HONE_QK_K, hone_block_tq2_0),
    [HONE_IQ3_S] = BLOCK("iq3_s", 21, HONE_QK_K, hone_block_iq3_s),
    [HONE_IQ3_XXS] = BLOCK("iq3_xxs", 18, HONE_QK_K, hone_block_iq3_xxs),
    [HONE_IQ2_S] = BLOCK("iq2_s", 22, HONE_QK_K, hone_block_iq2_s),
    [HONE_IQ2_XS] = BLOCK("iq2_xs", 17, HONE_QK_K, hone_block_iq2_xs),
    [HONE_IQ2_XXS] = BLOCK("iq2_xxs", 16, HONE_QK_K, hone_block_iq2_xxs),
    [HONE_IQ1_S] = BLOCK("iq1_s", 19, HONE_QK_K, hone_block_iq1_s),
    [HONE_IQ1_M] = BLOCK("iq1_m", 29, HONE_QK_K, hone_block_iq1_m),
};

const hone_dtype_info *hone_dtype_describe(hone_dtype dtype)
{
    return &table[(unsigned)dtype < HONE_N_DTYPES ? dtype : HONE_INVALID];
}

static bool equal_ignoring_case(const char *a, const char *b)
{
    while (*a && tolower((unsigned char)*a) == tolower((unsigned char)*b)) {
        a++;
        b++;
    }
    return *a == *b;
}

hone_dtype hone_dtype_from_name(const char *name)
{
    for (int i = HONE_INVALID + 1; i < HONE_N_DTYPES; i++)
        if (equal_ignoring_case(table[i].name, name))
            return (hone_dtype)i;
    return HONE_INVALID;
}

hone_status hone_dtype_row_nbytes(hone_dtype dtype, uint64_t nelems, uint64_t *nbytes)
{
    const hone_dtype_info *info = hone_dtype_describe(dtype);
    *nbytes = 0;
    if (info->block_nbytes == 0 || nelems % info->block_nelems != 0)
        return HONE_ERROR_ARG;
    return hone_mul_u64(nelems / info->block_nelems, info->block_nbytes, nbytes) ? HONE_OK : HONE_ERROR_LIMIT;
}
