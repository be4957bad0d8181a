/* SPDX-License-Identifier: MIT */
#include "convert/measure.h"

#include "convert/grid_parts.h"
#include "convert/measure_kernels.h"
#include "formats/decode.h"

/* Decoded at a time: whole blocks of every type, and little enough to stay in the first cache. */
enum { PIECE_NELEMS = 2048, PLAIN_BLOCK = 32, LANES = 8 };

bool hone_is_measured(const hone_planned_tensor *t)
{
    if (t->weight)
        return t->part == HONE_PART_CODES;
    if (!t->source || t->dtype == t->source->dtype || t->row_nelems == 1)
        return false;
    return hone_dtype_describe(t->dtype)->is_quantized || t->dtype == HONE_F16 || t->dtype == HONE_BF16;
}

static hone_row_sums sum_exactly(const float *x, const float *y, size_t n)
{
    hone_row_sums s = {0};
    for (size_t i = 0; i < n; i++) {
        const double a = (double)x[i], b = (double)y[i];
        s.squared_error += (a - b) * (a - b);
        s.squared_source += a * a;
        s.squared_output += b * b;
        s.dot += a * b;
    }
    return s;
}

static float add_lanes(const float v[LANES])
{
    return ((v[0] + v[4]) + (v[1] + v[5])) + ((v[2] + v[6]) + (v[3] + v[7]));
}

static void measure_blocks(const float *x, const float *y, size_t n_blocks, size_t block, hone_block_sums *out)
{
    for (size_t b = 0; b < n_blocks; b++, x += block, y += block) {
        float error[LANES] = {0}, source[LANES] = {0}, output[LANES] = {0}, dot[LANES] = {0};
        for (size_t i = 0; i < block; i += LANES)
            for (size_t k = 0; k < LANES; k++) {
                const float p = x[i + k], q = y[i + k], d = p - q;
                error[k] += d * d;
                source[k] += p * p;
                output[k] += q * q;
                dot[k] += p * q;
            }
        out[b] = (hone_block_sums){add_lanes(error), add_lanes(source), add_lanes(output), add_lanes(dot)};
    }
}

static hone_measure_fn choose_kernel(hone_cpu_level cpu)
{
#if defined(__x86_64__)
    if (cpu == HONE_CPU_AVX2 || cpu == HONE_CPU_AVX512)
        return hone_measure_blocks_avx2;
#else
    (void)cpu;
#endif
    return measure_blocks;
}

/* Of ordinary magnitude: squares neither overflow nor are lost. */
static bool is_ordinary(float sum_of_squares)
{
    return sum_of_squares > 0x1p-80f && sum_of_squares < 0x1p100f;
}

/* A run of blocks within a row; the last may be short. index: of the first. */
static void measure_piece(hone_measure_fn kernel, const float *x, const float *y, size_t n, size_t block,
                          uint64_t index, hone_row_sums *sums, hone_measure *out)
{
    hone_block_sums fast[PIECE_NELEMS / PLAIN_BLOCK];
    const size_t whole = n / block;
    kernel(x, y, whole, block, fast);
    for (size_t b = 0; b * block < n; b++) {
        hone_row_sums s;
        if (b < whole && is_ordinary(fast[b].squared_source) && is_ordinary(fast[b].squared_output))
            s = (hone_row_sums){(double)fast[b].squared_error, (double)fast[b].squared_source,
                                (double)fast[b].squared_output, (double)fast[b].dot};
        else
            s = sum_exactly(x + b * block, y + b * block, b < whole ? block : n % block);
        sums->squared_error += s.squared_error;
        sums->squared_source += s.squared_source;
        sums->squared_output += s.squared_output;
        sums->dot += s.dot;
        if (s.squared_error > out->worst_squared_error) {
            out->worst_squared_error = s.squared_error;
            out->worst_block = index + b;
            out->worst_nelems = b < whole ? block : n % block;
        }
    }
}

/* Elements that share a scale; where none or too many do, a few of them. */
static size_t block_nelems(const hone_plan *plan, const hone_planned_tensor *t)
{
    const hone_dtype_info *info = hone_dtype_describe(t->dtype);
    const uint64_t group = t->weight ? plan->weights[t->weight - 1].group : info->block_nelems;
    return group > 1 && PIECE_NELEMS % group == 0 ? (size_t)group : PLAIN_BLOCK;
}

void hone_measure_rows(const hone_plan *plan, const hone_planned_tensor *t, hone_cpu_level cpu, uint64_t row,
                       uint64_t nrows, const float *values, const void *encoded, hone_measure *m)
{
    const hone_decode_fn decode = hone_decoder(t->dtype, cpu);
    const hone_measure_fn kernel = choose_kernel(cpu);
    const hone_dtype_info *info = hone_dtype_describe(t->dtype);
    const size_t block = block_nelems(plan, t), ncols = (size_t)t->row_nelems;
    uint64_t index = row * ((ncols + block - 1) / block);
    if (m->n_rows == 0) { /* found at once, unless all is NaN: scales beyond f16 */
        m->worst_block = index;
        m->worst_nelems = block;
        m->worst_squared_error = -1;
    }
    for (uint64_t r = 0; r < nrows; r++) {
        const uint8_t *src = (const uint8_t *)encoded + r * t->row_nbytes;
        hone_row_sums *sums = &m->rows[m->n_rows++];
        *sums = (hone_row_sums){0};
        for (size_t first = 0; first < ncols; first += PIECE_NELEMS) {
            float decoded[PIECE_NELEMS];
            const size_t n = ncols - first < PIECE_NELEMS ? ncols - first : PIECE_NELEMS;
            if (t->weight)
                hone_grid_decode_piece(&plan->weights[t->weight - 1], nrows, encoded, r, first, n, decoded);
            else
                decode(src + first / info->block_nelems * info->block_nbytes, decoded, n);
            measure_piece(kernel, values + r * ncols + first, decoded, n, block, index, sums, m);
            index += (n + block - 1) / block;
        }
    }
}

void hone_measure_add(const hone_planned_tensor *t, const hone_measure *m, hone_tensor_error *error)
{
    for (size_t r = 0; r < m->n_rows; r++) {
        error->squared_error += m->rows[r].squared_error;
        error->squared_source += m->rows[r].squared_source;
        error->squared_output += m->rows[r].squared_output;
        error->dot += m->rows[r].dot;
    }
    error->nelems += m->n_rows * t->row_nelems;
    if (!error->measured || m->worst_squared_error > error->worst_squared_error) {
        error->worst_squared_error = m->worst_squared_error;
        error->worst_block = m->worst_block;
        error->worst_nelems = (uint32_t)m->worst_nelems;
    }
    error->measured = true;
}
