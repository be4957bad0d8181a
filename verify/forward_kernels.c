/* SPDX-License-Identifier: MIT */
/* Row operations of a forward pass in portable C: the definition. */
#define HONE_FORWARD_KERNELS hone_forward_ref
#include "verify/forward_kernels_impl.h"

const hone_forward_kernels *hone_forward_kernels_for(hone_cpu_level cpu)
{
#if defined(__x86_64__)
    if (cpu == HONE_CPU_AVX512)
        return &hone_forward_avx512;
    if (cpu == HONE_CPU_AVX2)
        return &hone_forward_avx2;
#endif
    (void)cpu;
    return &hone_forward_ref;
}
