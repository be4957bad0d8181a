/* SPDX-License-Identifier: MIT */
/* Error feedback in portable C: the definition. */
#define HONE_LANES 1
#define HONE_FEEDBACK_KERNELS hone_feedback_ref
#include "quantize/feedback_kernels_impl.h"

const hone_feedback_kernels *hone_feedback_kernels_for(hone_cpu_level cpu)
{
#if defined(__x86_64__)
    if (cpu == HONE_CPU_AVX512)
        return &hone_feedback_avx512;
    if (cpu == HONE_CPU_AVX2)
        return &hone_feedback_avx2;
#endif
    (void)cpu;
    return &hone_feedback_ref;
}
