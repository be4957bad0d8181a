/* SPDX-License-Identifier: MIT */
/*
 * Quantized safetensors as input: what each format's numbers mean, worked out by hand, and what contradicts itself.
 * check_unquantize.py compares whole weights with the tools that write them.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/byte_builder.h"
#include "tests/support/source_fixture.h"
#include "tests/support/row_count.h"

Suite *hone_suite_unquantize(void);

#define T(name, dtype, shape, begin, end)                                                                              \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end "]}"

/* A directory of this quantization config and these tensors. Returns where the data start. */
static uint64_t write_directory(const char *config, const char *header, const char *script)
{
    char text[1024];
    (void)snprintf(text, sizeof text, "{\"quantization_config\": %s}", config);
    (void)hone_temp_text(&dir, "config.json", text);
    (void)snprintf(text, sizeof text, "{%s}", header);
    hone_bytes b = {0};
    hone_bytes_u64(&b, strlen(text));
    hone_bytes_put(&b, text, strlen(text));
    const uint64_t start = b.n;
    hone_bytes_script(&b, script);
    (void)hone_temp_file(&dir, "model.safetensors", b.data, b.n);
    hone_bytes_free(&b);
    return start;
}

#define GPTQ(extra) "{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":8" extra "}"
#define GPTQ_PARTS                                                                                                     \
    T("a.qweight", "I32", "[1,8]", 0, 32)                                                                              \
    "," T("a.qzeros", "I32", "[1,1]", 32, 36) "," T("a.scales", "F16", "[1,8]", 36, 52)
#define WORDS8(w) "u32=" w " u32=" w " u32=" w " u32=" w " u32=" w " u32=" w " u32=" w " u32=" w " "
#define HALVES8(h) "u16=" h " u16=" h " u16=" h " u16=" h " u16=" h " u16=" h " u16=" h " u16=" h " "
#define PACKED(bits, group)                                                                                            \
    "{\"quant_method\":\"compressed-tensors\",\"format\":\"pack-quantized\",\"config_groups\":{\"g\":{\"weights\":{"   \
    "\"num_bits\":" #bits ",\"type\":\"int\",\"strategy\":\"group\",\"group_size\":" #group "}}}}"
#define NF4 "{\"quant_method\":\"bitsandbytes\",\"load_in_4bit\":true}"
#define MAP "f32=0 f32=1 f32=2 f32=3 f32=4 f32=5 f32=6 f32=7 f32=8 f32=9 f32=10 f32=11 f32=12 f32=13 f32=14 f32=15 "
#define STATE "raw={\"shape\":[2,2],\"blocksize\":2}"

