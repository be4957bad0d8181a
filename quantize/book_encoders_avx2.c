/* SPDX-License-Identifier: MIT */
#define HONE_BOOK_KERNELS hone_books_avx2
#define HONE_BOOK_ENCODERS hone_book_encoders_avx2
#include "quantize/book_encoders_impl.h"
