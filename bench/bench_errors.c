/* SPDX-License-Identifier: MIT */
/* How much lower the root mean square error of the best search is than that of the reference search. */
#include "bench/bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cpu.h"
#include "formats/decode.h"
#include "quantize/encode.h"

enum { NCOLS = 2048, NROWS = 64 };

static double uniform(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return ((double)(*state >> 11) + 0.5) * 0x1p-53;
}

static double gaussian(uint64_t *state)
{
    const double radius = sqrt(-2.0 * log(uniform(state)));
    return radius * cos(6.283185307179586 * uniform(state));
}

/* Student's t with five degrees of freedom: tails as heavy as those of many weights. */
static double student5(uint64_t *state)
{
    const double z = gaussian(state);
    double squares = 0;
    for (int i = 0; i < 5; i++) {
        const double g = gaussian(state);
        squares += g * g;
    }
    return z / sqrt(squares / 5.0);
}

static const struct {
    const char *name;
    double (*draw)(uint64_t *state);
} sources[] = {{"gaussian", gaussian}, {"t(5)", student5}};
enum { N_SOURCES = sizeof sources / sizeof sources[0] };

/* What best has to gain, in percent of RMSE, without importance and with; 0: nothing is asked for. */
static const struct {
    hone_dtype dtype;
    double plain, weighted;
} types[] = {
    {HONE_Q2_K, 2.5, 2.5}, {HONE_Q3_K, 4.5, 2.0},   {HONE_Q4_K, 2.5, 2.5},   {HONE_Q5_K, 2.5, 2.5},
    {HONE_Q6_K, 7.0, 7.0}, {HONE_Q4_0, 4.0, 4.0},   {HONE_Q5_0, 4.0, 4.0},   {HONE_Q4_1, 0, 0},
    {HONE_Q5_1, 0, 0},     {HONE_IQ4_NL, 3.0, 3.0}, {HONE_IQ4_XS, 3.0, 3.0}, {HONE_MXFP4, 2.5, 2.5},
    {HONE_NVFP4, 10, 10},  {HONE_TQ1_0, 0, 0},      {HONE_TQ2_0, 0, 0},      {HONE_IQ3_S, 0, 0},
    {HONE_IQ3_XXS, 0, 0},  {HONE_IQ2_S, 0, 0},      {HONE_IQ2_XS, 0, 0},     {HONE_IQ2_XXS, 0, 0},
    {HONE_IQ1_M, 0, 0},    {HONE_IQ1_S, 0, 0},
};
enum { N_TYPES = sizeof types / sizeof types[0] };

/* What columns are weighted by: nothing, e to a Gaussian, the square of a Gaussian. */
enum { EQUAL, LOG_NORMAL, SQUARE, N_LAWS };
static const char *const law_names[N_LAWS] = {"1", "e^gaussian", "gaussian^2"};

struct rows {
    float *x, *importance[N_LAWS], *decoded;
    unsigned char *blocks;
};

/* The weighted squared error of all rows as decoded. */
static double error_of(const struct rows *r, hone_dtype dtype, hone_search search, const float *importance)
{
    const hone_encode_fn encode = hone_encoder(dtype, search, hone_cpu_best());
    const hone_decode_fn decode = hone_decoder(dtype, hone_cpu_best());
    double sum = 0;
    for (size_t row = 0; row < NROWS; row++) {
        const float *x = r->x + row * NCOLS;
        encode(x, NCOLS, importance, r->blocks);
        decode(r->blocks, r->decoded, NCOLS);
        for (size_t i = 0; i < NCOLS; i++) {
            const double miss = (double)x[i] - (double)r->decoded[i];
            sum += (importance ? (double)importance[i] : 1.0) * miss * miss;
        }
    }
    return sum;
}

static void print_line(hone_bench *bench, const struct rows *r, size_t type, const char *source, int law)
{
    const hone_dtype dtype = types[type].dtype;
    const char *name = hone_dtype_describe(dtype)->name;
    if (!hone_bench_wants(bench, name))
        return;
    const float *importance = r->importance[law];
    const double reference = error_of(r, dtype, HONE_SEARCH_REFERENCE, importance);
    const double best = error_of(r, dtype, HONE_SEARCH_BEST, importance);
    const double gain = 100.0 * (1.0 - sqrt(best / reference));
    const double target = law == EQUAL ? types[type].plain : types[type].weighted;
    if (bench->csv)
        (void)printf("%s,%s,%s,%.3f,%.1f\n", name, source, law_names[law], gain, target);
    else
        (void)printf("%-8s %-10s %-12s %9.2f %% %9.1f %%%s\n", name, source, law_names[law], gain, target,
                     gain < target ? "  missed" : "");
    (void)fflush(stdout);
}

void hone_bench_errors(hone_bench *bench)
{
    struct rows r = {
        .x = malloc(NROWS * NCOLS * sizeof *r.x),
        .importance = {[LOG_NORMAL] = malloc(NCOLS * sizeof(float)), [SQUARE] = malloc(NCOLS * sizeof(float))},
        .decoded = malloc(NCOLS * sizeof *r.decoded),
        .blocks = malloc(NCOLS * sizeof(float)),
    };
    if (!r.x || !r.importance[LOG_NORMAL] || !r.importance[SQUARE] || !r.decoded || !r.blocks)
        abort();
    uint64_t state = 1;
    for (size_t i = 0; i < NCOLS; i++) {
        r.importance[LOG_NORMAL][i] = (float)exp(gaussian(&state));
        r.importance[SQUARE][i] = (float)pow(gaussian(&state), 2.0);
    }
    if (bench->csv)
        (void)puts("type,weights,error weighted by,rmse below reference %,target %");
    else
        (void)printf("%-8s %-10s %-12s %11s %11s\n", "", "weights", "error by", "RMSE lower", "target");
    for (size_t source = 0; source < N_SOURCES; source++) {
        for (size_t i = 0; i < (size_t)NROWS * NCOLS; i++) /* an octave of sizes: mxfp4's scales are powers of two */
            r.x[i] = (float)(0.02 * exp2((double)(i / NCOLS) / NROWS) * sources[source].draw(&state));
        for (size_t type = 0; type < N_TYPES; type++)
            for (int law = 0; law < N_LAWS; law++)
                print_line(bench, &r, type, sources[source].name, law);
    }
    free(r.x);
    for (int law = 0; law < N_LAWS; law++)
        free(r.importance[law]);
    free(r.decoded);
    free(r.blocks);
}
