/* SPDX-License-Identifier: MIT */
/*
 * Quantizing a whole file, beside llama.cpp's quantizer where its library is there: one input, one run, the same number
 * of threads. Then what the machine could do at most.
 */
#include "bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench/peer.h"
#include "bench/synthetic_model.h"
#include "base/cpu.h"
#include "base/parallel.h"
#include "hone/convert.h"
#include "quantize/encode.h"

enum { N_THREADS = 2, SEED = 1, MAX_RUNS = 5 };

/* The targets of each type: how many times faster than llama.cpp. 0: none. */
struct target {
    hone_dtype dtype;
    double reference, best;
};
static const struct target targets[] = {
    {HONE_Q4_K, 6, 2},    {HONE_Q5_K, 6, 2},    {HONE_Q2_K, 6, 2},   {HONE_Q6_K, 5, 1.5}, {HONE_Q3_K, 5, 1.5},
    {HONE_IQ4_NL, 12, 6}, {HONE_IQ4_XS, 12, 6}, {HONE_Q4_0, 1.5, 1}, {HONE_Q5_0, 1.5, 1}, {HONE_Q8_0, 2.5, 0},
    {HONE_MXFP4, 4, 2},   {HONE_NVFP4, 4, 2},   {HONE_IQ3_S, 0, 0},
};
enum { N_TARGETS = sizeof targets / sizeof targets[0] };

struct files {
    hone_bench *bench;
    hone_context *ctx;
    hone_peer *peer;
    uint64_t n_weights;
    char dir[512], src[600], ours[600], theirs[600];
};

static void give_up(const hone_error *err)
{
    (void)fprintf(stderr, "bench: %s %s\n", err->file, err->reason);
    exit(3);
}

/* Seconds on the clock, and of all threads' computing, the kernel's work for them included. Where other programs
 * compete for the machine, the second says more. */
struct cost {
    double wall, cpu; /* 0: not run */
};

