/* SPDX-License-Identifier: MIT */
/* Matrices of the forward pass: loading and decoding. */
#include <check.h>
#include <string.h>

#include "tests/support/byte_builder.h"
#include "tests/support/context_fixture.h"
#include "tests/support/opening.h"
#include "tests/support/test_dir.h"
#include "verify/weights.h"

Suite *hone_suite_weights(void);

static void set_up(void)
{
    make_dir();
    renew_context(2, 0);
}

static void tear_down(void)
{
    drop_context();
    remove_dir();
}

static hone_checkpoint *open_script(const char *script)
{
    hone_bytes b = {0};
    hone_bytes_script(&b, script);
    const char *path = hone_temp_file(&dir, "w.gguf", b.data, b.n);
    hone_bytes_free(&b);
    return must_open(path);
}

/* One row of nvfp4 whose sub-blocks have the scale 1 (0x38) and the codes 2 (low) and 13 (high): 1 and -3. */
#define MATRIX "str=blk.0.ffn_up.weight u32=2 u64=64 u64=1 u32=40 u64=0 "
#define CODES "u64=0xd2d2d2d2d2d2d2d2 "
#define DATA "pad=32 u32=0x38383838 " CODES CODES CODES CODES "pad=32 "

/* The row decodes to eight of `low` and eight of `high` in turn. */
static void expect_halves(const hone_checkpoint *ckpt, float low, float high)
{
    hone_weight w;
    hone_error err;
    ck_assert_int_eq(hone_weight_load(ctx, ckpt, "blk.0.ffn_up.weight", 1, 64, &w, &err), HONE_OK);
    float row[64];
    hone_weight_decode(&w, 0, 1, row);
    for (int i = 0; i < 64; i++)
        ck_assert_float_eq(row[i], i % 16 < 8 ? low : high);
    hone_weight_deinit(&w);
}

START_TEST(nvfp4_is_scaled_by_the_tensor_beside_it)
{
    hone_checkpoint *ckpt = open_script("raw=GGUF u32=3 u64=2 u64=0 " MATRIX
                                        "str=blk.0.ffn_up.scale u32=1 u64=1 u32=0 u64=64 " DATA "f32=0.25");
    expect_halves(ckpt, 0.25f, -0.75f);
    hone_checkpoint_close(ckpt);
}
END_TEST

START_TEST(without_a_scale_it_is_one)
{
    hone_checkpoint *ckpt = open_script("raw=GGUF u32=3 u64=1 u64=0 " MATRIX DATA);
    expect_halves(ckpt, 1.0f, -3.0f);
    hone_checkpoint_close(ckpt);
}
END_TEST

START_TEST(a_scale_must_be_one_number)
{
    hone_checkpoint *ckpt = open_script("raw=GGUF u32=3 u64=2 u64=0 " MATRIX
                                        "str=blk.0.ffn_up.scale u32=1 u64=2 u32=0 u64=64 " DATA "f32=0.25 f32=0.5");
    hone_weight w;
    hone_error err;
    ck_assert_int_eq(hone_weight_load(ctx, ckpt, "blk.0.ffn_up.weight", 1, 64, &w, &err), HONE_ERROR_DATA);
    ck_assert_str_eq(err.item, "blk.0.ffn_up.scale");
    hone_checkpoint_close(ckpt);
}
END_TEST

Suite *hone_suite_weights(void)
{
    Suite *suite = suite_create("weights");
    TCase *core = tcase_create("core");
    tcase_add_checked_fixture(core, set_up, tear_down);
    tcase_add_test(core, nvfp4_is_scaled_by_the_tensor_beside_it);
    tcase_add_test(core, without_a_scale_it_is_one);
    tcase_add_test(core, a_scale_must_be_one_number);
    suite_add_tcase(suite, core);
    return suite;
}
