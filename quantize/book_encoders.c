/* SPDX-License-Identifier: MIT */
#define HONE_BOOK_KERNELS hone_books_ref
#define HONE_BOOK_ENCODERS hone_book_encoders_ref
#include "quantize/book_encoders_impl.h"

const hone_book_kernels *hone_book_kernels_for(hone_cpu_level cpu)
{
#if defined(__x86_64__)
    if (cpu == HONE_CPU_AVX2 || cpu == HONE_CPU_AVX512)
        return &hone_books_avx2;
#endif
    (void)cpu;
    return &hone_books_ref;
}

hone_encode_fn hone_book_encoder(hone_dtype dtype, hone_search search, hone_cpu_level cpu)
{
    const hone_book_encoders *e = &hone_book_encoders_ref;
#if defined(__x86_64__)
    if (cpu == HONE_CPU_AVX2 || cpu == HONE_CPU_AVX512) /* wider would be emptier: most lists are short */
        e = &hone_book_encoders_avx2;
#endif
    (void)cpu;
    return search == HONE_SEARCH_BEST ? e->best[dtype] : e->reference[dtype];
}