/* rows x cols of a.weight; the values of its first row and its last. */
static const struct {
    const char *claim, *config, *header, *script;
    uint64_t rows, cols;
    float first[8], last[8];
} cases[] = {
    {"GPTQ version 1 stores zeros less one",
     GPTQ(",\"checkpoint_format\":\"gptq\""),
     GPTQ_PARTS,
     WORDS8("0x76543210") "u32=0x77777777 " HALVES8("0x3c00"),
     8,
     8,
     {-8, -7, -6, -5, -4, -3, -2, -1},
     {-8, -7, -6, -5, -4, -3, -2, -1}},
    {"GPTQ version 2 stores zeros",
     GPTQ(",\"checkpoint_format\":\"gptq_v2\""),
     GPTQ_PARTS,
     WORDS8("0x76543210") "u32=0x12345678 " HALVES8("0x4000"),
     8,
     8,
     {-16, -14, -12, -10, -8, -6, -4, -2},
     {-2, 0, 2, 4, 6, 8, 10, 12}},
    {"symmetric GPTQ tells its version by its zeros",
     GPTQ(",\"sym\":true"),
     GPTQ_PARTS,
     WORDS8("0x76543210") "u32=0x88888888 " HALVES8("0x3c00"),
     8,
     8,
     {-8, -7, -6, -5, -4, -3, -2, -1},
     {-8, -7, -6, -5, -4, -3, -2, -1}},
    {"a stored zero of 15 is 0 in version 1",
     GPTQ(",\"checkpoint_format\":\"gptq\""),
     GPTQ_PARTS,
     WORDS8("0x76543210") "u32=0xffffffff " HALVES8("0x3c00"),
     8,
     8,
     {0, 1, 2, 3, 4, 5, 6, 7},
     {0, 1, 2, 3, 4, 5, 6, 7}},
    {"GPTQ columns reordered",
     "{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":4,\"checkpoint_format\":\"gptq_v2\"}",
     T("a.qweight", "I32", "[1,8]", 0, 32) "," T("a.qzeros", "I32", "[2,1]", 32, 40) "," T(
         "a.scales", "F16", "[2,8]", 40, 72) "," T("a.g_idx", "I32", "[8]", 72, 104),
     WORDS8("0x76543210") "u32=0 u32=0x11111111 " HALVES8("0x3c00")
         HALVES8("0x4000") "u32=0 u32=1 u32=0 u32=1 u32=1 u32=0 u32=1 u32=0",
     8,
     8,
     {0, 0, 2, 4, 6, 5, 10, 7},
     {0, 0, 2, 4, 6, 5, 10, 7}},
    {"AWQ interleaves outputs",
     "{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":4,\"version\":\"gemm\"}",
     T("a.qweight", "I32", "[8,1]", 0, 32) "," T("a.qzeros", "I32", "[2,1]", 32, 40) "," T("a.scales", "F16", "[2,8]",
                                                                                           40, 72),
     WORDS8("0x75316420") "u32=0x11111111 u32=0 " HALVES8("0x3c00") HALVES8("0x4000"),
     8,
     8,
     {-1, -1, -1, -1, 0, 0, 0, 0},
     {6, 6, 6, 6, 14, 14, 14, 14}},
    {"packed codes carry an offset",
     PACKED(4, 8),
     T("a.weight_packed", "I32", "[2,1]", 0, 8) "," T("a.weight_scale", "BF16", "[2,1]", 8,
                                                      12) "," T("a.weight_shape", "I64", "[2]", 12, 28),
     "u32=0x76543210 u32=0xfedcba98 u16=0x3f80 u16=0x4000 u64=2 u64=8",
     2,
     8,
     {-8, -7, -6, -5, -4, -3, -2, -1},
     {0, 2, 4, 6, 8, 10, 12, 14}},
    {"packed zeros run down the columns",
     PACKED(4, 8),
     T("a.weight_packed", "I32", "[2,1]", 0, 8) "," T("a.weight_scale", "BF16", "[2,1]", 8, 12) "," T(
         "a.weight_shape", "I64", "[2]", 12, 28) "," T("a.weight_zero_point", "I32", "[1,1]", 28, 32),
     "u32=0x76543210 u32=0xfedcba98 u16=0x3f80 u16=0x4000 u64=2 u64=8 u32=0x80",
     2,
     8,
     {0, 1, 2, 3, 4, 5, 6, 7},
     {0, 2, 4, 6, 8, 10, 12, 14}},
    {"3 bits in a dense stream",
     PACKED(3, 32),
     T("a.weight_packed", "I32", "[1,3]", 0, 12) "," T("a.weight_scale", "F32", "[1,1]", 12,
                                                       16) "," T("a.weight_shape", "I64", "[2]", 16, 32),
     "u32=0x88fac688 u32=0xc688fac6 u32=0xfac688fa f32=1 u64=1 u64=32",
     1,
     32,
     {-4, -3, -2, -1, 0, 1, 2, 3},
     {-4, -3, -2, -1, 0, 1, 2, 3}},
    {"3 bits, ten to a word",
     PACKED(3, 32),
     T("a.weight_packed", "I32", "[1,4]", 0, 16) "," T("a.weight_scale", "F32", "[1,1]", 16,
                                                       20) "," T("a.weight_shape", "I64", "[2]", 20, 36),
     "u32=0x08fac688 u32=0 u32=0 u32=0 f32=1 u64=1 u64=32",
     1,
     32,
     {-4, -3, -2, -1, 0, 1, 2, 3},
     {-4, -3, -2, -1, 0, 1, 2, 3}},
    {"FP8 with a scale per block",
     "{\"quant_method\":\"fp8\",\"weight_block_size\":[2,2]}",
     T("a.weight", "F8_E4M3", "[3,3]", 0, 9) "," T("a.weight_scale_inv", "F32", "[2,2]", 9, 25),
     "raw=\\x38\\x38\\x38\\x38\\x38\\x38\\x40\\xc0\\x00 f32=2 f32=3 f32=5 f32=7",
     3,
     3,
     {2, 2, 3},
     {10, -10, 0}},
    {"FP8 with a scale per row",
     "{\"quant_method\":\"fbgemm_fp8\"}",
     T("a.weight", "F8_E4M3", "[2,3]", 0, 6) "," T("a.weight_scale", "F32", "[2,1]", 6, 14),
     "raw=\\x38\\x38\\x38\\x40\\x40\\x40 f32=2 f32=3",
     2,
     3,
     {2, 2, 2},
     {6, 6, 6}},
    {"float-quantized with one scale",
     "{\"quant_method\":\"compressed-tensors\",\"format\":\"float-quantized\",\"config_groups\":{\"g\":{\"weights\":{"
     "\"num_bits\":8,\"type\":\"float\",\"strategy\":\"tensor\"}}}}",
     T("a.weight", "F8_E4M3", "[2,2]", 0, 4) "," T("a.weight_scale", "BF16", "[1]", 4, 6),
     "raw=\\x38\\x40\\x48\\xb8 u16=0x4040",
     2,
     2,
     {3, 6},
     {12, -3}},
    {"NVFP4 divides by its global scale",
     "{\"quant_method\":\"compressed-tensors\",\"format\":\"nvfp4-pack-quantized\",\"config_groups\":{}}",
     T("a.weight_packed", "U8", "[1,8]", 0, 8) "," T("a.weight_scale", "F8_E4M3", "[1,1]", 8,
                                                     9) "," T("a.weight_global_scale", "F32", "[1]", 9, 13),
     "raw=\\x10\\x32\\x54\\x76\\x98\\xba\\xdc\\xfe\\x40 f32=4",
     1,
     16,
     {0, 0.25f, 0.5f, 0.75f, 1, 1.5f, 2, 3},
     {0, 0.25f, 0.5f, 0.75f, 1, 1.5f, 2, 3}},
    {"MXFP4 scales are powers of two",
     "{\"quant_method\":\"compressed-tensors\",\"format\":\"mxfp4-pack-quantized\",\"config_groups\":{}}",
     T("a.weight_packed", "U8", "[1,16]", 0, 16) "," T("a.weight_scale", "U8", "[1,1]", 16, 17),
     "raw=\\x10\\x32\\x54\\x76 zero=12 u8=128",
     1,
     32,
     {0, 1, 2, 3, 4, 6, 8, 12},
     {0, 1, 2, 3, 4, 6, 8, 12}},
    {"MLX multiplies and adds",
     "{\"group_size\":32,\"bits\":4}",
     T("a.weight", "U32", "[1,4]", 0, 16) "," T("a.scales", "F16", "[1,1]", 16, 18) "," T("a.biases", "F16", "[1,1]",
                                                                                          18, 20),
     "u32=0x76543210 zero=12 u16=0x4000 u16=0xbc00",
     1,
     32,
     {-1, 1, 3, 5, 7, 9, 11, 13},
     {-1, 1, 3, 5, 7, 9, 11, 13}},
    {"a layer with figures of its own in MLX",
     "{\"group_size\":32,\"bits\":4,\"a\":{\"group_size\":4,\"bits\":8}}",
     T("a.weight", "U32", "[1,2]", 0, 8) "," T("a.scales", "F16", "[1,2]", 8, 12) "," T("a.biases", "F16", "[1,2]", 12,
                                                                                        16),
     "u32=0x03020100 u32=0xff020100 u16=0x3c00 u16=0x4000 u16=0 u16=0x3c00",
     1,
     8,
     {0, 1, 2, 3, 1, 3, 5, 511},
     {0, 1, 2, 3, 1, 3, 5, 511}},
    {"NF4 takes the high nibble first",
     NF4,
     T("a.weight", "U8", "[2,1]", 0, 2) "," T("a.weight.absmax", "F32", "[2]", 2, 10) "," T(
         "a.weight.quant_map", "F32", "[16]", 10, 74) "," T("a.weight.quant_state.bitsandbytes__nf4", "U8", "[29]", 74,
                                                            103),
     "raw=\\x12\\x34 f32=1 f32=10 " MAP STATE,
     2,
     2,
     {1, 2},
     {30, 40}},
    {"int8 rows have a scale of 127",
     "{\"quant_method\":\"bitsandbytes\",\"load_in_8bit\":true}",
     T("a.weight", "I8", "[2,2]", 0, 4) "," T("a.SCB", "F32", "[2]", 4, 12),
     "raw=\\x7f\\x81\\x00\\x7f f32=1 f32=127",
     2,
     2,
     {1, -1},
     {0, 127}},
};

