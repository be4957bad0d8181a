/* SPDX-License-Identifier: MIT */
/* The encoders of types with code books behind hone_encoder(), by level. There is no fast search: it is the
 * reference's. */
#ifndef HONE_BOOK_ENCODERS_H
#define HONE_BOOK_ENCODERS_H

#include "quantize/book_search.h"
#include "quantize/encode.h"

/* hone_book_encoder() returns the encoder of a type with a code book, or NULL when it is none. */
hone_encode_fn hone_book_encoder(hone_dtype dtype, hone_search search, hone_cpu_level cpu);

/* hone_book_kernels_for() returns the searches of a CPU level. */
const hone_book_kernels *hone_book_kernels_for(hone_cpu_level cpu);

typedef struct hone_book_encoders {
    hone_encode_fn reference[HONE_N_DTYPES], best[HONE_N_DTYPES];
} hone_book_encoders;

extern const hone_book_encoders hone_book_encoders_ref;
#if defined(__x86_64__)
extern const hone_book_encoders hone_book_encoders_avx2;
#endif

#endif
