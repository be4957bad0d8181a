/* SPDX-License-Identifier: MIT */
#include "convert/measure.h"

#include "formats/decode.h"

/* Decoded at a time: whole blocks of every type, and little enough to stay in the first cache. */
enum { PIECE_NELEMS = 2048, PLAIN_BLOCK = 32, LANES = 8 };

bool hone_is_measured(const hone_planned_tensor *t)
{
    if (!t->source || t->weight || t->dtype == t->source->dtype || t->row_nelems == 1)
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

static double sum_of(const float lanes[LANES])
{
    double sum = 0;
    for (size_t k = 0; k < LANES; k++)
        sum += (double)lanes[k];
    return sum;
}

/* Of ordinary magnitude: squares neither overflow nor are lost. */
static bool is_ordinary(double sum_of_squares)
{
    return sum_of_squares > 0x1p-80 && sum_of_squares < 0x1p100;
}

static hone_row_sums sum_block(const float *x, const float *y, size_t n)
{
    float error[LANES] = {0}, source[LANES] = {0}, output[LANES] = {0}, dot[LANES] = {0};
    if (n % LANES != 0)
        return sum_exactly(x, y, n);
    for (size_t i = 0; i < n; i += LANES)
        for (size_t k = 0; k < LANES; k++) {
            const float a = x[i + k], b = y[i + k], d = a - b;
            error[k] += d * d;
            source[k] += a * a;
            output[k] += b * b;
            dot[k] += a * b;
        }
    const hone_row_sums s = {sum_of(error), sum_of(source), sum_of(output), sum_of(dot)};
    return is_ordinary(s.squared_source) && is_ordinary(s.squared_output) ? s : sum_exactly(x, y, n);
}

void hone_measure_rows(const hone_planned_tensor *t, hone_cpu_level cpu, uint64_t row, uint64_t nrows,
                       const float *values, const void *encoded, hone_measure *out)
{
    const hone_decode_fn decode = hone_decoder(t->dtype, cpu);
    const hone_dtype_info *info = hone_dtype_describe(t->dtype);
    const size_t block = info->is_quantized ? info->block_nelems : PLAIN_BLOCK, ncols = (size_t)t->row_nelems;
    uint64_t index = row * ((ncols + block - 1) / block);
    const uint8_t *src = encoded;
    out->worst_block = index;
    out->worst_squared_error = -1;
    for (uint64_t r = 0; r < nrows; r++) {
        hone_row_sums *sums = &out->rows[r];
        *sums = (hone_row_sums){0};
        for (size_t first = 0; first < ncols; first += PIECE_NELEMS) {
            float decoded[PIECE_NELEMS];
            const size_t n = ncols - first < PIECE_NELEMS ? ncols - first : PIECE_NELEMS;
            decode(src + first / info->block_nelems * info->block_nbytes, decoded, n);
            for (size_t i = 0; i < n; i += block, index++) {
                const hone_row_sums s =
                    sum_block(values + r * ncols + first + i, decoded + i, n - i < block ? n - i : block);
                sums->squared_error += s.squared_error;
                sums->squared_source += s.squared_source;
                sums->squared_output += s.squared_output;
                sums->dot += s.dot;
                if (s.squared_error > out->worst_squared_error) {
                    out->worst_squared_error = s.squared_error;
                    out->worst_block = index;
                }
            }
        }
        src += t->row_nbytes;
    }
}

void hone_measure_add(const hone_measure *m, uint64_t nrows, hone_tensor_error *error)
{
    for (uint64_t r = 0; r < nrows; r++) {
        error->squared_error += m->rows[r].squared_error;
        error->squared_source += m->rows[r].squared_source;
        error->squared_output += m->rows[r].squared_output;
        error->dot += m->rows[r].dot;
    }
    if (!error->measured || m->worst_squared_error > error->worst_squared_error) {
        error->worst_squared_error = m->worst_squared_error;
        error->worst_block = m->worst_block;
    }
    error->measured = true;
}
