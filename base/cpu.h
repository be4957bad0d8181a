/* SPDX-License-Identifier: MIT */
/* What this CPU can do, as levels that a user can name. */
#ifndef HONE_CPU_H
#define HONE_CPU_H

#include "hone/status.h"

/* Each level includes the ones before it on its architecture. */
typedef enum hone_cpu_level {
    HONE_CPU_REF = 0, /* portable C */
    HONE_CPU_AVX2,    /* AVX2, FMA, F16C, BMI2 */
    HONE_CPU_AVX512,  /* AVX-512 F, BW, DQ, VL */
    HONE_CPU_NEON,
    HONE_CPU_N_LEVELS
} hone_cpu_level;

/* hone_cpu_best() detects the highest level this CPU and operating system support. */
hone_cpu_level hone_cpu_best(void);

/* hone_cpu_name() returns "ref", "avx2", ... Static. */
const char *hone_cpu_name(hone_cpu_level level);

/* hone_cpu_choose() resolves a name (NULL: $HONE_CPU, else the best). ARG: unknown, or not available here. */
hone_status hone_cpu_choose(const char *name, hone_cpu_level *out, hone_error *err);

#endif
