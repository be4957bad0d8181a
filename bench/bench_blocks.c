/* SPDX-License-Identifier: MIT */
/* Encoding and decoding of every type, portable and best, on 64 Ki weights: they stay in the second-level cache. */
#include "bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "formats/decode.h"
#include "quantize/encode.h"

enum { NCOLS = 4096, NROWS = 16, NELEMS = NROWS * NCOLS };

struct task {
    hone_encode_fn encode; /* NULL when decoding */
    hone_decode_fn decode;
    const float *weights;
    const float *importance; /* or NULL */
    size_t row_nbytes;
    uint8_t *blocks, *ref_blocks;
    float *decoded, *ref_decoded;
};

static void run_encode(void *user)
{
    const struct task *t = user;
    for (size_t r = 0; r < NROWS; r++)
        t->encode(t->weights + r * NCOLS, NCOLS, t->importance, t->blocks + r * t->row_nbytes);
}

static bool check_encode(void *user)
{
    const struct task *t = user;
    return memcmp(t->blocks, t->ref_blocks, NROWS * t->row_nbytes) == 0;
}

static void run_decode(void *user)
{
    const struct task *t = user;
    t->decode(t->ref_blocks, t->decoded, NELEMS);
}

static bool check_decode(void *user)
{
    const struct task *t = user;
    return memcmp(t->decoded, t->ref_decoded, NELEMS * sizeof *t->decoded) == 0;
}

/* Bell-shaped, the sum of four uniform numbers; the same in every run. */
static void fill_weights(float *x, size_t n)
{
    uint64_t state = 1;
    for (size_t i = 0; i < n; i++) {
        int sum = 0;
        for (int k = 0; k < 4; k++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            sum += (int)(state >> 48) - 32768;
        }
        x[i] = (float)sum * 1e-6f;
    }
}

static void bench_encode(hone_bench *bench, hone_dtype dtype, hone_search search, hone_cpu_level level,
                         const char *what, struct task *t)
{
    const hone_dtype_info *info = hone_dtype_describe(dtype);
    char name[64];
    (void)snprintf(name, sizeof name, "%s %s %s", what, info->name, hone_cpu_name(level));
    if (!hone_bench_wants(bench, name))
        return;
    t->encode = hone_encoder(dtype, search, HONE_CPU_REF);
    run_encode(t);
    memcpy(t->ref_blocks, t->blocks, NROWS * t->row_nbytes);
    memset(t->blocks, 0, NROWS * t->row_nbytes);
    t->encode = hone_encoder(dtype, search, level);
    hone_bench_time(bench, &(hone_bench_entry){.name = name,
                                               .nelems = NELEMS,
                                               .nblocks = NELEMS / info->block_nelems,
                                               .nbytes = NELEMS * sizeof(float) + NROWS * t->row_nbytes,
                                               .run = run_encode,
                                               .check = check_encode,
                                               .user = t});
}

static void bench_decode(hone_bench *bench, hone_dtype dtype, hone_cpu_level level, struct task *t)
{
    const hone_dtype_info *info = hone_dtype_describe(dtype);
    char name[64];
    (void)snprintf(name, sizeof name, "decode %s %s", info->name, hone_cpu_name(level));
    if (!hone_bench_wants(bench, name))
        return;
    t->encode = hone_encoder(dtype, HONE_SEARCH_REFERENCE, level);
    run_encode(t);
    memcpy(t->ref_blocks, t->blocks, NROWS * t->row_nbytes);
    hone_decoder(dtype, HONE_CPU_REF)(t->ref_blocks, t->ref_decoded, NELEMS);
    t->decode = hone_decoder(dtype, level);
    hone_bench_time(bench, &(hone_bench_entry){.name = name,
                                               .nelems = NELEMS,
                                               .nblocks = NELEMS / info->block_nelems,
                                               .nbytes = NELEMS * sizeof(float) + NROWS * t->row_nbytes,
                                               .run = run_decode,
                                               .check = check_decode,
                                               .user = t});
}

void hone_bench_blocks(hone_bench *bench)
{
    float *weights = malloc(NELEMS * sizeof *weights), *importance = malloc(NCOLS * sizeof *importance);
    struct task t = {
        .weights = weights,
        .blocks = malloc(NELEMS * sizeof(float)),
        .ref_blocks = malloc(NELEMS * sizeof(float)),
        .decoded = malloc(NELEMS * sizeof(float)),
        .ref_decoded = malloc(NELEMS * sizeof(float)),
    };
    if (!weights || !importance || !t.blocks || !t.ref_blocks || !t.decoded || !t.ref_decoded)
        abort();
    hone_bench_header(bench);
    fill_weights(weights, NELEMS);
    for (size_t i = 0; i < NCOLS; i++)
        importance[i] = weights[i] * weights[i];

    hone_bench_header(bench);
    for (int d = HONE_INVALID + 1; d < HONE_N_DTYPES; d++) {
        const hone_dtype dtype = (hone_dtype)d;
        if (!hone_encoder(dtype, HONE_SEARCH_REFERENCE, HONE_CPU_REF))
            continue;
        uint64_t row_nbytes;
        if (hone_dtype_row_nbytes(dtype, NCOLS, &row_nbytes) != HONE_OK)
            abort();
        t.row_nbytes = (size_t)row_nbytes;
        for (int level = HONE_CPU_REF; level < HONE_CPU_N_LEVELS; level++) {
            hone_cpu_level chosen;
            if (hone_cpu_choose(hone_cpu_name((hone_cpu_level)level), &chosen, NULL) != HONE_OK)
                continue;
            t.importance = NULL;
            bench_decode(bench, dtype, (hone_cpu_level)level, &t);
            bench_encode(bench, dtype, HONE_SEARCH_REFERENCE, (hone_cpu_level)level, "encode", &t);
            t.importance = importance;
            if (!hone_dtype_describe(dtype)->is_quantized || dtype == HONE_Q8_0)
                continue;
            bench_encode(bench, dtype, HONE_SEARCH_REFERENCE, (hone_cpu_level)level, "encode weighted", &t);
            bench_encode(bench, dtype, HONE_SEARCH_BEST, (hone_cpu_level)level, "encode best weighted", &t);
            t.importance = NULL;
            bench_encode(bench, dtype, HONE_SEARCH_BEST, (hone_cpu_level)level, "encode best", &t);
        }
    }
    free(weights);
    free(importance);
    free(t.blocks);
    free(t.ref_blocks);
    free(t.decoded);
    free(t.ref_decoded);
}