static void expect_row(const char *claim, uint64_t row, uint64_t cols, const float *expected)
{
    float values[32];
    const hone_tensor *t = hone_checkpoint_find(ckpt, "a.weight");
    const hone_status status =
        hone_checkpoint_read(ckpt, t, row * cols * sizeof(float), (size_t)cols * sizeof(float), values, &err);
    ck_assert_msg(status == HONE_OK, "%s: %s", claim, err.reason);
    for (uint64_t i = 0; i < cols && i < 8; i++)
        ck_assert_msg(values[i] == expected[i], "%s: [%u][%u] is %g, not %g", claim, (unsigned)row, (unsigned)i,
                      (double)values[i], (double)expected[i]);
}

START_TEST(dequantizes)
{
    (void)write_directory(cases[_i].config, cases[_i].header, cases[_i].script);
    open_source(dir.path);
    ck_assert_uint_eq(hone_checkpoint_n_tensors(ckpt), 1);
    const hone_tensor *t = hone_checkpoint_find(ckpt, "a.weight");
    ck_assert_ptr_nonnull(t);
    ck_assert_int_eq(t->dtype, HONE_F32);
    ck_assert_uint_eq(t->shape[0], cases[_i].rows);
    ck_assert_uint_eq(t->shape[1], cases[_i].cols);
    expect_row(cases[_i].claim, 0, t->shape[1], cases[_i].first);
    expect_row(cases[_i].claim, t->shape[0] - 1, t->shape[1], cases[_i].last);
}
END_TEST

