/* SPDX-License-Identifier: MIT */
#include "base/cpu.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"

#if defined(__x86_64__)
#include <cpuid.h>

/* XCR0: which register files the operating system saves. 6 = SSE and AVX; 0xe6 adds the AVX-512 state. */
static unsigned xgetbv0(void)
{
    unsigned lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return lo;
}

hone_cpu_level hone_cpu_best(void)
{
    /* CPUID bits by hand: clang 14's __builtin_cpu_supports rejects "f16c". */
    enum { FMA = 1 << 12, OSXSAVE = 1 << 27, AVX = 1 << 28, F16C = 1 << 29 };                         /* leaf 1, ecx */
    enum { AVX2 = 1 << 5, BMI2 = 1 << 8, AVX512F = 1 << 16, AVX512DQ = 1 << 17, AVX512BW = 1 << 30 }; /* leaf 7, ebx */
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d))
        return HONE_CPU_REF;
    const unsigned leaf1 = FMA | OSXSAVE | AVX | F16C;
    if ((c & leaf1) != leaf1 || (xgetbv0() & 6) != 6)
        return HONE_CPU_REF;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (b & (AVX2 | BMI2)) != (AVX2 | BMI2))
        return HONE_CPU_REF;
    const unsigned avx512 = AVX512F | AVX512DQ | AVX512BW;
    const unsigned avx512vl = 1u << 31;
    if ((b & avx512) == avx512 && (b & avx512vl) && (xgetbv0() & 0xe6) == 0xe6)
        return HONE_CPU_AVX512;
    return HONE_CPU_AVX2;
}

static int available(hone_cpu_level level)
{
    return level == HONE_CPU_REF || (level != HONE_CPU_NEON && level <= hone_cpu_best());
}
#elif defined(__aarch64__)
hone_cpu_level hone_cpu_best(void)
{
    return HONE_CPU_NEON; /* part of the base architecture */
}

static int available(hone_cpu_level level)
{
    return level == HONE_CPU_REF || level == HONE_CPU_NEON;
}
#else
hone_cpu_level hone_cpu_best(void)
{
    return HONE_CPU_REF;
}

static int available(hone_cpu_level level)
{
    return level == HONE_CPU_REF;
}
#endif

static const char *const level_names[HONE_CPU_N_LEVELS] = {
    [HONE_CPU_REF] = "ref",
    [HONE_CPU_AVX2] = "avx2",
    [HONE_CPU_AVX512] = "avx512",
    [HONE_CPU_NEON] = "neon",
};

const char *hone_cpu_name(hone_cpu_level level)
{
    return level_names[level];
}

hone_status hone_cpu_choose(const char *name, hone_cpu_level *out, hone_error *err)
{
    *out = HONE_CPU_REF;
    if (!name)
        name = getenv("HONE_CPU");
    if (!name || !*name) {
        *out = hone_cpu_best();
        return HONE_OK;
    }
    for (int i = 0; i < HONE_CPU_N_LEVELS; i++) {
        if (strcmp(name, level_names[i]) != 0)
            continue;
        if (!available((hone_cpu_level)i))
            return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "this CPU has no %s", name);
        *out = (hone_cpu_level)i;
        return HONE_OK;
    }
    return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "unknown CPU level \"%s\" (ref, avx2, avx512, neon)",
                     name);
}