static struct cost cost_now(void)
{
    struct rusage use;
    (void)getrusage(RUSAGE_SELF, &use);
    return (struct cost){hone_bench_now(), (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
                                               1e-6 * (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec)};
}

static struct cost cost_since(struct cost start)
{
    const struct cost now = cost_now();
    return (struct cost){now.wall - start.wall, now.cpu - start.cpu};
}

static struct cost quantize_ours(const struct files *f, hone_dtype dtype, hone_search search)
{
    hone_error err = {0};
    const hone_convert_options opts = {.type = hone_dtype_describe(dtype)->name, .search = search, .pure = true};
    const hone_run_options how = {.overwrite = true, .restart = true};
    hone_checkpoint *src = NULL;
    hone_plan *plan = NULL;
    const struct cost start = cost_now();
    hone_status status = hone_checkpoint_open(f->src, NULL, &src, &err);
    if (status == HONE_OK)
        status = hone_plan_new(f->ctx, src, &opts, &plan, &err);
    if (status == HONE_OK)
        status = hone_plan_run(f->ctx, plan, f->ours, &how, &err);
    const struct cost cost = cost_since(start);
    hone_plan_free(plan);
    hone_checkpoint_close(src);
    if (status != HONE_OK)
        give_up(&err);
    return cost;
}

/* Nothing where the peer has no such type. */
static struct cost quantize_theirs(const struct files *f, hone_dtype dtype)
{
    const struct cost start = cost_now();
    if (!f->peer || !hone_peer_quantize(f->peer, f->src, f->theirs, dtype, N_THREADS))
        return (struct cost){0, 0};
    return cost_since(start);
}

static bool same_tensor(const hone_checkpoint *a, const hone_checkpoint *b, const hone_tensor *t)
{
    const hone_tensor *other = hone_checkpoint_find(b, t->name);
    if (!other || other->dtype != t->dtype || other->nbytes != t->nbytes)
        return false;
    char *bytes = malloc(2 * (size_t)t->nbytes);
    hone_error err;
    const bool same = bytes && hone_checkpoint_read(a, t, 0, (size_t)t->nbytes, bytes, &err) == HONE_OK &&
                      hone_checkpoint_read(b, other, 0, (size_t)t->nbytes, bytes + t->nbytes, &err) == HONE_OK &&
                      memcmp(bytes, bytes + t->nbytes, (size_t)t->nbytes) == 0;
    free(bytes);
    return same;
}

/* Every tensor has the same type and bytes in both outputs. */
static bool same_files(const struct files *f)
{
    hone_checkpoint *a = NULL, *b = NULL;
    hone_error err;
    bool same = hone_checkpoint_open(f->ours, NULL, &a, &err) == HONE_OK &&
                hone_checkpoint_open(f->theirs, NULL, &b, &err) == HONE_OK &&
                hone_checkpoint_n_tensors(a) == hone_checkpoint_n_tensors(b);
    for (size_t i = 0; same && i < hone_checkpoint_n_tensors(a); i++)
        same = same_tensor(a, b, hone_checkpoint_tensor(a, i));
    hone_checkpoint_close(a);
    hone_checkpoint_close(b);
    return same;
}

struct times {
    struct cost theirs, reference, best;
    bool same;
};

static void keep_least(struct cost *kept, struct cost cost)
{
    if (kept->wall == 0 || cost.wall < kept->wall)
        kept->wall = cost.wall;
    if (kept->cpu == 0 || cost.cpu < kept->cpu)
        kept->cpu = cost.cpu;
}

/* The tools take turns; short runs are repeated, and the shortest of each tool counts. */
static struct times measure_type(const struct files *f, const struct target *target)
{
    struct times t = {.same = false};
    const double end = hone_bench_now() + 4;
    for (int run = 0; run == 0 || (run < MAX_RUNS && hone_bench_now() < end); run++) {
        keep_least(&t.reference, quantize_ours(f, target->dtype, HONE_SEARCH_REFERENCE));
        const struct cost theirs = quantize_theirs(f, target->dtype);
        if (theirs.wall > 0)
            keep_least(&t.theirs, theirs);
    }
    t.same = t.theirs.wall > 0 && same_files(f);
    if (target->best > 0)
        t.best = quantize_ours(f, target->dtype, HONE_SEARCH_BEST);
    return t;
}

/* Seconds, and beside the peer's how many times less that is; on the clock, then of computing. */
static void print_ratios(struct cost theirs, struct cost ours, double target)
{
    (void)printf(" %8.2f", ours.wall);
    if (theirs.wall > 0)
        (void)printf(" %6.1f (%5.1f) %5.1f%s", theirs.wall / ours.wall, theirs.cpu / ours.cpu, target,
                     theirs.wall / ours.wall < target ? "!" : " ");
    else
        (void)printf(" %6s (%5s) %5.1f ", "-", "-", target);
}

static void print_times(const hone_bench *bench, const char *name, const struct target *target, const struct times *t)
{
    if (bench->csv) {
        (void)printf("%s,%.3f,%.3f,%.3f,%.3f,%d,%.3f,%.3f\n", name, t->theirs.wall, t->theirs.cpu, t->reference.wall,
                     t->reference.cpu, t->same, t->best.wall, t->best.cpu);
        return;
    }
    (void)printf("%-8s", name);
    if (t->theirs.wall > 0)
        (void)printf(" %9.2f", t->theirs.wall);
    else
        (void)printf(" %9s", "-");
    print_ratios(t->theirs, t->reference, target->reference);
    (void)printf(" %6s", t->theirs.wall == 0 ? "-" : t->same ? "same" : "DIFFER");
    if (t->best.wall > 0)
        print_ratios(t->theirs, t->best, target->best);
    (void)putchar('\n');
}

static void bench_times(const struct files *f)
{
    if (f->bench->csv)
        (void)puts("type,llama_s,llama_cpu_s,reference_s,reference_cpu_s,same_bytes,best_s,best_cpu_s");
    else
        (void)printf(
            "seconds, and how many times faster than llama.cpp: on the clock, (in computing time), as targeted "
            "(! missed)\n%-8s %9s %8s %22s %6s %8s\n",
            "", "llama.cpp", "reference", "", "bytes", "best");
    for (int i = 0; i < N_TARGETS; i++) {
        const char *name = hone_dtype_describe(targets[i].dtype)->name;
        if (!hone_bench_wants(f->bench, name))
            continue;
        const struct times t = measure_type(f, &targets[i]);
        if (t.theirs.wall > 0 && !t.same) {
            (void)fprintf(stderr, "%s: not the bytes of llama.cpp\n", name);
            f->bench->n_failed++;
        }
        print_times(f->bench, name, &targets[i], &t);
        (void)fflush(stdout);
    }
}

/* Each thread copies its own buffer. */
struct copies {
    char *dst, *src;
    size_t nbytes; /* per thread */
};

static hone_status copy_share(void *user, size_t i, int thread, hone_error *err)
{
    (void)thread;
    (void)err;
    const struct copies *c = user;
    memcpy(c->dst + i * c->nbytes, c->src + i * c->nbytes, c->nbytes);
    return HONE_OK;
}

/* Bytes read and written per second by memcpy on all threads. */
static double copy_bandwidth(size_t nbytes)
{
    struct copies c = {.dst = malloc(N_THREADS * nbytes), .src = malloc(N_THREADS * nbytes), .nbytes = nbytes};
    if (!c.dst || !c.src)
        abort();
    memset(c.src, 1, N_THREADS * nbytes);
    memset(c.dst, 2, N_THREADS * nbytes);
    struct cost best = {0, 0};
    const double end = hone_bench_now() + 1;
    for (struct cost start = cost_now(); start.wall < end; start = cost_now()) {
        (void)hone_parallel_for(N_THREADS, N_THREADS, copy_share, &c, NULL);
        keep_least(&best, cost_since(start));
    }
    free(c.dst);
    free(c.src);
    return 2.0 * N_THREADS * (double)nbytes / best.wall;
}

/* How fast one thread encodes in the second-level cache. */
struct kernel_speed {
    double elems, bytes; /* per second; read and written */
    double of_memcpy;    /* its share of what memcpy reads and writes */
};

static struct kernel_speed kernel_speed(hone_dtype dtype, hone_cpu_level level)
{
    enum { COLS = 4096, ROWS = 16 };
    const hone_encode_fn encode = hone_encoder(dtype, HONE_SEARCH_REFERENCE, level);
    uint64_t row_nbytes;
    float *x = malloc(ROWS * COLS * sizeof *x);
    uint8_t *blocks = malloc(ROWS * COLS * sizeof *x);
    if (!x || !blocks || hone_dtype_row_nbytes(dtype, COLS, &row_nbytes) != HONE_OK)
        abort();
    for (uint64_t r = 0; r < ROWS; r++)
        hone_synthetic_row(SEED + r, r % 2 ? HONE_STUDENT_T5 : HONE_GAUSSIAN, COLS, x + r * COLS);
    const double nbytes = ROWS * (COLS * (double)sizeof *x + (double)row_nbytes);
    const double copy = hone_bench_copy_time((size_t)nbytes);
    double best = 0;
    const double end = hone_bench_now() + 0.2;
    for (double start = hone_bench_now(); start < end;) {
        for (size_t r = 0; r < ROWS; r++)
            encode(x + r * COLS, COLS, NULL, blocks + r * row_nbytes);
        const double stop = hone_bench_now();
        best = best == 0 || stop - start < best ? stop - start : best;
        start = stop;
    }
    free(x);
    free(blocks);
    return (struct kernel_speed){ROWS * COLS / best, nbytes / best, copy / best};
}

static void print_kernel(const hone_bench *bench, hone_dtype dtype, hone_cpu_level level)
{
    const char *name = hone_dtype_describe(dtype)->name;
    if (!hone_bench_wants(bench, name))
        return;
    const struct kernel_speed ref = kernel_speed(dtype, HONE_CPU_REF), own = kernel_speed(dtype, level);
    if (bench->csv)
        (void)printf("kernel,%s,%.4g,%.4g,%.4g,%.3f\n", name, ref.elems, own.elems, own.bytes, own.of_memcpy);
    else
        (void)printf("%-8s %9.1f Melem/s %9.1f Melem/s %6.1f %9.1f GB/s %6.1f%%\n", name, ref.elems * 1e-6,
                     own.elems * 1e-6, own.elems / ref.elems, own.bytes * 1e-9, 100 * own.of_memcpy);
}

static void bench_limits(const struct files *f)
{
    const double cached = copy_bandwidth(1 << 17), memory = copy_bandwidth(1 << 28);
    const double copy = quantize_ours(f, HONE_F16, HONE_SEARCH_REFERENCE).wall;
    const double file_nbytes = 4.0 * (double)f->n_weights;
    if (f->bench->csv)
        (void)printf("limit,memcpy_cached,%.4g\nlimit,memcpy_memory,%.4g\nlimit,file_copied_s,%.3f\n", cached, memory,
                     copy);
    else
        (void)printf(
            "\nlimits: memcpy on %d threads %.1f GB/s in cache, %.1f GB/s in memory, read and written; the file "
            "copied through hone %.2f s, %.1f GB/s\n"
            "%-8s %16s %16s %7s %14s %7s   one thread, in cache\n",
            N_THREADS, cached * 1e-9, memory * 1e-9, copy, file_nbytes / copy * 1e-9, "", "portable C",
            hone_context_cpu(f->ctx), "times", "moved", "memcpy");
    hone_cpu_level level;
    if (hone_cpu_choose(hone_context_cpu(f->ctx), &level, NULL) != HONE_OK)
        abort();
    for (int i = 0; i < N_TARGETS; i++)
        print_kernel(f->bench, targets[i].dtype, level);
}

static void bench_all(struct files *f)
{
    hone_error err = {0};
    const hone_context_options opts = {.n_threads = N_THREADS};
    const char *why;
    if (hone_context_new(&opts, &f->ctx, &err) != HONE_OK ||
        hone_synthetic_model_write(f->src, f->bench->n_weights, SEED, N_THREADS, &f->n_weights, &err) != HONE_OK)
        give_up(&err);
    f->peer = hone_peer_open(&why);
    if (!f->bench->csv)
        (void)printf(
            "\n%.0f million weights, f16, half Gaussian, half Student-t(5); file to file, %d threads, %s\n%s%s\n",
            (double)f->n_weights * 1e-6, N_THREADS, hone_context_cpu(f->ctx),
            f->peer ? "peer: llama.cpp" : "peer absent: ", f->peer ? "" : why);
    bench_times(f);
    bench_limits(f);
    hone_peer_close(f->peer);
    hone_context_free(f->ctx);
}

void hone_bench_files(hone_bench *bench)
{
    struct files f = {.bench = bench};
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(f.dir, sizeof f.dir, "%s/hone-bench-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(f.dir)) {
        perror(f.dir);
        exit(3);
    }
    (void)snprintf(f.src, sizeof f.src, "%s/f16.gguf", f.dir);
    (void)snprintf(f.ours, sizeof f.ours, "%s/ours.gguf", f.dir);
    (void)snprintf(f.theirs, sizeof f.theirs, "%s/theirs.gguf", f.dir);
    bench_all(&f);
    (void)unlink(f.src);
    (void)unlink(f.ours);
    (void)unlink(f.theirs);
    (void)rmdir(f.dir);
}
