/* SPDX-License-Identifier: MIT */
#include "bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct {
    const char *name;
    void (*run)(hone_bench *bench);
} suites[] = {
    {"files", hone_bench_files},
    {"blocks", hone_bench_blocks},
    {"errors", hone_bench_errors},
};
enum { N_SUITES = sizeof suites / sizeof suites[0], MAX_SAMPLES = 1 << 15 };

double hone_bench_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct timing {
    double best, median; /* seconds per run */
};

/* Runs for the given time, at least three times. */
static struct timing measure(void (*run)(void *user), void *user, double seconds)
{
    double *samples = malloc(MAX_SAMPLES * sizeof *samples);
    if (!samples)
        abort();
    const double end = hone_bench_now() + seconds;
    size_t n = 0;
    for (double start = hone_bench_now(); n < MAX_SAMPLES && (n < 3 || start < end); n++) {
        run(user);
        const double stop = hone_bench_now();
        samples[n] = stop - start;
        start = stop;
    }
    qsort(samples, n, sizeof *samples, compare_doubles);
    const struct timing t = {.best = samples[0], .median = samples[n / 2]};
    free(samples);
    return t;
}

struct copy {
    char *dst;
    const char *src;
    size_t nbytes;
};

static void run_copy(void *user)
{
    const struct copy *copy = user;
    memcpy(copy->dst, copy->src, copy->nbytes);
    /* Keep the copy, whose result nobody reads. */
    __asm__ volatile("" : : "r"(copy->dst) : "memory");
}

double hone_bench_copy_time(size_t traffic)
{
    const size_t nbytes = traffic / 2;
    char *src = malloc(nbytes), *dst = malloc(nbytes);
    if (!src || !dst)
        abort();
    memset(src, 1, nbytes);
    memset(dst, 2, nbytes);
    struct copy copy = {.dst = dst, .src = src, .nbytes = nbytes};
    const struct timing t = measure(run_copy, &copy, 0.02);
    free(src);
    free(dst);
    return t.best;
}

bool hone_bench_wants(const hone_bench *bench, const char *name)
{
    return !bench->filter || strstr(name, bench->filter);
}

void hone_bench_header(const hone_bench *bench)
{
    if (bench->csv)
        (void)puts("name,best_ns,median_ns,elements,blocks,bytes,memcpy_ns");
    else
        (void)printf("\n%-34s %12s %12s %12s %9s %10s\n", "", "ns/block", "median", "Melem/s", "GB/s", "of memcpy");
}

void hone_bench_time(hone_bench *bench, const hone_bench_entry *entry)
{
    if (!hone_bench_wants(bench, entry->name))
        return;
    entry->run(entry->user);
    if (entry->check && !entry->check(entry->user)) {
        (void)fprintf(stderr, "%s: wrong output, not timed\n", entry->name);
        bench->n_failed++;
        return;
    }
    const double copy = hone_bench_copy_time(entry->nbytes);
    const struct timing t = measure(entry->run, entry->user, bench->seconds);
    if (bench->csv) {
        (void)printf("%s,%.1f,%.1f,%zu,%zu,%zu,%.1f\n", entry->name, t.best * 1e9, t.median * 1e9, entry->nelems,
                     entry->nblocks, entry->nbytes, copy * 1e9);
        return;
    }
    (void)printf("%-34s", entry->name);
    if (entry->nblocks)
        (void)printf(" %12.2f %12.2f", t.best * 1e9 / (double)entry->nblocks, t.median * 1e9 / (double)entry->nblocks);
    else
        (void)printf(" %12s %12s", "", "");
    (void)printf(" %12.1f %9.2f %9.1f%%\n", (double)entry->nelems / t.best * 1e-6,
                 (double)entry->nbytes / t.best * 1e-9, 100 * copy / t.best);
    (void)fflush(stdout);
}

static int usage(void)
{
    (void)fputs("usage: hone-bench [--csv] [--seconds S] [--weights N] [--suite NAME] [FILTER]\nsuites:", stderr);
    for (int i = 0; i < N_SUITES; i++)
        (void)fprintf(stderr, " %s", suites[i].name);
    (void)fputc('\n', stderr);
    return 2;
}

int main(int argc, char **argv)
{
    hone_bench bench = {.seconds = 0.2, .n_weights = 500000000};
    const char *suite = NULL;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--csv") == 0)
            bench.csv = true;
        else if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc)
            bench.seconds = strtod(argv[++i], NULL);
        else if (strcmp(argv[i], "--weights") == 0 && i + 1 < argc)
            bench.n_weights = (uint64_t)strtod(argv[++i], NULL);
        else if (strcmp(argv[i], "--suite") == 0 && i + 1 < argc)
            suite = argv[++i];
        else if (argv[i][0] != '-' && !bench.filter)
            bench.filter = argv[i];
        else
            return usage();
    }
    int n_run = 0;
    for (int i = 0; i < N_SUITES; i++) {
        if (suite && strcmp(suite, suites[i].name) != 0)
            continue;
        n_run++;
        suites[i].run(&bench);
    }
    if (n_run == 0)
        return usage();
    return bench.n_failed ? 1 : 0;
}