static hone_status open_and_read(void *user)
{
    (void)user;
    float values[256];
    hone_status status = hone_checkpoint_open(dir.path, NULL, &ckpt, &err);
    if (status == HONE_OK) {
        const hone_tensor *t = hone_checkpoint_find(ckpt, "a.weight");
        status = hone_checkpoint_read(ckpt, t, 0, (size_t)t->nbytes, values, &err);
    }
    hone_checkpoint_close(ckpt);
    ckpt = NULL;
    return status;
}

START_TEST(every_failing_allocation_is_reported)
{
    (void)write_directory(cases[_i].config, cases[_i].header, cases[_i].script);
    fail_each_allocation(open_and_read, NULL, 20);
}
END_TEST

/* --- contradictions --- */

enum { DATA = HONE_ERROR_DATA, UNSUPPORTED = HONE_ERROR_UNSUPPORTED, CONFIG = -1 };

/* at: the error's offset counted from the data's start; CONFIG: none, the fault is in config.json. */
static const struct {
    const char *claim, *config, *header;
    size_t nbytes;
    int status, at;
    const char *item;
} bad[] = {
    {"an unknown method", "{\"quant_method\":\"quip\"}", GPTQ_PARTS, 52, UNSUPPORTED, CONFIG, "quant_method"},
    {"GPTQ with 5 bits", "{\"quant_method\":\"gptq\",\"bits\":5}", GPTQ_PARTS, 52, UNSUPPORTED, CONFIG, "bits"},
    {"bits that are a string", "{\"quant_method\":\"gptq\",\"bits\":\"4\"}", GPTQ_PARTS, 52, DATA, CONFIG, "bits"},
    {"bits beyond all bounds", "{\"quant_method\":\"gptq\",\"bits\":1000}", GPTQ_PARTS, 52, DATA, CONFIG, "bits"},
    {"groups of no columns", "{\"quant_method\":\"gptq\",\"group_size\":0}", GPTQ_PARTS, 52, DATA, CONFIG,
     "group_size"},
    {"the marlin layout", GPTQ(",\"is_marlin_format\":true"), GPTQ_PARTS, 52, UNSUPPORTED, CONFIG, "is_marlin_format"},
    {"an unknown GPTQ layout", GPTQ(",\"checkpoint_format\":\"gptq_p\""), GPTQ_PARTS, 52, UNSUPPORTED, CONFIG,
     "checkpoint_format"},
    {"a GPTQ layout that is a number", GPTQ(",\"checkpoint_format\":2"), GPTQ_PARTS, 52, DATA, CONFIG,
     "checkpoint_format"},
    {"codes in words of 16 bits", GPTQ(",\"pack_dtype\":\"int16\""), GPTQ_PARTS, 52, UNSUPPORTED, CONFIG, "pack_dtype"},
    {"no zeros", GPTQ(""), T("a.qweight", "I32", "[1,8]", 0, 32) "," T("a.scales", "F16", "[1,8]", 32, 48), 48, DATA, 0,
     "a.qweight"},
    {"no scales", GPTQ(""), T("a.qweight", "I32", "[1,8]", 0, 32) "," T("a.qzeros", "I32", "[1,1]", 32, 36), 36, DATA,
     0, "a.qweight"},
    {"codes of floats", GPTQ(""),
     T("a.qweight", "F32", "[1,8]", 0, 32) "," T("a.qzeros", "I32", "[1,1]", 32, 36) "," T("a.scales", "F16", "[1,8]",
                                                                                           36, 52),
     52, DATA, 0, "a.qweight"},
    {"codes of three axes", GPTQ(""),
     T("a.qweight", "I32", "[1,1,8]", 0, 32) "," T("a.qzeros", "I32", "[1,1]", 32, 36) "," T("a.scales", "F16", "[1,8]",
                                                                                             36, 52),
     52, UNSUPPORTED, 0, "a.qweight"},
    {"no codes", GPTQ(""),
     T("a.qweight", "I32", "[0,8]", 0, 0) "," T("a.qzeros", "I32", "[1,1]", 0, 4) "," T("a.scales", "F16", "[1,8]", 4,
                                                                                        20),
     20, DATA, 0, "a.qweight"},
    {"too many zeros", GPTQ(""),
     T("a.qweight", "I32", "[1,8]", 0, 32) "," T("a.qzeros", "I32", "[2,1]", 32, 40) "," T("a.scales", "F16", "[1,8]",
                                                                                           40, 56),
     56, DATA, 32, "a.qzeros"},
    {"too few scales", GPTQ(""),
     T("a.qweight", "I32", "[1,8]", 0, 32) "," T("a.qzeros", "I32", "[1,1]", 32, 36) "," T("a.scales", "F16", "[1,4]",
                                                                                           36, 44),
     44, DATA, 36, "a.scales"},
    {"scales of integers", GPTQ(""),
     T("a.qweight", "I32", "[1,8]", 0, 32) "," T("a.qzeros", "I32", "[1,1]", 32, 36) "," T("a.scales", "I16", "[1,8]",
                                                                                           36, 52),
     52, DATA, 36, "a.scales"},
    {"an order of too few columns", GPTQ(""), GPTQ_PARTS "," T("a.g_idx", "I32", "[7]", 52, 80), 80, DATA, 52,
     "a.g_idx"},
    {"seven outputs", GPTQ(""),
     T("a.qweight", "I32", "[1,7]", 0, 28) "," T("a.qzeros", "I32", "[1,1]", 28, 32) "," T("a.scales", "F16", "[1,7]",
                                                                                           32, 46),
     46, DATA, 0, "a.qweight"},
    {"two rows of words of 3 bits", "{\"quant_method\":\"gptq\",\"bits\":3,\"group_size\":-1}",
     T("a.qweight", "I32", "[2,32]", 0, 256) "," T("a.qzeros", "I32", "[1,3]", 256, 268) "," T("a.scales", "F16",
                                                                                               "[1,32]", 268, 332),
     332, DATA, 0, "a.qweight"},
    {"AWQ with 8 bits", "{\"quant_method\":\"awq\",\"bits\":8}", GPTQ_PARTS, 52, UNSUPPORTED, CONFIG, "bits"},
    {"AWQ for vectors", "{\"quant_method\":\"awq\",\"bits\":4,\"version\":\"gemv\"}", GPTQ_PARTS, 52, UNSUPPORTED,
     CONFIG, "version"},
    {"AWQ zeros of another shape", "{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":4}",
     T("a.qweight", "I32", "[8,1]", 0, 32) "," T("a.qzeros", "I32", "[1,1]", 32, 36) "," T("a.scales", "F16", "[2,8]",
                                                                                           36, 68),
     68, DATA, 32, "a.qzeros"},
    {"an unknown compressed format", "{\"quant_method\":\"compressed-tensors\",\"format\":\"marlin-24\"}", GPTQ_PARTS,
     52, UNSUPPORTED, CONFIG, "format"},
    {"a sparse weight",
     "{\"quant_method\":\"compressed-tensors\",\"sparsity_config\":{\"format\":\"sparse-24-bitmask\"}}", GPTQ_PARTS, 52,
     UNSUPPORTED, CONFIG, "sparsity_config"},
    {"an unknown strategy",
     "{\"quant_method\":\"compressed-tensors\",\"config_groups\":{\"g\":{\"weights\":{\"num_bits\":4,\"strategy\":"
     "\"token\"}}}}",
     GPTQ_PARTS, 52, UNSUPPORTED, CONFIG, "strategy"},
    {"floats of 6 bits",
     "{\"quant_method\":\"compressed-tensors\",\"config_groups\":{\"g\":{\"weights\":{\"num_bits\":6,\"type\":"
     "\"float\"}"
     "}}}",
     GPTQ_PARTS, 52, UNSUPPORTED, CONFIG, "num_bits"},
    {"a packed weight without a shape", PACKED(4, 8),
     T("a.weight_packed", "I32", "[2,1]", 0, 8) "," T("a.weight_scale", "BF16", "[2,1]", 8, 12), 12, DATA, 0,
     "a.weight_packed"},
    {"a shape of zeros", PACKED(4, 8),
     T("a.weight_packed", "I32", "[2,1]", 0, 8) "," T("a.weight_scale", "BF16", "[2,1]", 8,
                                                      12) "," T("a.weight_shape", "I64", "[2]", 12, 28),
     28, DATA, 12, "a.weight_shape"},
    {"a shape of three", PACKED(4, 8),
     T("a.weight_packed", "I32", "[2,1]", 0, 8) "," T("a.weight_scale", "BF16", "[2,1]", 8,
                                                      12) "," T("a.weight_shape", "I64", "[3]", 12, 36),
     36, DATA, 12, "a.weight_shape"},
    {"FP8 blocks of one figure", "{\"quant_method\":\"fp8\",\"weight_block_size\":[128]}",
     T("a.weight", "F8_E4M3", "[2,2]", 0, 4), 4, DATA, CONFIG, "weight_block_size"},
    {"FP8 without scales", "{\"quant_method\":\"fp8\"}", T("a.weight", "F8_E4M3", "[2,2]", 0, 4), 4, DATA, 0,
     "a.weight"},
    {"FP8 with too few scales", "{\"quant_method\":\"fp8\",\"weight_block_size\":[2,2]}",
     T("a.weight", "F8_E4M3", "[3,3]", 0, 9) "," T("a.weight_scale_inv", "F32", "[2]", 9, 17), 17, DATA, 9,
     "a.weight_scale_inv"},
    {"NVFP4 with one scale for two groups",
     "{\"quant_method\":\"compressed-tensors\",\"format\":\"nvfp4-pack-quantized\",\"config_groups\":{}}",
     T("a.weight_packed", "U8", "[1,16]", 0, 16) "," T("a.weight_scale", "F8_E4M3", "[1,1]", 16,
                                                       17) "," T("a.weight_global_scale", "F32", "[1]", 17, 21),
     21, DATA, 16, "a.weight_scale"},
    {"an unknown ModelOpt algorithm", "{\"quant_method\":\"modelopt\",\"quant_algo\":\"W4A8_AWQ\"}", GPTQ_PARTS, 52,
     UNSUPPORTED, CONFIG, "quant_algo"},
    {"an unknown MLX mode", "{\"group_size\":32,\"bits\":4,\"mode\":\"qqq\"}",
     T("a.weight", "U32", "[1,4]", 0, 16) "," T("a.scales", "F16", "[1,1]", 16, 18), 18, UNSUPPORTED, CONFIG, "mode"},
    {"MLX with 7 bits", "{\"group_size\":32,\"bits\":7}",
     T("a.weight", "U32", "[1,7]", 0, 28) "," T("a.scales", "F16", "[1,1]", 28, 30), 30, UNSUPPORTED, CONFIG, "bits"},
    {"MLX without biases", "{\"group_size\":32,\"bits\":4}",
     T("a.weight", "U32", "[1,4]", 0, 16) "," T("a.scales", "F16", "[1,1]", 16, 18), 18, DATA, 0, "a.weight"},
    {"MLX rows that are no groups", "{\"group_size\":64,\"bits\":4}",
     T("a.weight", "U32", "[1,4]", 0, 16) "," T("a.scales", "F16", "[1,1]", 16, 18) "," T("a.biases", "F16", "[1,1]",
                                                                                          18, 20),
     20, DATA, 0, "a.weight"},
    {"NF4 whose state is no JSON", NF4,
     T("a.weight", "U8", "[2,1]", 0, 2) "," T("a.weight.absmax", "F32", "[2]", 2, 10) "," T(
         "a.weight.quant_map", "F32", "[16]", 10, 74) "," T("a.weight.quant_state.bitsandbytes__nf4", "U8", "[2]", 74,
                                                            76),
     76, DATA, 75, "a.weight.quant_state.bitsandbytes__nf4"},
    {"NF4 without its map", NF4,
     T("a.weight", "U8", "[2,1]", 0, 2) "," T("a.weight.absmax", "F32", "[2]", 2,
                                              10) "," T("a.weight.quant_state.bitsandbytes__nf4", "U8", "[2]", 10, 12),
     12, DATA, 0, "a.weight"},
    {"int8 with a scale too few", "{\"quant_method\":\"bitsandbytes\",\"load_in_8bit\":true}",
     T("a.weight", "I8", "[2,2]", 0, 4) "," T("a.SCB", "F32", "[1]", 4, 8), 8, DATA, 4, "a.SCB"},
};

