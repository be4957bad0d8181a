/* SPDX-License-Identifier: MIT */
/*
 * A small engine for timing: an entry is a function that does the same work again and again.
 *
 * An entry is run once to warm up, checked, and then run for a fixed time. The best run tells what the code can do, the
 * median what it does. Its traffic is set beside a memcpy of as many bytes, timed just before it.
 */
#ifndef HONE_BENCH_H
#define HONE_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Options of this run of the program, and where results go. */
typedef struct hone_bench {
    double seconds; /* per entry */
    bool csv;
    const char *filter; /* only entries whose name contains this; NULL: all */
    uint64_t n_weights; /* of the model that the files suite quantizes */
    int n_failed;       /* entries whose check failed */
} hone_bench;

typedef struct hone_bench_entry {
    const char *name;
    size_t nelems;  /* elements per run */
    size_t nblocks; /* blocks per run; 0: not in blocks */
    size_t nbytes;  /* read and written per run */
    void (*run)(void *user);
    bool (*check)(void *user); /* after the first run: is the output right? NULL: nothing to check */
    void *user;
} hone_bench_entry;

/* hone_bench_wants() tells whether an entry of that name is asked for; setup that is dear can be skipped. */
bool hone_bench_wants(const hone_bench *bench, const char *name);

/* hone_bench_header() prints what stands above the lines of hone_bench_time(). */
void hone_bench_header(const hone_bench *bench);

/* hone_bench_time() runs an entry and prints its line. An entry whose check fails is not timed. */
void hone_bench_time(hone_bench *bench, const hone_bench_entry *entry);

/* hone_bench_copy_time() is how many seconds memcpy takes to read and write `traffic` bytes, half of each. */
double hone_bench_copy_time(size_t traffic);

/* hone_bench_now() is a clock, in seconds. */
double hone_bench_now(void);

/* The suites, one file each. */
void hone_bench_blocks(hone_bench *bench);
void hone_bench_files(hone_bench *bench);
void hone_bench_errors(hone_bench *bench);

#endif
