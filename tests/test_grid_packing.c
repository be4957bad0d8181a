/* SPDX-License-Identifier: MIT */
/* What is packed to the words of a layout is unpacked again. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "convert/grid_packing.h"
#include "tests/support/seeded_weights.h"

Suite *hone_suite_grid_packing(void);

enum { N_ROWS = 2 * HONE_GRID_ROWS_UNIT, N_COLS = 96, GROUP = 32, N_GROUPS = N_COLS / GROUP };

static const hone_grid grids[] = {
    {HONE_GRID_COMPRESSED, 4, false, HONE_BF16, NULL}, {HONE_GRID_COMPRESSED, 4, true, HONE_F16, NULL},
    {HONE_GRID_COMPRESSED, 8, true, HONE_F32, NULL},   {HONE_GRID_GPTQ, 2, false, HONE_F16, NULL},
    {HONE_GRID_GPTQ, 3, false, HONE_F16, NULL},        {HONE_GRID_GPTQ, 4, true, HONE_F16, NULL},
    {HONE_GRID_GPTQ, 8, false, HONE_F16, NULL},        {HONE_GRID_AWQ, 4, false, HONE_F16, NULL},
    {HONE_GRID_MLX, 2, false, HONE_F32, NULL},         {HONE_GRID_MLX, 3, false, HONE_BF16, NULL},
    {HONE_GRID_MLX, 6, false, HONE_F16, NULL},
};
enum { N_GRIDS = sizeof grids / sizeof grids[0] };

static uint8_t codes[N_ROWS * N_COLS], read_codes[N_ROWS * N_COLS];
static float scales[N_ROWS * N_GROUPS], read_scales[N_ROWS * N_GROUPS];
static float zeros[N_ROWS * N_GROUPS], read_zeros[N_ROWS * N_GROUPS];

/* Whether zeros are stored, or the middle code stands for them. */
static bool has_zeros(const hone_grid *grid)
{
    return grid->rule != HONE_GRID_COMPRESSED || !grid->symmetric;
}

static void fill(const hone_grid *grid)
{
    const unsigned n = 1u << grid->bits;
    for (size_t i = 0; i < N_ROWS * N_COLS; i++)
        codes[i] = (uint8_t)(hone_seeded_bits(1, i) % n);
    for (size_t i = 0; i < N_ROWS * N_GROUPS; i++) {
        /* Few bits: the same in every type of scale. */
        scales[i] = (float)(1 + hone_seeded_bits(2, i) % 200) * 0x1p-6f;
        zeros[i] = has_zeros(grid) ? (float)(hone_seeded_bits(3, i) % n) : (float)(n / 2);
    }
    memset(read_codes, 0xa5, sizeof read_codes);
    memset(read_scales, 0xff, sizeof read_scales);
    memset(read_zeros, 0xff, sizeof read_zeros);
}

static size_t count_ones(const uint8_t *bytes, size_t n)
{
    size_t ones = 0;
    for (size_t i = 0; i < 8 * n; i++)
        ones += bytes[i / 8] >> i % 8 & 1;
    return ones;
}

START_TEST(what_was_packed_is_unpacked)
{
    const hone_grid_weight w = {.grid = grids[_i], .out = N_ROWS, .in = N_COLS, .group = GROUP};
    const hone_grid_codes written = {&w, N_ROWS, N_GROUPS, codes, scales, zeros};
    const hone_grid_codes read = {&w, N_ROWS, N_GROUPS, read_codes, read_scales, read_zeros};
    const size_t codes_nbytes = N_ROWS * N_COLS * w.grid.bits / 8;
    const hone_piece pieces[HONE_N_PARTS] = {{.at = 0}, {.at = codes_nbytes}, {.at = codes_nbytes + sizeof scales}};
    const unsigned n_pieces = has_zeros(&w.grid) ? HONE_N_PARTS : HONE_PART_ZEROS;
    uint8_t *packed = calloc(1, codes_nbytes + sizeof scales + sizeof zeros);
    ck_assert_ptr_nonnull(packed);
    fill(&w.grid);
    hone_grid_pack(&written, pieces, n_pieces, packed);
    hone_grid_unpack(&read, pieces, n_pieces, packed);
    ck_assert_mem_eq(read_codes, codes, sizeof codes);
    ck_assert_mem_eq(read_scales, scales, sizeof scales);
    ck_assert_mem_eq(read_zeros, zeros, sizeof zeros);
    ck_assert_uint_eq(count_ones(packed, codes_nbytes), count_ones(codes, sizeof codes));
    free(packed);
}
END_TEST

/* The places of grid_parts.h: of one code that is all ones, in row 9 and column 34. */
START_TEST(a_code_lies_where_the_layout_has_it)
{
    enum { ROW = 9, COLUMN = 34 };
    static const struct {
        hone_grid grid;
        size_t word;
        unsigned bit;
    } places[] = {
        {{HONE_GRID_COMPRESSED, 4, true, HONE_F16, NULL}, ROW * N_COLS / 8 + COLUMN / 8, COLUMN % 8 * 4},
        {{HONE_GRID_GPTQ, 4, false, HONE_F16, NULL}, COLUMN / 8 * N_ROWS + ROW, COLUMN % 8 * 4},
        {{HONE_GRID_GPTQ, 8, false, HONE_F16, NULL}, COLUMN / 4 * N_ROWS + ROW, COLUMN % 4 * 8},
        {{HONE_GRID_AWQ, 4, false, HONE_F16, NULL}, COLUMN * N_ROWS / 8 + ROW / 8, 4 * 4}, /* the second of eight */
        {{HONE_GRID_MLX, 2, false, HONE_F16, NULL}, ROW * N_COLS / 16 + COLUMN / 16, COLUMN % 16 * 2},
    };
    const hone_grid_weight w = {.grid = places[_i].grid, .out = N_ROWS, .in = N_COLS, .group = GROUP};
    const hone_grid_codes written = {&w, N_ROWS, N_GROUPS, codes, scales, zeros};
    static uint8_t packed[N_ROWS * N_COLS + sizeof scales + sizeof zeros];
    const hone_piece pieces[HONE_N_PARTS] = {
        {.at = 0}, {.at = N_ROWS * N_COLS}, {.at = N_ROWS * N_COLS + sizeof scales}};
    fill(&w.grid);
    memset(codes, 0, sizeof codes);
    codes[ROW * N_COLS + COLUMN] = (uint8_t)((1u << w.grid.bits) - 1);
    hone_grid_pack(&written, pieces, has_zeros(&w.grid) ? HONE_N_PARTS : HONE_PART_ZEROS, packed);
    ck_assert_uint_eq(count_ones(packed, N_ROWS * N_COLS), w.grid.bits);
    for (unsigned b = places[_i].bit; b < places[_i].bit + w.grid.bits; b++)
        ck_assert_uint_eq(packed[places[_i].word * 4 + b / 8] >> b % 8 & 1, 1);
}
END_TEST

Suite *hone_suite_grid_packing(void)
{
    Suite *s = suite_create("grid_packing");
    TCase *tc = tcase_create("core");
    tcase_add_loop_test(tc, what_was_packed_is_unpacked, 0, N_GRIDS);
    tcase_add_loop_test(tc, a_code_lies_where_the_layout_has_it, 0, 5);
    suite_add_tcase(s, tc);
    return s;
}