START_TEST(rejects_contradictions)
{
    char script[32];
    (void)snprintf(script, sizeof script, "zero=%zu", bad[_i].nbytes);
    const uint64_t start = write_directory(bad[_i].config, bad[_i].header, script);
    const uint64_t at = bad[_i].at == CONFIG ? HONE_NO_OFFSET : start + (uint64_t)bad[_i].at;
    expect_error_in(dir.path, bad[_i].at == CONFIG ? "/config.json" : "/model.safetensors", bad[_i].claim,
                    (hone_status)bad[_i].status, at, bad[_i].item);
}
END_TEST

/* What only the data show comes up when they are read. */
START_TEST(rejects_data_that_contradict_their_shapes)
{
    static const struct {
        const char *config, *header, *script, *item;
    } late[] = {
        {GPTQ(""), GPTQ_PARTS "," T("a.g_idx", "I32", "[8]", 52, 84),
         WORDS8("0") "u32=0 " HALVES8("0") "u32=0 u32=0 u32=0 u32=0 u32=1 u32=0 u32=0 u32=0", "a.g_idx"},
        {GPTQ(""), GPTQ_PARTS "," T("a.g_idx", "I32", "[8]", 52, 84),
         WORDS8("0") "u32=0 " HALVES8("0") "u32=0 u32=0 u32=0 u32=0 i32=-2 u32=0 u32=0 u32=0", "a.g_idx"},
        {"{\"quant_method\":\"compressed-tensors\",\"format\":\"nvfp4-pack-quantized\",\"config_groups\":{}}",
         T("a.weight_packed", "U8", "[1,8]", 0, 8) "," T("a.weight_scale", "F8_E4M3", "[1,1]", 8,
                                                         9) "," T("a.weight_global_scale", "F32", "[1]", 9, 13),
         "zero=9 f32=0", "a.weight_global_scale"},
    };
    (void)write_directory(late[_i].config, late[_i].header, late[_i].script);
    open_source(dir.path);
    float row[16];
    const hone_tensor *t = hone_checkpoint_find(ckpt, "a.weight");
    ck_assert_int_eq(hone_checkpoint_read(ckpt, t, 0, 32, row, &err), HONE_ERROR_DATA);
    ck_assert_str_eq(err.item, late[_i].item);
    ck_assert(err.offset != HONE_NO_OFFSET);
}
END_TEST

START_TEST(leaves_alone_what_is_not_quantized)
{
    (void)write_directory(
        GPTQ(""), GPTQ_PARTS "," T("lm_head.weight", "F32", "[1,2]", 52, 60) "," T("a.bias", "F16", "[1]", 60, 62),
        "zero=62");
    open_source(dir.path);
    ck_assert_uint_eq(hone_checkpoint_n_tensors(ckpt), 3);
    ck_assert_int_eq(hone_checkpoint_find(ckpt, "a.bias")->dtype, HONE_F16);
    ck_assert_ptr_null(hone_checkpoint_find(ckpt, "lm_head.weight")->view);
}
END_TEST

Suite *hone_suite_unquantize(void)
{
    Suite *suite = suite_create("unquantize");
    TCase *core = tcase_create("core");
    tcase_add_checked_fixture(core, set_up_source, tear_down_source);
    tcase_add_loop_test(core, dequantizes, 0, COUNT(cases));
    tcase_add_loop_test(core, every_failing_allocation_is_reported, 0, COUNT(cases));
    tcase_add_test(core, leaves_alone_what_is_not_quantized);
    suite_add_tcase(suite, core);
    TCase *malformed = tcase_create("malformed");
    tcase_add_checked_fixture(malformed, set_up_source, tear_down_source);
    tcase_add_loop_test(malformed, rejects_contradictions, 0, COUNT(bad));
    tcase_add_loop_test(malformed, rejects_data_that_contradict_their_shapes, 0, 3);
    suite_add_tcase(suite, malformed);
    return suite;
}
